"""Networks under heads before any training."""

import json

import jax
import jax.numpy as jnp

import mdn_jax as mdn
from mdn_jax.networks import Architecture, mlp


def conditional(inputs, hidden, spec, activation="tanh", *, key, bias=None):
    """An MLP under a head, as training starts it."""
    options = json.dumps({"hidden_sizes": list(hidden), "activation": activation}, sort_keys=True)
    architecture = Architecture("mlp", mlp, options, (inputs,))
    network = architecture(key, jnp.zeros(inputs), spec)
    offset = jnp.zeros(spec.num_outputs) if bias is None else jnp.asarray(bias)
    return mdn.Conditional(network, offset, spec, architecture)


def shapes(inputs, hidden, spec, activation="silu"):
    """The same as shapes alone."""
    return jax.eval_shape(lambda key: conditional(inputs, hidden, spec, activation, key=key), jax.random.key(0))

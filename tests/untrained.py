"""Networks under heads before any training."""

import json

import jax
import jax.numpy as jnp
import numpy as np

import mdn_jax as mdn
from mdn_jax.data.strokes import INPUTS, TARGETS
from mdn_jax.networks import NETWORKS, Architecture, mlp


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


def pen_strokes(seed, num_classes=3):
    """A model of pen strokes with an offset that makes components and codes of the pen differ."""
    spec = mdn.ProductSpec((mdn.MixtureSpec(3, 2, "full"), mdn.CategoricalSpec(num_classes)))
    architecture = Architecture("lstm", NETWORKS["lstm"], json.dumps({"hidden_size": 8, "resets": True}), (5, 4))
    key, offset_key = jax.random.split(jax.random.key(seed))
    network, offset = architecture(key, jnp.zeros((5, 4)), spec), jax.random.normal(offset_key, (spec.num_outputs,))
    offset = (0.5 * offset).at[-1].add(-1.5)
    inputs = mdn.Standardizer(np.array([0.1, 0.0, 0.2, 0.05]), np.array([1.0, 1.2, 0.4, 0.2]))
    targets = mdn.Standardizer(np.array([0.3, -0.2, 0.0]), np.array([0.9, 1.1, 1.0]))
    return mdn.Model(mdn.Conditional(network, offset, spec, architecture), inputs, targets, INPUTS, TARGETS)

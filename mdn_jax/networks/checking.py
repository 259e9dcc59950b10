"""Checks of networks of one's own: parameters that can be trained, and calls that are functions."""

import inspect
import re
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax.errors import InvalidRngError, TraceContextError
from jax import Array

from mdn_jax._checks import InputError, require
from mdn_jax._typing import PyTree

__all__ = ["check_network", "takes_key"]

PURE = "leave dropout out (module.eval()), take LayerNorm for BatchNorm, a cell in jax.lax.scan for nnx.RNN"
KEYED = "or take a key as a last argument, network(x, key), and draw from it where it is not None"


def takes_key(function: Callable, after: int = 1) -> bool:
    """True where a function of so many arguments has a further one, for a key."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(parameter.kind in kinds for parameter in inspect.signature(function).parameters.values()) > after


def check_network(network: Callable[..., Array], x: PyTree, num_outputs: int, name: str = "network") -> None:
    """Refuse a network that training cannot use.

    Args:
        network: a pytree of floating arrays, called with one x, and with a key where it takes one.
        x: shapes of one example, `jax.ShapeDtypeStruct` leaves.
        num_outputs: P, the size of its last axis.
        name: of the network, for messages.

    Raises:
        InputError: for other leaves, state that changes in the call, chance without a key, or outputs of other sizes.
    """
    for path, leaf in jax.tree_util.tree_leaves_with_path(network):
        place = jax.tree_util.keystr(path).lstrip(".")
        require(
            hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.floating),
            f"{name}: parameters must be a pytree of floating arrays; got {type(leaf).__name__} at {place}: "
            "keep it out of them" + f" (nnx.split(module, nnx.Param, ...)), {PURE}, {KEYED}" * ("rngs" in place),
        )
    changes: list[bool] = []

    def one(network: Callable, x: PyTree) -> Array:
        before = jax.tree.leaves(network)
        raw = network(x, None) if takes_key(network) else network(x)
        changes.append(any(old is not new for old, new in zip(before, jax.tree.leaves(network), strict=True)))
        return raw

    xs = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((1, *leaf.shape), leaf.dtype), x)
    try:
        program, raw = jax.make_jaxpr(jax.vmap(one, (None, 0)), return_shape=True)(network, xs)
    except (TraceContextError, InvalidRngError) as error:
        said = str(error).partition(" (http")[0]
        raise InputError(f"{name} must be a function of its parameters and x alone; {said}: {PURE}, {KEYED}") from None
    require(not any(changes), f"{name} changes its own state when it is called, which training would lose: {PURE}")
    kinds = (jax.dtypes.prng_key, np.uint32)  # a key in each row is no frozen chance
    keyed = any(jnp.issubdtype(leaf.dtype, kind) for leaf in jax.tree.leaves(x) for kind in kinds)
    require(
        keyed or not re.search(r"\brandom_bits\b|\brng_", str(program)),
        f"{name} draws random numbers, and without a key it draws the same for every row and step: {PURE}, {KEYED}; "
        "numbers that shall stay are drawn before and kept among its parameters",
    )
    got = getattr(raw, "shape", ())[1:]
    require(
        got[-1:] == (num_outputs,),
        f"{name} must give ({num_outputs},) raw outputs for one x, as its head needs; got {got}",
    )

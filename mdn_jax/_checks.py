"""Eager checks of static facts (shapes, names, files), all speaking in one style.

A message says what was expected, what came, and the cure. Values are never checked here: under `jax.jit` they
do not exist yet, and the parameterisation is valid for every real vector.
"""

import difflib
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp

__all__ = ["InputError", "check_range", "check_single", "nearest", "promoted", "require"]


class InputError(ValueError):
    """A mistake in what the user gave; the message is one line that says what to do about it."""


def require(condition: bool, message: str) -> None:
    """Raise `InputError(message)` unless the static `condition` holds."""
    if not condition:
        raise InputError(message)


def nearest(name: str, legal: Iterable[str]) -> str:
    """`"; did you mean 'X'?"` for the legal name closest to `name`, or the list of legal names."""
    legal = list(legal)
    close = difflib.get_close_matches(name, legal, n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else f"expected one of: {', '.join(legal)}"


def check_single(function: str, mixture: Any, **arrays: tuple[Any, tuple[int, ...]]) -> Any:
    """One mixture in at least float32; a batch where one mixture and single arrays are expected is refused.

    A forgotten `jax.vmap` would broadcast into a number of the right shape and the wrong value, so every public
    function of one mixture calls this first, when it is traced.

    Args:
        function: the public name of the caller, for the message.
        mixture: logits (K,), locs (K, D) and a scale whose parameters fit them.
        arrays: name -> (array, the shape it must have).

    Returns:
        The mixture, half precision raised to float32.
    """
    logits, locs = tuple(mixture.logits.shape), tuple(mixture.locs.shape)
    fits = len(logits) == 1 and len(locs) == 2 and logits[0] == locs[0] and mixture.scale.fits(*locs)
    if not fits:
        raise InputError(
            f"{function} takes one mixture: logits (K,), locs (K, D) and a scale to match; got logits {logits}, "
            f"locs {locs}, scale {mixture.scale.shape}: use jax.vmap(mdn.{function}) for a batch"
        )
    for name, (array, expected) in arrays.items():
        shape = tuple(getattr(array, "shape", ()))
        if shape != expected:
            raise InputError(
                f"{function} takes one mixture and one {name} of shape {expected}; got {name} {shape}: "
                f"use jax.vmap(mdn.{function})"
            )
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, promoted(leaf)), mixture)


def promoted(*arrays: Any) -> Any:
    """The dtype that arrays have together, float32 at least, on purpose and so also where JAX promotes nothing."""
    with jax.numpy_dtype_promotion("standard"):
        return jnp.result_type(jnp.float32, *(array.dtype for array in arrays))


def check_range(name: str, value: Any, low: float, high: float) -> None:
    """Refuse a Python number outside the open interval (low, high); traced values pass."""
    if isinstance(value, int | float) and not low < value < high:
        raise InputError(f"{name} must lie between {low} and {high}, both excluded; got {value}")

"""Eager checks of static facts (shapes, names, files), all speaking in one style.

A message says what was expected, what came, and the cure. Values are never checked here: under `jax.jit` they
do not exist yet, and the parameterisation is valid for every real vector.
"""

import difflib
import functools
import inspect
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from os import PathLike
from types import NoneType, UnionType
from typing import Any, get_args, get_origin

import jax
import jax.numpy as jnp

from mdn_jax._typing import Key

__all__ = ["InputError", "check_kinds", "check_range", "nearest", "promoted", "require"]


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


def check_kinds(function: Callable) -> Callable:
    """A public function that refuses arguments of another kind than annotated: swapped, or those after one left out.

    Only what cannot be mistaken is looked at: keys, paths, and the classes of this package.
    """
    parameters = inspect.signature(function).parameters
    kinds = {name: getattr(p.annotation, "__bound__", None) or p.annotation for name, p in parameters.items()}
    call = f"{function.__name__}({', '.join(name for name, p in parameters.items() if p.default is p.empty)})"

    @functools.wraps(function)
    def checked(*arguments: Any, **named: Any) -> Any:
        for name, value in [*zip(kinds, arguments), *named.items()]:
            kind = kinds.get(name, Any)
            if not _fits(value, kind):
                wanted = "a key, as jax.random.key(0)" if kind is Key else re.sub(r"<class '|'>|\w+\.", "", str(kind))
                raise InputError(f"{call}: {name} must be {wanted}; got {type(value).__name__}")
        return function(*arguments, **named)

    checked.__module__ = "mdn_jax"  # where pickle finds it
    return checked


def _fits(value: Any, kind: Any) -> bool:
    """True where a value is of the annotated kind, as far as can be told."""
    if kind is Key:
        dtype = getattr(value, "dtype", None)
        return dtype is not None and (jnp.issubdtype(dtype, jax.dtypes.prng_key) or dtype == jnp.uint32)
    if get_origin(kind) is UnionType:
        return any(_fits(value, one) for one in get_args(kind))
    if get_origin(kind) is Sequence:
        return isinstance(value, Collection) and all(_fits(one, get_args(kind)[0]) for one in value)
    if getattr(kind, "_is_protocol", False):  # its properties make it one; for its methods functions ask
        return {name for name, found in vars(kind).items() if isinstance(found, property)} <= set(dir(value))
    known = isinstance(kind, type) and (kind.__module__.startswith("mdn_jax") or kind in (str, PathLike, NoneType))
    return not known or isinstance(value, kind)


def promoted(*arrays: Any) -> Any:
    """The dtype that arrays have together, float32 at least, on purpose and so also where JAX promotes nothing."""
    with jax.numpy_dtype_promotion("standard"):
        return jnp.result_type(jnp.float32, *(array.dtype for array in arrays))


def check_range(name: str, value: Any, low: float, high: float) -> None:
    """Refuse a Python number outside the open interval (low, high); traced values pass."""
    if isinstance(value, int | float) and not low < value < high:
        raise InputError(f"{name} must lie between {low} and {high}, both excluded; got {value}")

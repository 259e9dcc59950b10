"""Words for a person: a value in one short line, and a warning where the person's own code stands."""

import sys
import warnings
from dataclasses import fields
from typing import Any

__all__ = ["ShortRepr", "warn"]

LONGEST = 100  # of a part that is written out
INSIDE = ("mdn_jax", "jax")  # whose lines tell nobody where a warning comes from


class ShortRepr:
    """A dataclass whose repr tells arrays by their shape, and long parts by their type."""

    def __repr__(self) -> str:
        parts = {part.name: getattr(self, part.name) for part in fields(self) if part.repr}  # pyright: ignore[reportArgumentType]
        told = (f"{name}={_short(value)}" for name, value in parts.items() if value is not None)
        return f"{type(self).__name__}({', '.join(told)})"


def _short(value: Any) -> str:
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{value.dtype}{list(value.shape)}"
    plain = isinstance(value, ShortRepr | str | int | float) or type(value) is tuple
    text = repr(value) if plain else ""
    return text if 0 < len(text) <= LONGEST else f"{type(value).__name__}(...)"


def warn(message: str) -> None:
    """A `UserWarning` at the line outside this package and JAX that led here."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] in INSIDE:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, stacklevel=level)

"""Numbers and lists as a person writes them."""

import math
from collections.abc import Sequence
from typing import Any

__all__ = ["few", "listed", "number", "percent", "sentence"]


def number(value: Any, digits: int = 4) -> str:
    """A number to four digits; a dash where there is none."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "–"
    if isinstance(value, int):
        return f"{value:,}"
    size = abs(value)
    text = f"{value:,.0f}" if 10**digits <= size < 1e9 else f"{value:.{digits}g}"
    return text.replace("-", "−", 1) if text.startswith("-") else text


def percent(share: float | None, *, within: tuple[float, float] | None = None, decimals: int = 1) -> str:
    """A share of 1 in %, with an interval around it where there is one."""
    if share is None or not math.isfinite(share):
        return "–"
    ends = "" if within is None else f" ({100 * within[0]:.{decimals}f} to {100 * within[1]:.{decimals}f})"
    return f"{100 * share:.{decimals}f} %{ends}"


def listed(names: Sequence[str]) -> str:
    """a, b and c."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def few(names: Sequence[str], most: int) -> str:
    """The first names, and how many more there are."""
    if len(names) <= most:
        return listed(names)
    return f"{', '.join(names[: most - 1])} and {len(names) - most + 1} more"


def sentence(text: str) -> str:
    """A text with a capital and a full stop."""
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '?', '!')) else '.'}"

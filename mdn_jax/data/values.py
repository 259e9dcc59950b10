"""The values that a target can have, as far as counting shows: counts, grids, atoms, bounds and periods."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from mdn_jax._typing import Float

__all__ = ["Values", "grid", "values_of"]

FEW = 10  # rows for each different value, on average, from which a column is counted or rounded
GRID = 1e-6  # steps from a multiple that are rounding, a step
ATOM, ABOVE, BESIDE = 0.02, 10, 20  # share of the rows, and times as often as so many values beside it
DECADES = 1.0  # that the inner 80 % of positive values span, from which they may be told apart by ratios
EDGE = 0.03  # of the way from bound to bound that the extremes of shares come near to
BOUNDS = ((0, 1), (0, 100))
PERIODS = (24.0, 360.0, 2 * np.pi)  # of what may go round
SEAM, DENSE, ALIKE = 0.05, 0.5, 2.0  # share of a turn at both ends, of its even share of rows, times as many at one


@dataclass(frozen=True)
class Values:
    """The values of a column of numbers, in the words of a config.

    Attributes:
        support: for `dataset.support`, or None.
        why: what was seen of it.
        atoms: for `dataset.atoms`.
        shares: what was seen of them.
    """

    support: Any = None
    why: str = ""
    atoms: tuple[float, ...] = ()
    shares: str = ""


def values_of(y: Float[np.ndarray, " N"]) -> Values:
    """The values that a column can have, as far as counting shows; NaN where one is missing."""
    y = y[np.isfinite(y)]
    step = grid(y)
    if step is not None:
        least, most, many = y.min(), y.max(), f"{len(np.unique(y)):,} different values"
        if step == 1 and 0 <= least <= most - least:
            return Values("count", f"whole numbers from {least:g} on, {many}")
        return Values({"step": step}, f"all are multiples of {step:g}, {many}") if _multiples(y, step) else Values()
    atoms = _atoms(y)
    shares = ", ".join(f"{one:g} in {100 * np.mean(y == one):.0f} % of the rows" for one in atoms)
    rest = y[~np.isin(y, atoms)]
    if len(rest) < FEW:
        return Values()
    low, high = rest.min(), rest.max()
    for first, last in BOUNDS:
        near = (
            first < low and high < last and low < first + EDGE * (last - first) and high > last - EDGE * (last - first)
        )
        if near and all(first <= one <= last for one in atoms):
            return Values([first, last], f"from {low:.3g} to {high:.3g}", atoms, shares)
    for period in PERIODS:
        if 0 <= low < EDGE * period and (1 - EDGE) * period < high <= period:  # whose zero is then no bound, either
            round_it = not atoms and _is_dense_at_seam(rest / period)
            why = f"from {low:.3g} to {high:.3g}, about as many at either end: it goes round"
            return Values({"period": period}, why) if round_it else Values(atoms=atoms, shares=shares)
    if low > 0 and min(atoms, default=0) >= 0 and _told_by_ratios(rest):
        return Values("positive", f"from {low:.3g} to {high:.3g}, told apart by ratios", atoms, shares)
    return Values(atoms=atoms, shares=shares)


def _is_dense_at_seam(turns: Float[np.ndarray, " N"]) -> bool:
    """True where the density goes on across the ends; what is used between 0 and 24 hours thins out, or leaps there."""
    first, last = np.sum(turns < SEAM), np.sum(turns > 1 - SEAM)
    return bool(min(first, last) > max(DENSE * SEAM * len(turns), max(first, last) / ALIKE))


def grid(y: Float[np.ndarray, " N"]) -> float | None:
    """The step of the grid on which all of a column's few values lie, or None."""
    values = np.unique(y)
    if not 2 < len(values) < len(y) / FEW:
        return None
    step = float(f"{np.diff(values).min():.9g}")
    return step if _multiples(values - values[0], step) else None


def _told_by_ratios(y: Float[np.ndarray, " N"]) -> bool:
    """True where positive values span decades, and their logarithms lie more evenly about the median than they do."""
    inner = np.quantile(y, [0.1, 0.5, 0.9])
    if np.log10(inner[2] / inner[0]) <= DECADES:
        return False
    plain, ratios = ((middle - low) / (high - low) for low, middle, high in (inner, np.log(inner)))
    return bool(abs(ratios - 0.5) < abs(plain - 0.5))


def _multiples(values: Float[np.ndarray, " V"], step: float) -> bool:
    places = values / step
    return bool(np.abs(places - np.round(places)).max() < GRID * max(np.abs(places).max(), 1.0))


def _atoms(y: Float[np.ndarray, " N"]) -> tuple[float, ...]:
    """Values far more frequent than those beside them."""
    values, counts = np.unique(y, return_counts=True)
    found = []
    for place in np.flatnonzero(counts > ATOM * len(y)):
        beside = np.delete(counts, place)[max(place - BESIDE // 2, 0) : place + BESIDE // 2]
        if len(beside) and counts[place] > ABOVE * np.median(beside):
            found.append(float(values[place]))
    return tuple(found)

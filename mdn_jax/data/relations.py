"""Relations between the columns of a table that decide how to use it: copies of a target, an order, panels."""

from collections.abc import Collection
from typing import NamedTuple

import numpy as np

from mdn_jax._typing import Float
from mdn_jax.data.summary import ColumnSummary, TableSummary

__all__ = ["Panels", "are_copies", "is_copy", "ordering", "panels"]

FEWEST = 10  # groups, or dates, that are worth a split of their own, and rows that prove a copy
COARSE = 0.05  # standard deviations: roundings so wide prove nothing


def is_copy(target: ColumnSummary, other: ColumnSummary) -> bool:
    """True for two columns of numbers of which one is the other in other units, to the rounding of both."""
    if not target.kind == other.kind == "number":
        return False
    return are_copies(*(column.values.cast(float).fill_null(np.nan).to_numpy() for column in (target, other)))


def are_copies(y: Float[np.ndarray, " N"], x: Float[np.ndarray, " N"]) -> bool:
    """True where y is x in other units, to the rounding of both; NaN where a value is missing."""
    both = ~np.isnan(x) & ~np.isnan(y)
    x, y = x[both], y[both]
    if len(x) < FEWEST or np.ptp(x) == 0 or np.ptp(y) == 0:
        return False
    slope = np.mean((x - x.mean()) * (y - y.mean())) / np.var(x)
    residual = np.abs(y - y.mean() - slope * (x - x.mean())).max()
    if residual > COARSE * y.std():
        return False
    rounding = _step(y) + abs(slope) * _step(x)  # half of each, and as much for the line that is fitted to them
    return bool(residual <= rounding + 1e-9 * y.std()) and rounding <= COARSE * y.std()


def _step(values: Float[np.ndarray, " N"]) -> float:
    """The last decimal that values are written to; 0 for more than 12."""
    return next((10.0**-digits for digits in range(-6, 13) if np.array_equal(np.round(values, digits), values)), 0.0)


def ordering(table: TableSummary, targets: Collection[str]) -> str | None:
    """A column of dates that rise, or fall, from row to row."""
    for column in table.columns:
        dated = column.dates and not column.num_missing and column.num_distinct >= FEWEST
        if dated and column.name not in targets and any(column.values.is_sorted(descending=d) for d in (False, True)):
            return column.name
    return None


class Panels(NamedTuple):
    """A column that names panels, each seen at every value of another."""

    name: str
    num_panels: int
    along: str


def panels(table: TableSummary, targets: Collection[str]) -> Panels | None:
    """Panels of the same number of rows, each at the same dates or whole numbers: countries by years."""
    import polars as pl  # noqa: PLC0415

    whole = [c for c in table.columns if not c.num_missing and c.values is not None and c.name not in targets]
    # of two whole numbers the first, as a rule, says who, and the second when
    for who in sorted(whole, key=lambda column: column.kind == "number"):
        rows, rest = divmod(table.num_rows, max(who.num_distinct, 1))
        if rest or rows < 2 or who.num_distinct < FEWEST or not (who.values.value_counts()["count"] == rows).all():
            continue
        for when in whole:
            if when.kind != "number" or when.num_distinct != rows or not (when.values == when.values.round()).all():
                continue
            if not pl.DataFrame([who.values.alias("who"), when.values.alias("when")]).is_duplicated().any():
                return Panels(who.name, who.num_distinct, when.name)
    return None

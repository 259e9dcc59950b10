"""What stands in each column of a table, before anyone has said what it is for."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mdn_jax.datasets.tables import open_table

__all__ = ["ColumnSummary", "summarise"]

MANY_KINDS = 50  # texts of more different values name rows, not kinds


@dataclass(frozen=True)
class ColumnSummary:
    """One column.

    Attributes:
        name: its name.
        kind: "number", "category" (texts of few values), or "text".
        range: smallest and largest number, or some of the values, as a person would write them.
        num_missing: empty cells and NaN.
        num_distinct: different values.
        num_rows: of the table.
    """

    name: str
    kind: str
    range: str
    num_missing: int
    num_distinct: int
    num_rows: int


def summarise(path: Path) -> list[ColumnSummary]:
    """Every column of a table.

    Raises:
        InputError: for a file that cannot be read as a table.
    """
    frame = open_table(path)
    return [_summary(name, frame[name]) for name in frame.columns]


def _summary(name: str, column: Any) -> ColumnSummary:
    import polars as pl  # noqa: PLC0415

    if column.dtype == pl.Object or column.dtype.is_nested():
        return ColumnSummary(name, "text", str(column.dtype), column.null_count(), 0, len(column))
    if column.dtype == pl.String:
        column = column.str.strip_chars().replace("", None)
        numbers = column.cast(pl.Float64, strict=False)
        if numbers.null_count() == column.null_count() < len(column):
            column = numbers
    if column.dtype.is_float():
        column = column.fill_nan(None)
    known = column.drop_nulls()
    missing, distinct = len(column) - len(known), known.n_unique()
    if column.dtype.is_numeric() and len(known):
        kind, values = "number", f"{known.min():.6g} to {known.max():.6g}"
    elif column.dtype.is_temporal() and len(known):
        kind, values = "number", f"{known.min()} to {known.max()}"
    else:
        kinds = [str(value) for value in known.unique(maintain_order=True)[:4]]
        more = ", ..." if distinct > len(kinds) else ""
        category = column.dtype == pl.Boolean or (1 < distinct <= MANY_KINDS and distinct < len(known))
        kind, values = ("category" if category else "text"), ", ".join(kinds) + more
    return ColumnSummary(name, kind, values, missing, distinct, len(column))

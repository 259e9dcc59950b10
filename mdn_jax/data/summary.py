"""The content of each column of a table, before anyone has said what it is for."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mdn_jax.data.tables import open_table

__all__ = ["ColumnSummary", "summarise"]

MANY_KINDS = 50  # texts of more different values name rows, not kinds
FEWEST_TO_IDENTIFY = 20  # fewer whole numbers may be all different by chance
LONGEST_VALUE = 30  # letters of a cell in a message


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
        all_different: whether its cells are 20 or more whole numbers, no two of them equal: perhaps an identifier.
        consecutive: whether these are consecutive too, in any order, as the numbers of rows are.
        stray: which cell keeps a column, most of whose cells are numbers, from being one; empty where none does.
    """

    name: str
    kind: str
    range: str
    num_missing: int
    num_distinct: int
    num_rows: int
    all_different: bool = False
    consecutive: bool = False
    stray: str = ""


def summarise(path: Path) -> list[ColumnSummary]:
    """Every column of a table.

    Raises:
        InputError: for a file that cannot be read as a table.
    """
    frame = open_table(path)
    return [_summary(name, frame[name]) for name in frame.columns]


def _summary(name: str, column: Any) -> ColumnSummary:
    import polars as pl  # noqa: PLC0415

    stray = ""
    if column.dtype == pl.Object or column.dtype.is_nested():
        return ColumnSummary(name, "text", str(column.dtype), column.null_count(), 0, len(column))
    if column.dtype == pl.String:
        column = column.str.strip_chars().replace("", None)
        stray = _stray(column)
        column = _as_numbers(column)
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
    different = distinct == len(known) >= FEWEST_TO_IDENTIFY and _whole(known)
    consecutive = different and int(known.max()) - int(known.min()) == distinct - 1
    return ColumnSummary(name, kind, values, missing, distinct, len(column), different, consecutive, stray)


def _as_numbers(texts: Any) -> Any:
    """Texts as numbers where every cell is one: whole ones as such, since a float knows 16 digits."""
    import polars as pl  # noqa: PLC0415

    for dtype in (pl.Int64, pl.Float64):
        numbers = texts.cast(dtype, strict=False)
        if numbers.null_count() == texts.null_count() < len(texts):
            return numbers
    return texts


def _stray(texts: Any) -> str:
    """The first cell that is no number, where most of those that are filled are numbers."""
    import polars as pl  # noqa: PLC0415

    bad = (texts.cast(pl.Float64, strict=False).is_null() & texts.is_not_null()).arg_true()
    if not 0 < 2 * len(bad) < len(texts) - texts.null_count():
        return ""
    value = texts[bad[0]]
    value = repr(value if len(value) <= LONGEST_VALUE else value[:LONGEST_VALUE] + "...")
    return f"row {bad[0] + 1}: {value} is not a number" + (f" ({len(bad):,} such cells)" if len(bad) > 1 else "")


def _whole(numbers: Any) -> bool:
    """True where numbers are whole, and small enough that a float could have told."""
    if numbers.dtype.is_integer():
        return True
    return numbers.dtype.is_float() and bool(((numbers.abs() < 2**53) & (numbers == numbers.round())).all())

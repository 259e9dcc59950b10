"""The content of a table, before anyone has said what it is for: how it is written, and what stands in each column."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mdn_jax._checks import require
from mdn_jax.data.cells import MARKS, are_plain, as_numbers, numbers_in, shown
from mdn_jax.data.tables import open_table, reader_of
from mdn_jax.data.texts import header, read_text, sniff
from mdn_jax.encoding import PLAIN, Dialect

__all__ = ["MANY_KINDS", "ColumnSummary", "TableSummary", "summarise"]

MANY_KINDS = 50  # texts of more different values name rows, not kinds
FEWEST_TO_IDENTIFY = 20  # fewer whole numbers may be all different by chance
OFTEN = 3  # a spelling that stands so often is meant
SURE = ("na", "n/a", "#n/a", "<na>", "nan", "null")  # stand for a missing value among kinds too


@dataclass(frozen=True)
class ColumnSummary:
    """One column.

    Attributes:
        name: its name.
        kind: "number", "category" (texts of few values), or "text".
        range: smallest and largest number, or some of the values, as a person would write them.
        num_missing: empty cells, NaN, and what stands for a missing value.
        num_distinct: different values.
        num_rows: of the table.
        values: its cells as a polars column: numbers (dates as days), or texts; null where missing.
        all_different: whether its cells are 20 or more whole numbers, no two of them equal: perhaps an identifier.
        consecutive: whether these are consecutive too, in any order, as the numbers of rows are.
        stray: which cell keeps a column, most of whose cells are numbers, from being one; empty where none does.
        spelling: how a cell is read that is no plain number, where all cells are numbers.
        dates: whether it holds dates.
        codes: why its texts are codes, to be told apart as they are written; empty where they are not.
    """

    name: str
    kind: str
    range: str
    num_missing: int
    num_distinct: int
    num_rows: int
    values: Any = None
    all_different: bool = False
    consecutive: bool = False
    stray: str = ""
    spelling: str = ""
    dates: bool = False
    codes: str = ""


@dataclass(frozen=True)
class TableSummary:
    """A table.

    Attributes:
        columns: those with a name.
        num_rows: N.
        dialect: how it is written.
        missing_values: texts in it that stand for a missing value.
        num_unnamed: columns without a name.
    """

    columns: list[ColumnSummary]
    num_rows: int
    dialect: Dialect = PLAIN
    missing_values: tuple[str, ...] = ()
    num_unnamed: int = 0


def summarise(path: Path) -> TableSummary:
    """A table and its columns.

    Raises:
        InputError: for a file that cannot be read as a table, or has no rows.
    """
    text = reader_of(path) is read_text
    dialect = sniff(path) if text else PLAIN
    frame = open_table(path, None, dialect)
    require(frame.height > 0, f"{path}: names the columns {shown(', '.join(frame.columns))} and has no rows: add them")
    marks = {mark: None for column in frame for mark in _marks(column, dialect.decimal)}
    columns = [_summary(path, column, tuple(marks), dialect.decimal) for column in frame]
    return TableSummary(columns, frame.height, dialect, tuple(marks), header(path, dialect).count("") if text else 0)


def _marks(column: Any, decimal: str) -> Sequence[str]:
    """Texts that stand for a missing value: any of the usual beside numbers, the sure ones also beside kinds."""
    import polars as pl  # noqa: PLC0415

    if column.dtype != pl.String or are_plain(column, decimal):
        return ()
    cells = column.str.strip_chars().drop_nulls()
    lower = cells.str.to_lowercase()
    others = cells.filter(~lower.is_in(["", *MARKS]))
    if not lower.is_in(MARKS).any():
        return ()
    numbers = 2 * numbers_in(others, decimal).null_count() < len(others)
    if not numbers and len(others) and others.str.contains("^[A-Z]{2}$").all():
        return ()  # NA is Namibia
    marks = [mark for mark in MARKS if mark != "nan"] if numbers else SURE
    return cells.filter(lower.is_in(marks)).unique(maintain_order=True).to_list()


def _summary(path: Path, column: Any, marks: tuple[str, ...], decimal: str) -> ColumnSummary:
    import polars as pl  # noqa: PLC0415

    name, count = column.name, len(column)
    stray = spelling = codes = ""
    if column.dtype == pl.Object or column.dtype.is_nested():
        return ColumnSummary(name, "text", str(column.dtype), column.null_count(), 0, count)
    dates = column.dtype in (pl.Date, pl.Datetime)
    written = column
    if column.dtype == pl.String:
        column = column.str.strip_chars()
        written = column = column.set(column.is_in(["", *marks]), None)
        numbers = _as_numbers(column, decimal)
        codes = _codes(column, numbers)
        if numbers.dtype.is_numeric() and not codes:
            column, spelling = numbers, _spelling(written, numbers)
            dates = "days" in spelling
        elif not codes:
            stray = _stray(column, decimal)
    elif column.dtype.is_temporal():
        column = pl.Series(name, as_numbers(path, name, column, ()))
    if column.dtype.is_float():
        column = column.fill_nan(None)
    known = column.drop_nulls()
    missing, distinct = count - len(known), known.n_unique()
    if column.dtype.is_numeric() and len(known):
        low, high = (written[at] if dates else f"{column[at]:.6g}" for at in (column.arg_min(), column.arg_max()))
        kind, values = "number", f"{low} to {high}"
    else:
        kinds = [str(value) for value in known.unique(maintain_order=True)[:4]]
        more = ", ..." if distinct > len(kinds) else ""
        category = column.dtype == pl.Boolean or (1 < distinct <= MANY_KINDS and distinct < len(known))
        kind, values = ("category" if category else "text"), ", ".join(kinds) + more
    different = distinct == len(known) >= FEWEST_TO_IDENTIFY and not (spelling or dates) and _whole(known)
    consecutive = different and int(known.max()) - int(known.min()) == distinct - 1
    return ColumnSummary(
        name, kind, values, missing, distinct, count, column, different, consecutive, stray, spelling, dates, codes
    )


def _as_numbers(texts: Any, decimal: str) -> Any:
    """Texts as numbers where every cell is one: whole ones as such, since a float knows 16 digits."""
    import polars as pl  # noqa: PLC0415

    for numbers in (texts.cast(pl.Int64, strict=False), numbers_in(texts, decimal)):
        if numbers.null_count() == texts.null_count() < len(texts):
            return numbers
    return texts


def _spelling(texts: Any, numbers: Any) -> str:
    """The first text that is no plain number, and the number that it is read as."""
    import polars as pl  # noqa: PLC0415

    if are_plain(texts):
        return ""
    for row in (texts.cast(pl.Float64, strict=False).is_null() & texts.is_not_null()).arg_true()[:1]:
        unit = ", days since 1970" if "-" in texts[row][1:] else ", seconds" if ":" in texts[row] else ""
        return f"{shown(texts[row])} is read as {numbers[row]:.10g}{unit}"
    return ""


def _codes(texts: Any, numbers: Any) -> str:
    """The reason to take texts for codes: leading zeros, or a number spelled in two ways, each often, among few texts.

    So are 250.0 and 250.00; 1 and 1.0 are a matter of typing.
    """
    import polars as pl  # noqa: PLC0415

    zeros = texts.filter(texts.str.contains(r"^0\d+$"))
    if len(zeros):
        return f"{shown(zeros[0])} is no plain number"
    if texts.n_unique() > MANY_KINDS or (numbers.dtype.is_numeric() and numbers.n_unique() == texts.n_unique()):
        return ""
    often = texts.value_counts().filter((pl.col("count") >= OFTEN) & pl.col(texts.name).str.contains(r"^\d+\.\d+$"))
    spelled = often[texts.name].sort()
    values = spelled.cast(pl.Float64)
    for value in values.filter(values.is_duplicated())[:1]:
        return " and ".join(map(shown, spelled.filter(values == value))) + " stay apart"
    return ""


def _stray(texts: Any, decimal: str) -> str:
    """The first cell that is no number, where most of those that are filled are numbers."""
    bad = (numbers_in(texts, decimal).is_null() & texts.is_not_null()).arg_true()
    if not 0 < 2 * len(bad) < len(texts) - texts.null_count():
        return ""
    others = f" ({len(bad):,} such cells)" if len(bad) > 1 else ""
    return f"row {bad[0] + 1}: {shown(texts[bad[0]])} is not a number{others}"


def _whole(numbers: Any) -> bool:
    """True where numbers are whole, and small enough that a float could have told."""
    if numbers.dtype.is_integer():
        return True
    return numbers.dtype.is_float() and bool(((numbers.abs() < 2**53) & (numbers == numbers.round())).all())

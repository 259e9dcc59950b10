"""From the cells of a column to numbers and kinds: the same values whether a file holds texts or types."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from mdn_jax._checks import InputError

__all__ = ["MARKS", "Values", "are_plain", "as_numbers", "as_texts", "numbers_in", "shown"]

Values = tuple[float | int | str, ...]

MARKS = ("na", "n/a", "#n/a", "<na>", "nan", "null", "none", "nil", "missing", "?", "-", "--", ".", "*", "\\n")
LONGEST_CELL = 30  # letters of a cell in a message
DAY = 86_400e6  # microseconds
GAPS = r" '\x{a0}\x{202f}"  # between thousands, beside the mark that is not the decimal one
TRUTHS = {"true": "1", "True": "1", "TRUE": "1", "false": "0", "False": "0", "FALSE": "0"}


def as_numbers(path: Path, name: str, column: Any, missing_values: Values, decimal: str = ".") -> np.ndarray:
    """One polars column as (N,) float64, NaN where missing; a row number counts from 1 after the header."""
    import polars as pl  # noqa: PLC0415  # imported here: problems need no table reader

    if column.dtype == pl.String:
        values = _spelled(path, name, column, missing_values, decimal)
    elif column.dtype.is_temporal():
        values = _counted(column)
    elif column.dtype.is_numeric() or column.dtype in (pl.Boolean, pl.Null):
        values = column.cast(pl.Float64)
    else:
        kinds = column.dtype in (pl.Categorical, pl.Enum)
        cure = "name it in dataset.categorical, or leave it out" if kinds else "leave it out"
        raise InputError(f"{path}: column {name!r} holds {column.dtype}, not numbers: {cure}")
    numbers = values.fill_null(float("nan")).to_numpy(writable=True)
    for value in missing_values:
        numbers[numbers == _as_number(value)] = np.nan
    infinite = np.flatnonzero(np.isinf(numbers))
    if infinite.size:
        row = int(infinite[0])
        raise InputError(
            f"{path}: column {name!r}, row {row + 1}: {numbers[row]} is not finite ({infinite.size} such values): "
            "correct it, or list it in dataset.missing_values"
        )
    return numbers


def _as_number(value: float | str) -> float:
    """A value that stands for a missing one as the number that it spells; NaN for none."""
    try:
        return float(value)
    except ValueError:
        return float("nan")


def _counted(column: Any) -> Any:
    """Dates, with their times, as days since 1970; times of day and durations as seconds.

    Days for both, since what is a date in a CSV file is often a date at 0:00 in the same program's Parquet.
    """
    import polars as pl  # noqa: PLC0415

    if column.dtype == pl.Time:
        return column.cast(pl.Int64).cast(pl.Float64) / 1e9
    kind, unit = (pl.Duration, 1e6) if column.dtype == pl.Duration else (pl.Datetime, DAY)
    return column.cast(kind("us")).cast(pl.Int64).cast(pl.Float64) / unit


def _spelled(path: Path, name: str, column: Any, missing_values: Values, decimal: str) -> Any:
    """Texts as numbers: also true and false, and spellings of a missing value."""
    import polars as pl  # noqa: PLC0415

    if are_plain(column, decimal):
        return column.cast(pl.Float64, strict=False)
    text = column.str.strip_chars()
    text = text.set(text.is_in(["", *(value for value in missing_values if isinstance(value, str))]), None)
    text = text.replace_strict(TRUTHS, default=text)
    values = numbers_in(text, decimal)
    bad = (values.is_null() & text.is_not_null()).arg_true()
    if not len(bad):
        return values
    cell, other = text[bad[0]], "," if decimal == "." else "."
    cure = "correct it, list it in dataset.missing_values, or name the column in dataset.categorical"
    if numbers_in(text, other).null_count() == text.null_count():
        cure = f'set dataset.decimal = "{other}"'
    elif cell.lower() in MARKS:
        cure = f"set dataset.missing_values = {json.dumps([*missing_values, cell])}, or correct it"
    raise InputError(f"{path}: column {name!r}, row {bad[0] + 1}: {shown(cell)} is not a number: {cure}")


def are_plain(text: Any, decimal: str = ".") -> bool:
    """True where every text is a number as most programs write it."""
    import polars as pl  # noqa: PLC0415

    return decimal == "." and text.cast(pl.Float64, strict=False).null_count() == text.null_count()


def numbers_in(text: Any, decimal: str = ".") -> Any:
    """Texts as float64, null where one is no number; thousands, ISO dates and times are numbers too.

    In a column of percentages 66 % is 66: predictions come out in the unit that the table is written in, and a later
    table without the signs reads the same.
    """
    import polars as pl  # noqa: PLC0415

    if are_plain(text, decimal):
        return text.cast(pl.Float64, strict=False)
    text = text.str.strip_chars().str.replace("^\u2212", "-")  # the minus of typesetters
    if text.str.ends_with("%").all():
        text = text.str.strip_suffix("%").str.strip_chars_end()
    mark = "," if decimal == "." else "."
    grouped = text.str.contains(rf"^[+-]?[1-9]\d{{0,2}}(?:[{mark}{GAPS}]\d{{3}})+(?:[{decimal}]\d*)?$")
    plain = text.zip_with(~grouped, text.str.replace_all(f"[{mark}{GAPS}]", ""))
    if decimal == ",":
        plain = plain.set(plain.str.contains(".", literal=True), None).str.replace(",", ".", literal=True)
    values = plain.cast(pl.Float64, strict=False)
    if values.null_count() > text.null_count() and text.str.contains(r"^\d{4}-\d\d-\d\d|^\d\d?:\d\d").any():
        values = min(values, *_moments(text), key=lambda one: one.null_count())
    return values


def _moments(text: Any) -> tuple[Any, Any]:
    """Texts as dates, with or without a time and an offset from UTC, and as times of day."""
    stamps = text
    for form, whole in (
        (r"^(\d{4}-\d\d-\d\d)$", "${1}T00:00"),
        (r"^(\d{4}-\d\d-\d\d) +", "${1}T"),
        (r"T(\d\d:\d\d)(Z|[+-].*)?$", "T${1}:00${2}"),
        (r"(T.*[+-]\d\d)$", "${1}:00"),
        (r"(T[\d:.]+)$", "${1}Z"),
    ):
        stamps = stamps.str.replace(form, whole)
    clocks = text.str.replace(r"^(\d\d?:\d\d)$", "${1}:00")
    days = stamps.str.to_datetime("%+", time_unit="us", time_zone="UTC", strict=False)
    return _counted(days), _counted(clocks.str.to_time("%H:%M:%S%.f", strict=False))


def as_texts(column: Any, missing_values: Values, decimal: str = ".", *, codes: bool = False) -> np.ndarray:
    """One polars column as (N,) texts, None where missing.

    But for codes, which stay as written, 3.0 is spelled 3, and TRUE true, whatever the file.
    """
    import polars as pl  # noqa: PLC0415

    if column.dtype.is_float():
        column = column.fill_nan(None)
    try:
        text = column.cast(pl.String).str.strip_chars()
    except pl.exceptions.PolarsError:
        raise InputError(f"column {column.name!r} holds {column.dtype}, not texts: leave it out") from None
    if decimal == "," and not codes:
        text = text.str.replace(r"^([+-]?\d+),(\d+)$", "${1}.${2}")
    whole, lower = text.str.replace(r"^([+-]?\d+)\.0+$", "${1}"), text.str.to_lowercase()
    missing = ["", *(str(value).removesuffix(".0") for value in missing_values)]
    spelled = text if codes else whole.zip_with(~lower.is_in(["true", "false"]), lower)
    return spelled.set(whole.is_in(missing), None).to_numpy(writable=True)


def shown(cell: str) -> str:
    """A cell as a message shows it."""
    return repr(cell if len(cell) <= LONGEST_CELL else cell[:LONGEST_CELL] + "...")

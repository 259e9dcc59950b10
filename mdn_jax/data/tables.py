"""Tables as named columns: CSV, Parquet and NPZ, the same values from each; what cannot be read is told in one line."""

import csv
import hashlib
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mdn_jax._checks import InputError, nearest, require

__all__ = ["Table", "as_numbers", "as_texts", "checksum", "column_names", "open_table", "read_arrays", "read_table"]

Values = tuple[float | int | str, ...]


@dataclass(frozen=True)
class Table:
    """Columns of equal length.

    Attributes:
        path: where they were read, for messages.
        columns: name -> (N,) float64 with NaN, or texts with None, where a value is missing.
        num_rows: N.
    """

    path: Path
    columns: dict[str, np.ndarray]
    num_rows: int


def read_table(path: Path, numbers: Sequence[str], texts: Sequence[str] = (), missing_values: Values = ()) -> Table:
    """Some columns of a table.

    Args:
        path: a .csv, .parquet or .npz file.
        numbers: columns to read as float64.
        texts: columns to read as texts: categories and groups.
        missing_values: values that stand for a missing one, beside empty cells and NaN.

    Returns:
        The columns.

    Raises:
        InputError: for a file that is missing, empty or not what its suffix says, a missing or repeated column, or a
            value that is no finite number.
    """
    frame = open_table(path, [*numbers, *texts])
    columns = {name: as_numbers(path, name, frame[name], missing_values) for name in numbers}
    try:
        columns |= {name: as_texts(frame[name], missing_values) for name in texts}
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return Table(path, columns, frame.height)


def column_names(path: Path) -> list[str]:
    """Names of all columns of a table."""
    _check_file(path)
    if path.suffix.lower() == ".csv":
        return [name for name in _csv_header(path) if name]
    return list(open_table(path).columns)


def checksum(paths: Sequence[Path]) -> str:
    """A short name for the bytes of some tables: another one says that they have changed."""
    digests = []
    for path in paths:
        with path.open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").digest())
    return hashlib.sha256(b"".join(digests)).hexdigest()[:16]


def _check_file(path: Path) -> None:
    fault = "is a folder" if path.is_dir() else "no such file"
    require(path.is_file(), f"{path}: {fault}: give the path of a table")
    readable, suffix = ", ".join(_READERS), path.suffix.lower()
    require(suffix in _READERS, f"{path}: cannot read {suffix!r} files: save the table as one of: {readable}")
    require(path.stat().st_size > 0, f"{path}: the file is empty: expected a table with named columns")


def open_table(path: Path, wanted: Sequence[str] | None = None) -> Any:
    """The wanted columns, or all, as a polars frame; a CSV file's are texts."""
    _check_file(path)
    return _READERS[path.suffix.lower()](path, None if wanted is None else list(dict.fromkeys(wanted)))


def _check_columns(path: Path, names: Sequence[str], wanted: Sequence[str]) -> None:
    twice = next((name for name in names if names.count(name) > 1), None)
    require(twice is None, f"{path}: {names.count(twice or '')} columns are named {twice!r}: rename all but one")
    for column in wanted:
        require(column in names, f"{path}: no column {column!r}: {nearest(column, names)}")


def _read_csv(path: Path, wanted: Sequence[str] | None) -> Any:
    """Columns of a CSV file as texts; numbers are made of them at once where every cell is one."""
    import polars as pl  # noqa: PLC0415  # imported here: problems need no table reader

    header = _csv_header(path)
    named = [name for name in header if name]
    for column in wanted or ():
        if column not in header and len(named) == 1 and any(mark in named[0] for mark in ";\t|"):
            raise InputError(f"{path}: no column {column!r} in {named[0]!r}: separate the columns by commas")
    _check_columns(path, named, wanted or ())
    kept = [index for index, name in enumerate(header) if name in (named if wanted is None else wanted)]
    try:
        # all columns, since of some alone a row of too many values would pass
        frame = pl.read_csv(path, infer_schema=False, eol_char=_line_end(path))
    except pl.exceptions.NoDataError:
        return pl.DataFrame({name: [] for name in named}, schema=dict.fromkeys(named, pl.String))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"{path}: {_why_unreadable(path, str(error))}") from None
    frame = frame[: _without_blank_end(path, frame)]
    # the header's own names may be spelled with blanks: places are what counts
    return pl.DataFrame([frame.to_series(index).alias(header[index]) for index in kept or [0]])


def _csv_header(path: Path) -> list[str]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            names = [name.strip() for name in next(csv.reader(file), [])]
    except UnicodeDecodeError:
        raise InputError(f"{path}: {NOT_UTF8}") from None
    except (csv.Error, OSError) as error:
        raise InputError(f"{path}: cannot be read as CSV ({error}): is it one?") from None
    require(any(names), f"{path}: the first line is blank: it must name the columns")
    return names


def _line_end(path: Path) -> str:
    """A line feed, or the carriage return alone with which some spreadsheets end their lines."""
    with path.open("rb") as file:
        head = file.read(2**20)
    return "\r" if b"\r" in head and b"\n" not in head else "\n"


def _without_blank_end(path: Path, frame: Any) -> int:
    """Rows up to the last one that is not blank: blank lines that end a file are no rows."""
    if frame.height == 0 or not all(frame[-1, column] in (None, "") for column in range(frame.width)):
        return frame.height
    with path.open(newline="", encoding="utf-8-sig") as file:
        last = 0
        for number, cells in enumerate(csv.reader(file)):
            last = number if any(cells) else last
    return min(frame.height, last)


NOT_UTF8 = "the file is not UTF-8 text: save it as a CSV file in UTF-8"


def _why_unreadable(path: Path, report: str) -> str:
    """The fault that keeps a CSV file from being read, in one line."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = csv.reader(file)
            width = len(next(lines, []))
            for number, cells in enumerate(lines, start=1):
                if len(cells) > width:
                    return f"row {number} has {len(cells)} values but the header has {width}: correct the row"
    except UnicodeDecodeError:
        return NOT_UTF8
    except (csv.Error, OSError) as error:
        report = str(error)
    return f"cannot be read as CSV ({report.splitlines()[0]}): look for unclosed quotes, check the permissions"


def _read_parquet(path: Path, wanted: Sequence[str] | None) -> Any:
    import polars as pl  # noqa: PLC0415

    try:
        names = pl.read_parquet_schema(path)
        _check_columns(path, list(names), wanted or ())
        return pl.read_parquet(path, columns=list(names) if wanted is None else list(wanted))
    except InputError:
        raise
    except (Exception, pl.exceptions.PanicException) as error:  # a damaged file raises errors of many kinds
        raise InputError(f"{path}: cannot be read as Parquet ({str(error).splitlines()[0]}): is it one?") from None


def _read_npz(path: Path, wanted: Sequence[str] | None) -> Any:
    """Arrays (N,) by their name, columns of arrays (N, C) as name_0, name_1, ...; arrays of another length are left."""
    import polars as pl  # noqa: PLC0415

    arrays = read_arrays(path)
    columns: list[tuple[str, np.ndarray]] = []
    for name, array in arrays.items():
        if array.ndim == 1:
            columns.append((name, array))
        elif array.ndim == 2:
            columns += [(f"{name}_{index}", column) for index, column in enumerate(array.T)]
    for name in wanted or ():
        width = arrays[name].shape[1] if name in arrays and arrays[name].ndim == 2 else 0
        require(
            width == 0, f"{path}: {name!r} is an array of {width} columns: name them {name}_0 to {name}_{width - 1}"
        )
    _check_columns(path, [name for name, _ in columns], wanted or ())
    named = dict(columns)
    kept = {name: named[name] for name in (named if wanted is None else wanted)}
    lengths = {name: len(array) for name, array in kept.items()}
    if wanted is not None:
        require(len(set(lengths.values())) <= 1, f"{path}: arrays of different lengths: {lengths}")
    longest = max(lengths.values(), default=0)
    return pl.DataFrame({name: array for name, array in kept.items() if len(array) == longest})


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an NPZ file, in types that polars knows."""
    try:
        if not zipfile.is_zipfile(path):
            raise ValueError("no archive of arrays")
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except Exception as error:  # a damaged archive raises errors of many kinds
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        cure = "save arrays of numbers or texts by np.savez"
        raise InputError(f"{path}: cannot be read as NPZ ({reason}): {cure}") from None
    for name, array in arrays.items():
        if array.dtype.kind == "M" and np.datetime_data(array.dtype)[0] not in ("D", "ms", "us", "ns"):
            arrays[name] = array.astype("datetime64[us]")
        elif array.dtype.kind == "m":
            arrays[name] = array / np.timedelta64(1, "s")
        elif array.dtype.kind == "f" and array.dtype.itemsize > 8:
            arrays[name] = array.astype(np.float64)
    return arrays


def as_numbers(path: Path, name: str, column: Any, missing_values: Values) -> np.ndarray:
    """One polars column as (N,) float64, NaN where missing; a row number counts from 1 after the header."""
    import polars as pl  # noqa: PLC0415

    if column.dtype == pl.String:
        quick = column.cast(pl.Float64, strict=False)
        values = quick if quick.null_count() == column.null_count() else _spelled(path, name, column, missing_values)
    elif column.dtype.is_temporal():
        values = _seconds(column)
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


def _seconds(column: Any) -> Any:
    """Dates as seconds since 1970, times of day since midnight, durations as they are."""
    import polars as pl  # noqa: PLC0415

    if column.dtype == pl.Time:
        return column.cast(pl.Int64).cast(pl.Float64) / 1e9
    kind = pl.Duration if column.dtype == pl.Duration else pl.Datetime
    return column.cast(kind("us")).cast(pl.Int64).cast(pl.Float64) / 1e6


def _spelled(path: Path, name: str, column: Any, missing_values: Values) -> Any:
    """Texts as numbers: blanks around them, true and false, and spellings of a missing value."""
    import polars as pl  # noqa: PLC0415

    text = column.str.strip_chars()
    missing = ["", *(value for value in missing_values if isinstance(value, str))]
    text = pl.select(pl.when(text.is_in(missing)).then(None).otherwise(text)).to_series()
    values = text.str.to_lowercase().replace({"true": "1", "false": "0"}).cast(pl.Float64, strict=False)
    bad = (values.is_null() & text.is_not_null()).arg_true()
    if len(bad):
        raise InputError(
            f"{path}: column {name!r}, row {bad[0] + 1}: {text[bad[0]]!r} is not a number: correct it, list it in "
            f"dataset.missing_values, or name the column in dataset.categorical"
        )
    return values


def as_texts(column: Any, missing_values: Values) -> np.ndarray:
    """One polars column as (N,) texts, None where missing; 3.0 is spelled 3, and TRUE true, whatever the file."""
    import polars as pl  # noqa: PLC0415

    if column.dtype.is_float():
        column = column.fill_nan(None)
    try:
        text = column.cast(pl.String).str.strip_chars()
    except pl.exceptions.PolarsError:
        raise InputError(f"column {column.name!r} holds {column.dtype}, not texts: leave it out") from None
    whole, lower = text.str.replace(r"^([+-]?\d+)\.0+$", "${1}"), text.str.to_lowercase()
    missing = ["", *(str(value).removesuffix(".0") for value in missing_values)]
    spelled = pl.when(lower.is_in(["true", "false"])).then(lower).otherwise(whole)
    return pl.select(pl.when(whole.is_in(missing)).then(None).otherwise(spelled)).to_series().to_numpy(writable=True)


_READERS: dict[str, Callable[[Path, Sequence[str] | None], Any]] = {
    ".csv": _read_csv,
    ".parquet": _read_parquet,
    ".npz": _read_npz,
}

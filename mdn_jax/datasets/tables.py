"""Tables as columns of numbers: a missing file, column or value is refused in one line."""

import csv
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mdn_jax._checks import InputError, nearest, require

__all__ = ["read_table"]


def read_table(path: Path, columns: Sequence[str]) -> np.ndarray:
    """The named columns of a table, (N, len(columns)) float64, every value finite."""
    wanted, fault = ", ".join(columns), "is a folder" if path.is_dir() else "no such file"
    require(path.is_file(), f"{path}: {fault}: dataset.path must name a table with columns {wanted}")
    readable, suffix = ", ".join(_READERS), path.suffix.lower()
    require(suffix in _READERS, f"{path}: cannot read {suffix!r} files: save the table as one of: {readable}")
    return _READERS[suffix](path, columns)


def _read_csv(path: Path, columns: Sequence[str]) -> np.ndarray:
    """The named columns of a CSV file, (N, len(columns)) float64, every value finite."""
    import polars as pl  # noqa: PLC0415  # imported here: problems need no table reader

    try:
        cells = pl.read_csv(path, has_header=False, infer_schema=False)
    except pl.exceptions.NoDataError:
        raise InputError(
            f"{path}: the file is empty: expected a header line and columns {', '.join(columns)}"
        ) from None
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"{path}: {_why_unreadable(path, str(error))}") from None
    names = [(name or "").strip() for name in cells.row(0)]
    _check_header(path, names, columns)
    filled = cells.select(pl.any_horizontal(pl.all().is_not_null())).to_series()
    body = cells[1 : filled.arg_true()[-1] + 1]  # blank lines that end a file are no rows
    table = [_numbers(f"{path}: column {name!r}", body.to_series(names.index(name))) for name in columns]
    return np.stack(table, axis=1)


def _check_header(path: Path, names: Sequence[str], columns: Sequence[str]) -> None:
    named = [name for name in names if name]
    require(bool(named), f"{path}: the first line is blank: it must name the columns")
    twice = next((name for name in named if named.count(name) > 1), None)
    require(twice is None, f"{path}: {named.count(twice or '')} columns are named {twice!r}: rename all but one")
    for column in columns:
        if column not in names and len(named) == 1 and any(mark in named[0] for mark in ";\t|"):
            raise InputError(f"{path}: no column {column!r} in {named[0]!r}: separate the columns by commas")
        require(column in names, f"{path}: no column {column!r}: {nearest(column, named)}")


def _numbers(where: str, column: Any) -> np.ndarray:
    """One polars column of texts as (N,) finite float64; a row number counts from 1 after the header."""
    import polars as pl  # noqa: PLC0415

    text = column.str.strip_chars()
    number = text.str.to_lowercase().replace({"true": "1", "false": "0"}).cast(pl.Float64, strict=False)
    bad = (number.is_null() & (text.fill_null("") != "")).arg_true()
    if len(bad):
        raise InputError(
            f"{where}, row {bad[0] + 1}: {text[bad[0]]!r} is not a number: correct it or leave the column out"
        )
    values = number.fill_null(math.nan).to_numpy()
    missing = np.flatnonzero(~np.isfinite(values))
    if missing.size:
        amount = "1 value is" if missing.size == 1 else f"{missing.size} values are"
        raise InputError(
            f"{where}: {amount} missing or not finite, first in row {missing[0] + 1}: fill in or drop such rows"
        )
    return values


def _why_unreadable(path: Path, report: str) -> str:
    """What keeps a CSV file from being read, in one line."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = csv.reader(file)
            width = len(next(lines, []))
            for number, cells in enumerate(lines, start=1):
                if len(cells) > width:
                    return f"row {number} has {len(cells)} values but the header has {width}: correct the row"
    except UnicodeDecodeError:
        return "the file is not UTF-8 text: save it as a CSV file in UTF-8"
    except (csv.Error, OSError) as error:
        report = str(error)
    return f"cannot be read as CSV ({report.splitlines()[0]}): look for unclosed quotes, check the permissions"


_READERS: dict[str, Callable[[Path, Sequence[str]], np.ndarray]] = {".csv": _read_csv}

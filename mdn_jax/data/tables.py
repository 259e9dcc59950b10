"""Tables as named columns: texts, Parquet and NPZ, the same values from each; a fault is one line."""

import hashlib
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mdn_jax._checks import InputError, require
from mdn_jax.data.cells import Values, as_numbers, as_texts
from mdn_jax.data.texts import SUFFIXES, check_columns, compressed, header, read_text
from mdn_jax.encoding import PLAIN, Dialect

__all__ = ["Table", "checksum", "column_names", "open_table", "read_arrays", "read_table", "reader_of"]


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


def read_table(
    path: Path, numbers: Sequence[str], texts: Sequence[str] = (), missing_values: Values = (), dialect: Dialect = PLAIN
) -> Table:
    """Some columns of a table.

    Args:
        path: a .csv, .tsv or .txt file, also compressed (.gz), or a .parquet or .npz file.
        numbers: columns to read as float64.
        texts: columns to read as texts: categories and groups.
        missing_values: values that stand for a missing one, beside empty cells and NaN.
        dialect: how its cells are written.

    Returns:
        The columns.

    Raises:
        InputError: for a file that is missing, empty or not what its suffix says, a missing or repeated column, or a
            value that is no finite number.
    """
    frame = open_table(path, [*numbers, *texts], dialect)
    columns = {name: as_numbers(path, name, frame[name], missing_values, dialect.decimal) for name in numbers}
    try:
        for name in texts:
            columns[name] = as_texts(frame[name], missing_values, dialect.decimal, codes=name in dialect.codes)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return Table(path, columns, frame.height)


def column_names(path: Path, dialect: Dialect = PLAIN) -> list[str]:
    """Names of all columns of a table."""
    if reader_of(path) is read_text:
        return [name for name in header(path, dialect) if name]
    return list(open_table(path).columns)


def checksum(paths: Sequence[Path]) -> str:
    """A short name for the bytes of some tables: another one says that they have changed."""
    digests = []
    for path in paths:
        with path.open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").digest())
    return hashlib.sha256(b"".join(digests)).hexdigest()[:16]


def open_table(path: Path, wanted: Sequence[str] | None = None, dialect: Dialect = PLAIN) -> Any:
    """The wanted columns, or all, as a polars frame; those of a text file are texts."""
    return reader_of(path)(path, None if wanted is None else list(dict.fromkeys(wanted)), dialect)


def reader_of(path: Path) -> Callable[[Path, Sequence[str] | None, Dialect], Any]:
    """The reader of a file, whose content begins as its suffix says."""
    fault = "is a folder" if path.is_dir() else "no such file"
    require(path.is_file(), f"{path}: {fault}: give the path of a table")
    suffix = "".join(path.suffixes[-2:] if compressed(path) else path.suffixes[-1:]).lower()
    readable = ", ".join(_READERS)
    require(suffix in _READERS, f"{path}: cannot read {suffix!r} files: save the table as one of: {readable}")
    require(path.stat().st_size > 0, f"{path}: the file is empty: expected a table with named columns")
    with path.open("rb") as file:
        start = file.read(12)
    found = next((kind for magic, kind in _MAGIC.items() if start.startswith(magic)), "text")
    said = ".gz" if compressed(path) else suffix if suffix in _MAGIC.values() else "text"
    require(said == found, f"{path}: begins with {start!r}, which is no {said} file: {_SUFFIXES[found]}")
    return _READERS[suffix]


_MAGIC = {b"PAR1": ".parquet", b"PK": ".npz", b"\x1f\x8b": ".gz"}
_SUFFIXES = {
    "text": "if it is a text, let its name end in .csv",
    ".parquet": "it is Parquet, let its name end in .parquet",
    ".npz": "it is an archive, let the name of one of arrays end in .npz, and save a workbook as CSV",
    ".gz": "it is compressed, let its name end in .csv.gz",
}


def _read_parquet(path: Path, wanted: Sequence[str] | None, _: Dialect) -> Any:
    import polars as pl  # noqa: PLC0415

    try:
        names = pl.read_parquet_schema(path)
        check_columns(path, list(names), wanted or ())
        return pl.read_parquet(path, columns=list(names) if wanted is None else list(wanted))
    except InputError:
        raise
    except (Exception, pl.exceptions.PanicException) as error:  # a damaged file raises errors of many kinds
        raise InputError(f"{path}: cannot be read as Parquet ({str(error).splitlines()[0]}): is it one?") from None


def _read_npz(path: Path, wanted: Sequence[str] | None, _: Dialect) -> Any:
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
    check_columns(path, [name for name, _ in columns], wanted or ())
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


_READERS: dict[str, Callable[[Path, Sequence[str] | None, Dialect], Any]] = {
    **dict.fromkeys(SUFFIXES, read_text),
    ".parquet": _read_parquet,
    ".npz": _read_npz,
}

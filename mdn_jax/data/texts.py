"""Tables in text files: polars parses them; what their separator, decimal mark and encoding are is decided here."""

import codecs
import csv
import gzip
import itertools
import json
import re
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

from mdn_jax._checks import InputError, nearest, require
from mdn_jax.data.cells import shown
from mdn_jax.encoding import PLAIN, Dialect

__all__ = ["SUFFIXES", "check_columns", "compressed", "header", "read_text", "sniff"]

UNREADABLE = (csv.Error, OSError, EOFError, zlib.error, UnicodeError)
SUFFIXES = tuple(suffix + end for suffix in (".csv", ".tsv", ".txt") for end in ("", ".gz"))
MANY_LINES = 1_000  # enough to tell a separator and a decimal mark by
MANY_POINTS = 10  # to each decimal comma, before they are not taken for codes
NUMBER = re.compile(r"[+-]?[\d.,]*\d([eE][+-]?\d+)?%?")
# numbers with one mark that can be the decimal one alone, or whose other mark stands between thousands
DECIMAL = r"[+-]?(?:(?:0|\d{{4,}}|\d{{1,3}}(?:[{other}]\d{{3}})+)[{mark}]\d+|\d{{1,3}}[{mark}](?:\d\d?|\d{{4,}})|\d{{1,3}}(?:[{other}]\d{{3}}){{2,}})(?:[eE][+-]?\d+)?%?"  # noqa: E501


def compressed(path: Path) -> bool:
    """True for a file that ends in .gz."""
    return path.suffix.lower() == ".gz"


def read_text(path: Path, wanted: Sequence[str] | None, dialect: Dialect) -> Any:
    """Columns of a text file as texts; numbers are made of them at once where every cell is one."""
    import polars as pl  # noqa: PLC0415  # imported here: problems need no table reader

    names = header(path, dialect)
    named = [name for name in names if name]
    cure = _cure(path, dialect) if not set(wanted or ()) <= set(named) else ""
    require(not cure, f"{path}: the first line is {shown(','.join(names))}{cure}")
    check_columns(path, named, wanted or ())
    keep = set(named if wanted is None else wanted)
    try:
        with _opened(path, dialect.encoding) as file:
            first = file.read(2**20)
            whole = b"" if _is_plain(path, dialect) else (first + file.read()).encode()
        # all columns, since of some alone a row of too many values would pass; some spreadsheets end lines in \r alone
        frame = pl.read_csv(
            whole or path, separator=_separator(path, dialect), infer_schema=False,
            eol_char="\r" if "\r" in first and "\n" not in first else "\n",
        )  # fmt: skip
    except pl.exceptions.NoDataError:
        return pl.DataFrame({name: [] for name in named}, schema=dict.fromkeys(named, pl.String))
    except (pl.exceptions.PolarsError, *UNREADABLE) as error:
        raise InputError(f"{path}: {_why_unreadable(path, dialect, error)}") from None
    frame = frame[: _without_blank_end(path, dialect, frame)]
    # the header's own names may be spelled with blanks: places are what counts
    kept = [index for index, name in enumerate(names) if name in keep] or [0]
    return pl.DataFrame([frame.to_series(index).alias(names[index]) for index in kept])


def header(path: Path, dialect: Dialect) -> list[str]:
    """The names in the first line, empty where there is none."""
    try:
        with _opened(path, dialect.encoding) as file:
            names = [name.strip() for name in next(csv.reader(file, delimiter=_separator(path, dialect)), [])]
    except UNREADABLE as error:
        raise InputError(f"{path}: {_why_unreadable(path, dialect, error)}") from None
    require(any(names), f"{path}: the first line is blank: it must name the columns")
    return names


def check_columns(path: Path, names: Sequence[str], wanted: Sequence[str]) -> None:
    """Refuse names that stand twice, and wanted ones that are not there."""
    counts = Counter(names)
    for name, count in counts.items():
        require(count == 1, f"{path}: {count} columns are named {name!r}: rename all but one")
    for column in wanted:
        if column not in counts:
            raise InputError(f"{path}: no column {column!r}: {nearest(column, names)}")


def sniff(path: Path) -> Dialect:
    """The writing of a text file, by its bytes and its first lines; a field that is as usual keeps its default.

    Raises:
        InputError: for a file that holds no text.
    """
    encoding = _encoding(path)
    with _opened(path, encoding) as file:
        lines = list(itertools.islice(file, MANY_LINES))
    found = {}
    for mark in ",;\t|":
        names, *rows = [row for row in csv.reader(lines, delimiter=mark) if any(row)] or [[]]
        cells = [cell.strip() for row in rows for cell in row if cell]
        fitting = sum(len(row) == len(names) for row in rows)
        numbers = sum(NUMBER.fullmatch(cell) is not None for cell in cells) / max(len(cells), 1)
        found[mark] = (2 * fitting >= len(rows), numbers, len(names), cells)
    separator = max(found, key=lambda mark: found[mark][:3])
    commas, points = (
        sum(re.fullmatch(DECIMAL.format(mark=mark, other=other), cell) is not None for cell in found[separator][3])
        for mark, other in (",.", ".,")
    )
    if separator != ",":  # codes such as 250.0 have points in any file
        commas *= MANY_POINTS
    # 1,234 may be either; where semicolons keep commas free, they are decimal
    doubtful = separator == ";" and commas == points and any(re.fullmatch(r"\d+,\d+", c) for c in found[";"][3])
    usual = _separator(path, PLAIN)
    return Dialect(None if separator == usual else separator, "," if commas > points or doubtful else ".", encoding)


def _opened(path: Path, encoding: str) -> TextIO:
    codec = "utf-8-sig" if _is_utf8(encoding) else encoding  # with or without its mark
    if compressed(path):
        return gzip.open(path, "rt", newline="", encoding=codec)  # pyright: ignore[reportReturnType]
    return path.open(newline="", encoding=codec)


def _is_utf8(encoding: str) -> bool:
    return codecs.lookup(encoding).name == "utf-8"


def _is_plain(path: Path, dialect: Dialect) -> bool:
    """True where polars reads the file itself."""
    return not compressed(path) and _is_utf8(dialect.encoding)


def _content(path: Path) -> bytes:
    with gzip.open(path) if compressed(path) else path.open("rb") as file:
        return file.read()


def _separator(path: Path, dialect: Dialect) -> str:
    return dialect.separator or ("\t" if ".tsv" in path.name.lower()[-7:] else ",")


def _encoding(path: Path) -> str:
    """The encoding of a file of texts; of those with a byte for each letter the usual two."""
    try:
        content = _content(path)
    except UNREADABLE as error:
        raise InputError(f"{path}: {_why_unreadable(path, PLAIN, error)}") from None
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    control = re.search(rb"\x00", content)
    if control:
        line = content[: control.start()].count(b"\n") + 1
        raise InputError(
            f"{path}: line {line} holds the byte {control[0]!r}: the file is no text, save it as CSV in UTF-8"
        )
    for encoding in ("utf-8", "cp1252"):
        try:
            content.decode(encoding)
        except UnicodeError:
            continue
        return "latin-1" if encoding == "cp1252" and not re.search(rb"[\x80-\x9f]", content) else encoding
    return "latin-1"


def _cure(path: Path, dialect: Dialect) -> str:
    """The lines of a config by which a file is read that its own do not fit; empty where nothing better is known."""
    found = sniff(path)
    fields = {"separator": _separator(path, found), "decimal": found.decimal, "encoding": found.encoding}
    own = {"separator": _separator(path, dialect), "decimal": dialect.decimal, "encoding": dialect.encoding}
    lines = [f"dataset.{name} = {json.dumps(value)}" for name, value in fields.items() if value != own[name]]
    return f": set {' and '.join(lines)}" if lines and fields["separator"] != own["separator"] else ""


def _without_blank_end(path: Path, dialect: Dialect, frame: Any) -> int:
    """Rows up to the last one that is not blank: blank lines that end a file are no rows."""
    if frame.height == 0 or not all(frame[-1, column] in (None, "") for column in range(frame.width)):
        return frame.height
    with _opened(path, dialect.encoding) as file:
        last = 0
        for number, cells in enumerate(csv.reader(file, delimiter=_separator(path, dialect))):
            last = number if any(cells) else last
    return min(frame.height, last)


def _why_unreadable(path: Path, dialect: Dialect, error: Exception) -> str:
    """The fault that keeps a text file from being read, in one line."""
    try:
        with _opened(path, dialect.encoding) as file:
            lines = csv.reader(file, delimiter=_separator(path, dialect))
            width = len(next(lines, []))
            for number, cells in enumerate(lines, start=1):
                if len(cells) > width:
                    line = f"row {number}, {shown(','.join(cells))}, has {len(cells)} values but the header has {width}"
                    return line + (_cure(path, dialect) or ": correct the row")
    except UnicodeError:
        return _not_encoded(path, dialect.encoding)
    except (EOFError, zlib.error, gzip.BadGzipFile) as found:
        return f"the compressed file ends early or is damaged ({found}): fetch it, or compress it, again"
    except (csv.Error, OSError) as found:
        error = found
    return f"cannot be read as CSV ({str(error).splitlines()[0]}): look for unclosed quotes, check the permissions"


def _not_encoded(path: Path, encoding: str) -> str:
    content = _content(path)
    try:
        content.decode(encoding)
    except UnicodeDecodeError as error:
        line, start = content[: error.start].count(b"\n") + 1, error.start
        near = (
            re.split(rb"[\r\n]", content[max(0, start - 12) : start])[-1] + content[start : start + 4].split(b"\n")[0]
        )
        try:
            cure = f"set dataset.encoding = {json.dumps(_encoding(path))}, or save the file in UTF-8"
        except InputError:
            cure = "it is no text, save it as a CSV file in UTF-8"
        return f"line {line}: {near!r} is not {encoding}: {cure}"
    return f"the file is no {encoding}: set dataset.encoding"

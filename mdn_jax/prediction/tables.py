"""Columns of a new table for a model: a file, a polars frame or arrays by name, read as its training table was."""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mdn_jax._checks import InputError, nearest, require
from mdn_jax._typing import Bool, Float
from mdn_jax.data import column_names
from mdn_jax.data.cells import as_numbers, as_texts  # the same values as in training, from frames too
from mdn_jax.data.tables import open_table
from mdn_jax.encoding import Dialect, Encoding, missing_in, refuse_missing
from mdn_jax.models import Model

__all__ = ["Given", "TableLike", "Wanted", "read_wanted", "typed"]

TableLike = Any  # a path, a polars or pandas DataFrame, or a mapping of name -> (N,) values, or of one row's
Given = Mapping[str, float | str]


@dataclass(frozen=True, eq=False)
class Wanted:
    """The columns of a table of N rows that a model needs."""

    source: str  # the table's name in messages
    inputs: dict[str, np.ndarray]  # the input columns, as `Encoding.encode` takes them
    lacking: Bool[np.ndarray, " N"]  # rows that have no answer, because an input is missing and such rows are dropped
    given: Float[np.ndarray, "N G"]  # what the given targets are, kinds by their codes
    targets: Float[np.ndarray, "N D"] | None  # those left, NaN where missing; None where the table lacks one of them
    unseen: dict[str, np.ndarray]  # of each target left of kinds (N,) texts that training never saw, None for others
    unknown: dict[str, int]  # of each category that has such, how many values are of a kind that training never saw
    kept: Any  # a polars frame of columns to copy
    num_rows: int


def read_wanted(
    model: Model,
    table: TableLike,
    given: Given,
    keep: Sequence[str] | str,
    kinds: Mapping[str, tuple[str, ...]],
    *,
    strict: bool,
    scored: bool = True,
) -> Wanted:
    """Read what a model needs of a table; `kinds` of each target that names such; the targets where `scored`.

    Raises:
        InputError: for a missing column, values that are missing where the model refuses that, no rows, or (strict) a
            kind that training never saw.
    """
    free = [name for name in model.target_names if name not in given]
    from_columns = [
        value for name, value in given.items() if isinstance(value, str) and value not in kinds.get(name, ())
    ]
    encoding = model.encoding
    names = list(encoding.inputs if encoding else model.input_names)
    known_targets, kept = [], []

    def choose(found: Sequence[str]) -> list[str]:
        for name, value in given.items():
            known = name not in kinds or value in (*kinds[name], *found)
            line = f"given: {name!r} is {value!r}, neither a kind that training saw nor a column"
            require(known, f"{line}: {nearest(str(value), kinds.get(name, ()))}")
        others = [name for name in found if name not in kinds]  # an answer has the name of its target
        kept.extend(others if keep == "all" else [keep] if isinstance(keep, str) else keep)
        known_targets.extend(free if scored and set(free) <= set(found) else [])
        return [*names, *from_columns, *known_targets, *kept]

    dialect = encoding.dialect if encoding else Dialect()
    source, frame = _frame_of(table, choose, dialect)
    count = frame.height
    require(count > 0, f"{source}: the table has no rows: nothing to predict")
    marks = encoding.missing_values if encoding else ()
    categorical = encoding.categorical if encoding else ()
    numbers = lambda name: _read_numbers(source, name, frame[name], marks, dialect)  # noqa: E731
    texts = lambda name, own: as_texts(frame[name], marks, dialect.decimal, codes=own in dialect.codes)  # noqa: E731
    inputs = {name: texts(name, name) if name in categorical else numbers(name) for name in names}
    lacking = _lacking(source, encoding, inputs, count)
    unknown = _unknown_kinds(source, encoding, inputs, strict=strict) if encoding else {}
    unseen = {}

    def target(name: str, column: str, *, strict: bool) -> np.ndarray:
        if name not in kinds:
            return numbers(column)
        codes, unseen[name] = _codes(source, name, texts(column, name), kinds[name], strict=strict)
        return codes

    known = []
    for name, value in given.items():
        own = kinds.get(name, ())
        if value in own or not isinstance(value, str):
            known.append(np.full(count, own.index(value) if value in own else value, np.float64))
        else:
            known.append(target(name, value, strict=True))
            refuse_missing(source, f"{value!r}, given as {name!r}", missing_in(known[-1]))
    each = [target(name, name, strict=strict) for name in known_targets]
    targets = np.stack(each, axis=1) if each else None
    table_given = np.stack(known, axis=1) if known else np.empty((count, 0))
    return Wanted(str(source), inputs, lacking, table_given, targets, unseen, unknown, frame.select(kept), count)


def _codes(
    source: Path, name: str, texts: np.ndarray, kinds: tuple[str, ...], *, strict: bool
) -> tuple[Float[np.ndarray, " N"], np.ndarray]:
    """The codes of a target's kinds, NaN where missing or unseen, and the texts that training never saw, else None."""
    place = {kind: code for code, kind in enumerate(kinds)}
    unseen = np.array([None if text is None or text in place else text for text in texts], object)
    _refuse_unseen(source, name, unseen, kinds, strict=strict)
    return np.array([place.get(text, np.nan) for text in texts]), unseen


def _refuse_unseen(source: Path, name: str, unseen: np.ndarray, kinds: tuple[str, ...], *, strict: bool) -> None:
    """An `InputError` for the first text that training never saw, where it is strict."""
    row = int((~missing_in(unseen)).argmax())
    require(
        not strict or unseen[row] is None,
        f"{source}: column {name!r}, row {row + 1}: training never saw {unseen[row]!r}: "
        f"{nearest(str(unseen[row]), kinds)}",
    )


def typed(frame: Any) -> Any:
    """A frame whose columns of texts are numbers where every cell is one, and none an identifier such as 007."""
    import polars as pl  # noqa: PLC0415

    columns = []
    for column in frame:
        if column.dtype == pl.String and not column.str.contains(r"^[+-]?(0\d|\d{16,})").any():
            for kind in (pl.Int64, pl.Float64):
                number = column.str.strip_chars().cast(kind, strict=False)
                if number.null_count() == column.null_count() < len(column):
                    column = number
                    break
        columns.append(column)
    return pl.DataFrame(columns)


def _frame_of(table: TableLike, choose: Callable[[Sequence[str]], list[str]], dialect: Dialect) -> tuple[Path, Any]:
    """A name for messages, and the columns that `choose(names)` names as a polars frame."""
    import polars as pl  # noqa: PLC0415

    if isinstance(table, str | os.PathLike):
        path = Path(table).expanduser()
        try:
            found = column_names(path, dialect)
            return path, open_table(path, choose(found) or found[:1], dialect)
        except InputError as error:
            fault, other, _ = str(error).partition(": set dataset.")  # a field of a config cures a training table alone
            written = f"{dialect.separator or ','!r} between cells, {dialect.decimal!r} in numbers, {dialect.encoding}"
            raise InputError(f"{fault}: save it as the training table was ({written})" if other else fault) from None
    source = Path("table")
    if not isinstance(table, Mapping | pl.DataFrame) and hasattr(table, "columns") and hasattr(table, "to_numpy"):
        table = {str(name): table[name].to_numpy() for name in table.columns}  # of pandas
    if isinstance(table, Mapping):
        one = all(np.ndim(values) == 0 for values in table.values())
        columns = [_series(name, [values] if one else values) for name, values in table.items()]
        lengths = {column.name: len(column) for column in columns}
        require(len(set(lengths.values())) <= 1, f"{source}: columns of different lengths: {lengths}")
        table = pl.DataFrame(columns)
    require(
        isinstance(table, pl.DataFrame),
        f"predict takes a path, a polars or pandas DataFrame or a mapping of columns; got {type(table).__name__}",
    )
    wanted = choose(table.columns)
    for name in wanted:
        require(name in table.columns, f"{source}: no column {name!r}: {nearest(name, table.columns)}")
    return source, table.select(list(dict.fromkeys(wanted)) or table.columns[:1])


def _series(name: str, values: Any) -> Any:
    import polars as pl  # noqa: PLC0415

    values = np.asarray(values)
    require(values.ndim == 1, f"table: column {name!r} must be (N,); got {values.shape}")
    return pl.Series(name, values.tolist(), strict=False) if values.dtype.kind in "OUS" else pl.Series(name, values)


def _read_numbers(source: Path, name: str, column: Any, marks: tuple, dialect: Dialect) -> np.ndarray:
    try:
        return as_numbers(source, name, column, marks, dialect.decimal)
    except InputError as error:
        # what else cures a training table does not cure this one
        fault = re.split(": correct it|: set dataset.", str(error))[0]
        raise InputError(f"{fault}: correct it, or empty the cell") from None


def _lacking(source: Path, encoding: Encoding | None, inputs: dict[str, np.ndarray], count: int) -> np.ndarray:
    """Rows to leave without an answer; refused where the model was trained to refuse missing inputs."""
    lacking, choice = np.zeros(count, bool), encoding.missing_inputs if encoding else "refuse"
    for name, values in inputs.items():
        if choice == "refuse":
            refuse_missing(source, repr(name), missing_in(values))
        elif choice == "drop":
            lacking |= missing_in(values)
    return lacking


def _unknown_kinds(source: Path, encoding: Encoding, inputs: dict[str, np.ndarray], *, strict: bool) -> dict[str, int]:
    """Count the values of each category that are of a kind training never saw; the first is refused where strict."""
    counts = {}
    for column in encoding.columns:
        if column.kinds is None:
            continue
        values = inputs[column.name]
        strange = ~missing_in(values) & ~np.isin(values.astype(str), column.kinds)
        _refuse_unseen(source, column.name, np.where(strange, values, np.array(None)), column.kinds, strict=strict)
        if strange.any():
            counts[column.name] = int(strange.sum())
    return counts

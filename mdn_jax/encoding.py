"""From the columns of a table to the numbers that a network sees, the same way every time.

What was seen in training travels with the model: the names, the kinds of a category, the range of a number, and what
stands in for a missing value. A kind becomes a 0/1 column; a kind that training never saw, and a missing value, are
answered as the average row would be, and reported.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from mdn_jax._checks import InputError, require
from mdn_jax._typing import Bool, Float

__all__ = ["PLAIN", "Column", "Dialect", "Encoded", "Encoding"]

Columns = Mapping[str, np.ndarray]  # name -> (N,) float64 with NaN, or texts with None, where a value is missing


@dataclass(frozen=True)
class Dialect:
    """The writing of a table's cells, beside what stands for a missing value.

    Attributes:
        separator: between the cells of a text file; a comma where None, or a tab in a .tsv file.
        decimal: mark of the numbers in texts.
        encoding: of a text file.
        codes: columns whose kinds stay apart as written, 250.0 and 250.00 too.
    """

    separator: str | None = None
    decimal: str = "."
    encoding: str = "utf-8"
    codes: tuple[str, ...] = ()


PLAIN = Dialect()


@dataclass(frozen=True)
class Column:
    """One input column.

    Attributes:
        name: of the column.
        low: smallest training value of a number.
        high: largest training value.
        mean: of the training values, which stands in for a missing one.
        kinds: of a category, in order; None for a number.
        shares: of the training rows that are of each kind.
        indicates: whether a further 0/1 column says that the value is missing.
    """

    name: str
    low: float = math.nan
    high: float = math.nan
    mean: float = math.nan
    kinds: tuple[str, ...] | None = None
    shares: tuple[float, ...] = ()
    indicates: bool = False

    @classmethod
    def fit(cls, name: str, values: np.ndarray, *, categorical: bool, indicate: bool) -> Self:
        """Learn a column's encoding from its training values."""
        missing = missing_in(values)
        indicates, present = indicate and bool(missing.any()), values[~missing]
        require(len(present) > 0, f"column {name!r} has no value in any training row: leave it out of inputs")
        if categorical:
            shares = np.unique(present.astype(str), return_counts=True)[1] / len(present)
            return cls(name, kinds=_kinds_in(values), shares=tuple(shares.tolist()), indicates=indicates)
        return cls(name, float(present.min()), float(present.max()), float(present.mean()), indicates=indicates)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the numbers that it becomes."""
        own = (self.name,) if self.kinds is None else tuple(f"{self.name}={kind}" for kind in self.kinds)
        return (*own, f"{self.name} missing") if self.indicates else own

    def encode(self, values: np.ndarray) -> tuple[Float[np.ndarray, "N C"], Bool[np.ndarray, " N"]]:
        """The numbers of N values, and which of them training never saw the like of."""
        missing = missing_in(values)
        if self.kinds is None:
            filled = np.where(missing, self.mean, values)
            numbers, strange = filled[:, None], (filled < self.low) | (filled > self.high)
        else:
            texts = np.where(missing, "", values).astype(str)
            numbers = (texts[:, None] == np.array(self.kinds)).astype(np.float64)
            strange = ~missing & ~numbers.any(axis=1)
            numbers[missing | strange] = self.shares
        if self.indicates:
            return np.column_stack([numbers, missing.astype(np.float64)]), strange
        return numbers, strange | missing


class Encoded(NamedTuple):
    """N rows as a network sees them.

    Attributes:
        x: (N, X).
        outside: (N,) rows with an input that training never saw the like of: a number beyond its training range, an
            unknown kind, or a missing value where none was missing in training.
        unknown: for each category, how many values are of a kind that training never saw.
        missing: for each input, how many values are missing.
    """

    x: Float[np.ndarray, "N X"]
    outside: Bool[np.ndarray, " N"]
    unknown: dict[str, int]
    missing: dict[str, int]


@dataclass(frozen=True)
class Encoding:
    """The map from the columns of a table to inputs and targets.

    Attributes:
        columns: the input columns in order.
        targets: names of the target columns.
        missing_values: values that stand for a missing one in a table.
        missing_inputs: "refuse", "drop" or "indicate".
        target_kinds: of each target that names kinds these in order, and None of numbers; () where all are numbers.
        dialect: how the training table was written, and new ones are read.

    Example:
        >>> import numpy as np
        >>> from mdn_jax.encoding import Encoding
        >>> table = {"size": np.array([1.0, 3.0]), "colour": np.array(["red", "blue"], object)}
        >>> encoding = Encoding.fit(table, ("size", "colour"), ("price",), categorical=("colour",))
        >>> encoding.names
        ('size', 'colour=blue', 'colour=red')
        >>> encoding.encode({"size": np.array([9.0]), "colour": np.array(["green"], object)}).unknown
        {'colour': 1}
    """

    columns: tuple[Column, ...]
    targets: tuple[str, ...]
    missing_values: tuple[float | int | str, ...] = ()
    missing_inputs: str = "refuse"
    target_kinds: tuple[tuple[str, ...] | None, ...] = ()
    dialect: Dialect = PLAIN

    @classmethod
    def fit(
        cls,
        table: Columns,
        inputs: Sequence[str],
        targets: Sequence[str],
        *,
        categorical: Sequence[str] = (),
        missing_values: Sequence[float | int | str] = (),
        missing_inputs: str = "refuse",
        dialect: Dialect = PLAIN,
    ) -> Self:
        """The encoding of training rows.

        Args:
            table: name -> (N,) values.
            inputs: names of the input columns.
            targets: names of the target columns.
            categorical: those of the inputs and targets that name kinds.
            missing_values: values that stand for a missing one.
            missing_inputs: what to do about missing inputs.
            dialect: how the table was written.
        """
        indicate = missing_inputs == "indicate"
        columns = [Column.fit(name, table[name], categorical=name in categorical, indicate=indicate) for name in inputs]
        kinds = [_kinds_in(table[name]) if name in categorical else None for name in targets]
        target_kinds = tuple(kinds) if any(kinds) else ()
        return cls(tuple(columns), tuple(targets), tuple(missing_values), missing_inputs, target_kinds, dialect)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the input columns."""
        return tuple(column.name for column in self.columns)

    @property
    def categorical(self) -> tuple[str, ...]:
        """Names of those that name kinds."""
        return tuple(column.name for column in self.columns if column.kinds is not None)

    @property
    def num_classes(self) -> tuple[int | None, ...]:
        """Of each target how many kinds it names, and None of a number."""
        return tuple(None if kinds is None else len(kinds) for kinds in self._kinds_of_targets)

    @property
    def _kinds_of_targets(self) -> tuple[tuple[str, ...] | None, ...]:
        return self.target_kinds or (None,) * len(self.targets)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the X numbers that a network sees."""
        return tuple(name for column in self.columns for name in column.names)

    def encode(self, table: Columns) -> Encoded:
        """N rows as a network sees them; the input columns must be in `table`."""
        num_rows = len(next(iter(table.values()))) if table else 0
        parts, outside, unknown = [np.empty((num_rows, 0))], np.zeros(num_rows, bool), {}
        for column in self.columns:
            numbers, strange = column.encode(table[column.name])
            parts.append(numbers)
            outside |= strange
            if column.kinds is not None:
                unknown[column.name] = int((strange & ~missing_in(table[column.name])).sum())
        missing = {name: int(missing_in(table[name]).sum()) for name in self.inputs}
        return Encoded(np.concatenate(parts, axis=1), outside, unknown, missing)

    def encode_targets(self, table: Columns) -> tuple[Float[np.ndarray, "N D"], Bool[np.ndarray, "N D"]]:
        """The targets of N rows, NaN where missing and the code of a kind, and which are of a kind never seen."""
        y = []
        for name, kinds in zip(self.targets, self._kinds_of_targets, strict=True):
            values, missing = table[name], missing_in(table[name])
            if kinds is not None:
                codes = {kind: code for code, kind in enumerate(kinds)}
                values = np.array([np.nan if value is None else codes.get(str(value), -1) for value in values])
            y.append(np.where(missing, np.nan, values))
        stacked = np.stack(y, axis=1).astype(np.float64)
        return stacked, (stacked < 0) & np.array([kinds is not None for kinds in self._kinds_of_targets])

    def to_dict(self) -> dict[str, Any]:
        """Plain values, from which `from_dict` makes the same encoding."""
        columns = []
        for column in self.columns:
            plain: dict[str, Any] = {"name": column.name, "indicates": column.indicates}
            if column.kinds is None:
                plain |= {"low": column.low, "high": column.high, "mean": column.mean}
            else:
                plain |= {"kinds": list(column.kinds), "shares": list(column.shares)}
            columns.append(plain)
        return {
            "columns": columns,
            "targets": list(self.targets),
            "missing_values": list(self.missing_values),
            "missing_inputs": self.missing_inputs,
            "target_kinds": [list(kinds or ()) for kinds in self.target_kinds],
            "dialect": {
                n: list(v) if isinstance(v, tuple) else v for n, v in vars(self.dialect).items() if v is not None
            },
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Self:
        """The encoding that `to_dict` described."""
        try:
            columns = [Column(**_with_tuples(column)) for column in plain["columns"]]
            kinds = tuple(tuple(kinds) or None for kinds in plain["target_kinds"])
            marks, dialect = tuple(plain["missing_values"]), Dialect(**_with_tuples(plain.get("dialect", {})))
            return cls(tuple(columns), tuple(plain["targets"]), marks, plain["missing_inputs"], kinds, dialect)
        except (KeyError, TypeError) as error:
            raise InputError(f"not an encoding of columns: {error}") from None


def _with_tuples(plain: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in plain.items()}


def refuse_missing(source: str | Path, column: str, missing: Bool[np.ndarray, " N"], cure: str = "") -> None:
    """An `InputError` where a column that may not lack a value does; `cure` is what helps beside filling it in."""
    rows = np.flatnonzero(missing)
    amount, them = ("1 value is", "it") if rows.size == 1 else (f"{rows.size} values are", "them")
    first = rows[0] + 1 if rows.size else 0
    require(not rows.size, f"{source}: column {column}: {amount} missing, first in row {first}: {cure}fill {them} in")


def missing_in(values: np.ndarray) -> Bool[np.ndarray, " N"]:
    """The mask of missing values: NaN among numbers, None among texts."""
    if np.issubdtype(values.dtype, np.floating):
        return np.isnan(values)
    return np.array([value is None for value in values], bool)


def _kinds_in(values: np.ndarray) -> tuple[str, ...]:
    """The kinds that N values name, in order."""
    return tuple(np.unique(values[~missing_in(values)].astype(str)).tolist())

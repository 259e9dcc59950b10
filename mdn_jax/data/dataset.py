"""Rows of one experiment: the parts that train, calibrate and test, and what is known about them."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from mdn_jax._checks import InputError, require
from mdn_jax._typing import Bool, Float, Int
from mdn_jax.encoding import Encoding
from mdn_jax.heads import Support

__all__ = ["Dataset", "Part"]

Rows = Float[np.ndarray, "N X"]
Targets = Float[np.ndarray, "N D"]


@dataclass(frozen=True, eq=False)
class Part:
    """Rows of one part of the data, as float64 on the host.

    Attributes:
        x: (N, X) inputs; (N,) is one input.
        y: (N, D) targets; (N,) is one target. A target that names kinds holds their codes, from 0.
        weight: (N,) how much each row counts; None where all count alike.
        observed: (N, D) which targets are known; None where all are. The others are integrated out.
        place: (N,) the row's place in its file, from 0; None where there is no file.

    Raises:
        InputError: for arrays of different numbers of rows, and inputs or known targets that are not finite.

    Example:
        >>> import numpy as np, mdn_jax as mdn
        >>> part = mdn.Part(x=np.arange(4.0), y=np.ones((4, 2)))
        >>> len(part), part.x.shape, part.y.shape
        (4, (4, 1), (4, 2))
    """

    x: Rows
    y: Targets
    weight: Float[np.ndarray, " N"] | None = None
    observed: Bool[np.ndarray, "N D"] | None = None
    place: Int[np.ndarray, " N"] | None = None

    def __post_init__(self) -> None:
        x, y = (_rows_of(name, getattr(self, name)) for name in ("x", "y"))
        weight = None if self.weight is None else np.asarray(self.weight, np.float64)
        known = None if self.observed is None else np.asarray(self.observed, bool).reshape(y.shape)
        for name, array in {"y": y, "weight": weight, "observed": known}.items():
            fits = array is None or len(array) == len(x)
            require(fits, f"x has {len(x)} rows and {name} has {0 if array is None else len(array)}: give one of each")
        _check_finite("x", x, "")
        if known is not None:
            y, known = np.where(known, y, 0.0), None if known.all() else known
        _check_finite("y", y, " (for missing targets give observed)")
        y = y if known is None else np.where(known, y, np.nan)
        for name, value in {"x": x, "y": y, "weight": weight, "observed": known}.items():
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.y)

    def take(self, rows: Int[np.ndarray, " R"]) -> Self:
        """Some of the rows."""
        return replace(self, **{name: None if value is None else value[rows] for name, value in vars(self).items()})

    def row_name(self, row: int, part: str) -> str:
        """A row for messages: its place in the file, from 1, or where there is none in its part."""
        return f"{part} row {row}" if self.place is None else f"row {self.place[row] + 1} of the table"


def _rows_of(name: str, values: Any) -> np.ndarray:
    array = np.asarray(values, np.float64)
    require(array.ndim > 0, f"{name} must hold rows, ({'N, X' if name == 'x' else 'N, D'}); got one number")
    return array[:, None] if array.ndim == 1 else array


def _check_finite(name: str, array: np.ndarray, cure: str) -> None:
    for first in np.argwhere(~np.isfinite(array))[:1]:
        where = f"{name} is {array[tuple(first)]} in row {first[0]} (counted from 0)"
        raise InputError(f"{where}: give finite numbers{cure}")


@dataclass(frozen=True, eq=False)
class Dataset:
    """Training and test rows, and what is known about them: what a function that a config names returns.

    Attributes:
        train: rows to train on.
        test: rows kept apart for the test.
        input_names: names of the X inputs; x0, x1, ... where absent.
        target_names: names of the D targets; y0, y1, ... where absent.
        log_density: exact log p(y | x) in nats, of x (N, X) and y (N, D) -> (N,); one row of either broadcasts against
            N of the other. None where it is not known.
        calibration: rows kept apart to calibrate intervals; None for none.
        augment: `(key, row) -> row`, which acts on each row that training draws, x and y together; None for none.
        kind: of experiment.
        num_classes: for each target that names kinds, how many there are, and None for numbers; of the encoding where
            absent.
        supports: for each target with bounds its `Support`, and None for the others.
        encoding: how a table's columns became inputs; None where there was no table.
        warnings: what a person should know about the data, a sentence each.

    Raises:
        InputError: for parts without rows or of different widths, names that do not fit or stand twice, or codes of
            kinds that are no whole numbers below their number.

    Example:
        >>> import numpy as np, mdn_jax as mdn
        >>> x = np.linspace(0, 1, 20)
        >>> data = mdn.Dataset(train=mdn.Part(x, x**2), test=mdn.Part(x, x**2), input_names=("time",))
        >>> data.input_names, data.target_names, data.num_classes
        (('time',), ('y0',), (None,))
    """

    train: Part
    test: Part
    input_names: tuple[str, ...] = ()
    target_names: tuple[str, ...] = ()
    log_density: Callable[[Rows, Targets], np.ndarray] | None = None
    calibration: Part | None = None
    augment: Callable[[Any, Any], Any] | None = None
    kind: str = "regression"
    num_classes: tuple[int | None, ...] = ()
    supports: tuple[Support | None, ...] = ()
    encoding: Encoding | None = None
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        x, y = self.train.x, self.train.y
        kinds = self.encoding.num_classes if self.encoding is not None else (None,) * y.shape[-1]
        absent = {
            "input_names": tuple(f"x{i}" for i in range(x.shape[-1])),
            "target_names": tuple(f"y{i}" for i in range(y.shape[-1])),
            "num_classes": kinds,
            "supports": (None,) * y.shape[-1],
        }
        for name, default in absent.items():
            given = tuple(getattr(self, name)) or default
            object.__setattr__(self, name, given)
            fits = f"{name} has {len(given)} entries for {len(default)} columns: {given}"
            require(len(given) == len(default), fits)
        twice = next((one for one, n in Counter((*self.input_names, *self.target_names)).items() if n > 1), None)
        require(twice is None, f"{twice!r} is named twice in input_names and target_names: rename one")
        for name, part in {"train": self.train, "test": self.test, "calibration": self.calibration}.items():
            if part is not None:
                require(len(part) > 0, f"the {name} part has no rows")
                for axis, here, there in (("x", part.x.shape[1:], x.shape[1:]), ("y", part.y.shape[1:], y.shape[1:])):
                    require(here == there, f"rows of {axis} have shape {here} in {name} and {there} in train")
                _check_codes(name, part.y, self.target_names, self.num_classes)
                _check_supports(name, part, self.target_names, self.supports)
                object.__setattr__(self, name, _placed(part, self.supports))

    @property
    def for_training(self) -> dict[str, Any]:
        """The training rows and what goes with them, as `start`, `fit` and `prepare` take them by keyword."""
        return {
            "x": self.train.x,
            "y": self.train.y,
            "weights": self.train.weight,
            "observed": self.train.observed,
            "input_names": self.input_names,
            "target_names": self.target_names,
            "encoding": self.encoding,
            "augment": self.augment,
            "num_classes": tuple(one or count for one, count in zip(self.supports, self.num_classes, strict=True)),
        }


def _placed(part: Part, supports: tuple[Support | None, ...]) -> Part:
    """The same rows; targets on a circle within one turn."""
    columns = [part.y[..., dim] if one is None else one.placed(part.y[..., dim]) for dim, one in enumerate(supports)]
    return replace(part, y=np.stack(columns, axis=-1)) if any(supports) else part


def _check_supports(name: str, part: Part, names: tuple[str, ...], supports: tuple[Support | None, ...]) -> None:
    """Values of a target with bounds lie between them."""
    for dim, support in enumerate(supports):
        held = np.ones(1, bool) if support is None else support.holds(part.y[..., dim])
        first = int(np.argmin(held))
        require(
            bool(held.all()),
            f"{names[dim]!r} is {support} by its support, bounds excluded, and {part.row_name(first, name)} has "
            f"{part.y[first, ..., dim]}: correct it, leave the row out, choose another support, or make it an atom "
            f"(dataset.atoms)",
        )


def _check_codes(part: str, y: np.ndarray, names: tuple[str, ...], num_classes: tuple[int | None, ...]) -> None:
    """A target of C kinds holds the whole numbers 0 to C - 1, or NaN where it is missing."""
    for dim, count in enumerate(num_classes):
        codes = np.unique(y[..., dim]) if count is not None else np.empty(0)
        codes = codes[~np.isnan(codes)]
        strange = codes[(codes % 1 != 0) | (codes < 0) | (codes >= (count or 0))]
        wanted = f"a target of {count} kinds holds the whole numbers 0 to {(count or 0) - 1}"
        require(not strange.size, f"{names[dim]!r} is {strange[:1].tolist()} in the {part} part: {wanted}")

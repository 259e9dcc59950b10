"""The members of a sweep as a table: equal settings together, and means, spreads and differences over their seeds.

A setting is one choice of every swept axis but the seeds. Its members with other seeds are its replicates: they say
how much of a difference between settings is chance.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, NamedTuple

import numpy as np

from mdn_jax._checks import nearest, require
from mdn_jax._typing import Bool, Float, Int

__all__ = [
    "DATA_SEED", "SEED", "Spread", "Sufficient", "Sweep", "best_settings", "distinct", "is_numeric", "short_names",
    "smallest_sufficient", "spread_of", "sweep_of",
]  # fmt: skip

DATA_SEED, SEED = "dataset.seed", "seed"
DECIMALS = 3  # of a loss in nats, or one more than the tolerance has

Replicates = dict[tuple[Hashable, Hashable], float]  # (data set, seed) -> loss


@dataclass(frozen=True)
class Sweep:
    """A table that was checked once: swept columns as Python's own values, losses, and what became of each member."""

    columns: Mapping[str, list[Any]]
    names: Mapping[str, str]
    val: Float[np.ndarray, " M"]
    test: Float[np.ndarray, " M"]
    finished: Bool[np.ndarray, " M"]
    halved: Bool[np.ndarray, " M"]
    diverged: Bool[np.ndarray, " M"]

    @property
    def settings(self) -> list[str]:
        """The axes that are no seeds."""
        return [axis for axis in self.columns if axis not in (DATA_SEED, SEED)]

    def count(self, axis: str) -> int:
        """The number of values of an axis; 1 where it was not swept."""
        return len(set(self.columns[axis])) if axis in self.columns else 1


class Spread(NamedTuple):
    """A setting's mean test NLL and its standard deviations over the two kinds of seed, NaN where only one was run."""

    mean: float
    over_seed: float  # within a data set
    over_data: float  # of the data sets' means
    count: int

    @property
    def only(self) -> float:
        """The standard deviation where one kind of seed was swept."""
        return self.over_data if np.isnan(self.over_seed) else self.over_seed


@dataclass(frozen=True)
class Sufficient:
    """The smallest value of an axis that is about as good as the best one; `str` is the sentence."""

    axis: str
    value: float
    best_value: float
    values: tuple[float, ...]  # that were compared
    tolerance: float
    mean_nll: float
    best_nll: float
    difference: float  # mean_nll - best_nll
    standard_error: float  # of the difference; NaN for one replicate
    replicates: int
    unit: str  # of the replicates: seed, or data set where several were drawn
    below: tuple[float, float, float] | None = None  # the nearest smaller value than the best, its difference and error

    def __str__(self) -> str:
        digits = DECIMALS
        if self.tolerance > 0:
            digits = max(digits, 1 - int(np.floor(np.log10(self.tolerance))))
        over = f"over {self.replicates} {self.unit}{'s' * (self.replicates != 1)}"
        if self.value == self.best_value:
            better = f"is the best of {len(self.values)} values" if len(self.values) > 1 else "is the only value"
            smaller = ""
            if self.below is not None:
                value, lacks, error = self.below
                spread = "" if np.isnan(error) else f" ± {error:.{digits}f}"
                smaller = (
                    f"; no smaller one is within {self.tolerance:g} nats of it, the nearest, {value:g}, lacks "
                    f"{lacks:.{digits}f}{spread}"
                )
            return f"{self.axis} = {self.value:g} {better}: {self.best_nll:.{digits}f} {over}{smaller}"
        error = "" if np.isnan(self.standard_error) else f" ± {self.standard_error:.{digits}f}"
        noisy = ", too few to tell: the standard error exceeds the tolerance"
        return (
            f"{self.axis} = {self.value:g} is the smallest within {self.tolerance:g} nats of the best "
            f"({self.best_value:g}): {self.mean_nll:.{digits}f} against {self.best_nll:.{digits}f}, "
            f"difference {self.difference:.{digits}f}{error} {over}{noisy * (self.standard_error > self.tolerance)}"
        )


def smallest_sufficient(
    table: Mapping[str, np.ndarray], axis: str, axes: Sequence[str], tolerance: float = 0.02
) -> Sufficient:
    """The smallest value of a numeric axis whose mean test NLL is within `tolerance` of the best value's.

    Each value stands for the best of its settings of the other axes, chosen by the mean validation NLL over seeds.
    The difference to the best value is paired: seed by seed, and where several data sets were drawn, data set by data
    set after a mean over seeds, since members that share a data set are not independent. Members that diverged or
    were stopped by halving do not count; a value with less than half as many replicates left as another is passed
    over.

    Args:
        table: column name -> (M,) array, one entry per member: each axis, `val_nll`, `test_nll` and `status`.
        axis: the numeric axis.
        axes: all axes of the sweep; `seed` and `dataset.seed` are replicates.
        tolerance: nats per row.

    Returns:
        The value, the best value, their means over the replicates that both have, and the standard error of the
        difference. Without a common replicate the two means are compared unpaired.

    Raises:
        InputError: where the axis is not numeric, a column is missing, or no member finished.

    Example:
        >>> import numpy as np
        >>> from mdn_jax.plotting import smallest_sufficient
        >>> nll = np.array([1.90, 1.92, 1.335, 1.341, 1.330, 1.332])
        >>> table = {"model.num_components": np.array([1, 1, 2, 2, 4, 4]), "seed": np.array([0, 1] * 3)}
        >>> table |= {"val_nll": nll, "test_nll": nll, "status": np.array(["ok"] * 6)}
        >>> print(smallest_sufficient(table, "model.num_components", ["model.num_components", "seed"]))
        num_components = 2 is the smallest within 0.02 nats of the best (4): 1.338 against 1.331, difference 0.007 ± 0.002 over 2 seeds
    """  # noqa: E501
    sweep = sweep_of(table, axes)
    require(axis in axes, f"{axis!r} is not among the axes of the sweep; {nearest(axis, axes)}")
    require(is_numeric(sweep.columns[axis]), f"{axis} is not numeric: none of its values is the smallest")
    found = best_settings(sweep, [axis])
    require(bool(found), "no member of the sweep finished: there is nothing to compare")
    tests = {value: _by_replicate(sweep, sweep.test, rows) for (value,), rows in sorted(found.items())}
    most = max(map(len, tests.values()))
    tests = {value: losses for value, losses in tests.items() if 2 * len(losses) >= most}
    best = min(tests, key=lambda value: _mean(tests[value].values()))
    compared = {value: _compare(losses, tests[best]) for value, losses in tests.items()}
    within = tolerance * (1 + 1e-9)  # 1.35 - 1.33 is more than 0.02 in binary
    value = next(value for value in tests if value == best or compared[value]["difference"] <= within)
    smaller = {one: compared[one]["difference"] for one in tests if one < best}
    below = min(smaller, key=lambda one: smaller[one]) if smaller else None
    nearest_below = None if below is None else (below, smaller[below], compared[below]["standard_error"])
    return Sufficient(sweep.names[axis], value, best, tuple(tests), tolerance, **compared[value], below=nearest_below)


def sweep_of(table: Mapping[str, np.ndarray], axes: Sequence[str]) -> Sweep:
    """The table, checked. A member has diverged by its status, or where it finished with a loss that is no number."""
    needed = [*axes, "val_nll", "test_nll", "status"]
    for name in needed:
        require(name in table, f"the table has no column {name!r}; {nearest(name, table)}")
    lengths = {name: len(table[name]) for name in needed}
    require(len(set(lengths.values())) == 1, f"columns have one entry per member, but their lengths differ: {lengths}")
    val, test = (np.asarray(table[name], np.float64) for name in ("val_nll", "test_nll"))
    status = np.asarray(table["status"]).astype(str)
    halved = status == "halved"
    diverged = ~halved & ((status == "diverged") | ~np.isfinite(val) | ~np.isfinite(test))
    columns = {axis: _values(np.asarray(table[axis])) for axis in axes}
    return Sweep(columns, short_names(axes), val, test, ~halved & ~diverged, halved, diverged)


def short_names(axes: Iterable[str]) -> dict[str, str]:
    """The last part of each dotted name, or all of it where two share the last part or the seed is the data set's."""
    axes = list(dict.fromkeys(axes))
    lasts = [axis if axis == DATA_SEED else axis.rsplit(".", 1)[-1] for axis in axes]
    return {axis: last if lasts.count(last) == 1 else axis for axis, last in zip(axes, lasts, strict=True)}


def is_numeric(values: Iterable[Any]) -> bool:
    """True where all are real numbers; True and False are not."""
    return all(isinstance(value, Real) and not isinstance(value, bool) for value in values)


def distinct(values: Iterable[Any]) -> list[Any]:
    """Each value once: numbers sorted, all else in order of appearance."""
    found = list(dict.fromkeys(values))
    return sorted(found) if is_numeric(found) else found


def best_settings(sweep: Sweep, keys: Sequence[str]) -> dict[tuple[Any, ...], Int[np.ndarray, " R"]]:
    """For each combination of values of `keys`, the finished members of its best setting of the other axes.

    The best has the lowest mean validation NLL over seeds. A setting with less than half as many replicates left as
    another is passed over: one lucky seed would win.
    """
    groups: dict[tuple[Any, ...], dict[tuple[Any, ...], list[int]]] = {}
    for row in np.flatnonzero(sweep.finished).tolist():
        key = tuple(sweep.columns[axis][row] for axis in keys)
        setting = tuple(sweep.columns[axis][row] for axis in sweep.settings)
        groups.setdefault(key, {}).setdefault(setting, []).append(row)
    best = {}
    for key, settings in groups.items():
        losses = [_by_replicate(sweep, sweep.val, rows) for rows in settings.values()]
        most = max(map(len, losses))
        means = [_mean(loss.values()) if 2 * len(loss) >= most else np.inf for loss in losses]
        best[key] = np.array(list(settings.values())[int(np.argmin(means))])
    return best


def spread_of(sweep: Sweep, rows: Int[np.ndarray, " R"]) -> Spread:
    """Mean test NLL of the replicates `rows`, and their spread over seeds and over data sets apart."""
    losses = _by_replicate(sweep, sweep.test, rows)
    groups = _by_data(losses)
    stds = [_std(group) for group in groups if len(group) > 1]
    over_data = _std([_mean(group) for group in groups])
    return Spread(_mean(losses.values()), _mean(stds) if stds else np.nan, over_data, len(losses))


def _values(column: np.ndarray) -> list[Any]:
    """The entries as Python's own values, with tuples for lists, so that they can be looked up."""
    return [tuple(value) if isinstance(value, list | tuple | np.ndarray) else value for value in column.tolist()]


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


def _std(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else np.nan


def _by_replicate(sweep: Sweep, losses: Float[np.ndarray, " M"], rows: Iterable[int]) -> Replicates:
    """(data set, seed) -> the loss; members that are equal in everything are one."""
    groups: dict[tuple[Hashable, Hashable], list[float]] = {}
    data, seed = (sweep.columns.get(name) for name in (DATA_SEED, SEED))
    for row in rows:
        groups.setdefault((data[row] if data else None, seed[row] if seed else None), []).append(losses[row])
    return {key: _mean(group) for key, group in groups.items()}


def _by_data(losses: Replicates) -> list[list[float]]:
    groups: dict[Hashable, list[float]] = {}
    for (data, _), loss in losses.items():
        groups.setdefault(data, []).append(loss)
    return list(groups.values())


def _units(losses: Replicates) -> tuple[list[float], str]:
    """The independent losses: the data sets' means where there are several, otherwise the seeds'."""
    groups = _by_data(losses)
    if len(groups) > 1:
        return [_mean(group) for group in groups], "data set"
    return list(losses.values()), "seed"


def _compare(one: Replicates, best: Replicates) -> dict[str, Any]:
    """The means of both, their difference, its standard error, and over how many replicates of what kind."""
    common = [key for key in one if key in best]
    if common:
        units, unit = _units({key: one[key] - best[key] for key in common})
        mean, best_mean = _mean(one[key] for key in common), _mean(best[key] for key in common)
        error, count = _std(units) / np.sqrt(len(units)), len(units)
    else:
        (units, unit), (best_units, _) = _units(one), _units(best)
        mean, best_mean = _mean(one.values()), _mean(best.values())
        error = np.hypot(_std(units) / np.sqrt(len(units)), _std(best_units) / np.sqrt(len(best_units)))
        count = min(len(units), len(best_units))
    return {
        "mean_nll": mean, "best_nll": best_mean, "difference": mean - best_mean,
        "standard_error": float(error), "replicates": count, "unit": unit,
    }  # fmt: skip

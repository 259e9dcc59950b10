"""Rows made ready for training: checked, in standard units, split for validation."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from mdn_jax._checks import InputError, require
from mdn_jax._printing import warn
from mdn_jax._typing import ArrayLike, Float, Int, Key, PyTree
from mdn_jax.config import TrainingConfig
from mdn_jax.encoding import Encoding
from mdn_jax.heads import Head, Support
from mdn_jax.models import Standardizer, check_weights
from mdn_jax.training.lane import Split
from mdn_jax.training.objectives import Rows

__all__ = ["Data", "input_units", "prepare", "rows_of_lanes", "starting_bias"]


FEW, APART, FEWEST = 0.005, 1 / 2, 20  # without this share of its rows, at least so many, a column spreads by less
ALIKE = 0.01  # what a column that follows from others keeps to itself, in standard deviations


class Data(NamedTuple):
    """Rows in standard units on the device, and the units.

    Attributes:
        rows: to train on.
        validation: rows that choose the best step, or None.
        inputs: units of x, or None where the network takes x as given.
        targets: units of y.
        num_classes: of each target how many kinds it names, None for a number.
        input_names: names of the inputs, or none.
        target_names: names of the targets, or none.
        encoding: how a table's columns became inputs, or None.
        augment: `augment(key, row) -> row` in original units, or None.
        own: (inputs, targets) of each network, where its rows are in units of their own; `inputs` and `targets` are
            then the first one's.
    """

    rows: Rows
    validation: Rows | None
    inputs: Standardizer | None
    targets: Standardizer
    num_classes: tuple[int | None, ...]
    input_names: tuple[str, ...]
    target_names: tuple[str, ...]
    encoding: Encoding | None = None
    augment: Callable[[Key, Rows], Rows] | None = None
    own: tuple[tuple[Standardizer | None, Standardizer], ...] | None = None


def prepare(
    x: PyTree,
    y: ArrayLike,
    weights: ArrayLike | None,
    validation_fraction: float,
    *,
    head_of: Callable[[tuple[int | None, ...]], Head],
    observed: ArrayLike | None = None,
    as_given: bool = False,
    num_classes: tuple[int | None, ...] = (),
    input_names: tuple[str, ...] = (),
    target_names: tuple[str, ...] = (),
    encoding: Encoding | None = None,
    augment: Callable[[Key, Rows], Rows] | None = None,
) -> Data:
    """Checked rows in standard units, split for validation.

    Args:
        x: (N, X) or (N, T, X) inputs; `as_given` any pytree whose leaves lead with N.
        y: (N, D), (N,), or (N, T, D) targets.
        weights: (N,), or (N, T) for T distributions of each row.
        validation_fraction: of the rows.
        head_of: the head of targets of so many kinds; it says the units of y.
        observed: shape of y; which targets are known.
        as_given: whether the network takes x without standardising.
        num_classes: of each target how many kinds it names, None for a number; where absent all are numbers.
        input_names: of the columns of x.
        target_names: of the columns of y.
        encoding: how a table's columns became inputs.
        augment: acts on each row drawn.
    """
    for name, given in {"x": x, "y": y, "weights": weights}.items():
        _check_held(name, given)
    y = np.asarray(y, np.float64)
    y = y[:, None] if y.ndim == 1 else y
    require(y.ndim in (2, 3) and y.size > 0, f"y must have shape (N, D) or (N,) and not be empty; got {y.shape}")
    y, known = _observed(y, observed)
    x = x if as_given else np.asarray(x, np.float64)
    x, y, known, weight = _drop_weightless(x, y, known, weights)
    require(len(y) > 1, f"y must have at least 2 rows that count; got {len(y)}")
    counted = np.where(known if known is not None else (weight > 0)[..., None], y, np.nan).reshape(-1, y.shape[-1])
    present = ~np.isnan(counted).all(axis=0)
    require(known is None or bool(present.all()), "observed leaves a target without any value")
    _check_finite("y", y if known is None else np.where(known, y, 0.0))
    constant = np.flatnonzero(np.nanmax(counted, axis=0) == np.nanmin(counted, axis=0)).tolist()
    require(not constant, f"y is constant in column {constant}: there is nothing to predict")
    num_classes = _fitted(num_classes or (None,) * y.shape[-1], counted, target_names)
    targets, inputs = head_of(num_classes).units(counted, weight.ravel()), None
    numbers = [column for column, count in enumerate(num_classes) if count is None]
    names = target_names or [f"column {column} of y" for column in range(y.shape[-1])]
    _warn_of_targets(counted[:, numbers], targets.part(numbers), [names[column] for column in numbers])
    lengths = {len(leaf) if np.ndim(leaf) else 1 for leaf in jax.tree.leaves((x, y, weight))}
    require(len(lengths) == 1, f"x, y and weights must have as many rows each; got {sorted(lengths)}")
    if not as_given:
        require(
            x.ndim == weight.ndim + 1,
            f"x must have shape (N, X); got {x.shape}" + (": use x[:, None]" if x.ndim == 1 else ""),
        )
        _check_finite("x", x)
        inputs = input_units(x[weight > 0])  # of the steps that count: padding moves no unit
        x = jnp.asarray(inputs.standardize(x), float)
    rows = Rows(
        jax.tree.map(jnp.asarray, x),
        jnp.asarray(np.nan_to_num(targets.standardize(y)), float),
        jnp.asarray(weight, float),
        None if known is None else jnp.asarray(known),
    )
    split = _split(rows, validation_fraction)
    return Data(*split, inputs, targets, num_classes, input_names, target_names, encoding, augment)


def _fitted(told: Sequence[Any], y: Float[np.ndarray, "N D"], names: Sequence[str]) -> tuple[Any, ...]:
    """Kinds and bounds of each target, supports with the units that lie behind their map."""
    found = list(told)
    for dim, one in enumerate(told):
        if isinstance(one, Support):
            held, name = one.holds(y[:, dim]), repr(names[dim]) if names else f"column {dim} of y"
            row = int(np.argmin(held))
            require(bool(held.all()), f"{name} is {one} by its support, and training row {row} has {y[row, dim]:g}")
            found[dim] = one.fitted(y[:, dim])
    return tuple(found)


def input_units(x: Float[np.ndarray, "N X"]) -> Standardizer:
    """Means and standard deviations; of a column of two values, an indicator, half their distance.

    A rare kind would otherwise stand many standard deviations out.

    References:
        A. Gelman, "Scaling regression inputs by dividing by two standard deviations", 2008.
    """
    units = Standardizer.fit(x)
    if x.shape[1] == 0:
        return units
    low, high = x.min(axis=0), x.max(axis=0)
    indicator = (low < high) & np.all((x == low) | (x == high), axis=0)
    return Standardizer(units.shift, np.where(indicator, 0.5 * (high - low), units.scale))


def _warn_of_targets(y: Float[np.ndarray, "N D"], units: Standardizer, names: Sequence[str]) -> None:
    """A sentence where few rows decide the units of a column, or where a column follows from the ones before it."""
    z = units.standardize(y)
    for column, far in enumerate(np.abs(z - np.nanmedian(z, axis=0)).T):
        inner = z[far <= np.nanquantile(far, 1 - FEW, method="lower"), column].std()
        if 1e-9 < inner < APART and np.isfinite(far).sum() >= FEWEST:
            row = np.nanargmax(far)
            warn(
                f"training row {row}: {names[column]} is {y[row, column]:.3g}, where {1 - FEW:.1%} of rows spread by "
                f"{inner * units.scale[column]:.2g}: such rows decide the units; correct them, or take logarithms"
            )
    products = z.T @ z / len(z)
    for column in range(1, z.shape[1] if np.isfinite(products).all() else 0):
        weights = np.linalg.lstsq(products[:column, :column], products[:column, column], rcond=1e-8)[0]
        if products[column, column] - weights @ products[:column, column] < ALIKE**2:
            ratios = weights * units.scale[column] / units.scale[:column]
            terms = [f"{ratio:.3g} times {names[i]}" for i, ratio in enumerate(ratios) if abs(weights[i]) > ALIKE]
            warn(
                f"{names[column]} is {' plus '.join(terms)} within {ALIKE:.0%}, and a constant: its density knows no "
                "bound but min_std; leave it out, and compute it afterwards"
            )


def _observed(y: np.ndarray, observed: ArrayLike | None) -> tuple[np.ndarray, np.ndarray | None]:
    """Targets with NaN where they are not observed, and the mask; no mask where all are."""
    if observed is None:
        return y, None
    known = np.asarray(observed, bool)
    known = known[:, None] if known.ndim == 1 else known
    require(known.shape == y.shape, f"observed must have the shape of y, {y.shape}; got {known.shape}")
    return np.where(known, y, np.nan), None if known.all() else known


def _drop_weightless(
    x: PyTree, y: np.ndarray, known: np.ndarray | None, weights: ArrayLike | None
) -> tuple[PyTree, np.ndarray, np.ndarray | None, np.ndarray]:
    """Rows of weight 0 left out before anything is fitted to them: padding may hold any value."""
    if weights is None:
        return x, y, known, np.ones(y.shape[:-1])
    weight = check_weights(weights, y.shape[:-1])
    weight = weight / weight.max()
    weight = weight / weight[weight > 0].mean()  # whatever their unit, float32 holds weights of mean 1
    kept = (weight > 0).any(axis=tuple(range(1, weight.ndim)))
    if kept.all():
        return x, y, known, weight
    x = jax.tree.map(lambda leaf: leaf[kept] if np.shape(leaf)[:1] == kept.shape else leaf, x)
    return x, y[kept], None if known is None else known[kept], weight[kept]


def _split(rows: Rows, fraction: float) -> tuple[Rows, Rows | None]:
    """Training and validation rows."""
    train, validation = _draw_validation(0, rows.weight.shape[0], fraction)
    if validation is None:
        return rows, None
    return jax.tree.map(lambda leaf: leaf[train], rows), jax.tree.map(lambda leaf: leaf[validation], rows)


def _draw_validation(seed: int, count: int, fraction: float) -> tuple[np.ndarray, np.ndarray | None]:
    """Places of the training and of the validation rows: the same ones for every key, so that seeds compare."""
    held = round(fraction * count)
    require(count - held >= 2, f"too few rows to train on: {count} rows, {held} of them kept for validation")
    if held == 0:
        return np.arange(count), None
    order = np.random.default_rng(seed).permutation(count)
    return np.sort(order[held:]), np.sort(order[:held])


def rows_of_lanes(count: int, training: TrainingConfig, firsts: Sequence[int]) -> Split:
    """The rows of the networks of each run among `count` rows from its place in `firsts` on.

    Networks of one run are judged by the same rows of it, or each by its own; those of all runs are alike.
    """
    own = training.validation == "own"
    seeds = range(training.ensemble_size) if own else [0] * training.ensemble_size
    drawn = [_draw_validation(seed, count, training.validation_fraction) for seed in seeds]
    train, judged = zip(*drawn, strict=True)

    def of_all_runs(places: tuple) -> Int[Array, "M R"]:
        return jnp.asarray(np.stack([first + of_one for first in firsts for of_one in places]), jnp.int32)

    return Split(of_all_runs(train), None if judged[0] is None else of_all_runs(judged))


def starting_bias(head: Head, data: Data, splits: Split | None) -> Float[np.ndarray, "M P"]:
    """The first raw outputs of each network; one row for all where they share their units."""
    rows = data.rows
    known = np.asarray(rows.weight > 0)[..., None] if rows.observed is None else np.asarray(rows.observed)
    y = np.where(known, np.asarray(rows.y), np.nan)
    each = [y.reshape(-1, y.shape[-1])]
    if splits is not None and data.own is not None:
        each = [y[own] for own in np.asarray(splits.train)]
    bias = np.stack([np.asarray(head.initial_bias(rows)) for rows in each])
    require(
        bias.shape[1:] == (head.num_outputs,),
        f"model.head: initial_bias gives shape {bias.shape[1:]}, and num_outputs says {head.num_outputs}",
    )
    return bias


def _check_held(name: str, given: PyTree) -> None:
    """Refuse what cannot be read twice, and arrays of several devices that would be gathered onto each."""
    require(
        not isinstance(given, Iterator),
        f"{name} must be arrays; got {type(given).__name__}, which can be read only once: make an array of it",
    )
    for leaf in jax.tree.leaves(given):
        count = len(leaf.sharding.device_set) if isinstance(leaf, Array) else 1
        require(
            count == 1,
            f"{name} is spread over {count} devices, and training holds all rows on each: give np.asarray({name})",
        )


def _check_finite(name: str, values: np.ndarray) -> None:
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        row, column = bad[0]
        raise InputError(
            f"{name} must be finite; got {values[row, column]} in row {row}, column {column} ({len(bad)} such values)"
        )

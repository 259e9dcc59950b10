"""What training starts from: checked rows in standard units, split for validation, and the mixture of a config."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from mdn_jax._checks import InputError, require
from mdn_jax._printing import warn
from mdn_jax._typing import ArrayLike, Float, Int, PyTree
from mdn_jax.config import ModelConfig, TrainingConfig
from mdn_jax.encoding import Encoding
from mdn_jax.heads import MixtureSpec, initial_bias
from mdn_jax.models import Standardizer, check_weights
from mdn_jax.training.member import Split
from mdn_jax.training.objectives import Rows

__all__ = ["Data", "check_objective", "input_units", "member_rows", "mixture_spec", "prepare", "starting_bias"]


FEW, APART, FEWEST = 0.005, 1 / 2, 20  # without this share of its rows, at least so many, a column spreads by less
ALIKE = 0.01  # what a column that follows from others keeps to itself, in standard deviations


class Data(NamedTuple):
    """Rows in standard units on the device, and the units.

    Attributes:
        rows: to train on.
        validation: rows that choose the best step, or None.
        inputs: units of x, or None where the network takes x as given.
        targets: units of y.
        input_names: names of the inputs, or none.
        target_names: names of the targets, or none.
        encoding: how a table's columns became inputs, or None.
        own: (inputs, targets) of each member, where its rows are in units of their own; `inputs` and `targets` are
            then the first member's.
    """

    rows: Rows
    validation: Rows | None
    inputs: Standardizer | None
    targets: Standardizer
    input_names: tuple[str, ...]
    target_names: tuple[str, ...]
    encoding: Encoding | None = None
    own: tuple[tuple[Standardizer | None, Standardizer], ...] | None = None


def prepare(
    x: PyTree,
    y: ArrayLike,
    weights: ArrayLike | None,
    validation_fraction: float,
    *,
    observed: ArrayLike | None = None,
    own: bool = False,
    input_names: tuple[str, ...] = (),
    target_names: tuple[str, ...] = (),
    encoding: Encoding | None = None,
) -> Data:
    """Checked rows in standard units, split for validation; a network of one's `own` takes x as given."""
    y = np.asarray(y, np.float64)
    y = y[:, None] if y.ndim == 1 else y
    require(y.ndim == 2 and y.size > 0, f"y must have shape (N, D) or (N,) and not be empty; got {y.shape}")
    y, known = _observed(y, observed)
    x = x if own else np.asarray(x, np.float64)
    x, y, known, weight = _drop_weightless(x, y, known, weights)
    require(len(y) > 1, f"y must have at least 2 rows that count; got {len(y)}")
    require(known is None or bool(known.any(axis=0).all()), "observed leaves a target without any value")
    _check_finite("y", y if known is None else np.where(known, y, 0.0))
    constant = np.flatnonzero(np.nanmax(y, axis=0) == np.nanmin(y, axis=0)).tolist()
    require(not constant, f"y is constant in column {constant}: there is nothing to predict")
    targets, inputs = Standardizer.fit(y), None
    _warn_of_targets(y, targets, target_names or [f"column {column} of y" for column in range(y.shape[1])])
    if not own:
        require(x.ndim == 2, f"x must have shape (N, X); got {x.shape}" + (": use x[:, None]" if x.ndim == 1 else ""))
        _check_finite("x", x)
        inputs = input_units(x)
        x = jnp.asarray(inputs.standardize(x), float)
    rows = Rows(
        jax.tree.map(jnp.asarray, x),
        jnp.asarray(np.nan_to_num(targets.standardize(y)), float),
        jnp.asarray(weight, float),
        None if known is None else jnp.asarray(known),
    )
    lengths = {int(leaf.shape[0]) if leaf.ndim else 1 for leaf in jax.tree.leaves(rows)}
    require(len(lengths) == 1, f"x, y and weights must have as many rows each; got {sorted(lengths)}")
    return Data(*_split(rows, validation_fraction), inputs, targets, input_names, target_names, encoding)


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
    known = np.asarray(observed, bool).reshape(len(observed), -1)  # pyright: ignore[reportArgumentType]
    require(known.shape == y.shape, f"observed must have the shape of y, {y.shape}; got {known.shape}")
    return np.where(known, y, np.nan), None if known.all() else known


def _drop_weightless(
    x: PyTree, y: np.ndarray, known: np.ndarray | None, weights: ArrayLike | None
) -> tuple[PyTree, np.ndarray, np.ndarray | None, np.ndarray]:
    """Rows of weight 0 left out before anything is fitted to them: padding may hold any value."""
    if weights is None:
        return x, y, known, np.ones(len(y))
    weight = check_weights(weights, len(y))
    kept = weight > 0
    weight = weight / weight.max()
    weight = weight / weight[kept].mean()  # whatever their unit, float32 holds weights of mean 1
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


def member_rows(count: int, training: TrainingConfig, firsts: Sequence[int]) -> Split:
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


def mixture_spec(model: ModelConfig, training: TrainingConfig, target_dim: int) -> MixtureSpec:
    """The mixture of a config; least squares needs the mean alone."""
    if training.objective == "squared_error":
        require(
            model.num_components == 1,
            f"objective squared_error trains one mean: set num_components = 1, not {model.num_components}",
        )
        return MixtureSpec(1, target_dim, "unit")
    return MixtureSpec(model.num_components, target_dim, model.covariance, model.min_std)


def starting_bias(spec: MixtureSpec, data: Data, splits: Split | None) -> Float[np.ndarray, "M P"]:
    """Where the raw outputs of each member start; one row for all where they share their units."""
    y = np.asarray(data.rows.y)
    y = y if data.rows.observed is None else np.where(data.rows.observed, y, np.nan)
    if splits is None or data.own is None:
        return np.asarray(initial_bias(spec, y))[None]
    return np.stack([np.asarray(initial_bias(spec, y[own])) for own in np.asarray(splits.train)])


def check_objective(training: TrainingConfig, spec: MixtureSpec, data: Data) -> None:
    """Refuse an objective that cannot train the mixture."""
    require(
        training.objective == "nll" or data.rows.observed is None,
        f"objective {training.objective} needs every target, and some are missing: use nll, or drop such rows",
    )
    require(
        training.objective != "squared_error" or spec.num_components == 1,
        f"objective squared_error trains one mean: give a spec of 1 component, not {spec.num_components}",
    )
    require(
        not (training.objective == "crps" and spec.target_dim > 1 and spec.covariance in ("tied", "full")),
        f"objective crps cannot see the correlations of a {spec.covariance} covariance: use energy_score",
    )


def _check_finite(name: str, values: np.ndarray) -> None:
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        row, column = bad[0]
        raise InputError(
            f"{name} must be finite; got {values[row, column]} in row {row}, column {column} ({len(bad)} such values)"
        )

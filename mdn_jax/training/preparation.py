"""What training starts from: checked rows in standard units, split for validation, and the mixture of a config."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mdn_jax._checks import InputError, require
from mdn_jax._typing import ArrayLike, PyTree
from mdn_jax.config import ModelConfig, TrainingConfig
from mdn_jax.head import MixtureSpec
from mdn_jax.model import Standardizer
from mdn_jax.training.objectives import Rows

__all__ = ["Data", "check_objective", "check_params", "mixture_spec", "prepare"]


class Data(NamedTuple):
    """Rows in standard units on the device, and the units.

    Attributes:
        rows: to train on.
        validation: rows that choose the best step, or None.
        inputs: units of x, or None where the network takes x as given.
        targets: units of y.
        input_names: names of the inputs, or none.
        target_names: names of the targets, or none.
    """

    rows: Rows
    validation: Rows | None
    inputs: Standardizer | None
    targets: Standardizer
    input_names: tuple[str, ...]
    target_names: tuple[str, ...]


def prepare(
    x: PyTree,
    y: ArrayLike,
    weights: ArrayLike | None,
    validation_fraction: float,
    *,
    own: bool = False,
    input_names: tuple[str, ...] = (),
    target_names: tuple[str, ...] = (),
) -> Data:
    """Checked rows in standard units, split for validation; a network of one's `own` takes x as given."""
    y = np.asarray(y, np.float64)
    y = y[:, None] if y.ndim == 1 else y
    x = x if own else np.asarray(x, np.float64)
    x, y, weight = _drop_weightless(x, y, weights)
    require(y.ndim == 2 and y.size > 0, f"y must have shape (N, D) or (N,) and not be empty; got {y.shape}")
    _check_finite("y", y)
    constant = np.flatnonzero(np.ptp(y, axis=0) == 0).tolist()
    require(not constant, f"y is constant in column {constant}: there is nothing to predict")
    targets, inputs = Standardizer.fit(y), None
    if not own:
        require(x.ndim == 2, f"x must have shape (N, X); got {x.shape}" + (": use x[:, None]" if x.ndim == 1 else ""))
        _check_finite("x", x)
        inputs = Standardizer.fit(x)
        x = inputs.standardize(x).astype(np.float32)
    rows = Rows(
        jax.tree.map(jnp.asarray, x), jnp.asarray(targets.standardize(y), jnp.float32), jnp.asarray(weight, jnp.float32)
    )
    lengths = {int(leaf.shape[0]) if leaf.ndim else 1 for leaf in jax.tree.leaves(rows)}
    require(len(lengths) == 1, f"x, y and weights must have as many rows each; got {sorted(lengths)}")
    return Data(*_split(rows, validation_fraction), inputs, targets, input_names, target_names)


def _drop_weightless(x: PyTree, y: np.ndarray, weights: ArrayLike | None) -> tuple[PyTree, np.ndarray, np.ndarray]:
    """Rows of weight 0 left out before anything is fitted to them: padding may hold any value."""
    if weights is None:
        return x, y, np.ones(len(y))
    weight = np.asarray(weights, np.float64)
    require(weight.shape == (len(y),), f"weights must have shape ({len(y)},); got {weight.shape}")
    require(bool((weight >= 0).all() and 0 < weight.sum() < np.inf), "weights must be 0 or more, finite, and not all 0")
    kept = weight > 0
    if kept.all():
        return x, y, weight
    return jax.tree.map(lambda leaf: leaf[kept] if np.shape(leaf)[:1] == kept.shape else leaf, x), y[kept], weight[kept]


def _split(rows: Rows, fraction: float) -> tuple[Rows, Rows | None]:
    """Training and validation rows: the same ones for every key, so that seeds compare."""
    count = rows.weight.shape[0]
    held = round(fraction * count)
    require(count - held >= 2, f"too few rows to train on: {count} rows, {held} of them kept for validation")
    if held == 0:
        return rows, None
    order = np.random.default_rng(0).permutation(count)
    train, validation = np.sort(order[held:]), np.sort(order[:held])
    return jax.tree.map(lambda leaf: leaf[train], rows), jax.tree.map(lambda leaf: leaf[validation], rows)


def mixture_spec(model: ModelConfig, training: TrainingConfig, target_dim: int) -> MixtureSpec:
    """The mixture of a config; least squares needs the mean alone."""
    if training.objective == "squared_error":
        require(
            model.num_components == 1,
            f"objective squared_error trains one mean: set num_components = 1, not {model.num_components}",
        )
        return MixtureSpec(1, target_dim, "unit")
    return MixtureSpec(model.num_components, target_dim, model.covariance, model.min_std)


def check_objective(training: TrainingConfig, spec: MixtureSpec) -> None:
    """Refuse an objective that cannot train the mixture."""
    require(
        training.objective != "squared_error" or spec.num_components == 1,
        f"objective squared_error trains one mean: give a spec of 1 component, not {spec.num_components}",
    )
    require(
        not (training.objective == "crps" and spec.target_dim > 1 and spec.covariance in ("tied", "full")),
        f"objective crps cannot see the correlations of a {spec.covariance} covariance: use energy_score",
    )


def check_params(params: PyTree) -> None:
    """Refuse parameters that have no gradient."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        require(
            hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.floating),
            f"params must be a pytree of floating arrays; got {type(leaf).__name__} at "
            f"params{jax.tree_util.keystr(path)}: keep it in apply instead",
        )


def _check_finite(name: str, values: np.ndarray) -> None:
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        row, column = bad[0]
        raise InputError(
            f"{name} must be finite; got {values[row, column]} in row {row}, column {column} ({len(bad)} such values)"
        )

"""Measuring which mass a region needs to reach a target, and a model that knows it of rows kept apart."""

from dataclasses import replace
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from mdn_jax._checks import require
from mdn_jax._typing import ArrayLike, Float, PyTree
from mdn_jax.distributions import Distribution, log_prob, sample
from mdn_jax.judging.targets import numbers_alone, of_targets
from mdn_jax.models.calibration import FEWEST_TO_CALIBRATE, Calibration
from mdn_jax.models.model import Model
from mdn_jax.models.rows import Rows, evenly, map_rows, standard_rows
from mdn_jax.statistics import cdf, highest_density_mass

__all__ = ["calibrate", "needed_masses"]

NUM_SAMPLES, DRAWS_AT_ONCE = 1_000, 100  # draws that tell the mass of a joint region, within 0.016
AnyModel = TypeVar("AnyModel", bound=Model)
MOST = 5_000  # rows that are looked at: what holds 90 % of them holds 90 % of others within 0.5 %


def calibrate(model: AnyModel, x: PyTree, y: ArrayLike) -> AnyModel:
    """The model with the masses that its regions needed on rows that training never saw.

    `predict(..., calibrated=True)` asks its intervals for those masses: then they hold the share of new targets that
    they name, whatever the model, as long as new rows are like these. Densities stay as they are.

    Args:
        model: from `fit` or `load`.
        x: (N, X) inputs, at least 20 rows; of more than 5,000 so many are used.
        y: (N, D) or (N,) targets; NaN where one is missing.

    Returns:
        The same model with a `calibration`.

    Raises:
        InputError: for too few rows, or rows that disagree with the model.

    Example:
        >>> import jax, numpy as np, mdn_jax as mdn
        >>> x = np.random.default_rng(0).normal(size=(200, 2))
        >>> fit = mdn.fit(jax.random.key(0), x[:100, :1], x[:100, 1], training=mdn.TrainingConfig(num_steps=20))
        >>> model = mdn.calibrate(fit.model, x[100:, :1], x[100:, 1])
        >>> model.calibration.central.shape
        (100, 1)
    """
    count = len(np.asarray(y))
    require(
        count >= FEWEST_TO_CALIBRATE,
        f"calibrate takes at least {FEWEST_TO_CALIBRATE} rows; got {count}: keep more apart",
    )
    rows = sorted({len(leaf) for leaf in jax.tree.leaves((x, np.asarray(y)))})
    require(len(rows) == 1, f"calibrate takes as many inputs as targets; got {rows} rows")
    chosen = evenly(count, MOST)
    x, y = jax.tree.map(lambda leaf: np.asarray(leaf)[chosen], (x, np.asarray(y)))
    return replace(model, calibration=needed_masses(model, x, y))


def needed_masses(model: Model, x: PyTree, y: ArrayLike) -> Calibration:
    """The mass that each region needs to reach each of N targets; NaN where one is missing, or names kinds."""
    y = np.asarray(y, np.float64)
    y = y[:, None] if y.ndim == 1 else y
    rows = standard_rows(model, x, y, observed=None if not np.isnan(y).any() else ~np.isnan(y))
    numbers, model, rows = numbers_alone(model, rows)
    needed = {name: np.full(y.shape, np.nan) for name in ("central", "highest_density")}
    if not numbers:
        return Calibration(**needed, joint=np.full(len(y), np.nan))
    found = map_rows(_needed, model, rows, once=True)
    joint = map_rows(_needed_jointly, model, rows) if len(numbers) > 1 else found["highest_density"][:, 0]
    known = np.ones((len(y), len(numbers)), bool) if rows.observed is None else rows.observed
    for name, masses in needed.items():
        masses[:, numbers] = np.where(known, found[name], np.nan)
    return Calibration(**needed, joint=np.where(known.any(axis=1), np.asarray(joint, np.float64), np.nan))


def _needed(numbers: Distribution, row: Rows) -> dict[str, Float[Array, "..."]]:
    central = jnp.abs(2.0 * of_targets(cdf, numbers, row.y) - 1.0)
    highest = of_targets(lambda one, y: highest_density_mass(one, y)[None], numbers, row.y)
    return {"central": central, "highest_density": highest}


def _needed_jointly(numbers: Distribution, row: Rows) -> Float[Array, ""]:
    draws = sample(jax.random.key(0), numbers, (NUM_SAMPLES,))
    at = lambda y: log_prob(numbers, y, observed=row.observed)  # noqa: E731
    return jnp.mean(jax.lax.map(at, draws, batch_size=DRAWS_AT_ONCE) > at(row.y))

"""Measuring which mass a region needs to reach a target, and a model that knows it of rows kept apart."""

from dataclasses import replace
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from mdn_jax._checks import require
from mdn_jax._typing import ArrayLike, Float, PyTree
from mdn_jax.distributions import Mixture, log_prob, marginal, sample
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
    """The mass that each region needs to reach each of N targets; NaN where a target is missing."""
    y = np.asarray(y, np.float64)
    y = y[:, None] if y.ndim == 1 else y
    rows = standard_rows(model, x, y, observed=None if not np.isnan(y).any() else ~np.isnan(y))
    found = map_rows(_needed, model, rows, once=True)
    found["joint"] = map_rows(_needed_jointly, model, rows) if y.shape[1] > 1 else found["highest_density"][:, 0]
    found = {name: np.asarray(values, np.float64) for name, values in found.items()}
    if rows.observed is not None:
        for name in ("central", "highest_density"):
            found[name] = np.where(rows.observed, found[name], np.nan)
        found["joint"] = np.where(rows.observed.any(axis=1), found["joint"], np.nan)
    return Calibration(**found)


def _needed(mixture: Mixture, row: Rows) -> dict[str, Float[Array, "..."]]:
    highest = [highest_density_mass(marginal(mixture, dim), row.y[dim : dim + 1]) for dim in range(mixture.target_dim)]
    return {"central": jnp.abs(2.0 * cdf(mixture, row.y) - 1.0), "highest_density": jnp.stack(highest)}


def _needed_jointly(mixture: Mixture, row: Rows) -> Float[Array, ""]:
    draws = sample(jax.random.key(0), mixture, (NUM_SAMPLES,))
    at = lambda y: log_prob(mixture, y, observed=row.observed)  # noqa: E731
    return jnp.mean(jax.lax.map(at, draws, batch_size=DRAWS_AT_ONCE) > at(row.y))

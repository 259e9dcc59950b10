"""Measuring which mass a region needs to reach a target, and a model that knows it of rows kept apart."""

from dataclasses import replace
from typing import TypeVar

import jax
import numpy as np

from mdn_jax._checks import require
from mdn_jax._typing import ArrayLike, PyTree
from mdn_jax.judging.rows import judge
from mdn_jax.models.calibration import FEWEST_TO_CALIBRATE, Calibration
from mdn_jax.models.model import Model
from mdn_jax.models.rows import check_weights, evenly

__all__ = ["calibrate", "needed_masses"]

AnyModel = TypeVar("AnyModel", bound=Model)
MOST = 5_000  # rows that are looked at: what holds 90 % of them holds 90 % of others within 0.5 %


def calibrate(model: AnyModel, x: PyTree, y: ArrayLike, *, weights: ArrayLike | None = None) -> AnyModel:
    """The model with the masses that its regions needed on rows that training never saw.

    `predict(..., calibrated=True)` asks its intervals for those masses: then they hold the share of new targets that
    they name, whatever the model, as long as new rows are like these. Densities stay as they are.

    Args:
        model: from `fit` or `load`.
        x: (N, X) inputs, at least 20 rows; of more than 5,000 so many are used.
        y: (N, D) or (N,) targets; NaN where one is missing.
        weights: (N,) how much each row counts; intervals then hold a share of the weight.

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
    weight = None if weights is None else check_weights(weights, (count,))[chosen]
    return replace(model, calibration=replace(needed_masses(model, x, y), weight=weight))


def needed_masses(model: Model, x: PyTree, y: ArrayLike) -> Calibration:
    """The mass that each region needs to reach each of N targets; NaN where one is missing, or names kinds."""
    known = ~np.isnan(np.asarray(y, np.float64))
    judged = judge(model, x, y, observed=None if known.all() else known, most_rows=len(known))
    return Calibration(judged.central, judged.highest_density, judged.joint)

"""The figures that suit a run, chosen by the sizes of x and y."""

from collections.abc import Mapping, Sequence

import jax
import numpy as np
from matplotlib.figure import Figure

from mdn_jax._typing import ArrayLike, Float
from mdn_jax.judging.metrics import Scores
from mdn_jax.models import Model
from mdn_jax.plotting.diagnostics import calibration_figure, loss_figure
from mdn_jax.plotting.joint import contours_figure
from mdn_jax.plotting.predictions import predictions_figure, rows_figure
from mdn_jax.plotting.through_x import LogDensity, density_figure, parameters_figure, samples_figure
from mdn_jax.plotting.unconditional import marginals_figure

__all__ = ["run_figures"]

ENOUGH = 300  # test rows that show the shape of the data; with fewer the training rows are drawn
SEED = 0  # of the samples drawn: the same model gives the same figures


def run_figures(
    model: Model,
    train_x: Float[np.ndarray, "N X"],
    train_y: Float[np.ndarray, "N D"],
    test_x: Float[np.ndarray, "N X"],
    test_y: Float[np.ndarray, "N D"],
    scores: Scores,
    history: Mapping[str, ArrayLike],
    *,
    input_names: Sequence[str],
    target_names: Sequence[str],
    oracle: float | None = None,
    log_density: LogDensity | None = None,
    loss_unit: str | None = "nats",
) -> dict[str, Figure]:
    """The figures of one run.

    Args:
        model: what was trained.
        train_x: (N, X) training inputs.
        train_y: (N, D) training targets.
        test_x: test inputs.
        test_y: test targets.
        scores: of the model on the test rows, from `evaluate`.
        history: `Fit.history`.
        input_names: X names.
        target_names: D names.
        oracle: the exact optimum of the loss, where known.
        log_density: the exact log p(y|x), where known (`Problem.log_density`).
        loss_unit: of the loss.

    Returns:
        File stem -> figure. Always `loss` and `calibration`. X = 1, D = 1: `data_and_samples`, `density`,
        `parameters`. X = 0: `density`, and `contours` where D = 2. Otherwise `predictions`, with `test_rows` where
        D = 1 and `contours` where D = 2.
    """
    train_x, train_y, test_x, test_y = (np.asarray(rows, np.float64) for rows in (train_x, train_y, test_x, test_y))
    inputs, targets = test_x.shape[1], test_y.shape[1]
    enough = len(test_x) >= min(ENOUGH, len(train_x))
    x, y, title = (test_x, test_y, "Test data") if enough else (train_x, train_y, "Training data")
    key = jax.random.key(SEED)
    figures: dict[str, Figure] = {}
    if inputs == 1 and targets == 1:
        names = {"input_name": input_names[0], "target_name": target_names[0]}
        figures["data_and_samples"] = samples_figure(key, model, x, y, title=title, **names)
        figures["density"] = density_figure(model, x, y, log_density=log_density, **names)
        figures["parameters"] = parameters_figure(model, x, **names)
    elif inputs == 0:
        figures["density"] = marginals_figure(model, y, target_names, log_density=log_density)
    else:
        figures["predictions"] = predictions_figure(test_y, test_y + scores.error, scores.pit, target_names)
        if targets == 1:
            figures["test_rows"] = rows_figure(model, test_x, test_y, target_name=target_names[0])
    if targets == 2:
        figures["contours"] = contours_figure(
            key, model, test_x, test_y, input_names=input_names, target_names=target_names
        )
    figures["loss"] = loss_figure(history, oracle=oracle, unit=loss_unit)
    figures["calibration"] = calibration_figure(scores.pit, target_names)
    return figures

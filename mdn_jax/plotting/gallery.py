"""The figures that suit a run, chosen by the sizes of x and y."""

from collections.abc import Mapping, Sequence

import jax
import numpy as np
from matplotlib.figure import Figure

from mdn_jax._typing import ArrayLike, Float
from mdn_jax.judging.metrics import Scores
from mdn_jax.judging.targets import components_of, only_numbers
from mdn_jax.models import Model
from mdn_jax.plotting.diagnostics import calibration_figure, loss_figure
from mdn_jax.plotting.joint import contours_figure
from mdn_jax.plotting.kinds import confusion_figure, reliability_figure
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
    kinds: Sequence[tuple[str, ...] | None] = (),
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
        kinds: of each target the kinds that it names, None of a number; () where all are numbers.

    Returns:
        File stem -> figure. Always `loss`. Of the D targets that are numbers `calibration`; X = 1, D = 1:
        `data_and_samples`, `density`, `parameters`; X = 0: `density`, and `contours` where D = 2; otherwise
        `predictions`, with `test_rows` where D = 1 and `contours` where D = 2. What shows components or regions is
        left out where the numbers are no mixture. Of targets of kinds `reliability` and `confusion`.
    """
    train_x, train_y, test_x, test_y = (np.asarray(rows, np.float64) for rows in (train_x, train_y, test_x, test_y))
    inputs, all_y, all_names, key = test_x.shape[1], test_y, target_names, jax.random.key(SEED)
    numbers, model = only_numbers(model, np.zeros(inputs))
    train_y, test_y, pit, error = (part[:, numbers] for part in (train_y, test_y, scores.pit, scores.error))
    targets, target_names = len(numbers), [all_names[dim] for dim in numbers]
    components = targets > 0 and components_of(model, np.zeros(inputs)) > 0
    enough = len(test_x) >= min(ENOUGH, len(train_x))
    x, y, title = (test_x, test_y, "Test data") if enough else (train_x, train_y, "Training data")
    figures: dict[str, Figure] = {}
    line = inputs == 1 and targets == 1
    if line:
        names = {"input_name": input_names[0], "target_name": target_names[0]}
        figures["data_and_samples"] = samples_figure(key, model, x, y, title=title, **names)
        if components:
            figures["density"] = density_figure(model, x, y, log_density=log_density, **names)
            figures["parameters"] = parameters_figure(model, x, **names)
    elif inputs == 0 and components:
        figures["density"] = marginals_figure(model, y, target_names, log_density=log_density)
    if inputs > 0 < targets and not (line and components):
        figures["predictions"] = predictions_figure(test_y, test_y + error, pit, target_names)
        if targets == 1 and components:
            figures["test_rows"] = rows_figure(model, test_x, test_y, target_name=target_names[0])
    if targets == 2:
        figures["contours"] = contours_figure(
            key, model, test_x, test_y, input_names=input_names, target_names=target_names
        )
    figures["loss"] = loss_figure(history, oracle=oracle, unit=loss_unit)
    if not np.isnan(pit).all():
        figures["calibration"] = calibration_figure(pit, target_names)
    if scores.kinds:
        figures["reliability"] = reliability_figure(scores, all_names)
        figures["confusion"] = confusion_figure(all_y, scores, all_names, kinds)
    return figures

"""Matplotlib figures from models and arrays: functions return a `Figure`, and nothing is written or shown.

`run_figures` chooses what suits the sizes of x and y. The `draw_*` functions draw into Axes of your own.
"""

from mdn_jax.plotting.diagnostics import calibration_figure, loss_figure
from mdn_jax.plotting.drawing import draw_bands, draw_components, draw_data, draw_density
from mdn_jax.plotting.gallery import run_figures
from mdn_jax.plotting.health import health_figure
from mdn_jax.plotting.joint import contours_figure
from mdn_jax.plotting.kinds import confusion_figure, reliability_figure
from mdn_jax.plotting.predictions import predictions_figure, rows_figure
from mdn_jax.plotting.replicates import Sufficient, smallest_sufficient
from mdn_jax.plotting.strokes import nats_by_step, paper_density, pen_animation, pen_calibration, sheet
from mdn_jax.plotting.sweeping import sweep_figures
from mdn_jax.plotting.through_x import density_figure, parameters_figure, samples_figure
from mdn_jax.plotting.unconditional import marginals_figure

__all__ = [
    "Sufficient", "calibration_figure", "confusion_figure", "contours_figure", "density_figure", "draw_bands",
    "draw_components", "draw_data", "draw_density", "health_figure", "loss_figure", "marginals_figure",
    "nats_by_step", "paper_density", "parameters_figure", "pen_animation", "pen_calibration", "predictions_figure",
    "reliability_figure", "rows_figure", "run_figures", "samples_figure", "sheet", "smallest_sufficient",
    "sweep_figures",
]  # fmt: skip

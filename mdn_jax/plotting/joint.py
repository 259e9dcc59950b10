"""Two targets at once: the joint density as contours."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mdn_jax._typing import Float, Key
from mdn_jax.judging.conditionals import draws_at, joint_log_density
from mdn_jax.models import Model, evenly
from mdn_jax.plotting.drawing import BANDS, draw_data
from mdn_jax.plotting.style import (
    BLUE,
    CROWD,
    INK,
    MARGIN,
    RED,
    TITLE_SIZE,
    label,
    legend_below,
    limits,
    new_figure,
    new_panels,
)

__all__ = ["contours_figure"]

MOST_ROWS = 6
NUM_SAMPLES = 4_096  # set the levels and the view: the mass of a contour is met within 0.8 %
RARE = 0.005  # share of the samples on each side that may lie outside the view
NUM_SHOWN = 400  # of the samples
GRID = 200  # points along each target
MOST_NAMED = 3  # inputs that fit into a title

RING = {"marker": "o", "markersize": 11, "markerfacecolor": "none", "linestyle": "", "zorder": 4}


def contours_figure(
    key: Key,
    model: Model,
    x: Float[np.ndarray, "N X"],
    y: Float[np.ndarray, "N 2"],
    *,
    input_names: Sequence[str] = (),
    target_names: Sequence[str] = ("y1", "y2"),
) -> Figure:
    """The joint density of two targets, for a few rows, with samples and what was observed.

    Args:
        key: a PRNG key.
        model: with D = 2 and any X.
        x: (N, X) inputs; without any (X = 0) all rows share one density.
        y: (N, 2) targets.
        input_names: X names, for the titles.
        target_names: two names.

    Returns:
        A panel per row, at most six, in the order of the first input; or the data and samples side by side where
        X = 0. The contours are the smallest regions that hold 50 % and 90 % of the probability.
    """
    if x.shape[1] == 0:
        return _shared_density(key, model, y, target_names)
    order = np.argsort(x[:, 0], kind="stable")
    # the middles of equal shares of the rows
    chosen = order[np.unique(((np.arange(MOST_ROWS) + 0.5) * len(x) / MOST_ROWS).astype(int))]
    draws, grids, heights, levels = _surfaces(key, model, x[chosen])
    figure, panels = new_panels(len(chosen), 3.5, 3.2)
    for index, axes in enumerate(panels):
        few = draws[index, :NUM_SHOWN]
        draw_data(axes, few[:, 0], few[:, 1], color=BLUE, s=5, alpha=0.45, zorder=3, label="samples of the model")
        _draw_contours(axes, grids[index], heights[index], levels[index])
        row = chosen[index]
        axes.plot(*y[row], markeredgecolor=RED, markeredgewidth=1.6, label="observed", **RING)
        axes.set(xlim=_view(grids[index, 0], y[row, 0]), ylim=_view(grids[index, 1], y[row, 1]))
        label(axes, target_names[0], target_names[1], _row_title(x[row], row, input_names))
    figure.suptitle("Joint densities of test rows", fontsize=TITLE_SIZE + 1)
    legend_below(figure, panels[0])
    return figure


def _shared_density(key: Key, model: Model, y: Float[np.ndarray, "N 2"], target_names: Sequence[str]) -> Figure:
    """Data and samples under the contours of one density."""
    draws, grids, heights, levels = _surfaces(key, model, np.zeros((1, 0)))
    shown = y[evenly(len(y), CROWD)]
    figure, panels = new_figure(9.6, 4.8, 1, 2, sharex=True, sharey=True)
    for axes, points, colour, title in (
        (panels[0, 0], shown, INK, "Data"),
        (panels[0, 1], draws[0, : len(shown)], BLUE, "Samples of the model"),
    ):
        draw_data(axes, points[:, 0], points[:, 1], color=colour)
        _draw_contours(axes, grids[0], heights[0], levels[0])
        label(axes, target_names[0], target_names[1] if axes is panels[0, 0] else "", title)
    both = np.concatenate([shown, draws[0]])
    panels[0, 0].set(xlim=limits(both[:, 0]), ylim=limits(both[:, 1]))
    legend_below(figure, panels[0, 0])
    return figure


def _surfaces(key: Key, model: Model, x: Float[np.ndarray, "R X"]) -> tuple[np.ndarray, ...]:
    """Samples (R, S, 2), grids (R, 2, G), log densities on them (R, G, G) and levels (R, 2)."""
    draws = draws_at(key, model, x, NUM_SAMPLES)
    grids = np.array([[np.linspace(*limits(row[:, axis], RARE), GRID) for axis in range(2)] for row in draws])
    points = np.stack([np.stack(np.meshgrid(*grid), axis=-1).reshape(-1, 2) for grid in grids])
    log_p = joint_log_density(model, x, np.concatenate([draws, points], axis=1))
    # as `mdn.density_level`, from draws that are there already
    levels = np.quantile(log_p[:, :NUM_SAMPLES], [1 - mass for mass in BANDS], axis=1).T
    return draws, grids, log_p[:, NUM_SAMPLES:].reshape(-1, GRID, GRID), levels


def _draw_contours(
    axes: Axes, grid: Float[np.ndarray, "2 G"], height: Float[np.ndarray, "G G"], levels: Float[np.ndarray, " M"]
) -> None:
    for (mass, style), level in zip(BANDS.items(), levels, strict=True):
        if height.min() < level < height.max():
            axes.contour(*grid, height, levels=[level], colors=[INK], linewidths=0.9, linestyles=[style])
        axes.plot([], [], color=INK, linewidth=0.9, linestyle=style, label=f"{100 * mass:.0f} % highest-density region")


def _view(grid: Float[np.ndarray, " G"], observed: float) -> tuple[float, float]:
    """The grid's ends, moved so far out that what was observed is seen."""
    margin = MARGIN * (grid[-1] - grid[0])
    return min(grid[0], observed - margin), max(grid[-1], observed + margin)


def _row_title(x: Float[np.ndarray, " X"], row: int, names: Sequence[str]) -> str:
    if 0 < len(names) == len(x) <= MOST_NAMED:
        return ", ".join(f"{name} = {value:.3g}" for name, value in zip(names, x, strict=True))
    return f"row {row}"

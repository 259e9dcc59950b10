"""Test rows against their predictions, for any number of inputs."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mdn_jax._typing import Float
from mdn_jax.judging.conditionals import bands_at, cell_density, joint_log_density
from mdn_jax.models import Model, evenly
from mdn_jax.plotting.drawing import BANDS, draw_data, draw_density
from mdn_jax.plotting.style import (
    BLUE,
    CROWD,
    INK,
    RED,
    TICK_SIZE,
    columns_of,
    density_norm,
    dots,
    label,
    legend_below,
    limits,
    new_figure,
    new_panels,
)

__all__ = ["predictions_figure", "rows_figure"]

MOST_TARGETS = 6
MOST_ROWS = 80  # columns that stay apart in one panel
NUM_Y = 480
MASS = 0.9


def predictions_figure(
    y: Float[np.ndarray, "N D"],
    mean: Float[np.ndarray, "N D"],
    pit: Float[np.ndarray, "N D"],
    target_names: Sequence[str],
) -> Figure:
    """Observed targets against predicted means, coloured by whether the central 90 % interval holds them.

    Args:
        y: (N, D) observed.
        mean: (N, D) predicted means.
        pit: (N, D) predicted distribution functions at the targets.
        target_names: D names; the first six are drawn.

    Returns:
        One panel per target.
    """
    names, caption = columns_of(target_names, MOST_TARGETS)
    # the panels are square: a lone one stands over a legend of three lines
    figure, panels = new_panels(len(names), *((4.4, 5.0) if len(names) == 1 else (3.7, 3.9)))
    inside = np.abs(pit - 0.5) <= 0.5 * MASS
    for index, axes in enumerate(panels):
        _draw_observed(axes, y[:, index], mean[:, index], inside[:, index])
        title = f"{100 * inside[:, index].mean():.0f} % inside their interval"
        label(axes, f"predicted mean of {names[index]}", f"observed {names[index]}", title)
    legend_below(figure, panels[0], caption=caption)
    return figure


def rows_figure(
    model: Model, x: Float[np.ndarray, "N X"], y: Float[np.ndarray, "N 1"], *, target_name: str = "y"
) -> Figure:
    """The whole predicted density of some rows, one column each, with what was observed.

    Args:
        model: with D = 1 and any X.
        x: (N, X) inputs.
        y: (N, 1) targets.
        target_name: name of the target.

    Returns:
        One panel: rows in the order of their predicted medians; each dot says whether the 90 % highest-density
        region of its row holds the target.
    """
    chosen, count = evenly(len(x), MOST_ROWS), len(x)
    x, y, edges = x[chosen], y[chosen, 0], np.linspace(*limits(y), NUM_Y + 1)
    levels, medians = bands_at(model, x, tuple(BANDS))
    inside = np.exp(joint_log_density(model, x, y[:, None, None]))[:, 0] >= levels[:, list(BANDS).index(MASS)]
    order, rank = np.argsort(medians, kind="stable"), np.arange(1, len(x) + 1)
    density, y, inside = cell_density(model, x[order], edges), y[order], inside[order]
    centres = 0.5 * (edges[:-1] + edges[1:])
    figure, panels = new_figure(9.6, 4.8)
    axes: Axes = panels[0, 0]
    norm = density_norm(density)
    image = draw_density(axes, rank, centres, density, norm)
    for held_in, colour, name in ((inside, INK, "inside"), (~inside, RED, "outside")):
        axes.scatter(
            rank[held_in], y[held_in], s=14, color=colour, linewidths=0, zorder=3,
            label=f"observed, {name} the 90 % highest-density region ({held_in.sum()})",
        )  # fmt: skip
    axes.set(xlim=(0.5, len(rank) + 0.5), ylim=(edges[0], edges[-1]))
    title = f"Predicted densities of {len(rank)} of {count:,} test rows"
    label(axes, "test rows, in the order of their predicted medians", target_name, title)
    extend = "max" if density.max() > norm.vmax else "neither"  # pyright: ignore
    bar = figure.colorbar(image, ax=axes, extend=extend, pad=0.02)
    bar.set_label(f"density of {target_name}", fontsize=TICK_SIZE + 1)
    bar.ax.tick_params(labelsize=TICK_SIZE)
    legend_below(figure, axes)
    return figure


def _draw_observed(
    axes: Axes, observed: Float[np.ndarray, " N"], predicted: Float[np.ndarray, " N"], inside: np.ndarray
) -> None:
    shown = evenly(len(observed), CROWD)
    observed, predicted, inside = observed[shown], predicted[shown], inside[shown]
    ends, style = limits(np.concatenate([observed, predicted])), dots(len(shown))
    axes.plot(ends, ends, color=INK, linewidth=1, linestyle="--", label="equal")
    for rows, colour, name in ((inside, BLUE, "inside"), (~inside, RED, "outside")):
        name = f"{name} the central 90 % interval"
        draw_data(axes, predicted[rows], observed[rows], color=colour, label=name, **style)
    axes.set(xlim=ends, ylim=ends, aspect="equal")

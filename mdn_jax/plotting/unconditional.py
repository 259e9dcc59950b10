"""Figures of a model without inputs: one density for all rows."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mdn_jax._typing import Float
from mdn_jax.judging.conditionals import Components, cell_density, components_at
from mdn_jax.models import Model
from mdn_jax.plotting.style import BLUE, GREY, INK, RED, columns_of, label, legend_below, limits, new_panels
from mdn_jax.plotting.through_x import LogDensity

__all__ = ["marginals_figure"]

MOST_TARGETS = 6
NUM_Y = 400
LEAST_WEIGHT = 0.01


def marginals_figure(
    model: Model, y: Float[np.ndarray, "N D"], target_names: Sequence[str], *, log_density: LogDensity | None = None
) -> Figure:
    """A histogram of each target with the model's density and its components.

    Args:
        model: with X = 0.
        y: (N, D) targets.
        target_names: D names; the first six are drawn.
        log_density: x (1, 0), y (E, 1) -> (E,) exact log p(y) in nats, where known; drawn where D = 1.

    Returns:
        One panel per target.
    """
    names, caption = columns_of(target_names, MOST_TARGETS)
    figure, panels = new_panels(len(names), 6.4 if len(names) == 1 else 4.0, 3.4, below=0.8)
    components = components_at(model, np.zeros((1, 0)))
    for target, axes in enumerate(panels):
        edges = np.linspace(*limits(y[:, target]), NUM_Y + 1)
        centres = 0.5 * (edges[:-1] + edges[1:])
        bins = int(np.clip(2 * len(y) ** (1 / 3), 8, 80))
        span = (edges[0], edges[-1])
        weight = np.full(len(y), bins / (len(y) * (span[1] - span[0])))  # rows outside the view count too
        axes.hist(y[:, target], bins=bins, range=span, weights=weight, color=GREY, alpha=0.5, label="data")
        _draw_parts(axes, centres, components, target)
        density = cell_density(model, np.zeros((1, 0)), edges, target)[0]
        axes.plot(centres, density, color=BLUE, linewidth=2, label="model's density")
        if log_density is not None and y.shape[1] == 1:
            exact = np.exp(log_density(np.zeros((1, 0)), centres[:, None]))
            axes.plot(centres, exact, color=INK, linewidth=1, linestyle="--", label="exact density")
        axes.set_xlim(edges[0], edges[-1])
        first = axes.get_subplotspec().is_first_col()  # pyright: ignore[reportOptionalMemberAccess]
        label(axes, names[target], "density" if first else "", f"Distribution of {names[target]}")
    legend_below(figure, panels[0], caption=caption)
    return figure


def _draw_parts(axes: Axes, y: Float[np.ndarray, " E"], components: Components, target: int) -> None:
    """Each component's share of the density."""
    weights, locs, stds = components.weights[0], components.locs[0, :, target], components.stds[0, :, target]
    live = np.flatnonzero(weights > LEAST_WEIGHT)
    if len(weights) == 1:
        return
    z = (y[None, :] - locs[live, None]) / stds[live, None]
    shares = weights[live, None] * np.exp(-0.5 * z**2) / (np.sqrt(2 * np.pi) * stds[live, None])
    lines = axes.plot(y, shares.T, color=RED, linewidth=0.8, alpha=0.8 if len(live) < 20 else 0.4)
    lines[0].set_label("components")

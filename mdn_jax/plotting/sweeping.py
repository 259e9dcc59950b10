"""Figures of a hyperparameter sweep: what each axis does to the test NLL, how far chance goes, and who was best."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mdn_jax._typing import Float
from mdn_jax.plotting.replicates import (
    Sweep,
    best_settings,
    distinct,
    is_numeric,
    short_names,
    smallest_sufficient,
    spread_of,
    sweep_of,
)
from mdn_jax.plotting.style import BLUE, GREY, INK, RED, TICK_SIZE, dots, label, new_figure
from mdn_jax.plotting.sweep_axes import axis_figure
from mdn_jax.plotting.sweep_style import caption_below, fence, left_out, name_of, replicates, set_losses, tick_names

__all__ = ["sweep_figures"]

SENTENCE_AXIS = "model.num_components"  # whose figure says which value suffices
MOST_CELLS, MOST_NUMBERS = 24, 100  # rows or columns of a heat map; cells of one that gives numbers too
CELL_WIDTH, CELL_HEIGHT = 0.62, 0.42  # inches
COLOUR_MAP, LIGHT = "viridis", 0.6  # perceptually uniform; share above which ink is easier to read than white


def sweep_figures(
    table: Mapping[str, np.ndarray],
    axes: Sequence[str],
    *,
    oracle: float | None = None,
    importance: Mapping[str, float] | None = None,
) -> dict[str, Figure]:
    """The figures of one sweep.

    Seeds are replicates, not settings: their spread is shown, and none is an x axis. Means are of the members that
    finished; members stopped by successive halving are drawn faintly, and those that diverged are counted.

    Args:
        table: column name -> (M,) array, one entry per member: each axis; `val_nll` and `test_nll` in nats per row;
            `status`, of which `diverged` and `halved` are left out of means.
        axes: the swept axes, in order, such as `model.num_components`; `seed` and `dataset.seed` are replicates.
        oracle: the test NLL of the exact density, where known.
        importance: axis -> its importance, where known.

    Returns:
        File stem -> figure: `by_AXIS` for each axis that is no seed, `heat_map_AXIS_AXIS` of the first two with at
        most 24 values, `members`, and `importance` where given. An axis goes by the last part of its name, or by all
        of it, with underscores, where two share the last part. Where no member finished, at most `importance`.

    Raises:
        InputError: where a column is missing or too short.

    Example:
        >>> import numpy as np
        >>> from mdn_jax.plotting import sweep_figures
        >>> nll = np.array([1.90, 1.92, 1.335, 1.341, 1.330, 1.332])
        >>> table = {"model.num_components": np.array([1, 1, 2, 2, 4, 4]), "seed": np.array([0, 1] * 3)}
        >>> table |= {"val_nll": nll, "test_nll": nll, "status": np.array(["ok"] * 6)}
        >>> sorted(sweep_figures(table, ["model.num_components", "seed"]))
        ['by_num_components', 'members']
    """
    sweep = sweep_of(table, axes)
    stems = {axis: name.replace(".", "_") for axis, name in sweep.names.items()}
    figures = {}
    if sweep.finished.any():
        for axis in sweep.settings:
            told = axis == SENTENCE_AXIS and is_numeric(sweep.columns[axis])
            sentence = str(smallest_sufficient(table, axis, axes)) if told else ""
            figures[f"by_{stems[axis]}"] = axis_figure(sweep, axis, oracle, sentence)
        small = [axis for axis in sweep.settings if sweep.count(axis) <= MOST_CELLS][:2]
        if len(small) == 2:
            figures[f"heat_map_{stems[small[0]]}_{stems[small[1]]}"] = _heat_map(sweep, small[0], small[1])
        figures["members"] = _members_figure(sweep)
    if importance:
        figures["importance"] = _importance_figure(importance)
    return figures


def _heat_map(sweep: Sweep, across: str, up: str) -> Figure:
    """Mean test NLL over seeds at each pair of values, of the best setting of the other axes."""
    columns, rows = distinct(sweep.columns[across]), distinct(sweep.columns[up])
    cells = np.full((len(rows), len(columns)), np.nan)
    for (x, y), members in best_settings(sweep, [across, up]).items():
        cells[rows.index(y), columns.index(x)] = spread_of(sweep, members).mean
    width = float(np.clip(CELL_WIDTH * len(columns), 3.2, 11.0))
    figure, panels = new_figure(width + 2.4, float(np.clip(CELL_HEIGHT * len(rows), 2.2, 8.0)) + 1.6)
    axes: Axes = panels[0, 0]
    _draw_cells(figure, axes, cells)
    over = replicates(sweep)
    title = f"Mean test NLL over {over}" if over else "Test NLL"
    label(axes, sweep.names[across], sweep.names[up], f"{title} (nats per row)")
    tick_names(axes.xaxis, [name_of(value) for value in columns], width)
    tick_names(axes.yaxis, [name_of(value) for value in rows], 0.0)
    rest = [sweep.names[axis] for axis in sweep.settings if axis not in (across, up) and sweep.count(axis) > 1]
    best = f"Each cell has its best {' and '.join(rest)}, by validation" if rest else ""
    blank = "Blank: no member finished" if np.isnan(cells).any() else ""
    caption_below(figure, axes, [best, blank, left_out(sweep)])
    return figure


def _draw_cells(figure: Figure, axes: Axes, cells: Float[np.ndarray, "R C"]) -> None:
    """Colours, a bar that explains them, and numbers where they fit."""
    found = cells[np.isfinite(cells)]
    low, high = found.min(), min(found.max(), fence(found))
    norm = PowerNorm(0.5, low, high)  # the root: what is slightly worse than the best still differs from it
    image = axes.imshow(cells, origin="lower", aspect="auto", cmap=COLOUR_MAP, norm=norm)
    bar = figure.colorbar(image, ax=axes, extend="max" if found.max() > high else "neither", pad=0.02)
    steps = np.unique(norm.inverse(np.linspace(0, 1, 5)))
    bar.set_ticks(steps, labels=[_number(value) for value in steps])  # pyright: ignore
    bar.minorticks_off()
    bar.set_label("dark is good (square-root scale)", fontsize=TICK_SIZE)
    bar.ax.tick_params(labelsize=TICK_SIZE)
    if cells.size > MOST_NUMBERS:
        return
    for (row, column), value in np.ndenumerate(cells):
        if np.isfinite(value):
            colour = INK if norm(value) > LIGHT else "white"
            axes.text(column, row, _number(value), ha="center", va="center", fontsize=TICK_SIZE - 1, color=colour)


def _number(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 100 else f"{value:.4g}"


def _members_figure(sweep: Sweep) -> Figure:
    """The validation NLL of all members, from the best to the worst."""
    shown = np.flatnonzero((sweep.finished | sweep.halved) & np.isfinite(sweep.val))
    order = shown[np.argsort(sweep.val[shown], kind="stable")]
    figure, panels = new_figure(7.6, 4.8)
    axes: Axes = panels[0, 0]
    rank = 1 + np.arange(len(order))
    axes.set_xlim(1 - 0.03 * len(order), 1.03 * len(order))
    axes.xaxis.set_major_locator(MaxNLocator(10, integer=True, min_n_ticks=1))
    for kind, colour, name in ((sweep.finished, BLUE, "finished"), (sweep.halved, GREY, "stopped by halving")):
        if kind[order].any():
            axes.scatter(rank[kind[order]], sweep.val[order][kind[order]], color=colour, label=name, **dots(len(order)))
    best = np.flatnonzero(sweep.finished)[sweep.val[sweep.finished].argmin()]
    told = f"best: validation {sweep.val[best]:.3f}, test {sweep.test[best]:.3f}"
    axes.plot(
        rank[order == best], sweep.val[best], color=RED, linestyle="", marker="o", markersize=9,
        markerfacecolor="none", markeredgewidth=1.8, label=told,
    )  # fmt: skip
    label(axes, "members, from the best to the worst", "validation NLL (nats per row)", "Validation NLL of all members")
    above = set_losses(axes, sweep.val[order], points=sweep.val[order])
    setting = ", ".join(f"{sweep.names[axis]} = {name_of(column[best])}" for axis, column in sweep.columns.items())
    caption_below(figure, axes, [f"Best: {setting}" if setting else "", above, left_out(sweep)])
    return figure


def _importance_figure(importance: Mapping[str, float]) -> Figure:
    """Horizontal bars, the most important axis on top."""
    names, ranked = short_names(importance), sorted(importance, key=lambda axis: importance[axis])
    figure, panels = new_figure(6.4, 1.3 + 0.38 * len(ranked))
    axes: Axes = panels[0, 0]
    bars = axes.barh([names[axis] for axis in ranked], [importance[axis] for axis in ranked], color=BLUE, height=0.62)
    axes.bar_label(bars, fmt="%.2f", padding=4, fontsize=TICK_SIZE)
    axes.margins(x=0.12)
    label(axes, "importance", "", "Importance of the axes")
    return figure

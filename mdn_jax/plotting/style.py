"""One look for all figures: colours, sizes, labels and limits, given to each artist so that no global style changes.

References:
    M. Okabe and K. Ito, "Color universal design", 2008: colours that all common kinds of colour vision tell apart.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from mdn_jax._typing import ArrayLike, Float

__all__ = [
    "BLUE", "COLOURS", "CROWD", "DENSITY_COLOURS", "GREY", "INK", "LABEL_SIZE", "MARGIN", "ORANGE", "RED",
    "columns_of", "density_norm", "dots", "label", "legend_below", "limits", "new_figure", "new_panels", "text_below",
]  # fmt: skip

INK, GREY = "#222222", "#8C8C8C"
BLUE, RED, GREEN, PURPLE, ORANGE, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"
COLOURS = (BLUE, RED, GREEN, PURPLE, ORANGE, SKY, INK)
DENSITY_COLOURS = "Blues"

DPI = 150
HANDLE_WIDTH, LETTER_WIDTH = 0.53, 0.07  # inches of a legend's entry
TITLE_SIZE, LABEL_SIZE, TICK_SIZE = 11, 10, 9
TAIL = 0.001  # share of the values on each side that may lie outside the view: one outlier must not flatten the rest
MARGIN = 0.04  # of the view, on each side
PEAK_SHARE = 0.99  # of the cells lie below the darkest colour: one sharp peak must not bleach the rest

FEW, CROWD = 100, 2_500  # points from which on dots shrink, and the most that a panel shows


def new_figure(width: float, height: float, rows: int = 1, columns: int = 1, **options: Any) -> tuple[Figure, Any]:
    """A figure of `width` by `height` inches and its (rows, columns) array of Axes."""
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def new_panels(count: int, width: float, height: float, below: float = 0.5) -> tuple[Figure, list[Axes]]:
    """A figure of `count` panels of `width` by `height` inches, at most three in a row, with `below` for a legend."""
    columns = 2 if count == 4 else min(count, 3)
    rows = -(-count // columns)
    figure, panels = new_figure(width * columns, height * rows + below, rows, columns)
    for axes in panels.ravel()[count:]:
        axes.remove()
    return figure, list(panels.ravel()[:count])


def label(axes: Axes, x: str, y: str, title: str = "") -> None:
    """Names of the two axes, a title on the left, and no box around."""
    axes.set_xlabel(x, fontsize=LABEL_SIZE)
    axes.set_ylabel(y, fontsize=LABEL_SIZE)
    axes.set_title(title, fontsize=TITLE_SIZE, loc="left")
    axes.tick_params(labelsize=TICK_SIZE, colors=INK)
    axes.spines[["top", "right"]].set_visible(False)


def legend_below(figure: Figure, axes: Axes, caption: str = "") -> None:
    """The legend of `axes` under the figure, over no data, in one row where that fits, with a line of caption."""
    handles, labels = axes.get_legend_handles_labels()
    widths = [HANDLE_WIDTH + LETTER_WIDTH * len(name) for name in labels]
    room = figure.get_figwidth()
    columns = len(labels) if sum(widths) < room else max(1, int(room / max(widths)))
    figure.legend(
        handles, labels, loc="outside lower center", ncols=columns, fontsize=TICK_SIZE,
        frameon=False, title=caption or None, title_fontsize=TICK_SIZE,
    )  # fmt: skip


def text_below(figure: Figure, text: str) -> None:
    """A line of caption under the figure."""
    figure.supxlabel(text, fontsize=TICK_SIZE, color="#555555")


def limits(values: ArrayLike, tail: float = TAIL) -> tuple[float, float]:
    """The ends of a view of `values`, all of them but a share `tail` on each side, with a margin."""
    values = np.asarray(values, np.float64)
    low, high = np.quantile(values[np.isfinite(values)], [tail, 1 - tail])
    pad = MARGIN * (high - low) or 0.5 * abs(high) or 0.5
    return float(low - pad), float(high + pad)


def dots(count: int) -> dict[str, Any]:
    """Size and opacity of `count` dots: smaller and fainter the more there are."""
    crowding = np.clip(np.log(max(count, 1) / FEW) / np.log(CROWD / FEW), 0.0, 1.0)
    return {"s": 22 - 16 * crowding, "alpha": 0.9 - 0.5 * crowding, "linewidths": 0, "rasterized": True}


def density_norm(*densities: Float[np.ndarray, "..."]) -> PowerNorm:
    """One colour scale for several densities: the root of the density, so that its low ridges stay visible."""
    values = np.concatenate([np.ravel(density) for density in densities])
    positive = values[values > 1e-3 * values.max()]
    return PowerNorm(0.5, vmin=0.0, vmax=float(np.quantile(positive, PEAK_SHARE)))


def columns_of(names: Sequence[str], most: int) -> tuple[Sequence[str], str]:
    """The names that have room, and a caption about the others."""
    rest = len(names) - most
    return names[:most], f"{rest} more target{'s' * (rest > 1)} not shown" if rest > 0 else ""

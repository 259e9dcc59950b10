"""Parts of a figure, drawn into Axes of your own."""

from collections.abc import Mapping
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import Normalize
from matplotlib.image import AxesImage

from mdn_jax._typing import Float
from mdn_jax.judging.conditionals import Components
from mdn_jax.plotting.style import DENSITY_COLOURS, INK, ORANGE, density_norm, dots

__all__ = ["BANDS", "MANY", "NEGLIGIBLE", "draw_bands", "draw_components", "draw_data", "draw_density"]

BANDS = {0.5: "-", 0.9: (0, (4, 2))}  # mass of a highest-density band and how its outline is drawn
NEGLIGIBLE = 0.1  # of the largest weight at the same x: lighter components are not marked

MANY = 16  # components from which on they are drawn smaller


def draw_data(axes: Axes, x: Float[np.ndarray, " N"], y: Float[np.ndarray, " N"], **options: Any) -> PathCollection:
    """Points, smaller and fainter the more there are.

    Args:
        axes: where to draw.
        x: (N,) horizontal positions.
        y: (N,) vertical positions.
        options: passed on to `Axes.scatter`.

    Returns:
        The points.
    """
    style: dict[str, Any] = {"color": INK} | dots(len(x)) | options
    return axes.scatter(x, y, **style)


def draw_density(
    axes: Axes,
    xs: Float[np.ndarray, " R"],
    ys: Float[np.ndarray, " E"],
    density: Float[np.ndarray, "R E"],
    norm: Normalize | None = None,
) -> AxesImage:
    """A heat map of p(y|x) that keeps thin and low ridges visible.

    Args:
        axes: where to draw.
        xs: (R,) evenly spaced.
        ys: (E,) evenly spaced centres of cells, E at least 2.
        density: (R, E) of y at each x.
        norm: colour scale; the root of the density where absent. Pass one norm to several maps to compare them.

    Returns:
        The image, for a colour bar.

    Example:
        >>> import numpy as np
        >>> from matplotlib.figure import Figure
        >>> from mdn_jax.plotting import draw_density
        >>> image = draw_density(Figure().subplots(), np.arange(3.0), np.arange(4.0), np.ones((3, 4)))
        >>> [float(end) for end in image.get_extent()]
        [-0.5, 2.5, -0.5, 3.5]
    """
    half_x = 0.5 * (xs[1] - xs[0]) if len(xs) > 1 else 0.5
    half_y = 0.5 * (ys[1] - ys[0])
    return axes.imshow(
        density.T, origin="lower", aspect="auto", interpolation="nearest", cmap=DENSITY_COLOURS,
        norm=norm or density_norm(density), extent=(xs[0] - half_x, xs[-1] + half_x, ys[0] - half_y, ys[-1] + half_y),
    )  # fmt: skip


def draw_bands(
    axes: Axes,
    xs: Float[np.ndarray, " R"],
    ys: Float[np.ndarray, " E"],
    density: Float[np.ndarray, "R E"],
    levels: Mapping[float, Float[np.ndarray, " R"]],
) -> None:
    """Outlines of highest-density bands, the smallest regions of y that hold so much at each x.

    Args:
        axes: where to draw; a legend names the bands.
        xs: (R,) rising.
        ys: (E,) centres of cells, rising.
        density: (R, E) averages over the cells.
        levels: mass -> (R,) density at the band's edge, from `bands_at`.
    """
    tiny = np.finfo(np.float32).tiny
    for (mass, level), style in zip(levels.items(), cycle(BANDS.values()), strict=False):
        field = np.log(np.maximum(density, tiny)) - np.log(np.maximum(level, tiny))[:, None]
        if field.min() < 0 < field.max():
            axes.contour(xs, ys, field.T, levels=[0.0], colors=[INK], linewidths=0.9, linestyles=[style])
        axes.plot([], [], color=INK, linewidth=0.9, linestyle=style, label=f"{100 * mass:.0f} % highest-density band")


def draw_components(axes: Axes, xs: Float[np.ndarray, " R"], components: Components, target: int = 0) -> PathCollection:
    """A dot at each component's centre, larger the more it weighs; none where its weight is negligible.

    Args:
        axes: where to draw.
        xs: (R,) positions.
        components: of R rows.
        target: which of the D targets.

    Returns:
        The dots.
    """
    share = components.weights / components.weights.max(axis=1, keepdims=True)
    row, component = np.nonzero(share > NEGLIGIBLE)
    largest = 14 if share.shape[1] <= MANY else 7
    return axes.scatter(
        np.asarray(xs)[row], components.locs[row, component, target], s=largest * share[row, component],
        color=ORANGE, edgecolors=INK, linewidths=0.25, label="component centres", zorder=3,
    )  # fmt: skip

"""Drawings of a pen on paper, the density under the pen, and how good a model of pen strokes is.

A drawing is (n, 3): offsets dx and dy that lead to each point from the one before, and a pen code, 0 where the pen
stays down after the point, 1 where it is lifted, 2 where the drawing is finished; what follows a 2 is not drawn. The
pen begins on the paper, at (0, 0), and y grows downward, as it does in files of pen strokes and on screens.

References:
    A. Graves, "Generating sequences with recurrent neural networks", 2013: the heat map under the pen (figure 10).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.animation import FuncAnimation
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse

from mdn_jax._typing import Bool, Float, Int
from mdn_jax.plotting.style import (
    BLUE,
    DENSITY_COLOURS,
    GREY,
    INK,
    LABEL_SIZE,
    ORANGE,
    RED,
    density_norm,
    label,
    legend_below,
    limits,
    new_figure,
)

__all__ = ["nats_by_step", "paper_density", "pen_animation", "pen_calibration", "sheet"]

CELL, GAP, TITLE = 0.8, 0.12, 0.3  # inches of a cell, shares of it between cells and for a row's titles
LARGE, ROOM = 0.9, 1.3  # share of the drawings, and times their size that a cell holds: what goes further is cut
PEN, DOT = 1.3, 9  # width of a line and area of a point, in points
MILLISECONDS, HELD = 80, 12  # of a frame; frames of the whole drawing at the end
FRAME_DPI, EDGE = 100, 0.01  # of a frame; share of it outside the paper
HEIGHT = 3.6  # inches of a paper
FAINT = 0.3  # power of the density that colours show: what is a thousandth of the peak is still seen
FEW = 20  # drawings: steps that fewer reach do not set the view
LIGHTEST = 0.01  # weight from which on a component is shown
IMAGE: dict[str, Any] = {"cmap": DENSITY_COLOURS, "origin": "lower", "interpolation": "bilinear"}

Drawing = Float[np.ndarray, "n 3"]
Extent = tuple[float, float, float, float]  # left, right, least and greatest y


def sheet(
    drawings: Sequence[Drawing],
    *,
    titles: Sequence[str] | None = None,
    columns: int | None = None,
    primed: int | Sequence[int] | None = None,
) -> Figure:
    """A sheet of drawings side by side, all at one scale.

    Args:
        drawings: each (n, 3).
        titles: one for each drawing, above it; "" for none.
        columns: drawings in a row; about a square where absent.
        primed: points of each drawing that were given, not drawn by a model: in another colour.

    Returns:
        One panel without axes.

    Example:
        >>> import numpy as np
        >>> from mdn_jax.plotting import sheet
        >>> stroke = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0], [0.0, 1.0, 2.0]])
        >>> len(sheet([stroke, stroke], primed=1).axes[0].collections)  # given, drawn, and the dots of both
        4
    """
    columns = columns or int(np.ceil(np.sqrt(len(drawings) or 1)))
    rows = -(-len(drawings) // columns) or 1
    names = list(titles or [""] * len(drawings))
    given = np.broadcast_to(np.asarray(primed or 0), len(drawings))
    spans = [_path(drawing)[0] for drawing in drawings]
    sizes = [np.ptp(path, axis=0).max() for path in spans]
    size = min(max(sizes, default=1.0), ROOM * float(np.quantile(sizes or [1.0], LARGE))) or 1.0
    titled = np.array([any(names[row * columns : (row + 1) * columns]) for row in range(rows)])
    tops = np.arange(rows) * (1 + GAP) + np.cumsum(titled) * TITLE
    height, width = tops[-1] + 1, columns * (1 + GAP) - GAP
    figure, panels = new_figure(CELL * width, CELL * height)
    axes: Axes = panels[0, 0]
    axes.set(xlim=(0, width), ylim=(-height, 0), aspect="equal")
    axes.axis("off")
    pieces: dict[str, list[np.ndarray]] = {ORANGE: [], INK: []}
    for place, (drawing, path) in enumerate(zip(drawings, spans, strict=True)):
        left, top = place % columns * (1 + GAP), tops[place // columns]
        # of one that runs away the beginning stays in sight
        middle = np.clip(0.5 * (path.min(axis=0) + path.max(axis=0)), -0.5 * size, 0.5 * size)
        for colour, (first, last) in {ORANGE: (0, given[place]), INK: (given[place], len(drawing))}.items():
            for piece in _pieces(drawing, first, last):
                local = (piece - middle) / [size, -size]
                local[np.abs(local).max(axis=1) > 0.5 + 0.5 * GAP] = np.nan
                pieces[colour].append(local + np.array([left + 0.5, -top - 0.5]))
        axes.text(left, -top + 0.06, names[place], fontsize=LABEL_SIZE, color=INK, va="bottom", parse_math=False)
    for colour, found in pieces.items():
        _draw_pieces(axes, found, colour)
    return figure


def pen_animation(
    drawing: Drawing, densities: Float[np.ndarray, "T H W"], extent: Extent, *, num_primed: int = 0
) -> FuncAnimation:
    """The pen moving, with the density of its next point over the paper under it.

    Args:
        drawing: (n, 3).
        densities: (T, H, W) of each of its first T points, given those before.
        extent: left, right, least and greatest y of the paper, in the units of the drawing.
        num_primed: points that were given, not drawn by a model: in another colour.

    Returns:
        T frames and some of the whole drawing: save it as a GIF by matplotlib's writer "pillow".
    """
    figure, axes = _paper(extent)
    figure.set_dpi(FRAME_DPI)
    figure.set_layout_engine(None)  # the paper fills the frame, and no frame is laid out anew
    figure.subplots_adjust(EDGE, EDGE, 1 - EDGE, 1 - EDGE)
    image = axes.imshow(densities[0], extent=extent, **IMAGE)
    lines = [_draw_pieces(axes, [], colour) for colour in (ORANGE, INK)]
    (path, lifted), count = _path(drawing), len(densities)
    (pen,) = axes.plot(*path[0], marker="o", markersize=5, color=RED, zorder=4)

    def show(frame: int) -> list[Any]:
        step = min(frame, count)
        density = densities[min(frame, count - 1)]
        image.set_data(density)
        # each step has colours of its own: densities of a sure and of a doubtful pen differ a thousandfold
        image.set_norm(PowerNorm(FAINT, vmin=0.0, vmax=max(float(density.max()), np.finfo(float).tiny)))
        image.set_visible(frame < count)
        given = min(num_primed, step)
        for (line, dots), (first, last) in zip(lines, ((0, given), (given, step)), strict=True):
            _set_pieces(line, dots, _pieces(drawing, first, last))
        pen.set_data(path[step, :1], path[step, 1:])
        pen.set_fillstyle("none" if lifted[step] else "full")
        pen.set_visible(frame < count)
        return []

    return FuncAnimation(figure, show, frames=count + HELD, init_func=list, interval=MILLISECONDS)


def paper_density(
    drawing: Drawing,
    density: Float[np.ndarray, "H W"],
    extent: Extent,
    *,
    weights: Float[np.ndarray, " K"],
    locs: Float[np.ndarray, "K 2"],
    covariances: Float[np.ndarray, "K 2 2"],
    title: str = "",
) -> Figure:
    """The density of the next point over the paper, with the components that it is made of.

    Args:
        drawing: (t, 3) so far.
        density: (H, W) of the next point.
        extent: left, right, least and greatest y of the paper, in the units of the drawing.
        weights: (K,) of the components.
        locs: (K, 2) their centres, as offsets from the last point.
        covariances: (K, 2, 2).
        title: of the figure.

    Returns:
        One panel; an ellipse of two standard deviations for each component that weighs 1 % or more, darker the more.
    """
    figure, axes = _paper(extent)
    axes.imshow(
        density,
        cmap=DENSITY_COLOURS,
        extent=extent,
        origin="lower",
        interpolation="bilinear",
        norm=density_norm(density),
    )
    _draw_pieces(axes, _pieces(drawing, 0, len(drawing)), INK)
    pen = _path(drawing)[0][-1]
    for weight, loc, covariance in zip(weights, locs, covariances, strict=True):
        if weight < LIGHTEST:
            continue
        variances, directions = np.linalg.eigh(covariance)
        angle = np.degrees(np.arctan2(directions[1, 1], directions[0, 1]))
        long, short = 4 * np.sqrt(variances[::-1])
        style: dict[str, Any] = {"fill": False, "edgecolor": ORANGE, "alpha": 0.25 + 0.75 * float(np.sqrt(weight))}
        axes.add_patch(Ellipse(tuple(pen + loc), long, short, angle=angle, linewidth=1.3, **style))
    axes.plot(*pen, marker="o", markersize=5, color=RED, zorder=4)
    axes.set_title(title, fontsize=LABEL_SIZE, loc="left")
    return figure


def nats_by_step(
    offset: Float[np.ndarray, " T"], pen: Float[np.ndarray, " T"], counts: Int[np.ndarray, " T"]
) -> Figure:
    """Negative log-likelihood against the step in the drawing.

    Args:
        offset: (T,) mean over the drawings of the nats of the offset at each step.
        pen: (T,) mean of the nats of the pen.
        counts: (T,) drawings that reach the step; steps that none reaches are left out.

    Returns:
        Two panels, one above the other.
    """
    offset, pen, counts = (np.asarray(values) for values in (offset, pen, counts))
    steps = 1 + np.flatnonzero(counts)
    figure, panels = new_figure(7.2, 5.4, 2, 1, sharex=True, height_ratios=(3, 1))
    (above,), (below,) = panels
    shown = {"offset": (offset, BLUE), "pen": (pen, RED), "together": (offset + pen, INK)}
    for name, (values, colour) in shown.items():
        above.plot(steps, values[steps - 1], color=colour, linewidth=1.4, label=name)
    often = counts >= min(FEW, counts.max())
    above.set_ylim(limits(np.concatenate([values[often] for values, _ in shown.values()]), tail=0.0))
    above.axhline(0, color=GREY, linewidth=0.8)
    label(above, "", "nats per point", "Negative log-likelihood by step")
    below.step(steps, counts[steps - 1], where="mid", color=INK, linewidth=1.2)
    below.set(ylim=(0, None), xlim=(1, max(steps[-1], 2)))
    label(below, "step in the drawing", "drawings")
    legend_below(figure, above)
    return figure


def pen_calibration(
    probability: Float[np.ndarray, " B"], share: Float[np.ndarray, " B"], counts: Int[np.ndarray, " B"]
) -> Figure:
    """Draw how often the pen is lifted, against the probability that the model gave it.

    Args:
        probability: (B,) mean probability of a lifted pen in each bin.
        share: (B,) of the points of the bin where it was lifted.
        counts: (B,) points in the bin; empty bins are left out.

    Returns:
        Two panels, one above the other; in the grey bars lie 95 of 100 shares where probabilities are right.
    """
    counts = np.asarray(counts)
    probability, share, kept = (np.asarray(values)[counts > 0] for values in (probability, share, counts))
    chance = 1.96 * np.sqrt(probability * (1 - probability) / kept)
    figure, panels = new_figure(5.4, 6.2, 2, 1, sharex=True, height_ratios=(3, 1))
    (above,), (below,) = panels
    above.plot([0, 1], [0, 1], color=INK, linewidth=1, linestyle="--", label="calibrated")
    ends = np.clip([probability - chance, probability + chance], 0, 1)
    above.vlines(probability, *ends, color=GREY, alpha=0.5, linewidth=7, label="95 % range of chance")
    above.plot(probability, share, color=BLUE, marker="o", linewidth=1.4, label="test points")
    above.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    label(above, "", "share where it is lifted", "Calibration of the pen")
    below.vlines(probability, 0.5, kept, color=BLUE, linewidth=7)
    below.set(yscale="log", ylim=(0.5, None))
    label(below, "probability that the pen is lifted", "points")
    legend_below(figure, above)
    return figure


def _path(drawing: Drawing) -> tuple[Float[np.ndarray, "n 2"], Bool[np.ndarray, " n"]]:
    """The origin and each point until the drawing is finished, and where the pen is lifted after it."""
    points = np.concatenate([np.zeros((1, 3)), drawing])
    for finished in np.flatnonzero(points[:, 2] > 1)[:1]:
        points = points[: finished + 1]
    return np.cumsum(points[:, :2], axis=0), points[:, 2] > 0


def _pieces(drawing: Drawing, first: int, last: int) -> list[Float[np.ndarray, "n 2"]]:
    """The strokes of the points from `first` to before `last`, each with the point that it comes from."""
    path, lifted = _path(drawing)
    if min(last, len(path) - 1) <= first:
        return []
    pieces = np.split(path[first : last + 1], 1 + np.flatnonzero(lifted[first : min(last, len(path) - 1)]))
    return pieces[1:] if first and lifted[first] else pieces  # the point before belongs to the stroke before


def _draw_pieces(axes: Axes, pieces: list[Float[np.ndarray, "n 2"]], colour: str) -> tuple[LineCollection, Any]:
    line = LineCollection([], colors=colour, linewidths=PEN, capstyle="round", joinstyle="round", zorder=3)
    dots = axes.scatter([], [], s=DOT, color=colour, linewidths=0, zorder=3)
    axes.add_collection(line, autolim=False)
    _set_pieces(line, dots, pieces)
    return line, dots


def _set_pieces(line: LineCollection, dots: Any, pieces: list[Float[np.ndarray, "n 2"]]) -> None:
    """Strokes as lines, and as dots those of one point."""
    line.set_segments([piece for piece in pieces if len(piece) > 1])
    dots.set_offsets(np.concatenate([np.zeros((0, 2)), *(piece for piece in pieces if len(piece) == 1)]))


def _paper(extent: Extent) -> tuple[Figure, Axes]:
    """A sheet of paper without axes."""
    left, right, least, greatest = extent
    figure, panels = new_figure(HEIGHT * (right - left) / (greatest - least), HEIGHT)
    axes: Axes = panels[0, 0]
    axes.set(xlim=(left, right), ylim=(greatest, least), aspect="equal", xticks=[], yticks=[])
    axes.spines[:].set_color("0.85")
    axes.set_facecolor(colormaps[DENSITY_COLOURS](0))
    return figure, axes

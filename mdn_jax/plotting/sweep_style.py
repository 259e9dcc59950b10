"""The common style of a sweep's figures: robust views, ticks at swept values, captions that fit."""

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter

from mdn_jax._typing import Float
from mdn_jax.plotting.replicates import DATA_SEED, SEED, Sweep
from mdn_jax.plotting.style import legend_below

__all__ = ["caption_below", "fence", "left_out", "name_of", "replicates", "set_losses", "set_numbers", "tick_names"]

TYPICAL = 0.9  # share of the losses that set the scale of a view
# heights of the typical losses that lines, and that single members, may take: one terrible member flattens nothing
FAR, NEAR = 6.0, 2.0
FEW = 4  # fewer losses say nothing about what is typical
SLACK = 0.3  # of the height of a view: a bar that reaches further below the lowest loss is cut
PAD = 0.05  # of a view, on each side
WIDE = 20.0  # ratio of the values of an axis from which on it is logarithmic
NONE = np.empty(0)
LETTERS = 14.0  # of a caption, in an inch
LETTER_WIDTH = 0.085  # inches of a tick's label
MOST_NAMES, MOST_SLANTED = 40, 20  # labels that one axis can hold, and slanted ones


def fence(losses: Float[np.ndarray, " R"], reach: float = FAR) -> float:
    """The highest loss that a view may show: `reach` heights of the typical ones."""
    low, typical = losses.min(), np.quantile(losses, TYPICAL, method="lower")
    if len(losses) < FEW or typical == low:
        return float(losses.max())
    return float(low + reach * (typical - low))


def set_losses(
    axes: Axes,
    losses: Float[np.ndarray, " R"],
    *,
    points: Float[np.ndarray, " P"] = NONE,
    ends: Float[np.ndarray, " E"] = NONE,
    crowd: Float[np.ndarray, " C"] = NONE,
    oracle: float | None = None,
) -> str:
    """Robust limits of a y axis.

    Args:
        axes: whose y axis is set.
        losses: (R,) of the members that finished, which say what is typical.
        points: (P,) such as means, which fit unless they are terrible.
        ends: (E,) of bars and bands, likewise.
        crowd: (C,) of single members, the worst of which need not fit.
        oracle: always fits.

    Returns:
        A caption on the points that lie above the view; empty where none does.
    """
    points, ends, crowd = (values[np.isfinite(values)] for values in (points, ends, crowd))
    must = np.array([losses.min()] if oracle is None else [losses.min(), oracle])
    lines = np.concatenate([points, ends])
    high = np.concatenate([must, lines[lines <= fence(losses)], crowd[crowd <= fence(losses, NEAR)]]).max()
    low = np.concatenate([must, ends[ends >= must.min() - SLACK * (high - must.min())]]).min()
    pad = PAD * (high - low) or PAD * abs(high) or PAD
    axes.set_ylim(low - pad, high + pad)
    above = np.concatenate([points, crowd])
    above = above[above > high + pad]
    if not len(above):
        return ""
    lie = "1 point lies above the view, at" if len(above) == 1 else f"{len(above):,} points lie above the view, up to"
    return f"{lie} {above.max():.3g}"


def left_out(sweep: Sweep) -> str:
    """The number of members that the figure leaves out of its means, with the reason."""
    captions = []
    members, halved, diverged = len(sweep.val), int(sweep.halved.sum()), int(sweep.diverged.sum())
    if halved:
        stopped = "was stopped by halving and is" if halved == 1 else "were stopped by halving and are"
        captions.append(f"{halved} of {members} members {stopped} in no mean")
    if diverged:
        captions.append(f"{diverged} of {members} members diverged and {'is' if diverged == 1 else 'are'} not shown")
    return "; ".join(captions)


def replicates(sweep: Sweep) -> str:
    """The replicates of a mean: `8 seeds and 4 data sets`, or nothing where no seed was swept."""
    kinds = ((SEED, "seeds"), (DATA_SEED, "data sets"))
    return " and ".join(f"{sweep.count(axis)} {kind}" for axis, kind in kinds if sweep.count(axis) > 1)


def name_of(value: Any) -> str:
    """A swept value as a config writes it."""
    if isinstance(value, tuple):
        return "[" + ", ".join(map(name_of, value)) + "]"
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def tick_names(axis: Axis, names: Sequence[str], room: float) -> None:
    """Names at 0, 1, ...; slanted where `room` inches cannot hold them side by side, and every second if they crowd."""
    step = -(-len(names) // MOST_NAMES)
    axis.set_ticks(np.arange(len(names))[::step], names[::step])
    if axis.axis_name == "x" and LETTER_WIDTH * (2 + max(map(len, names))) * len(names) > room:  # pyright: ignore
        upright = len(names) > MOST_SLANTED
        axis.set_tick_params(rotation=90 if upright else 40)
        for text in axis.get_ticklabels():
            text.set(ha="center" if upright else "right", rotation_mode=None if upright else "anchor")


def set_numbers(axes: Axes, values: Sequence[float], room: float) -> None:
    """A numeric x axis of `room` inches, logarithmic for wide ranges, with ticks at the values where they fit."""
    low, high = min(values), max(values)
    least = min((value for value in values if value > 0), default=0.0)
    log = low >= 0 and least > 0 and high > WIDE * least
    if log and low > 0:
        axes.set_xscale("log")
    elif log:
        axes.set_xscale("symlog", linthresh=least)
    forward = axes.xaxis.get_transform().transform
    backward = axes.xaxis.get_transform().inverted().transform
    places = forward(np.array(values, np.float64))
    pad = 0.04 * np.ptp(places) or 0.5
    axes.set_xlim(*backward(np.array([places[0] - pad, places[-1] + pad])).tolist())
    widest = LETTER_WIDTH * (1.5 + max(len(f"{value:g}") for value in values))
    if len(values) == 1 or np.diff(places).min() * room > widest * np.ptp(places):
        axes.xaxis.set_ticks(values)
    elif log and low > 0:
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 200 * least else (1,)))
    elif not log:
        axes.xaxis.set_major_locator(MaxNLocator(10, integer=all(float(value).is_integer() for value in values)))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_locator(NullLocator())


def caption_below(figure: Figure, axes: Axes, captions: Sequence[str]) -> None:
    """The legend of `axes` under the figure, below its captions, each wrapped to the width."""
    width = int(LETTERS * figure.get_figwidth())
    legend_below(figure, axes, "\n".join(textwrap.fill(caption, width) for caption in captions if caption))

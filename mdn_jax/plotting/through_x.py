"""Figures of a model with one input and one target, drawn along x."""

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

from mdn_jax._typing import Float, Key
from mdn_jax.judging.conditionals import Components, bands_at, cell_density, components_at, draws_at
from mdn_jax.models import Model, evenly
from mdn_jax.plotting.drawing import BANDS, MANY, draw_bands, draw_components, draw_data, draw_density
from mdn_jax.plotting.style import (
    COLOURS,
    CROWD,
    RED,
    TICK_SIZE,
    density_norm,
    label,
    legend_below,
    limits,
    new_figure,
    text_below,
)

__all__ = ["density_figure", "parameters_figure", "samples_figure"]

NUM_X, NUM_Y = 240, 480  # columns and cells of a heat map
EVERY = 6  # columns between two columns of component centres
DRAWS = 10  # samples at each x
LEAST_WEIGHT = 0.01  # components that never weigh more are left out
FAINTEST, LIGHTEST = 0.06, 0.01  # opacity of the lightest components, and of the largest weight the least that is drawn
PIECE = 4  # columns of a piece of a fading line
LINES, DASHES = ("-", (0, (5, 3)), (0, (1, 2))), ((1, 1), (2, 3), (1, 2))  # dashes; drawn pieces of how many

LogDensity = Callable[[Float[np.ndarray, "N X"], Float[np.ndarray, "N D"]], Float[np.ndarray, " N"]]


def samples_figure(
    key: Key,
    model: Model,
    x: Float[np.ndarray, "N 1"],
    y: Float[np.ndarray, "N 1"],
    *,
    input_name: str = "x",
    target_name: str = "y",
    title: str = "Data",
) -> Figure:
    """The data, and beside it ten samples of the model at each of some of their x.

    Args:
        key: a PRNG key.
        model: with X = 1 and D = 1.
        x: (N, 1) inputs.
        y: (N, 1) targets.
        input_name: name of the input.
        target_name: name of the target.
        title: what the data are.

    Returns:
        Two panels with the same axes and about as many points each.
    """
    shown = evenly(len(x), CROWD)
    at = np.sort(x[shown], axis=0)[evenly(len(shown), CROWD // DRAWS)]  # as dense along x as the data
    draws = draws_at(key, model, at, DRAWS)[:, :, 0]
    figure, panels = new_figure(9.6, 4.2, 1, 2, sharex=True, sharey=True)
    left, right = panels[0]
    draw_data(left, x[shown, 0], y[shown, 0])
    draw_data(right, np.repeat(at[:, 0], DRAWS), draws.ravel(), color=RED)
    left.set(xlim=limits(x), ylim=limits(y))
    few = f", {len(shown):,} of {len(x):,} rows" if len(shown) < len(x) else ""
    label(left, input_name, target_name, title + few)
    label(right, input_name, "", f"Model, {DRAWS} samples at each of {len(at)} values of {input_name}")
    low, high = left.get_ylim()
    outside = float(np.mean((draws < low) | (draws > high)))
    if outside > 0.005:
        text_below(figure, f"{100 * outside:.1f} % of the samples lie outside the view")
    return figure


def density_figure(
    model: Model,
    x: Float[np.ndarray, "N 1"],
    y: Float[np.ndarray, "N 1"],
    *,
    input_name: str = "x",
    target_name: str = "y",
    log_density: LogDensity | None = None,
) -> Figure:
    """The conditional density as a heat map, with its bands, its components and its mean.

    Args:
        model: with X = 1 and D = 1.
        x: (N, 1) inputs, which set the view.
        y: (N, 1) targets, which set the view.
        input_name: name of the input.
        target_name: name of the target.
        log_density: x (1, 1), y (E, 1) -> (E,) exact log p(y|x) in nats, where known, for a second panel.

    Returns:
        A heat map, or two with the same colours: the model's and the exact density.
    """
    xs, edges = np.linspace(*limits(x), NUM_X), np.linspace(*limits(y), NUM_Y + 1)
    ys = 0.5 * (edges[:-1] + edges[1:])
    components = components_at(model, xs[:, None])
    maps = [cell_density(model, xs[:, None], edges)]
    levels = dict(zip(BANDS, bands_at(model, xs[:, None], tuple(BANDS))[0].T, strict=True))
    if log_density is not None:
        # one row of x at a time: what depends on x alone is computed once
        maps.append(np.exp([log_density(at[None, None], ys[:, None]) for at in xs]))
    norm = density_norm(*maps)
    width = 6.4 if len(maps) == 1 else 10.4
    figure, panels = new_figure(width, 4.9, 1, len(maps), sharex=True, sharey=True)
    images = [draw_density(axes, xs, ys, density, norm) for axes, density in zip(panels[0], maps, strict=True)]
    density_name = f"p({target_name} | {input_name})"
    for axes, name in zip(panels[0], ("Model's density", "Exact density"), strict=False):
        label(axes, input_name, target_name if axes is panels[0, 0] else "", f"{name} {density_name}")
    axes = panels[0, 0]
    draw_bands(axes, xs, ys, maps[0], levels)
    axes.plot(xs, components.mean[:, 0], color=RED, linewidth=1.8, label="conditional mean")
    if components.weights.shape[1] > 1:
        columns = slice(EVERY // 2, None, EVERY)
        draw_components(axes, xs[columns], Components(*(part[columns] for part in components)))
    axes.set(xlim=(xs[0], xs[-1]), ylim=(edges[0], edges[-1]))
    peak = max(density.max() for density in maps)
    bar = figure.colorbar(images[0], ax=list(panels[0]), extend="max" if peak > norm.vmax else "neither", pad=0.02)  # pyright: ignore
    bar.set_label("density", fontsize=TICK_SIZE + 1)
    bar.ax.tick_params(labelsize=TICK_SIZE)
    legend_below(figure, axes)
    return figure


def parameters_figure(
    model: Model, x: Float[np.ndarray, "N 1"], *, input_name: str = "x", target_name: str = "y"
) -> Figure:
    """Mixing coefficients, means and standard deviations of the components along x.

    Args:
        model: with X = 1 and D = 1.
        x: (N, 1) inputs, which set the view.
        input_name: name of the input.
        target_name: name of the target.

    Returns:
        Three panels with one colour per component (per network in an ensemble). Lines of means and standard
        deviations fade with the component's weight, and end below 1 % of the largest weight at the same x; components
        that never weigh more than 1 % (of their network) are left out and counted in the caption.
    """
    xs = np.linspace(*limits(x), NUM_X)
    parts = components_at(model, xs[:, None])
    networks = len(model.networks)
    weights, locs, stds = networks * parts.weights, parts.locs[..., 0], parts.stds[..., 0]
    live = np.flatnonzero(weights.max(axis=0) > LEAST_WEIGHT)
    share = weights / weights.max(axis=1, keepdims=True)
    figure, panels = new_figure(11, 3.9, 1, 3, sharex=True)
    kinds = [_kind(int(k), weights.shape[1], networks) for k in live]
    solid = np.full_like(share, 1.0 if len(live) <= MANY else 0.6)
    for axes, part, opacity, name, title in (
        (panels[0, 0], weights, solid, "weight", f"Mixing coefficients{' per network' if networks > 1 else ''}"),
        (panels[0, 1], locs, share, target_name, "Means"),
        (panels[0, 2], stds, share, f"std of {target_name}", "Standard deviations"),
    ):
        _draw_lines(axes, xs, part[:, live], opacity[:, live], kinds)
        label(axes, input_name, name, title)
    drawn = share[:, live] > LIGHTEST
    panels[0, 0].set(xlim=(xs[0], xs[-1]), ylim=(-0.03, 1.03))
    panels[0, 1].set_ylim(limits(locs[:, live][drawn], tail=0.0))
    _scale_stds(panels[0, 2], stds[:, live][drawn])
    text_below(figure, _caption(len(live), weights.shape[1], networks))
    return figure


def _kind(component: int, count: int, networks: int) -> tuple[str, int]:
    """Colour and dashes of a component; the networks of an ensemble have one colour each."""
    if networks > 1:
        return COLOURS[component // (count // networks) % len(COLOURS)], 0
    return COLOURS[component % len(COLOURS)], component // len(COLOURS) % len(DASHES)


def _draw_lines(
    axes: Axes,
    x: Float[np.ndarray, " R"],
    parts: Float[np.ndarray, "R K"],
    opacity: Float[np.ndarray, "R K"],
    kinds: Sequence[tuple[str, int]],
) -> None:
    """Lines that are as opaque as told at each x, and end where that is next to nothing."""
    width, faintest = (1.6, FAINTEST) if len(kinds) <= MANY else (0.9, 0.0)
    for y, alpha, (colour, dashes) in zip(parts.T, opacity.T, kinds, strict=True):
        if np.ptp(alpha) == 0:
            axes.plot(x, y, color=colour, alpha=alpha[0], linewidth=width, linestyle=LINES[dashes])
            continue
        points = np.stack([x, y], axis=1)
        pieces = [points[start : start + PIECE + 1] for start in range(0, len(x) - 1, PIECE)]
        # the root: a component of a quarter of the largest weight is still seen
        fading = faintest + (1 - faintest) * np.sqrt(alpha[PIECE // 2 :: PIECE][: len(pieces)])
        colours = np.column_stack([np.tile(to_rgb(colour), (len(pieces), 1)), fading])
        on, period = DASHES[dashes]
        heavy = [alpha[start : start + PIECE + 1].min() > LIGHTEST for start in range(0, len(x) - 1, PIECE)]
        shown = (np.arange(len(pieces)) % period < on) & heavy
        kept = [piece for piece, visible in zip(pieces, shown, strict=True) if visible]
        axes.add_collection(LineCollection(kept, colors=colours[shown], linewidths=width))  # pyright: ignore


def _scale_stds(axes: Axes, stds: Float[np.ndarray, " V"]) -> None:
    """A log axis that shows `stds`, with plain numbers."""
    low, high = stds.min() / 1.3, stds.max() * 1.3
    axes.set(yscale="log", ylim=(low, high))
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 100 else (1,)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_locator(NullLocator())


def _caption(live: int, count: int, networks: int) -> str:
    if count == 1:
        return "1 component"
    each = "one colour each" if count <= len(COLOURS) else "one colour and dash each"
    colours = "one colour per network" if networks > 1 else each
    rest = count - live
    shown = f"{live} of {count}" if rest else f"{count}"
    hidden = f"; {rest} more never weigh{'s' * (rest == 1)} more than {100 * LEAST_WEIGHT:.0f} %" if rest else ""
    return f"{shown} components, {colours}; lines fade with the weight and end below 1 % of the largest{hidden}"

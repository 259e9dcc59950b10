"""The test NLL of a sweep's members against one swept axis, with its spread over seeds."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation, Transform

from mdn_jax._typing import Float
from mdn_jax.plotting.replicates import DATA_SEED, SEED, Spread, Sweep, best_settings, distinct, is_numeric, spread_of
from mdn_jax.plotting.style import BLUE, COLOURS, GREY, INK, LABEL_SIZE, RED, dots, label, new_figure
from mdn_jax.plotting.sweep_style import (
    caption_below,
    fence,
    left_out,
    name_of,
    replicates,
    set_losses,
    set_numbers,
    tick_names,
)

__all__ = ["axis_figure"]

WIDTH, ROOM = 7.6, 6.8  # inches of a figure and of its panel
MOST_LINES, MOST_POINTS = 6, 40  # that one panel can hold; values of a numeric axis that one line can join
DODGE, APART = 9.0, 3.5  # points between two lines at a category, and from a mean to each of its two bars
SCATTER, BESIDE = 0.4, 0.3  # width of a category's dots, and from their centre to the best setting
GOLDEN = 0.618  # of that width: steps that never meet again
DIM, FAINT = 0.5, 0.35  # opacity of members behind a line, and of those that were stopped
WITHIN, BETWEEN = "std over seed, within a data set", "std over dataset.seed, of the data sets' means"


class Line(NamedTuple):
    """Means and spreads along one axis."""

    name: str
    colour: str
    x: Float[np.ndarray, " V"]
    spreads: Sequence[Spread]

    def part(self, field: str) -> Float[np.ndarray, " V"]:
        """One field of the spreads, such as the means."""
        return np.array([getattr(spread, field) for spread in self.spreads])

    def below(self, limit: float) -> "Line":
        """With gaps where a mean is above `limit`: the line to it and its spread would hide all else."""
        gap = Spread(np.nan, np.nan, np.nan, 0)
        return self._replace(spreads=[spread if spread.mean <= limit else gap for spread in self.spreads])


def axis_figure(sweep: Sweep, axis: str, oracle: float | None = None, sentence: str = "") -> Figure:
    """Test NLL against one axis.

    Args:
        sweep: with at least one member that finished.
        axis: of the settings.
        oracle: the test NLL of the exact density, where known.
        sentence: the first of the caption.

    Returns:
        One line for each value of the one other axis of a small grid; otherwise all members, and the best setting at
        each value. Several lines over both kinds of seed have their two spreads in a second panel.
    """
    others = [other for other in sweep.settings if other != axis and sweep.count(other) > 1]
    joined = _is_grid(sweep, axis, others)
    two = sweep.count(SEED) > 1 and sweep.count(DATA_SEED) > 1
    below = two and joined and bool(others)  # two bars at each point of several lines would be a thicket
    shape = {"height_ratios": (2, 1)} if below else {}
    figure, panels = new_figure(WIDTH, 7.2 if below else 5.4, 1 + below, 1, sharex=True, **shape)
    upper, lower = panels[0, 0], panels[-1, 0]
    place = _set_values(lower, sweep.columns[axis])
    lines = _lines(sweep, axis, others, place) if joined else _best_line(sweep, axis, place)
    points = np.concatenate([np.empty(0), *(line.part("mean") for line in lines)])
    lines = [line.below(fence(sweep.test[sweep.finished])) for line in lines]
    numeric = is_numeric(place)
    crowd, ends = _draw_members(upper, sweep, axis, place, joined), [np.empty(0)]
    for line, shift in zip(lines, _shifts(len(lines), numeric), strict=True):
        ends.append(_draw_line(upper, line, shift, numeric, 0 if below else 1 + two))
    if oracle is not None:
        upper.axhline(oracle, color=INK, linestyle="--", linewidth=1, label=f"exact density ({oracle:.4g})")
    label(upper, "", "test NLL (nats per row)", f"Test NLL by {sweep.names[axis]}")
    if below:
        upper.plot([], [], color=GREY, marker="o", markersize=3.5, label=WITHIN)
        upper.plot([], [], color=GREY, marker="D", markersize=3.5, markerfacecolor="white", ls="--", label=BETWEEN)
        label(lower, "", "std (nats per row)", "Its spread over seeds and over data sets")
        _draw_spreads(lower, lines, numeric)
    lower.set_xlabel(sweep.names[axis], fontsize=LABEL_SIZE)
    above = set_losses(
        upper, sweep.test[sweep.finished], points=points, ends=np.concatenate(ends), crowd=crowd, oracle=oracle
    )
    over = "" if two or not lines else replicates(sweep)
    drawn = f"{'Shaded' if numeric else 'Bars'}: one standard deviation over {over} on each side" if over else ""
    caption_below(figure, upper, [sentence, drawn, above, left_out(sweep)])
    return figure


def _is_grid(sweep: Sweep, axis: str, others: Sequence[str]) -> bool:
    """True where at most one other axis was swept, with few values, and most pairs of values have members."""
    if len(others) > 1 or any(sweep.count(other) > MOST_LINES for other in others):
        return False
    pairs = len(set(zip(*(sweep.columns[name] for name in (axis, *others)), strict=True)))
    full = 2 * pairs >= sweep.count(axis) * max([1, *map(sweep.count, others)])
    return full and (sweep.count(axis) <= MOST_POINTS or not is_numeric(sweep.columns[axis]))


def _set_values(axes: Axes, column: Sequence[Any]) -> Mapping[Any, float]:
    """Ticks of an x axis, and the place of each value on it."""
    values = distinct(column)
    if is_numeric(values):
        set_numbers(axes, values, ROOM)
        return {value: float(value) for value in values}
    axes.set_xlim(-0.6, len(values) - 0.4)
    tick_names(axes.xaxis, [name_of(value) for value in values], ROOM)
    return {value: float(index) for index, value in enumerate(values)}


def _lines(sweep: Sweep, axis: str, others: Sequence[str], place: Mapping[Any, float]) -> list[Line]:
    """A line for each value of the other axis, or one."""
    found = {key: spread_of(sweep, rows) for key, rows in best_settings(sweep, [axis, *others]).items()}
    lines, over = [], replicates(sweep)
    alone = f"mean over {over}" if over else "members"
    kinds: list[tuple[Any, ...]] = [(value,) for other in others for value in distinct(sweep.columns[other])] or [()]
    for index, kind in enumerate(kinds):
        values = [value for value in place if (value, *kind) in found]
        name = f"{sweep.names[others[0]]} = {name_of(kind[0])}" if others else alone
        x = np.array([place[value] for value in values])
        if values:
            lines.append(Line(name, COLOURS[index], x, [found[value, *kind] for value in values]))
    return lines


def _best_line(sweep: Sweep, axis: str, place: Mapping[Any, float]) -> list[Line]:
    """The best setting at each value, or none where hardly a value comes twice."""
    if 2 * sweep.count(axis) > sweep.finished.sum():
        return []
    found = {key: spread_of(sweep, rows) for (key,), rows in best_settings(sweep, [axis]).items()}
    values = [value for value in place if value in found]
    x = np.array([place[value] for value in values]) + (0.0 if is_numeric(place) else BESIDE)
    return [Line("best setting at each value, by validation", RED, x, [found[value] for value in values])]


def _draw_members(
    axes: Axes, sweep: Sweep, axis: str, place: Mapping[Any, float], joined: bool
) -> Float[np.ndarray, " P"]:
    """Dots for the members that no line stands for, and their losses."""
    x = np.array([place[value] for value in sweep.columns[axis]])
    if not is_numeric(place):
        x = x + SCATTER * (np.arange(len(x)) * GOLDEN % 1 - 0.5)
    halved = sweep.halved & np.isfinite(sweep.test)
    if halved.any():
        look = {**dots(len(x)), "alpha": FAINT}
        axes.scatter(x[halved], sweep.test[halved], color=GREY, label="stopped by halving", zorder=1, **look)
    if joined:
        return sweep.test[halved]
    done = sweep.finished
    axes.scatter(
        x[done], sweep.test[done], color=BLUE, label="members", zorder=1.5, **{**dots(done.sum()), "alpha": DIM}
    )
    best = np.flatnonzero(done)[sweep.val[done].argmin()]
    axes.plot(
        x[best], sweep.test[best], color=INK, linestyle="", marker="o", markersize=9, markerfacecolor="none",
        label="best member, by validation",
    )  # fmt: skip
    return sweep.test[halved | done]


def _shifts(count: int, numeric: bool) -> Float[np.ndarray, " L"]:
    """Points by which lines are moved aside where they share their categories."""
    return np.zeros(count) if numeric else DODGE * (np.arange(count) - 0.5 * (count - 1))


def _moved(axes: Axes, points: float) -> Transform:
    """Data coordinates, `points` to the right: for things that share an x but should not hide each other."""
    return axes.transData + ScaledTranslation(points / 72, 0, axes.figure.dpi_scale_trans)  # pyright: ignore


def _draw_line(axes: Axes, line: Line, shift: float, numeric: bool, kinds: int) -> Float[np.ndarray, " E"]:
    """Means, joined where the axis is numeric, with the spread over `kinds` kinds of seed; the ends of the spreads."""
    mean, std = line.part("mean"), np.zeros(len(line.x))
    axes.plot(
        line.x, mean, color=line.colour, marker="o", markersize=4.5, linewidth=1.6, label=line.name, zorder=3,
        linestyle="-" if numeric else "", transform=_moved(axes, shift),
    )  # fmt: skip
    if kinds == 1:
        std = line.part("only")
        if numeric and len(line.x) > 1:
            axes.fill_between(line.x, mean - std, mean + std, color=line.colour, alpha=0.18, linewidth=0)
        else:
            _draw_bars(axes, line, std, shift, ecolor=line.colour, elinewidth=1.3, capsize=3)
    elif kinds == 2:
        within, between = line.part("over_seed"), line.part("over_data")
        _draw_bars(axes, line, within, shift - APART, ecolor=line.colour, elinewidth=1.3, capsize=2.5, label=WITHIN)
        _draw_bars(axes, line, between, shift + APART, ecolor=GREY, elinewidth=3.5, label=BETWEEN)
        std = np.fmax(within, between)
    return np.concatenate([mean - std, mean + std])


def _draw_bars(axes: Axes, line: Line, std: Float[np.ndarray, " V"], shift: float, **look: Any) -> None:
    if np.isfinite(std).any():
        axes.errorbar(line.x, line.part("mean"), std, fmt="none", transform=_moved(axes, shift), zorder=2, **look)


def _draw_spreads(axes: Axes, lines: Sequence[Line], numeric: bool) -> None:
    """The two standard deviations of each line: solid over seeds, dashed over data sets."""
    for line, shift in zip(lines, _shifts(len(lines), numeric), strict=True):
        for field, dash, marker in (("over_seed", "-", "o"), ("over_data", "--", "D")):
            axes.plot(
                line.x, line.part(field), color=line.colour, marker=marker, markersize=3.5, linewidth=1.2,
                linestyle=dash if numeric else "", markerfacecolor=line.colour if dash == "-" else "white",
                transform=_moved(axes, shift),
            )  # fmt: skip
    stds = np.concatenate([line.part(field) for line in lines for field in ("over_seed", "over_data")])
    stds = stds[np.isfinite(stds)]
    if len(stds):
        axes.set_ylim(0, 1.1 * stds[stds <= fence(stds)].max() or 1)

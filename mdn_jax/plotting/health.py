"""Figures of a model's health: the components it uses, how sharp they get, and the coverage of its intervals."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullFormatter

from mdn_jax.judging import Diagnosis, coverage_interval
from mdn_jax.judging.coverage import ROWS_BY_WIDTH
from mdn_jax.plotting.style import BLUE, COLOURS, GREY, INK, LABEL_SIZE, RED, TICK_SIZE, columns_of, label, new_figure

__all__ = ["health_figure"]

MOST_TARGETS = 4
BINS = 40
STYLES: dict[str, dict[str, Any]] = {  # of a coverage before and after calibration
    "held": {"markerfacecolor": "white", "markeredgewidth": 1.3},
    "calibrated": {"markeredgewidth": 1.3},
}


def health_figure(diagnosis: Diagnosis, coverage: Mapping[str, Any]) -> Figure:
    """Components and intervals of a model in four panels, or intervals in two where its numbers are no mixture.

    Top, the share of the test rows that each component answers for, and the sigmas of the components that answer,
    with their floor. Below, what regions hold against what they name, and what 90 % intervals hold from narrow to
    wide; bars are Wilson intervals of two standard errors. Dead components and floors are grey unless so many rows
    or components tell of them that the diagnosis says a sentence.

    Args:
        diagnosis: from `diagnose`.
        coverage: from `measure_coverage`; of its targets the first four are drawn.

    Returns:
        The panels.
    """
    targets = dict.fromkeys(record["target"] for record in coverage["regions"] if record["target"] is not None)
    names, caption = columns_of(list(targets), MOST_TARGETS)
    rows = 2 if len(diagnosis.share) else 1
    figure, panels = new_figure(10.4, 4.1 * rows, rows, 2)
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.12)  # pyright: ignore
    if len(diagnosis.share):
        _draw_shares(panels[0, 0], diagnosis)
        _draw_sigmas(panels[0, 1], diagnosis, names)
    _draw_regions(panels[-1, 0], coverage["regions"], names)
    _draw_widths(panels[-1, 1], coverage, names)
    _legend(figure, coverage, names, caption)
    return figure


def _draw_shares(axes: Axes, diagnosis: Diagnosis) -> None:
    """Bars from the largest share to the smallest; a cross where a component answers for no row."""
    order = np.argsort(-diagnosis.share, kind="stable")
    share, dead = 100 * diagnosis.share[order], diagnosis.dead[order]
    place = np.arange(1, len(share) + 1)
    axes.bar(place, share, color=BLUE, alpha=0.8, width=0.8)
    axes.axhline(100 / len(share), color=INK, linewidth=1, linestyle="--")
    top = 1.15 * max(share.max(), 100 / len(share))
    axes.annotate(
        "equal shares", (1.0, 100 / len(share)), xycoords=("axes fraction", "data"), xytext=(-2, 3),
        textcoords="offset points", ha="right", fontsize=TICK_SIZE, color=INK,
    )  # fmt: skip
    if dead.any():
        colour = RED if diagnosis.many_dead else GREY
        axes.plot(place[dead], np.full(dead.sum(), 0.02 * top), "x", color=colour, markersize=6, markeredgewidth=1.6)
        # the upper right corner, above all bars
        axes.annotate(
            f"×  {dead.sum()} never responsible", (1.0, 0.99), xycoords="axes fraction",
            xytext=(-2, 0), textcoords="offset points", ha="right", va="top", fontsize=TICK_SIZE, color=colour,
        )  # fmt: skip
    axes.set(xlim=(0.4, len(share) + 0.6), ylim=(0, top))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    title = f"Components: {diagnosis.effective_components:.1f} of {len(share)} effectively used"
    label(axes, "components, from the most used to the least", "responsibility, share of test rows (%)", title)


def _draw_sigmas(axes: Axes, diagnosis: Diagnosis, names: Sequence[str]) -> None:
    """Sigmas on a log axis: in the units of a lone target, of several in standard deviations of each."""
    alone = len(diagnosis.target_names) == 1
    units = np.ones(1) if alone else diagnosis.scale
    sigma, floor = (values[..., : len(names)] / units[: len(names)] for values in (diagnosis.sigma, diagnosis.floor))
    low, high = sigma.min(), sigma.max()
    low, high = (low / 1.5, high * 1.5) if high < 1.2 * low else (low, high)
    edges = np.geomspace(low, high, BINS + 1)
    for index in range(len(names)):
        heights, _ = np.histogram(sigma[:, index], edges)
        shares = 100 * heights / len(sigma)
        style: dict[str, Any] = {"fill": True, "alpha": 0.75} if alone else {"linewidth": 1.6}
        axes.stairs(shares, edges, color=COLOURS[index], **style)
    axes.set_xscale("log")
    for value in np.unique(floor[floor > 0]):
        colour = RED if diagnosis.telling_floor[: len(names)][floor == value].any() else GREY
        axes.axvline(value, color=colour, linewidth=1.4)
        axes.annotate(
            f"floor {value:.2g}", (value, 0.98), xycoords=("data", "axes fraction"), xytext=(4, 0),
            textcoords="offset points", fontsize=TICK_SIZE, color=colour, va="top",
        )  # fmt: skip
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_ylim(bottom=0)
    unit = names[0] if alone else "in the target's standard deviations"
    label(axes, f"sigma of the component that answers ({unit})", "test rows (%)", "Sharpness of the components")


def _draw_regions(axes: Axes, regions: Sequence[Mapping[str, Any]], names: Sequence[str]) -> None:
    """Held minus nominal, in points, side by side for each nominal share."""
    shares = sorted({record["share"] for record in regions})
    series = _series(names)
    for number, (kind, (colour, marker)) in enumerate(series.items()):
        shift = 0.5 * ((number + 0.5) / len(series) - 0.5)
        for record in regions:
            if (record["region"], record["target"]) == kind:
                place, share = shares.index(record["share"]) + shift, record["share"]
                _mark(axes, place, record, colour, marker, offset=share, room=0.25 / len(series))
    axes.axhline(0, color=INK, linewidth=1, linestyle="--", zorder=0)
    axes.set_xticks(range(len(shares)), [f"{100 * share:g} %" for share in shares])
    axes.set_xlim(-0.5, len(shares) - 0.5)
    _at_least(axes, -3, 3)
    label(axes, "nominal share", "held minus nominal (points)", "Coverage of regions")


def _draw_widths(axes: Axes, coverage: Mapping[str, Any], names: Sequence[str]) -> None:
    """Draw the coverage of 90 % intervals, from narrow to wide; a sentence where that cannot be told."""
    title = "Coverage of 90 % intervals by their width"
    shown = [record for record in coverage["by_width"] if record["target"] in names]
    if not shown:
        reason = _no_widths(coverage["regions"], names)
        axes.text(0.5, 0.5, reason, transform=axes.transAxes, ha="center", fontsize=LABEL_SIZE, color="#555555")
        label(axes, "", "", title)
        axes.set_axis_off()
        return
    for record in shown:
        index = list(names).index(record["target"])
        shift = 0.5 * ((index + 0.5) / len(names) - 0.5)
        _mark(axes, record["group"] + shift, record, COLOURS[index], "o", room=0.12)
    axes.axhline(90, color=INK, linewidth=1, linestyle="--", zorder=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _at_least(axes, 80, 100)
    widths, unit = [record["width"] for record in shown], ""
    if len(names) == 1:
        unit = f": {_short(widths[0])} to {_short(widths[-1])} wide"
    axes.set_ylim(top=min(axes.get_ylim()[1], 101.5))
    label(axes, f"test rows from narrow to wide intervals{unit}", "held by 90 % intervals (%)", title)


def _no_widths(regions: Sequence[Mapping[str, Any]], names: Sequence[str]) -> str:
    """The reason for no coverage by width: too few rows of every target, or intervals of one width."""
    rows = max(record["rows"] for record in regions if record["target"] in names and record["region"] == "central")
    if rows >= ROWS_BY_WIDTH:
        return "all intervals are equally wide, within 1 %"
    return f"{rows:,} test rows are too few: {ROWS_BY_WIDTH} would do"


def _series(names: Sequence[str]) -> dict[tuple[str, str | None], tuple[str, str]]:
    """(region, target) -> colour and marker; a lone target has no joint region."""
    if len(names) == 1:
        return {("central", names[0]): (BLUE, "o"), ("highest_density", names[0]): (BLUE, "D")}
    found: dict[tuple[str, str | None], tuple[str, str]] = {("joint", None): (INK, "s")}
    return {("central", name): (colour, "o") for name, colour in zip(names, COLOURS, strict=False)} | found


def _mark(
    axes: Axes, place: float, record: Mapping[str, Any], colour: str, marker: str, *, room: float, offset: float = 0.0
) -> None:
    """A coverage with its Wilson interval, hollow as trained and full after calibration."""
    both = record.get("calibrated") is not None
    for name, style in STYLES.items():
        if record.get(name) is None:
            continue
        low, high = coverage_interval(record, name)
        side = 0.0 if not both else room * (-0.5 if name == "held" else 0.5)
        bars = [[100 * (record[name] - low)], [100 * (high - record[name])]]
        axes.errorbar(
            place + side, 100 * (record[name] - offset), yerr=bars, color=colour, marker=marker, markersize=5.5,
            markeredgecolor=colour, elinewidth=1.2, alpha=0.65 if both and name == "held" else 1.0, **style,
        )  # fmt: skip


def _short(width: float) -> str:
    return f"{width:,.0f}" if 1e3 <= width < 1e6 else f"{width:.3g}"


def _at_least(axes: Axes, low: float, high: float) -> None:
    """A view that holds what is drawn, and no less than [low, high]: chance alone must not look like a fault."""
    bottom, top = axes.get_ylim()
    axes.set_ylim(min(bottom, low), max(top, high))


def _legend(figure: Figure, coverage: Mapping[str, Any], names: Sequence[str], caption: str) -> None:
    titles = {"central": "central", "highest_density": "highest-density", "joint": "joint region of all targets"}
    handles, dot = [], {"markersize": 5.5, "linestyle": ""}
    for (region, target), (colour, marker) in _series(names).items():
        text = titles[region] if len(names) == 1 or target is None else f"{target}, central"
        handles.append(Line2D([], [], color=colour, marker=marker, label=text, **dot))
    after = any(record.get("calibrated") is not None for record in coverage["regions"])
    for name, text in (("held", "as trained"), ("calibrated", "calibrated"))[: 1 + after]:
        handles.append(Line2D([], [], color=GREY, marker="o", label=text, **dot, **STYLES[name]))
    handles.append(Line2D([], [], color=GREY, linewidth=1.2, label="two standard errors (Wilson)"))
    figure.legend(
        handles=handles, loc="outside lower center", ncols=min(len(handles), 5), fontsize=TICK_SIZE, frameon=False,
        title=caption or None, title_fontsize=TICK_SIZE,
    )  # fmt: skip

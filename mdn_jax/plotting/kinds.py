"""Targets of kinds: whether probabilities hold what they say, and which kind is taken for which."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mdn_jax._typing import Float
from mdn_jax.judging.kinds import BINS, confusion, reliability
from mdn_jax.judging.metrics import Scores
from mdn_jax.plotting.style import (
    BLUE,
    GREY,
    INK,
    TICK_SIZE,
    columns_of,
    label,
    legend_below,
    limits,
    new_panels,
    text_below,
)

__all__ = ["confusion_figure", "reliability_figure"]

MOST_TARGETS = 6
ROWS_PER_BIN = 20  # fewer make a line of noise
LONGEST = 18  # letters of a kind beside a table


def reliability_figure(scores: Scores, target_names: Sequence[str]) -> Figure:
    """Draw how often the most probable kind is right, by its probability, in up to ten bins of 20 rows or more.

    Args:
        scores: of N rows; the first six targets of kinds are drawn.
        target_names: D names.

    Returns:
        A panel for each target; in the grey band lie 95 of 100 bins where probabilities are right.
    """
    dims, rest = scores.kinds[:MOST_TARGETS], columns_of([target_names[dim] for dim in scores.kinds], MOST_TARGETS)[1]
    figure, panels = new_panels(len(dims), 4.6, 4.2)
    hit, confidence, report = np.asarray(scores.hit), np.asarray(scores.confidence), scores.report(target_names)
    bins = int(np.clip(len(hit) // ROWS_PER_BIN, 1, BINS))
    for axes, dim in zip(panels, dims, strict=True):
        found, name = reliability(hit[:, dim], confidence[:, dim], scores.weights, bins), target_names[dim]
        chance = np.clip(found.confidence + np.outer([-1.96, 1.96], found.standard_error), 0, 1)
        axes.plot([0, 1], [0, 1], color=INK, linewidth=1, linestyle="--", label="calibrated")
        style: dict[str, Any] = {"color": GREY, "alpha": 0.35, "label": "95 % range of chance"}
        if len(found.share) > 1:
            axes.fill_between(found.confidence, *chance, linewidth=0, **style)
        else:
            axes.vlines(found.confidence, *chance, linewidth=9, **style)
        axes.plot(found.confidence, found.accuracy, color=BLUE, marker="o", linewidth=1.4, label="test rows")
        ends = limits(np.concatenate([found.confidence, found.accuracy, chance.ravel()]), tail=0.0)
        axes.set(xlim=ends, ylim=ends)
        title = f"{name}: calibration error {report['calibration_error'][name]:.3f}"
        label(axes, "probability of the most probable kind", "share of rows where it is right", title)
    legend_below(figure, panels[0], caption=rest)
    return figure


def confusion_figure(
    y: Float[np.ndarray, "N D"], scores: Scores, target_names: Sequence[str], kinds: Sequence[tuple[str, ...] | None]
) -> Figure:
    """Draw a table of test rows: the observed kinds against the most probable ones.

    Args:
        y: (N, D) targets; those of kinds hold codes, NaN where missing.
        scores: of the N rows; the first six targets of kinds are drawn.
        target_names: D names.
        kinds: of each target the names of its kinds.

    Returns:
        A panel for each target, coloured by the share of the rows of a kind; the ten most frequent kinds have a row.
    """
    dims, rest = scores.kinds[:MOST_TARGETS], columns_of([target_names[dim] for dim in scores.kinds], MOST_TARGETS)[1]
    tables = [confusion(y[:, dim], np.asarray(scores.kind)[:, dim], kinds[dim] or ()) for dim in dims]
    most = max(len(names) for names, _ in tables)
    figure, panels = new_panels(len(dims), max(4.2, 1.8 + 0.55 * most), max(3.4, 1.4 + 0.45 * most))
    for axes, dim, (names, counts) in zip(panels, dims, tables, strict=True):
        _draw_table(axes, [name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…" for name in names], counts)
        label(axes, "predicted", "observed", target_names[dim])
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
    text_below(
        figure, "; ".join(part for part in ("test rows; colour is the share of each observed kind", rest) if part)
    )
    return figure


def _draw_table(axes: Axes, names: Sequence[str], counts: np.ndarray) -> None:
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (row, column), count in np.ndenumerate(counts):
        colour = "white" if share[row, column] > 0.55 else INK if count else GREY
        axes.text(column, row, f"{count:,}", ha="center", va="center", fontsize=TICK_SIZE, color=colour)
    turned: dict[str, Any] = {"rotation": 40, "ha": "right"} if max(map(len, names)) * len(names) > 40 else {}
    axes.set_xticks(range(len(names)), names, parse_math=False, **turned)
    axes.set_yticks(range(len(names)), names, parse_math=False)

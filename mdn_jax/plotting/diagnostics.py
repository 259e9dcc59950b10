"""Figures of the course of training and of the calibration of probabilities."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mdn_jax._typing import ArrayLike, Float
from mdn_jax.plotting.style import BLUE, COLOURS, GREY, INK, RED, columns_of, label, legend_below, new_figure
from mdn_jax.plotting.sweep_style import fence

__all__ = ["calibration_figure", "loss_figure"]

MOST_TARGETS = 6  # lines that one panel can hold
ROWS_PER_BIN = 20  # fewer make a histogram of noise
EARLY, ROOM = 0.1, 0.25  # share of the evaluations that may be huge; of the height of the others that they may add


def loss_figure(history: Mapping[str, ArrayLike], *, oracle: float | None = None, unit: str | None = None) -> Figure:
    """Training and validation loss against steps, with the best step and the exact optimum.

    Args:
        history: `step`, `train_loss`, `val_loss`, each (E,), or (E, M) for M networks; NaN is left out.
        oracle: the loss of the truth itself, where known.
        unit: of the loss, for the label.

    Returns:
        One panel.

    Example:
        >>> import numpy as np
        >>> from mdn_jax.plotting import loss_figure
        >>> history = {name: np.array([100.0, 200.0]) for name in ("step", "train_loss", "val_loss")}
        >>> loss_figure(history, oracle=1.288, unit="nats").axes[0].get_ylabel()
        'loss (nats)'
    """
    step, train, validation = (
        np.reshape(np.asarray(history[name], np.float64), (len(np.asarray(history[name])), -1))
        for name in ("step", "train_loss", "val_loss")
    )
    step, networks = np.nanmax(step, axis=1), train.shape[1]
    figure, panels = new_figure(6.4, 4.4)
    axes: Axes = panels[0, 0]
    style = {"linewidth": 1.6 if networks == 1 else 0.8, "marker": "." if len(step) < 3 else None}
    for losses, colour, name in ((train, BLUE, "training"), (validation, RED, "validation")):
        if np.isfinite(losses).any():
            lines = axes.plot(step, losses, color=colour, **style)
            lines[0].set_label(name if networks == 1 else f"{name}, {networks} networks")
    judged = np.where(np.isfinite(validation), validation, np.inf)
    best, kept = judged.argmin(axis=0), np.isfinite(judged.min(axis=0))
    if kept.any():
        name = f"best step ({step[best[0]]:,.0f})" if networks == 1 else "best steps"
        axes.plot(
            step[best][kept], judged.min(axis=0)[kept], color=INK, linestyle="", marker="o", markersize=5, label=name
        )
    if oracle is not None:
        axes.axhline(oracle, color=INK, linestyle="--", linewidth=1, label=f"exact optimum ({oracle:.4g})")
    label(axes, "training steps", "loss" if unit is None else f"loss ({unit})", "Loss during training")
    caption = _limit(axes, step, np.concatenate([train, validation], axis=1), oracle)
    legend_below(figure, axes, caption)
    return figure


def calibration_figure(pit: Float[np.ndarray, "N D"], target_names: Sequence[str]) -> Figure:
    """Draw observed targets against the distributions predicted for them.

    Left, a histogram of the predicted distribution functions at the observed targets (the PIT), which is flat where
    the predictions are right. Right, how often central intervals hold the target, against how often they should. The
    grey bands hold 95 % of the deviations that chance alone makes in N rows.

    Args:
        pit: (N, D) in [0, 1].
        target_names: D names; the first six are drawn.

    Returns:
        Two panels.
    """
    names, caption = columns_of(target_names, MOST_TARGETS)
    figure, panels = new_figure(9.6, 4.6, 1, 2)
    left, right = panels[0]
    _draw_histogram(left, pit[:, : len(names)], names)
    _draw_coverage(right, pit[:, : len(names)], names)
    legend_below(figure, left, caption=caption)
    return figure


def _limit(axes: Axes, step: Float[np.ndarray, " E"], losses: Float[np.ndarray, "E M"], oracle: float | None) -> str:
    """A view of all losses but those of the first tenth of the evaluations; a caption where even it cuts some off."""
    axes.set_xlim(0, step[-1] * 1.02)
    finite = losses[np.isfinite(losses)]
    if not finite.size:
        return ""
    early = math.ceil(EARLY * len(step)) if len(step) > 2 else 0
    later = losses[early:][np.isfinite(losses[early:])]
    later = later if later.size else finite
    low = min([finite.min()] if oracle is None else [finite.min(), oracle])
    high = max(low, later[later <= fence(later)].max())
    height = (high - low) or 1.0
    # the first ones too where they are not much higher
    top = min(max(finite.max(), high), high + ROOM * height)
    axes.set_ylim(low - 0.08 * height, top + 0.05 * height)
    cut = later[later > top + 0.05 * height]
    return f"after the first evaluations losses reach {cut.max():.3g}, above the view" if cut.size else ""


def _chance(share: ArrayLike, count: int) -> np.ndarray:
    """Half the width of the 95 % band of a share of `count` rows."""
    share = np.asarray(share)
    return 1.96 * np.sqrt(share * (1 - share) / count)


def _draw_histogram(axes: Axes, pit: Float[np.ndarray, "N D"], names: Sequence[str]) -> None:
    count, targets = pit.shape
    bins = int(np.clip(count // ROWS_PER_BIN, 4, 20))
    expected, chance = count / bins, count * _chance(1 / bins, count)
    if targets == 1:
        axes.hist(pit[:, 0], bins=bins, range=(0, 1), color=BLUE, alpha=0.75, edgecolor="white", label="test rows")
    else:
        for index, name in enumerate(names):
            heights, edges = np.histogram(pit[:, index], bins=bins, range=(0, 1))
            centres = 0.5 * (edges[:-1] + edges[1:])
            axes.plot(centres, heights, color=COLOURS[index], linewidth=1.4, marker="o", markersize=3.5, label=name)
    axes.axhspan(
        expected - chance, expected + chance, color=GREY, alpha=0.35, linewidth=0, label="95 % range of chance"
    )
    axes.axhline(expected, color=INK, linewidth=1, linestyle="--", label="calibrated")
    axes.set(xlim=(0, 1), ylim=(0, 1.12 * axes.get_ylim()[1]))
    label(axes, "predicted distribution function at the target", "test rows", "PIT histogram: flat is calibrated")


def _draw_coverage(axes: Axes, pit: Float[np.ndarray, "N D"], names: Sequence[str]) -> None:
    mass = np.linspace(0, 1, 101)
    chance = 100 * _chance(mass, len(pit))
    axes.fill_between(100 * mass, 100 * mass - chance, 100 * mass + chance, color=GREY, alpha=0.35, linewidth=0)
    axes.plot([0, 100], [0, 100], color=INK, linewidth=1, linestyle="--")
    for index in range(len(names)):
        held = np.abs(pit[:, index, None] - 0.5) <= 0.5 * mass
        axes.plot(100 * mass, 100 * held.mean(axis=0), color=COLOURS[index], linewidth=1.8)
    axes.set(xlim=(0, 100), ylim=(0, 100), aspect="equal")
    label(axes, "nominal mass of the interval (%)", "targets inside it (%)", "Coverage of central intervals")

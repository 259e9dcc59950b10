"""The loss and calibration figures show the numbers they were given."""

from typing import Any

import numpy as np
import pytest

from mdn_jax import plotting

HISTORY = {
    "step": np.arange(100.0, 1100.0, 100.0),
    "train_loss": np.array([9e9, 3.0, 2.5, 2.2, 2.0, 1.9, 1.8, 1.7, 1.6, 1.5]),
    "val_loss": np.array([8e9, 3.1, 2.6, 2.3, 2.1, 2.0, 1.9, 1.85, 1.86, 1.9]),
}


def panels(figure) -> list[Any]:
    return figure.axes


def line_named(axes, start) -> Any:
    return next(line for line in axes.get_lines() if str(line.get_label()).startswith(start))


def test_the_loss_is_drawn_with_its_best_step_and_its_optimum():
    axes = panels(plotting.loss_figure(HISTORY, oracle=1.288, unit="nats"))[0]
    np.testing.assert_allclose(line_named(axes, "training").get_ydata(), HISTORY["train_loss"])
    np.testing.assert_allclose(line_named(axes, "exact optimum (1.288)").get_ydata(), 1.288)
    best = line_named(axes, "best step (800)")
    assert (best.get_xdata()[0], best.get_ydata()[0]) == (800, 1.85)
    low, high = axes.get_ylim()
    assert low < 1.288 and 3 < high < 10, "the first huge values do not set the view"
    assert axes.get_ylabel() == "loss (nats)"


def test_losses_are_shown_whole_after_the_first_evaluations():
    step = np.arange(100.0, 6100.0, 100.0)
    train, validation = 6 - step / 3000, np.stack([5 + step / 6000, 5 + (step / 3000) ** 2], axis=1)
    train = np.stack([train, train], axis=1)
    train[:3] = 1e6
    figure = plotting.loss_figure({"step": step, "train_loss": train, "val_loss": validation})
    low, high = panels(figure)[0].get_ylim()
    assert low < 4 and 9 < high < 12 and figure.legends[0].get_title().get_text() == ""
    validation[-5:, 1] = 1e9  # one that diverges flattens nothing, and is told
    figure = plotting.loss_figure({"step": step, "train_loss": train, "val_loss": validation})
    assert panels(figure)[0].get_ylim()[1] < 12
    assert figure.legends[0].get_title().get_text() == (
        "after the first evaluations losses reach 1e+09, above the view"
    )


def test_the_loss_of_members_without_validation_or_finite_steps():
    losses = np.stack([HISTORY["train_loss"], np.where(HISTORY["step"] > 300, np.nan, 2.0)], axis=1)
    nothing = np.full_like(losses, np.nan)
    steps = np.where(np.isnan(losses), np.nan, HISTORY["step"][:, None])
    axes = panels(plotting.loss_figure({"step": steps, "train_loss": losses, "val_loss": nothing}))[0]
    assert [line.get_label() for line in axes.get_lines() if line.get_label()[0] != "_"] == ["training, 2 networks"]
    empty = {"step": np.array([100.0]), "train_loss": np.array([np.nan]), "val_loss": np.array([np.inf])}
    assert plotting.loss_figure(empty, oracle=1.0).axes[0].get_ylabel() == "loss"


def test_the_histogram_counts_every_row_and_coverage_is_a_share():
    pit = np.random.default_rng(0).uniform(size=(1000, 1)) ** 2
    left, right = panels(plotting.calibration_figure(pit, ["y"]))
    assert sum(bar.get_height() for bar in left.patches if bar.get_width() < 0.5) == 1000
    np.testing.assert_allclose(line_named(left, "calibrated").get_ydata(), 1000 / 20)
    band = next(patch for patch in left.patches if patch.get_label() == "95 % range of chance")
    assert band.get_height() == pytest.approx(2 * 1.96 * np.sqrt(1000 * 0.05 * 0.95))
    nominal, observed = right.get_lines()[1].get_data()
    inside = 100 * np.mean((pit >= 0.05) & (pit <= 0.95))
    assert np.interp(90, nominal, observed) == pytest.approx(inside, abs=0.11)


def test_calibration_of_several_targets():
    pit = np.random.default_rng(0).uniform(size=(90, 3))
    left, right = panels(plotting.calibration_figure(pit, ["a", "b", "c"]))
    assert [np.sum(line_named(left, name).get_ydata()) for name in "abc"] == [90, 90, 90]
    assert len(right.get_lines()) == 4

"""Baselines against closed forms, by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
from numpy.testing import assert_allclose
from small_runs import config_of

import mdn_jax as mdn
from mdn_jax.data import Dataset, Part
from mdn_jax.judging import baselines


def table(count, seed, missing=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 3)) * [1.0, 100.0, 1.0] + [0.0, 1e4, 0.0]
    y = np.stack([1e6 + 3 * x[:, 0] + 0.01 * x[:, 1], x[:, 2]], axis=1) + rng.normal(size=(count, 2)) * [1.0, 0.5]
    y[:missing, 0] = np.nan
    return Part(x, y, observed=~np.isnan(y))


@pytest.mark.usefixtures("x64")
def test_least_squares_is_the_closed_form():
    train, test = table(200, 0), table(100, 1)
    scores = baselines.linear(train, test)
    design, held = (np.column_stack([np.ones(len(part)), part.x - [0.0, 1e4, 0.0]]) for part in (train, test))
    coefficients = np.linalg.solve(design.T @ design, design.T @ (train.y - [1e6, 0.0]))
    mean = held @ coefficients + [1e6, 0.0]
    std = np.sqrt(((train.y - [1e6, 0.0] - design @ coefficients) ** 2).sum(axis=0) / (200 - 4))
    assert_allclose(scores.error, mean - test.y, atol=1e-6)
    normal = scipy.stats.norm(mean, std)
    assert_allclose(scores.nll, -normal.logpdf(test.y).sum(axis=1), rtol=1e-7)
    assert_allclose(scores.pit, normal.cdf(test.y), atol=1e-7)
    assert_allclose(scores.width_90, np.broadcast_to(2 * std * scipy.stats.norm.isf(0.05), (100, 2)), rtol=1e-9)


@pytest.mark.usefixtures("x64")
def test_crps_of_a_gaussian():
    import scoringrules  # noqa: PLC0415

    train, test = table(200, 0), table(50, 1)
    scores = baselines.without_inputs(train, test)
    expected = scoringrules.crps_normal(test.y, train.y.mean(axis=0), train.y.std(axis=0))
    assert_allclose(scores.crps, expected, rtol=1e-7)


@pytest.mark.usefixtures("x64")
def test_weights_are_repeated_rows_and_missing_targets_are_left_out():
    train, test = table(60, 0, missing=10), table(40, 1, missing=5)
    weight = np.random.default_rng(0).integers(1, 4, 60).astype(float)
    index = np.repeat(np.arange(60), weight.astype(int))
    repeated = train.take(index)
    weighted = replace(train, weight=weight)
    one, two = baselines.without_inputs(weighted, test), baselines.without_inputs(repeated, test)
    assert_allclose(one.nll, two.nll)
    one, two = baselines.linear(weighted, test), baselines.linear(repeated, test)
    assert_allclose(one.error, two.error, atol=1e-7)  # NaN in the same places
    assert np.isnan(one.error[:5, 0]).all() and np.isfinite(one.nll).all()


def test_a_model_that_a_line_beats_is_told_so():
    scores = {"marginal": {"test_nll": 3.0}, "least_squares": {"test_nll": 1.0}, "one_gaussian": None}
    (said,) = baselines.baseline_sentences(scores, 1.5)
    assert said.startswith("linear least squares answers no worse: its NLL is 1.000")
    assert baselines.baseline_sentences(scores, 0.5) == []


def report_of(config, data):
    return baselines.baseline_report(config, data, baselines.baseline_scores(config, data))


def test_a_baseline_that_cannot_be_fitted_says_why():
    train, test = table(4, 0), table(40, 1)
    assert baselines.linear(train, test) is None
    data = Dataset(train, test, ("a", "b", "c"), ("y", "z"))
    found = report_of(config_of(), data)
    assert found["least_squares"] is None and found["one_gaussian"] is None
    assert found["skipped"].keys() == {"least_squares", "one_gaussian"}
    assert list(found["marginal"]["test_rmse"]) == ["y", "z"]


def test_one_gaussian_is_trained_for_a_table():
    train, test = (Part(part.x, part.y[:, :1]) for part in (table(60, 0), table(40, 1)))
    data = Dataset(train, test, ("a", "b", "c"), ("y",))
    config = config_of().model_copy(update={"dataset": mdn.DatasetConfig(path="table.csv", targets=("y",))})
    found = report_of(config, data)
    assert found["one_gaussian"]["num_steps"] == 10 and math.isfinite(found["one_gaussian"]["test_nll"])
    assert found["skipped"] == {}

"""Diagnosis and coverage of models that are exact, dead, floored or too narrow by construction."""

import json
import math
from dataclasses import replace
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from numpy.testing import assert_allclose

import mdn_jax as mdn
from mdn_jax.encoding import Encoding
from mdn_jax.heads.mixture import raw_scale
from mdn_jax.judging import (
    Scores,
    coverage_interval,
    coverage_sentences,
    diagnose,
    judge,
    kinds_in,
    measure_coverage,
    needed_masses,
    residual_autocorrelation,
)
from mdn_jax.judging.components import component_floors
from mdn_jax.models import Calibration, ConstantStd, evenly

SPEC = mdn.MixtureSpec(num_components=3, min_std=0.01)
LOG_STD = math.log(0.5)  # in the target's units 1
UNITS = mdn.Standardizer(np.array([5.0]), np.array([2.0]))


def answer(params, x):
    """The same mixture at every x: logits, centres, raw scales."""
    return params + 0.0 * x[0]


def constant_model(logits, locs, log_std, spec=SPEC, units=UNITS):
    params = jnp.asarray([*logits, *locs, *raw_scale(log_std, spec.min_std)], jnp.float32)
    inputs = mdn.Standardizer(np.zeros(1), np.ones(1))
    return mdn.Model(mdn.Conditional(mdn.Functional(params, answer), None, spec), inputs, units)


def two_and_a_dead_one(log_std=(LOG_STD, LOG_STD, LOG_STD)):
    """Centres at -2 and 2 in standard units, 1 and 9 in the target's, and one component that never answers."""
    return constant_model((0.0, 0.0, -40.0), (-2.0, 2.0, 0.0), log_std)


def draw(count=2_000, seed=0, sigma=1.0, centres=(1.0, 9.0)):
    rng = np.random.default_rng(seed)
    y = rng.choice(centres, count)[:, None] + sigma * rng.normal(size=(count, 1))
    return np.linspace(-1, 1, count)[:, None], y


def found_by(model, x, y, **options):
    return diagnose(model, mdn.evaluate(model, x, y), judge(model, x, y), target_names=("price",), **options)


# Components


def test_a_dead_component_is_counted_and_said():
    found = found_by(two_and_a_dead_one(), *draw(), statuses=("ok",))
    report = found.report()
    assert (report["components"], report["dead_components"], report["statuses"]) == (3, 1, ["ok"])
    assert report["effective_components"] == pytest.approx(2.0, abs=0.01)
    assert_allclose(report["component_shares"], [0.5, 0.5, 0.0], atol=0.05)
    assert report["responsibility_entropy_nats"] < 0.01  # eight sigmas apart
    assert report["smallest_sigma"]["price"] == pytest.approx(1.0, rel=1e-5)
    assert report["sigma_floor"]["price"] == pytest.approx(0.02)
    assert report["share_on_floor"]["price"] == 0.0
    assert found.sentences() == ["1 of 3 components is never responsible for a row: fewer would do"]
    assert json.loads(json.dumps(report)) == report


def test_equal_components_answer_alike():
    found = found_by(constant_model((0.0,) * 3, (0.0,) * 3, (0.0,) * 3), *draw())
    assert found.entropy == pytest.approx(math.log(3), rel=1e-5)
    assert found.effective_components == pytest.approx(3.0, rel=1e-5)
    assert found.sentences() == []


def test_sigma_on_its_floor_is_said():
    x, _ = draw()
    y = np.full((2_000, 1), 9.0)
    y[:1_500] = 1.0  # the component at 1 sits on the floor
    found = found_by(two_and_a_dead_one((-30.0, 0.0, 0.0)), x, y)
    assert found.on_floor[0] == pytest.approx(0.75)
    assert "sigma of 'price' sits on its floor (0.02, from model.min_std) for 75 % of rows" in found.sentences()[0]


def test_an_ensemble_has_the_floors_of_its_members():
    wide = mdn.Standardizer(np.array([5.0]), np.array([20.0]))
    small, large = two_and_a_dead_one(), constant_model((0.0,) * 3, (0.0,) * 3, (0.0,) * 3, units=wide)
    assert_allclose(component_floors(mdn.ensemble([small, large]), 6)[:, 0], [0.02] * 3 + [0.2] * 3)


def test_networks_that_diverged_are_said():
    found = found_by(two_and_a_dead_one(), *draw(), statuses=("ok", "diverged"))
    assert found.sentences()[0].startswith("1 of 2 networks diverged")
    assert replace(found, statuses=("diverged",)).sentences()[0].startswith("training diverged")


def test_rows_that_weigh_nothing_do_not_count():
    x, y = draw()
    model, weight = two_and_a_dead_one(), (y[:, 0] < 5).astype(float)
    scores = mdn.evaluate(model, x, y, weights=weight)
    found = diagnose(model, scores, judge(model, x, y), target_names=("price",))
    assert_allclose(found.share, [1.0, 0.0, 0.0], atol=1e-6)


def test_least_squares_has_no_floor():
    spec = mdn.MixtureSpec(num_components=1, covariance="unit")
    network = ConstantStd(mdn.Conditional(mdn.Functional(jnp.zeros(1), answer), None, spec), jnp.zeros(1))
    assert component_floors(replace(two_and_a_dead_one(), conditional=network), 1) == 0.0
    assert_allclose(component_floors(two_and_a_dead_one(), 3), 0.02)


# Rows


def test_masses_are_those_of_the_exact_function():
    x, y = draw(sigma=1.5)
    model = constant_model((0.0, 0.5, -1.0), (-1.0, 1.5, 0.0), (0.0, -1.0, 0.5))
    judged = judge(model, x, y)
    error = judged.highest_density - needed_masses(model, x, y).highest_density
    assert np.abs(error).max() < 0.03 and np.abs(error).mean() < 0.002
    few = judge(model, x, y, most_rows=50)
    assert_allclose(few.rows, evenly(2_000, 50))
    assert_allclose(few.highest_density, judged.highest_density[few.rows], atol=1e-6)


def plane_model():
    """Two independent targets, standard normal in standard units."""
    spec = mdn.MixtureSpec(num_components=1, target_dim=2, covariance="full")
    params = jnp.zeros(spec.num_outputs).at[3:5].set(raw_scale(0.0, spec.min_std))
    inputs, units = mdn.Standardizer(np.zeros(1), np.ones(1)), mdn.Standardizer(np.zeros(2), np.array([1.0, 10.0]))
    return mdn.Model(mdn.Conditional(mdn.Functional(params, answer), None, spec), inputs, units)


def test_joint_regions_of_an_exact_model():
    rng = np.random.default_rng(0)
    x, y = np.zeros((400, 1)), rng.normal(size=(400, 2)) * [1.0, 10.0]
    model = plane_model()
    judged = judge(model, x, y)
    # of a standard normal plane: 1 - exp(-r^2 / 2)
    exact = 1 - np.exp(-0.5 * ((y / [1.0, 10.0]) ** 2).sum(axis=1))
    assert np.abs(judged.joint - exact).max() < 5 * 0.5 / math.sqrt(1_000)
    assert_allclose(judged.sigma, np.tile([1.0, 10.0], (400, 1)), rtol=2e-3)
    scores = mdn.evaluate(model, x, y)
    records = measure_coverage(scores, judged, ("a", "b"))["regions"]
    assert {record["region"] for record in records} == {"central", "highest_density", "joint"}
    assert all(abs(record["held"] - record["share"]) < 4 * record["standard_error"] for record in records)


# Coverage


def coverage_of(model, x, y, names=("price",), **options):
    return measure_coverage(mdn.evaluate(model, x, y), judge(model, x, y), names, **options)


def test_an_exact_model_holds_what_it_says():
    x, y = draw(seed=1)
    found = coverage_of(two_and_a_dead_one(), x, y)
    for record in found["regions"]:
        assert abs(record["held"] - record["share"]) < 4 * record["standard_error"]
        expected = math.sqrt(record["share"] * (1 - record["share"]) / record["rows"])
        assert record["standard_error"] == pytest.approx(expected)
    assert [record["rows"] for record in found["regions"]] == [2_000] * 6
    assert found["by_width"] == [] and found["by_kind"] == []  # all intervals are equally wide
    assert coverage_sentences(found) == []
    assert json.loads(json.dumps(found)) == found


def test_too_narrow_a_model_is_said_and_calibrated():
    model = constant_model((0.0, -40.0, -40.0), (0.0,) * 3, (0.0,) * 3)  # N(5, 2.02) for what is N(5, 4)
    x, y = draw(sigma=4.0, centres=(5.0,))
    found = coverage_of(model, x, y)
    ninety = next(record for record in found["regions"] if record["share"] == 0.9)
    exact = 1 - 2 * scipy.stats.norm.sf(scipy.stats.norm.isf(0.05) * 2.02 / 4)
    assert ninety["held"] == pytest.approx(exact, abs=0.03)
    (said,) = coverage_sentences(found)
    assert "90 % intervals of 'price' hold" in said and "too narrow; set dataset.calibration_fraction" in said
    own = mdn.calibrate(model, *draw(seed=7, sigma=4.0, centres=(5.0,))).calibration
    after = coverage_of(model, x, y, calibration=own)
    for record in after["regions"]:
        assert abs(record["calibrated"] - record["share"]) < 4 * record["calibrated_standard_error"]
        assert record["calibrated_standard_error"] > record["standard_error"]
    (said,) = coverage_sentences(after)  # the answers by default are as they were
    assert "too narrow; calibrated ones hold" in said and "--calibrated" in said


def uniform_coverage(count, targets, rng, power=1.0):
    """Of a model whose regions of mass p hold p^power: exact for 1."""
    pit, needed = rng.uniform(size=(count, targets)), rng.uniform(size=(count, targets)) ** (1 / power)
    judged = SimpleNamespace(rows=np.arange(count), highest_density=needed, joint=rng.uniform(size=count))
    scores = Scores(np.zeros(count), pit, pit, pit, np.ones((count, targets)))
    return measure_coverage(scores, judged, [f"y{index}" for index in range(targets)])


@pytest.mark.parametrize(("count", "targets"), [(60, 1), (500, 1), (2_000, 1), (200, 8)])
def test_exact_models_are_seldom_blamed(count, targets):
    rng = np.random.default_rng(0)
    # two in a hundred at most, and three standard errors of 300 draws
    assert sum(bool(coverage_sentences(uniform_coverage(count, targets, rng))) for _ in range(300)) < 6 + 7


def test_the_worst_region_is_named_in_one_sentence():
    found = uniform_coverage(2_000, 2, np.random.default_rng(0), power=1.2)
    fifty = [record for record in found["regions"] if record["region"] == "highest_density" and record["share"] == 0.5]
    worst = min(fifty, key=lambda record: record["held"])  # 0.5^1.2 = 0.435
    assert worst["held"] == pytest.approx(0.435, abs=0.04)
    (said,) = coverage_sentences(found)
    assert said.startswith(f"the 50 % highest-density regions of {worst['target']!r} hold {100 * worst['held']:.1f} %")
    assert "(± 1.1 by chance) of the test rows: too small; set dataset.calibration_fraction" in said


@pytest.mark.parametrize("held", [0.0, 0.3, 0.87, 1.0])
def test_intervals_around_what_is_held_are_the_test_turned_round(held):
    low, high = coverage_interval({"share": 0.9, "held": held, "standard_error": math.sqrt(0.9 * 0.1 / 60)})
    expected = scipy.stats.binomtest(round(60 * held), 60).proportion_ci(2 * scipy.stats.norm.cdf(2) - 1, "wilson")
    if round(60 * held) == 60 * held:
        assert (low, high) == (pytest.approx(expected.low), pytest.approx(expected.high))
    for end in {low, high} - {0.0, 1.0}:
        assert abs(held - end) == pytest.approx(2 * math.sqrt(end * (1 - end) / 60))
    assert 0 <= low <= held <= high <= 1


def test_the_worst_kind_is_named():
    rng = np.random.default_rng(0)
    colour = rng.choice(["red", "blue", "rare"], 2_000, p=[0.3, 0.695, 0.005])
    x, _ = draw()
    y = 5.0 + np.where(colour == "red", 6.0, 1.5)[:, None] * rng.normal(size=(2_000, 1))
    model = constant_model((0.0, -40.0, -40.0), (0.0,) * 3, (0.0,) * 3)
    found = coverage_of(model, x, y, kinds={"colour": colour.astype(object)})
    rare = int((colour == "rare").sum())
    assert 0 < rare < 20 and [record["kind"] for record in found["by_kind"]] == ["blue", "red"]
    assert found["by_kind"][1]["rows"] == (colour == "red").sum()
    assert found["kinds_not_judged"] == [{"column": "colour", "target": "price", "rows": {"rare": rare}}]
    assert any("where colour is 'red', 90 % intervals of 'price' hold" in said for said in coverage_sentences(found))


def test_groups_go_from_narrow_to_wide():
    rng = np.random.default_rng(0)
    width = rng.uniform(1.0, 2.0, 1_000)
    pit = rng.uniform(size=(1_000, 1))
    pit[width < 1.1] = 0.001  # the surest answers are all wrong
    judged = SimpleNamespace(rows=np.arange(1_000), highest_density=pit, joint=pit[:, 0])
    found = measure_coverage(Scores(np.zeros(1_000), pit, pit, pit, width[:, None]), judged, ("y",))
    groups = found["by_width"]
    assert [group["group"] for group in groups] == list(range(1, 11))
    assert all(group["rows"] == 100 for group in groups)
    assert np.all(np.diff([group["width"] for group in groups]) > 0)
    assert groups[0]["held"] < 0.2 and groups[5]["held"] > 0.8
    assert any("are about 1.0" in said for said in coverage_sentences(found))


def test_missing_targets_and_weights():
    x, y = draw()
    y[:500], weight = np.nan, np.where(np.arange(2_000) < 1_000, 1.0, 3.0)
    model = two_and_a_dead_one()
    observed = ~np.isnan(y)
    scores = mdn.evaluate(model, x, y, weights=weight, observed=observed)
    found = measure_coverage(scores, judge(model, x, y, observed=observed), ("price",))
    record = found["regions"][0]
    needed = np.abs(2 * scores.pit[500:, 0] - 1)
    assert record["rows"] == 1_500
    assert record["held"] == pytest.approx(np.average(needed <= 0.5, weights=weight[500:]))
    effective = weight[500:].sum() ** 2 / (weight[500:] ** 2).sum()
    assert record["standard_error"] == pytest.approx(0.5 / math.sqrt(effective))
    nothing = Calibration(np.full((30, 1), np.nan), np.full((30, 1), np.nan), np.full(30, np.nan))
    assert (
        "calibrated" not in measure_coverage(scores, judge(model, x, y), ("price",), calibration=nothing)["regions"][0]
    )


def test_kinds_are_read_back_from_their_columns():
    colour = np.array(["red", "blue", None, "red", "green"], object)
    table = {"size": np.arange(5.0), "colour": colour, "place": np.array(["here"] * 5, object)}
    encoding = Encoding.fit(
        table, ("size", "colour", "place"), ("price",), categorical=("colour", "place"), missing_inputs="indicate"
    )
    kinds = kinds_in(encoding, encoding.encode(table).x)
    assert kinds["colour"].tolist() == colour.tolist() and kinds["place"].tolist() == ["here"] * 5
    unseen = table | {"colour": np.array(["violet"] * 5, object)}
    assert kinds_in(encoding, encoding.encode(unseen).x)["colour"].tolist() == [None] * 5
    assert kinds_in(None, np.zeros((3, 1))) == {}


# Neighbours


def autocorrelation_of(values, place=None):
    scores = SimpleNamespace(pit=scipy.stats.norm.cdf(values).reshape(len(values), -1))
    return residual_autocorrelation(scores, np.arange(len(values)) if place is None else place)


def test_rows_of_an_ar1_series():
    rng, rho, count = np.random.default_rng(0), 0.6, 5_000
    series = np.zeros(count)
    for index in range(1, count):
        series[index] = rho * series[index - 1] + math.sqrt(1 - rho**2) * rng.normal()
    shuffled = rng.permutation(count)
    found = autocorrelation_of(series[shuffled], place=shuffled)
    # Spearman's correlation of a normal pair (Kruskal, 1958)
    assert found.value == pytest.approx(6 / math.pi * math.asin(rho / 2), abs=0.05)
    assert found.standard_error == pytest.approx(1 / math.sqrt(count)) and found.telling
    assert not autocorrelation_of(series[shuffled]).telling


def test_the_most_dependent_target_counts_and_few_rows_tell_nothing():
    rng = np.random.default_rng(0)
    values = np.stack([rng.normal(size=300), np.cumsum(rng.normal(size=300))], axis=1)
    assert autocorrelation_of(values).target == 1
    values[:290, 1] = np.nan
    assert autocorrelation_of(values).target == 0
    assert autocorrelation_of(np.zeros(10)) is None and autocorrelation_of(np.zeros(100)) is None
    assert residual_autocorrelation(SimpleNamespace(pit=np.zeros((50, 1))), None) is None

"""Scores of pen strokes against scipy's densities, and the sentences of what looks wrong."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

import mdn_jax as mdn
from mdn_jax.judging.strokes import StrokeScores, judge_strokes, pen_alone, remembers, stroke_sentences
from mdn_jax.models import Conditional, Functional, Model

RNG = np.random.default_rng(0)
MEAN, COVARIANCE, LIFTED = np.array([0.3, -0.2]), np.array([[0.5, 0.2], [0.2, 0.4]]), 0.25
SPEC = mdn.ProductSpec((mdn.MixtureSpec(1, 2, "full"), mdn.CategoricalSpec(2)))


def drawings(count, rng=RNG):
    """Of 3 to 9 independent points."""
    sizes = rng.integers(3, 10, count)
    return [
        np.column_stack([rng.multivariate_normal(MEAN, COVARIANCE, size), rng.random(size) < LIFTED]) for size in sizes
    ]


DATA = mdn.stroke_dataset(drawings(200), drawings(100), length=32)


def points_of(part):
    """(P, 3): the steps that are no padding."""
    return part.y[np.asarray(part.weight) > 0]


def constant(params, x):
    return jnp.broadcast_to(params, (*x.shape[:-1], SPEC.num_outputs))


def reset_sum(params, x):
    """A network that knows the offsets since a row began, and answers with them."""
    raw = jnp.broadcast_to(params, (x.shape[0], SPEC.num_outputs))
    return raw.at[:, 1].add(jnp.cumsum(x[:, 0]))


def model_of(apply):
    """A model of independent normal points, between units of the data's own."""
    y = points_of(DATA.train)
    targets = SPEC.units(y)
    params = jnp.asarray(mdn.initial_bias(SPEC, targets.standardize(y)))
    return Model(Conditional(Functional(params, apply), None, SPEC), mdn.Standardizer.identity(4), targets)


def test_points_score_as_scipy_says():
    model = model_of(constant)
    found, y = judge_strokes(model, DATA.test), points_of(DATA.test)
    one = alone(model)
    offset, pen = one.parts
    centre, spread = np.asarray(offset.locs, np.float64)[0], np.linalg.inv(np.asarray(offset.scale.whitener)[0])
    law = stats.multivariate_normal(centre, spread @ spread.T)
    logits = np.asarray(pen.logits, np.float64)
    log_probs = logits - np.log(np.exp(logits).sum())
    assert len(found.nll) == len(y) == sum(map(len, found_drawings(found)))
    assert_allclose(found.offset_nll, -law.logpdf(y[:, :2]), rtol=2e-5, atol=2e-5)
    assert_allclose(found.pen_nll, -log_probs[y[:, 2].astype(int)], rtol=1e-5)
    assert_allclose(found.squared_error, ((y[:, :2] - centre) ** 2).sum(axis=1), rtol=1e-4, atol=1e-5)
    sides = np.sqrt(np.diag(spread @ spread.T))
    assert_allclose(found.pit, stats.norm.cdf(y[:, :2], centre, sides), atol=1e-5)
    assert_allclose(found.lifted, np.exp(log_probs[1]), rtol=1e-5)


def alone(model):
    """The distribution of the first point, in the data's own unit."""
    return jax.tree.map(lambda leaf: leaf[0], model.targets.restore(model.standardized(jnp.zeros((1, 4)))))


def found_drawings(scores):
    return np.split(scores.drawing, np.flatnonzero(np.diff(scores.drawing)) + 1)


def test_drawings_are_told_apart():
    found = judge_strokes(model_of(constant), DATA.test)
    report, each = found.report(), found_drawings(found)
    assert len(each) == found.drawing[-1] + 1 == 100
    assert_allclose(report["test_nll"], report["test_nll_offset"] + report["test_nll_pen"])
    assert_allclose(report["test_nll_per_sequence"], found.nll.sum() / 100)
    assert_allclose(report["test_nll_without_ends"], report["test_nll"], rtol=1e-5)  # the pen has two codes here
    assert found.step.tolist() == [step for one in each for step in range(len(one))]
    by_step = found.by_step()
    assert by_step["drawings"][0] == 100 and np.all(np.diff(by_step["drawings"]) <= 0)
    assert_allclose(by_step["offset"][2], found.offset_nll[found.step == 2].mean())


def test_the_standard_error_is_that_of_whole_drawings():
    found = judge_strokes(model_of(constant), DATA.test)
    sums, sizes = np.bincount(found.drawing, found.nll), np.bincount(found.drawing)
    drawn = RNG.integers(0, 100, (4_000, 100))
    means = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)  # bootstrap
    assert_allclose(found.report()["test_nll_standard_error"], means.std(), rtol=0.1)


def test_scores_are_those_of_the_model_itself():
    model = model_of(constant)
    one = alone(model)
    y = jnp.asarray(points_of(DATA.test)[:20], jnp.float32)
    direct = jax.vmap(lambda row: mdn.nll(one, row))(y)
    assert_allclose(judge_strokes(model, DATA.test).nll[:20], direct, rtol=1e-4, atol=1e-4)


def test_independent_points_are_calibrated_and_no_better_than_the_baseline():
    found = judge_strokes(model_of(constant), DATA.test)
    assert found.calibration()["pen_calibration_error"] < 0.06
    assert max(found.calibration()["pit_deviation"].values()) < 0.08


def test_a_network_that_remembers_is_told():
    assert remembers(model_of(reset_sum), DATA.test)
    assert not remembers(model_of(constant), DATA.test)


def scores_of(offset, lifted, pen):
    count, zeros = len(pen), np.zeros(len(pen))
    pit = RNG.random((count, 2))
    return StrokeScores(
        zeros + offset, zeros, zeros, zeros, pit, zeros + lifted, pen, zeros.astype(int), np.arange(count)
    )


@pytest.mark.parametrize(
    ("offset", "lifted", "statuses", "words"),
    [
        (2.0, 0.2, ("ok",), ["knows only whether the pen was lifted answers no worse"]),
        (0.0, 0.6, ("ok",), ["the probability that the pen is lifted is off by 0.39"]),
        (0.0, 0.2, ("ok", "diverged"), ["training diverged"]),
        (0.0, 0.2, ("ok",), []),
    ],
)
def test_each_sentence_is_said_when_it_is_true(offset, lifted, statuses, words):
    pen = (np.random.default_rng(1).random(3_000) < 0.2).astype(float)
    said = stroke_sentences(scores_of(offset, lifted, pen), {"test_nll": 1.0}, statuses)
    assert len(said) == len(words) and all(word in one for word, one in zip(words, said))


@pytest.mark.slow
def test_the_baseline_knows_the_pen_alone():
    """Of points that are independent of the pen it finds no more than the law, and loses little to it."""
    many = mdn.stroke_dataset(drawings(4_000), drawings(1_000), length=128)
    y = points_of(many.test) * [many.normaliser, many.normaliser, 1]
    exact = stats.multivariate_normal(MEAN, COVARIANCE).logpdf(y[:, :2]) + stats.bernoulli(LIFTED).logpmf(y[:, 2])
    assert_allclose(pen_alone(0, many)["test_nll"], -exact.mean() - 2 * np.log(many.normaliser), atol=0.03)

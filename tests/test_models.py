"""Models in original units against numpy's float64, scipy and scoringrules; ensembles against an explicit sum."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scoringrules
from cases import log_prob, scipy_log_prob, weights_of
from numpy.testing import assert_allclose, assert_array_equal
from scipy import optimize, stats
from scipy.special import logsumexp
from untrained import conditional

import mdn_jax as mdn
from mdn_jax.heads.mixture import raw_scale
from mdn_jax.judging.metrics import Scores, score
from mdn_jax.models import evenly

RNG = np.random.default_rng(0)
X = 3.0 + 2.0 * RNG.normal(size=(40, 2))
Y = np.array([10.0, -5.0]) + np.array([4.0, 0.1]) * RNG.normal(size=(40, 2))


@partial(jax.jit, static_argnums=(1, 2))
def draw_network(key, hidden, spec, bias):
    return conditional(2, hidden, spec, key=key, bias=bias)


def model(covariance="diagonal", count=3, hidden=(4,), seed=0, targets=2, rows=slice(None)):
    """An untrained model in units of some of the rows."""
    spec = mdn.MixtureSpec(count, targets, covariance)
    bias = mdn.initial_bias(spec, RNG.normal(size=(9, targets)))
    network = draw_network(jax.random.key(seed), hidden, spec, bias)
    return mdn.Model(network, mdn.Standardizer.fit(X[rows]), mdn.Standardizer.fit(Y[rows, :targets]))


def line(params, x):
    """Raw outputs of one normal: logit, centre and scale."""
    return jnp.stack([0.0 * x[0], params["slope"] * x[0], params["scale"]])


def straight(x, y, slope=0.5, log_std=-1.0):
    """The normal around a line, in units of the data."""
    spec = mdn.MixtureSpec(1, min_std=1e-9)
    params = {"slope": jnp.float32(slope), "scale": jnp.float32(raw_scale(log_std, spec.min_std))}
    network = mdn.Conditional(mdn.Functional(params, line), None, spec)
    return mdn.Model(network, mdn.Standardizer.fit(x), mdn.Standardizer.fit(y))


at = jax.jit(lambda model, x: model(x))
standard_at = jax.jit(lambda model, z: model.standardized(z))
members_at = jax.jit(lambda ensemble, x: [network(x) for network in ensemble.networks])


def nll(model, x, y):
    """Of one row, by the program that scores as many rows as X has."""
    return mdn.evaluate(model, np.repeat(x[None], len(X), axis=0), np.repeat(y[None], len(X), axis=0)).nll


# Units


def test_a_standardizer_is_numpys_mean_and_std():
    units = mdn.Standardizer.fit(Y)
    assert_array_equal(units.shift, Y.mean(axis=0))
    assert_array_equal(units.scale, Y.std(axis=0))
    z = units.standardize(Y)
    assert z.dtype == np.float64
    assert_allclose([z.mean(axis=0), z.std(axis=0)], [[0, 0], [1, 1]], atol=1e-13)
    assert mdn.Standardizer.fit(Y[:, 0]).shift.shape == (1,)
    assert mdn.Standardizer.fit(np.empty((5, 0))).shift.shape == (0,)


def test_a_constant_column_keeps_its_scale_and_nan_is_left_out():
    units = mdn.Standardizer.fit(np.array([[0.1, 1.0], [0.1, np.nan], [0.1, 3.0]]))
    assert_allclose(units.shift, [0.1, 2.0], rtol=1e-15)
    assert_array_equal(units.scale, [1.0, 1.0])
    assert_array_equal(mdn.Standardizer.fit(np.full((7, 1), 1.7e9 + 0.1)).scale, [1.0])
    assert_array_equal(mdn.Standardizer.fit(np.zeros((7, 1))).scale, [1.0])


def test_units_within_units():
    inner, outer = mdn.Standardizer.fit(Y), mdn.Standardizer.fit(Y[:10] * 3.0 + 1e9)
    relative = inner.within(outer)
    assert_allclose(relative.standardize(outer.standardize(Y)), inner.standardize(Y), atol=1e-5)
    same = mdn.Standardizer.fit(Y).within(mdn.Standardizer.fit(Y))
    assert_array_equal([same.shift, same.scale], [[0, 0], [1, 1]])


@pytest.mark.parametrize("covariance", ["isotropic", "diagonal", "tied", "full"])
def test_the_density_changes_by_the_scale_alone(covariance):
    # log p(y) = log p(z) - sum of log scale, z = (y - shift) / scale
    ours = model(covariance)
    x, y = X[3], Y[5]
    z, standard = ours.targets.standardize(y), standard_at(ours, ours.inputs.standardize(x).astype(np.float32))
    expected = scipy_log_prob(standard, z) - np.log(ours.targets.scale).sum()
    assert_allclose(scipy_log_prob(at(ours, x), y), expected, rtol=1e-4)
    assert_allclose(log_prob(at(ours, x), jnp.asarray(y, jnp.float32)), expected, rtol=1e-3)
    assert_allclose(nll(ours, x, y), np.full(len(X), -expected), rtol=1e-5)


@pytest.mark.parametrize("origin", [0.0, 1.7e9])
def test_timestamps_keep_their_digits(origin):
    # float32 has steps of 128 s at 1.7e9 s
    seconds = 100.0 * RNG.normal(size=(200, 1))
    x, y = origin + seconds, origin + 0.5 * seconds + 10.0 * RNG.normal(size=(200, 1))
    ours = straight(x, y)
    slope, std = 0.5 * y.std() / x.std(), np.exp(-1.0) * y.std()
    centre = y.mean() + slope * (x - x.mean())
    expected = -stats.norm.logpdf(y - centre, scale=std)[:, 0]
    scores = mdn.evaluate(ours, x, y)
    assert_allclose(scores.nll, expected, rtol=1e-4)
    assert_allclose(scores.error, centre - y, rtol=0, atol=1e-4 * y.std())
    assert_allclose(scores.pit, stats.norm.cdf((y - centre) / std), rtol=0, atol=1e-5)


# One x


def test_vmap_is_a_loop():
    ours = model()
    batch = jax.jit(jax.vmap(ours))(X.astype(np.float32))
    alone = [at(ours, x.astype(np.float32)) for x in X]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *alone)
    jax.tree.map(lambda a, b: assert_allclose(a, b, rtol=2e-5, atol=1e-5), batch, stacked)
    assert jax.tree.structure(ours) == jax.tree.structure(model(seed=1))


@pytest.mark.parametrize("kind", ["model", "ensemble", "network"])
def test_a_batch_is_refused(kind):
    ours = model()
    call = {"model": ours, "ensemble": mdn.ensemble([ours]), "network": mdn.ensemble([ours]).networks[0]}[kind]
    with pytest.raises(mdn.InputError, match=r"one x of shape \(2,\); got \(40, 2\): use jax.vmap\(model\)\(xs\)"):
        call(X)
    with pytest.raises(mdn.InputError, match=r"one x of shape \(2,\); got \(\)"):
        call(3.0)


# Ensembles


@pytest.fixture(scope="module")
def crowd():
    """Models of different shapes, covariances and units, and their ensemble."""
    models = [
        model(),
        model("full", count=1, hidden=(), seed=1, rows=slice(0, 20)),
        model("tied", count=2, hidden=(3, 3), seed=2, rows=slice(10, 40)),
    ]
    return models, mdn.ensemble(models)


def test_an_ensemble_is_the_mean_of_the_densities(crowd):
    models, together = crowd
    scores = mdn.evaluate(together, X[:4], Y[:4])
    for x, y, score_of_row in zip(X[:4], Y[:4], scores.nll, strict=True):
        mixture = at(together, x)
        assert mixture.num_components == 6
        expected = logsumexp([scipy_log_prob(at(m, x), y) for m in models]) - np.log(3)
        assert_allclose(scipy_log_prob(mixture, y), expected, rtol=1e-4)
        assert_allclose(score_of_row, -expected, rtol=1e-4)


def test_members_are_the_models_themselves(crowd):
    models, together = crowd
    for ours, own in zip(members_at(together, X[0]), models, strict=True):
        assert_allclose(ours.locs, at(own, X[0]).locs, rtol=1e-4, atol=1e-5)
        assert_allclose(scipy_log_prob(ours, Y[0]), scipy_log_prob(at(own, X[0]), Y[0]), rtol=1e-4)


def test_an_ensemble_of_ensembles_counts_each_member_once(crowd):
    models, together = crowd
    nested = mdn.ensemble([mdn.ensemble(models[1:]), models[0]])
    assert len(nested.networks) == 3
    assert_allclose(scipy_log_prob(at(nested, X[1]), Y[1]), scipy_log_prob(at(together, X[1]), Y[1]), rtol=1e-4)
    alone = mdn.ensemble(models[:1])
    assert_allclose(scipy_log_prob(at(alone, X[1]), Y[1]), scipy_log_prob(at(models[0], X[1]), Y[1]), rtol=1e-5)


def test_ensembles_of_what_does_not_belong_together():
    with pytest.raises(mdn.InputError, match="at least one model; got none"):
        mdn.ensemble([])
    named = replace(model(), input_names=("a", "b"))
    for other in (model(targets=1), named, replace(model(), inputs=None)):
        with pytest.raises(mdn.InputError, match="over the same inputs and targets"):
            mdn.ensemble([model(), other])


# Scores


@pytest.fixture(scope="module")
def scored():
    ours = model("full")
    return ours, mdn.evaluate(ours, X, Y)


def test_scores_are_scipys_row_by_row(scored):
    ours, scores = scored
    assert scores.nll.shape == (40,) and scores.responsibilities.shape == (40, 3)
    assert all(getattr(scores, name).shape == (40, 2) for name in ("error", "crps", "pit", "width_90"))
    for row in (0, 7, 23):
        mixture, y = at(ours, X[row]), Y[row]
        weights, locs = weights_of(mixture), np.asarray(mixture.locs, np.float64)
        spread = np.linalg.inv(np.asarray(mixture.scale.whitener, np.float64))
        assert_allclose(scores.nll[row], -scipy_log_prob(mixture, y), rtol=1e-4)
        assert_allclose(scores.error[row], weights @ locs - y, rtol=1e-3, atol=1e-3)
        terms = np.log(weights) + [stats.multivariate_normal.logpdf(y, m, s @ s.T) for m, s in zip(locs, spread)]
        assert_allclose(scores.responsibilities[row], np.exp(terms - logsumexp(terms)), rtol=1e-3, atol=1e-5)
        for dim in range(2):
            centres, stds = locs[:, dim], np.linalg.norm(spread[:, dim], axis=1)
            crps = scoringrules.crps_mixnorm(y[dim], centres, stds, weights, backend="numpy")
            assert_allclose(scores.crps[row, dim], crps, rtol=1e-3)

            def cdf(value, centres=centres, stds=stds, weights=weights):
                return float(weights @ stats.norm.cdf(value, centres, stds))

            assert_allclose(scores.pit[row, dim], cdf(y[dim]), rtol=0, atol=1e-4)
            low, high = (
                optimize.brentq(lambda v, q=q: cdf(v) - q, centres.min() - 99, centres.max() + 99) for q in (0.05, 0.95)
            )
            assert_allclose(scores.width_90[row, dim], high - low, rtol=1e-3)  # pyright: ignore


def test_a_report_names_the_targets(scored):
    _, scores = scored
    report = scores.report(("a", "b"), "val")
    assert report["val_nll"] == scores.nll.mean()
    assert report["val_nll_standard_error"] == pytest.approx(scores.nll.std() / 40**0.5)
    assert report["val_rmse"]["b"] == pytest.approx(np.sqrt((scores.error[:, 1] ** 2).mean()))
    assert report["val_crps"]["a"] == pytest.approx(scores.crps[:, 0].mean())
    assert report["coverage_90"]["a"] == np.mean(np.abs(scores.pit[:, 0] - 0.5) <= 0.45)
    assert set(report["width_90"]) == set(report["pit_deviation"]) == {"a", "b"}
    assert report["live_components"] in (1, 2, 3)
    with pytest.raises(ValueError, match=r"zip|argument"):
        scores.report(("a",))


def test_a_model_that_is_right_is_calibrated():
    count = 20_000
    x = RNG.normal(size=(count, 1))
    y = 5.0 + 2.0 * x + 3.0 * RNG.normal(size=(count, 1))
    slope, std = 2.0 * x.std() / y.std(), 3.0 / y.std()
    report = mdn.evaluate(straight(x, y, slope, np.log(std)), x, y).report(("y",))
    assert abs(report["coverage_90"]["y"] - 0.9) < 4 * (0.9 * 0.1 / count) ** 0.5
    assert report["pit_deviation"]["y"] < stats.kstwobign.ppf(0.9999) / count**0.5  # Kolmogorov's distribution
    assert abs(report["test_nll"] - stats.norm.entropy(scale=3.0)) < 4 * report["test_nll_standard_error"]
    assert report["width_90"]["y"] == pytest.approx(2 * stats.norm.ppf(0.95) * 3.0, rel=1e-3)
    assert report["test_crps"]["y"] == pytest.approx(3.0 / np.pi**0.5, rel=0.02)
    assert report["live_components"] == 1


def test_components_that_answer_for_nothing_are_dead():
    mixture = mdn.Mixture(jnp.array([0.0, 0.0, -30.0]), jnp.zeros((3, 1)), mdn.Isotropic(jnp.zeros(3)))
    rows = jax.jit(jax.vmap(lambda y: score(mixture, y)))(jnp.zeros((5, 1)))
    scores = Scores(**{name: np.asarray(value) for name, value in rows.items()})
    assert scores.report(("y",))["live_components"] == 2


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (X, Y[:, :1], r"evaluate takes targets \(N, 2\); got \(40, 1\)"),
        (X[:, :1], Y, r"evaluate takes inputs \(N, 2\); got \(40, 1\)"),
        (X[0], Y[0], r"evaluate takes"),
        (X[:30], Y, r"evaluate takes as many inputs as targets; got \[30, 40\] rows"),
    ],
)
def test_rows_that_do_not_fit_are_refused(scored, x, y, message):
    with pytest.raises(mdn.InputError, match=message):
        mdn.evaluate(scored[0], x, y)


def test_rows_are_spread_evenly():
    np.testing.assert_array_equal(evenly(5, 10), np.arange(5))
    np.testing.assert_array_equal(evenly(11, 3), [0, 5, 10])

"""Targets on a circle: sums of scipy's normal images, quadrature, rotations, and a run from a table to its answers."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from numpy.testing import assert_allclose
from small_runs import config_of

import mdn_jax as mdn
from mdn_jax import runs
from mdn_jax.data import load, values_of
from mdn_jax.judging import baselines

PERIOD = 360.0
NODES, WEIGHTS = np.polynomial.legendre.leggauss(20)
WIDTHS = {"narrow": 2.0, "usual": 30.0, "wide": 120.0, "uniform": 350.0}


def wrapped(width, count=3, turn=0.0, seed=0):
    rng = np.random.default_rng([seed, count])
    locs, stds, logits = rng.uniform(0, PERIOD, count), width * rng.uniform(0.5, 1.0, count), rng.normal(size=count)
    scale = mdn.Diagonal(jnp.asarray(np.log(stds))[:, None])
    return mdn.Wrapped(mdn.Mixture(jnp.asarray(logits), jnp.asarray(locs + turn)[:, None], scale), jnp.asarray(PERIOD))


def images(distribution, y, function):
    """sum_k w_k sum_n function((y + n P; mu_k, s_k)), by scipy."""
    mixture = distribution.mixture
    locs, stds = np.asarray(mixture.locs)[:, 0], np.asarray(mixture.scale.std(1))[:, 0]
    turns = PERIOD * np.arange(-20, 21)
    each = function(np.asarray(y)[..., None, None] + turns[:, None], locs, stds)
    return each.sum(axis=-2) @ np.asarray(mixture.weights)


def rule(*breaks):
    """Nodes and weights around the circle, smooth between the breaks."""
    edges = np.unique(np.concatenate([np.linspace(0.0, PERIOD, 721), np.mod(breaks, PERIOD)]))
    half = 0.5 * np.diff(edges)[:, None]
    return (edges[:-1, None] + half * (NODES + 1)).ravel(), (half * WEIGHTS).ravel()


def arc(distance):
    return np.abs(np.mod(distance + PERIOD / 2, PERIOD) - PERIOD / 2)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", WIDTHS)
def test_against_the_images_of_scipy(name):
    distribution = wrapped(WIDTHS[name])
    at = np.array([0.0, 3.0, 100.0, 359.9, 200.0])
    expected = images(distribution, at, scipy.stats.norm.pdf)
    found = np.array([mdn.log_prob(distribution, jnp.array([y])) for y in at])
    told = expected > 1e-200
    assert_allclose(found[told], np.log(expected[told]), rtol=1e-9)
    assert_allclose(found, [mdn.log_prob(distribution, jnp.array([y - PERIOD])) for y in at], rtol=1e-9)
    y, weights = rule()
    mass = weights * images(distribution, y, scipy.stats.norm.pdf)
    assert mass.sum() == pytest.approx(1.0, abs=1e-12)
    resultant = np.sum(mass * np.exp(2j * np.pi * y / PERIOD))
    mean = np.angle(resultant) * PERIOD / (2 * np.pi) % PERIOD
    assert_allclose(mdn.mean(distribution)[0], mean, rtol=1e-9)
    assert_allclose(mdn.std(distribution)[0], np.sqrt(-2 * np.log(abs(resultant))) * PERIOD / (2 * np.pi), rtol=1e-8)
    start = mean - PERIOD / 2
    place = start + np.mod(at - start, PERIOD)
    expected = images(distribution, place, scipy.stats.norm.cdf) - images(distribution, start, scipy.stats.norm.cdf)
    assert_allclose([mdn.cdf(distribution, jnp.array([one]))[0] for one in at], expected, rtol=1e-9, atol=1e-13)
    for q in (0.01, 0.5, 0.95):
        found = mdn.quantile(distribution, q)
        assert 0 <= found[0] < PERIOD and mdn.cdf(distribution, found)[0] == pytest.approx(q, abs=1e-12)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", WIDTHS)
def test_crps_by_arc_length_against_quadrature(name):
    distribution = wrapped(WIDTHS[name])
    mixture = distribution.mixture
    locs, stds, weights = np.asarray(mixture.locs)[:, 0], np.asarray(mixture.scale.std(1))[:, 0], mixture.weights
    differences = mdn.Mixture(
        jnp.log(jnp.outer(weights, weights)).ravel(),
        jnp.asarray(np.subtract.outer(locs, locs)).ravel()[:, None],
        mdn.Diagonal(jnp.log(jnp.asarray(np.hypot.outer(stds, stds))).ravel()[:, None]),
    )
    apart = mdn.Wrapped(differences, jnp.asarray(PERIOD))
    y, own = rule(0.0, PERIOD / 2)
    half = 0.5 * np.sum(own * images(apart, y, scipy.stats.norm.pdf) * arc(y))
    for at in (5.0, 123.4, float(locs[0])):
        y, own = rule(at, at + PERIOD / 2)
        expected = np.sum(own * images(distribution, y, scipy.stats.norm.pdf) * arc(y - at)) - half
        assert_allclose(mdn.crps(distribution, jnp.array([at])), expected, rtol=1e-6)


@pytest.mark.parametrize("turn", [17.0, 720.5])
@pytest.mark.parametrize("name", WIDTHS)
def test_a_rotation_changes_nothing(name, turn):
    distribution, turned = wrapped(WIDTHS[name]), wrapped(WIDTHS[name], turn=turn)
    y = jnp.array([40.0])
    for ask in (mdn.nll, mdn.crps, mdn.squared_error, mdn.cdf):
        assert_allclose(ask(turned, y + turn), ask(distribution, y), rtol=2e-3, atol=2e-4)
    assert_allclose(mdn.std(turned), mdn.std(distribution), rtol=1e-4)
    for ask in (mdn.mean, lambda one: mdn.quantile(one, 0.3)):
        assert arc(float(ask(turned)[0] - ask(distribution)[0]) - turn) < 0.05


def test_in_float32_it_is_finite_and_slopes_live():
    sums = (mdn.log_prob, mdn.crps, mdn.squared_error, lambda d, _: mdn.std(d)[0])
    asked = [jax.jit(jax.value_and_grad(ask)) for ask in sums]
    for std in (3.6e-4, 1.0, 90.0, 1e30):
        for y in (0.0, 100.0, 179.0):
            locs = jnp.array([[0.5], [270.0]])
            mixture = mdn.Mixture(jnp.zeros(2), locs, mdn.Diagonal(jnp.full((2, 1), math.log(std))))
            one = mdn.Wrapped(mixture, jnp.asarray(PERIOD))
            at = jnp.array([y])
            for ask in asked:
                value, slopes = ask(one, at)
                assert np.isfinite(value) and all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slopes))
            slope = asked[0](one, at)[1].mixture.locs
            assert np.asarray(slope).any() or std > PERIOD


def test_every_raw_output_is_valid():
    spec = mdn.CircularSpec(3, period=24.0)
    for size in (0.0, 1e-9, 1.0, 30.0, 1e4):
        raw = size * jax.random.normal(jax.random.key(0), (20, spec.num_outputs))
        loss, slope = jax.vmap(jax.value_and_grad(lambda r: mdn.nll(mdn.unpack(spec, r), jnp.array([23.0]))))(raw)
        assert np.isfinite(loss).all() and np.isfinite(slope).all()
    still = mdn.unpack(spec, jnp.zeros(spec.num_outputs))
    assert_allclose(jnp.exp(mdn.log_prob(still, jnp.array([5.0]))), 1 / 24.0, rtol=1e-3)  # no direction
    y = np.random.default_rng(0).vonmises(0, 1, 500) % (2 * np.pi)
    start = mdn.unpack(mdn.CircularSpec(5), mdn.initial_bias(mdn.CircularSpec(5), y))
    assert len(np.unique(start.mixture.locs.round(3))) == 5


@pytest.mark.parametrize("name", WIDTHS)
def test_draws_have_a_uniform_pit(name):
    distribution = wrapped(WIDTHS[name])
    draws = mdn.sample(jax.random.key(1), distribution, (50_000,))
    assert (draws >= 0).all() and (draws < PERIOD).all()
    pit = np.asarray(jax.vmap(lambda y: mdn.cdf(distribution, y))(draws))[:, 0]
    assert scipy.stats.kstest(pit, "uniform").statistic < 0.0087  # 0.1 % of samples are beyond


def test_an_interval_may_hold_north():
    distribution = wrapped(10.0, count=1, turn=-float(wrapped(10.0, count=1).mixture.locs[0, 0]))
    low, high = np.asarray(mdn.interval(distribution, 0.9))[:, 0]
    assert low > 300 and high < 60
    from mdn_jax.judging.metrics import score  # noqa: PLC0415

    scores = score(distribution, jnp.array([359.0]))
    assert scores["error"][0] == pytest.approx(1.0, abs=1e-3)
    assert scores["width_90"][0] == pytest.approx(high + PERIOD - low, rel=1e-5)


def test_blocks_and_ensembles_answer_for_each_target():
    one, other = wrapped(20.0), wrapped(20.0, seed=1)
    line = mdn.Mixture(jnp.zeros(1), jnp.ones((1, 1)), mdn.Isotropic(jnp.zeros(1)))
    both = mdn.merge([mdn.Product((line, angle)) for angle in (one, other)])
    alone = mdn.merge([one, other])
    assert type(both).__name__ == "Merged" and type(alone) is mdn.Wrapped
    y = jnp.array([0.5, 350.0])
    for ask in (mdn.mean, mdn.std, lambda d: mdn.quantile(d, 0.2), lambda d: mdn.interval(d, 0.9)[0]):
        assert_allclose(ask(both)[1], ask(alone)[0], rtol=1e-5)
    assert_allclose(mdn.cdf(both, y)[1], mdn.cdf(alone, y[1:])[0], rtol=1e-5)
    assert_allclose(mdn.crps(both, y), (mdn.crps(line, y[:1]) + mdn.crps(alone, y[1:])) / 2, rtol=1e-5)
    with pytest.raises(mdn.InputError, match="an angle has shift 0 and scale 1 only"):
        mdn.affine(one, shift=jnp.ones(1), scale=jnp.ones(1))
    for ask in (mdn.modes, mdn.covariance, lambda d: mdn.highest_density(d, 0.9), lambda d: mdn.tail_mean(d, 0.9)):
        with pytest.raises(mdn.InputError, match="Wrapped has no"):
            ask(one)


RNG = np.random.default_rng(0)
SEEN = {
    "wind": (np.degrees(RNG.vonmises(1, 1, 2_000)) % 360, {"period": 360.0}),
    "hour": (24 * RNG.uniform(size=2_000), {"period": 24.0}),
    "radians": (RNG.vonmises(0, 2, 2_000) % (2 * np.pi), {"period": 2 * np.pi}),
    "around noon": (24 * RNG.beta(2, 2, 2_000), None),
    "hours of use": (np.minimum(RNG.exponential(8, 2_000), 24 * RNG.uniform(0.9, 1, 2_000)), None),
    "rising": (24 * np.sqrt(RNG.uniform(0.0, 1, 2_000)), None),
    "from below 0": (RNG.uniform(-2, 24, 2_000), None),
}


@pytest.mark.parametrize("name", SEEN)
def test_a_period_is_seen_where_the_ends_meet(name):
    y, support = SEEN[name]
    assert values_of(y).support == support


def winds(path, rows=300):
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, rows)
    wind = np.degrees(np.pi * x + 0.3 * rng.normal(size=rows)) % 360
    lines = [f"{a!r},{b!r},{c!r}" for a, b, c in zip(x.tolist(), (wind - 360 * (x > 0.5)).tolist(), (x + 1).tolist())]
    path.write_text("x,wind,gain\n" + "\n".join(lines) + "\n", encoding="utf-8")


TEXT = """
[dataset]
path = "{path}"
inputs = ["x"]
targets = ["gain", "wind"]
support = {{ wind = {{ period = 360 }} }}

[model]
num_components = 3
hidden_sizes = [16]

[training]
num_steps = 400
evaluate_every = 200
batch_size = 32
learning_rate = 1e-2
ensemble_size = 2
"""


def test_a_run_goes_round(tmp_path):
    winds(tmp_path / "winds.csv")
    config = config_of(TEXT.format(path=tmp_path / "winds.csv"))
    metrics, data = runs.run(config, tmp_path / "run"), load(config.dataset)
    assert (data.train.y[:, 1] >= 0).all() and (data.train.y[:, 1] < 360).all()  # -10 is 350
    assert metrics["test_rmse"]["wind"] < 60 and metrics["measure"] == "density"
    assert 0.6 < metrics["coverage_90"]["wind"] <= 1.0
    assert not [said for said in metrics["warnings"] if "wind" in said and "where no training value" in said]
    model = mdn.load(tmp_path / "run" / "model")
    answers = mdn.predict(model, tmp_path / "winds.csv", interval="central")
    for name in ("wind_mean", "wind_q05", "wind_q95", "wind_low", "wind_high"):
        assert ((answers[name] >= 0) & (answers[name] < 360)).all()
    assert (answers["wind_low"] > answers["wind_high"]).any() and answers["wind_disagreement"].max() < 180
    assert runs.draw_figures(tmp_path / "run")


@pytest.mark.usefixtures("x64")
def test_baselines_are_directions():
    rng = np.random.default_rng(0)
    x = rng.normal(size=400)
    y = (np.arctan2(0.3 + x, 2.0) + 0.2 * rng.normal(size=400)) % (2 * np.pi)
    part = mdn.Part(x, y)
    told = (mdn.Support(-math.inf, period=2 * math.pi),)
    plain, line = baselines.without_inputs(part, part, told), baselines.linear(part, part, told)
    direction = np.angle(np.exp(1j * y).mean())
    assert_allclose(plain.error[:, 0], np.angle(np.exp(1j * (direction - y))), atol=1e-6)
    assert line is not None and np.sqrt(np.mean(line.error**2)) < 0.25 < np.sqrt(np.mean(plain.error**2))
    assert line.nll.mean() < plain.nll.mean() < math.log(2 * math.pi)


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("{{ period = 360 }}", "{{ period = 0 }}", "or { period = ... }"),
        ("{{ period = 360 }}", '"angle"', "support of 'wind' is 'angle': give"),
        ("{{ period = 360 }}", "{{ period = 360, step = 10 }}", "or { period = ... }"),
        ("[model]", "atoms = {{ wind = [0] }}\n[model]", "a target with a period has no bounds, step or atoms"),
    ],
)
def test_mistakes_are_one_line(tmp_path, old, new, line):
    winds(tmp_path / "winds.csv")
    with pytest.raises(mdn.InputError) as error:
        load(config_of(TEXT.replace(old, new).format(path=tmp_path / "winds.csv")).dataset)
    assert line in str(error.value) and "\n" not in str(error.value).replace("\n  ", " ")


def test_a_full_covariance_of_an_angle_is_refused(tmp_path):
    winds(tmp_path / "winds.csv")
    text = TEXT.replace('["gain", "wind"]', '["wind"]').replace("[model]", '[model]\ncovariance = "full"')
    config = config_of(text.format(path=tmp_path / "winds.csv"))
    with pytest.raises(mdn.InputError, match="covariance = 'full' has no use under targets with a support"):
        runs.run(config, tmp_path / "run")


def test_a_circle_and_a_line_are_no_one_target():
    line = mdn.Mixture(jnp.zeros(1), jnp.zeros((1, 1)), mdn.Isotropic(jnp.zeros(1)))
    with pytest.raises(mdn.InputError, match="merge takes targets that lie on circles in all of its distributions, or"):
        mdn.merge([mdn.Wrapped(line, jnp.array(360.0)), line])

"""Targets with bounds: densities, moments and scores against scipy and quadrature, and a run that keeps to them."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
import scoringrules
from numpy.testing import assert_allclose
from scipy.integrate import quad
from small_runs import config_of

import mdn_jax as mdn
from mdn_jax import runs
from mdn_jax.data import load

LOW, HIGH = -1.0, 3.0


def mixture_of(count, seed=0):
    rng = np.random.default_rng([seed, count])
    log_std = jnp.asarray(np.log(rng.uniform(0.05, 1.5, size=(count, 1))))
    return mdn.Mixture(
        jnp.asarray(rng.normal(size=count)), jnp.asarray(rng.normal(size=(count, 1))), mdn.Diagonal(log_std)
    )


def positive(count, low=0.0):
    return mdn.Positive(mixture_of(count), jnp.asarray(low))


def bounded(count):
    return mdn.Bounded(mixture_of(count), jnp.asarray(LOW), jnp.asarray(HIGH))


def laws_of(distribution):
    """The components as scipy's log-normal laws, with their weights."""
    mixture = distribution.mixture
    stds, centres = np.asarray(mixture.scale.std(1))[:, 0], np.asarray(mixture.locs)[:, 0]
    laws = [scipy.stats.lognorm(s=s, scale=math.exp(m), loc=float(distribution.low)) for s, m in zip(stds, centres)]
    return np.asarray(mixture.weights), laws


def density(distribution):
    return lambda y: float(jnp.exp(mdn.log_prob(distribution, jnp.array([y]))))


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize("low", [0.0, -2.0])
def test_positive_is_a_mixture_of_log_normals(count, low):
    distribution = positive(count, low)
    weights, laws = laws_of(distribution)
    for y in low + np.array([1e-3, 0.7, 40.0]):
        at = jnp.array([y])
        assert_allclose(mdn.log_prob(distribution, at), np.log(weights @ [law.pdf(y) for law in laws]), rtol=1e-9)
        assert_allclose(mdn.cdf(distribution, at)[0], weights @ [law.cdf(y) for law in laws], rtol=1e-9)
        assert_allclose(
            jnp.exp(mdn.log_survival(distribution, at))[0], weights @ [law.sf(y) for law in laws], rtol=1e-9
        )
    means = np.array([law.mean() for law in laws])
    second = weights @ [law.var() + (law.mean() - weights @ means) ** 2 for law in laws]
    assert_allclose(mdn.mean(distribution)[0], weights @ means, rtol=1e-9)
    assert_allclose(mdn.std(distribution)[0], math.sqrt(second), rtol=1e-9)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("y", [1e-9, 0.01, 1.7, 50.0, 1e6])
def test_crps_of_a_log_normal(y):
    distribution = positive(1)
    mean, std = float(distribution.mixture.locs[0, 0]), float(distribution.mixture.scale.std(1)[0, 0])
    assert_allclose(mdn.crps(distribution, jnp.array([y])), scoringrules.crps_lognormal(y, mean, std), rtol=1e-6)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("count", [1, 4])
def test_bounded_by_quadrature(count):
    distribution, ends = bounded(count), {"limit": 500, "points": [LOW + 1e-3, 0.0, HIGH - 1e-3]}
    pdf, below = density(distribution), lambda t: float(mdn.cdf(distribution, jnp.array([t]))[0])
    assert_allclose(quad(pdf, LOW, HIGH, **ends)[0], 1.0, rtol=1e-8)
    mean = quad(lambda y: y * pdf(y), LOW, HIGH, **ends)[0]
    assert_allclose(mdn.mean(distribution)[0], mean, atol=1e-8)
    variance = quad(lambda y: (y - mean) ** 2 * pdf(y), LOW, HIGH, **ends)[0]
    assert_allclose(mdn.std(distribution)[0], math.sqrt(variance), rtol=1e-7)
    for y in (-0.9, 1.0, 2.5):
        assert_allclose(mdn.cdf(distribution, jnp.array([y]))[0], quad(pdf, LOW, y, limit=500)[0], rtol=1e-6)
        expected = quad(lambda t: below(t) ** 2, LOW, y)[0] + quad(lambda t: (1 - below(t)) ** 2, y, HIGH)[0]
        assert_allclose(mdn.crps(distribution, jnp.array([y])), expected, rtol=1e-6)


CASES = [positive(3), positive(3, -2.0), bounded(3)]


@pytest.mark.parametrize("distribution", CASES, ids=["positive", "shifted", "bounded"])
def test_nothing_lies_outside(distribution):
    low = float(distribution.low)
    ends = [(low, 0.0), (low - 1.0, 0.0)] + ([(HIGH, 1.0), (HIGH + 1.0, 1.0)] if hasattr(distribution, "high") else [])
    for y, below in ends:
        at = jnp.array([y])
        assert mdn.log_prob(distribution, at) == -np.inf and mdn.cdf(distribution, at)[0] == below
        edge = jnp.array([low if below == 0.0 else HIGH])
        apart = mdn.crps(distribution, at) - mdn.crps(distribution, edge)
        assert_allclose(apart, abs(float(y) - float(edge[0])), atol=1e-6)
        assert np.isfinite(jax.grad(lambda d, at=at: mdn.cdf(d, at)[0])(distribution).mixture.locs).all()
    draws = np.asarray(mdn.sample(jax.random.key(0), distribution, (4_000,)))[:, 0]
    quantiles = [float(mdn.quantile(distribution, q)[0]) for q in (1e-6, 0.05, 0.5, 0.95, 1 - 1e-6)]
    assert (draws > low).all() and quantiles[0] >= low and np.all(np.diff(quantiles) > 0)
    cdf = jax.jit(jax.vmap(mdn.cdf, (None, 0)))
    assert scipy.stats.kstest(np.asarray(cdf(distribution, draws[:, None]))[:, 0], "uniform").pvalue > 1e-3
    assert_allclose(cdf(distribution, jnp.array(quantiles)[1:4, None])[:, 0], [0.05, 0.5, 0.95], rtol=1e-4)


@pytest.mark.parametrize("distribution", CASES, ids=["positive", "shifted", "bounded"])
def test_merging_a_batch_and_export(distribution):
    y = jnp.array([0.4])
    merged = mdn.merge([distribution, mdn.temper(distribution, 0.5)], jnp.array([0.3, 0.7]))
    assert type(merged) is type(distribution)
    parts = [jnp.exp(mdn.log_prob(one, y)) for one in (distribution, mdn.temper(distribution, 0.5))]
    assert_allclose(jnp.exp(mdn.log_prob(merged, y)), 0.3 * parts[0] + 0.7 * parts[1], rtol=1e-5)
    batch = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), distribution)
    assert batch.batch_shape == (2,)
    assert_allclose(jax.vmap(mdn.crps, (0, None))(batch, y), jnp.full(2, mdn.crps(distribution, y)), rtol=1e-6)
    with pytest.raises(mdn.InputError, match=r"use jax\.vmap"):
        mdn.mean(batch)
    with pytest.raises(mdn.InputError, match="affine: a target with bounds has shift 0 and scale 1 only"):
        mdn.affine(distribution, shift=jnp.ones(1), scale=jnp.ones(1))
    for function in (mdn.modes, lambda one: mdn.highest_density(one, 0.9)):
        with pytest.raises(mdn.InputError, match=r"Positive|Bounded"):
            function(distribution)


@pytest.mark.parametrize("high", [math.inf, 3.0])
def test_every_raw_output_is_valid(high):
    spec = mdn.SupportSpec(3, low=LOW, high=high, shift=0.5, scale=2.0)
    for size in (0.0, 1.0, 30.0, 1e4):
        raw = size * jax.random.normal(jax.random.key(0), (20, spec.num_outputs))
        for y in (LOW + 1e-3, 1.0, 2.9):
            loss, slope = jax.vmap(jax.value_and_grad(lambda r, y=y: mdn.nll(mdn.unpack(spec, r), jnp.array([y]))))(raw)
            assert np.isfinite(loss).all() and np.isfinite(slope).all()
    widest = mdn.unpack(spec, jnp.full(spec.num_outputs, 50.0)).mixture.scale.std(1)
    assert (widest <= 2.0 + 1e-5).all()  # that of the mapped targets: no mean explodes


def test_an_unusable_support_is_refused():
    for low, high in ((1.0, 1.0), (2.0, 1.0), (-math.inf, 0.0)):
        with pytest.raises(mdn.InputError, match="a support has a finite low below its high"):
            mdn.Support(low, high)


def table(path, rows=200, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=rows)
    price = np.exp(1.0 + x + 0.3 * rng.normal(size=rows))
    share = scipy.special.expit(0.5 * x + 0.4 * rng.normal(size=rows))
    lines = [f"{a!r},{b!r},{c!r},{a - b!r}" for a, b, c in zip(x.tolist(), price.tolist(), share.tolist())]
    path.write_text("x,price,share,gain\n" + "\n".join(lines) + "\n", encoding="utf-8")


def test_least_squares_has_no_bounds():
    x = np.linspace(0.1, 1.0, 40)
    data = mdn.Dataset(mdn.Part(x, x), mdn.Part(x, x), supports=(mdn.Support(),))
    training = mdn.TrainingConfig(objective="squared_error", num_steps=2, evaluate_every=1)
    with pytest.raises(mdn.InputError, match="without a density: drop"):
        mdn.fit(jax.random.key(0), **data.for_training, model=mdn.ModelConfig(num_components=1), training=training)


TEXT = """
[dataset]
path = "{path}"
inputs = ["x"]
targets = ["price", "gain", "share"]
support = {{ price = "positive", share = [0, 1] }}

[model]
num_components = 3
hidden_sizes = [8]

[training]
num_steps = 300
evaluate_every = 100
batch_size = 32
learning_rate = 1e-2
ensemble_size = 2
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run with a positive target, a plain one, and a share; an ensemble of two."""
    base = tmp_path_factory.mktemp("supported")
    table(base / "prices.csv")
    config = config_of(TEXT.format(path=base / "prices.csv"))
    return base, config, runs.run(config, base / "run")


def test_a_run_keeps_to_the_bounds(finished):
    base, config, metrics = finished
    model, data = mdn.load(base / "run" / "model"), load(config.dataset)
    scores = mdn.evaluate(model, data.test.x, data.test.y)
    assert metrics["test_nll"] == pytest.approx(scores.nll.mean(), abs=1e-5)
    assert all(0.6 < held <= 1.0 for held in metrics["coverage_90"].values())
    assert np.isfinite([*metrics["test_crps"].values(), *metrics["test_rmse"].values()]).all()
    answers = mdn.predict(model, base / "prices.csv")
    for name in ("price", "share"):
        columns = [
            answers[column].to_numpy() for column in answers.columns if column.startswith(name) and "std" not in column
        ]
        assert columns and all((np.nan_to_num(column, nan=0.5) > 0).all() for column in columns), answers.columns
    at = jax.vmap(model)(jnp.asarray(data.test.x[:5], jnp.float32))
    draws = jax.vmap(lambda one: mdn.sample(jax.random.key(0), one, (500,)))(at)
    assert (draws[..., 0] > 0).all() and ((draws[..., 2] > 0) & (draws[..., 2] < 1)).all()
    assert (np.asarray(draws[..., 1]) < 0).any()
    assert runs.draw_figures(base / "run")


def test_a_log_normal_law_is_learned():
    """Within 0.1 nats of the exact density, where a mixture of Gaussians leaves mass below 0."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=1_500)
    y = np.exp(x + 0.5 * rng.normal(size=1_500))
    data = mdn.Dataset(mdn.Part(x[:500], y[:500]), mdn.Part(x[500:], y[500:]), supports=(mdn.Support(),))
    training = mdn.TrainingConfig(num_steps=300, evaluate_every=100, learning_rate=5e-3)
    model = mdn.ModelConfig(num_components=3, hidden_sizes=(8,))
    fitted = mdn.fit(jax.random.key(0), **data.for_training, model=model, training=training).model
    exact = scipy.stats.lognorm(s=0.5, scale=np.exp(x[500:])).logpdf(y[500:])
    assert np.mean(mdn.evaluate(fitted, data.test.x, data.test.y).nll + exact) < 0.1


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ('price = "positive"', 'price = "big"', "support of 'price' is 'big': give \"positive\", [low, high]"),
        ('price = "positive"', "price = [2, 1]", "support of 'price' is (2, 1): give \"positive\", [low, high]"),
        ('price = "positive"', 'x = "positive"', "support names 'x', which is no target that is a number: drop it"),
        ("share = [0, 1]", "share = [0, 0.5]", "'share' is between 0 and 0.5 by its support, bounds excluded, and row"),
    ],
)
def test_mistakes_are_one_line(finished, old, new, line):
    base, _, _ = finished
    with pytest.raises(mdn.InputError) as error:
        load(config_of(TEXT.replace(old, new).format(path=base / "prices.csv")).dataset)
    assert line in str(error.value) and "\n" not in str(error.value).replace("\n  ", " ")

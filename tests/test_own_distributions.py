"""A distribution from outside the package passes wherever it can do what is asked, and is refused by name elsewhere."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import Case
from numpy.testing import assert_allclose
from scipy.stats import laplace

import mdn_jax as mdn

pytestmark = pytest.mark.usefixtures("x64")
LOC, SCALE, Y = 1.5, 0.4, np.array([1.1])
TRUTH = laplace(LOC, SCALE)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Laplace:
    """One target with heavier tails than a normal one."""

    loc: jax.Array
    scale: jax.Array
    target_dim = 1

    @property
    def batch_shape(self):
        return self.loc.shape

    def log_prob(self, y):
        return -jnp.abs(y[0] - self.loc) / self.scale - jnp.log(2 * self.scale)

    def sample(self, key, shape=(), temperature=1.0):
        return self.loc + temperature * self.scale * jax.random.laplace(key, (*shape, 1))

    def marginal(self, dims):
        return self

    def affine(self, shift, scale):
        return Laplace(shift[0] + scale[0] * self.loc, jnp.abs(scale[0]) * self.scale)

    def mean(self):
        return self.loc[None]

    def std(self):
        return jnp.sqrt(2.0) * self.scale[None]

    def cdf(self, y):
        z = (y - self.loc) / self.scale
        return jnp.where(z < 0, 0.5 * jnp.exp(jnp.minimum(z, 0)), 1 - 0.5 * jnp.exp(-jnp.maximum(z, 0)))


@dataclass(frozen=True)
class LaplaceSpec:
    """Its head."""

    target_dim: int = 1
    num_outputs: int = 2

    def unpack(self, raw):
        return Laplace(raw[0], jnp.exp(raw[1]))

    def initial_bias(self, y):
        return jnp.array([np.median(y), 0.0])

    def units(self, y, weight=None):
        return mdn.Standardizer.fit(y)


def own():
    return Laplace(jnp.array(LOC), jnp.array(SCALE))


@pytest.mark.parametrize(
    ("ask", "expected"),
    [
        (lambda d: mdn.log_prob(d, Y), TRUTH.logpdf(Y[0])),
        (lambda d: mdn.nll(d, Y), -TRUTH.logpdf(Y[0])),
        (mdn.mean, [LOC]),
        (mdn.std, [TRUTH.std()]),
        (lambda d: mdn.cdf(d, Y), TRUTH.cdf(Y)),
        (lambda d: mdn.squared_error(d, Y), (LOC - Y[0]) ** 2),
        *[(lambda d, q=q: mdn.quantile(d, q), [TRUTH.ppf(q)]) for q in (0.0, 1e-9, 0.3, 0.9, 1.0)],
        (lambda d: mdn.interval(d, 0.9), np.reshape(TRUTH.interval(0.9), (2, 1))),
        (lambda d: mdn.log_prob(mdn.affine(d, shift=jnp.ones(1), scale=-2 * jnp.ones(1)), 1 - 2 * Y),
         TRUTH.logpdf(Y[0]) - np.log(2)),
        (lambda d: mdn.sample(jax.random.key(0), d, temperature=0.0), [LOC]),
        (lambda d: mdn.log_prob(mdn.marginal(d, 0), Y), TRUTH.logpdf(Y[0])),
    ],
)  # fmt: skip
def test_it_answers_what_it_can(ask, expected):
    assert_allclose(jax.jit(ask)(own()), expected, rtol=1e-9)


@pytest.mark.parametrize("unit", [1e-30, 1e30])
def test_a_quantile_from_the_distribution_function_alone_is_right_and_differentiable(unit):
    at = lambda q, scale: mdn.quantile(Laplace(jnp.array(0.0), scale), q)[0]  # noqa: E731
    assert_allclose(at(0.2, jnp.array(unit)), laplace(0, unit).ppf(0.2), rtol=1e-9)
    slopes = jax.grad(at, argnums=(0, 1))(jnp.array(0.2), jnp.array(unit))
    assert_allclose(slopes, [1 / laplace(0, unit).pdf(laplace(0, unit).ppf(0.2)), np.log(0.4)], rtol=1e-9)


def test_merged_with_a_mixture_its_moments_and_quantiles_are_those_of_the_mean():
    normal = Case("diagonal", 3, 1).mixture()
    merged = mdn.merge([own(), normal], jnp.array([1.0, 3.0]))
    assert isinstance(merged, mdn.Merged)
    y = jnp.asarray(Y)
    for function in (mdn.cdf, lambda d, y: jnp.exp(mdn.log_prob(d, y)), lambda d, y: mdn.mean(d)):
        assert_allclose(function(merged, y), 0.25 * function(own(), y) + 0.75 * function(normal, y), rtol=1e-9)
    second = [mdn.std(one) ** 2 + mdn.mean(one) ** 2 for one in (own(), normal)]
    assert_allclose(mdn.std(merged) ** 2, 0.25 * second[0] + 0.75 * second[1] - mdn.mean(merged) ** 2, rtol=1e-9)
    assert_allclose(mdn.cdf(merged, mdn.quantile(merged, 0.8)), [0.8], rtol=1e-9)
    assert mdn.sample(jax.random.key(0), merged, (5,)).shape == (5, 1)
    assert_allclose(mdn.log_prob(mdn.affine(merged, shift=y, scale=2 + 0 * y), 3 * y),
                    mdn.log_prob(merged, y) - np.log(2), rtol=1e-9)  # fmt: skip


def test_beside_others_it_answers_target_by_target():
    beside = mdn.Product((Case("full", 3, 2).mixture(), own(), mdn.Categorical(jnp.zeros(2))))
    numbers = mdn.marginal(beside, (2, 0))
    assert_allclose(mdn.quantile(numbers, 0.3)[0], TRUTH.ppf(0.3), rtol=1e-9)
    assert_allclose(mdn.std(numbers)[0], TRUTH.std(), rtol=1e-9)
    known = mdn.condition(beside, (0, 3), jnp.zeros(2))
    other = mdn.log_prob(mdn.condition(beside.parts[0], 0, 0.0), jnp.zeros(1))
    assert_allclose(mdn.log_prob(known, jnp.array([0.0, 1.1])), TRUTH.logpdf(1.1) + other, rtol=1e-9)


@pytest.mark.parametrize(
    ("ask", "line"),
    [
        (lambda d: mdn.crps(d, Y), "crps: Laplace has no crps"),
        (lambda d: mdn.log_cdf(d, Y), "log_cdf: Laplace has no log_cdf"),
        (lambda d: mdn.tail_mean(d, 0.9), "tail_mean: Laplace has no tail_mean"),
        (lambda d: mdn.highest_density(d, 0.9), "highest_density: Laplace has no highest_density"),
        (lambda d: mdn.responsibilities(d, Y), "responsibilities: Laplace has no responsibilities"),
        (lambda d: mdn.rsample(jax.random.key(0), d), "rsample: Laplace has no rsample"),
        (lambda d: mdn.energy_score(jax.random.key(0), d, Y, 2), "energy_score: Laplace has no rsample"),
        (lambda d: mdn.nll(d, Y, observed=np.array([True])), "log_prob: Laplace has no log_prob_observed"),
        (mdn.mode, "mode: Laplace has no modes"),
        (mdn.covariance, "covariance: Laplace has no covariance"),
        (lambda d: mdn.temper(d, 0.5), "temper: Laplace has no tempered"),
        (lambda d: mdn.log_prob(jax.tree.map(lambda leaf: leaf[None], d), Y),
         "log_prob takes one laplace: batch shape (), not (1,); got loc (1,), scale (1,): use jax.vmap(mdn.log_prob) "
         "for a batch"),
    ],
)  # fmt: skip
def test_what_it_cannot_it_is_refused_by_name(ask, line):
    with pytest.raises(mdn.InputError) as caught:
        ask(own())
    assert str(caught.value) == line


def test_its_head_stands_in_a_product():
    spec = mdn.ProductSpec((LaplaceSpec(), mdn.CategoricalSpec(2)))
    y = np.stack([np.linspace(0, 2, 9), np.arange(9) % 2], axis=1)
    raw = mdn.initial_bias(spec, y)
    found = mdn.unpack(spec, raw)
    assert_allclose(mdn.log_prob(found, y[0]), laplace(1, 1).logpdf(0) + np.log(6 / 11), rtol=1e-9)
    assert_allclose(spec.units(y).scale, [y[:, 0].std(), 1.0])
    assert spec.kernel(jax.random.key(0), 7).shape == (7, 4)

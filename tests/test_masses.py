"""Targets of which single values have a probability: counts, roundings and atoms, against sums over the grid."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from numpy.testing import assert_allclose

import mdn_jax as mdn
from mdn_jax.data import values_of
from mdn_jax.judging.metrics import placed
from mdn_jax.prediction import questions
from mdn_jax.statistics.quantiles import mass_at


def mixture_of(locs, stds, weights):
    log_std = jnp.log(jnp.asarray(stds, float))[:, None]
    return mdn.Mixture(jnp.log(jnp.asarray(weights, float)), jnp.asarray(locs, float)[:, None], mdn.Diagonal(log_std))


WIDE = mixture_of([0.3, 2.0, 3.5], [0.8, 0.3, 0.05], [0.5, 0.3, 0.2])
NARROW = mixture_of([0.1, 2.0], [0.02, 0.6], [0.4, 0.6])
LARGE = mixture_of([6.0, 9.0], [0.7, 0.1], [0.5, 0.5])
COUNTS = {"wide": WIDE, "narrow": NARROW, "large": LARGE}


def count_of(mixture):
    return mdn.Stepped(mdn.Positive(mixture, jnp.asarray(-0.5)), jnp.asarray(1.0))


def rounded_of(mixture, step=0.5):
    return mdn.Stepped(mixture, jnp.asarray(step))


def table_of(distribution, values):
    """(values, their probabilities), from the distribution function of the components by scipy."""
    base, step = distribution.base, float(distribution.step)
    mixture, behind = (
        (base.mixture, lambda y: np.log(np.maximum(y + 0.5, 0.0))) if hasattr(base, "mixture") else (base, lambda y: y)
    )
    locs, stds = np.asarray(mixture.locs)[:, 0], np.asarray(mixture.scale.std(1))[:, 0]
    with np.errstate(divide="ignore"):
        ends = [scipy.stats.norm.cdf((behind(values + s * step)[:, None] - locs) / stds) for s in (-0.5, 0.5)]
    return values, (ends[1] - ends[0]) @ np.asarray(mixture.weights)


STEPPED = {name: (count_of(one), np.arange(0.0, 60_000.0)) for name, one in COUNTS.items()}
STEPPED |= {f"rounded {name}": (rounded_of(one), np.arange(-100, 100) * 0.5) for name, one in COUNTS.items()}


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", STEPPED)
def test_stepped_is_a_sum_over_its_grid(name):
    distribution, values = STEPPED[name]
    distribution = jax.tree.map(lambda leaf: jnp.asarray(leaf, float), distribution)
    values, masses = table_of(distribution, values)
    assert masses.sum() == pytest.approx(1.0, abs=1e-9)
    seen = values[np.searchsorted(np.cumsum(masses), [0.001, 0.2, 0.5, 0.97])]
    for y in seen:
        at = jnp.array([y])
        p = masses[values == y][0]
        assert_allclose(mdn.log_prob(distribution, at), np.log(p), rtol=1e-6)
        assert_allclose(mass_at(distribution, at)[0], p, rtol=1e-6)
        assert_allclose(mdn.cdf(distribution, at)[0], masses[values <= y].sum(), rtol=1e-9)
        below = np.cumsum(masses) - (values >= y)
        assert_allclose(mdn.crps(distribution, at), np.sum(below**2) * float(distribution.step), rtol=2e-3)
    mean = masses @ values
    assert_allclose(mdn.mean(distribution)[0], mean, rtol=1e-4, atol=1e-4)
    assert_allclose(mdn.std(distribution)[0], np.sqrt(masses @ (values - mean) ** 2), rtol=1e-3)
    for q in (0.05, 0.4, 0.9):
        assert float(mdn.quantile(distribution, q)[0]) == values[np.searchsorted(np.cumsum(masses), q)]
    assert mdn.log_prob(distribution, jnp.array([seen[1] + 0.2])) == -jnp.inf


@pytest.mark.parametrize("name", STEPPED)
def test_float32_is_finite_with_gradients_alive(name):
    distribution, values = STEPPED[name]
    for y in (0.0, float(values[-1]), 3.0):
        value, slopes = jax.value_and_grad(lambda one, y=y: mdn.log_prob(one, jnp.array([y])))(distribution)
        assert np.isfinite(value)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slopes))
        assert np.abs(
            np.asarray(slopes.base.mixture.locs if hasattr(slopes.base, "mixture") else slopes.base.locs)
        ).max()


def inflated(rest):
    return mdn.Inflated(jnp.log(jnp.array([0.5, 0.3, 0.2])), jnp.array([0.0, 4.0]), rest)


RESTS = {"positive": mdn.Positive(WIDE, jnp.asarray(0.0)), "line": WIDE, "count": count_of(WIDE)}


@pytest.mark.parametrize("name", RESTS)
def test_atoms_are_a_mixture_with_what_is_left(name):
    rest = RESTS[name]
    distribution = inflated(rest)
    draws = np.sort(np.asarray(mdn.sample(jax.random.key(0), distribution, (200_000,)))[:, 0])
    assert np.mean(draws == 0.0) == pytest.approx(0.3 + 0.5 * float(mass_at(rest, jnp.zeros(1))[0]), abs=0.005)
    assert mdn.nll(distribution, jnp.array([4.0])) == pytest.approx(-np.log(0.2), rel=1e-5) or name == "count"
    assert mdn.mean(distribution)[0] == pytest.approx(draws.mean(), abs=0.05)
    assert mdn.std(distribution)[0] == pytest.approx(draws.std(), rel=0.02)
    for y in (0.0, 1.0, 3.9, 4.0, 25.0):
        at = jnp.array([y])
        assert mdn.cdf(distribution, at)[0] == pytest.approx(np.mean(draws <= y), abs=0.006)
        ranks = np.arange(1, len(draws) + 1)
        half = np.sum((2 * ranks - len(draws) - 1) * draws) / len(draws) ** 2
        assert mdn.crps(distribution, at) == pytest.approx(np.abs(draws - y).mean() - half, rel=0.02, abs=0.01)
    for q in (0.02, 0.2, 0.45, 0.7, 0.95):
        found = mdn.quantile(distribution, q)
        assert mdn.cdf(distribution, found)[0] >= q - 1e-5
        assert mdn.cdf(distribution, found - 0.02)[0] <= q + 1e-5


def test_counts_with_an_atom_have_a_total_mass_of_1():
    distribution = inflated(RESTS["count"])
    grid = jnp.arange(300.0)[:, None]
    masses = jnp.exp(jax.vmap(lambda y: mdn.log_prob(distribution, y))(grid))
    assert masses.sum() == pytest.approx(1.0, abs=1e-5)
    assert_allclose(masses, jax.vmap(lambda y: mass_at(distribution, y))(grid)[:, 0], atol=1e-6)
    assert_allclose(jnp.cumsum(masses), jax.vmap(lambda y: mdn.cdf(distribution, y))(grid)[:, 0], atol=1e-5)
    slopes = jax.grad(lambda one: mdn.log_prob(one, jnp.zeros(1)))(distribution)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slopes))


def test_an_atom_alone_teaches_the_rest_nothing():
    slopes = jax.grad(lambda one: mdn.log_prob(one, jnp.zeros(1)))(inflated(RESTS["positive"]))
    assert not np.asarray(slopes.rest.mixture.locs).any()
    assert np.isfinite(np.asarray(slopes.logits)).all() and np.asarray(slopes.logits).any()


@pytest.mark.parametrize("distribution", [inflated(RESTS["positive"]), count_of(WIDE)], ids=["atoms", "count"])
def test_an_ensemble_is_one_of_its_kind(distribution):
    both = mdn.merge([distribution, mdn.temper(distribution, 0.5)], weights=jnp.array([0.25, 0.75]))
    assert type(both) is type(distribution)
    for y in (0.0, 2.0):
        each = [
            float(jnp.exp(mdn.log_prob(one, jnp.array([y])))) for one in (distribution, mdn.temper(distribution, 0.5))
        ]
        assert jnp.exp(mdn.log_prob(both, jnp.array([y]))) == pytest.approx(0.25 * each[0] + 0.75 * each[1], rel=1e-4)


@pytest.mark.parametrize("distribution", [inflated(RESTS["positive"]), count_of(WIDE)], ids=["atoms", "count"])
def test_the_place_within_a_mass_is_uniform(distribution):
    draws = mdn.sample(jax.random.key(1), distribution, (20_000,))
    cdf, mass = (np.asarray(jax.vmap(lambda y, f=f: f(distribution, y))(draws)) for f in (mdn.cdf, mass_at))
    assert scipy.stats.kstest(placed(cdf, mass)[:, 0], "uniform").statistic < 0.0138  # 0.1 % of samples are beyond


RNG = np.random.default_rng(0)
SEEN = {
    "two values": (np.repeat([1.0, 2.5], [920, 80]), None, (1.0,)),
    "heights": (RNG.normal(170, 8, 900).round(), {"step": 1.0}, ()),
    "years": (RNG.integers(1990, 2020, 900).astype(float), {"step": 1.0}, ()),
    "visits": (RNG.poisson(3, 900).astype(float), "count", ()),
    "halves": ((RNG.normal(0, 2, 900) * 2).round() / 2, {"step": 0.5}, ()),
    "rain": (np.where(RNG.uniform(size=900) < 0.6, 0.0, RNG.lognormal(1, 1.5, 900)), "positive", (0.0,)),
    "shares": (np.where(RNG.uniform(size=900) < 0.1, 1.0, RNG.beta(1, 1, 900)), [0, 1], (1.0,)),
    "amounts": (RNG.lognormal(4, 2, 900), "positive", ()),
    "prices": (RNG.lognormal(4, 0.3, 900), None, ()),
    "normal": (RNG.normal(size=900), None, ()),
    "hours": (RNG.uniform(0, 24, 900), {"period": 24.0}, ()),
    "degrees": (RNG.uniform(0, 360, 900), {"period": 360.0}, ()),
    "few rows": (RNG.integers(0, 9, 30).astype(float), None, ()),
}


@pytest.mark.parametrize("name", SEEN)
def test_what_counting_shows_of_a_column(name):
    y, support, atoms = SEEN[name]
    seen = values_of(y)
    assert (seen.support, seen.atoms) == (support, atoms)


@pytest.mark.usefixtures("x64")
def test_above_and_below_leave_out_a_value_that_has_a_probability():
    for one, value in ((inflated(WIDE), 4.0), (count_of(WIDE), 3.0)):
        y = jnp.full(1, value)
        below, above = questions._below(one, y), questions._above(one, y)
        assert mass_at(one, y) > 0.01 and questions._below(count_of(WIDE), jnp.zeros(1)) >= 0.0
        assert_allclose(above + below + mass_at(one, y), 1.0, atol=1e-9)
        assert_allclose(above, 1.0 - mdn.cdf(one, y), atol=1e-9)

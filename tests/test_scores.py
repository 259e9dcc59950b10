"""Scores against scoringrules and closed forms; the energy score is unbiased in value and gradient."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scoringrules
from cases import Case, cdfs, covariances_of, crps_at, pick, scipy_log_prob, weights_of
from jax.flatten_util import ravel_pytree
from numpy.testing import assert_allclose

import mdn_jax as mdn

pytestmark = pytest.mark.usefixtures("x64")
COUNT = 4_000
nll = jax.jit(mdn.nll)
sample = jax.jit(mdn.sample, static_argnums=2)
nlls = jax.jit(jax.vmap(mdn.nll, (None, 0)))


def crps(mixture, y):
    """The CRPS of one y, by the program of the five in `test_crps_is_scoringrules`."""
    return crps_at(mixture, jnp.stack([y] * 5))[0]


def mean_and_error(draws):
    """The mean of independent draws on the leading axis and its standard error."""
    draws = np.asarray(draws)
    return draws.mean(axis=0), draws.std(axis=0, ddof=1) / np.sqrt(len(draws))


@pytest.mark.parametrize("case", pick(2), ids=str)
def test_nll_is_minus_log_prob(case):
    mixture, y = case.mixture(), case.targets(1)[0]
    assert_allclose(nll(mixture, y), -scipy_log_prob(mixture, y), rtol=1e-12)
    seen = nll(mixture, jnp.array([jnp.nan, y[1]]), observed=jnp.array([False, True]))
    assert_allclose(seen, -scipy_log_prob(mixture, y[1:], [1]), rtol=1e-12)


@pytest.mark.parametrize("case", pick(2), ids=str)
def test_squared_error_is_the_distance_from_the_mean(case):
    mixture, y = case.mixture(), case.targets(1)[0]
    mean = weights_of(mixture) @ np.asarray(mixture.locs)
    assert_allclose(mdn.squared_error(mixture, y), np.sum((np.asarray(y) - mean) ** 2), rtol=1e-12)


def test_crps_is_scoringrules(case):
    mixture, ys = case.mixture(), case.targets(5)
    stds = np.sqrt(np.diagonal(covariances_of(mixture), axis1=1, axis2=2))
    expected = [
        np.mean([scoringrules.crps_mixnorm(y[d], np.asarray(mixture.locs)[:, d], stds[:, d], weights_of(mixture))
                 for d in range(case.target_dim)])
        for y in np.asarray(ys)
    ]  # fmt: skip
    assert_allclose(crps_at(mixture, ys), expected, rtol=1e-11)


def test_crps_is_the_integral_of_the_squared_distance_between_distribution_functions():
    mixture, y = Case("diagonal", 3, 1).mixture(), 0.4
    # CRPS = int (F(t) - 1[t >= y])^2 dt, split where the integrand jumps
    below, above = np.linspace(-30, y, 20_001), np.linspace(y, 30, 20_001)
    left, right = (cdfs(mixture, jnp.asarray(part)[:, None])[:, 0] for part in (below, above))
    expected = np.trapezoid(left**2, below) + np.trapezoid((1 - right) ** 2, above)
    assert_allclose(crps(mixture, jnp.array([y])), expected, rtol=1e-6)  # the trapezoid rule's own error


def test_crps_in_the_far_tail_is_the_distance_less_the_spread():
    mixture = Case("isotropic", 1, 1).mixture()
    # far away E|Y - y| = |mu - y|, and E|Y - Y'| / 2 = std / sqrt(pi)
    expected = 1e4 - np.asarray(mixture.locs)[0, 0] - np.exp(mixture.scale.log_std)[0] / np.sqrt(np.pi)
    assert_allclose(crps(mixture, jnp.array([1e4])), expected, rtol=1e-12)


# --- energy score ----------------------------------------------------------------------------------------------------


@partial(jax.jit, static_argnums=2)
def energy_scores(mixture, y, num_samples):
    """COUNT independent estimates."""
    keys = jax.random.split(jax.random.key(0), COUNT)
    return jax.vmap(lambda key: mdn.energy_score(key, mixture, y, num_samples))(keys)


@pytest.mark.parametrize("num_samples", [2, 7])
@pytest.mark.parametrize("case", [Case("diagonal", 3, 1), Case("isotropic", 1, 1)], ids=str)
def test_energy_score_of_one_target_is_crps_on_average(case, num_samples):
    mixture, y = case.mixture(), jnp.array([0.3])
    mean, error = mean_and_error(energy_scores(mixture, y, num_samples))
    stds = np.sqrt(covariances_of(mixture)[:, 0, 0])
    exact = scoringrules.crps_mixnorm(0.3, np.asarray(mixture.locs)[:, 0], stds, weights_of(mixture))
    assert abs(mean - exact) < 4 * error
    assert error < 0.03 * exact  # else the bound above says nothing


@pytest.mark.parametrize("case", pick(2), ids=str)
def test_energy_score_is_scoringrules_of_many_draws(case):
    mixture, y = case.mixture(), np.array([0.3, -0.8])
    rng = np.random.default_rng(0)
    component = rng.choice(3, p=weights_of(mixture), size=(400, 100))
    colours = np.linalg.cholesky(covariances_of(mixture))
    draws = np.asarray(mixture.locs)[component] + np.einsum(
        "abij,abj->abi", colours[component], rng.normal(size=(400, 100, 2))
    )
    fair = np.array([scoringrules.es_ensemble(y, ensemble, estimator="fair") for ensemble in draws])
    theirs, their_error = mean_and_error(fair)
    ours, our_error = mean_and_error(energy_scores(mixture, jnp.asarray(y), 4))
    assert abs(ours - theirs) < 4 * np.hypot(our_error, their_error)


def test_energy_score_sees_the_correlation_that_crps_cannot():
    whitener = np.linalg.inv(np.linalg.cholesky(np.array([[1.0, 0.95], [0.95, 1.0]])))
    correlated = mdn.Mixture(jnp.zeros(1), jnp.zeros((1, 2)), mdn.Triangular(jnp.asarray(whitener)[None]))
    independent = mdn.Mixture(jnp.zeros(1), jnp.zeros((1, 2)), mdn.Isotropic(jnp.zeros(1)))
    y = jnp.array([1.0, -1.0])  # against the correlation
    assert_allclose(crps(correlated, y), crps(independent, y), rtol=1e-12)
    (first, first_error), (second, second_error) = (
        mean_and_error(energy_scores(m, y, 4)) for m in (correlated, independent)
    )
    assert first - second > 5 * np.hypot(first_error, second_error)


def test_energy_score_gradients_are_unbiased_in_every_parameter():
    mixture, y = Case("diagonal", 3, 1).mixture(), jnp.array([0.3])
    keys = jax.random.split(jax.random.key(1), COUNT)
    draws = jax.jit(jax.vmap(jax.grad(lambda m, key: mdn.energy_score(key, m, y, 4)), (None, 0)))(mixture, keys)

    def moved(path_step):  # scoringrules' exact score of a mixture with other parameters
        m = jax.tree.map(lambda leaf, step: np.asarray(leaf) + step, mixture, path_step)
        return scoringrules.crps_mixnorm(0.3, m.locs[:, 0], np.exp(m.scale.log_std[:, 0]), weights_of(m))

    flat, unflatten = ravel_pytree(jax.tree.map(jnp.zeros_like, mixture))
    step = 1e-5
    exact = [(moved(unflatten(flat + d)) - moved(unflatten(flat - d))) / (2 * step) for d in step * np.eye(flat.size)]
    means, errors = zip(*[mean_and_error(leaf.reshape(COUNT, -1)) for leaf in jax.tree.leaves(draws)], strict=True)
    assert np.all(np.abs(np.concatenate(means) - exact) < 4 * np.concatenate(errors))


def test_energy_score_has_a_gradient_where_the_target_is_a_draw():
    mixture = mdn.Mixture(jnp.zeros(1), jnp.zeros((1, 2)), mdn.Isotropic(jnp.full(1, -800.0)))  # std underflows to 0
    slopes = jax.jit(jax.grad(lambda m: mdn.energy_score(jax.random.key(0), m, jnp.zeros(2), 3)))(mixture)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(slopes))


@pytest.mark.parametrize("num_samples", [0, 1])
def test_energy_score_needs_pairs(num_samples):
    with pytest.raises(mdn.InputError, match=f"num_samples of at least 2 .*got {num_samples}"):
        mdn.energy_score(jax.random.key(0), Case("full", 3, 2).mixture(), jnp.zeros(2), num_samples)


@pytest.mark.parametrize("case", pick(2), ids=str)
def test_scores_are_proper(case):
    # the expected score of the true mixture is below that of a moved and of a widened one, on common draws
    truth = case.mixture()
    ys = sample(jax.random.key(0), truth, (2_000,))
    moved = jax.jit(mdn.affine)(truth, shift=jnp.full(2, 0.5), scale=jnp.ones(2))
    wide = mdn.temper(truth, 3.0)
    for scores in (nlls, crps_at):
        for other in (moved, wide):
            excess, error = mean_and_error(scores(other, ys) - scores(truth, ys))
            assert excess > 4 * error

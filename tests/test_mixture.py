"""The density and what can be done to a mixture exactly, against scipy, mpmath, numpyro and autodiff."""

from functools import partial

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import numpyro.distributions as dist
import pytest
from cases import Case, covariances_of, log_prob, log_probs, pick, scipy_log_prob, weights_of
from numpy.testing import assert_allclose
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

import mdn_jax as mdn

pytestmark = pytest.mark.usefixtures("x64")
mean, std = jax.jit(mdn.mean), jax.jit(mdn.std)
condition = jax.jit(mdn.condition, static_argnums=1)
responsibilities = jax.jit(jax.vmap(mdn.responsibilities, (None, 0)))
FAR = (5.0, 40.0, 1e3, 1e6)


def test_log_prob_is_scipys(case):
    mixture, ys = case.mixture(), case.targets(7)
    assert_allclose(log_probs(mixture, ys), [scipy_log_prob(mixture, y) for y in ys], rtol=1e-12)


@pytest.mark.parametrize("case", pick(1, covariances=("diagonal", "full")) + pick(2), ids=str)
def test_log_prob_in_the_extreme_tail_is_mpmaths(case):
    mixture = case.mixture()
    ys = np.outer(FAR, np.arange(1, case.target_dim + 1))
    weights, locs, covariances = weights_of(mixture), np.asarray(mixture.locs), covariances_of(mixture)
    with mpmath.workdps(60):
        expected = []
        for y in ys:
            total = mpmath.mpf(0)
            for weight, loc, covariance in zip(weights, locs, covariances, strict=True):
                delta = mpmath.matrix([mpmath.mpf(float(a)) - mpmath.mpf(float(b)) for a, b in zip(y, loc)])
                sigma = mpmath.matrix(covariance.tolist())
                norm = mpmath.sqrt((2 * mpmath.pi) ** case.target_dim * mpmath.det(sigma))
                total += weight * mpmath.exp(-(delta.T * mpmath.inverse(sigma) * delta)[0] / 2) / norm
            expected.append(float(mpmath.log(total)))
    assert_allclose(log_probs(mixture, jnp.asarray(ys)), expected, rtol=1e-11)


@jax.jit
@partial(jax.value_and_grad, argnums=(0, 1, 2))
def numpyros(logits, locs, y, covariances):
    components = dist.MultivariateNormal(locs, covariance_matrix=covariances)
    return dist.MixtureSameFamily(dist.Categorical(logits=logits), components).log_prob(y)


@jax.jit
@partial(jax.value_and_grad, argnums=(0, 1, 2))
def ours(logits, locs, y, scale):
    return mdn.log_prob(mdn.Mixture(logits, locs, scale), y)


@pytest.mark.parametrize("case", pick(2), ids=str)
def test_log_prob_and_its_gradient_are_numpyros(case):
    mixture, y = case.mixture(), case.targets(1)[0]
    with jax.numpy_rank_promotion("allow"):  # numpyro's own broadcasting
        expected = numpyros(mixture.logits, mixture.locs, y, jnp.asarray(covariances_of(mixture)))
    actual = ours(mixture.logits, mixture.locs, y, mixture.scale)
    jax.tree.map(lambda a, b: assert_allclose(a, b, rtol=1e-10, atol=1e-12), actual, expected)


@pytest.mark.parametrize("case", pick(2), ids=str)
def test_responsibilities_are_bayes_rule(case):
    mixture, ys = case.mixture(), case.targets(5)
    shares = responsibilities(mixture, ys)
    normals = [
        [multivariate_normal.pdf(y, loc, cov) for loc, cov in zip(mixture.locs, covariances_of(mixture), strict=True)]
        for y in np.asarray(ys)
    ]
    joint = weights_of(mixture) * np.array(normals)
    assert_allclose(shares, joint / joint.sum(axis=1, keepdims=True), rtol=1e-10)


# --- what is missing -------------------------------------------------------------------------------------------------
KEPT = (1, 3)


@jax.jit
@partial(jax.vmap, in_axes=(None, 0, 0))
def observe(mixture, y, mask):
    return mdn.log_prob(mixture, y, observed=mask)


@jax.jit
@partial(jax.grad, argnums=(0, 1))
def masked_slopes(mixture, y, mask):
    return mdn.log_prob(mixture, y, observed=mask)


@jax.jit
@jax.grad
def plain_slopes(mixture, y):
    """Of the targets in KEPT, by jax.scipy, from the covariance's own rows and columns."""
    if isinstance(mixture.scale, mdn.Triangular):
        covariances = jax.vmap(lambda w: jnp.linalg.inv(w.T @ w))(mixture.scale.whitener)
    else:
        stds = jnp.exp(jnp.broadcast_to(mixture.scale.log_std.reshape(3, -1), (3, 4)))
        covariances = jax.vmap(jnp.diag)(stds**2)
    blocks = covariances[:, KEPT, :][:, :, KEPT]
    normal = jax.vmap(jax.scipy.stats.multivariate_normal.logpdf, (None, 0, 0))
    terms = normal(y[jnp.array(KEPT)], mixture.locs[:, KEPT], blocks)
    return jax.nn.logsumexp(jax.nn.log_softmax(mixture.logits) + terms)


@pytest.mark.parametrize("case", pick(4), ids=str)
def test_observed_integrates_out_the_rest(case):
    mixture, y = case.mixture(), case.targets(1)[0]
    masks = np.array([[1, 1, 1, 1], [1, 0, 0, 0], [0, 0, 0, 1], [0, 1, 0, 1], [1, 0, 1, 1], [0, 0, 0, 0]], bool)
    ys = jnp.where(masks, y[None, :], jnp.nan)
    expected = [scipy_log_prob(mixture, y[mask], np.flatnonzero(mask)) for mask in masks[:-1]]
    assert_allclose(observe(mixture, ys, masks), [*expected, 0.0], rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("case", pick(4), ids=str)
def test_gradients_pass_what_is_not_observed(case):
    mixture, y = case.mixture(), case.targets(1)[0]
    mask = np.isin(np.arange(4), KEPT)
    with jax.debug_nans(True):
        actual, in_y = masked_slopes(mixture, np.where(mask, y, 0.0), mask)
    with_nan, nan_in_y = masked_slopes(mixture, np.where(mask, y, np.nan), mask)
    expected = plain_slopes(mixture, y)
    jax.tree.map(lambda a, b: assert_allclose(a, b, rtol=1e-9, atol=1e-11), actual, expected)
    jax.tree.map(lambda a, b: assert_allclose(a, b, rtol=0, atol=0), (with_nan, nan_in_y), (actual, in_y))
    assert_allclose(np.asarray(in_y)[~mask], 0.0, atol=0)


# --- new mixtures from old -------------------------------------------------------------------------------------------

INDEX_SETS = [(0,), (3,), (2, 0), (1, 3, 0), (3, 2, 1), (-1, 0)]


@pytest.mark.parametrize("dims", INDEX_SETS, ids=str)
@pytest.mark.parametrize("case", pick(4, covariances=("diagonal", "full")), ids=str)
def test_marginal_condition_and_the_chain_rule(case, dims):
    mixture, y = case.mixture(), case.targets(1)[0]
    given = [d % 4 for d in dims]
    free = [d for d in range(4) if d not in given]

    @jax.jit
    def split(mixture, y):
        seen, rest = mdn.marginal(mixture, dims), mdn.condition(mixture, dims, y[jnp.array(given)])
        return seen, rest, mdn.log_prob(seen, y[jnp.array(given)]), mdn.log_prob(rest, y[jnp.array(free)])

    seen, rest, log_given, log_free = split(mixture, y)
    assert_allclose(log_given, scipy_log_prob(mixture, np.asarray(y)[given], given), rtol=1e-11)
    assert_allclose(log_given + log_free, scipy_log_prob(mixture, y), rtol=1e-11)  # p(y) = p(y_g) p(y_f | y_g)

    sigma, locs, values = covariances_of(mixture), np.asarray(mixture.locs), np.asarray(y)[given]
    assert_allclose(covariances_of(seen), sigma[:, given][:, :, given], rtol=1e-9, atol=1e-12)
    gain = sigma[:, free][:, :, given] @ np.linalg.inv(sigma[:, given][:, :, given])
    expected = locs[:, free] + np.einsum("kfg,kg->kf", gain, values - locs[:, given])
    assert_allclose(rest.locs, expected, rtol=1e-9, atol=1e-11)
    schur = sigma[:, free][:, :, free] - gain @ sigma[:, given][:, :, free]
    assert_allclose(covariances_of(rest), schur, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("case", pick(2, covariances=("isotropic", "tied")), ids=str)
def test_conditional_density_integrates_to_one_and_is_the_joints_slice(case):
    mixture = case.mixture()
    grid = np.linspace(-30, 30, 6001)
    rest = condition(mixture, 1, 0.7)
    conditional = np.exp(log_probs(rest, jnp.asarray(grid[:, None])))
    joint = np.exp(log_probs(mixture, jnp.stack([grid, np.full_like(grid, 0.7)], axis=1)))
    assert_allclose(np.trapezoid(conditional, grid), 1.0, rtol=1e-12)
    assert_allclose(conditional, joint / np.trapezoid(joint, grid), rtol=1e-9, atol=1e-14)


def test_marginal_of_all_targets_permutes_them():
    mixture, y = Case("full", 3, 4).mixture(), Case("full", 3, 4).targets(1)[0]
    order = (2, 0, 3, 1)
    actual = log_prob(jax.jit(mdn.marginal, static_argnums=1)(mixture, order), np.asarray(y)[list(order)])
    assert_allclose(actual, scipy_log_prob(mixture, y), rtol=1e-11)


@pytest.mark.parametrize("others", [("isotropic", "full"), ("diagonal", "isotropic"), ("tied", "diagonal")], ids=str)
def test_merge_is_a_weighted_sum_of_densities(others):
    mixtures = [Case(others[0], 3, 2).mixture(), Case(others[1], 1, 2).mixture(), Case(others[0], 1, 2).mixture(1)]
    ys, weights = Case("full", 3, 2).targets(5), np.array([1.0, 2.0, 5.0])
    merged = jax.jit(mdn.merge)(mixtures, jnp.asarray(weights))
    each = np.array([[scipy_log_prob(m, y) for m in mixtures] for y in ys])
    assert_allclose(log_probs(merged, ys), logsumexp(each, axis=1, b=weights / 8), rtol=1e-11)
    assert merged.num_components == 5


def test_merge_of_a_batched_mixture_is_that_of_its_members():
    members = [Case("full", 3, 2).mixture(seed) for seed in range(3)]
    batched = jax.tree.map(lambda *leaves: jnp.stack(leaves), *members)
    jax.tree.map(lambda a, b: assert_allclose(a, b, rtol=1e-15), mdn.merge(batched), mdn.merge(members))
    assert_allclose(mdn.merge(batched).weights.sum(), 1.0, rtol=1e-14)


def test_a_weight_of_nothing_has_its_gradient():
    # unit normals at 0, 1, 2, weights 0, 1/2, 1/2: d log p / d w_m = p_m / p - 1, by hand
    mixtures = [mdn.Mixture(jnp.zeros(1), jnp.full((1, 1), loc), mdn.Isotropic(jnp.zeros(1))) for loc in range(3)]
    weights, y = jnp.array([0.0, 0.5, 0.5]), jnp.array([0.3])
    slopes = jax.grad(lambda w: mdn.log_prob(mdn.merge(mixtures, w), y))(weights)
    each = np.exp(-0.5 * (0.3 - np.arange(3)) ** 2)
    assert_allclose(slopes, each / (each @ weights) - 1, rtol=1e-12)
    assert_allclose(slopes, [0.8774, 0.5370, -0.5370], atol=5e-5)
    by_log = mdn.merge(mixtures, log_weights=jnp.log(weights) + 7.0)
    assert_allclose(by_log.weights, weights, atol=1e-15)
    with pytest.raises(mdn.InputError, match="merge takes weights or log_weights; got both: leave one out"):
        mdn.merge(mixtures, weights, log_weights=weights)


def test_affine_is_a_change_of_variables(case):
    mixture, ys = case.mixture(), case.targets(5)
    shift, scale = jnp.array([3.0, -1.0, 0.5, 10.0]), jnp.array([-2.0, 0.3, -0.01, 40.0])
    shift, scale = shift[: case.target_dim], scale[: case.target_dim]
    moved = jax.jit(mdn.affine)(mixture, shift=shift, scale=scale)
    expected = [scipy_log_prob(mixture, y) for y in ys] - np.log(np.abs(scale)).sum()
    assert_allclose(log_probs(moved, shift[None, :] + scale[None, :] * ys), expected, rtol=1e-10)
    with pytest.raises(TypeError, match="positional"):
        mdn.affine(mixture, shift, scale)  # two vectors are easily swapped
    assert isinstance(moved.scale, mdn.Diagonal if case.covariance == "isotropic" else type(mixture.scale))


# --- mistakes of other packages, each its own test -------------------------------------------------------------------


def test_isotropic_std_belongs_to_components_not_dimensions():
    mixture = mdn.Mixture(jnp.zeros(2), jnp.zeros((2, 2)), mdn.Isotropic(jnp.log(jnp.array([0.1, 3.0]))))
    assert_allclose(mean(mixture), 0.0, atol=0)
    expected = np.log(0.5 / (2 * np.pi * 0.01) + 0.5 / (2 * np.pi * 9.0))
    assert_allclose(log_prob(mixture, jnp.zeros(2)), expected, rtol=1e-14)


def test_the_constant_counts_every_dimension():
    mixture = mdn.Mixture(jnp.zeros(1), jnp.zeros((1, 5)), mdn.Isotropic(jnp.zeros(1)))
    assert_allclose(log_prob(mixture, jnp.zeros(5)), -2.5 * np.log(2 * np.pi), rtol=1e-15)


def test_the_likelihood_has_no_noise_in_it():
    mixture, y = Case("full", 3, 2).mixture(), jnp.ones(2)
    assert len({float(mdn.log_prob(mixture, y)) for _ in range(5)}) == 1
    assert "random" not in str(jax.make_jaxpr(mdn.log_prob)(mixture, y))


def test_conditioning_is_right_when_the_given_dimension_comes_first():
    # y_0 ~ N(0, 4), y_1 | y_0 ~ N(3 y_0, 1): by hand, given y_0 = 2 and given y_1 = 5
    whitener = jnp.array([[[0.5, 0.0], [-3.0, 1.0]]])
    mixture = mdn.Mixture(jnp.zeros(1), jnp.zeros((1, 2)), mdn.Triangular(whitener))
    first, second = condition(mixture, 0, 2.0), condition(mixture, 1, 5.0)
    assert_allclose([np.ravel(first.locs)[0], np.ravel(std(first))[0]], [6.0, 1.0], rtol=1e-14)
    assert_allclose([np.ravel(second.locs)[0], np.ravel(std(second))[0]], [5 * 12 / 37, np.sqrt(4 / 37)], rtol=1e-14)


# --- messages --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", [mdn.marginal, lambda m, dims: mdn.condition(m, dims, jnp.zeros(len(dims)))])
@pytest.mark.parametrize("dims", [(0, 0), (2,), (-3,), ()], ids=str)
def test_indices_must_be_distinct_and_in_range(function, dims):
    with pytest.raises(mdn.InputError, match=r"distinct target indices from 0 to 1; got"):
        function(Case("full", 3, 2).mixture(), dims)


def test_condition_leaves_something_free():
    with pytest.raises(mdn.InputError, match="leaves nothing free"):
        mdn.condition(Case("full", 3, 2).mixture(), (0, 1), jnp.zeros(2))


def test_merge_refuses_what_does_not_belong_together():
    one, two = Case("full", 3, 2).mixture(), Case("full", 3, 4).mixture()
    with pytest.raises(mdn.InputError, match="at least one distribution"):
        mdn.merge([])
    with pytest.raises(mdn.InputError, match=r"target dimensions \[2, 4\]"):
        mdn.merge([one, two])
    with pytest.raises(mdn.InputError, match=r"one weight per distribution, shape \(2,\); got \(3,\)"):
        mdn.merge([one, one], jnp.ones(3))

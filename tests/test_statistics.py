"""Moments, quantiles, modes and regions, against scipy's own solvers, quadrature and fine grids."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import Case, cdfs, covariances_of, log_probs, pick, scipy_log_prob, weights_of
from jax.flatten_util import ravel_pytree
from numpy.testing import assert_allclose
from scipy.optimize import brentq, minimize
from scipy.stats import chi2, norm

import mdn_jax as mdn

pytestmark = pytest.mark.usefixtures("x64")
quantiles = jax.jit(jax.vmap(mdn.quantile, (None, 0)))
moments = jax.jit(lambda mixture: (mdn.mean(mixture), mdn.std(mixture), mdn.covariance(mixture)))
QUANTILES = np.array([1e-12, 1e-6, 0.01, 0.3, 0.5, 0.77, 0.999, 1 - 1e-6, 1 - 1e-12])


def line(weights, locs, stds):
    """A mixture of one target."""
    return mdn.Mixture(
        jnp.log(jnp.asarray(weights)), jnp.asarray(locs)[:, None], mdn.Isotropic(jnp.log(jnp.asarray(stds)))
    )


def marginal_normals(mixture):
    """Weights (K,), centres (K, D), stds (K, D) for scipy.stats.norm."""
    stds = np.sqrt(np.diagonal(covariances_of(mixture), axis1=1, axis2=2))
    return weights_of(mixture), np.asarray(mixture.locs), stds


# --- moments ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", [Case("diagonal", 3, 1), *pick(2)], ids=str)
def test_moments_are_those_of_the_density_by_quadrature(case):
    mixture, grid = case.mixture(), np.linspace(-16, 16, 401)
    points = np.stack(np.meshgrid(*[grid] * case.target_dim, indexing="ij"), axis=-1).reshape(-1, case.target_dim)
    # the trapezoid rule is exact to rounding for a smooth density that vanishes at both ends
    mass = np.exp(log_probs(mixture, jnp.asarray(points)))
    mass = mass * (grid[1] - grid[0]) ** case.target_dim
    mean = mass @ points
    covariance = (mass[:, None] * (points - mean)).T @ (points - mean)
    assert_allclose(mass.sum(), 1.0, rtol=1e-10)
    says_mean, says_std, says_covariance = moments(mixture)
    assert_allclose(says_mean, mean, rtol=1e-9, atol=1e-10)
    assert_allclose(says_covariance, covariance, rtol=1e-8, atol=1e-9)
    assert_allclose(says_std, np.sqrt(np.diagonal(covariance)), rtol=1e-8)


def test_std_is_the_root_of_the_covariances_diagonal(case):
    _, std, covariance = moments(case.mixture())
    assert_allclose(std, np.sqrt(np.diagonal(covariance)), rtol=1e-12)


# --- distribution function and quantiles -----------------------------------------------------------------------------


def test_cdf_is_scipys(case):
    mixture, ys = case.mixture(), case.targets(5)
    weights, locs, stds = marginal_normals(mixture)
    expected = np.einsum("k,nkd->nd", weights, norm.cdf(np.asarray(ys)[:, None], locs, stds))
    assert_allclose(cdfs(mixture, ys), expected, rtol=1e-11)


def test_cdf_takes_standard_deviations_not_variances():
    assert_allclose(mdn.cdf(line([1.0], [0.0], [2.0]), jnp.array([2.0])), norm.cdf(1.0), rtol=1e-14)


@pytest.mark.parametrize(
    "case", [Case("isotropic", 1, 1), Case("diagonal", 3, 1), Case("full", 3, 2), Case("tied", 3, 4)], ids=str
)
def test_quantile_is_the_root_that_brentq_finds(case):
    mixture = case.mixture()
    weights, locs, stds = marginal_normals(mixture)

    def root(q, d):
        # in the nearer tail: 1 - F(y) loses the digits of a q near 1
        tail, share = (norm.sf, 1 - q) if q > 0.5 else (norm.cdf, q)
        return brentq(lambda y: weights @ tail(y, locs[:, d], stds[:, d]) - share, -60, 60, xtol=1e-13, rtol=1e-14)

    actual = quantiles(mixture, jnp.asarray(QUANTILES))
    expected = [[root(q, d) for d in range(case.target_dim)] for q in QUANTILES]
    assert_allclose(actual, expected, rtol=1e-10, atol=1e-10)


def test_quantile_at_the_edges_and_outside():
    actual = quantiles(line([0.5, 0.5], [-1.0, 3.0], [1.0, 2.0]), jnp.array([0.0, 1.0, -0.1, 1.1]))
    assert_allclose(actual[:, 0], [-np.inf, np.inf, np.nan, np.nan])


@jax.jit
def quantile_and_rule(mixture, q):
    """F at the quantile; the quantile's own slopes, in the mixture and in q; -dF / density; the density."""
    quantile = lambda mixture, q: mdn.quantile(mixture, q)[0]  # noqa: E731
    y, (dm, dq) = jax.value_and_grad(quantile, (0, 1))(mixture, q)
    level, slopes = jax.value_and_grad(lambda m: mdn.cdf(m, y[None])[0])(mixture)
    density = jnp.exp(mdn.log_prob(mixture, y[None]))
    return level, dm, dq, jax.tree.map(lambda leaf: -leaf / density, slopes), density


@pytest.mark.parametrize("q", [1e-3, 0.4, 0.98])
def test_quantile_inverts_cdf_and_its_gradient_is_the_inverse_function_rule(q):
    mixture = line([0.2, 0.5, 0.3], [-2.0, 0.5, 3.0], [0.4, 1.0, 0.7])
    level, dm, dq, expected, density = quantile_and_rule(mixture, q)
    assert_allclose(level, q, rtol=1e-12)
    assert_allclose(dq, 1 / density, rtol=1e-11)
    jax.tree.map(lambda a, b: assert_allclose(a, b, rtol=1e-10, atol=1e-12), dm, expected)


def test_interval_leaves_equal_tails():
    mixture = Case("full", 3, 2).mixture()
    levels = cdfs(mixture, jnp.stack(jax.jit(mdn.interval)(mixture, 0.9)))
    assert_allclose(levels, [[0.05, 0.05], [0.95, 0.95]], rtol=1e-11)


@pytest.mark.parametrize("function", [mdn.interval, mdn.highest_density])
@pytest.mark.parametrize("mass", [0.0, 1.0, -0.1, 90])
def test_a_mass_lies_between_zero_and_one(function, mass):
    with pytest.raises(mdn.InputError, match=f"mass must lie between 0 and 1, both excluded; got {mass}"):
        function(line([1.0], [0.0], [1.0]), mass)


# --- modes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", [Case("isotropic", 3, 2), Case("full", 3, 2), Case("full", 3, 4)], ids=str)
def test_modes_are_where_scipy_climbs_to(case):
    find = jax.jit(mdn.modes)
    for seed in range(2):
        mixture = case.mixture(seed)
        points, heights, distinct = find(mixture)
        climbs = [
            minimize(lambda y, m=mixture: -scipy_log_prob(m, y), start, method="BFGS", options={"gtol": 1e-7})
            for start in np.asarray(mixture.locs)
        ]
        tops = sorted((-float(c.fun) for c in climbs), reverse=True)
        assert_allclose(heights[0], tops[0], rtol=1e-9)
        assert_allclose(log_probs(mixture, points), heights, rtol=1e-12)
        assert np.all(np.diff(heights) <= 0)
        found = np.asarray(points)[np.asarray(distinct)]
        for climb in climbs:  # every place that scipy reaches is listed, up to BFGS' own precision
            assert np.min(np.linalg.norm(found - climb.x, axis=1)) < 1e-4


@pytest.mark.parametrize(("gap", "expected"), [(1.9, 1), (2.1, 2)])
def test_two_equal_normals_have_two_modes_beyond_two_standard_deviations(gap, expected):
    # the classical bound: two equal unit normals are bimodal where |mu_1 - mu_2| > 2
    _, _, distinct = jax.jit(mdn.modes)(line([0.5, 0.5], [-gap / 2, gap / 2], [1.0, 1.0]))
    assert int(distinct.sum()) == expected


def test_mode_moves_with_its_mixture():
    mixture = Case("full", 3, 2).mixture()
    moves = jax.jit(jax.jacfwd(lambda shift: mdn.mode(mdn.affine(mixture, shift=shift, scale=jnp.ones(2)))))(
        jnp.zeros(2)
    )
    assert_allclose(moves, np.eye(2), rtol=1e-9, atol=1e-10)


# --- regions ---------------------------------------------------------------------------------------------------------

LINES = {
    "one": ([1.0], [1.0], [2.0]),
    "two-apart": ([0.7, 0.3], [-2.0, 2.0], [1.0, 1.0]),
    "repeated": ([0.35, 0.35, 0.15, 0.15], [-2.0, -2.0, 2.0, 2.0], [1.0, 1.0, 1.0, 1.0]),
    "narrow-on-wide": ([0.1, 0.9], [0.7, 0.0], [0.001, 1.0]),
    "overlapping": ([0.3, 0.4, 0.3], [-1.0, 0.0, 1.1], [0.8, 0.6, 0.9]),
    "four": ([0.1, 0.2, 0.3, 0.4], [-6.0, -2.0, 2.0, 7.0], [0.5, 1.0, 0.7, 1.5]),
    "one-off": ([0.5, 0.5, 0.0], [-3.0, 3.0, 0.0], [1.0, 1.0, 0.1]),
}
MASSES = (0.05, 0.5, 0.8, 0.95, 0.999)
regions = jax.jit(jax.vmap(mdn.highest_density, (None, 0)))
heights_at = jax.jit(jax.vmap(lambda mixture, y: mdn.log_prob(mixture, y[None]), (None, 0)))
levels_at = jax.jit(jax.vmap(lambda mixture, y: mdn.cdf(mixture, y[None])[0], (None, 0)))


def densest_cells(weights, locs, stds, mass):
    """Ends by brute force: the densest cells of a fine grid until their mass is met, and the cell width."""
    low, high = min(m - 8 * s for m, s in zip(locs, stds)), max(m + 8 * s for m, s in zip(locs, stds))
    edges = np.linspace(low, high, 400_001)
    masses = np.diff(np.array(weights) @ norm.cdf(edges[None, :], np.array(locs)[:, None], np.array(stds)[:, None]))
    order = np.argsort(-masses)
    inside = np.zeros(len(masses), bool)
    inside[order[: np.searchsorted(np.cumsum(masses[order]), mass) + 1]] = True
    changes = np.flatnonzero(np.diff(np.concatenate([[0], inside.astype(int), [0]])))
    return edges[changes].reshape(-1, 2), edges[1] - edges[0]


@pytest.mark.parametrize("name", LINES)
def test_highest_density_is_the_densest_cells_of_a_fine_grid(name):
    mixture, count = line(*LINES[name]), len(LINES[name][0])
    for mass, region in zip(MASSES, np.asarray(regions(mixture, jnp.asarray(MASSES))), strict=True):
        assert region.shape == (count, 2)
        used = ~np.isnan(region).any(axis=1)
        ends = region[used]
        assert np.isnan(region[~used]).all() and used[: len(ends)].all()
        assert np.all(np.diff(ends.ravel()) > 0)
        levels = np.asarray(levels_at(mixture, region.ravel())).reshape(region.shape)[used]
        assert_allclose(np.sum(levels[:, 1] - levels[:, 0]), mass, rtol=1e-10)
        heights = np.asarray(heights_at(mixture, region.ravel()))[np.repeat(used, 2)]
        assert_allclose(heights, heights[0], rtol=1e-9, atol=1e-9)
        expected, width = densest_cells(*LINES[name], mass)
        assert_allclose(ends, expected, rtol=0, atol=3 * width)


def test_intervals_part_and_merge_as_the_mass_grows():
    # the higher peak alone, both peaks, then the valley between them too
    # as many masses as above, for the same program
    found = np.asarray(regions(line(*LINES["two-apart"]), jnp.array([0.05, 0.05, 0.9, 0.9, 0.999])))
    assert [int((~np.isnan(region[:, 0])).sum()) for region in found] == [1, 1, 2, 2, 1]


def test_highest_density_of_one_normal_is_its_central_interval():
    actual = regions(line([1.0], [3.0], [2.0]), jnp.asarray(MASSES))[:, 0]
    assert_allclose(actual, np.stack(norm.interval(MASSES, 3.0, 2.0), axis=1), rtol=1e-10)


def test_gradients_of_highest_density_are_finite_differences():
    mixture, step = line(*LINES["two-apart"]), 1e-5
    ends = jax.jit(lambda mixture, mass: jnp.nan_to_num(mdn.highest_density(mixture, mass)))
    jacobian = jax.jit(jax.jacfwd(ends, (0, 1)))(mixture, 0.8)
    flat, unflatten = ravel_pytree(mixture)
    moved = [(ends(unflatten(flat + d), 0.8) - ends(unflatten(flat - d), 0.8)) / (2 * step)
             for d in step * np.eye(flat.size)]  # fmt: skip
    exact = jnp.concatenate([leaf.reshape(*leaf.shape[:2], -1) for leaf in jax.tree.leaves(jacobian[0])], axis=-1)
    assert_allclose(exact, np.stack(moved, axis=-1), rtol=1e-6, atol=1e-7)
    in_mass = (ends(mixture, 0.8 + step) - ends(mixture, 0.8 - step)) / (2 * step)
    assert_allclose(jacobian[1], in_mass, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("dim", [1, 4])
def test_density_level_of_one_normal_is_chi_squares(dim):
    mixture, mass, count = Case("full", 1, dim).mixture(), 0.8, 40_000
    level = jax.jit(mdn.density_level, static_argnums=3)(jax.random.key(0), mixture, mass, count)
    # |z|^2 is chi-square with D degrees of freedom: invert the level to the mass it encloses
    peak = -0.5 * (dim * np.log(2 * np.pi) + np.linalg.slogdet(covariances_of(mixture)[0])[1])
    enclosed = chi2.cdf(2 * (peak - float(level)), dim)
    assert abs(enclosed - mass) < 4 * np.sqrt(mass * (1 - mass) / count)


def test_highest_density_needs_one_target():
    with pytest.raises(mdn.InputError, match=r"one target, not 2: take mdn.marginal\(mixture, d\) first"):
        mdn.highest_density(Case("full", 3, 2).mixture(), 0.9)


def test_density_level_needs_samples():
    with pytest.raises(mdn.InputError, match="num_samples must be at least 1; got 0"):
        mdn.density_level(jax.random.key(0), line([1.0], [0.0], [1.0]), 0.5, 0)

"""Logarithms of probabilities, right in both tails, against scipy and mpmath; what is asked beyond every density."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from cases import Case, covariances_of, pick, weights_of
from numpy.testing import assert_allclose
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.special import log_ndtr, logsumexp
from scipy.stats import norm

import mdn_jax as mdn

POINTS = [-1e4, -40.0, -15.0, -12.01, -11.99, -5.0, -1.0, 0.0, 0.3, 4.0, 7.0, 12.0, 30.0, 1e4]
TOLERANCE = {"float32": 2e-6, "float64": 1e-13}
unit_normal = mdn.Mixture(np.zeros(1, "f"), np.zeros((1, 1), "f"), mdn.Isotropic(np.zeros(1, "f")))


@pytest.fixture(params=TOLERANCE)
def rtol(request):
    """Both precisions."""
    with jax.enable_x64(request.param == "float64"):
        yield TOLERANCE[request.param]


@jax.jit
@jax.vmap
def tails(y):
    """log cdf and log survival of one unit normal, and their slopes."""
    mixture = jax.tree.map(lambda leaf: leaf.astype(y.dtype), unit_normal)
    return [jax.value_and_grad(lambda y, f=f: f(mixture, y[None])[0])(y) for f in (mdn.log_cdf, mdn.log_survival)]


def test_logarithms_of_one_normal_are_scipys_with_their_slopes(rtol):
    points = np.array(POINTS)
    for sign, (value, slope) in zip((1, -1), tails(jnp.asarray(points)), strict=True):
        assert_allclose(value, log_ndtr(sign * points), rtol=rtol, atol=1e-37)
        hazard = np.exp(norm.logpdf(points) - log_ndtr(sign * points))  # d log Phi / dz, less digits where they cancel
        reliable = np.abs(points) < 1e3
        assert_allclose(sign * slope[reliable], hazard[reliable], rtol=max(20 * rtol, 1e-11), atol=1e-37)
    assert_allclose(tails(jnp.array([-1e4]))[0][1], 1e4, rtol=1e-6)


def test_the_numbers_of_the_contract():
    assert_allclose(mdn.log_cdf(unit_normal, jnp.array([-15.0])), -116.131, rtol=1e-5)
    assert_allclose(mdn.log_survival(unit_normal, jnp.array([5.0])), -15.065, rtol=1e-5)
    ends = jnp.array([[-jnp.inf], [jnp.inf]])
    assert_allclose([mdn.log_cdf(unit_normal, y)[0] for y in ends], [-np.inf, 0.0])
    assert_allclose([mdn.log_survival(unit_normal, y)[0] for y in ends], [0.0, -np.inf])


def marginals(mixture):
    """Weights (K,), centres (K, D) and standard deviations (K, D)."""
    return (weights_of(mixture), np.asarray(mixture.locs, np.float64),
            np.sqrt(np.diagonal(covariances_of(mixture), axis1=1, axis2=2)))  # fmt: skip


@pytest.mark.parametrize("case", pick(2), ids=str)
@pytest.mark.usefixtures("x64")
def test_logarithms_of_mixtures_are_scipys(case):
    mixture = case.mixture()
    weights, locs, stds = marginals(mixture)
    both = jax.jit(jax.vmap(lambda y: (mdn.log_cdf(mixture, y), mdn.log_survival(mixture, y))))
    ys = np.array([[-50.0, 40.0], [-3.0, 0.0], [0.2, 9.0]])
    for sign, value in zip((1, -1), both(jnp.asarray(ys)), strict=True):
        terms = log_ndtr(sign * (ys[:, None] - locs) / stds)
        assert_allclose(value, logsumexp(terms, axis=1, b=weights[None, :, None]), rtol=1e-11, atol=1e-15)


BOXES = [(-1e-4, 1e-4), (5.0, np.inf), (5.0, 5.001), (-3.0, -2.9), (60.0, 60.001), (60.0, 61.0), (-60.0, -59.0),
         (-9.0, 9.0), (-np.inf, np.inf), (-np.inf, -15.0), (0.3, 0.8), (-0.5, 0.6), (-2.0, 9.0)]  # fmt: skip


def exact_log_mass(lower, upper):
    with mpmath.workdps(60):
        cdf = [mpmath.ncdf(mpmath.mpf(float(end))) for end in (lower, upper)]
        if lower > 0:  # mpmath's own digits
            cdf = [-mpmath.ncdf(-mpmath.mpf(float(end))) for end in (lower, upper)]
        return float(mpmath.log(cdf[1] - cdf[0]))


def test_log_mass_of_one_normal_is_mpmaths_and_its_slopes_are_finite(rtol):
    lower, upper = (jnp.asarray([box[i] for box in BOXES])[:, None] for i in (0, 1))
    mixture = jax.tree.map(lambda leaf: leaf.astype(lower.dtype), unit_normal)
    both = jax.jit(jax.vmap(jax.value_and_grad(mdn.log_mass, (0, 1, 2)), (None, 0, 0)))
    value, slopes = both(jax.tree.map(jnp.asarray, mixture), lower, upper)
    expected = [exact_log_mass(*box) for box in zip(np.ravel(lower), np.ravel(upper), strict=True)]
    assert_allclose(value, expected, rtol=rtol, atol=rtol)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(slopes))


@pytest.mark.usefixtures("x64")
def test_log_mass_of_a_box_is_a_sum_over_components_of_products():
    mixture = Case("diagonal", 3, 2).mixture()
    lower, upper = np.array([-1.0, 0.2]), np.array([0.5, np.inf])
    weights, locs, stds = marginals(mixture)
    expected = np.log(weights @ np.prod(norm.cdf(upper, locs, stds) - norm.cdf(lower, locs, stds), axis=1))
    assert_allclose(jax.jit(mdn.log_mass)(mixture, lower, upper), expected, rtol=1e-11)
    with pytest.raises(mdn.InputError, match=r"independent targets, not a Triangular .* take mdn.marginal"):
        mdn.log_mass(Case("full", 3, 2).mixture(), lower, upper)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("q", [0.05, 0.8, 0.999])
def test_tail_mean_is_scipys_integral_beyond_the_quantile(q):
    mixture = Case("diagonal", 3, 2).mixture()
    weights, locs, stds = marginals(mixture)
    actual = jax.jit(mdn.tail_mean)(mixture, q)
    for d in range(2):
        normals = [norm(locs[k, d], stds[k, d]) for k in range(3)]
        beyond = lambda y, ns=normals: weights @ [n.sf(y) for n in ns] - (1 - q)  # noqa: E731
        cut = brentq(beyond, -60, 60, xtol=1e-13)
        inside = [quad(lambda y, n=n: y * n.pdf(y), cut, n.mean() + 20 * n.std(), limit=200)[0] for n in normals]
        assert_allclose(actual[d], weights @ inside / (1 - q), rtol=1e-7)


FAR = [np.inf, -np.inf, 3e19, -3e25]
LIMITS = {"widest": ([1.0, 3.0, 2.0], 1, 1), "highest of equals": ([3.0, 3.0, 1.0], 1, 0)}  # stds -> winner at +, at -


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize("covariance", ["isotropic", "diagonal", "full"])
@pytest.mark.parametrize("dim", [1, 2])
def test_beyond_every_density_the_farthest_component_takes_all(covariance, dim, name):
    stds, *winners = LIMITS[name]
    log_std, locs = jnp.log(jnp.array(stds)), jnp.array([[-1.0], [2.0], [0.0]]) * jnp.ones((1, dim))
    axes = jnp.broadcast_to(log_std[:, None], (3, dim))
    whitener = jnp.exp(-axes)[:, :, None] * (jnp.eye(dim) - 0.3 * jnp.tril(jnp.ones((dim, dim)), -1))[None]
    scale = {"isotropic": mdn.Isotropic(log_std), "diagonal": mdn.Diagonal(axes), "full": mdn.Triangular(whitener)}
    mixture = mdn.Mixture(jnp.array([0.0, -1.0, 0.5]), locs, scale[covariance])
    at = jax.jit(
        jax.vmap(lambda y: (mdn.responsibilities(mixture, y), *jax.value_and_grad(mdn.log_prob, 1)(mixture, y)))
    )
    shares, value, slope = at(3 * jnp.asarray(FAR, jnp.float32)[:, None] * jnp.ones((1, dim)))
    assert_allclose(value, -np.inf)
    assert np.all(np.isfinite(slope))
    assert_allclose(shares, np.eye(3)[[winners[int(y < 0)] for y in FAR]], atol=0)


def test_at_infinity_in_one_direction_the_others_still_tell():
    # equal components in y_0, so that y_1 decides; what is not observed does not matter
    mixture = mdn.Mixture(jnp.zeros(2), jnp.array([[0.0, -1.0], [0.0, 1.0]]), mdn.Isotropic(jnp.zeros(2)))
    expected = 1 / (1 + np.exp(-2 * 0.3 * np.array([1, -1])))  # logistic in 2 y_1
    assert_allclose(mdn.responsibilities(mixture, jnp.array([jnp.inf, 0.3])), expected[::-1], rtol=1e-6)
    seen = mdn.responsibilities(mixture, jnp.array([jnp.inf, 0.3]), observed=jnp.array([False, True]))
    assert_allclose(seen, expected[::-1], rtol=1e-6)
    assert np.all(np.isnan(mdn.responsibilities(mixture, jnp.array([jnp.nan, 0.3]))))  # a mistake stays one

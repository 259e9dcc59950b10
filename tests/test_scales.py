"""One contract, three siblings: what a scale promises, against numpy's linear algebra."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import Case, covariances_of, pick
from numpy.testing import assert_allclose

import mdn_jax as mdn
from mdn_jax.distributions.scales import to_common, whiten_observed

pytestmark = pytest.mark.usefixtures("x64")


@jax.jit
def contract(scale, z):
    dim = z.shape[-1]
    return {
        "back": scale.whiten(scale.colour(z)),
        "coloured": scale.colour(z),
        "log_det": scale.log_det(dim),
        "log_diagonal": scale.log_diagonal(dim),
        "std": scale.std(dim),
        "covariance": scale.covariance(dim),
    }


def test_the_contract_of_every_scale(case):
    scale, sigma = case.mixture().scale, covariances_of(case.mixture())
    z = np.random.default_rng(1).normal(size=(case.num_components, case.target_dim))
    says = contract(scale, jnp.asarray(z))
    assert_allclose(says["back"], z, rtol=1e-10, atol=1e-12)
    assert_allclose(says["covariance"], sigma, rtol=1e-9, atol=1e-12)
    assert_allclose(says["std"], np.sqrt(np.diagonal(sigma, axis1=1, axis2=2)), rtol=1e-10)
    assert_allclose(says["log_det"], -0.5 * np.linalg.slogdet(sigma)[1], rtol=1e-9, atol=1e-11)
    # y = C z with C lower and Sigma = C C^T: the Cholesky factor, whose diagonal is that of 1 / W
    factor = np.linalg.cholesky(sigma)
    assert_allclose(says["coloured"], np.einsum("kij,kj->ki", factor, z), rtol=1e-9, atol=1e-11)
    assert_allclose(says["log_diagonal"], -np.log(np.diagonal(factor, axis1=1, axis2=2)), rtol=1e-9, atol=1e-11)


def test_fits_knows_its_own_size_alone(case):
    scale, (count, dim) = case.mixture().scale, (case.num_components, case.target_dim)
    assert scale.fits(count, dim)
    assert not scale.fits(count + 1, dim)
    assert case.covariance == "isotropic" or not scale.fits(count, dim + 1)


@pytest.mark.parametrize("case", [*pick(2), Case("full", 3, 1)], ids=str)
def test_methods_take_any_leading_axes(case):
    mixture = case.mixture()
    z = jnp.asarray(np.random.default_rng(1).normal(size=mixture.locs.shape))
    whole = contract(mixture.scale, z)
    one = contract(jax.tree.map(lambda leaf: leaf[1], mixture.scale), z[1])
    many = contract(jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), mixture.scale), jnp.stack([z, z]))
    for name, value in whole.items():
        assert_allclose(one[name], value[1], rtol=1e-13, err_msg=name)
        assert_allclose(many[name], jnp.stack([value, value]), rtol=1e-13, err_msg=name)


@pytest.mark.parametrize("case", pick(2), ids=str)
def test_temper_and_stretch_multiply_the_noise(case):
    mixture, factor = case.mixture(), np.array([-3.0, 0.2])
    sigma = covariances_of(mixture)
    tempered = mdn.Mixture(mixture.logits, mixture.locs, mixture.scale.temper(jnp.log(2.0)))
    assert_allclose(covariances_of(tempered), 4 * sigma, rtol=1e-12, atol=1e-14)
    stretched = mdn.Mixture(mixture.logits, mixture.locs, mixture.scale.stretch(jnp.asarray(factor)))
    assert_allclose(covariances_of(stretched), sigma * np.outer(factor, factor), rtol=1e-11, atol=1e-14)
    if isinstance(stretched.scale, mdn.Triangular):
        whitener = np.asarray(stretched.scale.whitener)
        assert np.all(np.triu(whitener, 1) == 0) and np.all(np.diagonal(whitener, axis1=1, axis2=2) > 0)


@pytest.mark.parametrize("given", [(0,), (2,), (2, 0), (0, 1, 3)], ids=str)
def test_factors_are_lower_triangular_with_a_positive_diagonal(given):
    scale = Case("full", 3, 4).mixture().scale
    free = tuple(d for d in range(4) if d not in given)
    factors = jax.jit(lambda scale: scale.factor(free, given))(scale)
    for part in (factors.free, factors.given):
        whitener = np.asarray(part.whitener)
        assert_allclose(np.triu(whitener, 1), 0.0, atol=1e-12)
        assert np.all(np.diagonal(whitener, axis1=1, axis2=2) > 0)


@pytest.mark.parametrize("case", [Case("diagonal", 3, 4), Case("full", 3, 4)], ids=str)
def test_a_traced_mask_is_a_static_marginal(case):
    scale = case.mixture().scale
    delta = jnp.asarray(np.random.default_rng(2).normal(size=(3, 4)))
    traced = jax.jit(whiten_observed)
    for mask in ([True, False, True, False], [False, False, True, True]):
        z, log_diagonal = traced(scale, delta, jnp.array(mask))
        seen, sigma = np.flatnonzero(mask), covariances_of(case.mixture())
        block, distance = sigma[:, seen][:, :, seen], np.asarray(delta)[:, seen]
        expected = np.einsum("ki,kij,kj->k", distance, np.linalg.inv(block), distance)
        assert_allclose(np.sum(z**2, axis=1), expected, rtol=1e-9)
        assert_allclose(np.sum(log_diagonal, axis=1), -0.5 * np.linalg.slogdet(block)[1], rtol=1e-9)


@pytest.mark.parametrize("unit", [1.0, 1e-30, 1e30])
def test_triangular_from_its_cholesky_factor_or_its_covariance(unit):
    rng = np.random.default_rng(3)
    factor = np.tril(rng.normal(size=(2, 5, 4, 4)))  # signs of the diagonal are free, leading axes too
    units = np.array([unit, 1.0, 1 / unit, 3.0])
    scale = mdn.Triangular.from_cholesky(jnp.asarray(units[:, None] * factor))
    sigma = factor @ np.swapaxes(factor, -1, -2)
    whitener = np.asarray(scale.whitener) * units
    assert_allclose(
        whitener @ sigma @ np.swapaxes(whitener, -1, -2), np.broadcast_to(np.eye(4), sigma.shape), atol=1e-7
    )
    assert np.all(np.triu(scale.whitener, 1) == 0) and np.all(np.diagonal(scale.whitener, axis1=-2, axis2=-1) > 0)
    again = mdn.Triangular.from_covariance(jnp.asarray(units[:, None] * sigma * units))
    assert_allclose(np.asarray(again.whitener) * units, whitener, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("make", ["from_cholesky", "from_covariance"])
@pytest.mark.parametrize("shape", [(3,), (2, 3)], ids=str)
def test_triangular_is_made_from_squares(make, shape):
    with pytest.raises(mdn.InputError, match=rf"Triangular.{make} takes square matrices of shape \(..., D, D\); got"):
        getattr(mdn.Triangular, make)(jnp.zeros(shape))


@pytest.mark.parametrize("kinds", list(itertools.combinations(("isotropic", "diagonal", "full"), 2)), ids="-".join)
def test_the_common_spelling_is_the_more_general_one(kinds):
    mixtures = [Case(kind, 3, 2).mixture() for kind in kinds]
    common = to_common([mixture.scale for mixture in mixtures], 2)
    assert {type(scale) for scale in common} == {type(mixtures[1].scale)}
    for mixture, scale in zip(mixtures, common, strict=True):
        spelt = mdn.Mixture(mixture.logits, mixture.locs, scale)
        assert_allclose(covariances_of(spelt), covariances_of(mixture), rtol=1e-11, atol=1e-14)

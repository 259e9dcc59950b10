"""The one rule for gradients: autodiff of the plain formula, to rounding, under every transformation and order."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import pick
from jax.flatten_util import ravel_pytree
from numpy.testing import assert_allclose

import mdn_jax as mdn

pytestmark = pytest.mark.usefixtures("x64")
CASES = pick(2, covariances=("isotropic", "diagonal", "full"))


def plain(mixture, y):
    """The textbook formula, with nothing of the package in it, differentiated by JAX."""
    scale, (count, dim) = mixture.scale, mixture.locs.shape
    if isinstance(scale, mdn.Triangular):
        whiteners = scale.whitener
    else:
        log_std = jnp.broadcast_to(scale.log_std.reshape(count, -1), (count, dim))
        whiteners = jax.vmap(jnp.diag)(jnp.exp(-log_std))

    def term(logit, loc, whitener):
        z = whitener @ (y - loc)
        return logit + jnp.log(jnp.diag(whitener)).sum() - 0.5 * z @ z - 0.5 * dim * jnp.log(2 * jnp.pi)

    terms = jax.vmap(term)(mixture.logits, mixture.locs, whiteners)
    return jax.nn.logsumexp(terms) - jax.nn.logsumexp(mixture.logits)


def flat(function, mixture):
    """The function of one vector: all parameters of the mixture, then y."""
    vector, unravel = ravel_pytree((mixture, jnp.zeros(mixture.target_dim)))
    return (lambda vector: function(*unravel(vector))), vector


def compare(transform, case, rtol=1e-10):
    """`transform(f, at)` of our log density and of the plain one, compiled."""
    mixture, y = case.mixture(), case.targets(1)[0]
    at = ravel_pytree((mixture, y))[0]
    ours, theirs = (
        jax.jit(lambda at, f=function: transform(flat(f, mixture)[0], at))(at) for function in (mdn.log_prob, plain)
    )
    jax.tree.map(lambda a, b: assert_allclose(a, b, rtol=rtol, atol=rtol), ours, theirs)


def direction(at):
    return jnp.sin(1.0 + jnp.arange(at.size))


TRANSFORMS = {
    "grad": lambda f, at: jax.value_and_grad(f)(at),
    "jvp": lambda f, at: jax.jvp(f, (at,), (direction(at),)),
    "jacfwd": lambda f, at: jax.jacfwd(f)(at),
    "linearize": lambda f, at: jax.linearize(f, at)[1](direction(at)),
    "vjp": lambda f, at: jax.vjp(f, at)[1](2.0),
    "hessian": lambda f, at: jax.hessian(f)(at),
    "reverse-over-reverse": lambda f, at: jax.jacrev(jax.jacrev(f))(at),
    "grad-of-grad-of-grad": lambda f, at: jax.grad(
        lambda at: jax.grad(lambda at: jax.grad(f)(at) @ direction(at))(at) @ direction(at)
    )(at),
    "vmap-of-grad": lambda f, at: jax.vmap(lambda step: jax.grad(f)(at + step * direction(at)))(jnp.arange(3.0)),
    "remat": lambda f, at: jax.grad(jax.checkpoint(f))(at),
}  # fmt: skip


@pytest.mark.parametrize("name", TRANSFORMS)
def test_the_rule_is_autodiff_of_the_plain_formula(name):
    compare(TRANSFORMS[name], CASES[-1])


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_rule_passes_where_nans_raise_for_every_scale(case):
    with jax.debug_nans(True):
        compare(TRANSFORMS["hessian"], case)


def test_the_rule_without_jit():
    case = CASES[2]
    mixture, y = case.mixture(), case.targets(1)[0]
    actual, expected = jax.grad(mdn.log_prob)(mixture, y), jax.jit(jax.grad(plain))(mixture, y)
    jax.tree.map(lambda a, b: assert_allclose(a, b, rtol=1e-10, atol=1e-12), actual, expected)


def test_gradients_are_bishops_closed_form():
    # Bishop 1994, eq. 29, 35 and 37, with d/dz of -log p: w_k - r_k, r_k z_k / std_k, and r_k (D - |z_k|^2) / std_k
    case = pick(2, covariances=("isotropic",))[0]
    mixture, y = case.mixture(), case.targets(1)[0]
    slopes = jax.jit(jax.grad(lambda m: -mdn.log_prob(m, y)))(mixture)
    std, delta = np.exp(mixture.scale.log_std), np.asarray(mixture.locs) - np.asarray(y)
    squares = np.sum(delta**2, axis=1) / std**2
    joint = np.exp(mixture.logits) * np.exp(-squares / 2) / std**2
    shares, weights = joint / joint.sum(), np.exp(mixture.logits) / np.exp(mixture.logits).sum()
    assert_allclose(slopes.logits, weights - shares, rtol=1e-10)
    assert_allclose(slopes.locs, (shares / std**2)[:, None] * delta, rtol=1e-10)
    assert_allclose(slopes.scale.log_std, shares * (2 - squares), rtol=1e-10)


def test_the_gradient_lives_where_every_density_underflows():
    # float32, a target 1e6 standard deviations off: exp(-z^2 / 2) is 0 in every component
    mixture = mdn.Mixture(jnp.zeros(2, jnp.float32), jnp.array([[0.0], [1.0]], jnp.float32),
                          mdn.Isotropic(jnp.zeros(2, jnp.float32)))  # fmt: skip
    slopes = jax.jit(jax.grad(mdn.log_prob))(mixture, jnp.array([1e6], jnp.float32))
    assert_allclose(np.ravel(slopes.locs), [0.0, 1e6 - 1], rtol=1e-6)  # the nearer component takes all


def test_a_component_that_is_switched_off_gets_no_gradient():
    mixture = mdn.Mixture(jnp.array([0.0, -jnp.inf]), jnp.array([[0.0], [1.0]]), mdn.Isotropic(jnp.zeros(2)))
    slopes, at_y = jax.jit(jax.grad(mdn.log_prob, (0, 1)))(mixture, jnp.array([1.0]))
    assert_allclose(slopes.locs, [[1.0], [0.0]], atol=0)
    assert_allclose(slopes.logits, [0.0, 0.0], atol=0)
    assert_allclose(at_y, [-1.0], rtol=1e-14)

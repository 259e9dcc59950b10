"""Closed forms of a mixture of Gaussians' marginals: moments, distribution function, quantiles."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
from jax import Array
from jax.nn import log_softmax, logsumexp, softmax
from jax.scipy.special import ndtr, ndtri

from mdn_jax._typing import Float, Scalar
from mdn_jax.distributions.scales import LOG_2PI, PRECISION, length

if TYPE_CHECKING:
    from mdn_jax.distributions.mixture import Mixture

__all__ = [
    "bisect", "cdf", "covariance", "log_cdf", "log_ndtr", "log_survival", "mean", "quantile", "standardised", "std",
    "total_covariance", "total_mean", "total_std",
]  # fmt: skip

TAIL = -12.0  # standard deviations where log Phi turns to its series: Phi is still a float32
SERIES = range(23, 0, -2)  # whose first twelve terms leave 4e-15 there


def mean(mixture: "Mixture") -> Float[Array, " D"]:
    """E[Y] = sum_k w_k mu_k."""
    return total_mean(mixture.logits, mixture.locs)


def covariance(mixture: "Mixture") -> Float[Array, "D D"]:
    """Cov[Y] of the components' centres and covariances."""
    return total_covariance(mixture.logits, mixture.locs, mixture.scale.covariance(mixture.target_dim))


def std(mixture: "Mixture") -> Float[Array, " D"]:
    """The root of the covariance's diagonal."""
    return total_std(mixture.logits, mixture.locs, mixture.scale.std(mixture.target_dim))


def total_mean(logits: Float[Array, " K"], means: Float[Array, "K D"]) -> Float[Array, " D"]:
    """E[Y] = E[E(Y|k)]."""
    return _about_the_mean(logits, means)[0]


def total_covariance(
    logits: Float[Array, " K"], means: Float[Array, "K D"], within: Float[Array, "K D D"]
) -> Float[Array, "D D"]:
    """Cov[Y] = E[Cov(Y|k)] + Cov(E[Y|k])."""
    weights, (_, centred) = softmax(logits), _about_the_mean(logits, means)
    between = jnp.einsum("k,ki,kj->ij", weights, centred, centred, precision=PRECISION)
    return jnp.einsum("k,kij->ij", weights, within, precision=PRECISION) + between


def total_std(logits: Float[Array, " K"], means: Float[Array, "K D"], stds: Float[Array, "K D"]) -> Float[Array, " D"]:
    """The root of E[Var(Y|k)] + Var(E[Y|k]), without squares of large or tiny numbers."""
    _, centred = _about_the_mean(logits, means)
    roots = jnp.exp(0.5 * log_softmax(logits))[:, None]
    return length(jnp.concatenate([roots * stds, roots * centred]).T)


def cdf(mixture: "Mixture", y: Float[Array, " D"]) -> Float[Array, " D"]:
    """sum_k w_k Phi(z_k)."""
    return jnp.einsum("k,kd->d", mixture.weights, ndtr(standardised(mixture, y)), precision=PRECISION)


def log_cdf(mixture: "Mixture", y: Float[Array, " D"]) -> Float[Array, " D"]:
    """log P(Y_d <= y_d)."""
    return _log_below(mixture, standardised(mixture, y))


def log_survival(mixture: "Mixture", y: Float[Array, " D"]) -> Float[Array, " D"]:
    """log P(Y_d > y_d)."""
    return _log_below(mixture, -standardised(mixture, y))


def quantile(mixture: "Mixture", q: Scalar) -> Float[Array, " D"]:
    """The root of F(y) = q for q inside (0, 1)."""

    def solve(function: Callable, _: Array) -> Array:
        # the quantile of a mixture lies between its components' quantiles
        ends = mixture.locs + mixture.scale.std(mixture.target_dim) * ndtri(q)
        return bisect(function, jnp.min(ends, axis=0), jnp.max(ends, axis=0))

    return jax.lax.custom_root(
        lambda y: _excess(mixture, q, y),
        mixture.locs[0],
        solve=solve,
        tangent_solve=lambda linear, rhs: rhs / linear(jnp.ones_like(rhs)),  # marginals do not interact
    )


def bisect(function: Callable[[Array], Array], low: Array, high: Array, more: int = 0) -> Array:
    """Roots of an elementwise rising function between `low` and `high`, to the last digits of the dtype.

    Where the root may be far smaller than the bracket, `more` halvings keep its digits.
    """

    def halve(_: int, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = low + 0.5 * (high - low)
        rising = function(middle) < 0
        return jnp.where(rising, middle, low), jnp.where(rising, high, middle)

    low, high = jax.lax.fori_loop(0, jnp.finfo(low.dtype).nmant + 8 + more, halve, (low, high))
    return low + 0.5 * (high - low)


def standardised(mixture: "Mixture", y: Float[Array, " D"]) -> Float[Array, "K D"]:
    """(y - mu_k) / std_k; at infinity a number whose square overflows, so that gradients stay numbers."""
    finite, far = jnp.isfinite(y), 2 * jnp.sqrt(jnp.finfo(y.dtype).max)
    z = (jnp.where(finite, y, 0.0)[None, :] - mixture.locs) / mixture.scale.std(mixture.target_dim)
    return jnp.where(finite[None, :], z, (far * jnp.sign(y))[None, :])


def log_ndtr(z: Float[Array, "..."]) -> Float[Array, "..."]:
    """log Phi(z). The derivative of JAX's own loses its digits in the tail."""
    in_tail = z < TAIL
    far, near = jnp.where(in_tail, z, TAIL), jnp.where(in_tail, TAIL, z)
    series = 1.0
    for odd in SERIES:  # 1 - 1/z^2 (1 - 3/z^2 (1 - 5/z^2 (...)))
        series = 1.0 - odd / far**2 * series
    tail = jnp.log(series) - 0.5 * far**2 - jnp.log(-far) - 0.5 * LOG_2PI
    return jnp.where(in_tail, tail, jnp.log(ndtr(near)))


def _log_below(mixture: "Mixture", z: Float[Array, "K D"]) -> Float[Array, " D"]:
    """log sum_k w_k Phi(z_k), from the smaller side."""
    log_weights = log_softmax(mixture.logits)[:, None]
    below, above = (logsumexp(log_weights + log_ndtr(side), axis=0) for side in (z, -z))
    smaller = jnp.where(below < above, below, above)
    return jnp.where(below < above, smaller, jnp.log1p(-jnp.exp(smaller)))


def _excess(mixture: "Mixture", q: Scalar, y: Float[Array, " D"]) -> Float[Array, " D"]:
    """F(y) - q, computed in the tail where q lies, which keeps the digits of a q near 1."""
    z = (y[None, :] - mixture.locs) / mixture.scale.std(mixture.target_dim)
    upper = q > 0.5
    tail = jnp.einsum("k,kd->d", mixture.weights, ndtr(jnp.where(upper, -z, z)), precision=PRECISION)
    return jnp.where(upper, (1 - q) - tail, tail - q)


def _about_the_mean(
    logits: Float[Array, " K"], means: Float[Array, "K D"]
) -> tuple[Float[Array, " D"], Float[Array, "K D"]]:
    """The mean, and the means' distances from it, which keep the digits that a large offset would cost."""
    average = partial(jnp.einsum, "k,kd->d", softmax(logits), precision=PRECISION)
    near = jax.lax.stop_gradient(average(means))
    apart = means - near[None, :]
    beyond = average(apart)
    return near + beyond, apart - beyond[None, :]

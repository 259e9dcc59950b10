"""Closed forms of a mixture of Gaussians' marginals: moments, distribution function, quantiles."""

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.nn import log_softmax, logsumexp, softmax
from jax.scipy.special import erf, ndtr, ndtri
from jax.scipy.stats import norm

from mdn_jax._checks import require
from mdn_jax._typing import Float, Scalar
from mdn_jax.distributions.scales import LOG_2PI, PRECISION, Triangular, length

if TYPE_CHECKING:
    from mdn_jax.distributions.mixture import Mixture

__all__ = [
    "bisect", "cdf", "covariance", "crps", "log_cdf", "log_mass", "log_ndtr", "log_survival", "mean",
    "quantile", "standardised", "std", "total_covariance", "total_mean", "total_std",
]  # fmt: skip

NARROWEST = 1e-18  # of the widest component's standard deviation: its square is still a float32
TAIL = -12.0  # standard deviations where log Phi turns to its series: Phi is still a float32
# nodes and weights on one side of the middle, exact to rounding across one standard deviation
GAUSS_LEGENDRE = list(zip(*(half[4:].tolist() for half in np.polynomial.legendre.leggauss(8))))
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


def log_mass(mixture: "Mixture", lower: Float[Array, " D"], upper: Float[Array, " D"]) -> Scalar:
    """log P(lower < Y <= upper) of a box."""
    require(
        mixture.target_dim == 1 or not isinstance(mixture.scale, Triangular),
        "log_mass needs independent targets, not a Triangular scale: take mdn.marginal(mixture, d) first",
    )
    span = upper - lower
    bounded = jnp.isfinite(span)[None, :]
    width = jnp.where(bounded, span[None, :], 0.0) / mixture.scale.std(mixture.target_dim)
    # the box's mirror image where its middle is above the centre: log Phi keeps its digits below
    low, high = standardised(mixture, lower), standardised(mixture, upper)
    low, high = jnp.where(low + high > 0, -high, low), jnp.where(low + high > 0, -low, high)
    narrow = bounded & (width * (1 - 0.5 * (low + high)) < 1)  # a difference of Phi would lose digits
    inside = _log_density_integral(jnp.where(narrow, 0.5 * (low + high), 0.0), jnp.where(narrow, width, 1.0))
    below, up_to = log_ndtr(jnp.where(narrow, -1.0, low)), log_ndtr(jnp.where(narrow, 0.0, high))
    each = jnp.where(narrow, inside, up_to + jnp.log1p(-jnp.exp(below - up_to)))
    return logsumexp(log_softmax(mixture.logits) + jnp.sum(each, axis=-1))


def crps(mixture: "Mixture", y: Float[Array, " D"]) -> Float[Array, " D"]:
    """E|Y - y| - E|Y - Y'| / 2 of each marginal."""
    weights, stds = mixture.weights, mixture.scale.std(mixture.target_dim)
    unit = jax.lax.stop_gradient(jnp.max(stds, axis=0))  # in units of the widest, squares are neither large nor tiny
    variances = jnp.maximum(stds / unit[None, :], NARROWEST) ** 2
    to_target = _mean_distance((y[None, :] - mixture.locs) / unit[None, :], variances)
    apart = (mixture.locs[:, None, :] - mixture.locs[None, :, :]) / unit[None, None, :]
    to_other = _mean_distance(apart, variances[:, None, :] + variances[None, :, :])
    first = jnp.einsum("k,kd->d", weights, to_target, precision=PRECISION)
    second = jnp.einsum("k,l,kld->d", weights, weights, to_other, precision=PRECISION)
    return unit * (first - 0.5 * second)


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


def _log_density_integral(middle: Float[Array, "..."], width: Float[Array, "..."]) -> Float[Array, "..."]:
    """log of the integral of phi over a narrow interval, by Gauss and Legendre's rule about its middle."""
    steps = [(0.5 * node * width, weight) for node, weight in GAUSS_LEGENDRE]
    ratio = sum(weight * jnp.exp(-0.5 * step**2) * jnp.cosh(middle * step) for step, weight in steps)
    return jnp.log(width) - 0.5 * middle**2 - 0.5 * LOG_2PI + jnp.log(ratio)


def _mean_distance(shift: Float[Array, "..."], variance: Float[Array, "..."]) -> Float[Array, "..."]:
    """E|X| for X normal with mean `shift`: 2 s phi(m / s) + m erf(m / (s sqrt(2)))."""
    scale = jnp.sqrt(variance)
    z = shift / scale
    return 2 * scale * norm.pdf(z) + shift * erf(math.sqrt(0.5) * z)

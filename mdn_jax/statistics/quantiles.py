"""Distribution function, its logarithm in both tails, quantiles and central intervals of a mixture's marginals."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.nn import log_softmax, logsumexp
from jax.scipy.special import ndtr, ndtri
from jax.scipy.stats import norm

from mdn_jax._checks import check_range, check_single, require
from mdn_jax._typing import Float, Scalar
from mdn_jax.distributions.mixture import Mixture, check_target
from mdn_jax.distributions.scales import LOG_2PI, PRECISION, Triangular

__all__ = ["bisect", "cdf", "interval", "log_cdf", "log_mass", "log_survival", "quantile", "tail_mean"]

TAIL = -12.0  # standard deviations where log Phi turns to its series: Phi is still a float32
SERIES = range(23, 0, -2)  # whose first twelve terms leave 4e-15 there
# nodes and weights on one side of the middle, exact to rounding across one standard deviation
GAUSS_LEGENDRE = list(zip(*(half[4:].tolist() for half in np.polynomial.legendre.leggauss(8))))


def cdf(mixture: Mixture, y: Float[Array, " D"]) -> Float[Array, " D"]:
    """P(Y_d <= y_d) for each target's marginal.

    Args:
        mixture: one mixture.
        y: (D,) one point.

    Returns:
        (D,) in [0, 1].

    Raises:
        InputError: for a batch (use `jax.vmap(mdn.cdf)`).

    Example:
        >>> import jax.numpy as jnp, mdn_jax as mdn
        >>> print(mdn.cdf(mdn.Mixture(jnp.zeros(1), jnp.zeros((1, 1)), mdn.Isotropic(jnp.zeros(1))), jnp.zeros(1)))
        [0.5]
    """
    mixture, y, _ = check_target("cdf", mixture, y)
    return jnp.einsum("k,kd->d", mixture.weights, ndtr(_standardised(mixture, y)), precision=PRECISION)


def log_cdf(mixture: Mixture, y: Float[Array, " D"]) -> Float[Array, " D"]:
    """log P(Y_d <= y_d) for each target's marginal, right in both tails.

    Args:
        mixture: one mixture.
        y: (D,) one point.

    Returns:
        (D,) nats, 0 or less.

    Raises:
        InputError: for a batch (use `jax.vmap(mdn.log_cdf)`).

    Example:
        >>> import jax.numpy as jnp, mdn_jax as mdn
        >>> mixture = mdn.Mixture(jnp.zeros(1), jnp.zeros((1, 1)), mdn.Isotropic(jnp.zeros(1)))
        >>> print(mdn.log_cdf(mixture, jnp.array([-15.0])).round(2))
        [-116.13]
    """
    mixture, y, _ = check_target("log_cdf", mixture, y)
    return _log_below(mixture, _standardised(mixture, y))


def log_survival(mixture: Mixture, y: Float[Array, " D"]) -> Float[Array, " D"]:
    """log P(Y_d > y_d) for each target's marginal, right in both tails.

    Args:
        mixture: one mixture.
        y: (D,) one point.

    Returns:
        (D,) nats, 0 or less.

    Raises:
        InputError: for a batch (use `jax.vmap(mdn.log_survival)`).

    Example:
        >>> import jax.numpy as jnp, mdn_jax as mdn
        >>> mixture = mdn.Mixture(jnp.zeros(1), jnp.zeros((1, 1)), mdn.Isotropic(jnp.zeros(1)))
        >>> print(mdn.log_survival(mixture, jnp.array([5.0])).round(1))
        [-15.1]
    """
    mixture, y, _ = check_target("log_survival", mixture, y)
    return _log_below(mixture, -_standardised(mixture, y))


def log_mass(mixture: Mixture, lower: Float[Array, " D"], upper: Float[Array, " D"]) -> Scalar:
    """log P(lower < Y <= upper), the probability of a box: what a rounded, counted or censored target has.

    Args:
        mixture: one mixture whose targets are independent within a component: `Isotropic`, `Diagonal`, or D = 1.
        lower: (D,) lower ends; -inf where there is none.
        upper: (D,) upper ends; inf where there is none.

    Returns:
        () nats, 0 or less, right in both tails and for narrow boxes.

    Raises:
        InputError: for a batch (use `jax.vmap(mdn.log_mass)`), or a full covariance of several targets.

    Example:
        >>> import jax.numpy as jnp, mdn_jax as mdn
        >>> mixture = mdn.Mixture(jnp.zeros(1), jnp.zeros((1, 1)), mdn.Isotropic(jnp.zeros(1)))
        >>> print(mdn.log_mass(mixture, jnp.array([5.0]), jnp.array([jnp.inf])).round(1))
        -15.1
    """
    _, upper, _ = check_target("log_mass", mixture, upper)
    mixture, lower, _ = check_target("log_mass", mixture, lower)
    require(
        mixture.target_dim == 1 or not isinstance(mixture.scale, Triangular),
        "log_mass needs independent targets, not a Triangular scale: take mdn.marginal(mixture, d) first",
    )
    span = upper - lower
    bounded = jnp.isfinite(span)[None, :]
    width = jnp.where(bounded, span[None, :], 0.0) / mixture.scale.std(mixture.target_dim)
    # the box's mirror image where its middle is above the centre: log Phi keeps its digits below
    low, high = _standardised(mixture, lower), _standardised(mixture, upper)
    low, high = jnp.where(low + high > 0, -high, low), jnp.where(low + high > 0, -low, high)
    narrow = bounded & (width * (1 - 0.5 * (low + high)) < 1)  # a difference of Phi would lose digits
    inside = _log_density_integral(jnp.where(narrow, 0.5 * (low + high), 0.0), jnp.where(narrow, width, 1.0))
    below, up_to = _log_ndtr(jnp.where(narrow, -1.0, low)), _log_ndtr(jnp.where(narrow, 0.0, high))
    each = jnp.where(narrow, inside, up_to + jnp.log1p(-jnp.exp(below - up_to)))
    return logsumexp(log_softmax(mixture.logits) + jnp.sum(each, axis=-1))


def quantile(mixture: Mixture, q: float | Scalar) -> Float[Array, " D"]:
    """The value below which a share `q` of each target's marginal lies.

    Differentiable in `q` and the mixture by the implicit rule: the derivative is 1 / density, unbounded where the
    density vanishes.

    Args:
        mixture: one mixture.
        q: () in [0, 1]; 0 and 1 give -inf and inf.

    Returns:
        (D,) in the units of the target.

    Raises:
        InputError: for a batch, of mixtures or of q (use `jax.vmap`).

    Example:
        >>> import jax.numpy as jnp, mdn_jax as mdn
        >>> print(mdn.quantile(mdn.Mixture(jnp.zeros(1), jnp.ones((1, 1)), mdn.Isotropic(jnp.zeros(1))), 0.5))
        [1.]
    """
    mixture = check_single("quantile", mixture, q=(jnp.asarray(q), ()))
    q = jnp.asarray(q, mixture.locs.dtype)
    inside = (q > 0) & (q < 1)
    root = _quantile(mixture, jnp.where(inside, q, 0.5))
    edge = jnp.where(q == 0, -jnp.inf, jnp.where(q == 1, jnp.inf, jnp.nan))
    return jnp.where(inside, root, edge)


def interval(mixture: Mixture, mass: float | Scalar) -> Float[Array, "2 D"]:
    """The central interval of each target's marginal that holds a share `mass` of it.

    Where the density has several branches this covers the gaps between them: see `highest_density`.

    Args:
        mixture: one mixture.
        mass: () in (0, 1), say 0.9.

    Returns:
        (2, D) the lower and the upper ends, in the units of the target.

    Raises:
        InputError: for a batch, of mixtures or of masses (use `jax.vmap`), or a mass outside (0, 1).

    Example:
        >>> import jax.numpy as jnp, mdn_jax as mdn
        >>> mixture = mdn.Mixture(jnp.zeros(1), jnp.zeros((1, 1)), mdn.Isotropic(jnp.zeros(1)))
        >>> print(mdn.interval(mixture, 0.9).round(2).ravel())
        [-1.64  1.64]
    """
    check_range("mass", mass, 0, 1)
    mixture = check_single("interval", mixture, mass=(jnp.asarray(mass), ()))
    mass = jnp.asarray(mass, mixture.locs.dtype)
    tail = (1 - mass) / 2
    return jnp.stack([quantile(mixture, tail), quantile(mixture, 1 - tail)])


def tail_mean(mixture: Mixture, q: float | Scalar) -> Float[Array, " D"]:
    """E[Y_d | Y_d > the q quantile] for each target's marginal: the expected shortfall of the upper tail.

    Args:
        mixture: one mixture.
        q: () in (0, 1), say 0.95.

    Returns:
        (D,) in the units of the target.

    Raises:
        InputError: for a batch, of mixtures or of q (use `jax.vmap`), or a q outside (0, 1).

    Example:
        >>> import jax.numpy as jnp, mdn_jax as mdn
        >>> mixture = mdn.Mixture(jnp.zeros(1), jnp.ones((1, 1)), mdn.Isotropic(jnp.zeros(1)))
        >>> print(mdn.tail_mean(mixture, 0.95).round(2))
        [3.06]
    """
    check_range("q", q, 0, 1)
    mixture = check_single("tail_mean", mixture, q=(jnp.asarray(q), ()))
    cut = quantile(mixture, q)
    z = _standardised(mixture, cut)
    beyond = norm.pdf(z) - z * ndtr(-z)  # E[(Z - z)^+]
    excess, survival = (
        jnp.einsum("k,kd->d", mixture.weights, of_each, precision=PRECISION)
        for of_each in (mixture.scale.std(mixture.target_dim) * beyond, ndtr(-z))
    )
    return cut + excess / survival


def bisect(function: Callable[[Array], Array], low: Array, high: Array) -> Array:
    """Roots of an elementwise rising function between `low` and `high`, to the last digits of the dtype."""

    def halve(_: int, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = low + 0.5 * (high - low)
        rising = function(middle) < 0
        return jnp.where(rising, middle, low), jnp.where(rising, high, middle)

    low, high = jax.lax.fori_loop(0, jnp.finfo(low.dtype).nmant + 8, halve, (low, high))
    return low + 0.5 * (high - low)


def _standardised(mixture: Mixture, y: Float[Array, " D"]) -> Float[Array, "K D"]:
    """(y - mu_k) / std_k; at infinity a number whose square overflows, so that gradients stay numbers."""
    finite, far = jnp.isfinite(y), 2 * jnp.sqrt(jnp.finfo(y.dtype).max)
    z = (jnp.where(finite, y, 0.0)[None, :] - mixture.locs) / mixture.scale.std(mixture.target_dim)
    return jnp.where(finite[None, :], z, (far * jnp.sign(y))[None, :])


def _log_ndtr(z: Float[Array, "..."]) -> Float[Array, "..."]:
    """log Phi(z). The derivative of JAX's own loses its digits in the tail."""
    in_tail = z < TAIL
    far, near = jnp.where(in_tail, z, TAIL), jnp.where(in_tail, TAIL, z)
    series = 1.0
    for odd in SERIES:  # 1 - 1/z^2 (1 - 3/z^2 (1 - 5/z^2 (...)))
        series = 1.0 - odd / far**2 * series
    tail = jnp.log(series) - 0.5 * far**2 - jnp.log(-far) - 0.5 * LOG_2PI
    return jnp.where(in_tail, tail, jnp.log(ndtr(near)))


def _log_density_integral(middle: Float[Array, "..."], width: Float[Array, "..."]) -> Float[Array, "..."]:
    """log of the integral of phi over a narrow interval, by Gauss and Legendre's rule about its middle."""
    steps = [(0.5 * node * width, weight) for node, weight in GAUSS_LEGENDRE]
    ratio = sum(weight * jnp.exp(-0.5 * step**2) * jnp.cosh(middle * step) for step, weight in steps)
    return jnp.log(width) - 0.5 * middle**2 - 0.5 * LOG_2PI + jnp.log(ratio)


def _log_below(mixture: Mixture, z: Float[Array, "K D"]) -> Float[Array, " D"]:
    """log sum_k w_k Phi(z_k), from the smaller side."""
    log_weights = log_softmax(mixture.logits)[:, None]
    below, above = (logsumexp(log_weights + _log_ndtr(side), axis=0) for side in (z, -z))
    smaller = jnp.where(below < above, below, above)
    return jnp.where(below < above, smaller, jnp.log1p(-jnp.exp(smaller)))


def _excess(mixture: Mixture, q: Scalar, y: Float[Array, " D"]) -> Float[Array, " D"]:
    """F(y) - q, computed in the tail where q lies, which keeps the digits of a q near 1."""
    z = (y[None, :] - mixture.locs) / mixture.scale.std(mixture.target_dim)
    upper = q > 0.5
    tail = jnp.einsum("k,kd->d", mixture.weights, ndtr(jnp.where(upper, -z, z)), precision=PRECISION)
    return jnp.where(upper, (1 - q) - tail, tail - q)


def _quantile(mixture: Mixture, q: Scalar) -> Float[Array, " D"]:
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

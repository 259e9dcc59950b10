"""Distribution function, its logarithm in both tails, quantiles and central intervals of each target's marginal."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array
from jax.nn import log_softmax, logsumexp
from jax.scipy.special import ndtr
from jax.scipy.stats import norm

from mdn_jax._checks import check_range
from mdn_jax._typing import Float, Scalar
from mdn_jax.distributions import Distribution, Independent, Merged, Mixture, Product, marginals
from mdn_jax.distributions.marginals import bisect, standardised
from mdn_jax.distributions.protocol import capability, check_target, dtype_of, of_each, single
from mdn_jax.distributions.scales import PRECISION

__all__ = ["cdf", "interval", "log_cdf", "log_mass", "log_survival", "mass_at", "quantile", "tail_mean"]

DOUBLINGS = 120  # of a bracket that starts one unit wide: any unit that a float32 holds


def cdf(distribution: Distribution, y: Float[Array, " D"]) -> Float[Array, " D"]:
    """P(Y_d <= y_d) for each target's marginal.

    Args:
        distribution: one distribution.
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
    distribution, y, _ = check_target("cdf", distribution, y)
    return of_each("cdf", distribution, "cdf", y)


def mass_at(distribution: Distribution, y: Float[Array, " D"]) -> Float[Array, " D"]:
    """P(Y_d = y_d) for each target's marginal: 0 where it has a density."""
    distribution, y, _ = check_target("mass_at", distribution, y)
    return of_each("mass_at", distribution, "mass_at", y, from_cdf=lambda _, y: jnp.zeros_like(y))


def log_cdf(distribution: Distribution, y: Float[Array, " D"]) -> Float[Array, " D"]:
    """log P(Y_d <= y_d) for each target's marginal, right in both tails.

    Args:
        distribution: one distribution.
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
    distribution, y, _ = check_target("log_cdf", distribution, y)
    return of_each("log_cdf", distribution, "log_cdf", y)


def log_survival(distribution: Distribution, y: Float[Array, " D"]) -> Float[Array, " D"]:
    """log P(Y_d > y_d) for each target's marginal, right in both tails.

    Args:
        distribution: one distribution.
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
    distribution, y, _ = check_target("log_survival", distribution, y)
    return of_each("log_survival", distribution, "log_survival", y)


def log_mass(distribution: Distribution, lower: Float[Array, " D"], upper: Float[Array, " D"]) -> Scalar:
    """log P(lower < Y <= upper), the probability of a box: what a rounded, counted or censored target has.

    Args:
        distribution: of mixtures one whose targets are independent within a component: `Isotropic`, `Diagonal`, or
            D = 1.
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
    _, upper, _ = check_target("log_mass", distribution, upper)
    distribution, lower, _ = check_target("log_mass", distribution, lower)
    return capability("log_mass", distribution, "log_mass", known=LOG_MASS)(lower, upper)


def quantile(distribution: Distribution, q: float | Scalar) -> Float[Array, " D"]:
    """The value below which a share `q` of each target's marginal lies.

    Differentiable in `q` and the distribution by the implicit rule: the derivative is 1 / density, unbounded where the
    density vanishes.

    Args:
        distribution: one distribution.
        q: () in [0, 1]; 0 and 1 give -inf and inf.

    Returns:
        (D,) in the units of the target.

    Raises:
        InputError: for a batch, of distributions or of q (use `jax.vmap`).

    Example:
        >>> import jax.numpy as jnp, mdn_jax as mdn
        >>> print(mdn.quantile(mdn.Mixture(jnp.zeros(1), jnp.ones((1, 1)), mdn.Isotropic(jnp.zeros(1))), 0.5))
        [1.]
    """
    distribution = single("quantile", distribution, q=(jnp.asarray(q), ()))
    q = jnp.asarray(q, dtype_of(distribution))
    inside = (q > 0) & (q < 1)
    root = of_each("quantile", distribution, "quantile", jnp.where(inside, q, 0.5), from_cdf=_quantile)
    edge = jnp.where(q == 0, -jnp.inf, jnp.where(q == 1, jnp.inf, jnp.nan))
    return jnp.where(inside, root, edge)


def interval(distribution: Distribution, mass: float | Scalar) -> Float[Array, "2 D"]:
    """The central interval of each target's marginal that holds a share `mass` of it.

    Where the density has several branches this covers the gaps between them: see `highest_density`.

    Args:
        distribution: one distribution.
        mass: () in (0, 1), say 0.9.

    Returns:
        (2, D) the lower and the upper ends, in the units of the target.

    Raises:
        InputError: for a batch, of distributions or of masses (use `jax.vmap`), or a mass outside (0, 1).

    Example:
        >>> import jax.numpy as jnp, mdn_jax as mdn
        >>> mixture = mdn.Mixture(jnp.zeros(1), jnp.zeros((1, 1)), mdn.Isotropic(jnp.zeros(1)))
        >>> print(mdn.interval(mixture, 0.9).round(2).ravel())
        [-1.64  1.64]
    """
    check_range("mass", mass, 0, 1)
    distribution = single("interval", distribution, mass=(jnp.asarray(mass), ()))
    tail = (1 - jnp.asarray(mass, dtype_of(distribution))) / 2
    ask = lambda q: of_each("interval", distribution, "quantile", q, from_cdf=_quantile)  # noqa: E731
    return jnp.stack([ask(tail), ask(1 - tail)])


def tail_mean(distribution: Distribution, q: float | Scalar) -> Float[Array, " D"]:
    """E[Y_d | Y_d > the q quantile] for each target's marginal: the expected shortfall of the upper tail.

    Args:
        distribution: one distribution.
        q: () in (0, 1), say 0.95.

    Returns:
        (D,) in the units of the target.

    Raises:
        InputError: for a batch, of distributions or of q (use `jax.vmap`), or a q outside (0, 1).

    Example:
        >>> import jax.numpy as jnp, mdn_jax as mdn
        >>> mixture = mdn.Mixture(jnp.zeros(1), jnp.ones((1, 1)), mdn.Isotropic(jnp.zeros(1)))
        >>> print(mdn.tail_mean(mixture, 0.95).round(2))
        [3.06]
    """
    check_range("q", q, 0, 1)
    distribution = single("tail_mean", distribution, q=(jnp.asarray(q), ()))
    q = jnp.asarray(q, dtype_of(distribution))
    return of_each("tail_mean", distribution, "tail_mean", q, known={Mixture: _tail_mean})


def _tail_mean(mixture: Mixture, q: Scalar) -> Float[Array, " D"]:
    cut = mixture.quantile(q)
    z = standardised(mixture, cut)
    beyond = norm.pdf(z) - z * ndtr(-z)  # E[(Z - z)^+]
    excess, survival = (
        jnp.einsum("k,kd->d", mixture.weights, each, precision=PRECISION)
        for each in (mixture.scale.std(mixture.target_dim) * beyond, ndtr(-z))
    )
    return cut + excess / survival


def _quantile(distribution: Distribution, q: Scalar) -> Float[Array, " 1"]:
    """The root of F(y) = q of one target that has a `cdf` alone, in a bracket doubled until it holds it."""
    cdf = capability("quantile", distribution, "cdf")

    def solve(function: Callable, start: Array) -> Array:
        def widen(_: int, ends: tuple[Array, Array]) -> tuple[Array, Array]:
            low, high = ends
            return jnp.where(function(low) > 0, 2 * low, low), jnp.where(function(high) < 0, 2 * high, high)

        ends = jax.lax.fori_loop(0, DOUBLINGS, widen, (start - 1, start + 1))
        return bisect(function, *ends, more=DOUBLINGS)

    return jax.lax.custom_root(
        lambda y: cdf(y) - q,
        jnp.zeros_like(q)[None],
        solve=solve,
        tangent_solve=lambda linear, rhs: rhs / linear(jnp.ones_like(rhs)),
    )


def _independent_log_mass(independent: Independent, lower: Float[Array, " D"], upper: Float[Array, " D"]) -> Scalar:
    return jnp.sum(jax.vmap(marginals.log_mass)(independent.mixtures, lower[:, None], upper[:, None]))


def _product_log_mass(product: Product, lower: Float[Array, " D"], upper: Float[Array, " D"]) -> Scalar:
    total, start = jnp.zeros_like(lower[0]), 0
    for part in product.parts:
        own = slice(start, start + part.target_dim)
        total += capability("log_mass", part, "log_mass", start, LOG_MASS)(lower[own], upper[own])
        start += part.target_dim
    return total


def _merged_log_mass(merged: Merged, lower: Float[Array, " D"], upper: Float[Array, " D"]) -> Scalar:
    each = [capability("log_mass", part, "log_mass", known=LOG_MASS)(lower, upper) for part in merged.parts]
    return logsumexp(log_softmax(merged.log_weights) + jnp.stack(each))


LOG_MASS = {Independent: _independent_log_mass, Product: _product_log_mass, Merged: _merged_log_mass}

"""Distribution function, quantiles and central intervals of a mixture's marginals."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.special import ndtr, ndtri

from mdn_jax._checks import check_range, check_single
from mdn_jax._typing import Float, Scalar
from mdn_jax.mixture import Mixture
from mdn_jax.scales import PRECISION

__all__ = ["bisect", "cdf", "interval", "quantile"]


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
    y = jnp.asarray(y)
    mixture = check_single("cdf", mixture, y=(y, mixture.locs.shape[-1:]))
    return _cdf(mixture, y.astype(jnp.promote_types(y.dtype, mixture.locs.dtype)))


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


def bisect(function: Callable[[Array], Array], low: Array, high: Array) -> Array:
    """Roots of an elementwise rising function between `low` and `high`, to the last digits of the dtype."""

    def halve(_: int, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = low + 0.5 * (high - low)
        rising = function(middle) < 0
        return jnp.where(rising, middle, low), jnp.where(rising, high, middle)

    low, high = jax.lax.fori_loop(0, jnp.finfo(low.dtype).nmant + 8, halve, (low, high))
    return low + 0.5 * (high - low)


def _cdf(mixture: Mixture, y: Float[Array, " D"]) -> Float[Array, " D"]:
    """sum_k w_k Phi((y - mu_k) / std_k)."""
    z = (y[None, :] - mixture.locs) / mixture.scale.std(mixture.target_dim)
    return jnp.einsum("k,kd->d", mixture.weights, ndtr(z), precision=PRECISION)


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

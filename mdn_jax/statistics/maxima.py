"""The modes of a mixture: mean shift from every centre, then Newton's steps."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from mdn_jax._checks import check_single
from mdn_jax._typing import Bool, Float, Int
from mdn_jax.mixture import Mixture, log_prob, responsibilities
from mdn_jax.scales import PRECISION

__all__ = ["mode", "modes", "weighted_modes"]

MEAN_SHIFT_STEPS = 100  # mean shift never goes downhill; Newton's steps finish what it has brought near
NEWTON_STEPS = 8
SAME_MODE = 1e-2  # in standard deviations of the noise around a point: nearer maxima are one mode


def modes(mixture: Mixture) -> tuple[Float[Array, "K D"], Float[Array, " K"], Bool[Array, " K"]]:
    """The maxima of the density that are reached uphill from the K centres, best first.

    Args:
        mixture: one mixture.

    Returns:
        points (K, D); log_probs (K,) their log densities, falling; distinct (K,) False where a point repeats an
        earlier one, so that `points[distinct]` are the modes. Components of no weight are never distinct.

    Raises:
        InputError: for a batch (use `jax.vmap(mdn.modes)`).

    Example:
        >>> import jax, jax.numpy as jnp, mdn_jax as mdn
        >>> locs = jnp.array([[-9.0], [9.0], [9.0]])
        >>> mixture = mdn.Mixture(jnp.array([0.0, 1.0, 0.0]), locs, mdn.Isotropic(jnp.zeros(3)))
        >>> points, log_probs, distinct = jax.jit(mdn.modes)(mixture)
        >>> print(points[distinct].ravel())
        [ 9. -9.]

    References:
        M. Á. Carreira-Perpiñán, "Mode-finding for mixtures of Gaussian distributions", 2000.
    """
    points, log_probs, distinct, _, _ = _maxima(check_single("modes", mixture))
    return points, log_probs, distinct


def weighted_modes(mixture: Mixture) -> tuple[Float[Array, "K D"], Float[Array, " K"], Bool[Array, " K"]]:
    """`modes` with the share of the mixture that belongs to each: the total weight of the components that lead there.

    Args:
        mixture: one mixture.

    Returns:
        points (K, D), best first; weights (K,) of the components whose centres climb to each, with sum 1 and 0 where a
        point is not distinct; distinct (K,).

    Raises:
        InputError: for a batch (use `jax.vmap`).

    Example:
        >>> import jax, jax.numpy as jnp, mdn_jax as mdn
        >>> from mdn_jax.statistics import weighted_modes
        >>> locs = jnp.array([[-9.0], [9.0], [9.0]])
        >>> mixture = mdn.Mixture(jnp.log(jnp.array([0.2, 0.3, 0.5])), locs, mdn.Isotropic(jnp.zeros(3)))
        >>> points, weights, distinct = jax.jit(weighted_modes)(mixture)
        >>> print(points[distinct].ravel(), [round(float(weight), 2) for weight in weights[distinct]])
        [ 9. -9.] [0.8, 0.2]
    """
    mixture = check_single("weighted_modes", mixture)
    points, _, distinct, order, squared = _maxima(mixture)
    # the nearest mode is a point's own where the climb ended on one, and a neighbour where it ended on a saddle
    nearest = jnp.argmin(jnp.where(distinct[None, :], squared, jnp.inf), axis=1)
    return points, jnp.zeros_like(mixture.logits).at[nearest].add(mixture.weights[order]), distinct


def _maxima(
    mixture: Mixture,
) -> tuple[Float[Array, "K D"], Float[Array, " K"], Bool[Array, " K"], Int[Array, " K"], Float[Array, "K K"]]:
    """`modes`, the components from which the points were reached, and the squared distances between the points."""
    precisions = _precisions(mixture)
    points = jax.vmap(lambda centre: _climb(mixture, precisions, centre))(mixture.locs)
    log_probs = jax.vmap(lambda y: log_prob(mixture, y))(points)
    log_probs = jnp.where(jnp.isneginf(mixture.logits), -jnp.inf, log_probs)
    order = jnp.argsort(-log_probs)
    points, log_probs = points[order], log_probs[order]
    # two points are one mode where they are near in units of the noise that surrounds them
    local = jax.vmap(lambda y: jnp.einsum("k,kij->ij", responsibilities(mixture, y), precisions))(points)
    apart = points[:, None, :] - points[None, :, :]
    squared = jnp.einsum("abi,aij,abj->ab", apart, local, apart, precision=PRECISION)
    same = squared < SAME_MODE**2
    repeated = jnp.any(same & jnp.tril(jnp.ones_like(same), -1), axis=1)
    return points, log_probs, _is_maximum(mixture, points) & ~repeated & ~jnp.isneginf(log_probs), order, squared


def mode(mixture: Mixture) -> Float[Array, " D"]:
    """The most probable point: the best of `modes`.

    Args:
        mixture: one mixture.

    Returns:
        (D,) in the units of the target.

    Raises:
        InputError: for a batch (use `jax.vmap(mdn.mode)`).

    Example:
        >>> import jax, jax.numpy as jnp, mdn_jax as mdn
        >>> mixture = mdn.Mixture(jnp.array([0.0, 1.0]), jnp.array([[-9.0], [9.0]]), mdn.Isotropic(jnp.zeros(2)))
        >>> print(jax.jit(mdn.mode)(mixture))
        [9.]
    """
    mixture = check_single("mode", mixture)
    return modes(mixture)[0][0]


def _climb(mixture: Mixture, precisions: Float[Array, "K D D"], start: Float[Array, " D"]) -> Float[Array, " D"]:
    """The maximum of the density uphill from `start`; differentiable where it is a strict maximum."""
    gradient = jax.grad(log_prob, argnums=1)

    def solve(_: Callable, y: Array) -> Array:
        def shift(_: int, y: Array) -> Array:
            weighted = responsibilities(mixture, y)[:, None, None] * precisions
            pull = jnp.einsum("kij,kj->i", weighted, mixture.locs - y[None, :], precision=PRECISION)
            return y + jnp.linalg.solve(jnp.sum(weighted, axis=0), pull)

        def newton(_: int, y: Array) -> Array:
            step = jnp.linalg.solve(jax.hessian(log_prob, argnums=1)(mixture, y), gradient(mixture, y))
            better = log_prob(mixture, y - step) > log_prob(mixture, y)
            return jnp.where(better, y - step, y)

        y = jax.lax.fori_loop(0, MEAN_SHIFT_STEPS, shift, y)
        return jax.lax.fori_loop(0, NEWTON_STEPS, newton, y)

    return jax.lax.custom_root(
        lambda y: gradient(mixture, y),
        start,
        solve=solve,
        tangent_solve=lambda linear, rhs: jnp.linalg.solve(jax.jacfwd(linear)(jnp.zeros_like(rhs)), rhs),
    )


def _precisions(mixture: Mixture) -> Float[Array, "K D D"]:
    """Sigma_k^{-1} = W_k^T W_k, without gradients: only the climb needs them."""
    whiteners = jax.lax.stop_gradient(mixture.scale.to_triangular(mixture.target_dim).whitener)
    return jnp.einsum("kji,kjl->kil", whiteners, whiteners, precision=PRECISION)


def _is_maximum(mixture: Mixture, points: Float[Array, "K D"]) -> Bool[Array, " K"]:
    """Whether the density curves downwards in every direction (a climb can end on a saddle by symmetry)."""
    curvature = jax.vmap(lambda y: jax.hessian(log_prob, argnums=1)(mixture, y))(points)
    return jnp.all(jnp.linalg.eigvalsh(curvature) < 0, axis=-1)

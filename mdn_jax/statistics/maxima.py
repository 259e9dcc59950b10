"""The modes of a mixture: read off its profile on a line, and reached uphill from every centre in several dimensions.

An ascent takes a short step of Newton's where the log density is concave, and mean shift, which never goes downhill,
elsewhere; each stops where it arrives.

References:
    M. Á. Carreira-Perpiñán, "Mode-finding for mixtures of Gaussian distributions", 2000.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from mdn_jax._typing import Bool, Float, Scalar
from mdn_jax.distributions import Distribution, Independent, Mixture, Product
from mdn_jax.distributions.protocol import capability, single
from mdn_jax.distributions.scales import PRECISION
from mdn_jax.statistics.line import peaks, profile

__all__ = ["mode", "modes", "weighted_modes"]

MOST_STEPS = 300
SHORT = 0.5  # standard deviations of the noise around a point: Newton's longer steps could leave the basin
ARRIVED = 0.1  # roots of the rounding error, in the same unit: Newton's next step has all digits
SAME_MODE = 1e-2  # in the same unit: nearer maxima are one mode


_Found = tuple[Float[Array, "K D"], Float[Array, " K"], Bool[Array, " K"]]


class _Modes(NamedTuple):
    points: Float[Array, "K D"]
    weights: Float[Array, " K"]
    distinct: Bool[Array, " K"]


def modes(distribution: Distribution) -> tuple[Float[Array, "K D"], Float[Array, " K"], Bool[Array, " K"]]:
    """The maxima of the density, best first: on a line all of them, else those reached uphill from the K centres.

    Of independent blocks the best combinations are kept, as many as the block with the most has; classes are all
    modes, the most probable first.

    Args:
        distribution: one distribution.

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
    """
    return _modes("modes", single("modes", distribution))


def weighted_modes(mixture: Mixture) -> tuple[Float[Array, "K D"], Float[Array, " K"], Bool[Array, " K"]]:
    """`modes` with the share of the mixture that belongs to each: the total weight of the components that lead there.

    Args:
        mixture: one mixture.

    Returns:
        points (K, D), best first; weights (K,) of the components whose centres rise to each, with sum 1 and 0 where a
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
    mixture = single("weighted_modes", mixture)
    found = _ranked(mixture)
    return _differentiable(mixture, found.points), found.weights, found.distinct


def mode(distribution: Distribution) -> Float[Array, " D"]:
    """The most probable point: the best of `modes`.

    Args:
        distribution: one distribution.

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
    return _modes("mode", single("mode", distribution))[0][0]


def _modes(function: str, distribution: Distribution, target: int = 0) -> _Found:
    if isinstance(distribution, Independent):
        points, log_probs, distinct = jax.vmap(_mixture_modes)(distribution.mixtures)
        return _folded([(points[d], log_probs[d], distinct[d]) for d in range(distribution.target_dim)])
    if isinstance(distribution, Product):
        starts = np.cumsum([target, *(part.target_dim for part in distribution.parts[:-1])])
        return _folded([_modes(function, part, int(start)) for part, start in zip(distribution.parts, starts)])
    return capability(function, distribution, "modes", target, {Mixture: _mixture_modes})()


def _mixture_modes(mixture: Mixture) -> _Found:
    found = _ranked(mixture)
    points = _differentiable(mixture, found.points)
    return points, jax.vmap(mixture.log_prob)(points), found.distinct


def _folded(blocks: list[_Found]) -> _Found:
    """Modes of independent blocks: each of one with each of the next, of which as many are kept as the larger had."""
    points, log_probs, distinct = blocks[0]
    for others, other_log_probs, other_distinct in blocks[1:]:
        one, two = jnp.divmod(jnp.arange(len(points) * len(others)), len(others))
        sums, both = log_probs[one] + other_log_probs[two], distinct[one] & other_distinct[two]
        best = jnp.argsort(jnp.where(both, -sums, jnp.inf))[: max(len(points), len(others))]
        points = jnp.concatenate([points[one[best]], others[two[best]]], axis=1)
        log_probs, distinct = sums[best], both[best]
    last = jnp.minimum(jnp.arange(len(points)), jnp.sum(distinct) - 1)  # behind the last one it is repeated
    return points[last], log_probs[last], distinct


def _ranked(mixture: Mixture) -> _Modes:
    """The modes without gradients, best first; behind the last one it is repeated."""
    mixture = jax.lax.stop_gradient(mixture)
    if mixture.target_dim > 1:
        return _ascended(mixture)
    points, weights, exists = peaks(profile(mixture))
    return _Modes(points[:, None], weights, exists)


def _differentiable(mixture: Mixture, points: Float[Array, "K D"]) -> Float[Array, "K D"]:
    """The same points, differentiable, where they are strict maxima, through what defines them: a gradient of 0."""
    return jax.vmap(
        lambda point: jax.lax.custom_root(
            lambda y: jax.grad(mixture.log_prob)(y),
            point,
            solve=lambda _, y: y,
            tangent_solve=lambda linear, rhs: jnp.linalg.solve(jax.jacfwd(linear)(jnp.zeros_like(rhs)), rhs),
        )
    )(points)


def _ascended(mixture: Mixture) -> _Modes:
    """The modes in several dimensions."""
    # from the first centre on and in units of the least deviation, whatever the targets' own
    origin, unit = mixture.locs[0], jnp.min(mixture.scale.std(mixture.target_dim), axis=0)
    local = Mixture(mixture.logits, (mixture.locs - origin[None, :]) / unit[None, :], mixture.scale.stretch(1 / unit))
    whiteners = local.scale.to_triangular(local.target_dim).whitener
    log_heights = jax.nn.log_softmax(local.logits) + local.scale.log_det(local.target_dim)
    ends = jax.vmap(lambda start: _ascend(log_heights, local.locs, whiteners, start))(local.locs)
    heights, _, metric, curvature = jax.vmap(lambda y: _shape(log_heights, local.locs, whiteners, y))(ends)
    maximum = jax.vmap(lambda matrix: _solve(-matrix, jnp.zeros_like(origin))[1])(curvature)
    heights = jnp.where(jnp.isneginf(mixture.logits), -jnp.inf, heights)
    order = jnp.argsort(-heights)
    ends, metric = ends[order], metric[order]
    # two points are one mode where they are near in units of the noise that surrounds them
    apart = ends[:, None, :] - ends[None, :, :]
    squared = jnp.einsum("abi,aij,abj->ab", apart, metric, apart, precision=PRECISION)
    repeated = jnp.any(jnp.tril(squared < SAME_MODE**2, -1), axis=1)
    distinct = maximum[order] & ~repeated & ~jnp.isneginf(heights[order])
    # the nearest mode is a point's own where the ascent ended on one, and a neighbour where it ended on a saddle
    nearest = jnp.argmin(jnp.where(distinct[None, :], squared, jnp.inf), axis=1)
    weights = jnp.zeros_like(heights).at[nearest].add(mixture.weights[order])
    return _Modes(origin[None, :] + unit[None, :] * ends, weights, distinct)


def _ascend(
    log_heights: Float[Array, " K"], locs: Float[Array, "K D"], whiteners: Float[Array, "K D D"], start: Array
) -> Float[Array, " D"]:
    """The end of the ascent from `start`."""
    least = ARRIVED * jnp.finfo(start.dtype).eps ** 0.5

    def onwards(now: tuple[Array, Array, Array]) -> Array:
        _, length, count = now
        return (length > least) & (count < MOST_STEPS)

    def step(now: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        y, _, count = now
        _, gradient, metric, curvature = _shape(log_heights, locs, whiteners, y)
        shift, (newton, concave) = _solve(metric, gradient)[0], _solve(-curvature, gradient)
        use = concave & (_length(metric, newton) < SHORT)
        step = jnp.where(use, newton, shift)
        return y + step, _length(metric, step), count + 1

    far = jnp.full_like(start[0], jnp.inf)
    return jax.lax.while_loop(onwards, step, (start, far, jnp.zeros_like(far, jnp.int32)))[0]


def _shape(
    log_heights: Float[Array, " K"], locs: Float[Array, "K D"], whiteners: Float[Array, "K D D"], y: Float[Array, " D"]
) -> tuple[Scalar, Float[Array, " D"], Float[Array, "D D"], Float[Array, "D D"]]:
    """Log density (but for a constant), its gradient, the precision of the noise around y, and the Hessian."""
    z = jnp.einsum("kij,kj->ki", whiteners, y[None, :] - locs, precision=PRECISION)
    terms = log_heights - 0.5 * jnp.sum(z**2, axis=1)
    shares = jax.nn.softmax(terms)
    pulls = jnp.einsum("kij,ki->kj", whiteners, z, precision=PRECISION)  # minus each component's own gradient
    gradient = -jnp.einsum("k,ki->i", shares, pulls, precision=PRECISION)
    metric = jnp.einsum("k,kli,klj->ij", shares, whiteners, whiteners, precision=PRECISION)
    # d2 log p = sum_k r_k (g_k g_k^T - P_k) - g g^T
    outer = jnp.einsum("k,ki,kj->ij", shares, pulls, pulls, precision=PRECISION)
    return jax.nn.logsumexp(terms), gradient, metric, outer - metric - gradient[:, None] * gradient[None, :]


def _solve(matrix: Float[Array, "D D"], rhs: Float[Array, " D"]) -> tuple[Float[Array, " D"], Bool[Array, ""]]:
    """The solution of a small symmetric system, and whether the matrix is positive definite: whether all pivots are."""
    rows, positive = jnp.concatenate([matrix, rhs[:, None]], axis=1), jnp.ones_like(rhs[0], bool)
    for i in range(rhs.size):
        pivot = rows[i, i]
        own = rows[i] / jnp.where(pivot == 0, 1.0, pivot)
        rows, positive = (rows - rows[:, i : i + 1] * own[None, :]).at[i].set(own), positive & (pivot > 0)
    return rows[:, -1], positive


def _length(metric: Float[Array, "D D"], step: Float[Array, " D"]) -> Scalar:
    return jnp.sqrt(jnp.maximum(jnp.einsum("i,ij,j->", step, metric, step, precision=PRECISION), 0.0))

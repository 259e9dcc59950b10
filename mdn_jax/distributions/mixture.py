r"""The mixture of Gaussians: one pytree, its density, and what can be done to it exactly.

    p(y) = sum_k w_k N(y; mu_k, Sigma_k),    w = softmax(logits)

Every function takes ONE mixture; a batch is the same pytree with leading axes on its leaves, and `jax.vmap` maps
over it. `merge`, `marginal`, `condition` and `affine` return mixtures again, without approximation.

References:
    C. M. Bishop, "Mixture density networks", Aston University NCRG/94/004, 1994.
"""

import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from mdn_jax._checks import InputError, check_single, promoted, require
from mdn_jax._pytrees import register
from mdn_jax._typing import Bool, Float, Scalar
from mdn_jax.distributions.scales import LOG_2PI, PRECISION, Scale, length, to_common, whiten_observed

__all__ = ["Mixture", "affine", "condition", "log_prob", "marginal", "merge", "responsibilities"]

SMALLEST_WEIGHT = 1e-37  # what a weight of 0 counts as: its inverse, the gradient of its logarithm, is still a float32


@register
@dataclass(frozen=True, eq=False)
class Mixture:
    """A mixture of K Gaussians in D dimensions.

    Attributes:
        logits: (K,) unnormalised log weights; -inf switches a component off.
        locs: (K, D) centres.
        scale: `Isotropic(log_std (K,))`, `Diagonal(log_std (K, D))` or `Triangular(whitener (K, D, D))`.

    Example:
        >>> import jax.numpy as jnp, mdn_jax as mdn
        >>> mixture = mdn.Mixture(jnp.zeros(2), jnp.array([[-1.0], [1.0]]), mdn.Isotropic(jnp.zeros(2)))
        >>> mixture.num_components, mixture.target_dim
        (2, 1)
    """

    logits: Float[Array, "*B K"]
    locs: Float[Array, "*B K D"]
    scale: Scale

    @property
    def num_components(self) -> int:
        """K."""
        return self.locs.shape[-2]

    @property
    def target_dim(self) -> int:
        """D."""
        return self.locs.shape[-1]

    @property
    def weights(self) -> Float[Array, "*B K"]:
        """The mixing coefficients, softmax(logits): positive, with sum 1."""
        return jax.nn.softmax(self.logits, axis=-1)


def log_prob(mixture: Mixture, y: Float[Array, " D"], *, observed: Bool[Array, " D"] | None = None) -> Scalar:
    """Log density of `y` in nats, constants included.

    Equivalent to `scipy.special.logsumexp(log w_k + scipy.stats.multivariate_normal.logpdf(y, mu_k, Sigma_k))`.
    Gradients follow Bishop's closed form, in which the responsibilities weigh the components' gradients; forward
    and reverse mode pass, to any order.

    Args:
        mixture: one mixture.
        y: (D,) one target.
        observed: (D,) which targets are known; the others are integrated out, exactly, and may be NaN.

    Returns:
        () nats per example, in the units of `y`.

    Raises:
        InputError: for a batch (use `jax.vmap(mdn.log_prob)`).

    Example:
        >>> import jax.numpy as jnp, mdn_jax as mdn
        >>> mixture = mdn.Mixture(jnp.zeros(1), jnp.zeros((1, 1)), mdn.Diagonal(jnp.zeros((1, 1))))
        >>> print(round(float(mdn.log_prob(mixture, jnp.array([0.0]))), 4))
        -0.9189
    """
    mixture, y, observed = check_target("log_prob", mixture, y, observed)
    infinite = jnp.isinf(y)
    value = _log_prob(mixture, jnp.where(infinite, 0.0, y), observed)
    far = jnp.max(jnp.where(infinite, jnp.abs(jax.lax.stop_gradient(y)), 0.0))
    return value - far  # a difference passes gradients on, sharded or not


def responsibilities(
    mixture: Mixture, y: Float[Array, " D"], *, observed: Bool[Array, " D"] | None = None
) -> Float[Array, " K"]:
    """Posterior probability of each component given `y`: w_k N_k(y) / p(y).

    Args:
        mixture: one mixture.
        y: (D,) one target.
        observed: (D,) which targets are known.

    Returns:
        (K,) with sum 1; where every density vanishes, as at infinity, their limit: all to what reaches farthest.

    Raises:
        InputError: for a batch (use `jax.vmap(mdn.responsibilities)`).

    Example:
        >>> import jax.numpy as jnp, mdn_jax as mdn
        >>> mixture = mdn.Mixture(jnp.zeros(2), jnp.array([[-9.0], [9.0]]), mdn.Isotropic(jnp.zeros(2)))
        >>> print(mdn.responsibilities(mixture, jnp.array([9.0])))
        [0. 1.]
    """
    mixture, y, observed = check_target("responsibilities", mixture, y, observed)
    infinite = jnp.isinf(y)
    log_normal = _log_normal(mixture, jnp.where(infinite, 0.0, y), observed)
    shares = _log_sum(jax.nn.log_softmax(mixture.logits) + log_normal)[1]
    limit = jax.lax.stop_gradient(_shares_in_the_limit(mixture, y, observed))
    return jnp.where(jnp.any(infinite) | (jnp.sum(shares) == 0), limit, shares)


def merge(
    mixtures: Sequence[Mixture] | Mixture,
    weights: Float[Array, " M"] | None = None,
    log_weights: Float[Array, " M"] | None = None,
) -> Mixture:
    """Several mixtures as one: p(y) = sum_m weights_m p_m(y), an ensemble's prediction.

    Args:
        mixtures: a sequence of mixtures of the same D, of any K and scale, or one batched mixture with a leading
            axis M on its leaves.
        weights: (M,) non-negative, normalised here; equal where absent. A weight of 0 counts as 1e-37, so that its
            gradient is right: leave a mixture out to switch it off.
        log_weights: (M,) their logarithms, in place of `weights`; any constant may be added.

    Returns:
        One mixture of all the components; where scales differ, in their most general spelling.

    Raises:
        InputError: for an empty sequence, different D, weights of another length, or both kinds of weights.

    Example:
        >>> import jax.numpy as jnp, mdn_jax as mdn
        >>> one = mdn.Mixture(jnp.zeros(1), jnp.zeros((1, 2)), mdn.Isotropic(jnp.zeros(1)))
        >>> mdn.merge([one, one]).locs.shape
        (2, 2)
    """
    if isinstance(mixtures, Mixture):
        require(
            mixtures.logits.ndim == 2 and mixtures.locs.ndim == 3,
            f"merge takes a sequence of mixtures or one batched mixture: logits (M, K), locs (M, K, D); got logits "
            f"{mixtures.logits.shape}, locs {mixtures.locs.shape}: use jax.vmap(mdn.merge) for a batch of ensembles",
        )
        count = mixtures.logits.shape[0]
        mixtures = [jax.tree.map(operator.itemgetter(index), mixtures) for index in range(count)]
    require(len(mixtures) > 0, "merge takes at least one mixture; got none")
    as_common = partial(jnp.asarray, dtype=promoted(*jax.tree.leaves(mixtures)))
    mixtures = [jax.tree.map(as_common, check_single("merge", mixture)) for mixture in mixtures]
    dims = sorted({mixture.target_dim for mixture in mixtures})
    require(len(dims) == 1, f"merge takes mixtures over the same targets; got target dimensions {dims}")
    logits = [jax.nn.log_softmax(mixture.logits) for mixture in mixtures]
    shares = _log_weights(weights, log_weights, len(mixtures), logits[0].dtype)
    scales = to_common([mixture.scale for mixture in mixtures], dims[0])
    return Mixture(
        logits=jnp.concatenate([own + shares[i] for i, own in enumerate(logits)]),
        locs=jnp.concatenate([mixture.locs for mixture in mixtures]),
        scale=jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *scales),
    )


def marginal(mixture: Mixture, dims: int | Sequence[int]) -> Mixture:
    """The mixture of some of the targets, the others integrated out.

    Args:
        mixture: one mixture.
        dims: static indices of the targets to keep, in the order wanted.

    Returns:
        A mixture with D = len(dims).

    Raises:
        InputError: for a batch, or for indices that repeat, are out of range, or are none.

    Example:
        >>> import jax.numpy as jnp, mdn_jax as mdn
        >>> mixture = mdn.Mixture(jnp.zeros(1), jnp.array([[1.0, 2.0]]), mdn.Isotropic(jnp.zeros(1)))
        >>> print(mdn.marginal(mixture, 1).locs)
        [[2.]]
    """
    mixture = check_single("marginal", mixture)
    kept = _indices("marginal", dims, mixture.target_dim)
    rest = tuple(d for d in range(mixture.target_dim) if d not in kept)
    return Mixture(mixture.logits, mixture.locs[:, list(kept)], mixture.scale.factor(rest, kept).given)


def condition(mixture: Mixture, dims: int | Sequence[int], values: Float[Array, " G"] | float) -> Mixture:
    """The mixture of the other targets once those in `dims` are known.

    Each component's weight is multiplied by its density at the known values; its centre moves by its regression.

    Args:
        mixture: one mixture.
        dims: static indices of the known targets.
        values: (len(dims),) what they are; a scalar where `dims` is one index.

    Returns:
        A mixture of the remaining targets, in their order.

    Raises:
        InputError: for a batch, for indices that repeat, are out of range, none or all, or values of another shape.

    Example:
        >>> import jax.numpy as jnp, mdn_jax as mdn
        >>> whitener = jnp.array([[[1.0, 0.0], [-3.0, 1.0]]])  # y_1 = 3 y_0 + noise
        >>> mixture = mdn.Mixture(jnp.zeros(1), jnp.zeros((1, 2)), mdn.Triangular(whitener))
        >>> print(mdn.condition(mixture, 0, 2.0).locs)
        [[6.]]
    """
    mixture = check_single("condition", mixture)
    given = _indices("condition", dims, mixture.target_dim)
    free = tuple(d for d in range(mixture.target_dim) if d not in given)
    require(bool(free), f"condition leaves nothing free: dims {given} are all {mixture.target_dim} targets")
    values = jnp.atleast_1d(jnp.asarray(values, mixture.locs.dtype))
    require(
        values.shape == (len(given),),
        f"condition takes one value per index, shape ({len(given)},); got {values.shape}: use jax.vmap(mdn.condition)",
    )
    factors = mixture.scale.factor(free, given)
    delta = values[None, :] - mixture.locs[:, list(given)]
    log_given = factors.given.log_det(len(given)) - 0.5 * jnp.sum(factors.given.whiten(delta) ** 2, axis=-1)
    locs = mixture.locs[:, list(free)]
    if factors.pull is not None:
        locs = locs - factors.free.colour(jnp.einsum("kfg,kg->kf", factors.pull, delta, precision=PRECISION))
    return Mixture(jax.nn.log_softmax(mixture.logits) + log_given, locs, factors.free)


def affine(mixture: Mixture, *, shift: Float[Array, " D"], scale: Float[Array, " D"]) -> Mixture:
    """The mixture of `shift + scale * y`: a change of units, or the undoing of a standardisation.

    Args:
        mixture: one mixture.
        shift: (D,) added.
        scale: (D,) factors of any sign, none zero.

    Returns:
        A mixture of the same kind of scale; `Isotropic` becomes `Diagonal`.

    Raises:
        InputError: for a batch, or for shapes other than (D,).

    Example:
        >>> import jax.numpy as jnp, mdn_jax as mdn
        >>> celsius = mdn.Mixture(jnp.zeros(1), jnp.array([[100.0]]), mdn.Diagonal(jnp.zeros((1, 1))))
        >>> print(mdn.affine(celsius, shift=jnp.array([32.0]), scale=jnp.array([1.8])).locs)
        [[212.]]
    """
    shift, scale, expected = jnp.asarray(shift), jnp.asarray(scale), mixture.locs.shape[-1:]
    mixture = check_single("affine", mixture, shift=(shift, expected), scale=(scale, expected))
    shift, scale = shift.astype(mixture.locs.dtype), scale.astype(mixture.locs.dtype)
    return Mixture(mixture.logits, shift[None, :] + scale[None, :] * mixture.locs, mixture.scale.stretch(scale))


def _log_weights(
    weights: Float[Array, " M"] | None, log_weights: Float[Array, " M"] | None, count: int, dtype: Any
) -> Float[Array, " M"]:
    """Normalised logarithms of the weights of a merge, equal where neither is given."""
    require(weights is None or log_weights is None, "merge takes weights or log_weights; got both: leave one out")
    given = jnp.asarray(next((w for w in (weights, log_weights) if w is not None), np.zeros(count)), dtype)
    require(given.shape == (count,), f"merge takes one weight per mixture, shape ({count},); got {given.shape}")
    if weights is not None:
        given = given / jnp.sum(given)
        given = jnp.log(jnp.where(given == 0, given + SMALLEST_WEIGHT, given))
    return jax.nn.log_softmax(given)


def check_target(
    function: str, mixture: Mixture, y: Float[Array, " D"], observed: Bool[Array, " D"] | None = None
) -> tuple[Mixture, Float[Array, " D"], Bool[Array, " D"] | None]:
    """Arrays of one mixture's shape, or an `InputError`; what is not observed is 0, whatever it was."""
    y, expected = jnp.asarray(y), mixture.locs.shape[-1:]
    arrays = {"y": (y, expected)}
    if observed is not None:
        observed = jnp.asarray(observed, bool)
        arrays["observed"] = (observed, expected)
    mixture = check_single(function, mixture, **arrays)
    mixture, y = jax.tree.map(partial(jnp.asarray, dtype=promoted(y, *jax.tree.leaves(mixture))), (mixture, y))
    return mixture, y if observed is None else jnp.where(observed, y, 0.0), observed


def _whiten(
    mixture: Mixture, delta: Float[Array, "K D"], observed: Bool[Array, " D"] | None
) -> tuple[Float[Array, "K D"], Float[Array, " K"]]:
    """z of each component, and the log of its density where z = 0."""
    if observed is None:
        z, log_det, num_observed = mixture.scale.whiten(delta), mixture.scale.log_det(delta.shape[-1]), delta.shape[-1]
    else:
        z, log_diagonal = whiten_observed(mixture.scale, delta, observed)
        log_det, num_observed = jnp.sum(log_diagonal, axis=-1), jnp.sum(observed, dtype=delta.dtype)
    return z, log_det - 0.5 * LOG_2PI * num_observed


def _log_normal(mixture: Mixture, y: Float[Array, " D"], observed: Bool[Array, " D"] | None) -> Float[Array, " K"]:
    """log N(y; mu_k, Sigma_k) of each component."""
    z, log_peak = _whiten(mixture, y[None, :] - mixture.locs, observed)
    return log_peak - 0.5 * jnp.sum(z**2, axis=-1)


@jax.custom_jvp
def _log_prob(mixture: Mixture, y: Float[Array, " D"], observed: Bool[Array, " D"] | None) -> Scalar:
    return _log_sum(jax.nn.log_softmax(mixture.logits) + _log_normal(mixture, y, observed))[0]


@_log_prob.defjvp
def _log_prob_jvp(primals: tuple, tangents: tuple) -> tuple[Scalar, Scalar]:
    # d log p = sum_k (r_k - w_k) d logit_k + sum_k r_k d log N_k, r the responsibilities (Bishop 1994, eq. 29 to 38)
    (mixture, y, observed), (mixture_dot, y_dot, _) = primals, tangents
    log_normal, log_normal_dot = jax.jvp(
        lambda mixture, y: _log_normal(mixture, y, observed), (mixture, y), (mixture_dot, y_dot)
    )
    normaliser, weights = _log_sum(mixture.logits)
    value, shares = _log_sum(mixture.logits - normaliser + log_normal)
    return value, jnp.sum(shares * log_normal_dot) + jnp.sum((shares - weights) * mixture_dot.logits)


def _log_sum(terms: Float[Array, " K"]) -> tuple[Scalar, Float[Array, " K"]]:
    """logsumexp and softmax of the same terms, from one exponential each."""
    limits = jnp.finfo(terms.dtype)
    largest = jnp.maximum(jax.lax.stop_gradient(jnp.max(terms)), limits.min)
    scaled = jnp.exp(terms - largest)
    total = jnp.sum(scaled)
    return largest + jnp.log(total), scaled / jnp.maximum(total, limits.tiny)  # 1 or more, but where all underflow


def _shares_in_the_limit(
    mixture: Mixture, y: Float[Array, " D"], observed: Bool[Array, " D"] | None
) -> Float[Array, " K"]:
    """Responsibilities at y = origin + t direction as t grows: |z|^2 = t^2 |a|^2 + 2 t a.b + |b|^2, term by term."""
    infinite = jnp.isinf(y)
    origin, endless = jnp.where(infinite, 0.0, y), jnp.where(infinite, jnp.sign(y), 0.0)
    finite = ~jnp.any(infinite)
    direction = jnp.where(finite, origin / jnp.maximum(jnp.max(jnp.abs(origin)), jnp.finfo(y.dtype).tiny), endless)
    origin = jnp.where(finite, 0.0, origin)
    a, log_peak = _whiten(mixture, jnp.broadcast_to(direction, mixture.locs.shape), observed)
    b, _ = _whiten(mixture, origin[None, :] - mixture.locs, observed)
    among, far = ~jnp.isneginf(mixture.logits), length(b)
    for distance in (length(a), jnp.sum(a * b, axis=-1)):
        among = among & (distance <= jnp.min(jnp.where(among, distance, jnp.inf)))
    nearest = jnp.min(jnp.where(among, far, jnp.inf))
    terms = mixture.logits + log_peak - 0.5 * (far - nearest) * (far + nearest)
    return _log_sum(jnp.where(among, terms, -jnp.inf))[1]


def _indices(function: str, dims: int | Sequence[int], target_dim: int) -> tuple[int, ...]:
    """Static target indices, checked, negative ones counted from the end."""
    listed = list(dims) if isinstance(dims, Iterable) else [dims]
    try:
        require(not any(isinstance(d, bool | np.bool_) for d in listed), "")
        given = tuple(operator.index(d) for d in listed)
    except (TypeError, InputError):
        raise InputError(f"{function} takes indices of targets, static integers; got {dims}") from None
    resolved = tuple(d + target_dim if d < 0 else d for d in given)
    require(
        len(resolved) > 0 and len(set(resolved)) == len(resolved) and all(0 <= d < target_dim for d in resolved),
        f"{function} takes distinct target indices from 0 to {target_dim - 1}; got {list(given)}",
    )
    return resolved

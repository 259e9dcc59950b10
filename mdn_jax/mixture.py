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

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from mdn_jax._checks import InputError, check_single, require
from mdn_jax._typing import Bool, Float, Scalar
from mdn_jax.scales import LOG_2PI, PRECISION, Scale, to_common, whiten_observed

__all__ = ["Mixture", "affine", "condition", "log_prob", "marginal", "merge", "responsibilities"]


@jax.tree_util.register_dataclass
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
    mixture, y, observed = _check_target("log_prob", mixture, y, observed)
    return _log_prob(mixture, y, observed)


def responsibilities(
    mixture: Mixture, y: Float[Array, " D"], *, observed: Bool[Array, " D"] | None = None
) -> Float[Array, " K"]:
    """Posterior probability of each component given `y`: w_k N_k(y) / p(y).

    Args:
        mixture: one mixture.
        y: (D,) one target.
        observed: (D,) which targets are known.

    Returns:
        (K,) positive, with sum 1.

    Raises:
        InputError: for a batch (use `jax.vmap(mdn.responsibilities)`).

    Example:
        >>> import jax.numpy as jnp, mdn_jax as mdn
        >>> mixture = mdn.Mixture(jnp.zeros(2), jnp.array([[-9.0], [9.0]]), mdn.Isotropic(jnp.zeros(2)))
        >>> print(mdn.responsibilities(mixture, jnp.array([9.0])))
        [0. 1.]
    """
    mixture, y, observed = _check_target("responsibilities", mixture, y, observed)
    return _log_sum(jax.nn.log_softmax(mixture.logits) + _log_normal(mixture, y, observed))[1]


def merge(mixtures: Sequence[Mixture] | Mixture, weights: Float[Array, " M"] | None = None) -> Mixture:
    """Several mixtures as one: p(y) = sum_m weights_m p_m(y), an ensemble's prediction.

    Args:
        mixtures: a sequence of mixtures of the same D, of any K and scale, or one batched mixture with a leading
            axis M on its leaves.
        weights: (M,) non-negative, normalised here; equal where absent.

    Returns:
        One mixture of all the components; where scales differ, in their most general spelling.

    Raises:
        InputError: for an empty sequence, different D, or weights of another length.

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
    mixtures = [check_single("merge", mixture) for mixture in mixtures]
    dims = sorted({mixture.target_dim for mixture in mixtures})
    require(len(dims) == 1, f"merge takes mixtures over the same targets; got target dimensions {dims}")
    weights = jnp.ones(len(mixtures)) if weights is None else jnp.asarray(weights)
    require(
        weights.shape == (len(mixtures),),
        f"merge takes one weight per mixture, shape ({len(mixtures)},); got {weights.shape}",
    )
    log_weights = jnp.log(weights / jnp.sum(weights))
    logits = [jax.nn.log_softmax(m.logits) + log_weights[i] for i, m in enumerate(mixtures)]
    scales = to_common([mixture.scale for mixture in mixtures], dims[0])
    return Mixture(
        logits=jnp.concatenate(logits),
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
    if factors.gain is not None:
        locs = locs + jnp.einsum("kfg,kg->kf", factors.gain, delta, precision=PRECISION)
    return Mixture(jax.nn.log_softmax(mixture.logits) + log_given, locs, factors.free)


def affine(mixture: Mixture, shift: Float[Array, " D"], scale: Float[Array, " D"]) -> Mixture:
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
        >>> print(mdn.affine(celsius, jnp.array([32.0]), jnp.array([1.8])).locs)
        [[212.]]
    """
    shift, scale, expected = jnp.asarray(shift), jnp.asarray(scale), mixture.locs.shape[-1:]
    mixture = check_single("affine", mixture, shift=(shift, expected), scale=(scale, expected))
    shift, scale = shift.astype(mixture.locs.dtype), scale.astype(mixture.locs.dtype)
    return Mixture(mixture.logits, shift[None, :] + scale[None, :] * mixture.locs, mixture.scale.stretch(scale))


def _check_target(
    function: str, mixture: Mixture, y: Float[Array, " D"], observed: Bool[Array, " D"] | None
) -> tuple[Mixture, Float[Array, " D"], Bool[Array, " D"] | None]:
    """Arrays of one mixture's shape, or an `InputError`; what is not observed is 0, whatever it was."""
    y, expected = jnp.asarray(y), mixture.locs.shape[-1:]
    arrays = {"y": (y, expected)}
    if observed is not None:
        observed = jnp.asarray(observed, bool)
        arrays["observed"] = (observed, expected)
    mixture = check_single(function, mixture, **arrays)
    y = y.astype(jnp.promote_types(y.dtype, mixture.locs.dtype))
    return mixture, y if observed is None else jnp.where(observed, y, 0.0), observed


def _log_normal(mixture: Mixture, y: Float[Array, " D"], observed: Bool[Array, " D"] | None) -> Float[Array, " K"]:
    """log N(y; mu_k, Sigma_k) of each component."""
    delta = y[None, :] - mixture.locs
    if observed is None:
        z, log_det, num_observed = mixture.scale.whiten(delta), mixture.scale.log_det(y.shape[0]), y.shape[0]
    else:
        z, log_diagonal = whiten_observed(mixture.scale, delta, observed)
        log_det, num_observed = jnp.sum(log_diagonal, axis=-1), jnp.sum(observed)
    return log_det - 0.5 * jnp.sum(z**2, axis=-1) - 0.5 * LOG_2PI * num_observed


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
    largest = jax.lax.stop_gradient(jnp.max(terms))
    scaled = jnp.exp(terms - largest)
    total = jnp.sum(scaled)
    return largest + jnp.log(total), scaled / total


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

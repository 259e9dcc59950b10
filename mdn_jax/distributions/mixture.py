r"""The mixture of Gaussians: one pytree, its density, and what can be done to it exactly.

    p(y) = sum_k w_k N(y; mu_k, Sigma_k),    w = softmax(logits)

Methods take ONE mixture; a batch is the same pytree with leading axes on its leaves, and `jax.vmap` maps over it.
Merging, marginals, conditionals and affine maps are mixtures again, without approximation.

References:
    C. M. Bishop, "Mixture density networks", Aston University NCRG/94/004, 1994.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from mdn_jax._pytrees import register
from mdn_jax._typing import Bool, Float, Scalar
from mdn_jax.distributions import marginals, sampling
from mdn_jax.distributions.scales import LOG_2PI, PRECISION, Scale, length, to_common, whiten_observed

__all__ = ["Mixture"]


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
    shapes: ClassVar[str] = "logits (K,), locs (K, D) and a scale to match"

    mean, std, covariance = marginals.mean, marginals.std, marginals.covariance
    cdf, log_cdf, log_survival = marginals.cdf, marginals.log_cdf, marginals.log_survival
    quantile = marginals.quantile
    sample, rsample = sampling.draw, sampling.draw_pathwise

    @property
    def num_components(self) -> int:
        """K."""
        return self.locs.shape[-2]

    @property
    def target_dim(self) -> int:
        return self.locs.shape[-1]

    @property
    def weights(self) -> Float[Array, "*B K"]:
        """The mixing coefficients, softmax(logits): positive, with sum 1."""
        return jax.nn.softmax(self.logits, axis=-1)

    @property
    def batch_shape(self) -> tuple[int, ...]:
        logits, locs = tuple(self.logits.shape), tuple(self.locs.shape)
        fits = len(logits) == 1 and len(locs) == 2 and logits[0] == locs[0] and self.scale.fits(*locs)
        return () if fits else logits[:-1] or locs[:-2] or (0,)

    def log_prob(self, y: Float[Array, " D"]) -> Scalar:
        return self.log_prob_observed(y, None)

    def log_prob_observed(self, y: Float[Array, " D"], observed: Bool[Array, " D"] | None) -> Scalar:
        """Log density of the observed targets; the others, 0 in `y`, are integrated out."""
        infinite = jnp.isinf(y)
        value = _log_prob(self, jnp.where(infinite, 0.0, y), observed)
        far = jnp.max(jnp.where(infinite, jnp.abs(jax.lax.stop_gradient(y)), 0.0))
        return value - far  # a difference passes gradients on, sharded or not

    def responsibilities(self, y: Float[Array, " D"], observed: Bool[Array, " D"] | None = None) -> Float[Array, " K"]:
        """w_k N_k(y) / p(y), or its limit where every density vanishes."""
        infinite = jnp.isinf(y)
        log_normal = _log_normal(self, jnp.where(infinite, 0.0, y), observed)
        shares = _log_sum(jax.nn.log_softmax(self.logits) + log_normal)[1]
        limit = jax.lax.stop_gradient(_shares_in_the_limit(self, y, observed))
        return jnp.where(jnp.any(infinite) | (jnp.sum(shares) == 0), limit, shares)

    @staticmethod
    def merge(parts: "Sequence[Mixture]", log_weights: Float[Array, " M"]) -> "Mixture":
        """All components in one mixture; where scales differ, in their most general spelling."""
        logits = [jax.nn.log_softmax(part.logits) for part in parts]
        scales = to_common([part.scale for part in parts], parts[0].target_dim)
        return Mixture(
            logits=jnp.concatenate([own + log_weights[i] for i, own in enumerate(logits)]),
            locs=jnp.concatenate([part.locs for part in parts]),
            scale=jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *scales),
        )

    def marginal(self, dims: tuple[int, ...]) -> "Mixture":
        rest = tuple(d for d in range(self.target_dim) if d not in dims)
        return Mixture(self.logits, self.locs[:, list(dims)], self.scale.factor(rest, dims).given)

    def condition(self, dims: tuple[int, ...], values: Float[Array, " G"]) -> "Mixture":
        free = tuple(d for d in range(self.target_dim) if d not in dims)
        factors = self.scale.factor(free, dims)
        delta = values[None, :] - self.locs[:, list(dims)]
        log_given = factors.given.log_det(len(dims)) - 0.5 * jnp.sum(factors.given.whiten(delta) ** 2, axis=-1)
        locs = self.locs[:, list(free)]
        if factors.pull is not None:
            locs = locs - factors.free.colour(jnp.einsum("kfg,kg->kf", factors.pull, delta, precision=PRECISION))
        return Mixture(jax.nn.log_softmax(self.logits) + log_given, locs, factors.free)

    def affine(self, shift: Float[Array, " D"], scale: Float[Array, " D"]) -> "Mixture":
        """The mixture of shift + scale * y; `Isotropic` becomes `Diagonal`."""
        return Mixture(self.logits, shift[None, :] + scale[None, :] * self.locs, self.scale.stretch(scale))

    def crps(self, y: Float[Array, " D"]) -> Float[Array, " D"]:
        return marginals.crps(self, y)

    def log_mass(self, lower: Float[Array, " D"], upper: Float[Array, " D"]) -> Scalar:
        return marginals.log_mass(self, lower, upper)

    def places(self, z: Float[np.ndarray, " Z"]) -> Float[Array, "K Z"]:
        """Values that lie `z` standard deviations from each component's centre, of one target."""
        return self.locs + self.scale.std(1) * np.asarray(z, self.locs.dtype)[None, :]

    def tempered(self, factor: Any, log_factor: Any) -> "Mixture":
        return Mixture(self.logits * factor, self.locs, self.scale.temper(log_factor))


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

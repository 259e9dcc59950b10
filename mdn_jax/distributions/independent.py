"""Targets that are independent given x, each with a mixture of its own, as in world models."""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from mdn_jax._pytrees import register
from mdn_jax._typing import Bool, Float, Key, Scalar
from mdn_jax.distributions.mixture import Mixture

__all__ = ["Independent"]


@register
@dataclass(frozen=True, eq=False)
class Independent:
    """D independent targets, each a mixture of K Gaussians: K^D components with D K (centre, scale, logit) only.

    Attributes:
        mixtures: one mixture with a leading axis D: logits (D, K), locs (D, K, 1), and a scale to match.

    Example:
        >>> import jax.numpy as jnp, mdn_jax as mdn
        >>> mixtures = mdn.Mixture(jnp.zeros((2, 3)), jnp.zeros((2, 3, 1)), mdn.Isotropic(jnp.zeros((2, 3))))
        >>> print(round(float(mdn.nll(mdn.Independent(mixtures), jnp.zeros(2))), 4))
        1.8379
    """

    mixtures: Mixture
    shapes: ClassVar[str] = "logits (D, K), locs (D, K, 1) and a scale to match"

    @property
    def target_dim(self) -> int:
        return self.mixtures.logits.shape[-2]

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return tuple(self.mixtures.logits.shape[:-2])

    def log_prob(self, y: Float[Array, " D"]) -> Scalar:
        return jnp.sum(jax.vmap(Mixture.log_prob)(self.mixtures, y[:, None]))

    def log_prob_observed(self, y: Float[Array, " D"], observed: Bool[Array, " D"]) -> Scalar:
        return jnp.sum(jnp.where(observed, jax.vmap(Mixture.log_prob)(self.mixtures, y[:, None]), 0.0))

    def sample(
        self, key: Key, shape: tuple[int, ...] = (), temperature: float | Float[Array, ""] = 1.0
    ) -> Float[Array, "*S D"]:
        keys = jax.random.split(key, self.target_dim)
        draws = jax.vmap(lambda key, mixture: mixture.sample(key, shape, temperature))(keys, self.mixtures)
        return jnp.moveaxis(draws[..., 0], 0, -1)

    def rsample(self, key: Key) -> Float[Array, " D"]:
        keys = jax.random.split(key, self.target_dim)
        return jax.vmap(lambda key, mixture: mixture.rsample(key))(keys, self.mixtures)[:, 0]

    def covariance(self) -> Float[Array, "D D"]:
        return jnp.diag(jax.vmap(Mixture.covariance)(self.mixtures)[:, 0, 0])

    def marginal(self, dims: tuple[int, ...]) -> "Mixture | Independent":
        kept = dims[0] if len(dims) == 1 else np.array(dims)
        mixtures = jax.tree.map(lambda leaf: leaf[kept], self.mixtures)
        return mixtures if len(dims) == 1 else Independent(mixtures)

    def condition(self, dims: tuple[int, ...], values: Float[Array, " G"]) -> "Mixture | Independent":
        return self.marginal(tuple(d for d in range(self.target_dim) if d not in dims))

    def affine(self, shift: Float[Array, " D"], scale: Float[Array, " D"]) -> "Independent":
        return Independent(jax.vmap(Mixture.affine)(self.mixtures, shift[:, None], scale[:, None]))

    def tempered(self, factor: Any, log_factor: Any) -> "Independent":
        return Independent(self.mixtures.tempered(factor, log_factor))

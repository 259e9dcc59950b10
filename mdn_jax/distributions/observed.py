"""A distribution some of whose targets are not known."""

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
from jax import Array

from mdn_jax._pytrees import register
from mdn_jax._typing import Bool, Float, Scalar
from mdn_jax.distributions.protocol import Distribution, capability

__all__ = ["Observed"]


@register
@dataclass(frozen=True, eq=False)
class Observed:
    """The distribution of the observed targets alone: `log_prob` and `responsibilities` of it, and nothing else.

    The others are integrated out, exactly, and may be NaN; the mask may differ from row to row of a batch.

    Attributes:
        distribution: of all D targets.
        mask: (D,) which of them are observed.

    Example:
        >>> import jax.numpy as jnp, mdn_jax as mdn
        >>> mixture = mdn.Mixture(jnp.zeros(1), jnp.zeros((1, 2)), mdn.Isotropic(jnp.zeros(1)))
        >>> seen = mdn.Observed(mixture, jnp.array([True, False]))
        >>> print(round(float(mdn.nll(seen, jnp.array([0.0, jnp.nan]))), 4))
        0.9189
    """

    distribution: "Distribution | Observed"
    mask: Bool[Array, "*B D"]
    refusal: ClassVar[str] = "{function} needs every target; some are missing"

    @property
    def target_dim(self) -> int:
        return self.mask.shape[-1]

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return self.distribution.batch_shape or tuple(self.mask.shape[:-1])

    def log_prob(self, y: Float[Array, " D"]) -> Scalar:
        return capability("log_prob", self.distribution, "log_prob_observed")(jnp.where(self.mask, y, 0.0), self.mask)

    def responsibilities(self, y: Float[Array, " D"]) -> Float[Array, " K"]:
        """Posterior probability of each component given the observed targets."""
        answer = capability("responsibilities", self.distribution, "responsibilities")
        return answer(jnp.where(self.mask, y, 0.0), self.mask)

"""A target of kinds: one of C classes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax import Array
from jax.nn import log_softmax

from mdn_jax._checks import require
from mdn_jax._pytrees import register
from mdn_jax._typing import Bool, Float, Key, Scalar
from mdn_jax.distributions.protocol import OneTarget
from mdn_jax.distributions.sampling import choose

__all__ = ["Categorical"]


@register
@dataclass(frozen=True, eq=False)
class Categorical(OneTarget):
    """One of C classes; a target (1,) holds the class's code, 0 to C - 1.

    Its `log_prob` is a log probability, -inf for what is no code. Classes have no mean, order or units.

    Attributes:
        logits: (C,) unnormalised log probabilities; -inf switches a class off.

    Example:
        >>> import jax.numpy as jnp, mdn_jax as mdn
        >>> weather = mdn.Categorical(jnp.log(jnp.array([0.2, 0.7, 0.1])))
        >>> print(mdn.nll(weather, jnp.array([1])).round(4), mdn.mode(weather))
        0.3567 [1.]
    """

    logits: Float[Array, "*B C"]
    refusal: ClassVar[str] = "{function} needs numbers; target {target} is categorical"
    shapes: ClassVar[str] = "logits (C,)"
    unitless: ClassVar[str] = "affine needs numbers; a categorical target has shift 0 and scale 1 only"

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return tuple(self.logits.shape[:-1])

    @property
    def kinds(self) -> tuple[int | None, ...]:
        return (self.logits.shape[-1],)

    @property
    def probs(self) -> Float[Array, "*B C"]:
        """The classes' probabilities, with sum 1."""
        return jax.nn.softmax(self.logits, axis=-1)

    def log_prob(self, y: Float[Array, " 1"]) -> Scalar:
        """Log probability of the class with code y; -inf where there is none."""
        codes = jnp.arange(self.logits.shape[0], dtype=y.dtype)
        return jnp.max(jnp.where(codes == y[0], log_softmax(self.logits), -jnp.inf))

    def sample(
        self, key: Key, shape: tuple[int, ...] = (), temperature: float | Float[Array, ""] = 1.0
    ) -> Float[Array, "*S 1"]:
        """Codes; temperature divides the logits, and 0 gives the most probable class."""
        tau = jnp.asarray(temperature, self.logits.dtype)
        return choose(key, self.logits, shape, tau)[..., None].astype(self.logits.dtype)

    def modes(self) -> tuple[Float[Array, "C 1"], Float[Array, " C"], Bool[Array, " C"]]:
        """All classes, most probable first, and which of them occur."""
        order = jnp.argsort(-self.logits)
        log_probs = log_softmax(self.logits)[order]
        return order[:, None].astype(log_probs.dtype), log_probs, ~jnp.isneginf(log_probs)

    def tempered(self, factor: Any, log_factor: Any) -> "Categorical":
        return Categorical(self.logits * factor)

    @staticmethod
    def merge(parts: "Sequence[Categorical]", log_weights: Float[Array, " M"]) -> "Categorical":
        """The mean of the probabilities, weighted."""
        sizes = sorted({part.logits.shape[0] for part in parts})
        require(len(sizes) == 1, f"merge takes categoricals over the same classes; got numbers of classes {sizes}")
        log_probs = jnp.stack([log_softmax(part.logits) for part in parts])
        return Categorical(jax.nn.logsumexp(log_weights[:, None] + log_probs, axis=0))

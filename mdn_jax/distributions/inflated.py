"""Numbers of which some values have a probability of their own: rain that is exactly 0, a share that is exactly 1."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.nn import log_softmax, logsumexp, softmax

from mdn_jax._pytrees import register
from mdn_jax._typing import Float, Key, Scalar
from mdn_jax.distributions.merged import merge
from mdn_jax.distributions.protocol import OneTarget
from mdn_jax.distributions.sampling import choose

__all__ = ["Inflated"]

FAR = np.array([-9.0])  # standard deviations: what lies beyond is nothing


@register
@dataclass(frozen=True, eq=False)
class Inflated(OneTarget):
    """A target that is one of A atoms, or else has the distribution `rest`: zero-inflated where the atom is 0.

    Its `log_prob` is a log probability at an atom, and elsewhere what that of `rest` is, a log density or probability.

    Attributes:
        logits: (1 + A,) unnormalised log probabilities of the rest, and of each atom.
        atoms: (A,) values in rising order.
        rest: of one target.

    Example:
        >>> import jax.numpy as jnp, mdn_jax as mdn
        >>> mixture = mdn.Mixture(jnp.zeros(1), jnp.zeros((1, 1)), mdn.Diagonal(jnp.zeros((1, 1))))
        >>> rain = mdn.Inflated(jnp.log(jnp.array([0.4, 0.6])), jnp.zeros(1), mdn.Positive(mixture, jnp.zeros(())))
        >>> print(mdn.nll(rain, jnp.zeros(1)).round(4), mdn.quantile(rain, 0.5), mdn.quantile(rain, 0.8).round(4))
        0.5108 [0.] [1.]
    """

    logits: Float[Array, "*B A"]
    atoms: Float[Array, "*B A"]
    rest: Any
    shapes: ClassVar[str] = "logits (1 + A,), atoms (A,) and a rest of one target"
    unitless: ClassVar[str] = "affine: a target with atoms has shift 0 and scale 1 only"

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return tuple(self.logits.shape[:-1])

    def log_prob(self, y: Float[Array, " 1"]) -> Scalar:
        log_weights, at = log_softmax(self.logits), self.atoms == y
        rest = log_weights[0] + self.rest.log_prob(y)
        atom = jnp.max(jnp.where(at, log_weights[1:], -jnp.inf))
        both = jnp.logaddexp(atom, rest) if hasattr(self.rest, "mass_at") else atom  # a density gives one value nothing
        return jnp.where(at.any(), both, rest)

    def stand_in(self, y: Float[Array, " 1"]) -> Float[Array, " 1"]:
        return self.atoms[:1]

    def sample(
        self, key: Key, shape: tuple[int, ...] = (), temperature: float | Float[Array, ""] = 1.0
    ) -> Float[Array, "*S 1"]:
        which, other = jax.random.split(key)
        chosen = choose(which, self.logits, shape, jnp.asarray(temperature, self.logits.dtype))[..., None]
        return jnp.where(chosen == 0, self.rest.sample(other, shape, temperature), self.atoms[chosen - 1])

    def cdf(self, y: Float[Array, " 1"]) -> Float[Array, " 1"]:
        weights = softmax(self.logits)
        return weights[0] * self.rest.cdf(y) + jnp.sum(jnp.where(self.atoms <= y, weights[1:], 0.0))[None]

    def mass_at(self, y: Float[Array, " 1"]) -> Float[Array, " 1"]:
        """Probability of exactly y."""
        weights = softmax(self.logits)
        other = getattr(self.rest, "mass_at", jnp.zeros_like)(y)
        return weights[0] * other + jnp.sum(jnp.where(self.atoms == y, weights[1:], 0.0))[None]

    def quantile(self, q: Scalar) -> Float[Array, " 1"]:
        """The smallest y with F(y) >= q: with j atoms below it a quantile of the rest, up to the next atom."""
        weights = softmax(self.logits)
        below = jnp.concatenate([jnp.zeros(1, weights.dtype), jnp.cumsum(weights[1:])])
        share = (q - below) / weights[0]
        tiny = jnp.finfo(weights.dtype).eps
        within = jax.vmap(self.rest.quantile)(jnp.clip(share, tiny, 1 - tiny))[:, 0]
        most = jnp.concatenate([self.atoms, within[-1:]])  # the next atom, or no limit
        found = jnp.where(share >= 1, most, jnp.minimum(within, most))
        return jnp.max(jnp.where(share > 0, found, -jnp.inf))[None]

    def mean(self) -> Float[Array, " 1"]:
        weights = softmax(self.logits)
        return weights[0] * self.rest.mean() + jnp.sum(weights[1:] * self.atoms)[None]

    def std(self) -> Float[Array, " 1"]:
        weights, mean, other = softmax(self.logits), self.mean(), self.rest.mean()
        within = weights[0] * (self.rest.std() ** 2 + (other - mean) ** 2)
        return jnp.sqrt(within + jnp.sum(weights[1:] * (self.atoms - mean) ** 2)[None])

    def covariance(self) -> Float[Array, "1 1"]:
        return self.std()[None] ** 2

    def crps(self, y: Float[Array, " 1"]) -> Float[Array, " 1"]:
        """E|Y - y| - E|Y - Y'| / 2, from the scores of the rest at y, at the atoms and far away."""
        weights = softmax(self.logits)
        score = lambda at: self.rest.crps(at[None])[0]  # noqa: E731
        # where y lies beyond all of the rest, E|R - y| = |mean - y|: so much is half the mean difference
        far = jnp.min(self.rest.places(FAR))[None]
        half = (self.rest.mean() - far - self.rest.crps(far))[0]
        from_y, from_atoms = score(y[0]) + half, jax.vmap(score)(self.atoms) + half
        apart = jnp.abs(self.atoms[:, None] - self.atoms[None, :])
        own = jnp.sum(weights[1:, None] * weights[None, 1:] * apart)
        to_y = weights[0] * from_y + jnp.sum(weights[1:] * jnp.abs(self.atoms - y))
        pairs = weights[0] ** 2 * 2 * half + 2 * weights[0] * jnp.sum(weights[1:] * from_atoms) + own
        return (to_y - 0.5 * pairs)[None]

    def tempered(self, factor: Any, log_factor: Any) -> "Inflated":
        return replace(self, logits=self.logits * factor, rest=self.rest.tempered(factor, log_factor))

    @staticmethod
    def merge(parts: "Sequence[Inflated]", log_weights: Float[Array, " M"]) -> "Inflated":
        """The mean of the probabilities, weighted, and the rests by what is left; the parts' atoms are the same."""
        each = log_weights[:, None] + jnp.stack([log_softmax(part.logits) for part in parts])
        rest = merge([part.rest for part in parts], log_weights=each[:, 0])
        return Inflated(logsumexp(each, axis=0), parts[0].atoms, rest)

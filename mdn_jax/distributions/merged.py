r"""Distributions merged into one: p(y) = sum_m w_m p_m(y), an ensemble's prediction."""

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.nn import log_softmax, logsumexp

from mdn_jax._checks import require
from mdn_jax._pytrees import register
from mdn_jax._typing import Bool, Float, Key, Scalar
from mdn_jax.distributions.marginals import total_covariance, total_mean, total_std
from mdn_jax.distributions.protocol import Distribution, as_dtype, capability, dtype_of, of_each, shapes_of, single
from mdn_jax.distributions.sampling import choose
from mdn_jax.distributions.scales import PRECISION

__all__ = ["Merged", "merge"]

SMALLEST_WEIGHT = 1e-37  # what a weight of 0 counts as: its inverse, the gradient of its logarithm, is still a float32


@register
@dataclass(frozen=True, eq=False)
class Merged:
    """A mixture of distributions of any kinds over the same targets; made by `merge`.

    Attributes:
        log_weights: (M,) unnormalised.
        parts: M distributions.

    Example:
        >>> import jax.numpy as jnp, mdn_jax as mdn
        >>> parts = [mdn.Product((mdn.Categorical(jnp.array([logit, 0.0])),) * 2) for logit in (-9.0, 9.0)]
        >>> merged = mdn.merge(parts)
        >>> print(type(merged).__name__, jnp.exp(mdn.log_prob(merged, jnp.array([1, 1]))).round(2))
        Merged 0.5
    """

    log_weights: Float[Array, "*B M"]
    parts: tuple[Distribution, ...]

    @property
    def target_dim(self) -> int:
        return self.parts[0].target_dim

    @property
    def kinds(self) -> tuple[int | None, ...]:
        return getattr(self.parts[0], "kinds", (None,) * self.target_dim)

    @property
    def periods(self) -> Float[Array, " D"] | None:
        return getattr(self.parts[0], "periods", None)

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return tuple(self.log_weights.shape[:-1])

    def log_prob(self, y: Float[Array, " D"]) -> Scalar:
        return logsumexp(self._log_shares("log_prob", "log_prob", y))

    def log_prob_observed(self, y: Float[Array, " D"], observed: Bool[Array, " D"]) -> Scalar:
        return logsumexp(self._log_shares("log_prob", "log_prob_observed", y, observed))

    def mean(self) -> Float[Array, " D"]:
        if self.periods is not None:
            return self._of_marginals("mean")
        return total_mean(self.log_weights, self._each("mean", "mean"))

    def std(self) -> Float[Array, " D"]:
        if self.periods is not None:
            return self._of_marginals("std")
        return total_std(self.log_weights, self._each("std", "mean"), self._each("std", "std"))

    def covariance(self) -> Float[Array, "D D"]:
        within = jnp.stack([capability("covariance", part, "covariance")() for part in self.parts])
        return total_covariance(self.log_weights, self._each("covariance", "mean"), within)

    def cdf(self, y: Float[Array, " D"]) -> Float[Array, " D"]:
        if self.periods is not None:
            return self._of_marginals("cdf", y)
        return jnp.einsum("m,md->d", jax.nn.softmax(self.log_weights), self._each("cdf", "cdf", y), precision=PRECISION)

    def sample(
        self, key: Key, shape: tuple[int, ...] = (), temperature: float | Float[Array, ""] = 1.0
    ) -> Float[Array, "*S D"]:
        """Draws of parts drawn by their weights, both at this temperature."""
        part_key, *keys = jax.random.split(key, 1 + len(self.parts))
        chosen = choose(part_key, self.log_weights, shape, jnp.asarray(temperature, self.log_weights.dtype))
        draws = jnp.stack([part.sample(own, shape, temperature) for part, own in zip(self.parts, keys)])
        return jnp.take_along_axis(draws, chosen[None, ..., None], axis=0)[0]

    def marginal(self, dims: tuple[int, ...]) -> Distribution:
        return merge([part.marginal(dims) for part in self.parts], log_weights=self.log_weights)

    def condition(self, dims: tuple[int, ...], values: Float[Array, " G"]) -> Distribution:
        """The parts' conditionals, weighed by what each said of the known targets."""
        given = jnp.stack([part.marginal(dims).log_prob(values) for part in self.parts])
        free = [capability("condition", part, "condition")(dims, values) for part in self.parts]
        return merge(free, log_weights=log_softmax(self.log_weights) + given)

    def affine(self, shift: Float[Array, " D"], scale: Float[Array, " D"]) -> "Merged":
        return Merged(self.log_weights, tuple(part.affine(shift, scale) for part in self.parts))

    def tempered(self, factor: Any, log_factor: Any) -> "Merged":
        parts = (capability("temper", part, "tempered")(factor, log_factor) for part in self.parts)
        return Merged(self.log_weights * factor, tuple(parts))

    def _log_shares(self, function: str, name: str, *given: Array) -> Float[Array, " M"]:
        """log w_m + log p_m."""
        each = jnp.stack([capability(function, part, name)(*given) for part in self.parts])
        return log_softmax(self.log_weights) + each

    def _of_marginals(self, name: str, *given: Float[Array, " D"]) -> Float[Array, " D"]:
        """The answer `name` of each target's marginal: what goes round is not told by sums over parts."""
        each = ((self.marginal((d,)), [row[d : d + 1] for row in given]) for d in range(self.target_dim))
        return jnp.concatenate([of_each(name, one, name, *own) for one, own in each])

    def _each(self, function: str, name: str, *given: Array) -> Float[Array, "M D"]:
        """The answer `name` of every part."""
        return jnp.stack([of_each(function, part, name, *given) for part in self.parts])


def merge(
    distributions: Sequence[Distribution] | Distribution,
    weights: Float[Array, " M"] | None = None,
    log_weights: Float[Array, " M"] | None = None,
) -> Distribution:
    """Several distributions as one: p(y) = sum_m weights_m p_m(y), an ensemble's prediction.

    Args:
        distributions: a sequence of distributions of the same D, mixtures of any K and scale, or one batched
            distribution with a leading axis M on its leaves.
        weights: (M,) non-negative, normalised here; equal where absent. A weight of 0 counts as 1e-37, so that its
            gradient is right: leave one out to switch it off.
        log_weights: (M,) their logarithms, in place of `weights`; any constant may be added.

    Returns:
        Of mixtures one mixture of all the components; where scales differ, in their most general spelling. Of
        categoricals one categorical. Of others a `Merged`.

    Raises:
        InputError: for an empty sequence, different D, targets on a circle beside others on a line, weights of another
            length, or both kinds of weights.

    Example:
        >>> import jax.numpy as jnp, mdn_jax as mdn
        >>> one = mdn.Mixture(jnp.zeros(1), jnp.zeros((1, 2)), mdn.Isotropic(jnp.zeros(1)))
        >>> mdn.merge([one, one]).locs.shape
        (2, 2)
    """
    if not isinstance(distributions, Sequence):
        kind, batch = type(distributions).__name__.lower(), distributions.batch_shape
        require(
            len(batch) == 1 and batch != (0,),
            f"merge takes a sequence of {kind}s or one batched {kind}, a leading axis M on its leaves; got "
            f"{shapes_of(distributions)}: use jax.vmap(mdn.merge) for a batch of ensembles",
        )
        distributions = [jax.tree.map(operator.itemgetter(index), distributions) for index in range(batch[0])]
    require(len(distributions) > 0, "merge takes at least one distribution; got none")
    dtype = dtype_of(distributions)
    parts = [as_dtype(single("merge", one), dtype) for one in distributions]
    dims = sorted({one.target_dim for one in parts})
    require(len(dims) == 1, f"merge takes distributions over the same targets; got target dimensions {dims}")
    round_it = {getattr(one, "periods", None) is not None for one in parts}
    require(len(round_it) == 1, "merge takes targets that lie on circles in all of its distributions, or in none")
    shares = _log_weights(weights, log_weights, len(parts), dtype)
    family = {type(one) for one in parts}
    closed = getattr(family.pop(), "merge", None) if len(family) == 1 else None
    return Merged(shares, tuple(parts)) if closed is None else closed(parts, shares)


def _log_weights(
    weights: Float[Array, " M"] | None, log_weights: Float[Array, " M"] | None, count: int, dtype: Any
) -> Float[Array, " M"]:
    """Normalised logarithms of the weights of a merge, equal where neither is given."""
    require(weights is None or log_weights is None, "merge takes weights or log_weights; got both: leave one out")
    given = jnp.asarray(next((w for w in (weights, log_weights) if w is not None), np.zeros(count)), dtype)
    require(given.shape == (count,), f"merge takes one weight per distribution, shape ({count},); got {given.shape}")
    if weights is not None:
        given = given / jnp.sum(given)
        given = jnp.log(jnp.where(given == 0, given + SMALLEST_WEIGHT, given))
    return jax.nn.log_softmax(given)

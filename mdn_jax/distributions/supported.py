r"""Numbers that know bounds: a mixture of Gaussians behind a map, so that no mass lies where no value can.

    positive   y = low + exp(t)                          t = log(y - low)
    bounded    y = low + (high - low) / (1 + exp(-t))    t = log((y - low) / (high - y))

t has a mixture of Gaussians, and p(y) = p(t) dt/dy, exactly. Bounds are open: no density reaches them.

References:
    J. Aitchison and S. M. Shen, "Logistic-normal distributions: some properties and uses", 1980.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from mdn_jax._pytrees import register
from mdn_jax._typing import Float, Key, Scalar
from mdn_jax.distributions.marginals import log_mass, total_mean, total_std
from mdn_jax.distributions.mixture import Mixture
from mdn_jax.distributions.protocol import OneTarget

__all__ = ["Bounded", "Positive"]

NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(64)  # E f(Z) of a smooth f to rounding
WEIGHTS = WEIGHTS / WEIGHTS.sum()
PANEL = tuple(0.5 * (one + start) for one, start in zip(np.polynomial.legendre.leggauss(8), (1.0, 0.0)))  # on (0, 1)
KNOTS = (
    -8.0,
    -5.0,
    -3.0,
    -2.0,
    -1.0,
    0.0,
    1.0,
    2.0,
    3.0,
    5.0,
    8.0,
)  # standard deviations between which cdfs are smooth


class _Supported(OneTarget):
    """The methods that a map, its inverse and its slope give one target."""

    mixture: Mixture
    shapes: ClassVar[str] = "a mixture of one target and () bounds"
    unitless: ClassVar[str] = "affine: a target with bounds has shift 0 and scale 1 only"

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return self.mixture.batch_shape

    def log_prob(self, y: Float[Array, " 1"]) -> Scalar:
        t, log_slope, side = self._seen(y)
        return jnp.where(side[0] == 0, self.mixture.log_prob(t) + log_slope[0], -jnp.inf)

    def stand_in(self, y: Float[Array, " 1"]) -> Float[Array, " 1"]:
        return self._value(jnp.zeros_like(y))

    def sample(
        self, key: Key, shape: tuple[int, ...] = (), temperature: float | Float[Array, ""] = 1.0
    ) -> Float[Array, "*S 1"]:
        return self._value(self.mixture.sample(key, shape, temperature))

    def rsample(self, key: Key) -> Float[Array, " 1"]:
        return self._value(self.mixture.rsample(key))

    def cdf(self, y: Float[Array, " 1"]) -> Float[Array, " 1"]:
        t, _, side = self._seen(y)
        return jnp.where(side == 0, self.mixture.cdf(t), (side > 0).astype(y.dtype))

    def log_cdf(self, y: Float[Array, " 1"]) -> Float[Array, " 1"]:
        t, _, side = self._seen(y)
        return jnp.where(side == 0, self.mixture.log_cdf(t), jnp.where(side > 0, 0.0, -jnp.inf))

    def log_survival(self, y: Float[Array, " 1"]) -> Float[Array, " 1"]:
        t, _, side = self._seen(y)
        return jnp.where(side == 0, self.mixture.log_survival(t), jnp.where(side > 0, -jnp.inf, 0.0))

    def log_mass(self, lower: Float[Array, " 1"], upper: Float[Array, " 1"]) -> Scalar:
        (low, _, below), (high, _, above) = self._seen(lower), self._seen(upper)
        ends = (
            jnp.where(side == 0, t, side * jnp.asarray(np.inf, t.dtype)) for t, side in ((low, below), (high, above))
        )
        outside = (below * above > 0)[0]  # both ends beyond one bound
        low, high = (jnp.where(outside, at, end) for end, at in zip(ends, (-1.0, 1.0)))
        return jnp.where(outside, -jnp.inf, log_mass(self.mixture, low, high))

    def quantile(self, q: Scalar) -> Float[Array, " 1"]:
        return self._value(self.mixture.quantile(q))

    def mean(self) -> Float[Array, " 1"]:
        return total_mean(self.mixture.logits, self._moments()[0])

    def std(self) -> Float[Array, " 1"]:
        return total_std(self.mixture.logits, *self._moments())

    def covariance(self) -> Float[Array, "1 1"]:
        return self.std()[None] ** 2

    def crps(self, y: Float[Array, " 1"]) -> Float[Array, " 1"]:
        """The integral over y' of (F(y') - [y <= y'])^2, behind the map, where F is smooth between two knots."""
        stds = self.mixture.scale.std(1)
        knots = jnp.sort((self.mixture.locs + stds * np.asarray(KNOTS, stds.dtype)[None, :]).ravel())
        t, _, side = self._seen(y)
        # beyond all knots F is 0 or 1, and the integral the distance to them
        t = jnp.clip(jnp.where(side == 0, t, side * jnp.asarray(np.inf, t.dtype)), knots[0], knots[-1])
        ends = jnp.sort(jnp.concatenate([knots, t]))
        nodes, weights = (np.asarray(one, y.dtype)[None, :] for one in PANEL)
        width = jnp.diff(ends)[:, None]
        at = (ends[:-1, None] + width * nodes).ravel()
        below = jax.vmap(self.mixture.cdf)(at[:, None])[:, 0]
        squares = jnp.where(at < t, below, 1.0 - below) ** 2
        return jnp.abs(y - self._value(t)) + jnp.sum((width * weights).ravel() * squares * self._stretch(at))

    def places(self, z: Float[np.ndarray, " Z"]) -> Float[Array, "K Z"]:
        """Values that lie `z` standard deviations from each component's centre, behind the map."""
        return self._value(self.mixture.places(z))

    def tempered(self, factor: Any, log_factor: Any) -> Self:
        return replace(self, mixture=self.mixture.tempered(factor, log_factor))  # pyright: ignore

    @staticmethod
    def merge(parts: "Sequence[Any]", log_weights: Float[Array, " M"]) -> Any:
        """One mixture behind the map; the parts' bounds are the same."""
        return replace(parts[0], mixture=Mixture.merge([part.mixture for part in parts], log_weights))

    def _seen(self, y: Float[Array, " 1"]) -> tuple[Array, Array, Array]:
        """t of y and log dt/dy, of a middle value where y is outside; and the side where it is: -1, 0 or 1."""
        raise NotImplementedError

    def _value(self, t: Float[Array, "..."]) -> Float[Array, "..."]:
        """y of t."""
        raise NotImplementedError

    def _stretch(self, t: Float[Array, "..."]) -> Float[Array, "..."]:
        """dy/dt."""
        raise NotImplementedError

    def _moments(self) -> tuple[Float[Array, "K 1"], Float[Array, "K 1"]]:
        """Mean and standard deviation of each component."""
        raise NotImplementedError


@register
@dataclass(frozen=True, eq=False)
class Positive(_Supported):
    """A target above a bound: log(y - low) has a mixture of Gaussians.

    Attributes:
        mixture: of log(y - low), one target.
        low: () the bound.

    Example:
        >>> import jax.numpy as jnp, mdn_jax as mdn
        >>> mixture = mdn.Mixture(jnp.zeros(1), jnp.ones((1, 1)), mdn.Isotropic(jnp.zeros(1)))
        >>> price = mdn.Positive(mixture, jnp.zeros(()))
        >>> print(mdn.quantile(price, 0.5).round(1), mdn.mean(price).round(1), mdn.cdf(price, jnp.array([-1.0])))
        [2.7] [4.5] [0.]
    """

    mixture: Mixture
    low: Float[Array, "*B"]

    def _seen(self, y: Float[Array, " 1"]) -> tuple[Array, Array, Array]:
        inside = y > self.low
        t = jnp.log(jnp.where(inside, y - self.low, 1.0))
        return t, -t, jnp.where(inside, 0, -1)

    def _value(self, t: Float[Array, "..."]) -> Float[Array, "..."]:
        return self.low + jnp.exp(t)

    def _stretch(self, t: Float[Array, "..."]) -> Float[Array, "..."]:
        return jnp.exp(t)

    def _moments(self) -> tuple[Float[Array, "K 1"], Float[Array, "K 1"]]:
        variance = self.mixture.scale.std(1) ** 2
        above = jnp.exp(self.mixture.locs + 0.5 * variance)
        return self.low + above, above * jnp.sqrt(jnp.expm1(variance))


@register
@dataclass(frozen=True, eq=False)
class Bounded(_Supported):
    """A target between two bounds: its logit has a mixture of Gaussians.

    Attributes:
        mixture: of log((y - low) / (high - y)), one target.
        low: () the lower bound.
        high: () the upper bound.

    Example:
        >>> import jax.numpy as jnp, mdn_jax as mdn
        >>> mixture = mdn.Mixture(jnp.zeros(1), jnp.zeros((1, 1)), mdn.Isotropic(jnp.zeros(1)))
        >>> share = mdn.Bounded(mixture, jnp.zeros(()), jnp.ones(()))
        >>> print(mdn.mean(share).round(1), mdn.std(share).round(1), mdn.cdf(share, jnp.array([0.5])))
        [0.5] [0.2] [0.5]
    """

    mixture: Mixture
    low: Float[Array, "*B"]
    high: Float[Array, "*B"]

    def _seen(self, y: Float[Array, " 1"]) -> tuple[Array, Array, Array]:
        inside = (y > self.low) & (y < self.high)
        below = jnp.where(inside, y - self.low, 1.0)
        above = jnp.where(inside, self.high - y, 1.0)
        log_below, log_above = jnp.log(below), jnp.log(above)
        log_slope = jnp.log(self.high - self.low) - log_below - log_above
        return log_below - log_above, log_slope, jnp.where(inside, 0, jnp.where(y > self.low, 1, -1))

    def _value(self, t: Float[Array, "..."]) -> Float[Array, "..."]:
        return self.low + (self.high - self.low) * jax.nn.sigmoid(t)

    def _stretch(self, t: Float[Array, "..."]) -> Float[Array, "..."]:
        return (self.high - self.low) * jax.nn.sigmoid(t) * jax.nn.sigmoid(-t)

    def _moments(self) -> tuple[Float[Array, "K 1"], Float[Array, "K 1"]]:
        stds = self.mixture.scale.std(1)
        nodes, weights = (np.asarray(one, stds.dtype)[None, :] for one in (NODES, WEIGHTS))
        values = jax.nn.sigmoid(self.mixture.locs + stds * nodes)  # (K, 64)
        mean = jnp.sum(weights * values, axis=1, keepdims=True)
        spread = jnp.sqrt(jnp.sum(weights * (values - mean) ** 2, axis=1, keepdims=True))
        width = self.high - self.low
        return self.low + width * mean, width * spread

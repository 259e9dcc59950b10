r"""Angles, hours of the day, days of the year: a mixture of Gaussians wound around a circle.

    p(y) = sum_k w_k sum_n N(y + n P; mu_k, s_k)    P the period
    E exp(2 pi i Y / P) = sum_k w_k exp(2 pi i mu_k / P - a_k) = R exp(2 pi i m / P),    a_k = 2 pi^2 (s_k / P)^2

Distances are the shorter way round. The mean is the mean direction m, the standard deviation sqrt(-2 log R) P / (2 pi),
the CRPS that of arc lengths. Distribution function, quantiles and central intervals start opposite the mean direction.

References:
    K. V. Mardia and P. E. Jupp, "Directional Statistics", 2000.
    E. P. Grimit, T. Gneiting, V. J. Berrocal and N. A. Johnson, "The continuous ranked probability score for circular
    variables and its application to mesoscale forecast ensemble verification", 2006.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import ndtr
from jax.scipy.stats import norm

from mdn_jax._pytrees import register
from mdn_jax._typing import Float, Key, Scalar
from mdn_jax.distributions.marginals import bisect
from mdn_jax.distributions.mixture import Mixture
from mdn_jax.distributions.protocol import OneTarget, shorter_way
from mdn_jax.distributions.scales import PRECISION, Diagonal

__all__ = ["Wrapped"]

WIDEST, NARROWEST = 1.0, 1e-12  # periods: a Gaussian as wide is uniform to 1e-8; the square of one is still a float32
IMAGES = np.arange(-7.0, 8.0)  # turns: what is left out of a Gaussian of the widest lies 7 standard deviations off
WIDE = 0.25  # periods from which three odd harmonics tell a mean distance to 1e-14, and below which five knots do
KNOTS, ODD = range(6), (1, 3, 5)


@register
@dataclass(frozen=True, eq=False)
class Wrapped(OneTarget):
    """A target on a circle, where 0 is the period again: a mixture of Gaussians taken modulo the period.

    Any y is legal, -10 degrees as well as 350; answers lie in [0, period), but for the
    quantiles of 0 and 1, which are infinite as on a line. A central interval may hold 0: its lower
    end is then above the upper one. No standard deviation of a component counts as more than a period.

    Attributes:
        mixture: of one target, before it goes round.
        period: () length of the circle, in the units of the target: 360, 24, 2 pi.

    Example:
        >>> import jax.numpy as jnp, mdn_jax as mdn
        >>> mixture = mdn.Mixture(jnp.zeros(2), jnp.array([[350.0], [30.0]]), mdn.Isotropic(jnp.log(jnp.full(2, 5.0))))
        >>> wind = mdn.Wrapped(mixture, jnp.array(360.0))
        >>> print(mdn.mean(wind).round(2), mdn.interval(wind, 0.9).ravel().round(1))
        [10.] [343.6  36.4]
    """

    mixture: Mixture
    period: Float[Array, "*B"]
    shapes: ClassVar[str] = "a mixture of one target and a () period"
    unitless: ClassVar[str] = "affine: an angle has shift 0 and scale 1 only"

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return self.mixture.batch_shape

    @property
    def periods(self) -> Float[Array, " 1"]:
        return self.period[None]

    def log_prob(self, y: Float[Array, " 1"]) -> Scalar:
        return self._unrolled(y).log_prob(jnp.zeros_like(y)) + math.log(len(IMAGES))

    def sample(
        self, key: Key, shape: tuple[int, ...] = (), temperature: float | Float[Array, ""] = 1.0
    ) -> Float[Array, "*S 1"]:
        return self._placed(self.mixture.sample(key, shape, temperature))

    def cdf(self, y: Float[Array, " 1"]) -> Float[Array, " 1"]:
        """The probability from opposite the mean direction to y."""
        mean = self.mean()
        return jnp.clip(self._from_opposite(self._unrolled(mean), self._way(y - mean)), 0.0, 1.0)

    def quantile(self, q: Scalar) -> Float[Array, " 1"]:
        mean = self.mean()
        unrolled, half = self._unrolled(mean), 0.5 * self.periods
        way = jax.lax.custom_root(
            lambda way: self._from_opposite(unrolled, way) - q,
            jnp.zeros_like(half),
            solve=lambda function, _: bisect(function, -half, half),
            tangent_solve=lambda linear, rhs: rhs / linear(jnp.ones_like(rhs)),
        )
        return self._placed(mean + way)

    def mean(self) -> Float[Array, " 1"]:
        """The mean direction."""
        turns, stds, weights = self._turns()
        lengths = weights * jnp.exp(-_damping(stds))
        x, y = (jnp.sum(lengths * function(2 * math.pi * turns)) for function in (jnp.cos, jnp.sin))
        nowhere = (x == 0) & (y == 0)
        return self._placed(jnp.arctan2(y, jnp.where(nowhere, 1.0, x)) / (2 * math.pi) * self.period)[None]

    def std(self) -> Float[Array, " 1"]:
        turns, stds, weights = self._turns()
        away = shorter_way(turns - jax.lax.stop_gradient(self.mean()) / self.period, jnp.ones_like(turns))
        damping = _damping(stds)
        # 1 - R as a sum of positive terms, which keeps the digits of a narrow one
        lacks = jnp.sum(weights * (2 * jnp.exp(-damping) * jnp.sin(math.pi * away) ** 2 - jnp.expm1(-damping)))
        lacks = jnp.minimum(lacks, 1 - jnp.finfo(lacks.dtype).eps)  # no direction at all has no end
        return (jnp.sqrt(-2 * jnp.log1p(-lacks)) / (2 * math.pi) * self.period)[None]

    def crps(self, y: Float[Array, " 1"]) -> Float[Array, " 1"]:
        """E d(Y, y) - E d(Y, Y') / 2 with the arc length d."""
        turns, stds, weights = self._turns()
        to_target = _mean_arc(turns - y / self.period, stds)
        to_other = _mean_arc(turns[:, None] - turns[None, :], jnp.hypot(stds[:, None], stds[None, :]))
        first = jnp.einsum("k,k->", weights, to_target, precision=PRECISION)
        second = jnp.einsum("k,l,kl->", weights, weights, to_other, precision=PRECISION)
        return (self.period * (first - 0.5 * second))[None]

    def tempered(self, factor: Any, log_factor: Any) -> "Wrapped":
        return replace(self, mixture=self.mixture.tempered(factor, log_factor))

    @staticmethod
    def merge(parts: "Sequence[Wrapped]", log_weights: Float[Array, " M"]) -> "Wrapped":
        """All components on the circle; the parts' periods are the same."""
        return replace(parts[0], mixture=Mixture.merge([part.mixture for part in parts], log_weights))

    def _turns(self) -> tuple[Float[Array, " K"], Float[Array, " K"], Float[Array, " K"]]:
        """Centres and standard deviations in periods, and weights."""
        stds = jnp.clip(self.mixture.scale.std(1)[:, 0] / self.period, NARROWEST, WIDEST)
        return self.mixture.locs[:, 0] / self.period, stds, self.mixture.weights

    def _unrolled(self, origin: Float[Array, " 1"]) -> Mixture:
        """The components on a line, seen from `origin`: an image of each for every turn, which share its weight."""
        _, stds, _ = self._turns()
        near, turns = self._way(self.mixture.locs[:, 0] - origin), self.period * IMAGES.astype(origin.dtype)
        locs = (near[:, None] + turns[None, :]).ravel()[:, None]
        logits, log_std = (jnp.repeat(one, len(IMAGES)) for one in (self.mixture.logits, jnp.log(stds * self.period)))
        return Mixture(logits, locs, Diagonal(log_std[:, None]))

    def _from_opposite(self, unrolled: Mixture, way: Float[Array, " 1"]) -> Float[Array, " 1"]:
        """The probability between half a period back and `way`, of components seen from the mean direction."""
        return len(IMAGES) * (unrolled.cdf(way) - unrolled.cdf(-0.5 * self.periods))

    def _way(self, distance: Float[Array, " S"]) -> Float[Array, " S"]:
        return shorter_way(distance, jnp.broadcast_to(self.period, distance.shape))

    def _placed(self, y: Float[Array, "..."]) -> Float[Array, "..."]:
        """y in [0, period)."""
        y = y - self.period * jnp.floor(y / self.period)
        return jnp.where((y < 0) | (y >= self.period), 0.0, y)


def _damping(stds: Float[Array, " K"]) -> Float[Array, " K"]:
    """-log of the mean resultant length of a Gaussian wound around a circle of length 1."""
    return 2 * math.pi**2 * stds**2


def _mean_arc(distance: Float[Array, "..."], std: Float[Array, "..."]) -> Float[Array, "..."]:
    """E d(X, 0) on a circle of length 1, of a Gaussian X."""
    distance = distance - jnp.round(distance)
    narrow, total, waves = std < WIDE, 0.0, 0.0
    own = jnp.where(narrow, std, WIDE)
    for n in KNOTS:  # d(x, 0) = |x| + 2 sum_n (-1)^n (|x| - n / 2)^+
        up, down = ((0.5 * n - side * distance) / own for side in (1.0, -1.0))
        beyond = sum(norm.pdf(z) - z * ndtr(-z) for z in (up, down))  # E (|X| - n / 2)^+
        total += (1.0 if n == 0 else 2.0 * (-1.0) ** n) * own * beyond
    own = jnp.where(narrow, WIDE, std)
    for k in ODD:  # d(x, 0) = 1/4 - 2 / pi^2 sum_k cos(2 pi k x) / k^2
        waves += jnp.exp(-_damping(k * own)) * jnp.cos(2 * math.pi * k * distance) / k**2
    return jnp.where(narrow, total, 0.25 - 2 / math.pi**2 * waves)

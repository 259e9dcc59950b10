"""A head of one target with bounds: a mixture behind a map, in units that are fitted after the map."""

import math
from dataclasses import dataclass, replace

import jax.numpy as jnp
import numpy as np
from jax import Array

from mdn_jax._checks import require
from mdn_jax._typing import ArrayLike, Float, Key
from mdn_jax.distributions import Bounded, Mixture, Positive
from mdn_jax.distributions.scales import Diagonal
from mdn_jax.distributions.units import Standardizer
from mdn_jax.heads.mixture import MixtureSpec
from mdn_jax.heads.protocol import columns

__all__ = ["Support", "SupportSpec"]


@dataclass(frozen=True)
class Support:
    """The values that a target can have: those between two open bounds.

    Attributes:
        low: lower bound.
        high: upper bound; infinite for none.
        shift: mean of the mapped training targets, from `fitted`.
        scale: their standard deviation.

    Raises:
        InputError: for bounds that are not in order, or a lower one that is not finite.

    Example:
        >>> import numpy as np, mdn_jax as mdn
        >>> round(mdn.Support(low=0.0).fitted(np.exp(np.linspace(0.0, 2.0, 9))).shift, 6)
        1.0
    """

    low: float = 0.0
    high: float = math.inf
    shift: float = 0.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        ordered = math.isfinite(self.low) and self.low < self.high
        require(ordered, f"a support has a finite low below its high; got low = {self.low}, high = {self.high}")

    def holds(self, y: Float[np.ndarray, "..."]) -> np.ndarray:
        """True where a value lies between the bounds, or is missing."""
        return np.isnan(y) | ((y > self.low) & (y < self.high))

    def fitted(self, y: Float[np.ndarray, " N"]) -> "Support":
        """The same support with units of the mapped targets; NaN is left out."""
        units = Standardizer.fit(self.mapped(y[~np.isnan(y)])[:, None])
        return replace(self, shift=float(units.shift[0]), scale=float(units.scale[0]))

    def mapped(self, y: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        """Values behind the map, in float64."""
        below = np.log(y - self.low)
        return below if math.isinf(self.high) else below - np.log(self.high - y)

    def __str__(self) -> str:
        return f"above {self.low:g}" if math.isinf(self.high) else f"between {self.low:g} and {self.high:g}"


@dataclass(frozen=True)
class SupportSpec:
    """One target with bounds.

    Standard deviations stay below that of the mapped training targets: behind an exponential a wider component would
    move the mean by orders of magnitude where the likelihood sees nothing.

    Attributes:
        num_components: K.
        min_std: floor of the standard deviations, in units of the mapped targets.
        low: see `Support`.
        high: see `Support`.
        shift: see `Support`.
        scale: see `Support`.

    Example:
        >>> import jax.numpy as jnp, mdn_jax as mdn
        >>> spec = mdn.SupportSpec(num_components=5, low=0.0, high=1.0)
        >>> type(mdn.unpack(spec, jnp.zeros(spec.num_outputs))).__name__
        'Bounded'
    """

    num_components: int
    min_std: float = 1e-3
    low: float = 0.0
    high: float = math.inf
    shift: float = 0.0
    scale: float = 1.0

    @property
    def target_dim(self) -> int:
        """1."""
        return 1

    @property
    def num_outputs(self) -> int:
        """The number of raw outputs a network needs."""
        return self._inner.num_outputs

    @property
    def support(self) -> Support:
        """The bounds, and the units behind the map."""
        return Support(self.low, self.high, self.shift, self.scale)

    @property
    def _inner(self) -> MixtureSpec:
        return MixtureSpec(self.num_components, min_std=self.min_std)

    def unpack(self, raw: Float[Array, " P"]) -> Positive | Bounded:
        """The distribution that raw outputs describe."""
        inner = self._inner.unpack(raw)
        log_std = jnp.log(inner.scale.std(1))
        mixture = Mixture(inner.logits, inner.locs, Diagonal(-0.5 * jnp.logaddexp(-2.0 * log_std, 0.0)))
        units = (jnp.full(1, value, raw.dtype) for value in (self.shift, self.scale))
        bounds = [jnp.asarray(bound, raw.dtype) for bound in (self.low, self.high) if math.isfinite(bound)]
        return (Positive, Bounded)[len(bounds) - 1](mixture.affine(*units), *bounds)

    def initial_bias(self, y: ArrayLike) -> Float[Array, " P"]:
        """Equal weights, and centres spread over the quantiles of the mapped targets."""
        return self._inner.initial_bias((self.support.mapped(columns(self, y)) - self.shift) / self.scale)

    def units(self, y: ArrayLike, weight: ArrayLike | None = None) -> Standardizer:
        """None but the target's own: the head's units lie behind the map."""
        return Standardizer.identity(1)

    def kernel(self, key: Key, fan_in: int) -> Float[Array, "H P"]:
        """The mixture's own weights."""
        return self._inner.kernel(key, fan_in)

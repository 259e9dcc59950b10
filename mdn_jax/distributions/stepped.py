"""Numbers on a grid, counted or rounded: each has the probability of the interval that rounds to it, exactly."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from mdn_jax._pytrees import register
from mdn_jax._typing import Float, Key, Scalar
from mdn_jax.distributions.merged import merge
from mdn_jax.distributions.protocol import OneTarget

__all__ = ["Stepped"]

NODES = np.linspace(-6.0, 6.0, 25)  # standard deviations between which masses are smooth
ON_GRID = 0.01  # steps from a value of the grid that are rounding


@register
@dataclass(frozen=True, eq=False)
class Stepped(OneTarget):
    """A target on the multiples of a step: y has the mass that `base` gives y - step / 2 to y + step / 2.

    Its `log_prob` is a log probability, -inf between the multiples.

    Attributes:
        base: of one target, before it was counted or rounded: a mixture, `Positive` or `Bounded`.
        step: () distance of neighbouring values.

    Example:
        >>> import jax.numpy as jnp, mdn_jax as mdn
        >>> mixture = mdn.Mixture(jnp.zeros(1), jnp.zeros((1, 1)), mdn.Diagonal(jnp.zeros((1, 1))))
        >>> visits = mdn.Stepped(mdn.Positive(mixture, jnp.array(-0.5)), jnp.array(1.0))
        >>> print(mdn.nll(visits, jnp.array([0])).round(4), mdn.quantile(visits, 0.9))
        0.6931 [3.]
    """

    base: Any
    step: Float[Array, "*B"]
    shapes: ClassVar[str] = "a base of one target and a () step"
    unitless: ClassVar[str] = "affine: a target with steps has shift 0 and scale 1 only"

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return self.base.batch_shape

    def log_prob(self, y: Float[Array, " 1"]) -> Scalar:
        place = jnp.round(y / self.step)
        on_grid = jnp.abs(y / self.step - place) < ON_GRID + jnp.abs(place) * 4 * jnp.finfo(y.dtype).eps
        log_mass = self.base.log_mass((place - 0.5) * self.step, (place + 0.5) * self.step)
        return jnp.where(on_grid[0], log_mass, -jnp.inf)

    def sample(
        self, key: Key, shape: tuple[int, ...] = (), temperature: float | Float[Array, ""] = 1.0
    ) -> Float[Array, "*S 1"]:
        return self._rounded(self.base.sample(key, shape, temperature))

    def cdf(self, y: Float[Array, " 1"]) -> Float[Array, " 1"]:
        return self.base.cdf(self._up_to(y))

    def log_cdf(self, y: Float[Array, " 1"]) -> Float[Array, " 1"]:
        return self.base.log_cdf(self._up_to(y))

    def log_survival(self, y: Float[Array, " 1"]) -> Float[Array, " 1"]:
        return self.base.log_survival(self._up_to(y))

    def mass_at(self, y: Float[Array, " 1"]) -> Float[Array, " 1"]:
        """Probability of exactly y."""
        return jnp.exp(self.log_prob(y))[None]

    def quantile(self, q: Scalar) -> Float[Array, " 1"]:
        return self._rounded(self.base.quantile(q))

    def mean(self) -> Float[Array, " 1"]:
        return self._masses()[2]

    def std(self) -> Float[Array, " 1"]:
        values, masses, mean = self._masses()
        return jnp.sqrt(jnp.sum(masses * (values - mean) ** 2))[None]

    def covariance(self) -> Float[Array, "1 1"]:
        return self.std()[None] ** 2

    def crps(self, y: Float[Array, " 1"]) -> Float[Array, " 1"]:
        """The sum over the grid of (F - [y <= y'])^2, times the step."""
        values, counts = self._grid(self._rounded(y) - self.step)
        below = jax.vmap(self.base.cdf)((values + 0.5 * self.step)[:, None])[:, 0]
        inside = jnp.sum(counts * jnp.where(values < y, below, 1.0 - below) ** 2) * self.step
        first, last = jnp.min(values), jnp.max(values)
        return inside + jnp.maximum(first - y, 0.0) + jnp.maximum(y - last - self.step, 0.0)

    def places(self, z: Float[np.ndarray, " Z"]) -> Float[Array, "K Z"]:
        """Values that lie `z` standard deviations from each component's centre, rounded."""
        return self._rounded(self.base.places(z))

    def tempered(self, factor: Any, log_factor: Any) -> "Stepped":
        return replace(self, base=self.base.tempered(factor, log_factor))

    @staticmethod
    def merge(parts: "Sequence[Stepped]", log_weights: Float[Array, " M"]) -> "Stepped":
        """One base on the grid; the parts' steps are the same."""
        return replace(parts[0], base=merge([part.base for part in parts], log_weights=log_weights))

    def _rounded(self, y: Float[Array, "..."]) -> Float[Array, "..."]:
        return jnp.round(y / self.step) * self.step

    def _up_to(self, y: Float[Array, " 1"]) -> Float[Array, " 1"]:
        """The end of the interval of the last value that is not above y."""
        return (jnp.floor(y / self.step + ON_GRID) + 0.5) * self.step

    def _grid(self, *more: Float[Array, " 1"]) -> tuple[Float[Array, " G"], Float[Array, " G"]]:
        """Values of the grid, and how many each stands for: all of them near, two of a stretch where it is long.

        A stretch ends at each of `more`. Two values at its standard deviation from its middle sum cubics exactly, as
        Gauss's rule does. They need not be whole: masses are smooth where steps are short.
        """
        places = jnp.floor(self.base.places(NODES).ravel() / self.step)
        ends = jnp.sort(jnp.concatenate([places, *(jnp.round(one / self.step) for one in more)]))
        counts = jnp.diff(ends)
        middle = ends[:-1] + 0.5 * (counts + 1)  # of the values ends + 1 to the next end
        apart = jnp.sqrt(jnp.maximum(counts**2 - 1, 0.0) / 12)
        first = ends[:1]
        values = jnp.concatenate([first, middle - apart, middle + apart]) * self.step
        return values, jnp.concatenate([jnp.ones_like(first), 0.5 * counts, 0.5 * counts])

    def _masses(self) -> tuple[Float[Array, " G"], Float[Array, " G"], Float[Array, " 1"]]:
        """Values, their probabilities with sum 1, and their mean."""
        values, counts = self._grid()

        def mass(value: Scalar) -> Scalar:
            return jnp.exp(self.base.log_mass(*((value + side * self.step)[None] for side in (-0.5, 0.5))))

        masses = counts * jax.vmap(mass)(values)
        masses = masses / jnp.sum(masses)
        near = self.quantile(jnp.asarray(0.5, values.dtype))  # from which digits are not lost to a large offset
        return values, masses, near + jnp.sum(masses * (values - near))[None]

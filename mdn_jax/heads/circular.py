"""A head of one target on a circle: each component's centre is a direction, told by two outputs."""

import math
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jax import Array

from mdn_jax._typing import ArrayLike, Float, Key
from mdn_jax.distributions import Mixture, Wrapped
from mdn_jax.distributions.scales import Diagonal
from mdn_jax.distributions.units import Standardizer
from mdn_jax.heads.mixture import MixtureSpec
from mdn_jax.heads.protocol import columns

__all__ = ["CircularSpec"]

NOWHERE = 1e-6  # of both outputs: below it they name no direction
WIDEST = 0.25  # periods that a Gaussian in the plane can spread: a wider one hardly learns its direction
STEEP = 4.0  # 1 / distance from the origin within which a Gaussian is wider for having no direction


@dataclass(frozen=True)
class CircularSpec:
    """One target on a circle: a mixture of Gaussians that goes round it.

    The raw outputs are those of round Gaussians in a plane, seen from its origin: centres can go round as they like;
    one at the origin has no direction and is uniform.

    Attributes:
        num_components: K.
        min_std: floor of the standard deviations, in radians.
        period: length of the circle, in the units of the target.

    Example:
        >>> import jax.numpy as jnp, mdn_jax as mdn
        >>> spec = mdn.CircularSpec(num_components=5, period=360.0)
        >>> spec.num_outputs, type(mdn.unpack(spec, jnp.zeros(spec.num_outputs))).__name__
        (20, 'Wrapped')
    """

    num_components: int
    min_std: float = 1e-3
    period: float = 2 * math.pi

    @property
    def target_dim(self) -> int:
        """1."""
        return 1

    @property
    def num_outputs(self) -> int:
        """The number of raw outputs a network needs."""
        return self._plane.num_outputs

    @property
    def _plane(self) -> MixtureSpec:
        return MixtureSpec(self.num_components, 2, "isotropic", self.min_std)

    def unpack(self, raw: Float[Array, " P"]) -> Wrapped:
        """The distribution that raw outputs describe."""
        plane = self._plane.unpack(raw)
        far = jnp.max(jnp.abs(plane.locs), axis=1)
        there = far > NOWHERE
        x, y = (plane.locs / jnp.where(there, far, 1.0)[:, None]).T  # squares are neither large nor tiny
        x, y = jnp.where(there, x, 1.0), jnp.where(there, y, 0.0)
        turns = jnp.arctan2(y, x) / (2 * math.pi)
        # -log tanh: near the origin the resultant vector is a linear function of the outputs, so that slopes stay small
        folded = jnp.exp(-2 * STEEP * jnp.where(there, far, NOWHERE) * jnp.sqrt(x**2 + y**2))
        lost = (jnp.log1p(folded) - jnp.log1p(-folded)) / (2 * math.pi**2)
        t = jnp.log(plane.scale.std(2)[:, 0] / (2 * math.pi * WIDEST))
        log_std = math.log(WIDEST) + 0.5 * (t - jnp.sqrt(t**2 + 1))  # algebraic: no width is too wide to come back
        log_std = math.log(self.period) + 0.5 * jnp.log(jnp.exp(2 * log_std) + lost)
        mixture = Mixture(plane.logits, self.period * turns[:, None], Diagonal(log_std[:, None]))
        return Wrapped(mixture, jnp.asarray(self.period, raw.dtype))

    def initial_bias(self, y: ArrayLike) -> Float[Array, " P"]:
        """Equal weights, and centres spread over the targets."""
        y = columns(self, y)
        angles = 2 * math.pi / self.period * y[~np.isnan(y[:, 0])]
        return self._plane.initial_bias(np.concatenate([np.cos(angles), np.sin(angles)], axis=1))

    def units(self, y: ArrayLike, weight: ArrayLike | None = None) -> Standardizer:
        """None but the target's own."""
        return Standardizer.identity(1)

    def kernel(self, key: Key, fan_in: int) -> Float[Array, "H P"]:
        """The weights of the Gaussians in the plane."""
        return self._plane.kernel(key, fan_in)

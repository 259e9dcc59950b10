"""A head of independent targets, each with a mixture of its own."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array

from mdn_jax._checks import require
from mdn_jax._typing import ArrayLike, Float, Key
from mdn_jax.distributions import Independent
from mdn_jax.distributions.units import Standardizer
from mdn_jax.heads.mixture import MixtureSpec
from mdn_jax.heads.protocol import columns

__all__ = ["IndependentSpec"]


@dataclass(frozen=True)
class IndependentSpec:
    """D targets that are independent given x, each a mixture of K Gaussians of its own.

    Attributes:
        num_components: K of each target.
        target_dim: D.
        min_std: floor of the standard deviations, in the units given to `unpack`.

    Raises:
        InputError: for counts below 1, or a floor that is not positive.

    Example:
        >>> import mdn_jax as mdn
        >>> mdn.IndependentSpec(num_components=5, target_dim=32).num_outputs  # 3 of each component
        480
    """

    num_components: int
    target_dim: int = 1
    min_std: float = 1e-3

    def __post_init__(self) -> None:
        require(self.target_dim >= 1, f"target_dim must be at least 1; got {self.target_dim}")
        _ = self.each

    @property
    def each(self) -> MixtureSpec:
        """The head of one target."""
        return MixtureSpec(self.num_components, min_std=self.min_std)

    @property
    def num_outputs(self) -> int:
        """The number of raw outputs a network needs."""
        return self.target_dim * self.each.num_outputs

    def unpack(self, raw: Float[Array, " P"]) -> Independent:
        """The mixtures that raw outputs describe, target by target."""
        return Independent(jax.vmap(self.each.unpack)(raw.reshape(self.target_dim, -1)))

    def initial_bias(self, y: ArrayLike) -> Float[Array, " P"]:
        """Each target's own start."""
        return jnp.concatenate([self.each.initial_bias(column) for column in columns(self, y).T])

    def units(self, y: ArrayLike, weight: ArrayLike | None = None) -> Standardizer:
        """Each column's mean and standard deviation."""
        return Standardizer.fit(y)

    def kernel(self, key: Key, fan_in: int) -> Float[Array, "H P"]:
        """Each target's own weights, drawn apart."""
        keys = jax.vmap(lambda d: jax.random.fold_in(key, d))(jnp.arange(self.target_dim))
        return jax.vmap(lambda key: self.each.kernel(key, fan_in), out_axes=1)(keys).reshape(fan_in, -1)

"""A head of blocks side by side: any heads, over consecutive targets."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from mdn_jax._checks import require
from mdn_jax._typing import ArrayLike, Float, Key
from mdn_jax.distributions import Product
from mdn_jax.distributions.units import Standardizer
from mdn_jax.heads.protocol import Head, columns, kernel

__all__ = ["ProductSpec"]


@dataclass(frozen=True)
class ProductSpec:
    """Blocks of targets that are independent given x, each with a head of its own: numbers beside classes.

    Attributes:
        specs: the heads; the first takes the first targets and raw outputs, the next those behind, and so on.

    Raises:
        InputError: for none.

    Example:
        >>> import mdn_jax as mdn
        >>> spec = mdn.ProductSpec((mdn.MixtureSpec(num_components=5, target_dim=2), mdn.CategoricalSpec(3)))
        >>> spec.target_dim, spec.num_outputs
        (3, 28)
    """

    specs: tuple[Head, ...]

    def __post_init__(self) -> None:
        require(len(self.specs) > 0, "ProductSpec takes at least one spec; got none")
        object.__setattr__(self, "specs", tuple(self.specs))  # a list would not be hashable

    @property
    def target_dim(self) -> int:
        """D, the sum over the blocks."""
        return sum(spec.target_dim for spec in self.specs)

    @property
    def num_outputs(self) -> int:
        """The number of raw outputs a network needs."""
        return sum(spec.num_outputs for spec in self.specs)

    def unpack(self, raw: Float[Array, " P"]) -> Product:
        """The blocks' own distributions."""
        ends = np.cumsum([spec.num_outputs for spec in self.specs])[:-1]
        return Product(tuple(spec.unpack(own) for spec, own in zip(self.specs, jnp.split(raw, ends))))

    def initial_bias(self, y: ArrayLike) -> Float[Array, " P"]:
        """The blocks' own starts."""
        return jnp.concatenate([spec.initial_bias(own) for spec, own in self._blocks(columns(self, y))])

    def units(self, y: ArrayLike, weight: ArrayLike | None = None) -> Standardizer:
        """The blocks' own units."""
        each = [spec.units(own, weight) for spec, own in self._blocks(columns(self, y))]
        return Standardizer(*(np.concatenate(parts) for parts in zip(*((one.shift, one.scale) for one in each))))

    def kernel(self, key: Key, fan_in: int) -> Float[Array, "H P"]:
        """The blocks' own weights, drawn apart."""
        own = [kernel(spec, jax.random.fold_in(key, i), fan_in) for i, spec in enumerate(self.specs)]
        return jnp.concatenate(own, axis=1)

    def _blocks(self, y: Float[np.ndarray, "N D"]) -> list[tuple[Head, Float[np.ndarray, "N D"]]]:
        """Each head with its own columns."""
        ends = np.cumsum([spec.target_dim for spec in self.specs])[:-1]
        return list(zip(self.specs, np.split(y, ends, axis=1)))

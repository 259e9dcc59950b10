"""Units: what is fitted to data lives on the host in float64, where timestamps keep their digits."""

from dataclasses import dataclass
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from mdn_jax._typing import ArrayLike, Float
from mdn_jax.mixture import Mixture, affine

__all__ = ["Standardizer", "device_dtype"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Standardizer:
    """z = (y - shift) / scale, per column.

    Attributes:
        shift: (D,) column means.
        scale: (D,) column standard deviations; 1 for a constant column.

    Example:
        >>> import numpy as np, mdn_jax as mdn
        >>> units = mdn.Standardizer.fit(np.array([[1.7e9], [1.7e9 + 2.0]]))
        >>> print(units.standardize(np.array([[1.7e9 + 2.0]])))
        [[1.]]
    """

    shift: Float[Array | np.ndarray, " D"]
    scale: Float[Array | np.ndarray, " D"]

    @classmethod
    def fit(cls, y: ArrayLike) -> Self:
        """Means and standard deviations of (N, D) or (N,) data, in float64; NaN is left out."""
        y = np.asarray(y, np.float64)
        y = y[:, None] if y.ndim == 1 else y
        if y.shape[1] == 0:
            return cls(np.zeros(0), np.ones(0))
        shift, scale = np.nanmean(y, axis=0), np.nanstd(y, axis=0)
        # a column of one value has a spread of rounding errors only
        constant = scale <= 1e-12 * np.maximum(np.abs(shift), 1e-300)
        return cls(shift, np.where(constant, 1.0, scale))

    @classmethod
    def identity(cls, size: int) -> Self:
        """Units that change nothing."""
        return cls(np.zeros(size), np.ones(size))

    def standardize(self, y: ArrayLike) -> Any:
        """(..., D) in original units to standard units: float64 for NumPy arrays, traceable for JAX's."""
        return (y - self.shift) / self.scale

    def restore(self, mixture: Mixture) -> Mixture:
        """A mixture in standard units to one in original units."""
        return affine(mixture, shift=jnp.asarray(self.shift), scale=jnp.asarray(self.scale))

    def compose(self, inner: "Standardizer") -> "Standardizer":
        """The units of `inner`, which are relative to these, by themselves."""
        return Standardizer(self.shift + self.scale * inner.shift, self.scale * inner.scale)

    def within(self, outer: "Standardizer") -> "Standardizer":
        """The change from `outer`'s standard units to these, computed on the host in float64."""
        return Standardizer((self.shift - outer.shift) / outer.scale, self.scale / outer.scale)


def device_dtype(leaf: ArrayLike) -> Any:
    """float32 for the host's float64; None, JAX's own choice, for any other."""
    dtype = getattr(leaf, "dtype", None) or np.result_type(leaf)
    return np.float32 if dtype == np.float64 else None

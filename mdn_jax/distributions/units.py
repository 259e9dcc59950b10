"""Units: what is fitted to data lives on the host in float64, where timestamps keep their digits."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from mdn_jax._printing import ShortRepr, warn
from mdn_jax._typing import ArrayLike, Float
from mdn_jax.distributions.functions import affine
from mdn_jax.distributions.protocol import Distribution, dtype_of

__all__ = ["Standardizer", "device_dtype"]


COARSE = 0.01  # standard deviations that neighbouring numbers may lie apart


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False, repr=False)
class Standardizer(ShortRepr):
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
    def fit(cls, y: ArrayLike, *, common: bool = False) -> Self:
        """Means and standard deviations of (N, D) or (N,) data, in float64; NaN is left out.

        With `common` all columns have one scale: the root mean of their variances.
        """
        y = np.asarray(y, np.float64)
        y = y[:, None] if y.ndim == 1 else y
        if y.shape[1] == 0:
            return cls(np.zeros(0), np.ones(0))
        # powers of two, so that the squares of large or tiny numbers are numbers too, and no digit changes
        power = np.frexp(np.nanmax(np.abs(y), axis=0))[1]
        y = np.ldexp(y, -power)
        shift, scale = np.ldexp(np.nanmean(y, axis=0), power), np.ldexp(np.nanstd(y, axis=0), power)
        # a column of one value has a spread of rounding errors only
        constant = scale <= 1e-12 * np.maximum(np.abs(shift), 1e-300)
        if common and not constant.all():
            most = scale.max()
            scale = np.full_like(scale, most * np.sqrt(np.mean(np.where(constant, 0.0, scale / most) ** 2)))
            constant = False
        return cls(shift, np.where(constant, 1.0, scale))

    @classmethod
    def identity(cls, size: int) -> Self:
        """Units that change nothing."""
        return cls(np.zeros(size), np.ones(size))

    def part(self, columns: Sequence[int]) -> "Standardizer":
        """The units of some of the columns, in the order given."""
        chosen = list(columns)
        return Standardizer(np.asarray(self.shift, np.float64)[chosen], np.asarray(self.scale, np.float64)[chosen])

    def standardize(self, y: ArrayLike) -> Any:
        """(..., D) in original units to standard units: float64 for NumPy arrays, traceable for JAX's."""
        leading = (None,) * (np.ndim(y) - 1)  # JAX may be told to promote no ranks
        return (y - self.shift[leading]) / self.scale[leading]

    def restore(self, distribution: Distribution) -> Distribution:
        """A distribution in standard units, or a batch of them, to original units."""
        self.warn_unless_held("target", dtype_of(distribution))
        restored = partial(affine, shift=jnp.asarray(self.shift), scale=jnp.asarray(self.scale))
        for _ in distribution.batch_shape:  # of a sequence
            restored = jax.vmap(restored)
        return restored(distribution)

    def warn_unless_held(self, kind: str, dtype: Any) -> None:
        """A warning where numbers of `dtype` in original units are coarser than what they shall tell apart."""
        limits, shift, scale = jnp.finfo(dtype), self.shift, self.scale
        if isinstance(shift, np.ndarray) and isinstance(scale, np.ndarray):  # neither traced nor on a device
            top, step = 0.01 * float(limits.max), float(limits.eps)
            lost = (step * abs(shift) > COARSE * scale) | (step * scale < limits.tiny) | (abs(shift) + scale > top)
            for column in np.flatnonzero(lost)[:1]:
                warn(
                    f"{kind} {column} is {shift[column]:.3g} give or take {scale[column]:.2g}, which {limits.dtype} "
                    "cannot hold: ask mdn.predict, which answers in float64, or set jax_enable_x64"
                )

    def compose(self, inner: "Standardizer") -> "Standardizer":
        """The units of `inner`, which are relative to these, by themselves."""
        return Standardizer(self.shift + self.scale * inner.shift, self.scale * inner.scale)

    def within(self, outer: "Standardizer") -> "Standardizer":
        """The change from `outer`'s standard units to these, computed on the host in float64."""
        return Standardizer((self.shift - outer.shift) / outer.scale, self.scale / outer.scale)


def device_dtype(leaf: ArrayLike) -> Any:
    """JAX's float (float32, or float64 under `jax_enable_x64`) for the host's float64; None for any other."""
    dtype = getattr(leaf, "dtype", None) or np.result_type(leaf)
    return jax.dtypes.canonicalize_dtype(float) if dtype == np.float64 else None

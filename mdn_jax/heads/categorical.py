"""A head for a target of kinds."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jax import Array

from mdn_jax._checks import require
from mdn_jax._typing import ArrayLike, Float
from mdn_jax.distributions import Categorical
from mdn_jax.distributions.units import Standardizer
from mdn_jax.heads.protocol import columns

__all__ = ["CategoricalSpec"]


@dataclass(frozen=True)
class CategoricalSpec:
    """One target of C classes, given by their codes 0 to C - 1; the raw outputs are its logits.

    Attributes:
        num_classes: C.

    Raises:
        InputError: for fewer than two classes.

    Example:
        >>> import numpy as np, mdn_jax as mdn
        >>> spec = mdn.CategoricalSpec(num_classes=3)
        >>> raw = mdn.initial_bias(spec, np.array([0, 0, 0, 0, 2, 2, 2]))
        >>> [round(float(prob), 3) for prob in mdn.unpack(spec, raw).probs]
        [0.5, 0.1, 0.4]
    """

    num_classes: int

    def __post_init__(self) -> None:
        require(self.num_classes >= 2, f"num_classes must be at least 2; got {self.num_classes}")

    @property
    def target_dim(self) -> int:
        """1."""
        return 1

    @property
    def num_outputs(self) -> int:
        """C."""
        return self.num_classes

    def unpack(self, raw: Float[Array, " C"]) -> Categorical:
        """The categorical of these logits."""
        return Categorical(raw)

    def initial_bias(self, y: ArrayLike) -> Float[Array, " C"]:
        """Log frequencies of the classes, each counted once more."""
        codes = columns(self, y)[:, 0]
        codes = codes[~np.isnan(codes)]
        wrong = codes[~np.isin(codes, np.arange(self.num_classes))]
        require(
            wrong.size == 0,
            f"initial_bias takes class codes 0 to {self.num_classes - 1}; got {wrong[:1].tolist()}: set num_classes, "
            "or number the classes from 0",
        )
        counts = 1 + np.bincount(codes.astype(int), minlength=self.num_classes)
        return jnp.asarray(np.log(counts / counts.sum()), float)

    def units(self, y: ArrayLike, weight: ArrayLike | None = None) -> Standardizer:
        """Classes have no units."""
        return Standardizer.identity(1)

"""The contract of a head: a network's raw outputs as a distribution, and where and in what units training starts."""

from collections.abc import Hashable
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from mdn_jax._checks import promoted, require
from mdn_jax._typing import ArrayLike, Float, Key
from mdn_jax.distributions import Distribution
from mdn_jax.distributions.units import Standardizer

__all__ = ["Head", "columns", "initial_bias", "kernel", "unpack"]


class Head(Hashable, Protocol):
    """A spec of what a network's outputs mean: a frozen, hashable dataclass.

    It may also have `kernel(key, fan_in) -> (H, P)`, the last layer's weights to start from; else they are LeCun's.
    """

    @property
    def target_dim(self) -> int:
        """D."""
        ...

    @property
    def num_outputs(self) -> int:
        """P, the raw outputs that it needs."""
        ...

    def unpack(self, raw: Float[Array, " P"], /) -> Distribution:
        """The distribution that raw outputs describe; EVERY real vector is valid."""
        ...

    def initial_bias(self, y: Float[np.ndarray, "N D"], /) -> Float[Array, " P"]:
        """Raw outputs to start from, given targets in the units given to `unpack`, NaN where there is none."""
        ...

    def units(self, y: ArrayLike, weight: ArrayLike | None = None) -> Standardizer:
        """The units in which targets (N, D) are learnt."""
        ...


def unpack(spec: Head, raw: Float[Array, " P"]) -> Distribution:
    """The distribution that raw network outputs describe. EVERY real vector is valid.

    Args:
        spec: the head.
        raw: (spec.num_outputs,) unconstrained; half precision is raised to float32.

    Returns:
        One distribution of D targets.

    Raises:
        InputError: where `raw` has another shape (a batch needs `jax.vmap`).

    Example:
        >>> import jax.numpy as jnp, mdn_jax as mdn
        >>> spec = mdn.MixtureSpec(num_components=3, target_dim=2)
        >>> mdn.unpack(spec, jnp.zeros(spec.num_outputs)).locs.shape
        (3, 2)
    """
    raw = jnp.asarray(raw)
    require(
        raw.shape == (spec.num_outputs,),
        f"unpack takes one raw vector of shape ({spec.num_outputs},); got {raw.shape}: "
        f"use jax.vmap(lambda raw: mdn.unpack(spec, raw)) for a batch",
    )
    return spec.unpack(raw.astype(promoted(raw)))


def initial_bias(spec: Head, y: ArrayLike) -> Float[Array, " P"]:
    """Raw outputs to start from: add them to the last layer's bias of ANY network.

    A mixture starts with equal weights and its centres spread over the quantiles of the targets, a categorical with
    the classes' frequencies.

    Args:
        spec: the head.
        y: (N, D) or (N,) training targets in the units given to `unpack`; NaN is left out.

    Returns:
        (spec.num_outputs,) float32, or float64 under `jax_enable_x64`.

    Raises:
        InputError: where `y` has another number of columns, a column without a finite value, one that spreads
            farther than a standard deviation can reach, or is no code of a class.

    Example:
        >>> import numpy as np, mdn_jax as mdn
        >>> spec = mdn.MixtureSpec(num_components=3)
        >>> raw = mdn.initial_bias(spec, np.linspace(-1.0, 1.0, 101))
        >>> print(mdn.unpack(spec, raw).locs.ravel().round(2))
        [ 0.   -0.76  0.48]
    """
    return spec.initial_bias(columns(spec, y))


def columns(spec: Head, y: ArrayLike) -> Float[np.ndarray, "N D"]:
    """Targets in float64, one column each with a finite value somewhere, or an `InputError`."""
    y = np.asarray(y, np.float64)
    y = y[:, None] if y.ndim == 1 else y
    require(
        y.ndim == 2 and y.shape[1] == spec.target_dim,
        f"initial_bias takes targets (N, {spec.target_dim}); got {y.shape}",
    )
    require(bool(np.isfinite(y).any(axis=0).all()), "initial_bias needs a finite value in every target column")
    return y


def kernel(spec: Head, key: Key, fan_in: int) -> Float[Array, "H P"]:
    """A last layer's weights: the head's own, or LeCun's normal ones."""
    own = getattr(spec, "kernel", None)
    return jax.nn.initializers.lecun_normal()(key, (fan_in, spec.num_outputs)) if own is None else own(key, fan_in)

"""The answers of a model at many x, as NumPy arrays in original units.

Inputs are standardised on the host in float64 and answers are put back into original units there, so that columns
with large offsets keep their digits. Each function is one compiled program; models of equal shapes share it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from mdn_jax._compiling import jit
from mdn_jax._typing import ArrayLike, Float, Key
from mdn_jax.distributions import Mixture, log_prob, sample
from mdn_jax.models import Model, Rows, map_rows
from mdn_jax.statistics import cdf, mean, quantile
from mdn_jax.statistics.line import profile, region

__all__ = ["Components", "bands_at", "cell_density", "components_at", "draws_at", "joint_log_density"]


class Components(NamedTuple):
    """The mixtures at R values of x.

    Attributes:
        weights: (R, K) mixing coefficients.
        locs: (R, K, D) centres.
        stds: (R, K, D) standard deviations.
        mean: (R, D) conditional means.
    """

    weights: np.ndarray
    locs: np.ndarray
    stds: np.ndarray
    mean: np.ndarray


def components_at(model: Model, x: ArrayLike) -> Components:
    """The components and the conditional mean at each x.

    Args:
        model: one model or ensemble.
        x: (R, X) inputs.

    Returns:
        `Components` of R rows, in the units of y.
    """
    weights, locs, stds, means = (np.asarray(part, np.float64) for part in _components(model, _standard(model, x)))
    shift, scale = _units(model)
    return Components(weights, shift + scale * locs, scale * stds, shift + scale * means)


def draws_at(key: Key, model: Model, x: ArrayLike, num_samples: int) -> Float[np.ndarray, "R S D"]:
    """`num_samples` draws at each x.

    Args:
        key: a PRNG key.
        model: one model or ensemble.
        x: (R, X) inputs.
        num_samples: S.

    Returns:
        (R, S, D) in the units of y.
    """
    shift, scale = _units(model)
    z = _draws(model, _standard(model, x), key, num_samples)
    return shift + scale * np.asarray(z, np.float64)


def cell_density(
    model: Model, x: ArrayLike, edges: Float[np.ndarray, " E+1"], target: int = 0
) -> Float[np.ndarray, "R E"]:
    """The density of one target, averaged exactly over each cell: no ridge is lost between two cells.

    Args:
        model: one model or ensemble.
        x: (R, X) inputs.
        edges: (E + 1,) rising borders of the cells, in the units of y.
        target: which of the D targets; the others are integrated out.

    Returns:
        (R, E) probability of each cell over its width.
    """
    shift, scale = _units(model)
    below = _cdf_at(model, _standard(model, x), jnp.asarray((edges - shift[target]) / scale[target], jnp.float32))
    return np.maximum(np.diff(np.asarray(below, np.float64)[..., target], axis=1), 0) / np.diff(edges)


def bands_at(
    model: Model, x: ArrayLike, masses: Sequence[float]
) -> tuple[Float[np.ndarray, "R M"], Float[np.ndarray, " R"]]:
    """The density at the ends of each x's highest-density regions of M masses, and its median; for D = 1.

    Args:
        model: one model or ensemble.
        x: (R, X) inputs.
        masses: M shares in (0, 1).

    Returns:
        Levels (R, M) and medians (R,), in the units of y.
    """
    # a row for each mass: a vmap over them would compile half as long again
    each, x = len(masses), np.repeat(_standard(model, x), len(masses), axis=0)
    found = map_rows(_band, model, Rows(x, np.resize(masses, (len(x), 1)), np.ones(len(x))), once=True)
    (shift, scale), (levels, medians) = _units(model), (np.asarray(part, np.float64) for part in found)
    return np.exp(levels.reshape(-1, each)) / scale, shift + scale * medians[::each, 0]


def joint_log_density(model: Model, x: ArrayLike, points: Float[np.ndarray, "R G D"]) -> Float[np.ndarray, "R G"]:
    """The log density of each x at G points of its own, in nats of the units of y."""
    shift, scale = _units(model)
    log_p = _log_prob_at(model, _standard(model, x), jnp.asarray((points - shift) / scale, jnp.float32))
    return np.asarray(log_p, np.float64) - np.log(scale).sum()


def _band(mixture: Mixture, row: Rows) -> tuple[Float[Array, ""], Float[Array, " 1"]]:
    return region(profile(mixture), row.y[0])[2], quantile(mixture, 0.5)


def _units(model: Model) -> tuple[np.ndarray, np.ndarray]:
    return np.asarray(model.targets.shift, np.float64), np.asarray(model.targets.scale, np.float64)


def _standard(model: Model, x: ArrayLike) -> Float[Array, "R X"]:
    x = np.asarray(x, np.float64)
    return jnp.asarray(x if model.inputs is None else model.inputs.standardize(x), jnp.float32)


@jit
def _components(model: Model, x: Float[Array, "R X"]) -> tuple[Array, Array, Array, Array]:
    def one(x: Array) -> tuple[Array, Array, Array, Array]:
        mixture = model.standardized(x)
        return mixture.weights, mixture.locs, mixture.scale.std(mixture.target_dim), mean(mixture)

    return jax.vmap(one)(x)


@jit(static_argnames="num_samples")
def _draws(model: Model, x: Float[Array, "R X"], key: Key, num_samples: int) -> Float[Array, "R S D"]:
    keys = jax.random.split(key, x.shape[0])
    # one x at a time: the generator compiles five times as long under vmap
    return jax.lax.map(lambda row: sample(row[0], model.standardized(row[1]), (num_samples,)), (keys, x))


@jit
def _cdf_at(model: Model, x: Float[Array, "R X"], edges: Float[Array, " E"]) -> Float[Array, "R E D"]:
    def one(x: Array) -> Array:
        mixture = model.standardized(x)
        return jax.vmap(lambda edge: cdf(mixture, jnp.full(mixture.target_dim, edge)))(edges)

    return jax.lax.map(one, x)


@jit
def _log_prob_at(model: Model, x: Float[Array, "R X"], points: Float[Array, "R G D"]) -> Float[Array, "R G"]:
    def one(row: tuple[Array, Array]) -> Array:
        mixture = model.standardized(row[0])
        return jax.vmap(lambda point: log_prob(mixture, point))(row[1])

    return jax.lax.map(one, (x, points))

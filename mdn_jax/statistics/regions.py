"""Regions of highest density: exact intervals on a line, a level of density in any dimension."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from mdn_jax._checks import check_range, check_single, require
from mdn_jax._typing import Bool, Float, Key, Scalar
from mdn_jax.mixture import Mixture, log_prob
from mdn_jax.sampling import sample
from mdn_jax.statistics.quantiles import bisect, cdf

__all__ = ["density_level", "highest_density", "highest_density_mass"]

GRID_PER_COMPONENT = 33  # points within GRID_REACH standard deviations of each centre: they bracket every mode
GRID_REACH = 4.0
NEAR = 0.02  # standard deviations on both sides of a point that tell where the density rises from there
NUM_SECANTS = 2  # steps that find a turn
SPARE = 4  # crossings that rounding may add where the density is flat
TAIL_REACH = {"float32": 13.0, "float64": 38.0}  # standard deviations beyond which a normal density underflows


def density_level(key: Key, mixture: Mixture, mass: float | Scalar, num_samples: int) -> Scalar:
    """The log density above which a share `mass` of the probability lies, in any dimension, by sampling.

    `log_prob(mixture, y) >= level` tells whether y lies in the smallest region of that mass.

    Args:
        key: a PRNG key.
        mixture: one mixture.
        mass: () in (0, 1).
        num_samples: how many draws estimate it; the mass is met within sqrt(mass (1 - mass) / num_samples).

    Returns:
        () nats.

    Raises:
        InputError: for a batch (use `jax.vmap`), a mass outside (0, 1), or num_samples below 1.

    Example:
        >>> import jax, jax.numpy as jnp, mdn_jax as mdn
        >>> mixture = mdn.Mixture(jnp.zeros(1), jnp.zeros((1, 2)), mdn.Isotropic(jnp.zeros(1)))
        >>> level = jax.jit(mdn.density_level, static_argnums=3)(jax.random.key(0), mixture, 0.5, 4096)
        >>> round(float(level), 1)  # log(0.5 / (2 pi))
        -2.5
    """
    check_range("mass", mass, 0, 1)
    mixture = check_single("density_level", mixture, mass=(jnp.asarray(mass), ()))
    require(num_samples >= 1, f"num_samples must be at least 1; got {num_samples}")
    draws = sample(key, mixture, (num_samples,))
    return jnp.quantile(jax.vmap(lambda y: log_prob(mixture, y))(draws), 1 - mass)


def highest_density(mixture: Mixture, mass: float | Scalar) -> Float[Array, "K 2"]:
    """The smallest region that holds a share `mass` of a one-dimensional mixture: disjoint intervals.

    Args:
        mixture: one mixture with D = 1.
        mass: () in (0, 1), say 0.9.

    Returns:
        (K, 2) lower and upper ends in rising order, in the units of the target; unused rows are NaN (a mixture of K
        Gaussians on a line has at most K modes). The cost grows with K^2.

    Raises:
        InputError: for a batch (use `jax.vmap`), for D > 1 (use `density_level`, or `marginal` first), or a mass
            outside (0, 1).

    Example:
        >>> import jax, jax.numpy as jnp, mdn_jax as mdn
        >>> mixture = mdn.Mixture(jnp.zeros(2), jnp.array([[-9.0], [9.0]]), mdn.Isotropic(jnp.zeros(2)))
        >>> print(jax.jit(mdn.highest_density)(mixture, 0.9).round(1))
        [[-10.6  -7.4]
         [  7.4  10.6]]

    References:
        R. J. Hyndman, "Computing and graphing highest density regions", 1996.
    """
    check_range("mass", mass, 0, 1)
    mixture = check_single("highest_density", mixture, mass=(jnp.asarray(mass), ()))
    mass = jnp.asarray(mass, mixture.locs.dtype)
    require(
        mixture.target_dim == 1,
        f"highest_density needs one target, not {mixture.target_dim}: take mdn.marginal(mixture, d) first, or "
        f"mdn.density_level in any dimension",
    )
    ends, used = _region(jax.lax.stop_gradient(mixture), jax.lax.stop_gradient(mass))
    ends = _differentiable_ends(mixture, mass, ends, used)
    return jnp.where(used[:, None], ends, jnp.nan)


def highest_density_mass(mixture: Mixture, y: Float[Array, " 1"]) -> Scalar:
    """The probability of a density higher than at `y`: the mass of the smallest highest-density region that reaches it.

    Uniform in (0, 1) for targets drawn from the mixture, as the PIT is: `highest_density(mixture, mass)` holds `y`
    where `mass` exceeds it.

    Args:
        mixture: one mixture with D = 1.
        y: (1,) one target.

    Returns:
        () in [0, 1].

    Raises:
        InputError: for a batch (use `jax.vmap`), or for D > 1.

    Example:
        >>> import jax, jax.numpy as jnp, mdn_jax as mdn
        >>> mixture = mdn.Mixture(jnp.zeros(1), jnp.zeros((1, 1)), mdn.Isotropic(jnp.zeros(1)))
        >>> print(round(float(jax.jit(mdn.highest_density_mass)(mixture, jnp.array([1.0]))), 3))
        0.683

    References:
        R. Izbicki, G. Shimizu and R. Stern, "CD-split and HPD-split: efficient conformal regions in high dimensions",
        2022.
    """
    y = jnp.asarray(y)
    mixture = check_single("highest_density_mass", mixture, y=(y, mixture.locs.shape[-1:]))
    require(
        mixture.target_dim == 1,
        f"highest_density_mass needs one target, not {mixture.target_dim}: take mdn.marginal(mixture, d) first",
    )
    return _mass_above(mixture, log_prob(mixture, y), y)


def _log_density(mixture: Mixture, y: Float[Array, " S"]) -> Float[Array, " S"]:
    """log p at S points of a line."""
    return jax.vmap(lambda point: log_prob(mixture, point[None]))(y)


def _slope(mixture: Mixture, y: Float[Array, " S"]) -> Float[Array, " S"]:
    """d log p / dy at S points of a line."""
    return jax.vmap(lambda point: jax.grad(log_prob, argnums=1)(mixture, point[None])[0])(y)


def _grid(mixture: Mixture) -> Float[Array, " G"]:
    """Points around every component, in rising order."""
    offsets = jnp.linspace(-GRID_REACH, GRID_REACH, GRID_PER_COMPONENT, dtype=mixture.locs.dtype)
    return jnp.sort((mixture.locs[:, :1] + mixture.scale.std(1) * offsets[None, :]).ravel())


def _mass_above(mixture: Mixture, level: Scalar, y: Float[Array, " 1"]) -> Scalar:
    """The probability of a density higher than the level, which is the density at y."""
    count, stds = mixture.num_components, mixture.scale.std(1)[:, 0]
    reach = TAIL_REACH[stds.dtype.name] * stds
    ends = jnp.stack([jnp.min(mixture.locs[:, 0] - reach), jnp.max(mixture.locs[:, 0] + reach)])
    grid = jnp.sort(jnp.concatenate([_grid(mixture), ends]))
    height = _log_density(mixture, grid)
    # turns of the density, and both sides of y: what rises or falls within a cell would be overlooked
    beside = y + NEAR * jnp.concatenate([-stds, stds])
    more = jnp.concatenate([_turns(mixture, grid, height), beside])
    grid, height = jnp.concatenate([grid, more]), jnp.concatenate([height, _log_density(mixture, more)])
    order = jnp.argsort(grid)
    grid, above = grid[order], height[order] > level
    # where the density crosses the level between neighbours: twice for each of K modes, but for rounding
    index = jnp.nonzero(above[1:] != above[:-1], size=2 * count + SPARE, fill_value=-1)[0]
    low, high, rises = grid[index], grid[index + 1], above[index + 1]
    sign = jnp.where(rises, 1.0, -1.0)
    crossing = bisect(lambda y: sign * (_log_density(mixture, y) - level), low, high)
    below = jax.vmap(lambda y: cdf(mixture, y[None])[0])(crossing)
    return jnp.clip(above[-1] - jnp.sum(jnp.where(index >= 0, sign * below, 0.0)), 0.0, 1.0)


def _turns(mixture: Mixture, grid: Float[Array, " G"], height: Float[Array, " G"]) -> Float[Array, " T"]:
    """Where the density turns: near the highest and lowest of neighbours, by secants of its slope."""
    places = jnp.arange(grid.size)
    group = jax.lax.cummax(jnp.where(jnp.diff(grid, prepend=-jnp.inf) > 0, places, 0))  # equal components repeat points
    left = jnp.maximum(group - 1, 0)
    here, before, after = height[1:-1], height[left[1:-1]], height[2:]
    top, dip = (here >= before) & (here > after), (here <= before) & (here < after)
    index = 1 + jnp.nonzero(top | dip, size=2 * mixture.num_components + SPARE, fill_value=0)[0]
    rightwards = (_slope(mixture, grid[index]) > 0) == top[index - 1]
    first, second = grid[index], jnp.where(rightwards, grid[index + 1], grid[left[index]])
    for _ in range(NUM_SECANTS):
        a, b = _slope(mixture, first), _slope(mixture, second)
        between = first + (second - first) * jnp.clip(a / jnp.where(a == b, 1.0, a - b), 0.0, 1.0)
        first, second = between, jnp.where((_slope(mixture, between) > 0) == (a > 0), second, first)
    return first


def _landscape(mixture: Mixture) -> tuple[Float[Array, " K"], Float[Array, " K+1"], Bool[Array, " K"]]:
    """The peaks of the density in rising order, the valleys around each, and which of the K places hold a peak."""
    count, locs, stds = mixture.num_components, mixture.locs[:, 0], mixture.scale.std(1)[:, 0]
    grid = _grid(mixture)
    low, high, slope, height = grid[:-1], grid[1:], _slope(mixture, grid), _log_density(mixture, grid)
    # between which neighbours the slope turns: heights would see a peak wherever equal components repeat a point
    tops, dips = (slope[:-1] > 0) & (slope[1:] <= 0), (slope[:-1] <= 0) & (slope[1:] > 0)
    # where rounding ripples the density there can be more than K: the highest K are kept
    found, index = jax.lax.top_k(jnp.where(tops, jnp.maximum(height[:-1], height[1:]), -jnp.inf), count)
    index = jnp.sort(jnp.where(jnp.isneginf(found), low.size, index))
    exists = index < low.size
    index = jnp.minimum(index, low.size - 1)
    peaks = bisect(lambda y: -_slope(mixture, y), low[index], high[index])

    places = jnp.arange(low.size)[None, :]
    between = (places > index[:-1, None]) & (places < index[1:, None]) & dips[None, :]
    lowest = jnp.argmin(jnp.where(between, jnp.minimum(height[:-1], height[1:])[None, :], jnp.inf), axis=1)
    inner = bisect(lambda y: _slope(mixture, y), low[lowest], high[lowest])
    reach = TAIL_REACH[locs.dtype.name] * stds
    first, last = jnp.min(locs - reach)[None], jnp.max(locs + reach)[None]
    inner = jnp.where(exists[1:], inner, last[0])  # the last peak's valley is the tail
    return peaks, jnp.concatenate([first, inner, last]), exists


class _Landscape(NamedTuple):
    """Peaks of a density on a line in rising order, the valleys around each, and how high they are."""

    peaks: Float[Array, " K"]
    left: Float[Array, " K"]
    right: Float[Array, " K"]
    peak_height: Float[Array, " K"]  # -inf in a place that holds no peak
    left_height: Float[Array, " K"]
    right_height: Float[Array, " K"]


def _survey(mixture: Mixture) -> _Landscape:
    peaks, valleys, exists = _landscape(mixture)
    left, right = valleys[:-1], valleys[1:]
    peak_height, left_height, right_height = (_log_density(mixture, y) for y in (peaks, left, right))
    return _Landscape(peaks, left, right, jnp.where(exists, peak_height, -jnp.inf), left_height, right_height)


def _ends_at(mixture: Mixture, land: _Landscape, level: Scalar) -> tuple[Array, Array]:
    """Where the density falls to `level` around each peak: at the valley if never, at the peak if below."""
    lower = bisect(lambda y: _log_density(mixture, y) - level, land.left, land.peaks)
    upper = bisect(lambda y: level - _log_density(mixture, y), land.peaks, land.right)
    lower = jnp.where(land.left_height >= level, land.left, lower)
    upper = jnp.where(land.right_height >= level, land.right, upper)
    empty = land.peak_height <= level
    return jnp.where(empty, land.peaks, lower), jnp.where(empty, land.peaks, upper)


def _mass_between(mixture: Mixture, lower: Float[Array, " K"], upper: Float[Array, " K"]) -> Scalar:
    below = jax.vmap(lambda y: cdf(mixture, y[None])[0])
    return jnp.sum(below(upper) - below(lower))


def _region(mixture: Mixture, mass: Scalar) -> tuple[Float[Array, "K 2"], Bool[Array, " K"]]:
    """Ends of the highest-density intervals in rising order, and which of the K rows are used."""
    land = _survey(mixture)

    def shortfall(level: Scalar) -> Scalar:
        return mass - _mass_between(mixture, *_ends_at(mixture, land, level))

    lowest = jnp.minimum(land.left_height[0], jnp.min(land.right_height))
    level = bisect(shortfall, lowest, jnp.max(land.peak_height))
    lower, upper = _ends_at(mixture, land, level)
    above = land.peak_height > level
    # neighbours that meet in a valley above the level are one interval: keep only its outer ends
    meets = above[:-1] & above[1:] & (land.right_height[:-1] >= level)
    starts = above & ~jnp.concatenate([jnp.array([False]), meets])
    stops = above & ~jnp.concatenate([meets, jnp.array([False])])
    ends = jnp.stack([jnp.sort(jnp.where(starts, lower, jnp.inf)), jnp.sort(jnp.where(stops, upper, jnp.inf))], axis=1)
    return ends, jnp.isfinite(ends[:, 0])


def _differentiable_ends(
    mixture: Mixture, mass: Scalar, ends: Float[Array, "K 2"], used: Bool[Array, " K"]
) -> Float[Array, "K 2"]:
    """The same ends, differentiable through what defines them: equal densities, and the mass between them."""
    used_ends = jnp.repeat(used, 2)
    fixed = jnp.where(used_ends, ends.ravel(), mixture.locs[0, 0])
    fixed = jax.lax.stop_gradient(fixed)
    signs = jnp.where(jnp.arange(fixed.size) % 2 == 0, -1.0, 1.0).astype(fixed.dtype)

    def residual(ends: Array) -> Array:
        heights = _log_density(mixture, ends)
        levels = jax.vmap(lambda y: cdf(mixture, y[None])[0])(ends)
        inside = jnp.sum(jnp.where(used_ends, signs * levels, 0.0)) - mass
        equal = jnp.where(used_ends, heights - heights[0], ends - fixed)
        return equal.at[0].set(inside)

    flat = jax.lax.custom_root(
        residual,
        fixed,
        solve=lambda _, start: start,
        tangent_solve=lambda linear, rhs: jnp.linalg.solve(jax.jacfwd(linear)(jnp.zeros_like(rhs)), rhs),
    )
    return flat.reshape(-1, 2)

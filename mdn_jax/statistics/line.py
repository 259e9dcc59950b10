r"""The profile of a density on a line: its peaks and valleys, the level of a mass, the region, the mass above a level.

Everything that asks about a line asks this. K components are laid on G rising nodes, half a standard deviation apart
around every centre, and each turn of the density is moved onto a node, so that the density is monotone between two
turns: 2 K stretches at most, each of which crosses a level once or never. The level of a mass is bisected, then found
by Newton's steps, on the cubic through the values and slopes at the nodes (no K in that loop); a few last steps take
the exact density and distribution function. Two turns within half a standard deviation of each other can be missed.

Positions are in units of the least standard deviation, from the first centre on; densities are relative to the highest
component: no units, and no weight, are too large or too small.

References:
    R. J. Hyndman, "Computing and graphing highest density regions", 1996.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from mdn_jax._typing import Bool, Float, Int, Scalar
from mdn_jax.distributions import Mixture

__all__ = ["Line", "mass_above", "peaks", "profile", "region"]

TAIL = np.array([5.0, 6.5, 9.0, 12.0])
OFFSETS = np.concatenate([-TAIL[::-1], np.linspace(-4.0, 4.0, 17), TAIL])  # standard deviations from a centre
SPARE = 2  # peaks that rounding may add to the K that there can be
LOWEST, HALVINGS, NEWTONS = 45.0, 12, 6  # nats below the highest node, and steps, to the level of a mass
STRAIGHT_ERROR, CUBIC_ERROR = 0.2, 0.05  # nats that a level may be off by straight lines, and by cubics
CELL_STEPS = 3  # of Newton's, to where a cubic crosses a level
EXACT_STEPS, MASS_STEPS = {"float32": 3, "float64": 12}, 3  # of Newton's, with the density itself
TURN_STEPS = {"float32": 6, "float64": 10}  # to where the slope vanishes
TURN = 1e-6  # nats below a turn within which the slope says little of the mass that a level loses
LOG_ROOT_2PI = 0.5 * math.log(2 * math.pi)


class Components(NamedTuple):
    """K normal densities of a line.

    Attributes:
        weights: (K,).
        heights: (K,) of the components' own peaks, relative to the highest.
        locs: (K,).
        stds: (K,).
        top: () log of the highest component's peak.
    """

    weights: Float[Array, " K"]
    heights: Float[Array, " K"]
    locs: Float[Array, " K"]
    stds: Float[Array, " K"]
    top: Scalar


class Line(NamedTuple):
    """A density on a line, in units of its own.

    Attributes:
        origin: where 0 is.
        unit: the length of 1.
        parts: the components.
        nodes: (G,) rising; all peaks and valleys are among them.
        density: (G,) relative to the highest component.
        slope: (G,) of the density.
        turns: (2 P + 1,) nodes where it turns: the first one, peak, valley, peak, ..., and the last one, repeated.
        is_peak: (P,) which of the places for peaks, `turns[1::2]`, hold one.
    """

    origin: Scalar
    unit: Scalar
    parts: Components
    nodes: Float[Array, " G"]
    density: Float[Array, " G"]
    slope: Float[Array, " G"]
    turns: Int[Array, " T"]
    is_peak: Bool[Array, " P"]


class _Stretches(NamedTuple):
    """The S stretches between two turns, on which the density is monotone.

    Attributes:
        first: (S,) nodes where they begin.
        last: (S,) nodes where they end.
        falls: (S,) whether the density falls.
        sign: (S,) -1 where the density rises, 1 where it falls, 0 where a stretch is empty.
    """

    first: Int[Array, " S"]
    last: Int[Array, " S"]
    falls: Bool[Array, " S"]
    sign: Float[Array, " S"]


def profile(mixture: Mixture) -> Line:
    """The profile of one mixture with D = 1."""
    locs, stds = mixture.locs[:, 0], mixture.scale.std(1)[:, 0]
    origin, unit = locs[0], jnp.min(stds)
    locs, stds = (locs - origin) / unit, stds / unit
    log_heights = jax.nn.log_softmax(mixture.logits) - jnp.log(stds)
    top = jnp.max(log_heights)
    parts = Components(mixture.weights, jnp.exp(log_heights - top), locs, stds, top - LOG_ROOT_2PI)
    nodes = _sort((locs[:, None] + stds[:, None] * OFFSETS.astype(locs.dtype)[None, :]).ravel())
    density, slope, _, _ = _shape(parts, nodes)

    rising, last, most = slope > 0, nodes.size - 1, locs.size + SPARE
    tops = _first(rising[:-1] & ~rising[1:], most)
    dips = _first(~rising[:-1] & rising[1:] & (jnp.arange(last) > tops[0]), most - 1)
    dips = jnp.where(tops[1:] < last, dips, last)  # behind the last peak the density only falls
    # the left end of a cell moves to where the slope vanishes: no two such cells share it
    cells = jnp.concatenate([tops, dips])
    found = _flat_point(parts, nodes, slope, cells)
    own = jnp.where(cells < last, cells, nodes.size)  # none beyond the nodes
    nodes, density = nodes.at[own].set(found, mode="drop"), density.at[own].set(_shape(parts, found)[0], mode="drop")
    slope = slope.at[own].set(jnp.zeros_like(found), mode="drop")
    inner = jnp.stack([tops[:-1], dips], axis=1).ravel()
    turns = jnp.concatenate([jnp.zeros_like(tops[:1]), inner, tops[-1:], jnp.full_like(tops[:1], last)])
    return Line(origin, unit, parts, nodes, density, slope, turns, tops < last)


def peaks(line: Line) -> tuple[Float[Array, " K"], Float[Array, " K"], Bool[Array, " K"]]:
    """The peaks, highest first, the last one repeated; the weights of the components uphill of each; which exist.

    A component belongs to the peak between the same valleys as its centre.
    """
    places, valleys = line.turns[1::2], line.nodes[line.turns[2:-1:2]]
    basin = jnp.minimum(jnp.sum(line.parts.locs[:, None] > valleys[None, :], axis=1), jnp.sum(line.is_peak) - 1)
    weights = jnp.zeros_like(line.nodes[places]).at[basin].add(line.parts.weights)
    order = jnp.argsort(jnp.where(line.is_peak, -line.density[places], jnp.inf))[: line.parts.locs.size]
    exists = line.is_peak[order]
    points = line.nodes[places[order[jnp.minimum(jnp.arange(order.size), jnp.sum(exists) - 1)]]]
    return line.origin + line.unit * points, jnp.where(exists, weights[order], 0.0), exists


def region(line: Line, mass: Scalar) -> tuple[Float[Array, "K 2"], Bool[Array, " K"], Scalar]:
    """The intervals of highest density that hold `mass`, in rising order; which are used; their ends' log density."""
    parts, stretches, turns = line.parts, _stretches(line), jnp.log(_positive(line.density[line.turns]))
    level = _level_of(line, mass)
    at = _nearest(line, stretches, line.density > jnp.exp(level))
    at = _approach(line, stretches, turns - level, at, level, *_log_shape(parts, at)[:3])

    def newton(_: Any, now: tuple[Array, ...]) -> tuple[Array, ...]:
        at, _, level, lowest, highest = now
        log_density, slope, curvature, below = _log_shape(parts, at)
        moved = _approach(line, stretches, turns - level, at, level, log_density, slope, curvature) - at
        density = jnp.exp(parts.top + log_density)
        excess = jnp.sum(stretches.sign * (below + density * moved * (1 + 0.5 * slope * moved))) - mass
        lost = jnp.exp(parts.top + level) * _retreat(turns > level, slope + curvature * moved, curvature)
        lowest, highest = jnp.where(excess > 0, level, lowest), jnp.where(excess > 0, highest, level)
        return at + moved, level, _inside(level + excess / _positive(jnp.sum(lost)), lowest, highest), lowest, highest

    def settle(_: Any, at: Float[Array, " S"]) -> Float[Array, " S"]:
        log_density, slope, curvature, below = _log_shape(parts, at)
        retreat, excess = _retreat(turns > met, slope, curvature), jnp.sum(stretches.sign * below) - mass
        lost = jnp.sum(jnp.exp(parts.top + log_density) * retreat)
        return jnp.clip(at - stretches.sign * excess * retreat / _positive(lost), low, high)

    low, high = line.nodes[stretches.first], line.nodes[stretches.last]
    start = at, level, level, level - CUBIC_ERROR, level + CUBIC_ERROR
    at, met, *_ = jax.lax.fori_loop(0, EXACT_STEPS[at.dtype.name], newton, start)
    at = jax.lax.fori_loop(0, MASS_STEPS, settle, at)  # what is left is taken by mass alone
    # neighbours that meet in a valley above the level are one interval: starts and stops are matched in order
    crosses = _crosses(turns > met)
    sides = [jnp.sort(jnp.where(crosses & (stretches.sign == side), at, jnp.inf)) for side in (-1, 1)]
    ends = line.origin + line.unit * jnp.stack(sides, axis=1)[: parts.locs.size]
    return ends, jnp.isfinite(ends[:, 0]), met + parts.top - jnp.log(line.unit)


def mass_above(line: Line, y: Scalar) -> tuple[Scalar, Float[Array, " S"], Float[Array, " S"]]:
    """The probability of a density higher than at y; where it is as high; -1 where it rises there, 1, or 0: nowhere."""
    parts, stretches = line.parts, _stretches(line)
    y = jnp.clip((y - line.origin) / line.unit, line.nodes[0], line.nodes[-1])
    # a level may graze a turn: the difference from y itself keeps the digits
    over = _rise(parts, y, line.nodes[line.turns])
    above = (line.density > _shape(parts, y[None])[0]).at[line.turns].set(over > 0)

    def newton(_: Any, at: Float[Array, " S"]) -> Float[Array, " S"]:
        return _approach(line, stretches, over, at, 0.0, _rise(parts, y, at), *_log_shape(parts, at)[1:3])

    at = _nearest(line, stretches, above)
    at = jax.lax.fori_loop(0, EXACT_STEPS[at.dtype.name] + 1, newton, at)
    mass = jnp.clip(jnp.sum(stretches.sign * _log_shape(parts, at)[3]), 0.0, 1.0)
    return mass, line.origin + line.unit * at, jnp.where(_crosses(over > 0), stretches.sign, 0.0)


def _shape(parts: Components, y: Float[Array, " S"]) -> Any:
    """Density, slope, curvature and the mass below at S points."""

    def add(sums: tuple[Array, ...], part: tuple[Array, ...]) -> tuple[tuple, None]:
        weight, height, loc, precision = part
        z = (y - loc) * precision
        density = height * jnp.exp(-0.5 * z * z)
        slope = -density * z * precision
        below = weight * jax.lax.erfc(-z * math.sqrt(0.5))
        more = density, slope, -(slope * z + density * precision) * precision, 0.5 * below
        return tuple(a + b for a, b in zip(sums, more, strict=True)), None

    columns = parts.weights, parts.heights, parts.locs, 1 / parts.stds
    return jax.lax.scan(add, (jnp.zeros_like(y),) * 4, columns)[0]


def _log_shape(parts: Components, y: Float[Array, " S"]) -> tuple[Array, Array, Array, Array]:
    """Log density, its slope and its curvature, and the mass below at S points."""
    density, slope, curvature, below = _shape(parts, y)
    density = _positive(density)
    return jnp.log(density), slope / density, curvature / density - (slope / density) ** 2, below


def _positive(values: Array) -> Array:
    return jnp.maximum(values, jnp.finfo(values.dtype).tiny)


def _rise(parts: Components, y: Scalar, other: Float[Array, " S"]) -> Float[Array, " S"]:
    """log p(other) - log p(y), with all its digits where the two are near."""
    log_heights = jnp.log(parts.heights)
    z, apart = (y - parts.locs) / parts.stds, (other[:, None] - y) / parts.stds[None, :]
    here, there = log_heights - 0.5 * z**2, (other[:, None] - parts.locs[None, :]) / parts.stds[None, :]
    there, level = log_heights[None, :] - 0.5 * there**2, jax.nn.logsumexp(here)
    gain = jnp.clip(-apart * (z[None, :] + 0.5 * apart), -1.0, 1.0)
    near = jnp.log1p(jnp.sum(jnp.exp(here - level)[None, :] * jnp.expm1(gain), axis=1))
    return jnp.where(jnp.max(jnp.abs(gain), axis=1) < 1.0, near, jax.nn.logsumexp(there, axis=1) - level)


def _sort(y: Float[Array, " G"]) -> Float[Array, " G"]:
    """Finite numbers in rising order, as whole numbers: four times faster on CPU than with care for NaN."""
    whole = jnp.int32 if y.dtype == jnp.float32 else jnp.int64
    flip = lambda bits: bits ^ ((bits >> (8 * y.dtype.itemsize - 1)) & int(jnp.iinfo(whole).max))  # noqa: E731
    bits = flip(jax.lax.bitcast_convert_type(y, whole))  # negative numbers are ordered by falling bits
    return jax.lax.bitcast_convert_type(flip(jnp.sort(bits)), y.dtype)


def _first(mask: Bool[Array, " C"], count: int) -> Int[Array, " P"]:
    """The places of the first `count` true values, then the number of places."""
    return jnp.nonzero(mask, size=count, fill_value=mask.size)[0]


def _flat_point(parts: Components, nodes: Array, slope: Array, cells: Int[Array, " T"]) -> Float[Array, " T"]:
    """The zero of the slope between a node and the next: Newton's steps, halving where they leave the bracket."""
    low, high, first, second = nodes[cells], nodes[cells + 1], slope[cells], slope[cells + 1]
    y = low + (high - low) * first / jnp.where(first == second, 1.0, first - second)

    def newton(_: Any, now: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        y, low, high = now
        _, here, curvature, _ = _shape(parts, y)
        before = (here > 0) == (first > 0)
        low, high = jnp.where(before, y, low), jnp.where(before, high, y)
        return _inside(y - here / jnp.where(curvature == 0, 1.0, curvature), low, high), low, high

    return jax.lax.fori_loop(0, TURN_STEPS[y.dtype.name], newton, (y, low, high))[0]


def _level_of(line: Line, mass: Scalar) -> Scalar:
    """The log density (relative, as the line's) above which `mass` lies, by the cubics between the nodes."""
    width, left, right = jnp.diff(line.nodes), line.density[:-1], line.density[1:]
    # slopes at each end of a cell of width 1; the cubic is monotone where they are at most three times the straight
    # line's (Fritsch and Carlson, "Monotone piecewise cubic interpolation", 1980): some cells are long
    least, most = jnp.minimum(0, 3 * (right - left)), jnp.maximum(0, 3 * (right - left))
    rise, fall = (jnp.clip(width * slope, least, most) for slope in (line.slope[:-1], line.slope[1:]))
    area = 0.5 * width * (left + right) + width / 12 * (rise - fall)
    total = mass * jnp.sum(area)
    # p(u) = left + rise u + square u^2 + cube u^3
    cube, square = 2 * (left - right) + rise + fall, 3 * (right - left) - 2 * rise - fall
    flat = left == right

    def held(level: Scalar, steps: int) -> tuple[Scalar, Scalar]:
        t = jnp.exp(level)
        u = jnp.clip((t - left) / jnp.where(flat, 1.0, right - left), 0.0, 1.0)
        for _ in range(steps):
            value, steepness = left + u * (rise + u * (square + u * cube)) - t, rise + u * (2 * square + 3 * u * cube)
            u = jnp.clip(u - value / jnp.where(steepness == 0, 1.0, steepness), 0.0, 1.0)
        below = width * u * (left + u * (rise / 2 + u * (square / 3 + u * cube / 4)))
        first, second = left > t, right > t
        inside = jnp.where(first, jnp.where(second, area, below), jnp.where(second, area - below, 0.0))
        steepness = jnp.abs(rise + u * (2 * square + 3 * u * cube))
        crossed = (first != second) & (steepness > 0)
        return jnp.sum(inside), jnp.sum(jnp.where(crossed, t**2 * width / jnp.where(crossed, steepness, 1.0), 0.0))

    highest = jnp.log(jnp.max(line.density))
    lowest = highest - LOWEST

    def halve(_: Any, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        middle = 0.5 * (ends[0] + ends[1])
        more = held(middle, 0)[0] > total
        return jnp.where(more, middle, ends[0]), jnp.where(more, ends[1], middle)

    def newton(_: Any, now: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        level, low, high = now
        found, slope = held(level, CELL_STEPS)
        low, high = jnp.where(found > total, level, low), jnp.where(found > total, high, level)
        return _inside(level + (found - total) / jnp.where(slope > 0, slope, 1.0), low, high), low, high

    low, high = jax.lax.fori_loop(0, HALVINGS, halve, (lowest, highest))
    ends = jnp.maximum(low - STRAIGHT_ERROR, lowest), jnp.minimum(high + STRAIGHT_ERROR, highest)
    level, _, _ = jax.lax.fori_loop(0, NEWTONS, newton, (0.5 * (low + high), *ends))
    return level


def _inside(step: Scalar, low: Scalar, high: Scalar) -> Scalar:
    """The step, or the middle where it leaves the bracket by more than rounding."""
    slack = 1e-3 * (high - low)
    inside = (step >= low - slack) & (step <= high + slack)
    return jnp.where(inside, jnp.clip(step, low, high), 0.5 * (low + high))


def _stretches(line: Line) -> _Stretches:
    first, last = line.turns[:-1], line.turns[1:]
    falls = jnp.arange(first.size) % 2 == 1
    sign = jnp.where(falls, 1.0, -1.0).astype(line.nodes.dtype)
    return _Stretches(first, last, falls, jnp.where(first < last, sign, 0.0))


def _crosses(above: Bool[Array, " T"]) -> Bool[Array, " S"]:
    """The stretches that cross a level, given the turns that lie above it."""
    return above[:-1] != above[1:]


def _nearest(line: Line, stretches: _Stretches, above: Bool[Array, " G"]) -> Float[Array, " S"]:
    """A place near each stretch's crossing of a level, given which nodes lie above it; its nearer turn without one."""
    first, last, falls = stretches.first, stretches.last, stretches.falls
    before = jnp.cumsum(above) - above.astype(first.dtype)  # nodes above, to the left of each
    count = before[last] - before[first]
    cell = jnp.clip(first - 1 + jnp.where(falls, count, last - first - count), first, jnp.maximum(last - 1, first))
    crosses = above[first] != above[last]
    low, high = line.nodes[cell], line.nodes[jnp.minimum(cell + 1, last)]
    turn = jnp.where(above[first] == falls, line.nodes[last], line.nodes[first])
    return jnp.where(crosses, 0.5 * (low + high), turn)


def _approach(
    line: Line, stretches: _Stretches, over: Float[Array, " T"], at: Float[Array, " S"], level: Any, *shape: Array
) -> Float[Array, " S"]:
    """One step of each place to where its stretch crosses the level; the nearer turn where it never does.

    Args:
        line: the profile.
        stretches: its stretches.
        over: log density at the turns, above the level.
        at: the places.
        level: the log density that they go to.
        shape: log density, its slope and its curvature at each place.
    """
    low, high = line.nodes[stretches.first], line.nodes[stretches.last]
    top, bottom = jnp.where(stretches.falls, low, high), jnp.where(stretches.falls, high, low)
    none, whole = jnp.maximum(over[:-1], over[1:]) <= 0, jnp.minimum(over[:-1], over[1:]) >= 0
    step = _step(-stretches.sign, level - shape[0], shape[1], shape[2])
    return jnp.where(none, top, jnp.where(whole, bottom, jnp.clip(at + step, low, high)))


def _retreat(above: Bool[Array, " T"], slope: Array, curvature: Array) -> Float[Array, " S"]:
    """The way of each end inwards as a log level rises by 1, given the slope and curvature of the log density."""
    # near a turn the slope says little
    return jnp.where(_crosses(above), 1 / _positive(jnp.sqrt(slope**2 + TURN * jnp.abs(curvature))), 0.0)


def _step(
    direction: Float[Array, " S"], gap: Float[Array, " S"], slope: Float[Array, " S"], curvature: Float[Array, " S"]
) -> Float[Array, " S"]:
    """The step in which a quadratic rises by `gap` in a direction; to its turn where it does not get there."""
    slope = jnp.maximum(direction * slope, 0.0)
    total = slope + jnp.sqrt(jnp.maximum(slope**2 + 2 * curvature * gap, 0.0))
    return direction * 2 * gap / jnp.where(total == 0, jnp.inf, total)

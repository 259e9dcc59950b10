r"""Highest-density regions and modes of many mixtures on a line at once: one grid for each row, on the host.

`mdn.highest_density` solves one mixture to the last digit, with gradients. Tables need neither: here the density and
its slope are computed once, on a grid that is dense around every component, and a cubic between neighbours says the
rest (a cell of width h holds h (p_0 + p_1) / 2 + h^2 (p'_0 - p'_1) / 12). Masses are right to about 1e-5,
and to 1e-3 in the rare row whose level grazes a peak or a valley.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from mdn_jax._typing import Bool, Float, Int

__all__ = ["Landscape", "joined", "modes_of", "regions_and_modes", "regions_of", "survey"]

Row = Int[np.ndarray, " C"]
# standard deviations from each centre: a quarter apart where the component is, then its tails
OFFSETS = np.concatenate([[-6.5, -5.0], np.linspace(-4.0, 4.0, 33), [5.0, 6.5]])
NUMBERS_AT_ONCE = 2**17  # of a grid: fits a processor's cache
ROOT_STEPS = 8
LEVEL_STEPS = 40  # most of them are Newton's, and few are needed
MASS_TOLERANCE = 1e-6
LOWEST = 40.0  # nats below the highest peak


@dataclass(frozen=True, eq=False)
class Landscape:
    """Densities of R rows on grids of G points, with a point on every peak and in every valley.

    Attributes:
        weights: (R, K) of the components.
        locs: (R, K) their centres.
        stds: (R, K) their standard deviations.
        y: (R, G) in rising order.
        density: (R, G).
        slope: (R, G).
        peaks: rows (P,) and columns (P,) of the grid where a peak is.
        valleys: rows (V,) and columns (V,) of the grid where a valley is.
    """

    weights: Float[np.ndarray, "R K"]
    locs: Float[np.ndarray, "R K"]
    stds: Float[np.ndarray, "R K"]
    y: Float[np.ndarray, "R G"]
    density: Float[np.ndarray, "R G"]
    slope: Float[np.ndarray, "R G"]
    peaks: tuple[Row, Row]
    valleys: tuple[Row, Row]


def regions_and_modes(
    weights: Float[np.ndarray, "R K"],
    locs: Float[np.ndarray, "R K"],
    stds: Float[np.ndarray, "R K"],
    mass: float,
    num_modes: int,
) -> tuple[Float[np.ndarray, "R P 2"], Float[np.ndarray, "R M"], Float[np.ndarray, "R M"]]:
    """`regions_of` and `modes_of` any number of rows, as many at once as fit a processor's cache."""
    num_rows, num_components = locs.shape
    at_once = max(1, NUMBERS_AT_ONCE // (num_components * len(OFFSETS)))

    def solve(start: int) -> tuple[np.ndarray, ...]:
        own = slice(start, start + at_once)
        land = survey(weights[own], locs[own], stds[own])
        return regions_of(land, mass), *modes_of(land, num_modes)

    with ThreadPoolExecutor() as pool:
        regions, points, shares = zip(*pool.map(solve, range(0, num_rows, at_once)), strict=True)
    return joined(regions), np.concatenate(points), np.concatenate(shares)


def joined(regions: Sequence[np.ndarray], axis: int = 0) -> np.ndarray:
    """Regions of as many pieces as any has, the others NaN; along an axis that is there, or (-1) one that is not."""
    most = max(region.shape[1] for region in regions)
    filled = []
    for region in regions:
        fill = [(0, most - region.shape[1] if place == 1 else 0) for place in range(region.ndim)]
        filled.append(np.pad(region, fill, constant_values=np.nan))
    return np.concatenate(filled) if axis == 0 else np.stack(filled, axis=axis)


def survey(
    weights: Float[np.ndarray, "R K"], locs: Float[np.ndarray, "R K"], stds: Float[np.ndarray, "R K"]
) -> Landscape:
    """The landscapes of R mixtures of K Gaussians on a line."""
    weights, locs, stds = (np.asarray(values, np.float32) for values in (weights, locs, stds))
    y = (locs[:, :, None] + stds[:, :, None] * OFFSETS.astype(np.float32)).reshape(len(locs), -1)
    y.sort(axis=1)
    density, slope = np.zeros_like(y), np.zeros_like(y)
    for k in range(locs.shape[1]):
        precision = 1.0 / stds[:, k : k + 1]
        z = (y - locs[:, k : k + 1]) * precision
        part = np.exp(-0.5 * z * z) * (weights[:, k : k + 1] * precision / np.float32(np.sqrt(2 * np.pi)))
        density += part
        slope -= part * z * precision
    nowhere = _places(np.zeros((0, 0), bool))
    land = Landscape(weights, locs, stds, y, density, slope, nowhere, nowhere)
    tops = _places((slope[:, :-1] > 0) & (slope[:, 1:] <= 0))
    dips = _places((slope[:, :-1] <= 0) & (slope[:, 1:] > 0))
    # the left end of a cell moves to where the slope vanishes: no two such cells share it
    for cells, sign in ((tops, 1.0), (dips, -1.0)):
        found = _flat_point(land, cells, sign)
        y[cells], density[cells], slope[cells] = found, _density(land, cells[0], found)[0], 0.0
    return Landscape(weights, locs, stds, y, density, slope, tops, dips)


def regions_of(land: Landscape, mass: float) -> Float[np.ndarray, "R P 2"]:
    """The intervals of highest density that hold a share `mass` of each row; as many as any row has, NaN in others."""
    num_rows = len(land.y)
    widths = np.diff(land.y)
    areas = 0.5 * widths * (land.density[:, :-1] + land.density[:, 1:])
    areas += widths**2 / 12 * (land.slope[:, :-1] - land.slope[:, 1:])
    areas /= areas.sum(axis=1, dtype=np.float64)[:, None]
    level = _levels(land, areas, mass)
    rows, columns, ends, _, _ = _cut(land, areas, level)
    ends = _exact_ends(land, rows, columns, ends, level[rows])
    starts = land.density[rows, columns] < land.density[rows, columns + 1]
    most = int(np.bincount(rows[starts], minlength=num_rows).max(initial=1))
    regions = np.full((num_rows, most, 2), np.nan)
    for side, chosen in enumerate((starts, ~starts)):
        own = rows[chosen]
        place = np.arange(len(own)) - np.searchsorted(own, own)  # rows are in order: how many of the same came before
        regions[own, np.minimum(place, most - 1), side] = ends[chosen]
    return regions


def modes_of(land: Landscape, count: int) -> tuple[Float[np.ndarray, "R M"], Float[np.ndarray, "R M"]]:
    """The `count` highest peaks of each row, best first, and the weight of the components uphill of which they lie.

    A component belongs to the peak between the same valleys as its centre. NaN where there are fewer.
    """
    rows = land.peaks[0]
    num_rows = len(land.y)
    place = np.arange(len(rows)) - np.searchsorted(rows, rows)
    most = max(count, int(place.max(initial=0)) + 1)
    points, heights = np.full((num_rows, most), np.nan), np.full((num_rows, most), -np.inf)
    points[rows, place], heights[rows, place] = land.y[land.peaks], land.density[land.peaks]
    valleys = np.full((num_rows, most), np.inf)
    own, positions = land.valleys[0], land.y[land.valleys]
    real = (positions > points[own, 0]) & (positions < np.nanmax(points, axis=1)[own])
    own, positions = own[real], positions[real]
    place = np.minimum(np.arange(len(own)) - np.searchsorted(own, own), most - 1)
    valleys[own, place] = positions
    last = np.isfinite(heights).sum(axis=1)[:, None] - 1
    basin = np.minimum((land.locs[:, :, None] > valleys[:, None, :]).sum(axis=2), last)
    weights = np.zeros((num_rows, most))
    np.add.at(weights, (np.arange(num_rows)[:, None], basin), land.weights.astype(np.float64))
    order = np.argsort(-heights, axis=1, kind="stable")[:, :count]
    points = np.take_along_axis(points, order, axis=1)
    return points, np.where(np.isnan(points), np.nan, np.take_along_axis(weights, order, axis=1))


def _places(where: Bool[np.ndarray, "R C"]) -> tuple[Row, Row]:
    """Rows and columns of what is true, row by row."""
    rows, columns = np.nonzero(where)
    return rows, columns


def _density(land: Landscape, rows: Row, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Density, slope and curvature of some rows at one point each, in float64."""
    stds = land.stds[rows].astype(np.float64)
    z = (y[:, None] - land.locs[rows]) / stds
    parts = land.weights[rows] * np.exp(-0.5 * z**2) / (stds * np.sqrt(2 * np.pi))
    slopes = -parts * z / stds
    return parts.sum(axis=1), slopes.sum(axis=1), (parts * (z**2 - 1) / stds**2).sum(axis=1)


def _flat_point(land: Landscape, cells: tuple[Row, Row], sign: float) -> np.ndarray:
    """Where in each cell the slope vanishes: Newton's steps, halving where they leave the bracket."""
    rows, columns = cells
    low, high = land.y[rows, columns].astype(np.float64), land.y[rows, columns + 1].astype(np.float64)
    y = 0.5 * (low + high)
    for _ in range(ROOT_STEPS):
        _, slope, curvature = _density(land, rows, y)
        before = sign * slope > 0
        low, high = np.where(before, y, low), np.where(before, high, y)
        with np.errstate(divide="ignore", invalid="ignore"):
            step = y - slope / curvature
        y = np.where((step >= low) & (step <= high), step, 0.5 * (low + high))
    return y


def _cut(
    land: Landscape, areas: Float[np.ndarray, "R C"], level: Float[np.ndarray, " R"]
) -> tuple[Row, Row, np.ndarray, np.ndarray, np.ndarray]:
    """Where the densities cross a level: rows, cells and places; the mass above, and its fall with log t."""
    above = land.density > level[:, None].astype(np.float32)
    inside = np.where(above[:, :-1] & above[:, 1:], areas, 0.0).sum(axis=1, dtype=np.float64)
    rows, columns = _places(above[:, :-1] != above[:, 1:])
    left, right = (rows, columns), (rows, columns + 1)
    start, width = land.y[left].astype(np.float64), (land.y[right] - land.y[left]).astype(np.float64)
    p_0, p_1 = land.density[left].astype(np.float64), land.density[right].astype(np.float64)
    d_0, d_1 = width * land.slope[left], width * land.slope[right]
    # p(u) = p_0 + d_0 u + b u^2 + a u^3 on a cell
    a, b = 2 * (p_0 - p_1) + d_0 + d_1, 3 * (p_1 - p_0) - 2 * d_0 - d_1
    rising, t = p_1 > p_0, level[rows]
    low, high = np.zeros_like(p_0), np.ones_like(p_0)
    u = np.clip((t - p_0) / (p_1 - p_0), 0.0, 1.0)
    for _ in range(ROOT_STEPS):
        value, slope = p_0 + u * (d_0 + u * (b + u * a)) - t, d_0 + u * (2 * b + 3 * u * a)
        before = (value < 0) == rising
        low, high = np.where(before, u, low), np.where(before, high, u)
        with np.errstate(divide="ignore", invalid="ignore"):
            step = u - value / slope
        u = np.where((step >= low) & (step <= high), step, 0.5 * (low + high))
    below = width * u * (p_0 + u * (d_0 / 2 + u * (b / 3 + u * a / 4)))
    part = np.where(rising, areas[left] - below, below)
    held = inside + np.bincount(rows, part, len(level))
    slope = np.maximum(np.abs(d_0 + u * (2 * b + 3 * u * a)), 1e-300) / np.maximum(width, 1e-300)
    return rows, columns, start + u * width, held, np.bincount(rows, t**2 / slope, len(level))


def _levels(land: Landscape, areas: Float[np.ndarray, "R C"], mass: float) -> Float[np.ndarray, " R"]:
    """The density above which a share `mass` lies: Newton's steps in its log, halving where they help little."""
    high = np.log(land.density.max(axis=1).astype(np.float64))
    low, level, left, last = high - LOWEST, high - 1.0, np.arange(len(high)), np.full(len(high), np.inf)
    for _ in range(LEVEL_STEPS):
        own = replace(land, y=land.y[left], density=land.density[left], slope=land.slope[left])
        *_, held, fall = _cut(own, areas[left], np.exp(level[left]))
        excess = held - mass
        more = np.abs(excess) > MASS_TOLERANCE
        left, excess, fall = left[more], excess[more], fall[more]
        if not left.size:
            break
        at = level[left]
        low[left], high[left] = np.where(excess > 0, at, low[left]), np.where(excess > 0, high[left], at)
        with np.errstate(divide="ignore", invalid="ignore"):
            step = at + excess / fall
        helps = (step > low[left]) & (step < high[left]) & (np.abs(excess) < 0.5 * last[left])
        last[left] = np.abs(excess)
        level[left] = np.where(helps, step, 0.5 * (low[left] + high[left]))
    return np.exp(level)


def _exact_ends(land: Landscape, rows: Row, columns: Row, ends: np.ndarray, level: np.ndarray) -> np.ndarray:
    """One step of Newton's with the density itself, inside the cell."""
    density, slope, _ = _density(land, rows, ends)
    with np.errstate(divide="ignore", invalid="ignore"):
        step = np.nan_to_num((density - level) / slope)
    return np.clip(ends - step, land.y[rows, columns], land.y[rows, columns + 1])

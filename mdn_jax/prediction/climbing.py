"""The modes of many mixtures in several dimensions at once, on the host: climbs stop where they arrive.

`mdn.modes` takes the same number of steps from every centre, which a compiled program must. Here every step is taken
by the climbs that are still on their way: a short step of Newton's where the log density is concave, mean shift
elsewhere.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from mdn_jax._typing import Bool, Float, Int

__all__ = ["joint_modes"]

NUMBERS_AT_ONCE = 2**18  # of all pairs of a climb and a component side by side
MOST_STEPS = 300
SHORT = 0.5  # standard deviations of the noise around a point: Newton's longer steps could leave the basin
ARRIVED = 1e-6  # in the same unit
SAME_MODE = 1e-2  # in the same unit: nearer maxima are one mode


class _Mixtures(NamedTuple):
    """R mixtures: log weights times the determinants of the whiteners (R, K), centres, whiteners (R, K, D, D)."""

    log_heights: Float[np.ndarray, "R K"]
    locs: Float[np.ndarray, "R K D"]
    whiteners: Float[np.ndarray, "R K D D"]


def joint_modes(
    weights: Float[np.ndarray, "R K"],
    locs: Float[np.ndarray, "R K D"],
    whiteners: Float[np.ndarray, "R K D D"],
    count: int,
) -> tuple[Float[np.ndarray, "R M D"], Float[np.ndarray, "R M"]]:
    """The `count` highest modes of each row, best first, and the weight of the components that lead uphill to each.

    NaN where there are fewer.
    """
    num_rows, num_components, dim = locs.shape
    at_once = max(1, NUMBERS_AT_ONCE // (num_components**2 * dim**2))

    def solve(start: int) -> tuple[np.ndarray, np.ndarray]:
        own = slice(start, start + at_once)
        return _modes(weights[own], locs[own], whiteners[own], count)

    with ThreadPoolExecutor() as pool:
        points, shares = zip(*pool.map(solve, range(0, num_rows, at_once)), strict=True)
    return np.concatenate(points), np.concatenate(shares)


def _modes(
    weights: Float[np.ndarray, "R K"], locs: Float[np.ndarray, "R K D"], whiteners: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    num_rows, num_components, dim = locs.shape
    with np.errstate(divide="ignore"):
        log_heights = np.log(weights) + np.log(np.diagonal(whiteners, axis1=2, axis2=3)).sum(axis=2)
    mixtures = _Mixtures(log_heights, locs, whiteners)
    rows = np.repeat(np.arange(num_rows), num_components)
    points = _climb(mixtures, rows, locs.reshape(-1, dim).copy())
    heights, _, metric, curvature = _shape(mixtures, rows, points)
    shape = (num_rows, num_components)
    maximum = (np.linalg.eigvalsh(curvature)[:, -1] < 0).reshape(shape)
    points, heights, metric = points.reshape(*shape, dim), heights.reshape(shape), metric.reshape(*shape, dim, dim)
    order = np.argsort(np.where(weights > 0, -heights, np.inf), axis=1, kind="stable")
    points, metric = (
        np.take_along_axis(a, order.reshape(*shape, *[1] * (a.ndim - 2)), axis=1) for a in (points, metric)
    )
    weights, maximum = np.take_along_axis(weights, order, axis=1), np.take_along_axis(maximum, order, axis=1)
    apart = points[:, :, None] - points[:, None]
    squared = np.einsum("rabi,raij,rabj->rab", apart, metric, apart, optimize=True)
    repeated = (np.tril(squared < SAME_MODE**2, -1)).any(axis=2)
    distinct = maximum & ~repeated & (weights > 0)
    distinct[:, 0] = True
    nearest = np.where(distinct[:, None], squared, np.inf).argmin(axis=2)
    shares = np.zeros(shape)
    np.add.at(shares, (np.arange(num_rows)[:, None], nearest), weights)
    best = np.argsort(~distinct, axis=1, kind="stable")[:, :count]
    there = np.take_along_axis(distinct, best, axis=1)
    points = np.where(there[..., None], np.take_along_axis(points, best[..., None], axis=1), np.nan)
    return points, np.where(there, np.take_along_axis(shares, best, axis=1), np.nan)


def _climb(mixtures: _Mixtures, rows: Int[np.ndarray, " C"], points: Float[np.ndarray, "C D"]) -> np.ndarray:
    """Where C climbs end; each in the mixture of its row."""
    left = np.arange(len(points))
    for _ in range(MOST_STEPS):
        _, gradient, metric, curvature = _shape(mixtures, rows[left], points[left])
        step, newton = _solve(metric, gradient), -_solve(curvature, gradient)
        short = _length(metric, newton) < SHORT
        use = short & _falls_away(curvature)
        step = np.where(use[:, None], newton, step)
        points[left] += step
        left = left[_length(metric, step) > ARRIVED]
        if not left.size:
            break
    return points


def _shape(mixtures: _Mixtures, rows: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, ...]:
    """Log density (but for a constant), its gradient, the precision of the noise around y, and the Hessian."""
    whiteners = mixtures.whiteners[rows]
    z = (whiteners @ (y[:, None] - mixtures.locs[rows])[..., None])[..., 0]
    terms = mixtures.log_heights[rows] - 0.5 * (z * z).sum(axis=2)
    largest = terms.max(axis=1, keepdims=True)
    parts = np.exp(terms - largest)
    total = parts.sum(axis=1, keepdims=True)
    shares = parts / total
    pulls = (z[:, :, None] @ whiteners)[:, :, 0]  # W^T z, minus each component's own gradient
    weighted = shares[..., None] * pulls
    gradient = -weighted.sum(axis=1)
    scaled = (np.sqrt(shares)[..., None, None] * whiteners).reshape(len(y), -1, y.shape[1])
    metric = scaled.swapaxes(1, 2) @ scaled
    # d2 log p = sum_k r_k (g_k g_k^T - P_k) - g g^T
    curvature = pulls.swapaxes(1, 2) @ weighted - metric - gradient[:, :, None] * gradient[:, None, :]
    return (largest + np.log(total))[:, 0], gradient, metric, curvature


def _falls_away(curvature: Float[np.ndarray, "C D D"]) -> Bool[np.ndarray, " C"]:
    """Whether the density curves downwards in every direction: the leading minors alternate."""
    sizes = range(1, curvature.shape[-1] + 1)
    return np.all([(-1) ** size * np.linalg.det(curvature[:, :size, :size]) > 0 for size in sizes], axis=0)


def _solve(matrix: Float[np.ndarray, "C D D"], rhs: Float[np.ndarray, "C D"]) -> Float[np.ndarray, "C D"]:
    """Solutions of small systems; NaN where there is none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        if matrix.shape[-1] == 2:
            (a, b), (c, d) = np.moveaxis(matrix, 0, -1)
            return (
                np.stack([d * rhs[:, 0] - b * rhs[:, 1], a * rhs[:, 1] - c * rhs[:, 0]], axis=1)
                / (a * d - b * c)[:, None]
            )
        singular = np.linalg.det(matrix) == 0
        eye = np.eye(matrix.shape[-1])
        found = np.linalg.solve(np.where(singular[:, None, None], eye, matrix), rhs[..., None])[..., 0]
        return np.where(singular[:, None], np.nan, found)


def _length(metric: Float[np.ndarray, "C D D"], step: Float[np.ndarray, "C D"]) -> Float[np.ndarray, " C"]:
    with np.errstate(invalid="ignore"):
        return np.sqrt(np.einsum("ci,cij,cj->c", step, metric, step))

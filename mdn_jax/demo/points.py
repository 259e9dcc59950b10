"""Points drawn by hand: as rows to train on, and as letters of an address."""

import base64
import math

import numpy as np

from mdn_jax._typing import Float
from mdn_jax.data import Dataset, Part

__all__ = ["FEWEST", "MOST", "read_points", "round_points", "rows_of", "split_points", "write_points"]

LEVELS = 2**12 - 1  # of each coordinate: two of them fill three bytes
FEWEST, MOST = 10, 500  # points: fewer cannot be split, and more fill an address
EVERY = 10  # one of so many points is kept for the test
SMALLEST = 32  # rows

Points = Float[np.ndarray, "N 2"]


def round_points(points: Points) -> Points:
    """Points of the unit square as an address can hold them."""
    return np.round(np.clip(points, 0.0, 1.0) * LEVELS) / LEVELS


def write_points(points: Points) -> str:
    """Four letters for each point of the unit square."""
    x, y = np.round(np.clip(points, 0.0, 1.0) * LEVELS).astype(int).reshape(-1, 2).T
    packed = np.stack([x >> 4, (x & 15) << 4 | y >> 8, y & 255], axis=1).astype(np.uint8)
    return base64.urlsafe_b64encode(packed.tobytes()).decode()


def read_points(text: str) -> Points | None:
    """The points that letters stand for, or None where they stand for none."""
    try:
        packed = np.frombuffer(base64.b64decode(text, b"-_", validate=True), np.uint8)
    except ValueError:
        return None
    if packed.size % 3 or packed.size > 3 * MOST:
        return None
    first, middle, last = packed.reshape(-1, 3).astype(int).T
    return np.stack([first << 4 | middle >> 4, (middle & 15) << 8 | last], axis=1) / LEVELS


def split_points(points: Points) -> tuple[Points, Points]:
    """Points to train on, and every tenth for the test."""
    kept = np.arange(len(points)) % EVERY == EVERY - 1
    return points[~kept], points[kept]


def rows_of(points: Points) -> Dataset:
    """Points as a data set that keeps its shape while points are added.

    Training rows are repeated up to a power of two, each with its share of the weight: another point compiles nothing.
    """
    train, test = split_points(points)
    size = max(SMALLEST, 2 ** math.ceil(math.log2(len(train))))
    places = np.arange(size) % len(train)
    weight = 1.0 / np.bincount(places)[places]
    train = train[places]
    return Dataset(
        Part(train[:, :1], train[:, 1:], weight),
        Part(test[:, :1], test[:, 1:]),
        input_names=("x",),
        target_names=("y",),
    )

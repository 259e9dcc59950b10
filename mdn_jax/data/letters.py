"""Letters that a pen writes, drawn from formulas: straight lines and arcs of ellipses, slanted, stretched and bent.

A drawing is (n, 3): offsets dx and dy from one point to the next, dy downward as in files, and 1 where the pen is
lifted after the point, 0 where it stays down. The pen begins on the paper, at (0, 0). An o is about 1 high.
"""

from collections.abc import Sequence

import numpy as np

from mdn_jax._typing import Float

__all__ = ["LETTERS", "draw_letters"]

Points = Float[np.ndarray, "n 2"]
Drawing = Float[np.ndarray, "n 3"]
Stroke = tuple[Points, ...]  # pieces, each joined to the one before by a line

FEWEST, PER_LENGTH = 16, 4.0  # points of a letter without length, and more of them for each unit of it
JITTER = 0.03  # standard deviation of each coordinate of a point, in steps
BEND = 0.05  # amplitude of the waves by which no two letters of a kind have one shape


def _line(*points: tuple[float, float]) -> Points:
    return np.array(points)


def _arc(x: float, y: float, width: float, height: float, start: float, stop: float) -> Points:
    """A part of an ellipse around (x, y), from one angle to another in degrees, counter-clockwise where it grows."""
    angle = np.radians(np.linspace(start, stop, 40))
    return np.stack([x + 0.5 * width * np.cos(angle), y + 0.5 * height * np.sin(angle)], axis=1)


LETTERS: dict[str, tuple[Stroke, ...]] = {
    "a": ((_arc(0.45, 0.5, 0.9, 1, 40, 345), _line((0.9, 1), (0.9, 0.2)), _arc(1.05, 0.2, 0.3, 0.4, 180, 290)),),
    "c": ((_arc(0.45, 0.5, 0.9, 1, 45, 315),),),
    "d": ((_arc(0.45, 0.5, 0.9, 1, 40, 345), _line((0.9, 2), (0.9, 0))),),
    "e": ((_line((0.02, 0.5), (0.88, 0.55)), _arc(0.45, 0.5, 0.9, 1, 8, 315)),),
    "h": ((_line((0, 2), (0, 0), (0, 0.5)), _arc(0.4, 0.55, 0.8, 0.9, 180, 0), _line((0.8, 0))),),
    "i": ((_line((0, 1), (0, 0.2)), _arc(0.15, 0.2, 0.3, 0.4, 180, 290)), (_line((0, 1.4), (0.02, 1.5)),)),
    "k": ((_line((0, 2), (0, 0)),), (_line((0.75, 1), (0.05, 0.5), (0.8, 0)),)),
    "l": ((_line((0, 2), (0, 0.25)), _arc(0.2, 0.25, 0.4, 0.5, 180, 300)),),
    "m": (
        (
            _line((0, 1), (0, 0), (0, 0.55)), _arc(0.3, 0.6, 0.6, 0.8, 180, 0),
            _line((0.6, 0), (0.6, 0.55)), _arc(0.9, 0.6, 0.6, 0.8, 180, 0), _line((1.2, 0)),
        ),
    ),
    "n": ((_line((0, 1), (0, 0), (0, 0.5)), _arc(0.4, 0.55, 0.8, 0.9, 180, 0), _line((0.8, 0))),),
    "o": ((_arc(0.45, 0.5, 0.9, 1, 90, 440),),),
    "s": ((_arc(0.4, 0.75, 0.7, 0.5, 30, 270), _arc(0.4, 0.25, 0.8, 0.5, 90, -150)),),
    "t": ((_line((0.35, 1.6), (0.35, 0.25)), _arc(0.6, 0.25, 0.5, 0.5, 180, 300)), (_line((0, 1), (0.8, 1)),)),
    "u": ((_line((0, 1)), _arc(0.4, 0.4, 0.8, 0.8, 180, 360), _line((0.8, 1), (0.8, 0))),),
    "v": ((_line((0, 1), (0.4, 0), (0.8, 1)),),),
    "w": ((_line((0, 1), (0.3, 0), (0.6, 0.9), (0.9, 0), (1.2, 1)),),),
    "z": ((_line((0, 1), (0.8, 1), (0, 0), (0.85, 0)),),),
    "A": ((_line((0, 0), (0.65, 2), (1.3, 0)),), (_line((0.2, 0.7), (1.1, 0.7)),)),
    "H": ((_line((0, 2), (0, 0)),), (_line((1.1, 2), (1.1, 0)),), (_line((0, 1), (1.1, 1)),)),
}  # fmt: skip
"""Strokes of each letter in the order that a hand writes them, x to the right and y upward from the base line."""


def draw_letters(
    rng: np.random.Generator, count: int, *, letters: Sequence[str] = tuple(LETTERS)
) -> tuple[list[Drawing], list[str]]:
    """Letters drawn at random.

    The letter, its slant, size and aspect, the waves that bend it and a jitter of each point are drawn for each
    drawing, so that offsets have a density. Of equal generators, a longer draw begins with the drawings of a shorter.

    Args:
        rng: draws them.
        count: of drawings.
        letters: to choose from, each as often as the others.

    Returns:
        Drawings (n, 3) of 20 to 45 points about equally far from each other, and the letter that each shows.

    Example:
        >>> import numpy as np
        >>> from mdn_jax.data import draw_letters
        >>> drawings, labels = draw_letters(np.random.default_rng(0), 100)
        >>> len(drawings), drawings[0].shape[1], set(labels) <= set("acdehiklmnostuvwzAH")
        (100, 3, True)
    """
    labels, drawings = [], []
    for _ in range(count):
        labels.append(letters[int(rng.integers(len(letters)))])
        drawings.append(_draw(rng, LETTERS[labels[-1]]))
    return drawings, labels


def _draw(rng: np.random.Generator, strokes: tuple[Stroke, ...]) -> Drawing:
    """One letter by the hand of one moment."""
    slant, size, aspect = rng.uniform(-0.1, 0.35), rng.uniform(0.85, 1.15), rng.uniform(0.85, 1.15)
    waves, phases = rng.normal(0.0, BEND, (2, 2)), rng.uniform(0.0, 2 * np.pi, (2, 2))
    shape = size * np.array([[aspect, slant], [0.0, 1.0]])
    paths = [_dense(np.concatenate(stroke)) for stroke in strokes]
    paths = [(path + np.sin(2.5 * path + phases[0]) @ waves + rng.normal(0, 0.02, 2)) @ shape.T for path in paths]
    lengths = [np.linalg.norm(np.diff(path, axis=0), axis=1).sum() for path in paths]
    step = sum(lengths) / (FEWEST + PER_LENGTH * sum(lengths))
    points = [_evenly(path, max(round(length / step), 1)) for path, length in zip(paths, lengths, strict=True)]
    pen = np.concatenate([np.arange(1, len(path) + 1) == len(path) for path in points])
    places = np.concatenate(points)
    offsets = np.diff(places + rng.normal(0, JITTER * step, places.shape), axis=0) * np.array([1.0, -1.0])
    return np.column_stack([offsets, pen[1:].astype(np.float64)])


def _dense(corners: Points) -> Points:
    """Corners with points between them, so that straight lines bend too."""
    return _evenly(corners, 100)


def _evenly(path: Points, count: int) -> Points:
    """`count` equal steps along a path, from its first point to its last."""
    along = np.append(0.0, np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1)))
    places = np.linspace(0.0, along[-1], count + 1)
    return np.stack([np.interp(places, along, path[:, axis]) for axis in (0, 1)], axis=1)

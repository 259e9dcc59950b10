"""Likeness of rows to their neighbours in the file: where there is any, rows drawn at random flatter a model."""

from dataclasses import dataclass

import numpy as np

from mdn_jax._typing import Float, Int
from mdn_jax.judging.metrics import Scores

__all__ = ["Autocorrelation", "residual_autocorrelation"]

FEWEST = 20  # pairs of neighbours that can tell anything


@dataclass(frozen=True)
class Autocorrelation:
    """The correlation of one row's surprise with the next one's.

    Attributes:
        target: the one where it is largest.
        value: in [-1, 1]; 0 where rows are independent.
        standard_error: of `value` where they are.
    """

    target: int
    value: float
    standard_error: float

    @property
    def telling(self) -> bool:
        """True where neighbouring rows are alike: above 0.1, and more than three standard errors."""
        return self.value > max(0.1, 3 * self.standard_error)


def residual_autocorrelation(scores: Scores, place: Int[np.ndarray, " N"] | None) -> Autocorrelation | None:
    """Lag-1 correlation of the ranks of the PIT, with rows in the order of the file.

    Ranks make it the same for a model that is calibrated and one that is not.

    Args:
        scores: of N rows.
        place: (N,) where each row stands in its file, as `Part.place`.

    Returns:
        Of the target with the largest one; None without places, or with too few rows.

    Example:
        >>> import numpy as np
        >>> from types import SimpleNamespace
        >>> from mdn_jax.judging import residual_autocorrelation
        >>> scores = SimpleNamespace(pit=np.linspace(0.0, 1.0, 50)[:, None])  # a trend
        >>> residual_autocorrelation(scores, np.arange(50)).telling
        True
    """
    if place is None:
        return None
    found = [_lag_one(column) for column in scores.pit[np.argsort(place, kind="stable")].T]
    best = max(range(len(found)), key=lambda target: found[target][0], default=None)
    if best is None or not np.isfinite(found[best][0]):
        return None
    return Autocorrelation(best, *found[best])


def _lag_one(values: Float[np.ndarray, " N"]) -> tuple[float, float]:
    """The lag-1 rank correlation of the known values, and its standard error; -inf where there are too few."""
    values = values[~np.isnan(values)]
    if len(values) < FEWEST + 1:
        return -np.inf, np.inf
    kinds, where, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - 0.5 * counts)[where]  # ties share their middle rank
    centred = ranks - ranks.mean()
    if len(kinds) < 2:
        return -np.inf, np.inf
    return float(centred[1:] @ centred[:-1] / (centred @ centred)), float(1 / np.sqrt(len(values)))

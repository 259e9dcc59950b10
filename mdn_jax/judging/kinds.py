"""Probabilities of kinds against what happened: calibration error, reliability, and what is taken for what.

References:
    C. Guo, G. Pleiss, Y. Sun and K. Q. Weinberger, "On calibration of modern neural networks", 2017.
    K. Nguyen and B. O'Connor, "Posterior calibration and exploratory analysis for natural language processing models",
    2015 (bins of equal mass).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from mdn_jax._typing import Float

__all__ = ["Reliability", "calibration_error", "confusion", "kind_sentences", "reliability", "weighted_mean"]

BINS = 10
MOST_KINDS, OTHERS = 10, "others"  # of a confusion table
CLEAR, WORTH = 4.0, 0.03  # standard errors, and calibration error beyond what chance makes, that are worth a word


class Reliability(NamedTuple):
    """Bins of rows, of equal mass, from unsure to sure.

    Attributes:
        confidence: (B,) mean probability of the most probable kind.
        accuracy: (B,) share of the rows where it is right.
        share: (B,) of all rows.
        standard_error: (B,) that `accuracy` has where probabilities are right.
    """

    confidence: Float[np.ndarray, " B"]
    accuracy: Float[np.ndarray, " B"]
    share: Float[np.ndarray, " B"]
    standard_error: Float[np.ndarray, " B"]

    @property
    def error(self) -> float:
        """The calibration error."""
        return float(np.sum(self.share * np.abs(self.accuracy - self.confidence)))

    @property
    def chance(self) -> tuple[float, float]:
        """Mean and standard deviation that the calibration error has where probabilities are right."""
        spread = self.share * self.standard_error  # of each bin's term before its absolute value
        return float(spread.sum() * np.sqrt(2 / np.pi)), float(np.sqrt(np.sum(spread**2) * (1 - 2 / np.pi)))


def reliability(
    hit: Float[np.ndarray, " N"], confidence: Float[np.ndarray, " N"], weight: Float[np.ndarray, " N"], bins: int = BINS
) -> Reliability:
    """Measure how often the most probable kind is right, by its probability.

    Args:
        hit: (N,) 1 where it is right, 0 where not, NaN where the kind is not known.
        confidence: (N,) its probability.
        weight: (N,) how much each row counts.
        bins: how many at most.

    Returns:
        The bins; rows of one probability share one.
    """
    known = ~np.isnan(hit) & (weight > 0)
    sure, where = np.unique(confidence[known], return_inverse=True)
    hit, confidence, weight = hit[known], confidence[known], weight[known]
    mass = np.bincount(where, weight, len(sure))
    middle = ((np.cumsum(mass) - 0.5 * mass) / mass.sum())[where] if len(sure) else where
    _, place = np.unique((bins * middle).astype(int), return_inverse=True)
    total = np.bincount(place, weight)
    average = lambda values: np.bincount(place, weight * values) / total  # noqa: E731
    variance = np.bincount(place, weight**2 * confidence * (1 - confidence)) / total**2
    return Reliability(average(confidence), average(hit), total / total.sum(), np.sqrt(variance))


def calibration_error(
    hit: Float[np.ndarray, " N"], confidence: Float[np.ndarray, " N"], weight: Float[np.ndarray, " N"]
) -> float:
    """Expected calibration error: sum_b share_b |accuracy_b - confidence_b| over ten bins b of equal mass.

    Rows are put into bins by the probability of their most probable kind. It is 0 where that is right as often as it
    says, and a little more by chance; NaN where no kind is known. Arguments as of `reliability`.

    Example:
        >>> import numpy as np
        >>> from mdn_jax.judging.kinds import calibration_error
        >>> hit, confidence = np.array([1.0, 1.0, 1.0, 0.0]), np.full(4, 0.9)
        >>> round(calibration_error(hit, confidence, np.ones(4)), 3)
        0.15
    """
    return reliability(hit, confidence, weight).error if not np.isnan(hit).all() else float("nan")


def kind_sentences(scores: Any, target_names: Sequence[str]) -> list[str]:
    """Warnings of targets whose probabilities are further off than chance explains; none where none are."""
    said = []
    for dim in scores.kinds:
        found = reliability(scores.hit[:, dim], scores.confidence[:, dim], scores.weights)
        mean, error = found.chance
        if found.error > mean + max(WORTH, CLEAR * error):
            sure, right = (float(np.sum(found.share * part)) for part in (found.confidence, found.accuracy))
            said.append(
                f"the probabilities of {target_names[dim]!r} do not hold: the most probable kind has "
                f"{100 * sure:.1f} % on average and is right in {100 * right:.1f} % of the test rows (calibration "
                f"error {found.error:.3f}, {mean:.3f} by chance)"
            )
    return said


def confusion(
    observed: Float[np.ndarray, " N"], kind: Float[np.ndarray, " N"], names: Sequence[str]
) -> tuple[list[str], np.ndarray]:
    """Count the rows of each kind by the kind they are taken for: names (C,) and counts (C, C), observed in rows.

    The ten most frequent kinds, in their order; what is left is put together as others.
    """
    known = ~np.isnan(observed)
    pairs = observed[known].astype(int), kind[known].astype(int)
    counts = np.zeros((len(names), len(names)), int)
    np.add.at(counts, pairs, 1)
    if len(names) <= MOST_KINDS:
        return [str(name) for name in names], counts
    kept = np.sort(np.argsort(-counts.sum(axis=1), kind="stable")[:MOST_KINDS])
    place = np.full(len(names), MOST_KINDS)
    place[kept] = np.arange(MOST_KINDS)
    small = np.zeros((MOST_KINDS + 1,) * 2, int)
    np.add.at(small, (place[pairs[0]], place[pairs[1]]), 1)
    return [*(str(names[index]) for index in kept), OTHERS], small


def weighted_mean(values: Float[np.ndarray, "N D"], weight: Float[np.ndarray, " N"]) -> Float[np.ndarray, " D"]:
    """Weighted means of the known values of each column; NaN where none is known."""
    known = ~np.isnan(values)
    total = known.T @ weight
    return np.where(known, values, 0.0).T @ weight / np.where(total > 0, total, np.nan)

"""The least that a model of kinds must beat: the classes' frequencies, and a linear softmax classifier.

References:
    D. Böhning, "Multinomial logistic regression algorithm", 1992.
"""

import numpy as np

from mdn_jax._typing import Float
from mdn_jax.models import evenly

__all__ = ["Numbers", "frequencies", "softmax_regression"]

MOST_ROWS, MOST_NUMBERS = 50_000, 5_000_000  # of the training rows, and rows times kinds
MOST_STEPS, ENOUGH, RIDGE = 200, 1e-6, 1.0  # nats per row that a step must gain at least; penalty of half the squares

Numbers = Float[np.ndarray, "..."]


def frequencies(x: Numbers, codes: Numbers, weight: Numbers, count: int) -> Numbers:
    """Coefficients of the logits by how often each kind occurs, with one more row of each, whatever x."""
    counts = 1.0 + np.bincount(codes.astype(int), weight, count)
    return np.outer(np.eye(x.shape[1])[0], np.log(counts / counts.sum()))


def softmax_regression(x: Numbers, codes: Numbers, weight: Numbers, count: int) -> Numbers:
    """Coefficients of the logits by multinomial logistic regression with a ridge of 1 on all but the intercepts.

    Equivalent to `sklearn.linear_model.LogisticRegression`. The curvature is bounded by half the squares of the inputs,
    so that each step is the solution of one least-squares system and none goes uphill.

    Args:
        x: (N, 1 + X) a column of ones, then inputs in standard units.
        codes: (N,) which kind each row is.
        weight: (N,) how much each row counts, 1 on average.
        count: C, how many kinds there are.

    Returns:
        (1 + X, C).
    """
    rows = evenly(len(x), min(MOST_ROWS, MOST_NUMBERS // count))
    x, weight, target = x[rows], weight[rows, None], np.eye(count)[codes[rows].astype(int)]
    ridge = RIDGE * (np.arange(x.shape[1]) > 0)[:, None]
    bound = np.linalg.inv(0.5 * x.T @ (weight * x) + np.diag(ridge[:, 0]))
    slopes, before = np.zeros((x.shape[1], count)), np.inf
    for _ in range(MOST_STEPS):
        logits = x @ slopes
        log_probs = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
        loss = -np.sum(weight * target * log_probs) + 0.5 * np.sum(ridge * slopes**2)
        if before - loss < ENOUGH * len(rows):
            break
        before = loss
        slopes += bound @ (x.T @ (weight * (target - np.exp(log_probs))) - ridge * slopes)
    return slopes

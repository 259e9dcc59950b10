"""The least that a model of kinds must beat: the classes' frequencies, and a linear softmax classifier.

References:
    D. Böhning, "Multinomial logistic regression algorithm", 1992.
"""

from collections.abc import Callable

import numpy as np

from mdn_jax._typing import Float
from mdn_jax.models import evenly

__all__ = ["Classifier", "frequencies", "softmax_regression"]

MOST_ROWS, MOST_NUMBERS = 50_000, 5_000_000  # of the training rows, and rows times kinds
MOST_STEPS, ENOUGH, RIDGE = 200, 1e-6, 1.0  # nats per row that a step must gain at least; penalty of half the squares

Numbers = Float[np.ndarray, "..."]
Classifier = Callable[[Numbers, Numbers, Numbers, int, Numbers], Numbers]


def frequencies(x: Numbers, codes: Numbers, weight: Numbers, count: int, at: Numbers) -> Numbers:
    """Log probabilities of the kinds by how often each occurs, with one more row of each, whatever x."""
    rows = 1.0 + np.bincount(codes.astype(int), weight, count)
    return np.broadcast_to(np.log(rows / rows.sum()), (len(at), count))


def softmax_regression(x: Numbers, codes: Numbers, weight: Numbers, count: int, at: Numbers) -> Numbers:
    """Log probabilities of the kinds by multinomial logistic regression with a ridge of 1 on all but the intercepts.

    Equivalent to `sklearn.linear_model.LogisticRegression`. The curvature is bounded by half the squares of the inputs,
    so that each step is the solution of one least-squares system and none goes uphill.

    Args:
        x: (N, X) inputs in standard units.
        codes: (N,) which kind each row is.
        weight: (N,) how much each row counts, 1 on average.
        count: C, how many kinds there are.
        at: (M, X) where to answer.

    Returns:
        (M, C) log probabilities.
    """
    rows = evenly(len(x), min(MOST_ROWS, MOST_NUMBERS // count))
    inputs, at = (np.concatenate([np.ones((len(part), 1)), part], axis=1) for part in (x[rows], at))
    weight, target = weight[rows, None], np.eye(count)[codes[rows].astype(int)]
    ridge = RIDGE * (np.arange(inputs.shape[1]) > 0)[:, None]
    bound = np.linalg.inv(0.5 * inputs.T @ (weight * inputs) + np.diag(ridge[:, 0]))
    slopes, before = np.zeros((inputs.shape[1], count)), np.inf
    for _ in range(MOST_STEPS):
        log_probs = _log_softmax(inputs @ slopes)
        loss = -np.sum(weight * target * log_probs) + 0.5 * np.sum(ridge * slopes**2)
        if before - loss < ENOUGH * len(rows):
            break
        before = loss
        slopes += bound @ (inputs.T @ (weight * (target - np.exp(log_probs))) - ridge * slopes)
    return _log_softmax(at @ slopes)


def _log_softmax(logits: Numbers) -> Numbers:
    return logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)

"""The one trainer: `start`, `advance`, `finish`, and `fit`, a loop around them.

`objectives` says what is minimised, `member` trains one network as pure functions, `fitting` holds the doors.
"""

from mdn_jax.training.fitting import Fit, OnEvaluation, TrainingState, advance, finish, fit, start, stop
from mdn_jax.training.objectives import Objective, Rows

__all__ = ["Fit", "Objective", "OnEvaluation", "Rows", "TrainingState", "advance", "finish", "fit", "start", "stop"]

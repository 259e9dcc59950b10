"""The one trainer: `start`, `advance`, `finish`, and `fit`, a loop around them.

`objectives` says what is minimised, `member` trains one network as pure functions, `preparation` makes ready the rows,
`fitting` holds the doors; `start_runs` and `finish_runs` are the same doors for many runs of one program.
"""

from mdn_jax.training.fitting import (
    Fit,
    OnEvaluation,
    TrainingState,
    advance,
    compile_chunk,
    finish,
    finish_runs,
    fit,
    start,
    start_runs,
    stop,
)
from mdn_jax.training.objectives import Objective, Rows
from mdn_jax.training.preparation import Data, check_objective, mixture_spec, prepare

__all__ = [
    "Data",
    "Fit",
    "Objective",
    "OnEvaluation",
    "Rows",
    "TrainingState",
    "advance",
    "check_objective",
    "compile_chunk",
    "finish",
    "finish_runs",
    "fit",
    "mixture_spec",
    "prepare",
    "start",
    "start_runs",
    "stop",
]

"""The one trainer: `start`, `advance`, `finish`, and `fit`, a loop around them.

`objectives` says what is minimised, `member` trains one network as pure functions, `preparation` makes ready the rows,
`state` is what training is between two chunks, `fitting` holds the doors; `start_runs` and `finish_runs` are the same
doors for many runs of one program, `fit_splits` for many splits of one table.
"""

from mdn_jax.training.fitting import advance, compile_chunk, finish, finish_runs, fit, start, start_runs, stop
from mdn_jax.training.member import Split
from mdn_jax.training.objectives import Objective, Rows
from mdn_jax.training.preparation import Data, check_objective, mixture_spec, prepare
from mdn_jax.training.splits import fit_splits
from mdn_jax.training.state import Fit, OnEvaluation, TrainingState

__all__ = [
    "Data", "Fit", "Objective", "OnEvaluation", "Rows", "Split", "TrainingState", "advance", "check_objective",
    "compile_chunk", "finish", "finish_runs", "fit", "fit_splits", "mixture_spec", "prepare", "start", "start_runs",
    "stop",
]  # fmt: skip

"""The one trainer: `start`, `advance`, `finish`, and `fit`, a loop around them.

`objectives` says what is minimised, `choices` finds the head and the network of a config, `preparation` makes ready the
rows, `starting` starts, `lane` trains one network as pure functions, `state` is what training is between two chunks,
`fitting` goes from chunk to chunk; `start_runs` and `finish_runs` serve many runs of one program, `fit_splits` many
splits of one table, `fit_prepared` many sets of rows.
"""

from mdn_jax.training.choices import architecture_of, check_objective, head_of, own_code
from mdn_jax.training.fitting import (
    advance,
    advance_to_end,
    change_rates,
    compile_chunk,
    finish,
    finish_runs,
    fit,
    stop,
)
from mdn_jax.training.lane import Split
from mdn_jax.training.objectives import Objective, Rows, objective_of
from mdn_jax.training.preparation import Data, prepare
from mdn_jax.training.splits import fit_prepared, fit_splits
from mdn_jax.training.starting import start, start_runs
from mdn_jax.training.state import Fit, OnEvaluation, TrainingState

__all__ = [
    "Data", "Fit", "Objective", "OnEvaluation", "Rows", "Split", "TrainingState", "advance", "advance_to_end",
    "architecture_of", "change_rates", "check_objective", "compile_chunk", "finish", "finish_runs", "fit",
    "fit_prepared", "fit_splits", "head_of", "objective_of", "own_code", "prepare", "start", "start_runs", "stop",
]  # fmt: skip

"""A model: a network between two standardizers. It maps one x to ONE mixture in the targets' original units.

Networks see standardised data; the change of units is undone exactly, by `affine`, so that every density is in nats
of the original y. `units` holds the standardizers, `models` the models and ensembles, `scoring` judges them on rows,
`conformal` and `calibration` make intervals hold what they promise.
"""

from mdn_jax.model.calibration import FEWEST_TO_CALIBRATE, calibrate, needed_masses
from mdn_jax.model.conformal import Calibration, Kind
from mdn_jax.model.models import ConstantStd, Ensemble, Functional, Model, ensemble, num_parameters, stack
from mdn_jax.model.scoring import (
    ROWS_AT_ONCE,
    Rows,
    check_weights,
    chunk_nll,
    evaluate,
    evaluate_standard,
    evenly,
    in_nats,
    map_rows,
    row_chunks,
    row_nll,
    standard_rows,
)
from mdn_jax.model.units import Standardizer, device_dtype

__all__ = [
    "FEWEST_TO_CALIBRATE", "ROWS_AT_ONCE", "Calibration", "ConstantStd", "Ensemble", "Functional", "Kind", "Model",
    "Rows", "Standardizer", "calibrate", "check_weights", "chunk_nll", "device_dtype", "ensemble", "evaluate",
    "evaluate_standard", "evenly", "in_nats", "map_rows", "needed_masses", "num_parameters", "row_chunks", "row_nll",
    "stack", "standard_rows",
]  # fmt: skip

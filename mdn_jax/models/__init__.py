"""A model: a conditional distribution between two standardizers, of y in its original units.

Networks see standardised data; the change of units is undone exactly, so that every density is in nats of the original
y. `model` holds networks under heads, models and ensembles, `rows` data in their units, and `calibration` the masses
that make intervals hold what they promise.
"""

from mdn_jax.distributions.units import Standardizer, device_dtype
from mdn_jax.models.calibration import FEWEST_TO_CALIBRATE, Calibration, Kind
from mdn_jax.models.model import Conditional, ConstantStd, Functional, Merger, Model, ensemble, num_parameters, stack
from mdn_jax.models.rows import ROWS_AT_ONCE, Rows, check_weights, evenly, in_nats, map_rows, row_chunks, standard_rows

__all__ = [
    "FEWEST_TO_CALIBRATE", "ROWS_AT_ONCE", "Calibration", "Conditional", "ConstantStd", "Functional", "Kind", "Merger",
    "Model", "Rows", "Standardizer", "check_weights", "device_dtype", "ensemble", "evenly", "in_nats", "map_rows",
    "num_parameters", "row_chunks", "stack", "standard_rows",
]  # fmt: skip

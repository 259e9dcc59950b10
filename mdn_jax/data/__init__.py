"""Data: named synthetic problems with their exact optimum, and tables split into training and test rows.

`dataset` says what data are, `problems` draws them and knows their density, `tables` reads columns, `splits` chooses
rows, `loading` makes training, calibration and test rows of either, or by a function of the user's.
Everything here is numpy float64 on the host.
"""

from mdn_jax.data.dataset import Dataset, Part
from mdn_jax.data.loading import load, table_checksum
from mdn_jax.data.problems import PROBLEMS, Problem
from mdn_jax.data.summary import ColumnSummary, summarise
from mdn_jax.data.tables import Table, column_names, read_table

__all__ = [
    "PROBLEMS",
    "ColumnSummary",
    "Dataset",
    "Part",
    "Problem",
    "Table",
    "column_names",
    "load",
    "read_table",
    "summarise",
    "table_checksum",
]

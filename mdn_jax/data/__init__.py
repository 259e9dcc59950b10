"""Data: synthetic problems with their exact optimum, tables split into training and test rows, and drawings of a pen.

`dataset` says what data are, `problems` draws them and knows their density, `tables`, `texts` and `cells` read
columns, `summary`, `relations` and `values` tell what stands in them, `splits` chooses rows, `strokes` packs drawings
in rows, `letters` draws some, `loading` makes training, calibration and test rows of any of them, or by a function of
the user's. Everything here is numpy float64 on the host.
"""

from mdn_jax.data.dataset import Dataset, Part
from mdn_jax.data.letters import draw_letters
from mdn_jax.data.loading import load, load_folds, table_checksum
from mdn_jax.data.problems import PROBLEMS, Problem
from mdn_jax.data.relations import are_copies, is_copy, ordering, panels
from mdn_jax.data.strokes import StrokeDataset, drawings_of, pack, read_drawings, stroke_dataset
from mdn_jax.data.summary import MANY_KINDS, ColumnSummary, TableSummary, summarise
from mdn_jax.data.tables import Table, column_names, read_table
from mdn_jax.data.values import Values, grid, values_of

__all__ = [
    "MANY_KINDS",
    "PROBLEMS",
    "ColumnSummary",
    "Dataset",
    "Part",
    "Problem",
    "StrokeDataset",
    "Table",
    "TableSummary",
    "Values",
    "are_copies",
    "column_names",
    "draw_letters",
    "drawings_of",
    "grid",
    "is_copy",
    "load",
    "load_folds",
    "ordering",
    "pack",
    "panels",
    "read_drawings",
    "read_table",
    "stroke_dataset",
    "summarise",
    "table_checksum",
    "values_of",
]

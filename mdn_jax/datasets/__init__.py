"""Data: named synthetic problems with their exact optimum, and tables split into training and test rows.

`problems` draws them and knows their density, `tables` reads columns, `loading` makes training and test rows of either.
Everything here is numpy float64 on the host.
"""

from mdn_jax.datasets.loading import Dataset, load
from mdn_jax.datasets.problems import PROBLEMS, Problem

__all__ = ["PROBLEMS", "Dataset", "Problem", "load"]

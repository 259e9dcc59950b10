"""The data of a run: its columns, and which rows do what."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mdn_jax.config import Config
from mdn_jax.data import Dataset
from mdn_jax.judging import names_of_kinds
from mdn_jax.report.page import paragraph, section, table
from mdn_jax.report.text import few, listed, number, percent

__all__ = ["data_section", "inputs_of"]

MOST_KINDS, MOST_COLUMNS = 6, 60


def data_section(config: Config, dataset: Dataset, metrics: Mapping[str, Any]) -> str:
    """Columns, and which rows do what."""
    counts = {
        "train": metrics["num_train"],
        "choose the best step": metrics["num_validation"],
        "calibrate": metrics["num_calibration"],
        "test": metrics["num_test"],
    }
    uses = "Rows: " + listed([f"{count:,} {use}" for use, count in counts.items() if count])
    columns = _columns(dataset)
    more = len(columns) - MOST_COLUMNS
    return section(
        "Data",
        paragraph(f"{uses}. {_origin(config)}"),
        table(["column", "role", "training values", "missing"], columns[:MOST_COLUMNS], texts=3),
        paragraph(f"{more:,} more columns." if more > 0 else "", "note"),
    )


def _origin(config: Config) -> str:
    """The origin of the rows, and the choice of the test rows."""
    data = config.dataset
    if data.is_own:
        return f"Made by {data.name}; its test rows are a part of their own."
    if data.name is not None:
        return f"Drawn from the built-in problem {data.name}; the test rows are fresh."
    if data.test_path is not None:
        return "The test rows are a table of their own."
    how = {
        "random": "drawn at random",
        "ordered": f"the last ones{f' by {data.split_column}' if data.split_column else ' of the file'}",
        "group": f"whole groups of {data.split_column}, drawn at random",
    }
    return f"The test rows are {how[data.split]}, {percent(data.test_fraction, decimals=0)} of the table."


def _columns(dataset: Dataset) -> list[tuple[str, str, str, str]]:
    """Name, role, range or kinds, and missing values of every column, of the training rows."""
    x, found, first = dataset.train.x, [], 0
    if dataset.encoding is None:
        for name, column in zip(dataset.input_names, x.T, strict=True):
            found.append((name, "input", f"{number(column.min())} to {number(column.max())}", "none"))
    for column in dataset.encoding.columns if dataset.encoding is not None else ():
        last = first + len(column.names)
        missing = percent(float(x[:, last - 1].mean())) if column.indicates else "none"
        if column.kinds is None:
            values, role = f"{number(column.low)} to {number(column.high)}", "input"
        else:
            values, role = _few_kinds(column.kinds, column.shares), f"input, {len(column.kinds)} kinds"
        found.append((column.name, role, values, missing))
        first = last
    named = names_of_kinds(dataset.encoding, dataset.num_classes)
    for name, column, names in zip(dataset.target_names, dataset.train.y.T, named, strict=True):
        values, role = f"{number(float(np.nanmin(column)))} to {number(float(np.nanmax(column)))}", "target"
        if names is not None:
            counts = np.bincount(column[~np.isnan(column)].astype(int), minlength=len(names))
            values, role = _few_kinds(names, counts / counts.sum()), f"target, {len(names)} kinds"
        lost = float(np.isnan(column).mean())
        found.append((name, role, values, percent(lost) if lost else "none"))
    return found


def _few_kinds(names: Sequence[str], shares: Sequence[float] | np.ndarray) -> str:
    """The most frequent kinds."""
    most = np.argsort(-np.asarray(shares), kind="stable")
    return few([f"{names[index]} {percent(float(shares[index]), decimals=0)}" for index in most], MOST_KINDS)


def inputs_of(dataset: Dataset) -> Sequence[str]:
    """Names of the columns that a table, or a problem, predicts from."""
    return dataset.encoding.inputs if dataset.encoding is not None else dataset.input_names

"""Runs side by side: the fields that differ, their scores, and a paired test on the same test rows."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mdn_jax._checks import require
from mdn_jax._typing import Float
from mdn_jax.config import Config, flattened
from mdn_jax.data import Part
from mdn_jax.data import load as load_dataset
from mdn_jax.judging import row_nll
from mdn_jax.models import Model, standard_rows
from mdn_jax.runs.configs import CONFIG, read_config
from mdn_jax.runs.folder import METRICS
from mdn_jax.runs.loading import load_run

__all__ = ["Comparison", "compare_runs"]

BEST = "best"  # of a sweep's folder


class Comparison(NamedTuple):
    """R runs on the same N test rows.

    Attributes:
        folders: of the runs.
        fields: dotted name of a config's field -> its R values, where they differ; None where a run has none.
        metrics: R times the content of metrics.json.
        differences: (R,) mean test NLL minus that of the first run, nats per row or point.
        errors: (R,) its standard error, from the differences row by row.
    """

    folders: tuple[Path, ...]
    fields: dict[str, list[Any]]
    metrics: list[dict[str, Any]]
    differences: Float[np.ndarray, " R"]
    errors: Float[np.ndarray, " R"]


def compare_runs(folders: Sequence[Path]) -> Comparison:
    """Compare finished runs, or the best runs of sweeps, that were tested on the same rows.

    The test is paired: what one row costs one model more than the other does not know how hard the row is, so that its
    mean is known far better than either NLL.

    Args:
        folders: two or more.

    Raises:
        InputError: for a folder without a finished run, or runs whose test rows differ.
    """
    require(len(folders) > 1, "compare takes two run folders or more: mdn-jax compare A B")
    places = [folder / BEST if (folder / BEST / METRICS).is_file() else folder for folder in folders]
    for place in places:
        require((place / METRICS).is_file(), f"{place}: no finished run there ({METRICS} is missing)")
    configs = [read_config(place / CONFIG)[0] for place in places]
    tests = {one: load_dataset(one).test for one in dict.fromkeys(config.dataset for config in configs)}
    parts = [tests[config.dataset] for config in configs]
    for place, part in zip(places, parts, strict=True):
        same = part.y.shape == parts[0].y.shape and np.array_equal(part.y, parts[0].y, equal_nan=True)
        require(same, f"{place}: its test rows are not those of {places[0]}: compare runs of one data set and split")
    rows = [_costs(load_run(place), part) for place, part in zip(places, parts, strict=True)]
    weight = rows[0][1]
    paired = np.array([_paired(nll - rows[0][0], weight) for nll, _ in rows])
    metrics = [json.loads((place / METRICS).read_text(encoding="utf-8")) for place in places]
    return Comparison(tuple(places), _differing(configs), metrics, paired[:, 0], paired[:, 1])


def _costs(model: Model, part: Part) -> tuple[np.ndarray, np.ndarray]:
    """NLL and weight of each test row, or of each point of it."""
    rows = standard_rows(model, part.x, part.y, weights=part.weight, observed=part.observed)
    return row_nll(model, rows), np.asarray(rows.weight)


def _paired(difference: np.ndarray, weight: np.ndarray) -> tuple[float, float]:
    """Mean difference per unit of weight and its standard error; the points of one row are not independent."""
    count = len(weight)
    sums, weights = (np.reshape(one, (count, -1)).sum(axis=1) for one in (weight * difference, weight))
    mean = sums.sum() / weights.sum()
    return float(mean), float(np.sqrt(np.sum((sums - mean * weights) ** 2)) / weights.sum())


def _differing(configs: Sequence[Config]) -> dict[str, list[Any]]:
    """Fields whose values are not the same in all configs."""
    tables = [flattened(config.to_dict()) for config in configs]
    names = dict.fromkeys(name for table in tables for name in table)
    found = {name: [table.get(name) for table in tables] for name in names}
    return {name: values for name, values in found.items() if any(value != values[0] for value in values)}

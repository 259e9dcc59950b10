"""The split of rows into training, calibration and test, and into folds."""

import numpy as np

from mdn_jax._checks import require
from mdn_jax._typing import Int
from mdn_jax.config import DatasetConfig

__all__ = ["fold_rows", "split_rows"]


def split_rows(
    config: DatasetConfig, num_rows: int, column: np.ndarray | None, source: str
) -> dict[str, Int[np.ndarray, " R"]]:
    """Indices of the rows of each part: disjoint, and together every row.

    A random split shuffles by `config.seed`. An ordered one tests on the last rows and calibrates on those before
    them. A split by groups shuffles the groups, and counts them, not their rows.

    Args:
        config: how to split; with a `test_path` no test rows are taken here.
        num_rows: N.
        column: (N,) values of the split column, or None.
        source: of the rows, for messages.

    Returns:
        "train", and where asked for "test" and "calibration".

    Raises:
        InputError: for a part without rows.
    """
    if config.split == "group":
        names, units = np.unique(np.asarray(column, str), return_inverse=True)
        count, kind = len(names), "group"
    else:
        count, kind, units = num_rows, "row", None
    order = np.arange(count)
    if config.split != "ordered":
        order = np.random.default_rng(config.seed).permutation(count)
    elif column is not None:
        order = np.argsort(_sortable(column), kind="stable")
    sizes = _sizes(config, count, kind, source)
    parts, end = {}, count
    for name, size in sizes.items():
        parts[name], end = order[end - size : end], end - size
    parts["train"] = order[:end]
    if units is None:
        return parts
    return {name: np.flatnonzero(np.isin(units, own)) for name, own in parts.items()}


def fold_rows(
    config: DatasetConfig, num_folds: int, num_rows: int, column: np.ndarray | None, source: str
) -> list[Int[np.ndarray, " R"]]:
    """Indices of the rows of each fold: disjoint, together every row, shuffled by `config.seed`, and groups whole.

    Args:
        config: how to split.
        num_folds: from 2 to the number of rows, or of groups.
        num_rows: N.
        column: (N,) names of the groups, or None.
        source: of the rows, for messages.

    Raises:
        InputError: for another number of folds, and for an ordered split.
    """
    past = 'folds test on the past too: set dataset.split = "random", or judge by the last rows as it is'
    require(config.split != "ordered", f"{source}: {past}")
    units, kind = np.arange(num_rows), "row"
    if config.split == "group":
        units, kind = np.unique(np.asarray(column, str), return_inverse=True)[1], "group"
    count = int(units.max()) + 1
    require(2 <= num_folds <= count, f"{source}: num_folds is {num_folds}, of {count} {kind}s: give 2 to {count}")
    order = np.random.default_rng(config.seed).permutation(count)
    return [np.flatnonzero(np.isin(units, own)) for own in np.array_split(order, num_folds)]


def _sizes(config: DatasetConfig, count: int, kind: str, source: str) -> dict[str, int]:
    """The number of rows, or groups, that are kept apart for each purpose."""
    sizes, left = {}, count
    shares = {"test": 0.0 if config.test_path else config.test_fraction, "calibration": config.calibration_fraction}
    for name, share in shares.items():
        if share == 0:
            continue
        size, field = round(share * left), f"dataset.{name}_fraction"
        empty = "training" if size == left else name
        require(
            0 < size < left,
            f"{source}: {field} = {share:g} of {left} {kind}s leaves no {empty} {kind}: "
            f"{'lower' if empty == 'training' else 'raise'} it",
        )
        sizes[name], left = size, left - size
    return sizes


def _sortable(column: np.ndarray) -> np.ndarray:
    """Numbers as numbers; other texts, dates among them, by their letters."""
    try:
        return column.astype(np.float64)
    except ValueError:
        return column.astype(str)

"""Training and test rows: drawn from a built-in problem, or read from a table and split."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mdn_jax._checks import nearest, require
from mdn_jax.config import DatasetConfig
from mdn_jax.datasets.problems import PROBLEMS, Problem, Rows, Targets
from mdn_jax.datasets.tables import read_table

__all__ = ["Dataset", "load"]


MIN_ROWS = 10  # fewer rows of a table than this cannot be split, trained on and judged


@dataclass(frozen=True, eq=False)
class Dataset:
    """Training and test rows, float64.

    Attributes:
        train_x: (N, X) inputs to train on.
        train_y: (N, D) targets to train on.
        test_x: inputs kept apart.
        test_y: targets kept apart.
        input_names: names of the X inputs.
        target_names: names of the D targets.
        problem: where the rows were drawn from; None for a table.
    """

    train_x: Rows
    train_y: Targets
    test_x: Rows
    test_y: Targets
    input_names: tuple[str, ...]
    target_names: tuple[str, ...]
    problem: Problem | None


def load(config: DatasetConfig, base: Path | None = None) -> Dataset:
    """The data that a config names: rows drawn from a built-in problem, or a table read and split.

    Training and test rows of a problem come from two children of `config.seed`: another number of training points
    leaves the test rows as they are, and more training points begin with the same rows as fewer.

    Args:
        config: the `[dataset]` table of a config.
        base: the folder that a relative `config.path` starts from; the working directory where absent.

    Returns:
        The rows, with the names of their columns.

    Raises:
        InputError: one line that names the file, column and row and says what to do, for an unknown problem, a file
            that is missing or cannot be read, a missing column, values that are no finite numbers, too few rows, or
            a target that never varies.

    Example:
        >>> from mdn_jax.config import DatasetConfig
        >>> from mdn_jax.datasets import load
        >>> data = load(DatasetConfig(name="inverse_sinusoid", num_points=100, num_test_points=1_000))
        >>> data.train_x.shape, data.test_y.shape, data.input_names, data.target_names
        ((100, 1), (1000, 1), ('y',), ('x',))
    """
    return _load_table(config, base) if config.path is not None else _load_problem(config)


def _load_problem(config: DatasetConfig) -> Dataset:
    name = config.name or ""
    require(name in PROBLEMS, f"dataset.name: no built-in problem {name!r}: {nearest(name, PROBLEMS)}")
    problem = PROBLEMS[name]
    train, test = np.random.default_rng(config.seed).spawn(2)
    train_x, train_y = problem.draw(train, config.num_points)
    test_x, test_y = problem.draw(test, config.num_test_points)
    return Dataset(train_x, train_y, test_x, test_y, problem.input_names, problem.target_names, problem)


def _load_table(config: DatasetConfig, base: Path | None) -> Dataset:
    path = (base or Path()) / Path(config.path or "").expanduser()
    columns = (*config.inputs, *config.targets)
    table = read_table(path, columns)
    require(len(table) >= MIN_ROWS, f"{path}: number of rows is {len(table)}, too few: give at least {MIN_ROWS}")
    train, test = _split(config, len(table), str(path))
    x, y = np.split(table, [len(config.inputs)], axis=1)
    for name, column in zip(config.targets, y[train].T, strict=True):
        require(
            bool(np.any(column != column[0])),
            f"{path}: target {name!r} is {column[0]:g} in all {len(column)} training rows: nothing to predict, "
            "choose another target",
        )
    return Dataset(x[train], y[train], x[test], y[test], config.inputs, config.targets, None)


def _split(config: DatasetConfig, num_rows: int, source: str) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the training rows and of the test rows: disjoint, and together every row."""
    num_test = round(config.test_fraction * num_rows)
    empty = "training" if num_test == num_rows else "test"
    require(
        0 < num_test < num_rows,
        f"{source}: dataset.test_fraction = {config.test_fraction:g} of {num_rows} rows leaves no {empty} row: "
        f"{'lower' if empty == 'training' else 'raise'} it",
    )
    rows = np.arange(num_rows)
    if config.split == "random":
        rows = np.random.default_rng(config.seed).permutation(num_rows)
    return rows[:-num_test], rows[-num_test:]

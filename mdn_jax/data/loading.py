"""Rows that a config names: made by a built-in problem or a function of the user's, or read from a table and split."""

import functools
import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mdn_jax._checks import InputError, nearest, require
from mdn_jax._seams import absolute, check_options, check_signature, find
from mdn_jax.config import DatasetConfig
from mdn_jax.data.dataset import Dataset, Part
from mdn_jax.data.problems import PROBLEMS, Problem
from mdn_jax.data.splits import fold_rows, split_rows
from mdn_jax.data.strokes import strokes
from mdn_jax.data.tables import Table, checksum, read_table
from mdn_jax.encoding import Encoding, missing_in, refuse_missing
from mdn_jax.heads import Support
from mdn_jax.models import FEWEST_TO_CALIBRATE

__all__ = ["DATASETS", "load", "load_folds", "table_checksum"]

MIN_ROWS = 10  # fewer rows of a table than this cannot be split, trained on and judged
FEW_KINDS, MANY_ROWS = 10, 100  # so few different whole numbers in so many rows may name kinds


def load(config: DatasetConfig, base: Path | None = None) -> Dataset:
    """The data that a config names: what a function makes of its options and seed, or a table read and split.

    Training and test rows of a problem come from two children of `config.seed`: another number of training points
    leaves the test rows as they are, and more training points begin with the same rows as fewer.

    Args:
        config: the `[dataset]` table of a config.
        base: the folder that relative paths start from; the working directory where absent.

    Returns:
        The rows, with the names of their columns.

    Raises:
        InputError: one line that names the file, column and row and says what to do, for an unknown problem, a
            function that cannot be imported, called so, or returns no `Dataset`, a file that is missing or cannot be
            read, a missing column, values that are missing or no finite numbers, too few rows, a split with an empty
            part, or a target that never varies.

    Example:
        >>> from mdn_jax.config import DatasetConfig
        >>> from mdn_jax.data import load
        >>> data = load(DatasetConfig(name="inverse_sinusoid", num_points=100, num_test_points=1_000))
        >>> data.train.x.shape, data.test.y.shape, data.input_names, data.target_names
        ((100, 1), (1000, 1), ('y',), ('x',))
    """
    base = base or Path()
    paths = _unchanged_paths(config, base)
    data = _load_table(config, paths) if config.name is None else _load_named(config, config.name, base, paths)
    kept = FEWEST_TO_CALIBRATE if data.calibration is None else len(data.calibration)
    require(
        kept >= FEWEST_TO_CALIBRATE,
        f"dataset.calibration_fraction = {config.calibration_fraction:g} keeps {kept} rows apart, and calibrated "
        f"intervals need at least {FEWEST_TO_CALIBRATE}: raise it",
    )
    return data


def load_folds(config: DatasetConfig, num_folds: int) -> list[Dataset]:
    """The table of a config once for each of K folds: the fold's rows as the test, all others as the training rows.

    Every row stands in one fold, every group in one where the split is by groups; columns are encoded by what the
    training rows of the fold hold. There are no calibration rows, and a test table of its own stays unread.

    Args:
        config: the `[dataset]` table of a config, of a table.
        num_folds: K.

    Raises:
        InputError: as `load`, and for what is no table, an ordered split, or a number of folds that cannot be.
    """
    require(config.name is None, f"folds are of a table, and dataset.name = {config.name!r} draws rows: give path")
    table, dropped = _read_enough(config, _unchanged_paths(config, Path())[0])
    column = table.columns.get(config.split_column or "")
    folds = fold_rows(config, num_folds, table.num_rows, column, str(table.path))
    rows = np.arange(table.num_rows)
    parts = ({"train": _take(table, np.setdiff1d(rows, fold)), "test": _take(table, fold)} for fold in folds)
    return [_encoded(config, tables, dropped) for tables in parts]


def _unchanged_paths(config: DatasetConfig, base: Path) -> list[Path]:
    """The paths of a config's tables, refused where one has changed."""
    paths = _table_paths(config, base)
    require(
        config.table_checksum is None or not all(map(Path.is_file, paths)) or config.table_checksum == checksum(paths),
        f"{' or '.join(map(str, paths))} has changed since this config noted its dataset.table_checksum: restore it, "
        "or drop that field from the config to use the table as it is now",
    )
    return paths


def _load_named(config: DatasetConfig, name: str, base: Path, paths: list[Path]) -> Dataset:
    """Make the data with a function by name, from its options, the seed and a path."""
    if not config.is_own:
        require(name in DATASETS, f"dataset.name: no built-in problem {name!r}: {nearest(name, DATASETS)}")
    function = find(absolute(name, base), DATASETS, "dataset.name")
    given = {"seed": config.seed} | ({"path": str(paths[0])} if paths else {})
    sizes = {"num_points", "num_test_points"} - (config.idle - config.model_fields_set)
    given |= {size: getattr(config, size) for size in sorted(sizes)}
    idle = [] if config.is_own else [one for one in given if one not in inspect.signature(function).parameters]
    cure = "drop name for a table, or drop path" if "path" in idle else f"drop {' and '.join(idle)}"
    require(not idle, f"dataset.{' and '.join(idle)} has no use for dataset.name = {name!r}: {cure}")
    check_signature(function, given, f"dataset.name: {name}")
    check_options(function, config.options, given, "dataset.options")
    try:
        data = function(**config.options, **given)
        require(isinstance(data, Dataset), f"it returned {type(data).__name__}: return an mdn.Dataset")
    except InputError as error:
        raise InputError(f"dataset.name: {name}: {error}") from None
    num_calibration = round(config.calibration_fraction * len(data.train))
    if not num_calibration or data.calibration is not None:
        return data
    one = "dataset.calibration_fraction calibrates one answer a row, and rows here are sequences: drop it"
    require(data.train.y.ndim == 2, one)
    kept = len(data.train) - num_calibration
    require(kept > 0, "dataset.calibration_fraction leaves no training row: lower it")
    # rows of a problem are independent; a function of the user's may have put its own in an order
    order = np.arange(len(data.train))
    order = np.random.default_rng(config.seed).permutation(order) if config.is_own else order
    return replace(data, train=data.train.take(order[:kept]), calibration=data.train.take(order[kept:]))


def _draw(problem: Problem, num_points: int, num_test_points: int, seed: int) -> Dataset:
    train, test = np.random.default_rng(seed).spawn(2)
    rows = Part(*problem.draw(train, num_points)), Part(*problem.draw(test, num_test_points))
    return Dataset(*rows, problem.input_names, problem.target_names, problem.log_density)


def _draw_at(problem: Problem, num_points: int, num_test_points: int, seed: int, noise: float = 1.0) -> Dataset:
    return _draw(problem.at(noise), num_points, num_test_points, seed)


DATASETS: Mapping[str, Callable[..., Dataset]] = {
    **{name: functools.partial(_draw if p.noise is None else _draw_at, p) for name, p in PROBLEMS.items()},
    "strokes": strokes,
}
"""Functions that make data, by name."""


def _load_table(config: DatasetConfig, paths: list[Path]) -> Dataset:
    """Read, drop what is to be dropped, split and encode."""
    path, *test_path = paths
    table, dropped = _read_enough(config, path)
    parts = split_rows(config, table.num_rows, table.columns.get(config.split_column or ""), str(table.path))
    tables = {name: _take(table, rows) for name, rows in parts.items() if name != "test" or config.test_path is None}
    if test_path:
        whole = config.model_copy(update={"split_column": None})  # a test table is not split
        tables["test"], more = _read(whole, test_path[0])
        require(tables["test"].num_rows > 0, f"{tables['test'].path}: no row to test on")
        dropped += more
    return _encoded(config, tables, dropped)


def _read_enough(config: DatasetConfig, path: Path) -> tuple[Table, int]:
    """A table of enough rows, and how many were dropped."""
    table, dropped = _read(config, path)
    require(
        table.num_rows >= MIN_ROWS,
        f"{table.path}: number of rows is {table.num_rows}{' without missing values' if dropped else ''}, too few: "
        f"give at least {MIN_ROWS}",
    )
    return table, dropped


def _encoded(config: DatasetConfig, tables: dict[str, Table], dropped: int) -> Dataset:
    """The parts of a table, encoded by what its training rows hold."""
    train = tables["train"]
    _check_columns(config, train)
    for name, part in tables.items():
        counts = config.weight is None or bool(part.columns[config.weight].any())
        require(counts, f"{part.path}: column {config.weight!r}: the weights of all {name} rows are 0")
    encoding = Encoding.fit(
        train.columns,
        config.inputs,
        config.targets,
        categorical=config.categorical,
        missing_values=config.missing_values,
        missing_inputs=config.missing_inputs,
        dialect=config.dialect,
    )
    rows = {name: _rows(config, encoding, part) for name, part in tables.items()}
    warnings = _warnings(config, train)
    if dropped:
        warnings = (f"{dropped:,} rows with missing values were dropped", *warnings)
    supports = tuple(_support(config.support.get(name), config.atoms.get(name)) for name in config.targets)
    try:
        return Dataset(
            rows["train"], rows["test"], encoding.names, config.targets, supports=supports,
            calibration=rows.get("calibration"), encoding=encoding, warnings=warnings,
        )  # fmt: skip
    except InputError as error:
        raise InputError(f"{train.path}: {error}") from None


def _support(told: Any, atoms: tuple[float, ...] | None) -> Support | None:
    """The values that a target can have, as a config says it."""
    if told is None and not atoms:
        return None
    named = {None: {"low": -math.inf}, "positive": {}, "count": {"low": -0.5, "step": 1.0}}
    if told is None or isinstance(told, str):
        bounds = named[told]
    elif isinstance(told, Mapping):
        bounds = {"low": -math.inf} | {name: float(one) for name, one in told.items()}
    else:
        bounds = dict(zip(("low", "high"), map(float, told)))
    return Support(**bounds, atoms=tuple(sorted(map(float, atoms or ()))))


def table_checksum(*configs: DatasetConfig) -> str | None:
    """The checksum of all tables of some configs; None where there is none, or not every file."""
    paths = list(dict.fromkeys(path for config in configs for path in _table_paths(config, Path())))
    return checksum(paths) if paths and all(path.is_file() for path in paths) else None


def _table_paths(config: DatasetConfig, base: Path) -> list[Path]:
    """The table, and the test table where there is one; or what a function of the user's reads."""
    return [base / Path(name).expanduser() for name in (config.path, config.test_path) if name is not None]


def _read(config: DatasetConfig, path: Path) -> tuple[Table, int]:
    """The columns that a config names, and how many rows were dropped for missing values."""
    numbers = [name for name in (*config.inputs, *config.targets) if name not in config.categorical]
    numbers += [config.weight] if config.weight else []
    texts = list(config.categorical)
    if config.split_column and config.split_column not in (*numbers, *texts):
        texts.append(config.split_column)
    table = read_table(path, numbers, texts, config.missing_values, config.dialect)
    table.columns[PLACE] = np.arange(table.num_rows, dtype=np.float64)
    lost = np.zeros(table.num_rows, bool)
    for name in config.inputs:
        lost |= _missing(table, name, "missing_inputs", config.missing_inputs, 'drop" or "indicate')
    targets = [
        _missing(table, name, "missing_targets", config.missing_targets, 'drop" or "marginalise')
        for name in config.targets
    ]
    empty = np.all([missing_in(table.columns[name]) for name in config.targets], axis=0)
    lost |= np.any(targets, axis=0) | (empty if config.missing_targets == "marginalise" else False)
    for name in (config.weight, config.split_column):
        if name is not None:
            refuse_missing(table.path, repr(name), missing_in(table.columns[name]) & ~lost)
    if config.weight is not None:
        negative = np.flatnonzero(table.columns[config.weight] < 0)
        require(
            not negative.size,
            f"{path}: column {config.weight!r}, row {negative[0] + 1 if negative.size else 0}: a weight is 0 or more",
        )
    return (table, 0) if not lost.any() else (_take(table, np.flatnonzero(~lost)), int(lost.sum()))


PLACE = "\0place"  # a column of ours: where each row stands in its file


def _missing(table: Table, name: str, setting: str, choice: str, cures: str) -> np.ndarray:
    """Rows to drop because this column's value is missing; refused where that was not allowed."""
    missing = missing_in(table.columns[name])
    if choice == "refuse":
        refuse_missing(table.path, repr(name), missing, f'set dataset.{setting} = "{cures}", or ')
    return missing if choice == "drop" else np.zeros(table.num_rows, bool)


def _take(table: Table, rows: np.ndarray) -> Table:
    return Table(table.path, {name: column[rows] for name, column in table.columns.items()}, len(rows))


def _rows(config: DatasetConfig, encoding: Encoding, part: Table) -> Part:
    weight, place = None if config.weight is None else part.columns[config.weight], part.columns[PLACE].astype(np.int64)
    y, unseen = encoding.encode_targets(part.columns)
    for name, rows in zip(config.targets, unseen.T, strict=True):
        row = rows.argmax()
        require(
            not rows.any(),
            f"{part.path}: target {name!r}, row {place[row] + 1}: no training row is of kind "
            f"{part.columns[name][row]!r}, so that it cannot be predicted: drop such rows, or choose another "
            "dataset.split or dataset.seed",
        )
    return Part(encoding.encode(part.columns).x, y, weight, ~np.isnan(y), place)


def _check_columns(config: DatasetConfig, train: Table) -> None:
    """Refuse inputs without a value, and targets of one value."""
    for name in config.inputs:
        require(
            not missing_in(train.columns[name]).all(),
            f"{train.path}: column {name!r} has no value in any of {train.num_rows} training rows: leave it out of "
            "inputs",
        )
    for name in config.targets:
        column = train.columns[name]
        known = column[~missing_in(column)]
        first = [value if isinstance(value, str) else f"{value:g}" for value in known[:1]]
        require(
            bool(known.size and np.any(known != known[0])),
            f"{train.path}: target {name!r} is {''.join(first) or 'missing'} in all "
            f"{train.num_rows} training rows: nothing to predict, choose another target",
        )


def _warnings(config: DatasetConfig, train: Table) -> tuple[str, ...]:
    """Warnings about the columns, for a person."""
    said = []
    for name in config.inputs:
        if name in config.categorical:
            continue
        column = train.columns[name]
        values = np.unique(column[~np.isnan(column)])
        if len(values) == 1:
            said.append(f"input {name!r} is {values[0]:g} in all training rows: it tells nothing")
        elif 2 < len(values) <= FEW_KINDS and train.num_rows >= MANY_ROWS and np.all(values % 1 == 0):
            said.append(
                f"input {name!r} holds only {len(values)} different whole numbers: if they name kinds, add it to "
                "dataset.categorical"
            )
    return tuple(said)

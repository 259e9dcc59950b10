"""Training, calibration and test rows: drawn from a built-in problem, or read from a table and split."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mdn_jax._checks import nearest, require
from mdn_jax._typing import Bool, Float, Int
from mdn_jax.config import DatasetConfig
from mdn_jax.data.problems import PROBLEMS, Problem, Rows, Targets
from mdn_jax.data.splits import split_rows
from mdn_jax.data.tables import Table, checksum, read_table
from mdn_jax.encoding import Encoding, missing_in, refuse_missing
from mdn_jax.models import FEWEST_TO_CALIBRATE

__all__ = ["Dataset", "Part", "load", "table_checksum"]

MIN_ROWS = 10  # fewer rows of a table than this cannot be split, trained on and judged
FEW_KINDS, MANY_ROWS = 10, 100  # so few different whole numbers in so many rows may name kinds


@dataclass(frozen=True, eq=False)
class Part:
    """Rows of one part of the data, float64.

    Attributes:
        x: (N, X) inputs.
        y: (N, D) targets; NaN where one is missing and is to be integrated out.
        weight: (N,) how much each row counts; None where all count alike.
        place: (N,) the row's place in its file, from 0; None where there is no file.
    """

    x: Rows
    y: Targets
    weight: Float[np.ndarray, " N"] | None = None
    place: Int[np.ndarray, " N"] | None = None

    def __len__(self) -> int:
        return len(self.y)

    @property
    def observed(self) -> Bool[np.ndarray, "N D"] | None:
        """(N, D) which targets are known; None where all are."""
        known = ~np.isnan(self.y)
        return None if known.all() else known


@dataclass(frozen=True, eq=False)
class Dataset:
    """Training and test rows, float64.

    Attributes:
        train: rows to train on.
        test: rows kept apart for the test.
        calibration: rows kept apart to calibrate intervals; None for none.
        input_names: names of the X inputs.
        target_names: names of the D targets.
        problem: where the rows were drawn from; None for a table.
        encoding: how a table's columns became inputs; None for a problem.
        warnings: what a person should know about the data, a sentence each.
    """

    train: Part
    test: Part
    calibration: Part | None
    input_names: tuple[str, ...]
    target_names: tuple[str, ...]
    problem: Problem | None
    encoding: Encoding | None = None
    warnings: tuple[str, ...] = field(default=())

    @property
    def for_training(self) -> dict[str, Any]:
        """The training rows and the names of their columns, as `start`, `fit` and `prepare` take them by keyword."""
        return {
            "x": self.train.x,
            "y": self.train.y,
            "weights": self.train.weight,
            "observed": self.train.observed,
            "input_names": self.input_names,
            "target_names": self.target_names,
            "encoding": self.encoding,
        }


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
            that is missing or cannot be read, a missing column, values that are missing or no finite numbers, too
            few rows, a split with an empty part, or a target that never varies.

    Example:
        >>> from mdn_jax.config import DatasetConfig
        >>> from mdn_jax.data import load
        >>> data = load(DatasetConfig(name="inverse_sinusoid", num_points=100, num_test_points=1_000))
        >>> data.train.x.shape, data.test.y.shape, data.input_names, data.target_names
        ((100, 1), (1000, 1), ('y',), ('x',))
    """
    data = _load_table(config, base or Path()) if config.path is not None else _load_problem(config)
    kept = FEWEST_TO_CALIBRATE if data.calibration is None else len(data.calibration)
    require(
        kept >= FEWEST_TO_CALIBRATE,
        f"dataset.calibration_fraction = {config.calibration_fraction:g} keeps {kept} rows apart, and calibrated "
        f"intervals need at least {FEWEST_TO_CALIBRATE}: raise it",
    )
    return data


def _load_problem(config: DatasetConfig) -> Dataset:
    name = config.name or ""
    require(name in PROBLEMS, f"dataset.name: no built-in problem {name!r}: {nearest(name, PROBLEMS)}")
    problem = PROBLEMS[name]
    train, test = np.random.default_rng(config.seed).spawn(2)
    x, y = problem.draw(train, config.num_points)
    num_calibration = round(config.calibration_fraction * len(y))
    require(num_calibration < len(y), "dataset.calibration_fraction leaves no training row: lower it")
    kept = len(y) - num_calibration
    calibration = Part(x[kept:], y[kept:]) if num_calibration else None
    return Dataset(
        Part(x[:kept], y[:kept]), Part(*problem.draw(test, config.num_test_points)), calibration,
        problem.input_names, problem.target_names, problem,
    )  # fmt: skip


def _load_table(config: DatasetConfig, base: Path) -> Dataset:
    """Read, drop what is to be dropped, split, and encode by what the training rows hold."""
    path, *test_path = paths = _table_paths(config, base)
    require(
        config.table_checksum is None or config.table_checksum == checksum(paths),
        f"{' or '.join(map(str, paths))} has changed since this config noted its dataset.table_checksum: restore it, "
        "or drop that field from the config to use the table as it is now",
    )
    table, dropped = _read(config, path)
    require(
        table.num_rows >= MIN_ROWS,
        f"{table.path}: number of rows is {table.num_rows}{' without missing values' if dropped else ''}, too few: "
        f"give at least {MIN_ROWS}",
    )
    parts = split_rows(config, table.num_rows, table.columns.get(config.split_column or ""), str(table.path))
    tables = {name: _take(table, rows) for name, rows in parts.items() if name != "test" or config.test_path is None}
    if test_path:
        whole = config.model_copy(update={"split_column": None})  # a test table is not split
        tables["test"], more = _read(whole, test_path[0])
        require(tables["test"].num_rows > 0, f"{tables['test'].path}: no row to test on")
        dropped += more
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
    )
    rows = {name: _rows(config, encoding, part) for name, part in tables.items()}
    warnings = _warnings(config, train)
    if dropped:
        warnings = (f"{dropped:,} rows with missing values were dropped", *warnings)
    return Dataset(
        rows["train"], rows["test"], rows.get("calibration"), encoding.names, config.targets, None, encoding, warnings
    )


def table_checksum(*configs: DatasetConfig) -> str | None:
    """What names the bytes of all tables of some configs; None where there is none, or not every file."""
    paths = list(dict.fromkeys(path for config in configs for path in _table_paths(config, Path())))
    return checksum(paths) if paths and all(path.is_file() for path in paths) else None


def _table_paths(config: DatasetConfig, base: Path) -> list[Path]:
    """The table, and the test table where there is one."""
    return [base / Path(name).expanduser() for name in (config.path, config.test_path) if name is not None]


def _read(config: DatasetConfig, path: Path) -> tuple[Table, int]:
    """The columns that a config names, and how many rows were dropped for missing values."""
    numbers = [name for name in (*config.inputs, *config.targets) if name not in config.categorical]
    numbers += [config.weight] if config.weight else []
    texts = list(config.categorical)
    if config.split_column and config.split_column not in (*numbers, *texts):
        texts.append(config.split_column)
    table = read_table(path, numbers, texts, config.missing_values)
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
    y = np.stack([part.columns[name] for name in config.targets], axis=1)
    weight = None if config.weight is None else part.columns[config.weight]
    return Part(encoding.encode(part.columns).x, y, weight, part.columns[PLACE].astype(np.int64))


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
        known = column[~np.isnan(column)]
        require(
            bool(known.size and np.any(known != known[0])),
            f"{train.path}: target {name!r} is {', '.join(f'{value:g}' for value in known[:1]) or 'missing'} in all "
            f"{train.num_rows} training rows: nothing to predict, choose another target",
        )


def _warnings(config: DatasetConfig, train: Table) -> tuple[str, ...]:
    """What a person should know about the columns."""
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

"""Data: named synthetic problems with their exact optimum, and tables split into training and test rows.

A problem knows its own density log p(y | x), so the best expected negative log-likelihood that any model can reach
is a known number, its `optimum`. A training loss below it is overfitting; the distance of a test loss from it is
what a model still lacks. Everything here is numpy float64 on the host.

References:
    C. M. Bishop, "Mixture density networks", Aston University NCRG/94/004, 1994 (`bishop`, `inverse_bishop`).
    D. Ha, "Mixture density networks with TensorFlow", 2015 (`sinusoid`, `inverse_sinusoid`).
"""

import csv
import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from mdn_jax._checks import InputError, nearest, require
from mdn_jax._typing import Float
from mdn_jax.config import DatasetConfig

__all__ = ["PROBLEMS", "Dataset", "Problem", "load"]

MIN_ROWS = 10  # fewer rows of a table than this cannot be split, trained on and judged
LOG_SQRT_2PI = 0.5 * math.log(2.0 * math.pi)

Rows = Float[np.ndarray, "N X"]
Targets = Float[np.ndarray, "N D"]
Vector = Float[np.ndarray, " N"]


@dataclass(frozen=True)
class Problem:
    """A synthetic problem whose conditional density is known exactly.

    Attributes:
        name: its key in `PROBLEMS`.
        input_names: names of the X inputs; none for an unconditional density.
        target_names: names of the D targets.
        draw: (rng, num_points) -> x (N, X), y (N, D). From equal generators, a longer draw begins with the rows of
            a shorter one.
        log_density: x (N, X), y (N, D) -> (N,) exact log p(y | x) in nats, -inf outside the support. One row of
            either broadcasts against N of the other, for the density on a grid. Give the float64 rows: rounded to
            float32, a row may fall off a sharp edge.
        optimum: E[-log p(y | x)] in nats, the expected NLL of the truth itself.

    Example:
        >>> import numpy as np
        >>> from mdn_jax.datasets import PROBLEMS
        >>> problem = PROBLEMS["inverse_sinusoid"]
        >>> x, y = problem.draw(np.random.default_rng(0), 50_000)
        >>> print(f"{problem.optimum:.5f} {-problem.log_density(x, y).mean():.1f}")
        1.28801 1.3
    """

    name: str
    input_names: tuple[str, ...]
    target_names: tuple[str, ...]
    draw: Callable[[np.random.Generator, int], tuple[Rows, Targets]]
    log_density: Callable[[Rows, Targets], Vector]
    optimum: float


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
    columns, suffix = (*config.inputs, *config.targets), path.suffix.lower()
    wanted, fault = ", ".join(columns), "is a folder" if path.is_dir() else "no such file"
    require(path.is_file(), f"{path}: {fault}: dataset.path must name a table with columns {wanted}")
    readable = ", ".join(_READERS)
    require(suffix in _READERS, f"{path}: cannot read {suffix!r} files: save the table as one of: {readable}")
    table = _READERS[suffix](path, columns)
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


def _read_csv(path: Path, columns: Sequence[str]) -> np.ndarray:
    """The named columns of a CSV file, (N, len(columns)) float64, every value finite."""
    import polars as pl  # noqa: PLC0415  # imported here: problems need no table reader

    try:
        cells = pl.read_csv(path, has_header=False, infer_schema=False)
    except pl.exceptions.NoDataError:
        raise InputError(
            f"{path}: the file is empty: expected a header line and columns {', '.join(columns)}"
        ) from None
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"{path}: {_why_unreadable(path, str(error))}") from None
    names = [(name or "").strip() for name in cells.row(0)]
    _check_header(path, names, columns)
    filled = cells.select(pl.any_horizontal(pl.all().is_not_null())).to_series()
    body = cells[1 : filled.arg_true()[-1] + 1]  # blank lines that end a file are no rows
    table = [_numbers(f"{path}: column {name!r}", body.to_series(names.index(name))) for name in columns]
    return np.stack(table, axis=1)


def _check_header(path: Path, names: Sequence[str], columns: Sequence[str]) -> None:
    named = [name for name in names if name]
    require(bool(named), f"{path}: the first line is blank: it must name the columns")
    twice = next((name for name in named if named.count(name) > 1), None)
    require(twice is None, f"{path}: {named.count(twice or '')} columns are named {twice!r}: rename all but one")
    for column in columns:
        if column not in names and len(named) == 1 and any(mark in named[0] for mark in ";\t|"):
            raise InputError(f"{path}: no column {column!r} in {named[0]!r}: separate the columns by commas")
        require(column in names, f"{path}: no column {column!r}: {nearest(column, named)}")


def _numbers(where: str, column: Any) -> np.ndarray:
    """One polars column of texts as (N,) finite float64; a row number counts from 1 after the header."""
    import polars as pl  # noqa: PLC0415

    text = column.str.strip_chars()
    number = text.str.to_lowercase().replace({"true": "1", "false": "0"}).cast(pl.Float64, strict=False)
    bad = (number.is_null() & (text.fill_null("") != "")).arg_true()
    if len(bad):
        raise InputError(
            f"{where}, row {bad[0] + 1}: {text[bad[0]]!r} is not a number: correct it or leave the column out"
        )
    values = number.fill_null(math.nan).to_numpy()
    missing = np.flatnonzero(~np.isfinite(values))
    if missing.size:
        amount = "1 value is" if missing.size == 1 else f"{missing.size} values are"
        raise InputError(
            f"{where}: {amount} missing or not finite, first in row {missing[0] + 1}: fill in or drop such rows"
        )
    return values


def _why_unreadable(path: Path, report: str) -> str:
    """What keeps a CSV file from being read, in one line."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = csv.reader(file)
            width = len(next(lines, []))
            for number, cells in enumerate(lines, start=1):
                if len(cells) > width:
                    return f"row {number} has {len(cells)} values but the header has {width}: correct the row"
    except UnicodeDecodeError:
        return "the file is not UTF-8 text: save it as a CSV file in UTF-8"
    except (csv.Error, OSError) as error:
        report = str(error)
    return f"cannot be read as CSV ({report.splitlines()[0]}): look for unclosed quotes, check the permissions"


_READERS: dict[str, Callable[[Path, Sequence[str]], np.ndarray]] = {".csv": _read_csv}


HALF_WIDTH = 10.5  # the sinusoid's x ~ U(-10.5, 10.5)
NUM_NODES = 256  # of Gauss-Legendre over x: log p(y) is converged to 1e-12 for every |y| < 20, and 192 nodes give 5e-9
CHUNK = 2_048  # rows times nodes stay in cache: 4 MB
NOISE = 0.1  # Bishop's noise ~ U(-0.1, 0.1)
NUM_HALVINGS = 52  # of an interval shorter than 1: to the last bit


def _sinusoid(x: np.ndarray) -> np.ndarray:
    return 7.0 * np.sin(0.75 * x) + 0.5 * x


def _draw_sinusoid(rng: np.random.Generator, num_points: int) -> tuple[Rows, Targets]:
    rng_x, rng_noise = rng.spawn(2)  # a stream each, so that a longer draw begins with a shorter one
    x = rng_x.uniform(-HALF_WIDTH, HALF_WIDTH, (num_points, 1))
    return x, _sinusoid(x) + rng_noise.standard_normal((num_points, 1))


def _draw_inverse_sinusoid(rng: np.random.Generator, num_points: int) -> tuple[Rows, Targets]:
    x, y = _draw_sinusoid(rng, num_points)
    return y, x


def _log_sinusoid(x: Rows, y: Targets) -> Vector:
    return -0.5 * (y[:, 0] - _sinusoid(x[:, 0])) ** 2 - LOG_SQRT_2PI


def _log_inverse_sinusoid(x: Rows, y: Targets) -> Vector:
    # Bayes with a uniform prior on the target: p(y | x) = N(x; f(y), 1) / int N(x; f(u), 1) du
    log_p = _log_sinusoid(y, x) - _log_evidence(x[:, 0])
    return np.where(np.abs(y[:, 0]) <= HALF_WIDTH, log_p, -np.inf)


def _draw_sinusoid_marginal(rng: np.random.Generator, num_points: int) -> tuple[Rows, Targets]:
    return np.empty((num_points, 0)), _draw_sinusoid(rng, num_points)[1]


def _log_sinusoid_marginal(x: Rows, y: Targets) -> Vector:
    log_p = _log_evidence(y[:, 0]) - math.log(2.0 * HALF_WIDTH)
    return np.broadcast_to(log_p, np.broadcast_shapes(log_p.shape, x.shape[:1]))


def _log_evidence(y: Vector) -> Vector:
    """Log of the integral of N(y; f(u), 1) over u in (-10.5, 10.5), (N,)."""
    centres, weights = _quadrature()
    log_p = np.empty(len(y))
    for start in range(0, len(y), CHUNK):
        squares = (y[start : start + CHUNK, None] - centres) ** 2
        least = squares.min(axis=1)  # the largest term becomes 1, so that far tails do not underflow
        total = np.exp(-0.5 * (squares - least[:, None])) @ weights
        log_p[start : start + CHUNK] = np.log(total) - 0.5 * least - LOG_SQRT_2PI
    return log_p


@functools.cache
def _quadrature() -> tuple[np.ndarray, np.ndarray]:
    nodes, weights = np.polynomial.legendre.leggauss(NUM_NODES)
    return _sinusoid(HALF_WIDTH * nodes), HALF_WIDTH * weights


def _wave(t: np.ndarray) -> np.ndarray:
    return t + 0.3 * np.sin(2.0 * math.pi * t)


def _draw_bishop(rng: np.random.Generator, num_points: int) -> tuple[Rows, Targets]:
    rng_t, rng_noise = rng.spawn(2)
    t = rng_t.uniform(0.0, 1.0, (num_points, 1))
    return t, _wave(t) + rng_noise.uniform(-NOISE, NOISE, (num_points, 1))


def _draw_inverse_bishop(rng: np.random.Generator, num_points: int) -> tuple[Rows, Targets]:
    t, x = _draw_bishop(rng, num_points)
    return x, t


def _log_bishop(x: Rows, y: Targets) -> Vector:
    return np.where(np.abs(y[:, 0] - _wave(x[:, 0])) <= NOISE, -math.log(2.0 * NOISE), -np.inf)


def _log_inverse_bishop(x: Rows, y: Targets) -> Vector:
    # uniform on the t in [0, 1] whose f(t) lies within the noise of x: one over the length of that set
    x, t = x[:, 0], y[:, 0]
    length = _preimage_length(x)
    inside = (np.abs(x - _wave(t)) <= NOISE) & (t >= 0.0) & (t <= 1.0) & (length > 0.0)
    return np.where(inside, -np.log(np.where(length > 0.0, length, 1.0)), -np.inf)


def _preimage_length(x: Vector) -> Vector:
    """Length of {t in [0, 1]: |x - f(t)| <= 0.1}, (N,), by bisection on each of f's three monotone pieces."""
    edges = np.stack([x - NOISE, x + NOISE])
    turn = math.acos(-1.0 / (0.6 * math.pi)) / (2.0 * math.pi)  # f'(t) = 1 + 0.6 pi cos(2 pi t) = 0, also at 1 - turn
    total = np.zeros(len(x))
    for piece, ends in enumerate(pairwise([0.0, turn, 1.0 - turn, 1.0])):
        rising = piece != 1
        low, high = (np.full_like(edges, end) for end in ends)
        for _ in range(NUM_HALVINGS):  # an edge that the piece does not reach runs to its nearer end
            middle = 0.5 * (low + high)
            right = (_wave(middle) < edges) == rising
            low, high = np.where(right, middle, low), np.where(right, high, middle)
        total += np.abs(low[1] - low[0])
    return total


# Optima: 0.5 log(2 pi e) and log 0.2 are closed forms. The entropy h(y) of the sinusoid's marginal is an integral of
# -p log p by Gauss-Legendre with 2,000 nodes over |y| < 24, and h(x | y) = log 21 + 0.5 log(2 pi e) - h(y). Bishop's
# inverse is 5 int m(x) log m(x) dx with m the length above, by mpmath's quad between the kinks of m.
PROBLEMS: dict[str, Problem] = {
    problem.name: problem
    for problem in (
        Problem("sinusoid", ("x",), ("y",), _draw_sinusoid, _log_sinusoid, LOG_SQRT_2PI + 0.5),
        Problem("inverse_sinusoid", ("y",), ("x",), _draw_inverse_sinusoid, _log_inverse_sinusoid, 1.288009437360),
        Problem("bishop", ("t",), ("x",), _draw_bishop, _log_bishop, math.log(2.0 * NOISE)),
        Problem("inverse_bishop", ("x",), ("t",), _draw_inverse_bishop, _log_inverse_bishop, -1.282347949532),
        Problem("sinusoid_marginal", (), ("y",), _draw_sinusoid_marginal, _log_sinusoid_marginal, 3.175451533568),
    )
}
"""The built-in problems by name."""

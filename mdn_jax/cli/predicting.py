"""`mdn-jax predict MODEL TABLE --out OUT`."""

import dataclasses
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import jax
import tyro

from mdn_jax._checks import require
from mdn_jax.cli.flags import parse_flags
from mdn_jax.models import Kind

__all__ = ["predict"]

INTERRUPTED = 130


@dataclasses.dataclass(frozen=True)
class _Predict:
    model: Annotated[
        tyro.conf.Positional[Path], tyro.conf.arg(metavar="MODEL", help="Run folder, or folder of a saved model.")
    ]
    table: Annotated[
        tyro.conf.Positional[Path], tyro.conf.arg(metavar="TABLE", help="Table of new rows: .csv, .parquet or .npz.")
    ]
    out: Annotated[Path, tyro.conf.arg(help="Table to write: .csv or .parquet.")]
    overwrite: Annotated[bool, tyro.conf.arg(help="Replace a table that is there.")] = False
    keep: Annotated[tuple[str, ...], tyro.conf.arg(help="Columns of the table to copy; all for all of them.")] = ()
    columns: Annotated[
        tuple[str, ...], tyro.conf.arg(help="Columns to answer, as price_mean, or mean q50 low for all targets.")
    ] = ()
    quantiles: Annotated[tuple[float, ...], tyro.conf.arg(help="Shares between 0 and 1.")] = (0.05, 0.5, 0.95)
    interval: Annotated[
        Kind, tyro.conf.arg(help="The smallest region, in as many pieces as it takes, or one piece with equal tails.")
    ] = "highest-density"
    mass: Annotated[float, tyro.conf.arg(help="Share of the probability that the interval holds.")] = 0.9
    calibrated: Annotated[
        bool, tyro.conf.arg(help="Intervals that held this share of rows kept apart (dataset.calibration_fraction).")
    ] = False
    num_modes: Annotated[int, tyro.conf.arg(help="With 2 or more, the best modes and the weight of each.")] = 1
    above: Annotated[
        tyro.conf.UseAppendAction[tuple[str, ...]],
        tyro.conf.arg(metavar="TARGET=VALUE", help="Tell the probability of more than a value; repeatable."),
    ] = ()
    below: Annotated[
        tyro.conf.UseAppendAction[tuple[str, ...]],
        tyro.conf.arg(metavar="TARGET=VALUE", help="Tell the probability of less than a value; repeatable."),
    ] = ()
    given: Annotated[
        tyro.conf.UseAppendAction[tuple[str, ...]],
        tyro.conf.arg(
            metavar="TARGET=VALUE", help="A target that is known, by a number or a column of the table; repeatable."
        ),
    ] = ()
    samples: Annotated[int, tyro.conf.arg(help="Draw so many samples of each row into OUT's name with _samples.")] = 0
    seed: Annotated[int, tyro.conf.arg(help="Seed of the samples.")] = 0
    strict: Annotated[bool, tyro.conf.arg(help="Refuse categories that training never saw.")] = False


def predict(arguments: list[str]) -> int:
    """MODEL TABLE --out OUT  what a trained model says about each row of a table"""
    options = parse_flags(_Predict, arguments, "mdn-jax predict")
    samples = options.out.with_name(f"{options.out.stem}_samples{options.out.suffix}")
    paths = [options.out, samples] if options.samples else [options.out]
    _check_places(paths, options)
    try:
        return _predict(options, samples)
    except KeyboardInterrupt:
        print("\nmdn-jax: interrupted; nothing was written", file=sys.stderr)
        return INTERRUPTED


def _check_places(paths: list[Path], options: _Predict) -> None:
    from mdn_jax.storage import check_table_path  # noqa: PLC0415

    require(options.samples >= 0, f"--samples takes a number of samples, 0 or more; got {options.samples}")
    require(0 <= options.seed < 2**32, f"--seed takes a whole number from 0 to 4294967295; got {options.seed}")
    for path in paths:
        same = path.exists() and options.table.exists() and path.samefile(options.table)
        require(not same, f"{path} is the table to read: write to another place")
        check_table_path(path, overwrite=options.overwrite)


def _predict(options: _Predict, samples: Path) -> int:
    from mdn_jax.prediction import Asked, answer, draw, notices_of, prepare, typed  # noqa: PLC0415
    from mdn_jax.runs import load_run  # noqa: PLC0415
    from mdn_jax.storage import write_frames  # noqa: PLC0415

    given, keep = _given(options.given), "all" if options.keep == ("all",) else options.keep
    asked = Asked(options.quantiles, options.num_modes, options.interval, options.mass, options.calibrated)
    above, below = (_thresholds(side, getattr(options, side)) for side in ("above", "below"))
    asked = asked._replace(columns=options.columns or None, above=above, below=below)
    prepared = prepare(load_run(options.model), options.table, asked, given=given, keep=keep, strict=options.strict)
    with _shown_progress(prepared.wanted.num_rows) as show:
        frame = answer(prepared, show)
    # what is copied from text to text stays as it was spelled
    frames = {options.out: frame if options.out.suffix.lower() == ".csv" else typed(frame)}
    if options.samples:
        frames[samples] = draw(prepared, jax.random.key(options.seed), options.samples)
    write_frames(frames)
    for line in notices_of(prepared, frame):
        print(line)
    for path, written in frames.items():
        print(f"{path}: {written.height:,} rows of {written.width} columns")
    return 0


def _given(pairs: tuple[str, ...]) -> dict[str, float | str]:
    """Targets that are known, each a number or the name of a column."""
    given: dict[str, float | str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        require(bool(name and equals and value), f"--given takes TARGET=VALUE; got {pair!r}")
        require(name not in given, f"--given names {name!r} twice: choose one")
        try:
            given[name] = float(value)
        except ValueError:
            given[name] = value
    return given


def _thresholds(side: str, pairs: tuple[str, ...]) -> dict[str, list[float]]:
    """The values of each target, in the order given."""
    found: dict[str, list[float]] = {}
    for pair in pairs:
        name, _, value = pair.rpartition("=")
        try:
            found.setdefault(name, []).append(float(value))
        except ValueError:
            name = ""
        require(bool(name), f"--{side} takes TARGET=VALUE, a number; got {pair!r}")
    return found


@contextmanager
def _shown_progress(num_rows: int) -> Iterator[Any]:
    """A progress bar in a terminal."""
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    console = Console(stderr=True)
    columns = (TextColumn("predicting"), BarColumn(), TextColumn("row {task.completed:,.0f}/{task.total:,.0f}"))
    silent = not console.is_terminal  # into a log it would write blank lines only
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True, disable=silent) as progress:
        task = progress.add_task("predicting", total=num_rows)
        yield lambda done, _: progress.update(task, completed=done)

"""`mdn-jax run CONFIG` and `mdn-jax plot RUN`."""

import dataclasses
import math
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import jax
import tyro

from mdn_jax.cli.flags import config_values, parse_flags, path_first, said_by
from mdn_jax.config import Config, DatasetConfig, validate

__all__ = ["SCORES", "plot", "run"]

SCORES = {
    "test_rmse": "RMSE", "test_crps": "CRPS", "coverage_90": "coverage of 90 % intervals", "test_log_loss": "log loss",
    "test_accuracy": "accuracy",
}  # fmt: skip
"""Titles of a run's scores of each target."""

MINUTE = 60.0  # seconds between two lines of a run's progress in a log


def run(arguments: list[str]) -> int:
    """CONFIG    train, evaluate, save and draw one experiment; --help lists every field"""
    from mdn_jax.runs import changed_by_hand, read_config  # noqa: PLC0415  (loaded where a command needs it)

    usage = "run takes a config file first: mdn-jax run CONFIG [--out DIR] [--FIELD VALUE]"
    path, rest = path_first(arguments, usage)
    config = read_config(path)[0] if path else Config(dataset=DatasetConfig(name="inverse_sinusoid"))
    values = config_values(config, _Run, rest, "mdn-jax run CONFIG")
    folder, overwrite, dry = (values.pop(name) for name in ("out", "overwrite", "dry_run"))
    config = changed_by_hand(config, validate(said_by(values, config, rest), "command line" if rest else str(path)))
    if dry:
        return _print_plan(config)
    return _run_config(config, folder or Path("runs") / (path.stem if path else "run"), overwrite=overwrite)


@dataclasses.dataclass(frozen=True)
class _Run:
    out: Annotated[Path | None, tyro.conf.arg(help="Run folder; runs/NAME of the config file where absent.")] = None
    overwrite: Annotated[bool, tyro.conf.arg(help="Replace another run in that folder.")] = False
    dry_run: Annotated[bool, tyro.conf.arg(help="Tell rows, parameters, memory and time; write nothing.")] = False


def _print_plan(config: Config) -> int:
    """Print the cost of a run."""
    from mdn_jax import runs  # noqa: PLC0415

    config, dataset = runs.resolve(config)
    found, training = runs.plan(config, dataset=dataset), config.training
    kept = f", {found['calibration_rows']:,} to calibrate" if found["calibration_rows"] else ""
    print(f"rows: {found['train_rows']:,} to train on, {found['test_rows']:,} to test on{kept}")
    print(f"columns: {found['num_inputs']:,} inputs, {found['num_targets']:,} targets")
    print(f"networks: {found['num_networks']} of {found['num_parameters']:,} parameters, {training.num_steps:,} steps")
    print(f"memory: {found['bytes'] / 2**20:,.2f} MiB for rows, networks and optimizer, and what one step takes")
    took = f"{found['compile_seconds']:.1f} s until the first evaluation (a compiled program is kept)"
    print(f"time: {took}, about {found['train_seconds']:.1f} s of training, without figures and report")
    return 0


def _run_config(config: Config, folder: Path, *, overwrite: bool) -> int:
    """Run with a progress bar, then print what came out."""
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    from mdn_jax import runs  # noqa: PLC0415
    from mdn_jax.runs.folder import METRICS  # noqa: PLC0415

    config, dataset = runs.resolve(config)
    again = not overwrite and (folder / METRICS).is_file()
    console = Console(stderr=True)
    columns = (TextColumn("training"), BarColumn(), TextColumn("step {task.completed:.0f}/{task.total:.0f}"))
    shown = TextColumn("{task.fields[losses]}")
    silent = not console.is_terminal  # into a log it would write blank lines only
    with Progress(*columns, TimeRemainingColumn(), shown, console=console, transient=True, disable=silent) as progress:
        task = progress.add_task("training", total=config.training.num_steps, losses="compiling")
        told = time.monotonic()

        def on_evaluation(step: int, metrics: dict[str, Any]) -> None:
            # an ensemble shows its networks' mean
            train, validation = (float(jax.numpy.mean(metrics[name])) for name in ("train_loss", "val_loss"))
            losses = f"train {train:.3f}" + ("" if math.isnan(validation) else f"  validation {validation:.3f}")
            progress.update(task, completed=step, losses=losses)
            nonlocal told
            if silent and time.monotonic() - told >= MINUTE:  # into a log, a plain line
                told = time.monotonic()
                print(f"training: step {step}/{config.training.num_steps}  {losses}", file=sys.stderr, flush=True)

        metrics = runs.run(config, folder, dataset=dataset, overwrite=overwrite, on_evaluation=on_evaluation)
    _print_metrics(metrics, folder)
    if again:
        print("this run was finished before: nothing was trained (--overwrite trains again)")
    return 1 if metrics["status"] == "diverged" else 0


def _print_metrics(metrics: dict[str, Any], folder: Path) -> None:
    """The numbers a person wants first, and where the rest is."""
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table(title=str(folder), title_justify="left", show_header=False)
    table.add_row("status", metrics["status"])
    per = f"nats per {metrics.get('nll_per', 'row')}"  # of runs before there were other kinds, too
    table.add_row("test NLL", f"{metrics['test_nll']:.4f} ± {metrics['test_nll_standard_error']:.4f} {per}")
    numbers = {"oracle_nll": "exact density's NLL", "gap_to_oracle": "gap to it, paired"}
    numbers |= {"test_nll_offset": "of the offset", "test_nll_pen": "of the pen", "test_sse": "squared error"}
    numbers |= {"test_nll_without_ends": "test NLL without ends", "test_nll_per_sequence": "test NLL per sequence"}
    numbers |= {"test_nll_whole": "test NLL of whole offsets"}
    for name, title in numbers.items():
        if name in metrics:
            table.add_row(title, f"{metrics[name]:.4f}")
    for name, title in (SCORES | {"calibration_error": "calibration error"}).items():
        for target, value in metrics.get(name, {}).items():
            table.add_row(f"{title}, {target}", "–" if value is None else f"{value:.4f}")
    table.add_row("parameters", f"{metrics['num_parameters']:,}")
    table.add_row("seconds", f"{metrics['compile_seconds']:.1f} compiling, {metrics['train_seconds']:.1f} training")
    console = Console()
    console.print(table)
    for warning in metrics.get("warnings", ()):
        console.print(f"note: {warning}", soft_wrap=True, markup=False)
    console.print(f"report: {folder}/report.html   figures: {folder}/figures   model: {folder}/model", soft_wrap=True)
    if metrics["status"] == "diverged":
        advice = "a training step was not finite: the best parameters before it stand; try a lower learning rate"
        console.print(advice, soft_wrap=True)


def plot(arguments: list[str]) -> int:
    """RUN       draw a finished run's figures again"""
    from mdn_jax.runs import draw_figures  # noqa: PLC0415

    @dataclasses.dataclass(frozen=True)
    class Plot:
        run: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(help="The run's folder.")]

    for path in draw_figures(parse_flags(Plot, arguments, "mdn-jax plot").run):
        print(path)
    return 0

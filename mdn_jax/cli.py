"""The command line: `mdn-jax run CONFIG`, `mdn-jax plot RUN`.

Exit codes: 0 done; 1 the training diverged; 2 a mistake of the user's, in one line on standard error; 130 Ctrl-C.
"""

import contextlib
import dataclasses
import io
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import jax
import tyro
from pydantic import BaseModel

from mdn_jax import __version__
from mdn_jax._checks import InputError, nearest, require
from mdn_jax.config import Config, DatasetConfig, validate

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is returned."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        _one_cpu_device_per_core()
        return _dispatch(arguments)
    except InputError as error:
        print(f"mdn-jax: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"mdn-jax: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nmdn-jax: interrupted; the same command (without --overwrite) goes on from here", file=sys.stderr)
        return 130


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_usage())
        return 0
    if arguments[0] == "--version":
        print(__version__)
        return 0
    name, *rest = arguments
    require(name in COMMANDS, f"unknown command {name!r}: {nearest(name, COMMANDS)}")
    return COMMANDS[name](rest)


def _usage() -> str:
    lines = ["mdn-jax: mixture density networks in JAX", ""]
    for name, command in COMMANDS.items():
        lines.append(f"  mdn-jax {name} {(command.__doc__ or '').splitlines()[0]}")
    return "\n".join([*lines, "", "mdn-jax COMMAND --help tells more."])


def _run(arguments: list[str]) -> int:
    """CONFIG    train, evaluate, save and draw one experiment; --help lists every field"""
    from mdn_jax.runs import read_config  # noqa: PLC0415  (loaded where a command needs it)

    asks_help = any(argument in ("-h", "--help") for argument in arguments)
    positional = bool(arguments) and not arguments[0].startswith("-")
    require(positional or asks_help, "run takes a config file first: mdn-jax run CONFIG [--out DIR] [--FIELD VALUE]")
    path = Path(arguments[0]) if positional else None
    config = read_config(path)[0] if path else Config(dataset=DatasetConfig(name="inverse_sinusoid"))
    flags = _flags(config, _Run)
    parsed = _parse(flags, arguments[1:] if positional else arguments, "mdn-jax run CONFIG")
    values = {field.name: _plain(getattr(parsed, field.name)) for field in dataclasses.fields(parsed)}
    folder, overwrite = values.pop("out"), values.pop("overwrite")
    config = validate(values, "command line" if arguments[1:] else str(path))
    return _run_config(config, folder or Path("runs") / (path.stem if path else "run"), overwrite=overwrite)


@dataclasses.dataclass(frozen=True)
class _Run:
    out: Annotated[Path | None, tyro.conf.arg(help="Run folder; runs/NAME of the config file where absent.")] = None
    overwrite: Annotated[bool, tyro.conf.arg(help="Replace another run in that folder.")] = False


def _run_config(config: Config, folder: Path, *, overwrite: bool) -> int:
    """Run with a progress bar, then print what came out."""
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    from mdn_jax.runs import run  # noqa: PLC0415

    console = Console(stderr=True)
    columns = (TextColumn("training"), BarColumn(), TextColumn("step {task.completed:.0f}/{task.total:.0f}"))
    losses = TextColumn("{task.fields[losses]}")
    silent = not console.is_terminal  # into a log it would write blank lines only
    with Progress(*columns, TimeRemainingColumn(), losses, console=console, transient=True, disable=silent) as progress:
        task = progress.add_task("training", total=config.training.num_steps, losses="compiling")

        def on_evaluation(step: int, metrics: dict[str, Any]) -> None:
            # an ensemble shows its members' mean
            train, validation = (float(jax.numpy.mean(metrics[name])) for name in ("train_loss", "val_loss"))
            progress.update(task, completed=step, losses=f"train {train:.3f}  validation {validation:.3f}")

        metrics = run(config, folder, overwrite=overwrite, on_evaluation=on_evaluation)
    _print_metrics(metrics, folder)
    return 1 if metrics["status"] == "diverged" else 0


def _print_metrics(metrics: dict[str, Any], folder: Path) -> None:
    """The numbers a person wants first, and where the rest is."""
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table(title=str(folder), title_justify="left", show_header=False)
    table.add_row("status", metrics["status"])
    table.add_row("test NLL", f"{metrics['test_nll']:.4f} ± {metrics['test_nll_standard_error']:.4f} nats per row")
    if "oracle_nll" in metrics:
        table.add_row("exact density's NLL", f"{metrics['oracle_nll']:.4f}")
        table.add_row("gap to it, paired", f"{metrics['gap_to_oracle']:.4f}")
    for title, name in (("RMSE", "test_rmse"), ("CRPS", "test_crps"), ("coverage of 90 % intervals", "coverage_90")):
        for target, value in metrics[name].items():
            table.add_row(f"{title}, {target}", f"{value:.4f}")
    table.add_row("parameters", f"{metrics['num_parameters']:,}")
    table.add_row("seconds", f"{metrics['compile_seconds']:.1f} compiling, {metrics['train_seconds']:.1f} training")
    console = Console()
    console.print(table)
    console.print(f"figures: {folder}/figures   model: {folder}/model", soft_wrap=True)
    if metrics["status"] == "diverged":
        advice = "a training step was not finite: the best parameters before it stand; try a lower learning rate"
        console.print(advice, soft_wrap=True)


def _plot(arguments: list[str]) -> int:
    """RUN       draw a finished run's figures again"""
    from mdn_jax.runs import draw_figures  # noqa: PLC0415

    @dataclasses.dataclass(frozen=True)
    class Plot:
        run: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(help="The run's folder.")]

    for path in draw_figures(_parse(Plot, arguments, "mdn-jax plot").run):
        print(path)
    return 0


COMMANDS: dict[str, Callable[[list[str]], int]] = {"run": _run, "plot": _plot}


def _flags(config: Config, extra: type) -> type:
    """A dataclass of every config field with its value as default, for tyro: parsed here, validated by the models."""
    fields = [(f.name, f.type, dataclasses.field(default=f.default)) for f in dataclasses.fields(extra)]
    return dataclasses.make_dataclass("Flags", [*fields, *_mirror(config)], frozen=True)


def _mirror(model: BaseModel) -> list[tuple[str, Any, Any]]:
    fields = []
    for name, info in type(model).model_fields.items():
        value = getattr(model, name)
        kind, default = info.annotation, dataclasses.field(default=value)
        if isinstance(value, BaseModel):
            kind = dataclasses.make_dataclass(name, _mirror(value), frozen=True)
            kind.__doc__ = type(value).__doc__
            default = dataclasses.field(default=kind())
        fields.append((name, Annotated[kind, tyro.conf.arg(help=info.description)], default))  # pyright: ignore
    return fields


def _plain(value: Any) -> Any:
    """Parsed flags as what a TOML file would say: nothing where a field is None."""
    if dataclasses.is_dataclass(value):
        pairs = ((field.name, _plain(getattr(value, field.name))) for field in dataclasses.fields(value))
        return {name: plain for name, plain in pairs if plain is not None}
    return value


def _parse(flags: type, arguments: list[str], program: str) -> Any:
    """tyro's reading of the arguments; what it refuses becomes one line."""
    report = io.StringIO()
    try:
        with contextlib.redirect_stderr(report):
            parsed, unknown = tyro.cli(flags, args=arguments, prog=program, return_unknown_args=True)
    except SystemExit as exit_request:
        if exit_request.code == 0:
            raise
        raise InputError(_first_paragraph(report.getvalue())) from None
    if unknown:
        legal = _flag_names(flags)
        option = next((word for word in unknown if word.startswith("-")), unknown[0]).split("=")[0]
        raise InputError(f"unknown option {option!r}: {nearest(option.replace('_', '-'), legal)}")
    return parsed


def _flag_names(flags: type, prefix: str = "--") -> list[str]:
    names = []
    for field in dataclasses.fields(flags):
        kind = getattr(field.type, "__origin__", field.type)
        name = prefix + field.name.replace("_", "-")
        names += _flag_names(kind, f"{name}.") if dataclasses.is_dataclass(kind) else [name]  # pyright: ignore
    return names


def _first_paragraph(box: str) -> str:
    """The message below the title of tyro's box, drawn in Unicode or in ASCII, on one line."""
    message = []
    for line in box.splitlines()[1:]:
        text = line.strip(" │╭╮╰╯")
        is_rule = set(text) <= {"─", "-"}
        if is_rule and message:
            break
        if not is_rule:
            message.append(text)
    return " ".join(message) or "the arguments could not be read: see --help"


def _one_cpu_device_per_core() -> None:
    """One CPU device per core for members to spread over, unless the user has chosen."""
    chosen = "JAX_NUM_CPU_DEVICES" in os.environ or "host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not chosen:
        with contextlib.suppress(RuntimeError):  # a backend that runs already keeps the devices it has
            jax.config.update("jax_num_cpu_devices", cores)

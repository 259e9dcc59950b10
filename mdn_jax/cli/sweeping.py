"""`mdn-jax sweep CONFIG`: train a sweep, look at one, and take members out of it."""

import dataclasses
import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from mdn_jax._checks import require
from mdn_jax.cli.flags import config_values, path_first, said_by
from mdn_jax.config import validate

__all__ = ["sweep"]

MANY = 5_000  # members that are trained without asking
SHOWN = 10  # best members in the table
QUIET_SECONDS = 30.0  # between two lines of a log
STOPPED = 143
WIDE = 160  # letters of a table in a log


@dataclasses.dataclass(frozen=True)
class _Sweep:
    out: Annotated[Path | None, tyro.conf.arg(help="Sweep folder; runs/NAME of the config file where absent.")] = None
    overwrite: Annotated[bool, tyro.conf.arg(help="Replace another sweep in that folder.")] = False
    yes: Annotated[bool, tyro.conf.arg(help=f"Train more than {MANY:,} members.")] = False
    dry_run: Annotated[bool, tyro.conf.arg(help="Print programs, members, memory and time; train nothing.")] = False
    status: Annotated[bool, tyro.conf.arg(help="Print how far the sweep is, also while it runs elsewhere.")] = False
    retry: Annotated[
        Literal["diverged"] | None, tyro.conf.arg(help="Forget members of this status and train them again.")
    ] = None
    shard: Annotated[str | None, tyro.conf.arg(help="I/N: train the I-th of N fixed parts into the same folder.")] = (
        None
    )
    cluster: Annotated[
        str | None,
        tyro.conf.arg(help="Ray address (auto, or local for one on this machine) whose nodes train batches."),
    ] = None
    export: Annotated[int | None, tyro.conf.arg(help="Write this member as a run folder of its own.")] = None
    ensemble: Annotated[int | None, tyro.conf.arg(help="Save the best so many members as one model.")] = None
    export_optuna: Annotated[str | None, tyro.conf.arg(help="Write the study to a journal file or database URL.")] = (
        None
    )


def sweep(arguments: list[str]) -> int:
    """CONFIG  train every member of the config's [sweep]; --status, --dry-run, --export N, ... with --help"""
    from mdn_jax.sweeps.space import with_checksums  # noqa: PLC0415

    usage = "sweep takes a config file or a sweep's folder first: mdn-jax sweep CONFIG [--out DIR]"
    space, options = _read(*path_first(arguments, usage))
    folder = options.out or Path()
    if options.status:
        return _print_status(folder)
    if options.export is not None or options.ensemble is not None or options.export_optuna is not None:
        return _take_out(folder, options)
    require(
        space.num_members <= MANY or options.yes or options.dry_run,
        f"this sweep has {space.num_members:,} members, more than {MANY:,}: add --yes if that is meant",
    )
    space = with_checksums(space)
    if options.dry_run:
        return _print_plan(space)
    return _train(space, folder, options)


def _read(path: Path | None, arguments: list[str]) -> tuple[Any, _Sweep]:
    """The space of a config file or of a sweep's folder, with the command line's changes, and the options."""
    from mdn_jax.config import Config, DatasetConfig, value_of  # noqa: PLC0415
    from mdn_jax.runs import absolute, changed_by_hand, fill_in, read_config  # noqa: PLC0415
    from mdn_jax.sweeps.driver import CONFIG  # noqa: PLC0415
    from mdn_jax.sweeps.space import Search, read_space  # noqa: PLC0415

    require(path is None or path.exists(), f"{path}: no such config file, nor a sweep's folder")
    is_folder = path is not None and path.is_dir()
    if is_folder:
        require((path / CONFIG).is_file(), f"{path}: no sweep there ({CONFIG} is missing)")  # pyright: ignore
    file = path / CONFIG if is_folder else path  # pyright: ignore[reportOptionalOperand]
    config, table = read_config(file) if file else (Config(dataset=DatasetConfig(name="inverse_sinusoid")), {})
    config, _ = fill_in(config)  # a recipe's numbers, before axes and flags change them
    source = str(file)
    require(bool(table) or file is None, f"{source} has no [sweep] table: add one, for example seed = {{ count = 8 }}")
    space = read_space(config, table, source, file.parent) if file else None
    search = space.search if space else Search()
    if "--cluster" in arguments and arguments[-1] == "--cluster":
        arguments = [*arguments, "local"]
    values = config_values(config, _Sweep, arguments, "mdn-jax sweep CONFIG", sweep=search)
    own = {field.name: values.pop(field.name) for field in dataclasses.fields(_Sweep)}
    changes = values.pop("sweep")
    require(not (is_folder and own["out"]), "a sweep's folder is where it is: drop --out, or give its config file")
    changed = changed_by_hand(config, absolute(Path(), validate(said_by(values, config, arguments), "command line")))
    for axis in space.axes if space else ():
        same = value_of(config, axis.name) == value_of(changed, axis.name)
        require(same, f"{axis.name} is an axis of this sweep: change its values in [sweep], not on the command line")
    axes = {axis.name: axis.table for axis in space.axes} if space else {}
    own["out"] = path if is_folder else own["out"] or Path("runs") / (path.stem if path else "sweep")
    return read_space(changed, changes | axes, source, Path()), _Sweep(**own)


def _train(space: Any, folder: Path, options: _Sweep) -> int:
    from mdn_jax.sweeps.driver import Interrupted, forget, run_sweep  # noqa: PLC0415
    from mdn_jax.sweeps.planning import Shard  # noqa: PLC0415

    shard = Shard.parse(options.shard) if options.shard else Shard()
    require(not (options.shard and options.cluster), "--shard and --cluster are two ways to share a sweep: use one")
    train = None
    if options.cluster:
        from mdn_jax.sweeps.cluster import on_cluster  # noqa: PLC0415

        train = on_cluster(options.cluster)  # refused before anything is written
    if options.retry:
        print(f"{forget(space, folder, options.retry)} {options.retry} members train again")
    with _told_to_stop() as asked, _shown_progress() as show:
        try:
            rows = run_sweep(
                space,
                folder,
                shard=shard,
                overwrite=options.overwrite,
                train=train,
                on_progress=show,
                should_stop=lambda: bool(asked),
            )
        except Interrupted:
            saved = "finished batches" if options.cluster else "everything"
            print(f"mdn-jax: stopped by {asked[0]} with {saved} saved; the same command goes on from here")
            return STOPPED
    left = space.num_members - len(rows)
    if left:
        print(f"shard {shard}: done; {left} members are left to other shards, the last of which writes the results")
    else:
        _print_result(space, folder, rows)
    return 0


@contextmanager
def _told_to_stop() -> Iterator[list[str]]:
    """A list that a signal fills: SIGTERM, and SIGUSR1, by which SLURM warns before it ends a job."""
    asked: list[str] = []
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGUSR1") if hasattr(signal, name)]
    before = {number: signal.signal(number, lambda n, _: asked.append(signal.Signals(n).name)) for number in numbers}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _shown_progress() -> Iterator[Any]:
    """A progress bar in a terminal, a line now and then in a log."""
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, Progress, TextColumn  # noqa: PLC0415

    console = Console(stderr=True)
    columns = (TextColumn("training"), BarColumn(), TextColumn("{task.fields[told]}"))
    said = [-QUIET_SECONDS]
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("training", total=1, told="")

        def show(progress: Any) -> None:
            told, done = _progress_line(dataclasses.asdict(progress)), progress.done + progress.share * progress.running
            bar.update(task, completed=done, total=progress.total, told=told)
            if not console.is_terminal and time.monotonic() - said[0] >= QUIET_SECONDS:
                said[0] = time.monotonic()
                console.print(told, highlight=False, soft_wrap=True)

        yield show


def _progress_line(progress: dict[str, Any]) -> str:
    parts = [f"{progress['done']:,} of {progress['total']:,} members done"]
    parts += [f"{progress['running']} running"] if progress["running"] else []
    parts += [f"{progress['diverged']} diverged"] if progress["diverged"] else []
    parts += [f"best val NLL {progress['best']:.4f}"] if progress["best"] is not None else []
    left = progress["seconds_left"]
    parts += [f"{_duration(left)} left"] if left is not None and progress["done"] < progress["total"] else []
    return ", ".join(parts)


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _print_status(folder: Path) -> int:
    """Print the progress of a sweep, from its folder alone."""
    from mdn_jax.sweeps.driver import read_status  # noqa: PLC0415

    status = read_status(folder)
    print(f"{folder}: {_progress_line(status)}")
    print(f"left: {status['total'] - status['done'] - status['running']}")
    for process in status["processes"]:
        age = time.time() - process["time"]
        print(
            f"shard {process['shard']} on {process['host']}: {process['running']} members at {process['share']:.0%}, "
            f"heard from {_duration(age)} ago"
        )
    return 0


def _take_out(folder: Path, options: _Sweep) -> int:
    """Members of a sweep as a run folder, as one model, or as an Optuna study."""
    from mdn_jax.data import load  # noqa: PLC0415
    from mdn_jax.storage import BATCHES, read_rows  # noqa: PLC0415
    from mdn_jax.sweeps.driver import open_space  # noqa: PLC0415
    from mdn_jax.sweeps.results import export_member, write_ensemble  # noqa: PLC0415
    from mdn_jax.sweeps.search import export_study  # noqa: PLC0415
    from mdn_jax.sweeps.space import with_checksums  # noqa: PLC0415
    from mdn_jax.sweeps.training import Source  # noqa: PLC0415

    space, source = with_checksums(open_space(folder)), Source(load)
    rows, _ = read_rows(folder / BATCHES)
    if options.export is not None:
        out = folder / "members" / str(options.export)
        metrics = export_member(space, folder, options.export, out, source)
        print(f"{out}: test NLL {metrics['test_nll']:.4f} nats per row")
    if options.ensemble is not None:
        require(options.ensemble > 0, f"--ensemble takes a number of members, 1 or more; got {options.ensemble}")
        out = folder / f"ensemble-{options.ensemble}"
        metrics = write_ensemble(space, folder, rows, options.ensemble, out, source)
        print(f"{out}: test NLL {metrics['test_nll']:.4f} nats per row")
    if options.export_optuna is not None:
        free = "://" in options.export_optuna or not Path(options.export_optuna).exists()
        require(free, f"{options.export_optuna} is there already: delete it, or export elsewhere")
        export_study(space, rows, options.export_optuna, folder.resolve().name)
        print(f"{options.export_optuna}: {len(rows)} trials of study {folder.resolve().name!r}")
    return 0


def _print_plan(space: Any) -> int:
    """Print the plan of a sweep: nothing is compiled or written."""
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    from mdn_jax.config import value_of  # noqa: PLC0415
    from mdn_jax.data import load  # noqa: PLC0415
    from mdn_jax.devices import num_devices, runs_in_turn  # noqa: PLC0415
    from mdn_jax.sweeps.planning import COMPILING, most_at_once, programs  # noqa: PLC0415
    from mdn_jax.sweeps.search import Members  # noqa: PLC0415
    from mdn_jax.sweeps.training import Source  # noqa: PLC0415

    members = Members(space)
    members.open({})
    source = Source(load)
    planned = programs(members.configs, source)
    for program in planned:
        source.check(program.config)
    names = [axis.name for axis in space.axes]
    shared = [name for name in names if len({repr(value_of(p.config, name)) for p in planned}) > 1]
    table = Table(title=f"{space.num_members:,} members, {len(planned)} compiled programs", title_justify="left")
    for column in (*shared, "members", "at once", "memory"):
        table.add_column(column, justify="right")
    for program in planned:
        most = min(most_at_once(program), len(program.members))
        values = [str(value_of(program.config, name)) for name in shared]
        memory = f"{most * program.bytes_each / 2**20:,.1f} MiB"
        table.add_row(*values, f"{len(program.members):,}", f"{most:,}", memory)
    console = Console()
    console.print(table)
    if space.search.sampler == "tpe":
        console.print(f"(the first round; tpe asks again after every {space.search.ask_batch} members)")
    seconds = sum(len(p.members) * p.seconds_each for p in planned) * space.num_members / len(members.configs)
    if runs_in_turn():
        cores = num_devices()
        training, compiling = (_duration(total / cores) for total in (seconds, COMPILING * len(planned)))
        told = f"roughly {training} of training on {cores} CPU devices, and {compiling} of compiling the first time"
        console.print(told, soft_wrap=True)
    else:
        console.print("the time is known after the first batch: no estimate is made for this kind of device")
    return 0


def _print_result(space: Any, folder: Path, rows: dict[int, dict[str, Any]]) -> None:
    """The best members, and where the rest is."""
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    from mdn_jax.sweeps.driver import SUMMARY  # noqa: PLC0415
    from mdn_jax.sweeps.results import columns_of, ranked  # noqa: PLC0415

    axes = [axis.name for axis in space.axes]
    order = ranked(rows)[:SHOWN]
    columns = columns_of(axes, {member: rows[member] for member in order})
    places = {member: place for place, member in enumerate(columns["member"])}
    table = Table(title=f"{folder}: the best of {len(rows):,} members, by validation NLL", title_justify="left")
    for name in ("member", *axes, "val NLL", "test NLL"):
        table.add_column(name.rpartition(".")[2], justify="right")
    for member in order:
        values = [_short(columns[axis][places[member]]) for axis in axes]
        table.add_row(str(member), *values, f"{rows[member]['val_nll']:.4f}", f"{rows[member]['test_nll']:.4f}")
    console = Console(width=None if Console().is_terminal else WIDE)
    console.print(table)
    summary = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
    statuses = ", ".join(f"{count:,} {status}" for status, count in summary["statuses"].items())
    console.print(f"{statuses}   table: {folder}/results.csv   figures: {folder}/figures", soft_wrap=True)
    none = "no member finished: try lower learning rates, then --retry diverged"
    console.print(f"best member as a run: {folder}/best" if order else none, soft_wrap=True)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)

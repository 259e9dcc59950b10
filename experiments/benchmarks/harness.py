"""What the benchmarks share: interleaved repeats, ratios within a repeat, the machine, a table and verdicts.

Times on a shared machine drift by more than the differences sought. So every repeat runs all cases one after the
other (A B C, A B C, ...), a ratio is taken within a repeat, and its median over the repeats stands, with the range
seen: what slows a repeat slows both sides of its ratios.
"""

import argparse
import datetime
import importlib.util
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import jax
from rich.console import Console
from rich.table import Table

Times = Mapping[str, Sequence[float]]
"""Seconds of each repeat, by case."""


@dataclass(frozen=True)
class Ratio:
    """How many times as fast one case is as another: median over the repeats, and the range."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Ratio":
        """The ratio of several repeats."""
        return cls(statistics.median(values), min(values), max(values))

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f}..{self.high:.2f})"


@dataclass
class Report:
    """Collects what a benchmark finds, prints it as it comes, and keeps it for `--json`."""

    title: str
    device: str = ""
    tables: list[dict] = field(default_factory=list)
    verdicts: list[dict] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.machine = machine(self.device)
        self.console = Console(width=120, highlight=False)
        self.console.print(f"{self.title}\n{self.machine}", markup=False)

    def table(self, title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Print a table: names to the left, numbers to the right."""
        rows = [list(row) for row in rows]
        table = Table(title=title, title_justify="left")
        for index, column in enumerate(columns):
            table.add_column(column, justify="right" if index else "left")
        for row in rows:
            table.add_row(*row)
        self.console.print(table)
        self.tables.append({"title": title, "columns": list(columns), "rows": rows})

    def at_least(self, what: str, asked: float, measured: Ratio, *, noise: float = 0.0) -> None:
        """Judge a ratio that must not be lower, noise (a share of it) allowed for."""
        bound = f">= {asked:g}x" + (f" within {noise:.0%}" if noise else "")
        met = measured.median >= asked * (1 - noise)
        self._judge(what, bound, f"{measured.median:.2f}x ({measured.low:.2f}..{measured.high:.2f})", met)

    def at_most(self, what: str, asked: float, measured: float, shown: str) -> None:
        """Judge a number that must not be higher."""
        self._judge(what, f"<= {asked:g}", shown, measured <= asked)

    def skip(self, what: str, cure: str) -> None:
        """Say what is left out, and what would bring it in."""
        self.skipped.append(what)
        self.console.print(f"skipped: {what}: {cure}", markup=False)

    def save(self, path: Path | None) -> None:
        """Write everything as JSON, where asked to."""
        if path is not None:
            keep = ("title", "tables", "verdicts", "skipped")
            content = {"machine": self.machine} | {name: asdict(self)[name] for name in keep}
            path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")

    def _judge(self, what: str, asked: str, measured: str, met: bool) -> None:
        verdict = "met" if met else "NOT MET"
        self.verdicts.append({"what": what, "asked": asked, "measured": measured, "verdict": verdict})
        self.console.print(f"{what}: asked {asked}, measured {measured}: {verdict}", markup=False)


def arguments(description: str | None, *, repeats: int) -> argparse.ArgumentParser:
    """The options that every benchmark has."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )  # fmt: skip
    parser.add_argument("--repeats", type=int, default=repeats, help=f"repeats of all cases (default {repeats})")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the numbers there")
    return parser


def machine(device: str = "") -> str:
    """One line: when and where."""
    if not device:
        devices = jax.local_devices()
        device = f"{len(devices)} x {devices[0].device_kind} ({devices[0].platform})"
    return (
        f"{datetime.date.today().isoformat()}, {_processor()}, {num_cores()} cores, Python "
        f"{platform.python_version()}, jax {jax.__version__}, {device}"
    )


def num_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def installed(package: str) -> bool:
    """Whether a competitor can be imported."""
    return importlib.util.find_spec(package) is not None


def measure(cases: Mapping[str, Callable[[], object]], repeats: int, *, seconds: float = 0.0) -> Times:
    """Wall time per call of each case, interleaved.

    Args:
        cases: functions by name; each returns when its work is done, or returns JAX arrays, which are waited for.
        repeats: times that all cases run.
        seconds: the least a case runs in each repeat, by calling it again; 0 calls it once.

    Returns:
        Seconds per call in each repeat. A first call, which compiles, is not counted.
    """
    calls = {}
    for name, case in cases.items():
        jax.block_until_ready(case())
        calls[name] = max(1, round(seconds / _seconds(case, 1))) if seconds else 1
    times: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(repeats):
        for name, case in cases.items():
            times[name].append(_seconds(case, calls[name]))
    return times


def speedup(times: Times, ours: str, other: str) -> Ratio:
    """How many times as fast `ours` is as `other`, repeat by repeat."""
    return Ratio.of([theirs / own for theirs, own in zip(times[other], times[ours], strict=True)])


def geometric_mean(tables: Sequence[Times], ours: str, other: str) -> Ratio:
    """The geometric mean of `speedup` over several problems, repeat by repeat."""
    ratios = [[b / a for a, b in zip(times[ours], times[other], strict=True)] for times in tables]
    return Ratio.of([statistics.geometric_mean(repeat) for repeat in zip(*ratios, strict=True)])


def median_time(times: Times, name: str) -> str:
    """The median time of a case, in a readable unit."""
    value = statistics.median(times[name])
    return f"{value:.2f} s" if value >= 1 else f"{1e3 * value:.2f} ms"


def _seconds(case: Callable[[], object], calls: int) -> float:
    began = time.perf_counter()
    for _ in range(calls):
        jax.block_until_ready(case())
    return (time.perf_counter() - began) / calls


def _processor() -> str:
    """The processor's name."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()

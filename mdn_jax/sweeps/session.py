"""One process's part in a sweep while it trains, and what it tells of it: the caller at once, the folder at times."""

import json
import math
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from mdn_jax.storage import write_text
from mdn_jax.sweeps.planning import Shard
from mdn_jax.sweeps.results import ranked
from mdn_jax.sweeps.search import Row
from mdn_jax.sweeps.space import Space
from mdn_jax.sweeps.training import Source

__all__ = ["CHECKPOINT", "PROGRESS", "Interrupted", "Progress", "Session"]

CHECKPOINT, PROGRESS = "checkpoint", "progress"
KNOWN = 0.02  # share of the members after which the time that is left is told: at first most of it is compiling
SHOW_SECONDS, WRITE_SECONDS = 0.2, 2.0  # between two reports to the caller, and to the folder


class Interrupted(Exception):  # noqa: N818  (no error: the sweep was asked to stop, and goes on later)
    """The sweep stopped between two chunks because it was asked to; what it had is saved."""


@dataclass
class Progress:
    """The progress of a sweep.

    Attributes:
        total: members of the whole sweep.
        done: members with a row.
        diverged: how many of them diverged.
        best: lowest validation NLL so far.
        running: members that train now.
        share: of the running members' steps that is done.
        seconds_left: rough; None until something is known.
    """

    total: int
    done: int = 0
    diverged: int = 0
    best: float | None = None
    running: int = 0
    share: float = 0.0
    seconds_left: float | None = None

    @classmethod
    def of(cls, rows: Mapping[int, Row], total: int) -> "Progress":
        """Count the members that are done, from their rows."""
        best = ranked(rows)
        diverged = sum(row["status"] == "diverged" for row in rows.values())
        return cls(total, len(rows), diverged, rows[best[0]]["val_nll"] if best else None)


@dataclass
class Session:
    """One process's part in a sweep."""

    space: Space
    folder: Path
    shard: Shard
    source: Source
    on_progress: Callable[[Progress], None]
    should_stop: Callable[[], bool]
    checkpoint_seconds: float
    rows: dict[int, Row] = field(default_factory=dict)
    began: float = field(default_factory=time.perf_counter)
    saved: float = field(default_factory=time.perf_counter)
    written: float = -math.inf
    shown: float = -math.inf
    trained: float = 0.0  # members that this process has trained
    waited: float = 0.0  # seconds in which nothing trained because a program was not compiled
    recording: float = 0.0  # seconds of search and record
    programs: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def checkpoint(self) -> Path:
        return self.folder / f"{CHECKPOINT}-{self.shard}"

    def timed(self, work: Callable[[], Any]) -> Any:
        """Return `work()`, its seconds counted as the sweep's own."""
        began = time.perf_counter()
        try:
            return work()
        finally:
            self.recording += time.perf_counter() - began

    def tell_costs(self, costs: list[tuple[str, dict[str, float]]]) -> None:
        """Add what a batch cost to what its programs did."""
        for program, cost in costs:
            told = self.programs.setdefault(program, dict.fromkeys(cost, 0))
            told |= {name: told[name] + number for name, number in cost.items()}

    def tell_progress(self, running: int = 0, share: float = 0.0, *, force: bool = False) -> None:
        """Tell the caller, and every few seconds the folder, where the sweep stands."""
        now = time.perf_counter()
        if not force and now - self.shown < SHOW_SECONDS:
            return
        self.shown = now
        total = self.space.num_members
        trained, left = self.trained + running * share, total - len(self.rows) - running * share
        elapsed = now - self.began
        progress = replace(
            Progress.of(self.rows, total),
            running=running,
            share=share,
            seconds_left=elapsed * left / self.shard.count / trained if trained > KNOWN * total else None,
        )
        self.on_progress(progress)
        if force or now - self.written > WRITE_SECONDS:
            self.written = now
            told = asdict(progress) | {"host": socket.gethostname(), "shard": str(self.shard), "time": time.time()}
            write_text(self.folder / f"{PROGRESS}-{self.shard}.json", json.dumps(told))

"""The loop of a sweep: what is missing trains, batch by batch, into the record; the last one publishes the results.

    space -> members -> works -> slices -> chunks -> batch -> record -> table, best/, figures, study
             (search)  (planning)   (training)                          (results)

The record alone says what is done, so the same command goes on after any end, on any number of devices or processes.
"""

import json
import re
import shutil
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import tomli_w
from filelock import FileLock, Timeout

from mdn_jax._checks import InputError, require
from mdn_jax.config import differences
from mdn_jax.data import load as load_dataset
from mdn_jax.runs import read_config
from mdn_jax.storage import BATCHES, Batch, drop_rows, read_rows, write_batch, write_text
from mdn_jax.sweeps.checkpoint import load_checkpoint, save_checkpoint
from mdn_jax.sweeps.planning import Shard, next_works
from mdn_jax.sweeps.results import BEST, FIGURES, STUDY, TABLE, code_of, publish, ranked
from mdn_jax.sweeps.search import Members, Row
from mdn_jax.sweeps.session import CHECKPOINT, PROGRESS, Interrupted, Progress, Session
from mdn_jax.sweeps.space import Space, by_program, read_space
from mdn_jax.sweeps.training import Slice, Source, Work, begin, collect, done_share, train_work, warm_up

__all__ = ["Interrupted", "Progress", "Session", "claim", "forget", "open_space", "read_status", "run_sweep"]

CONFIG, SUMMARY = "config.toml", "sweep.json"
NAMES = "|".join(map(re.escape, (CONFIG, SUMMARY, BATCHES, TABLE, BEST, FIGURES, STUDY, "members")))
NAMES += rf"|({CHECKPOINT}|{PROGRESS})-\d+-of-\d+(\.json)?|ensemble-\d+"
OWN = re.compile(rf"({NAMES})|\.({NAMES})\.\d+\.(new|old)(\.lock)?|\.lock-.*")  # what a sweep writes in its folder
AHEAD = 2  # batches whose programs compile while one trains
SILENT_SECONDS = 300.0  # after which a process counts as gone


def run_sweep(
    space: Space,
    folder: Path,
    *,
    shard: Shard | None = None,
    overwrite: bool = False,
    train: Callable[[Session, list[Work]], Iterator[Batch]] | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    should_stop: Callable[[], bool] = lambda: False,
    checkpoint_seconds: float = 60.0,
    source: Source | None = None,
    results: bool = True,
) -> dict[int, Row]:
    """Train all members that the record in `folder` does not have, then write the results.

    Args:
        space: what to search.
        folder: of the sweep; made where it does not exist.
        shard: this process's part; all of it where absent.
        overwrite: replace another sweep in that folder.
        train: how batches are trained: on this machine where absent.
        on_progress: called after every chunk.
        should_stop: asked after every chunk; True saves and raises `Interrupted`.
        checkpoint_seconds: the most training that a kill can lose.
        source: where data come from.
        results: whether to write the table, `best/` and figures at the end, beside the record.

    Returns:
        Member -> its row. With shards, those that are finished so far.

    Raises:
        InputError: for a folder of something else, or one in which another process is at work.
        Interrupted: where `should_stop` said so.
    """
    shard = shard or Shard()
    require(
        shard.count == 1 or space.search.sampler != "tpe",
        "--shard trains fixed slices, and sampler tpe asks again after each round: use --cluster, or one process",
    )
    members = Members(space)
    source = source or Source(load_dataset)
    members.open({})  # the first round of tpe
    for own in by_program(members.configs):
        source.check(members.configs[own[0]])  # before anything is written
    may_claim(space, folder, overwrite=overwrite)
    with _locked(folder, shard):
        claim(space, folder, overwrite=overwrite)
        session = Session(space, folder, shard, source, on_progress, should_stop, checkpoint_seconds)
        session.rows = _whole_rows(folder)
        if len(session.rows) < space.num_members or not (folder / SUMMARY).is_file():
            try:
                _train_missing(session, members, train or _train_here)
            finally:  # nothing runs here any more
                session.tell_progress(force=True)
        if results and len(session.rows) == space.num_members and not (folder / SUMMARY).is_file():
            _finish(session)
    return session.rows


def open_space(folder: Path) -> Space:
    """The space of a sweep's folder.

    Raises:
        InputError: where there is no sweep.
    """
    require((folder / CONFIG).is_file(), f"{folder}: no sweep there ({CONFIG} is missing)")
    config, table = read_config(folder / CONFIG)
    require(bool(table), f"{folder} holds no sweep (its {CONFIG} has no [sweep]): choose another folder with --out")
    return read_space(config, table, str(folder / CONFIG), folder)


def read_status(folder: Path) -> dict[str, Any]:
    """Read a sweep's progress: the fields of `Progress`, and `processes`, the last report of each that is at work.

    Raises:
        InputError: where there is no sweep.
    """
    space = open_space(folder)
    rows, _ = read_rows(folder / BATCHES)
    processes = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob(f"{PROGRESS}-*.json"))]
    processes = [one for one in processes if one["running"] and time.time() - one["time"] < SILENT_SECONDS]
    left = [one["seconds_left"] for one in processes if one["seconds_left"] is not None]
    progress, running = Progress.of(rows, space.num_members), sum(one["running"] for one in processes)
    return asdict(progress) | {"running": running, "seconds_left": max(left, default=None), "processes": processes}


def forget(space: Space, folder: Path, status: str) -> int:
    """Take members of a status out of a sweep's record, so that they train again; returns how many.

    Raises:
        InputError: where there is no such sweep, or another process is at work on it.
    """
    require(may_claim(space, folder), f"{folder}: no sweep there to retry")
    with _locked(folder, Shard()):
        unwanted = lambda row: row["status"] == status  # noqa: E731
        count = drop_rows(folder / BATCHES, unwanted, lambda row: code_of(space, row))
        if count:
            (folder / SUMMARY).unlink(missing_ok=True)
    return count


def claim(space: Space, folder: Path, *, overwrite: bool) -> None:
    """Make `folder` this sweep's, or refuse where it holds something else."""
    if may_claim(space, folder, overwrite=overwrite):
        return
    for path in folder.iterdir() if folder.is_dir() else ():
        if not path.name.startswith(".lock"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / CONFIG, tomli_w.dumps(space.to_dict()))


def may_claim(space: Space, folder: Path, *, overwrite: bool = False) -> bool:
    """True where `folder` is this sweep's already; nothing is written.

    Raises:
        InputError: where it holds something else.
    """
    require(folder.is_dir() or not folder.exists(), f"{folder} is a file: choose another folder with --out")
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    begun = CONFIG in names
    if begun and not overwrite:
        changed = differences(open_space(folder), space)
        require(
            not changed,
            f"{folder} holds another sweep; these fields differ: {'; '.join(changed)}: choose another folder with "
            "--out, or replace it with --overwrite",
        )
        return True
    # before its config is written a kill leaves nothing but files whose names begin with a dot
    strangers = [name for name in names if not OWN.fullmatch(name) or not (begun or name.startswith("."))]
    others = ", ".join(strangers)
    require(not strangers, f"{folder} holds {others} and is no sweep's folder: choose another with --out")
    return False


def _train_missing(session: Session, members: Members, train: Callable) -> None:
    """Rounds of batches until this process has nothing left to train."""
    session.tell_progress(force=True)
    while works := session.timed(lambda: next_works(members, session.rows, session.shard, session.source)):
        for batch in train(session, works):
            session.timed(lambda batch=batch: _record(session, batch))
    session.rows = _whole_rows(session.folder)  # other shards may have finished meanwhile


def _record(session: Session, batch: Batch) -> None:
    write_batch(session.folder / BATCHES, batch)
    session.rows |= {row["member"]: row for row in batch.rows}
    session.trained += len(batch.rows)
    shutil.rmtree(session.checkpoint, ignore_errors=True)
    session.tell_progress(force=True)


def _train_here(session: Session, works: list[Work]) -> Iterator[Batch]:
    """Batches one after the other; the programs of the next ones compile meanwhile."""
    stage = 0
    queue: list[tuple[Work, list[Slice] | None]] = [(work, None) for work in works]
    resumed = _resumed(session)
    if resumed is not None and not set(resumed[0].members) & session.rows.keys():
        work, stage, slices = resumed
        left = [w for w in works if not set(w.members) & set(work.members)]
        queue = [(work, slices), *((w, None) for w in left)]
    pool = ThreadPoolExecutor(AHEAD, thread_name_prefix="compile")
    try:
        ahead: deque[Future[list[Slice]]] = deque()
        for place, (work, _) in enumerate(queue):
            while len(ahead) <= AHEAD and place + len(ahead) < len(queue):
                ahead.append(pool.submit(_ready, session, *queue[place + len(ahead)]))
            began = time.perf_counter()
            slices = ahead.popleft().result()
            session.waited += time.perf_counter() - began
            yield _train_work(session, work, stage, slices)
            stage = 0
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _resumed(session: Session) -> tuple[Work, int, list[Slice]] | None:
    """The batch of the last checkpoint; one that cannot be read is let go, and its members train from the start."""
    try:
        return load_checkpoint(session.checkpoint, session.space, session.source)
    except InputError:
        shutil.rmtree(session.checkpoint, ignore_errors=True)
        return None


def _ready(session: Session, work: Work, slices: list[Slice] | None) -> list[Slice]:
    """The slices of a batch, with everything compiled that they run."""
    slices = begin(work, session.source) if slices is None else slices
    return [part if part.state.done else warm_up(part) for part in slices]  # of a checkpoint some may rest


def _train_work(session: Session, work: Work, stage: int, slices: list[Slice]) -> Batch:
    """All chunks of a batch, with checkpoints between them."""
    session.saved = time.perf_counter()
    try:
        for stage, slices in train_work(work, slices, stage):  # noqa: B020  (what a checkpoint holds goes on)
            session.tell_progress(len(work.members), done_share(work, slices))
            stopping = session.should_stop()
            if stopping or time.perf_counter() - session.saved >= session.checkpoint_seconds:
                save_checkpoint(session.checkpoint, work, stage, slices)
                session.saved = time.perf_counter()
            if stopping:
                raise Interrupted
    except KeyboardInterrupt:
        save_checkpoint(session.checkpoint, work, stage, slices)
        raise
    batch, costs = collect(work, slices)
    session.tell_costs(costs)
    return batch


def _finish(session: Session) -> None:
    """The results, by whoever comes last; sweep.json is written last and marks a whole sweep."""
    folder = session.folder
    with FileLock(folder / ".lock-results"):
        if (folder / SUMMARY).is_file():
            return
        seconds = time.perf_counter() - session.began
        publish(session.space, folder, session.rows, session.source)
        for left in (*folder.glob(f"{CHECKPOINT}-*"), *folder.glob(f".{CHECKPOINT}-*")):
            shutil.rmtree(left, ignore_errors=True)
        summary = {
            "members": len(session.rows),
            "statuses": Counter(row["status"] for row in session.rows.values()),
            "best": next(iter(ranked(session.rows)), None),
            "train_seconds": seconds,
            "results_seconds": time.perf_counter() - session.began - seconds,
            "waited_for_compiling_seconds": session.waited,
            "record_seconds": session.recording,
            "programs": [told | {"config": json.loads(name)} for name, told in session.programs.items()],
        }
        write_text(folder / SUMMARY, json.dumps(summary, indent=2) + "\n")


@contextmanager
def _locked(folder: Path, shard: Shard) -> Iterator[None]:
    """This process alone in the folder, or beside the other shards of the same count."""
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    own = folder / f".lock-{shard}"
    try:
        with ExitStack() as stack:
            stack.enter_context(_exclusive(own, folder))
            for other in folder.glob(".lock-*-of-*"):
                if other != own and not other.name.endswith(f"-of-{shard.count}"):
                    with _exclusive(other, folder):
                        pass
            yield
    except InputError:
        if made and {path.name for path in folder.iterdir()} <= {own.name}:
            shutil.rmtree(folder, ignore_errors=True)
        raise


@contextmanager
def _exclusive(lock: Path, folder: Path) -> Iterator[None]:
    try:
        with FileLock(lock, timeout=0):
            yield
    except Timeout:
        raise InputError(
            f"{folder}: another process is at work on this sweep ({lock.name[6:]}): wait for it, or see --status"
        ) from None


def _whole_rows(folder: Path) -> dict[int, Row]:
    """The record's rows; a damaged pair of files makes room for its members' next training."""
    rows, damaged = read_rows(folder / BATCHES, thorough=True)
    for path in damaged:
        path.unlink(missing_ok=True)
        path.with_suffix(".npz").unlink(missing_ok=True)
    return rows

"""Batches of a sweep trained by the nodes of a Ray cluster, one batch at a time on all devices of one node.

The driver process holds the queue, the record and the data; a task gets a batch's configs and rows and gives back what
goes to the record. Nodes may come and go: the batch of a lost one waits for the next node that is free.
"""

import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from mdn_jax._checks import InputError, require
from mdn_jax.data import Dataset
from mdn_jax.devices import use_cpu_devices
from mdn_jax.storage import Batch, versions
from mdn_jax.sweeps.session import Interrupted, Session
from mdn_jax.sweeps.training import Source, Work, begin, collect, train_work

__all__ = ["on_cluster"]

LOOK_SECONDS = 1.0  # between two looks at nodes and tasks
REST_SECONDS = 30.0  # of a node that lost a batch: Ray takes some seconds to see that a machine is gone
MOST_LOSSES = 5  # of one batch, before the batch is what is wrong
REACH_SECONDS, ANSWER_SECONDS = 5.0, 30.0  # for an address to accept, and for Ray to answer, its own start included
# read when Ray is imported: it prints each lost node's log to standard output, and runs anew what `uv run` started
QUIET = {"RAY_DEDUP_LOGS_SKIP_REGEX": ".", "RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}
Result = tuple[Batch, list[tuple[str, dict[str, float]]]]
log = logging.getLogger(__name__)


@dataclass
class _Queue:
    """The batches that wait, and those that run with their nodes."""

    waiting: deque[Work]  # batches for the next free nodes
    shipped: dict[str, Any]  # dataset -> its rows in Ray's object store
    running: dict[Any, tuple[str, Work]] = field(default_factory=dict)  # task -> its node and its batch
    losses: dict[int, int] = field(default_factory=dict)  # first member of a batch -> how often its node was lost
    resting: dict[str, float] = field(default_factory=dict)  # node -> when it may get a batch again


def on_cluster(address: str) -> Callable[[Session, list[Work]], Iterator[Batch]]:
    """`run_sweep(train=...)` on a Ray cluster, to which this process connects at once.

    Args:
        address: "HOST:PORT" of a running cluster that this machine belongs to, "auto" for the one that Ray finds, or
            "local" for one of this machine alone, started here.

    Returns:
        What trains batches. The connection ends with the sweep.

    Raises:
        InputError: where Ray is not installed or does not answer.
    """
    ray = _ray()
    _connect(ray, address)
    shipped: dict[str, Any] = {}

    def train(session: Session, works: list[Work]) -> Iterator[Batch]:
        goes_on = False
        try:
            for work in works:
                _ship(ray, work, session.source, shipped)
            yield from _train(ray, session, _Queue(deque(_cut(works, len(_nodes(ray)))), shipped))
            goes_on = len(session.rows) < session.space.num_members  # another round follows
        finally:
            if not goes_on:
                ray.shutdown()

    return train


def _train(ray: Any, session: Session, queue: _Queue) -> Iterator[Batch]:
    """Batches in the order in which they end."""
    try:
        while queue.waiting or queue.running:
            _hand_out(ray, queue)
            if queue.running:
                done, _ = ray.wait(list(queue.running), timeout=LOOK_SECONDS)
            else:
                time.sleep(LOOK_SECONDS)
                done = []
            for task in done:
                result = _result(ray, queue, task)
                if result is not None:
                    session.tell_costs(result[1])
                    yield result[0]
            session.tell_progress(sum(len(work.members) for _, work in queue.running.values()))
            if session.should_stop():
                raise Interrupted
    finally:
        for task in queue.running:
            ray.cancel(task, force=True)


def _hand_out(ray: Any, queue: _Queue) -> None:
    """A batch for every node that has none."""
    busy = {node for node, _ in queue.running.values()}
    for node in _nodes(ray):
        number, resources = node["NodeID"], node["Resources"]
        if not queue.waiting or number in busy or queue.resting.get(number, 0.0) > time.monotonic():
            continue
        work = queue.waiting.popleft()
        place = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(number, soft=False)
        task = ray.remote(_train_on_node).options(
            num_cpus=1,
            # all of them, so that Ray hides none; a CPU's cores are not hidden
            num_gpus=resources.get("GPU", 0),
            resources={"TPU": resources["TPU"]} if "TPU" in resources else None,
            max_retries=0,  # where a batch goes next is decided here
            scheduling_strategy=place,
        )
        keys = list({config.dataset.model_dump_json() for config in work.configs})
        rows = [queue.shipped[key] for key in keys]
        queue.running[task.remote(work, int(resources["CPU"]), versions(), keys, *rows)] = (number, work)


def _result(ray: Any, queue: _Queue, task: Any) -> Result | None:
    """The result of a task; None where its node was lost and the batch waits again.

    Raises:
        InputError: what a task raised, or a batch that was lost too often.
    """
    node, work = queue.running.pop(task)
    try:
        return ray.get(task)
    except ray.exceptions.RayTaskError as error:
        if not isinstance(error.cause, ray.exceptions.RayError):
            raise error.cause from (None if isinstance(error.cause, InputError) else error)
        lost = error.cause
    except ray.exceptions.RayError as error:
        lost = error
    members = f"members {work.members[0]} to {work.members[-1]}"
    reason = f"{type(lost).__name__}: {_first_line(lost).partition('. ')[0]}"
    queue.losses[work.members[0]] = queue.losses.get(work.members[0], 0) + 1
    queue.resting[node] = time.monotonic() + REST_SECONDS
    queue.waiting.appendleft(work)
    require(
        queue.losses[work.members[0]] < MOST_LOSSES,
        f"the cluster lost {members} {MOST_LOSSES} times, the last time by {reason}: see whether its nodes run out of "
        "memory; the same command goes on from here",
    )
    log.warning("mdn-jax: %s were lost with a node and train again (%s)", members, reason)
    return None


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]


def _train_on_node(work: Work, num_cpus: int, expected: dict[str, str], keys: list[str], *rows: Dataset) -> Result:
    """A whole batch on the devices of the machine that runs this."""
    use_cpu_devices(max(1, num_cpus))  # once: this process may have trained a batch before
    own = versions()
    differing = ", ".join(f"{name} {own[name]}, not {expected[name]}" for name in own if own[name] != expected[name])
    require(not differing, f"node {socket.gethostname()} has {differing}: install the same versions on every node")
    tables = dict(zip(keys, rows, strict=True))
    slices = begin(work, Source(lambda config: tables[config.model_dump_json()]))
    for _, after in train_work(work, slices):
        slices = after
    return collect(work, slices)


def _nodes(ray: Any) -> list[dict[str, Any]]:
    """Nodes that are there and take tasks."""
    return [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) >= 1]


def _cut(works: list[Work], num_nodes: int) -> list[Work]:
    """At least as many batches as nodes, where members can be told apart: rivals of halving train together."""
    count = -(-num_nodes // len(works))
    return [part for work in works for part in ([work] if work.halving else _parts(work, count))]


def _parts(work: Work, count: int) -> list[Work]:
    count = max(1, min(count, len(work.members)))
    parts = []
    for places in np.array_split(np.arange(len(work.members)), count):
        members, settings, configs = (
            tuple(column[place] for place in places) for column in (work.members, work.settings, work.configs)
        )
        parts.append(replace(work, members=members, settings=settings, configs=configs, slots=-(-work.slots // count)))
    return parts


def _ship(ray: Any, work: Work, source: Source, shipped: dict[str, Any]) -> None:
    """A batch's rows to Ray's object store, from which every node fetches them once."""
    for config in work.configs:
        key = config.dataset.model_dump_json()
        if key not in shipped:
            shipped[key] = ray.put(replace(source.dataset(config), log_density=None))  # it stays here


def _ray() -> Any:
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    try:
        import ray  # noqa: PLC0415  (an extra)
        import ray.util.scheduling_strategies  # noqa: PLC0415
    except ImportError:
        raise InputError("--cluster needs Ray: pip install 'mdn-jax[cluster]'") from None
    return ray


def _connect(ray: Any, address: str) -> None:
    """Join a cluster, or start one; a process has one connection at a time, and an old one ends here."""
    if address != "local":
        _require_answer(address)
    handler = signal.getsignal(signal.SIGTERM)
    ray.shutdown()
    options = {"include_dashboard": False} if address == "local" else {}
    try:
        with warnings.catch_warnings():
            # JAX's own threads do not hinder a child that becomes another program at once
            warnings.filterwarnings("ignore", "os.fork", RuntimeWarning)
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **options)
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise InputError(f"cannot join the Ray cluster at {address}: {_first_line(error)}") from None
    finally:
        with contextlib.suppress(ValueError):  # only the main thread has handlers
            signal.signal(signal.SIGTERM, handler)  # Ray's would end the process before anything is saved
    # tasks on this machine need the memory of its GPU
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")


def _require_answer(address: str) -> None:
    """Refuse an address at which no Ray cluster answers: `ray.init` would try for minutes, and end the process."""
    cure = "start one with `ray start --head`, or use --cluster local"
    host, _, port = address.rpartition(":")
    named = address == "auto" or (bool(host) and port.isdigit() and "/" not in host)
    require(named, f"--cluster takes auto, local or the HOST:PORT of a Ray cluster; got {address!r}")
    command = [sys.executable, "-m", "ray.scripts.scripts", "health-check"]
    try:
        if address != "auto":
            socket.create_connection((host, int(port)), timeout=REACH_SECONDS).close()
            command += ["--address", address]
        answer = subprocess.run(command, capture_output=True, check=False, timeout=ANSWER_SECONDS).returncode == 0
    except (OSError, OverflowError, subprocess.TimeoutExpired):
        answer = False
    require(answer, f"no Ray cluster at {address}: {cure}")

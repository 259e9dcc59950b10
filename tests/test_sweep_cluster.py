"""A sweep on a Ray cluster is the sweep of one process, whatever becomes of the nodes."""

import socket
import sys
import time
from types import SimpleNamespace

import pytest
from small_runs import TEXT
from small_sweeps import GRID, TPE, assert_same_sweep, space_of, sweep

from mdn_jax import cli
from mdn_jax._checks import InputError
from mdn_jax.data import load
from mdn_jax.storage import read_rows
from mdn_jax.sweeps import cluster, planning
from mdn_jax.sweeps.cluster import on_cluster
from mdn_jax.sweeps.driver import Interrupted
from mdn_jax.sweeps.search import Members

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("no_sweep_figures"),
    # the simulated cluster starts its processes by fork, and each of them becomes another program at once
    pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning"),
]
LONG = TEXT.replace("num_steps = 40", "num_steps = 20_000").replace("evaluate_every = 10", "evaluate_every = 500")
PORT_OF_NOBODY = "127.0.0.1:1"


@pytest.fixture(scope="module")
def simulated():
    """A cluster on this machine whose head trains nothing; `has(n)` gives it n nodes that do."""
    ray = cluster._ray()
    from ray.cluster_utils import Cluster  # noqa: PLC0415

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})

    def has(count):
        for _ in range(count - len(made.worker_nodes)):
            made.add_node(num_cpus=1)

    yield SimpleNamespace(address=made.address, add=made.add_node, remove=made.remove_node, has=has, of=made)
    ray.shutdown()
    made.shutdown()


@pytest.fixture
def queues(monkeypatch):
    """The queue of every round, as the driver sees it, and in `asked` the members that it began with."""
    seen, hand_out = [], cluster._hand_out

    def spy(ray, queue):
        if queue not in seen:
            seen.append(queue)
            queue.asked = {member for work in queue.waiting for member in work.members}
        hand_out(ray, queue)

    monkeypatch.setattr(cluster, "_hand_out", spy)
    return seen


def test_a_node_that_joins_trains(simulated, tmp_path):
    simulated.has(0)
    joined = []

    def join(progress):
        if not joined and not progress.running:  # nobody is there yet
            joined.append(simulated.add(num_cpus=2))

    sweep(tmp_path / "one")
    sweep(tmp_path / "cluster", train=on_cluster(simulated.address), on_progress=join)
    assert joined
    assert_same_sweep(tmp_path / "one", tmp_path / "cluster")


def test_a_search_that_asks_again_finds_the_same(simulated, tmp_path):
    simulated.has(2)
    sweep(tmp_path / "one", TPE)
    sweep(tmp_path / "cluster", TPE, train=on_cluster(simulated.address))
    assert_same_sweep(tmp_path / "one", tmp_path / "cluster")


def test_a_lost_node_loses_nothing(simulated, tmp_path, monkeypatch, queues):
    """Three nodes, of which one goes half-way without a word; the driver goes too, and another goes on."""
    simulated.has(3)
    monkeypatch.setattr(planning, "MOST_IN_TURN", 1)  # eight batches
    ray, lost = cluster._ray(), []

    def lose(progress):
        running = queues[-1].running if queues else {}
        for task, (name, _) in list(running.items()):
            node = next((one for one in simulated.of.worker_nodes if one.node_id == name), None)
            if progress.done and node and not lost and not ray.wait([task], timeout=0)[0]:
                simulated.remove(node, allow_graceful=False)
                lost.append(name)

    sweep(tmp_path / "one", text=LONG)
    sweep(tmp_path / "cluster", text=LONG, train=on_cluster(simulated.address), on_progress=lose)
    assert len(lost) == 1 and lost[0] in queues[-1].resting
    assert sum(queues[-1].losses.values()) >= 1
    assert_same_sweep(tmp_path / "one", tmp_path / "cluster")


def test_a_new_driver_goes_on_from_the_record(simulated, tmp_path, monkeypatch, queues):
    simulated.has(2)
    monkeypatch.setattr(planning, "MOST_IN_TURN", 2)  # four batches
    sweep(tmp_path / "one")
    done = []
    with pytest.raises(Interrupted):
        sweep(
            tmp_path / "cluster",
            train=on_cluster(simulated.address),
            on_progress=lambda progress: done.append(progress.done),
            should_stop=lambda: done[-1] > 0,
        )
    assert 0 < done[-1] < 8
    finished = set(read_rows(tmp_path / "cluster" / "batches")[0])
    sweep(tmp_path / "cluster", train=on_cluster("local"))
    assert len(finished) == done[-1] and queues[-1].asked == set(range(8)) - finished
    assert_same_sweep(tmp_path / "one", tmp_path / "cluster")


@pytest.mark.parametrize("address", [PORT_OF_NOBODY, "no.such.host.invalid:6379", "nonsense", "ray://127.0.0.1:10001"])
def test_nobody_at_the_address(tmp_path, monkeypatch, capsys, address):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.toml").write_text(f"{TEXT}\n[sweep]\n{GRID}", encoding="utf-8")
    began = time.monotonic()
    assert cli.main(["sweep", "small.toml", "--cluster", address]) == 2
    printed = capsys.readouterr().err
    assert len(printed.splitlines()) == 1 and address in printed and "local" in printed
    assert time.monotonic() - began < 30
    assert [path.name for path in tmp_path.iterdir()] == ["small.toml"]


def test_somebody_else_at_the_address(monkeypatch):
    monkeypatch.setattr(cluster, "ANSWER_SECONDS", 3.0)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        with pytest.raises(InputError, match=f"no Ray cluster at {address}: start one with `ray start --head`"):
            on_cluster(address)


def test_ray_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"pip install 'mdn-jax\[cluster\]'"):
        on_cluster("auto")


def test_nodes_of_other_versions_are_refused():
    with pytest.raises(InputError, match=r"has jax .*, not 0\.0\.1: install the same versions on every node"):
        cluster._train_on_node(works()[0], 1, {**cluster.versions(), "jax": "0.0.1"}, [])


def works(table=GRID):
    return planning.next_works(Members(space_of(table)), {}, planning.Shard(), cluster.Source(load))


@pytest.mark.parametrize(("nodes", "lengths"), [(0, [8]), (1, [8]), (3, [3, 3, 2]), (20, [1] * 8)])
def test_there_are_batches_for_every_node(nodes, lengths):
    parts = cluster._cut(works(), nodes)
    assert [len(part.members) for part in parts] == lengths
    assert sum((part.members for part in parts), ()) == works()[0].members
    assert sum((part.configs for part in parts), ()) == works()[0].configs
    assert all(len(part.members) <= part.slots for part in parts)


def test_rivals_stay_together():
    cohorts = works(GRID + "halving = true\nask_batch = 4\n")
    assert cluster._cut(cohorts, 10) == cohorts


def failing(error):
    """A Ray whose tasks all end with an error, and a queue in which one runs."""
    ray = cluster._ray()

    def get(task):
        raise error

    queue = cluster._Queue(cluster.deque(), {}, {"task": ("node", works()[0])})
    return SimpleNamespace(get=get, exceptions=ray.exceptions), queue


def test_what_a_batch_raises_reaches_the_user():
    error = cluster._ray().exceptions.RayTaskError("train", "a traceback", InputError("one line"))
    ray, queue = failing(error.as_instanceof_cause())
    with pytest.raises(InputError, match=r"^one line$"):
        cluster._result(ray, queue, "task")
    assert not queue.waiting


def test_a_batch_that_is_lost_again_and_again_is_given_up():
    ray, queue = failing(cluster._ray().exceptions.WorkerCrashedError())
    for _ in range(cluster.MOST_LOSSES - 1):
        assert cluster._result(ray, queue, "task") is None
        queue.running["task"] = ("node", queue.waiting.popleft())
    with pytest.raises(InputError, match=r"lost members 0 to 7 5 times, the last time by WorkerCrashedError"):
        cluster._result(ray, queue, "task")

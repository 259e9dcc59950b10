"""The laws of sweeps: a member is the run of its config, whatever trains beside it, in however many pieces."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from small_runs import FOLDER, content, names
from small_sweeps import (
    BASE,
    GRID,
    HALVING,
    RANDOM,
    assert_same_model,
    assert_same_sweep,
    space_of,
    sweep,
    table_of,
    told,
)

import mdn_jax as mdn
from mdn_jax import runs
from mdn_jax.storage import read_member, read_rows, read_trained
from mdn_jax.sweeps import planning, training
from mdn_jax.sweeps.planning import Shard
from mdn_jax.sweeps.search import Members

pytestmark = pytest.mark.usefixtures("no_sweep_figures")
LEAST_SQUARES = BASE.replace("num_components = 2", "num_components = 1") + 'objective = "squared_error"\n'


@pytest.fixture(scope="module")
def finished(tmp_path_factory, no_sweep_figures):
    """The folder of a grid of four learning rates, one of them far too high, and two seeds."""
    folder = tmp_path_factory.mktemp("sweeps") / "small"
    sweep(folder)
    return folder


@pytest.fixture
def no_members_train(monkeypatch):
    """Sweeps that fail where they would train."""
    monkeypatch.setattr(training, "advance", None)
    monkeypatch.setattr(training, "compile_chunk", None)


# A member is a run


def assert_is_the_run(folder, space, member, run_folder, rtol=0.0):
    metrics = runs.run(Members(space).configs[member], run_folder)
    one = read_member(folder / "batches", member)
    assert_same_model(one.model, mdn.load(run_folder), rtol)
    assert_same_model(mdn.load(folder, member=member), mdn.load(run_folder), rtol)
    for name in ("status", "best_step", "num_parameters", "num_train", "num_validation"):
        assert one.row[name] == metrics[name], name
    for name in ("val_nll", "test_nll"):
        assert_allclose(one.row[name], metrics[name], rtol=rtol, err_msg=name)
    history = runs.history.read_history(run_folder / "history.csv")
    assert history.keys() == one.history.keys()
    for name, column in history.items():
        assert_allclose(one.history[name], column.astype(one.history[name].dtype), rtol=rtol, atol=rtol)


@pytest.mark.parametrize("member", [1, 2, 4, 7])
def test_a_member_is_the_run_of_its_config(finished, tmp_path, member):
    assert_is_the_run(finished, space_of(GRID), member, tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "rtol"), [(BASE + "ensemble_size = 3\n", 0.0), (LEAST_SQUARES, 1e-5)], ids=["ensemble", "squared_error"]
)
def test_members_of_other_kinds_are_runs_too(tmp_path, text, rtol):
    # at the level at which tests compile, not at the package's own, least squares differs in its last bit
    axis = '"training.learning_rate" = [0.01, 0.05]\n'
    sweep(tmp_path / "sweep", axis, text)
    assert_is_the_run(tmp_path / "sweep", space_of(axis, text), 1, tmp_path / "run", rtol)


def test_random_members_are_runs_too(tmp_path):
    sweep(tmp_path / "sweep", RANDOM)
    assert_is_the_run(tmp_path / "sweep", space_of(RANDOM), 5, tmp_path / "run")


# Independence


def test_the_size_of_a_batch_changes_nothing(finished, tmp_path, monkeypatch):
    monkeypatch.setattr(planning, "MOST_IN_TURN", 4)
    sweep(tmp_path / "sweep")
    assert len(list((tmp_path / "sweep/batches").glob("*.json"))) == 2
    assert_same_sweep(tmp_path / "sweep", finished)


def test_shards_change_nothing_and_the_last_writes_the_table(finished, tmp_path):
    folder = tmp_path / "sweep"
    assert len(sweep(folder, shard=Shard(1, 2))) == 4
    assert not (folder / "results.csv").exists() and not (folder / "best").exists()
    rows = sweep(folder, shard=Shard(2, 2))
    assert sorted(rows) == list(range(8))
    assert_same_sweep(folder, finished)


def test_a_sweep_begun_in_shards_is_finished_by_one(finished, tmp_path):
    sweep(tmp_path / "sweep", shard=Shard(2, 2))
    sweep(tmp_path / "sweep")
    assert_same_sweep(tmp_path / "sweep", finished)


def test_shards_share_cohorts_of_halving(tmp_path, halved):
    folder, table = tmp_path / "sweep", HALVING.replace("ask_batch = 8", "ask_batch = 4")
    sweep(tmp_path / "whole", table)
    sweep(folder, table, shard=Shard(2, 2))
    assert sorted(read_rows(folder / "batches")[0]) == [4, 5, 6, 7]
    sweep(folder, table, shard=Shard(1, 2))
    assert_same_sweep(folder, tmp_path / "whole")


def test_shards_of_tpe_are_refused(tmp_path):
    axes = 'sampler = "tpe"\nnum_members = 4\n' + GRID
    with pytest.raises(mdn.InputError, match=r"--shard trains fixed slices, and sampler tpe asks again"):
        sweep(tmp_path / "sweep", axes, shard=Shard(1, 2))
    assert names(tmp_path) == []


@pytest.mark.parametrize("rate", ["1e6", "1e30"])
def test_a_poisoned_member_leaves_the_rest_as_they_are(finished, tmp_path, rate):
    sweep(tmp_path / "sweep", GRID.replace("1e-3", "3e-3").replace("1e6", rate))
    rows, _ = read_rows(tmp_path / "sweep/batches")
    assert [row["status"] for _, row in sorted(rows.items())] == 6 * ["ok"] + 2 * ["diverged"]
    assert rows[6]["steps"] < 40 if rate == "1e30" else rows[6]["steps"] == 40
    first, other = read_trained(tmp_path / "sweep/batches"), read_trained(finished / "batches")
    for member in (2, 3, 4, 5):
        assert_same_model(first[member].model, other[member].model)
        assert told(rows)[member] == told(read_rows(finished / "batches")[0])[member]


@pytest.mark.slow
def test_there_are_as_many_compilations_as_groups(tmp_path, monkeypatch, compilations):
    monkeypatch.setattr(planning, "MOST_IN_TURN", 2)
    axes = '"model.num_components" = [3, 4]\n"training.weight_decay" = [0.1, 0.2]\nseed = { count = 2 }\n'
    sweep(tmp_path / "sweep", axes)
    assert len(list((tmp_path / "sweep/batches").glob("*.json"))) == 4
    assert compilations.count("jit(_advance)") == 2
    summary = json.loads((tmp_path / "sweep/sweep.json").read_text())
    assert [program["members"] for program in summary["programs"]] == [4, 4]
    before = len(compilations)
    sweep(tmp_path / "again", axes)
    assert len(compilations) == before


# Memory


@pytest.mark.parametrize("where", [("advance",), ("advance", "compile_chunk")])
def test_members_that_do_not_fit_the_device_train_in_two_halves(finished, tmp_path, monkeypatch, where):
    tried = []

    def limited(function):
        def call(state, *rest):
            tried.append(len(state.lanes.step))
            if tried[-1] > 4:
                raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 123 bytes.")
            return function(state, *rest)

        return call

    for name in where:
        monkeypatch.setattr(training, name, limited(getattr(training, name)))
    sweep(tmp_path / "sweep")
    assert tried[0] == 8 and set(tried) == {4, 8}
    assert_same_sweep(tmp_path / "sweep", finished)


def test_other_failures_are_not_taken_for_a_lack_of_memory(tmp_path, monkeypatch):
    def fail(state):
        raise jax.errors.JaxRuntimeError("INTERNAL: something else")

    monkeypatch.setattr(training, "advance", fail)
    with pytest.raises(jax.errors.JaxRuntimeError, match="something else"):
        sweep(tmp_path / "sweep")


# Halving


@pytest.fixture(scope="module")
def halved(tmp_path_factory, no_sweep_figures):
    folder = tmp_path_factory.mktemp("halved") / "small"
    sweep(folder, HALVING)
    return folder


def test_the_worse_half_rests_at_an_eighth_a_quarter_and_a_half(halved, finished):
    whole = read_trained(finished / "batches")
    expected, left = {}, set(whole)
    for evaluations, steps in ((1, 5), (2, 10), (4, 20)):
        loss = {m: np.nan_to_num(whole[m].history["val_loss"][:evaluations], nan=np.inf).min() for m in left}
        worse = sorted(left, key=loss.get)[len(left) // 2 :]
        expected |= dict.fromkeys(worse, steps)
        left -= set(worse)
    expected |= dict.fromkeys(left, 40)
    assert sorted(expected.values()) == [5, 5, 5, 5, 10, 10, 20, 40]
    table = table_of(halved)
    assert {int(row["member"]): int(row["steps"]) for row in table} == expected
    assert {int(row["member"]): row["status"] for row in table} == {
        member: "ok" if steps == 40 else "halved" for member, steps in expected.items()
    }


def test_survivors_of_halving_are_as_without(halved, finished):
    first, whole = read_trained(halved / "batches"), read_trained(finished / "batches")
    for member, one in first.items():
        length = len(one.history["step"])
        for name, column in one.history.items():
            assert_array_equal(column, whole[member].history[name][:length])
        if one.row["status"] == "ok":
            assert_same_model(one.model, whole[member].model)
            assert one.row["val_nll"] == whole[member].row["val_nll"]


def test_the_best_of_halving_has_trained_to_the_end(halved):
    best = next(int(row["member"]) for row in table_of(halved) if row["status"] == "ok")
    assert json.loads((halved / "sweep.json").read_text())["best"] == best


# Results


def test_the_folder(finished):
    expected = {"batches", "best", "config.toml", "figures", "results.csv", "study.journal", "sweep.json"}
    assert {name for name in names(finished) if not name.startswith((".", "progress"))} == expected
    table = table_of(finished)
    assert list(table[0]) == [
        "member", "training.learning_rate", "seed", "val_nll", "test_nll", "status", "steps", "best_step",
        "num_parameters",
    ]  # fmt: skip
    assert [row["seed"] for row in table] == ["1", "2"] * 4
    rows, _ = read_rows(finished / "batches")
    assert [float(row["val_nll"]) for row in table] == [rows[member]["val_nll"] for member in range(8)]


def test_the_best_is_an_ordinary_run_chosen_by_validation(finished, no_training):
    rows, _ = read_rows(finished / "batches")
    best = min((m for m in rows if rows[m]["status"] == "ok"), key=lambda m: rows[m]["val_nll"])
    config, table = runs.read_config(finished / "best/config.toml")
    assert config == Members(space_of(GRID)).configs[best] and table == {}
    assert names(finished / "best") == FOLDER
    before = content(finished / "best")
    metrics = runs.run(config, finished / "best")
    assert metrics["test_nll"] == rows[best]["test_nll"] and metrics["val_nll"] == rows[best]["val_nll"]
    assert content(finished / "best") == before


def test_a_finished_sweep_trains_nothing(finished, no_members_train):
    before = {name: digest for name, digest in content(finished).items() if "progress" not in name}
    rows = sweep(finished)
    assert told(rows) == told(read_rows(finished / "batches")[0])
    assert {name: digest for name, digest in content(finished).items() if "progress" not in name} == before


def test_a_sweep_in_which_all_diverged_is_whole(tmp_path):
    rows = sweep(tmp_path / "sweep", '"training.learning_rate" = [1e28, 1e29, 1e30, 1e31]\nseed.count = 2\n')
    assert [row["status"] for row in rows.values()] == 8 * ["diverged"]
    assert not (tmp_path / "sweep/best").exists() and len(table_of(tmp_path / "sweep")) == 8
    assert json.loads((Path(tmp_path) / "sweep/sweep.json").read_text())["best"] is None

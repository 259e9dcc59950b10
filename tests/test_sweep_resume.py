"""Sweeps that stop at any moment go on to the same table, and folders are never shared, mixed up or overwritten."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from small_runs import LEAST_SQUARES, config_of, content, names, write_table
from small_sweeps import BASE, GRID, SEARCHES, TPE, assert_same_sweep, space_of, stop_after, sweep, table_of

import mdn_jax as mdn
from mdn_jax import runs
from mdn_jax.storage import read_rows
from mdn_jax.sweeps import driver, planning, results, training
from mdn_jax.sweeps.driver import Interrupted, forget, read_status
from mdn_jax.sweeps.planning import Shard

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_sweep_figures")]


@pytest.fixture(scope="module")
def whole(tmp_path_factory, no_sweep_figures):
    """Uninterrupted sweeps by the name of their search, trained when one is asked for."""
    base, folders = tmp_path_factory.mktemp("whole"), {}

    def folder_of(search):
        if search not in folders:
            folders[search] = base / search
            sweep(folders[search], SEARCHES[search])
        return folders[search]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planning, "MOST_IN_TURN", 4)  # two batches
        yield folder_of


@pytest.fixture
def copied(whole, tmp_path):
    """A finished grid that a test may change."""
    return Path(shutil.copytree(whole("grid"), tmp_path / "copied"))


@pytest.fixture
def steps(monkeypatch):
    """How far each chunk begins that is trained."""
    seen, advance = [], training.advance

    def watch(state, *rest):
        seen.append(state.step)
        return advance(state, *rest)

    monkeypatch.setattr(training, "advance", watch)
    return seen


def interrupted(folder, table=GRID, chunks=11, **options):
    with pytest.raises(Interrupted):
        sweep(folder, table, should_stop=stop_after(chunks), **options)
    return folder


def unchanged(folder):
    """The content of a folder but for what only tells who was at work last."""
    return {name: digest for name, digest in content(folder).items() if not name.startswith((".lock", "progress"))}


# Stopped and gone on


@pytest.mark.parametrize("chunks", [1, 11])
@pytest.mark.parametrize("search", SEARCHES)
def test_an_interrupted_sweep_goes_on_to_the_same_table(whole, tmp_path, steps, search, chunks):
    reference = whole(search)
    steps.clear()
    folder = interrupted(tmp_path / "sweep", SEARCHES[search], chunks)
    assert "checkpoint-1-of-1" in names(folder) and "results.csv" not in names(folder)
    done, trained = len(read_rows(folder / "batches")[0]), len(steps)
    assert done < 8
    sweep(folder, SEARCHES[search])
    assert_same_sweep(folder, reference)
    if search != "halving":
        assert trained == chunks and len(steps) == 16  # no chunk is trained twice
    assert not any(name.startswith(("checkpoint", ".checkpoint")) for name in names(folder))


def test_a_sweep_interrupted_after_every_chunk(whole, tmp_path):
    for _ in range(16):
        interrupted(tmp_path / "sweep", chunks=1)
    sweep(tmp_path / "sweep")
    assert_same_sweep(tmp_path / "sweep", whole("grid"))


def test_control_c_keeps_what_was_trained(whole, tmp_path, monkeypatch, steps):
    advance, reference = training.advance, whole("grid")

    def interrupt(state, *rest):
        if len(steps) == 5:
            raise KeyboardInterrupt
        return advance(state, *rest)

    steps.clear()
    with monkeypatch.context() as patch:
        patch.setattr(training, "advance", interrupt)
        with pytest.raises(KeyboardInterrupt):
            sweep(tmp_path / "sweep")
    sweep(tmp_path / "sweep")
    assert len(steps) == 16
    assert_same_sweep(tmp_path / "sweep", reference)


def test_a_failure_after_a_checkpoint_loses_little(whole, tmp_path, monkeypatch, steps):
    reference = whole("grid")
    steps.clear()

    def fail():
        if len(steps) == 13:
            raise OSError("no space left on device")
        return False

    with pytest.raises(OSError, match="no space"):
        sweep(tmp_path / "sweep", should_stop=fail, checkpoint_seconds=0.0)
    sweep(tmp_path / "sweep")
    assert len(steps) == 17 and steps[13] == 20
    assert_same_sweep(tmp_path / "sweep", reference)


def test_results_that_failed_are_made_again(whole, tmp_path, monkeypatch, steps):
    def fail(*_):
        raise OSError("no space left on device")

    reference = whole("grid")
    with monkeypatch.context() as patch:
        patch.setattr(results, "draw", fail)
        with pytest.raises(OSError, match="no space"):
            sweep(tmp_path / "sweep")
    assert "sweep.json" not in names(tmp_path / "sweep")
    steps.clear()
    sweep(tmp_path / "sweep")
    assert steps == []
    assert_same_sweep(tmp_path / "sweep", reference)


# What a kill leaves


def cut(path):
    path.write_bytes(path.read_bytes()[:200])


def damaged_rows(folder):
    cut(sorted((folder / "batches").glob("*.json"))[1])


def damaged_parameters(folder):
    cut(sorted((folder / "batches").glob("*.npz"))[1])


def rows_not_written(folder):
    sorted((folder / "batches").glob("*.json"))[1].unlink()


def half_written(folder):
    path = sorted((folder / "batches").glob("*.json"))[1]
    path.rename(path.with_name(f".{path.name}.123.new"))
    cut(path.with_name(f".{path.name}.123.new"))


@pytest.mark.parametrize("damage", [damaged_rows, damaged_parameters, rows_not_written, half_written])
def test_a_batch_that_is_not_whole_trains_again(whole, copied, steps, damage):
    damage(copied)
    (copied / "sweep.json").unlink()
    sweep(copied)
    assert len(steps) == 8  # one batch of the two
    assert_same_sweep(copied, whole("grid"))


def test_a_damaged_batch_of_a_finished_sweep_trains_again(whole, copied, steps):
    damaged_parameters(copied)
    sweep(copied)
    assert len(steps) == 8
    assert_same_sweep(copied, whole("grid"))
    assert mdn.load(copied, member=7)


def test_a_checkpoint_without_its_rename_is_ignored(whole, tmp_path, steps):
    reference = whole("grid")
    folder = interrupted(tmp_path / "sweep")
    (folder / "checkpoint-1-of-1").rename(folder / ".checkpoint-1-of-1.123.new")
    cut(folder / ".checkpoint-1-of-1.123.new/arrays.npz")
    steps.clear()
    sweep(folder)
    assert len(steps) == 8
    assert_same_sweep(folder, reference)
    assert not any("checkpoint" in name for name in names(folder))


def test_a_checkpoint_between_its_two_renames_is_used(whole, tmp_path, steps):
    reference = whole("grid")
    folder = interrupted(tmp_path / "sweep")
    (folder / "checkpoint-1-of-1").rename(folder / ".checkpoint-1-of-1.123.old")
    steps.clear()
    sweep(folder)
    assert len(steps) == 5
    assert_same_sweep(folder, reference)


def test_a_damaged_checkpoint_costs_its_batch_alone(whole, tmp_path, steps):
    reference = whole("grid")
    folder = interrupted(tmp_path / "sweep")
    cut(folder / "checkpoint-1-of-1/arrays.npz")
    steps.clear()
    sweep(folder)
    assert len(steps) == 8
    assert_same_sweep(folder, reference)


def test_half_a_first_write_is_no_reason_to_refuse(whole, tmp_path):
    folder = tmp_path / "sweep"
    folder.mkdir()
    (folder / ".config.toml.123.new").write_text("seed = ")
    (folder / ".lock-1-of-1").write_text("")
    sweep(folder)
    assert_same_sweep(folder, whole("grid"))


def test_batches_of_another_size_go_on(whole, tmp_path, monkeypatch):
    reference, folder = whole("grid"), interrupted(tmp_path / "sweep")
    monkeypatch.setattr(planning, "MOST_IN_TURN", 128)
    sweep(folder)
    assert_same_sweep(folder, reference)


def test_a_shard_that_was_stopped_goes_on(whole, tmp_path, steps):
    reference, folder = whole("grid"), tmp_path / "sweep"
    steps.clear()
    interrupted(folder, chunks=3, shard=Shard(1, 2))
    assert "checkpoint-1-of-2" in names(folder)
    sweep(folder, shard=Shard(2, 2))
    sweep(folder, shard=Shard(1, 2))
    assert len(steps) == 16
    assert_same_sweep(folder, reference)


# Whose folder


def test_another_sweep_is_refused_with_what_differs(copied):
    before = unchanged(copied)
    with pytest.raises(mdn.InputError) as caught:
        sweep(copied, GRID.replace("1e-3", "2e-3"), BASE.replace("seed = 1", "seed = 3"))
    line = str(caught.value)
    for part in ("holds another sweep; these fields differ: ", "seed: 1 -> 3", "sweep.training.learning_rate: [0.001,"):
        assert part in line
    assert "num_steps" not in line and "--overwrite" in line and "\n" not in line
    assert unchanged(copied) == before


def test_another_search_is_refused(copied):
    with pytest.raises(mdn.InputError, match=r"these fields differ: .*sweep.sampler: grid -> tpe"):
        sweep(copied, TPE)


def test_overwrite_replaces_a_sweep(copied):
    (copied / "ensemble-3").mkdir()
    sweep(copied, GRID.replace("1e-3", "2e-3"), overwrite=True)
    assert table_of(copied)[0]["training.learning_rate"] == "0.002" and "ensemble-3" not in names(copied)


def test_two_at_once_are_refused(copied):
    before = unchanged(copied)
    for held, shard in (("1-of-1", Shard()), ("1-of-1", Shard(1, 2)), ("2-of-3", Shard()), ("2-of-3", Shard(1, 2))):
        with FileLock(copied / f".lock-{held}"), pytest.raises(mdn.InputError, match=r"another process is at work"):
            sweep(copied, shard=shard)
    with FileLock(copied / ".lock-2-of-3"), pytest.raises(mdn.InputError, match=r"another process is at work"):
        forget(space_of(GRID), copied, "diverged")
    with FileLock(copied / ".lock-2-of-3"), pytest.raises(mdn.InputError, match=r"another process is at work"):
        sweep(copied, GRID.replace("1e-3", "2e-3"), overwrite=True)
    assert unchanged(copied) == before
    with FileLock(copied / ".lock-2-of-2"):
        sweep(copied, shard=Shard(1, 2))


STRANGE = [["thesis.tex"], [".git"], ["figures"], ["best"], ["figures", "results.csv"], ["best_of_all.txt"], [".env"]]


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("held", STRANGE, ids=" ".join)
def test_a_folder_of_something_else_is_refused_and_untouched(tmp_path, held, overwrite):
    for name in held:
        (tmp_path / name).write_text("years of work")
    with pytest.raises(mdn.InputError, match=r"is no sweep's folder: choose another with --out"):
        sweep(tmp_path, overwrite=overwrite)
    assert content(tmp_path).keys() == set(held)
    with pytest.raises(mdn.InputError, match=r"is a file: choose another folder with --out"):
        sweep(tmp_path / held[0], overwrite=overwrite)


def test_strangers_beside_a_sweep_are_not_overwritten(copied):
    (copied / "members.tex").write_text("years of work")
    with pytest.raises(mdn.InputError, match=r"holds members.tex and is no sweep's folder"):
        sweep(copied, GRID.replace("1e-3", "2e-3"), overwrite=True)
    assert sweep(copied)  # beside its own they do no harm


def test_a_run_is_no_sweep(tmp_path, no_figures):
    runs.run(config_of(), tmp_path / "run")
    before = content(tmp_path / "run")
    for overwrite in (False, True):
        with pytest.raises(mdn.InputError, match=r"(has no \[sweep\]|is no sweep's folder)"):
            sweep(tmp_path / "run", overwrite=overwrite)
    assert content(tmp_path / "run") == before


FULL = BASE.replace("[model]", '[model]\ncovariance = "full"').replace('name = "sinusoid"\n', "").replace(
    "[dataset]", '[dataset]\npath = "table.csv"\ninputs = []\ntargets = ["speed", "distance"]'
).replace("num_points = 64\nnum_test_points = 100\n", "")  # fmt: skip
RATES = '"training.learning_rate" = [0.1, 0.2]\n'


@pytest.mark.parametrize(
    ("table", "text", "message"),
    [
        (RATES, BASE.replace('"sinusoid"', '"sine"'), "no built-in problem 'sine'"),
        (RATES, LEAST_SQUARES.replace("table.csv", "nowhere.csv"), "nowhere.csv: no such file"),
        ('"dataset.path" = ["table.csv", "nowhere.csv"]', LEAST_SQUARES, "nowhere.csv: no such file"),
        ('sampler = "tpe"\nnum_members = 4\n' + RATES, LEAST_SQUARES.replace("table", "nowhere"), "no such file"),
        ('"dataset.num_points" = [64, 1]', BASE, "y must have at least 2 rows that count; got 1"),
        ('"training.validation_fraction" = [0.001, 0.1]', BASE, "training.validation_fraction = 0.001 keeps none of"),
        ('"training.validation_fraction" = [0.1, 0.99]', BASE, "too few rows to train on"),
        ('"training.objective" = ["nll", "crps"]', FULL, "crps cannot see the correlations of a full covariance"),
    ],
)  # fmt: skip
def test_what_cannot_be_trained_is_refused_before_anything_is_written(tmp_path, monkeypatch, table, text, message):
    monkeypatch.chdir(tmp_path)
    write_table("table.csv")
    with pytest.raises(mdn.InputError) as caught:
        sweep(tmp_path / "runs" / "sweep", table, text)
    assert message in str(caught.value) and names(tmp_path) == ["table.csv"]


# Status and retry


def test_the_status_of_a_sweep(tmp_path, monkeypatch):
    seen = []

    def look():
        if len(seen) < 11:
            seen.append(read_status(tmp_path / "sweep"))
        return len(seen) == 11

    monkeypatch.setattr(driver.Session.tell_progress, "__kwdefaults__", {"force": True})
    monkeypatch.setattr(planning, "MOST_IN_TURN", 4)
    with pytest.raises(Interrupted):
        sweep(tmp_path / "sweep", should_stop=look)
    assert [status["done"] for status in seen] == 8 * [0] + 3 * [4]
    assert all(status["total"] == 8 and status["running"] == 4 for status in seen)
    assert seen[-1]["processes"][0]["share"] == pytest.approx(3 / 8) and seen[-1]["seconds_left"] > 0
    after = read_status(tmp_path / "sweep")
    assert (after["done"], after["running"], after["processes"]) == (4, 0, [])  # who stops says so
    assert after["best"] == min(row["val_nll"] for row in read_rows(tmp_path / "sweep/batches")[0].values())


def test_the_status_of_a_finished_sweep(whole):
    status = read_status(whole("grid"))
    assert (status["done"], status["diverged"], status["running"], status["seconds_left"]) == (8, 2, 0, None)


def test_the_status_of_no_sweep(tmp_path):
    with pytest.raises(mdn.InputError, match=r"no sweep there \(config.toml is missing\)"):
        read_status(tmp_path)


def test_diverged_members_are_trained_again(whole, copied, steps):
    assert forget(space_of(GRID), copied, "diverged") == 2
    assert sorted(read_rows(copied / "batches")[0]) == list(range(6)) and "sweep.json" not in names(copied)
    sweep(copied)
    assert len(steps) == 8
    assert_same_sweep(copied, whole("grid"))
    assert forget(space_of(GRID), copied, "halved") == 0 and "sweep.json" in names(copied)


def test_what_a_sweep_tells_of_itself(whole):
    summary = json.loads((whole("grid") / "sweep.json").read_text())
    assert summary["members"] == 8 and summary["statuses"] == {"ok": 6, "diverged": 2}
    assert [program["members"] for program in summary["programs"]] == [8]
    assert np.isfinite(summary["train_seconds"]) and summary["programs"][0]["compile_seconds"] > 0

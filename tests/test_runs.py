"""A run's folder: what stands in it, that it is whole or goes on, and that the same config gives the same numbers."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from small_runs import FOLDER, LEAST_SQUARES, TEXT, config_of, content, names, write_table

import mdn_jax as mdn
from mdn_jax import runs
from mdn_jax.data import PROBLEMS
from mdn_jax.data import load as load_dataset

CONTRACT = {
    "test_nll", "test_rmse", "test_crps", "coverage_90", "num_parameters", "train_seconds", "compile_seconds",
    "steps_per_second", "status", "versions", "device",
}  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run, figures and all: its folder and its metrics."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    return folder, runs.run(config_of(), folder)


def assert_same_numbers(folder, other):
    """The same model to the last bit, the same history, the same scores."""
    first, second = mdn.load(folder), mdn.load(other)
    assert jax.tree.structure(first) == jax.tree.structure(second)
    for one, two in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        assert_array_equal(one, two)
    assert (folder / "history.csv").read_text() == (other / "history.csv").read_text()
    one, two = (json.loads((path / "metrics.json").read_text()) for path in (folder, other))
    timing = {"train_seconds", "compile_seconds", "steps_per_second", "points_per_second"}
    assert {k: v for k, v in one.items() if k not in timing} == {k: v for k, v in two.items() if k not in timing}


# The folder


def test_a_run_leaves_exactly_its_folder(finished):
    folder, _ = finished
    assert names(folder) == FOLDER and names(folder.parent) == ["small"]
    assert names(folder / "model") == ["arrays.npz", "model.toml"]
    figures = names(folder / "figures")
    assert len(figures) >= 3 and all(name.endswith(".png") for name in figures)
    assert all((folder / "figures" / name).read_bytes()[:4] == b"\x89PNG" for name in figures)


def test_the_resolved_config_says_everything(finished):
    config, sweep = runs.read_config(finished[0] / "config.toml")
    assert config == config_of() and sweep == {}
    text = (finished[0] / "config.toml").read_text()
    assert "learning_rate = 0.01" in text and "clip_norm = inf" in text  # defaults too


def test_metrics_are_the_contract(finished):
    folder, metrics = finished
    assert json.loads((folder / "metrics.json").read_text()) == metrics
    assert metrics.keys() >= CONTRACT | {"oracle_nll", "gap_to_oracle", "val_nll", "num_train", "min_std", "best_step"}
    for name in ("test_rmse", "test_crps", "coverage_90"):
        assert list(metrics[name]) == ["y"] and isinstance(metrics[name]["y"], float)
    assert metrics["status"] == "ok" and metrics["versions"]["jax"] == jax.__version__
    assert "cpu" in metrics["device"] or "gpu" in metrics["device"] or "tpu" in metrics["device"]
    assert (metrics["num_train"], metrics["num_validation"], metrics["num_test"]) == (58, 6, 100)
    assert metrics["num_parameters"] == (1 + 1) * 4 + (4 + 1) * 6
    assert metrics["compile_seconds"] > 0 and metrics["train_seconds"] > 0 and metrics["steps_per_second"] > 0


def test_scores_are_those_of_the_saved_model(finished):
    folder, metrics = finished
    data = load_dataset(config_of().dataset)
    scores = mdn.evaluate(mdn.load(folder), data.test.x, data.test.y)
    assert metrics["test_nll"] == scores.nll.mean()
    assert metrics["test_rmse"]["y"] == pytest.approx(np.sqrt((scores.error**2).mean()))
    exact = -PROBLEMS["sinusoid"].log_density(data.test.x, data.test.y)  # pyright: ignore[reportOptionalCall]
    assert metrics["oracle_nll"] == exact.mean()
    assert metrics["gap_to_oracle"] == pytest.approx(metrics["test_nll"] - metrics["oracle_nll"], abs=1e-9)
    model = mdn.load(folder)
    assert (model.input_names, model.target_names) == (("x",), ("y",))
    assert_allclose(metrics["min_std"]["y"], 1e-3 * model.targets.scale[0], rtol=1e-12)


def test_history_is_a_table(finished):
    with (finished[0] / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["step"]) for row in rows] == [10, 20, 30, 40]
    assert set(rows[0]) == {"step", "train_loss", "val_loss", "learning_rate"}
    best = min(float(row["val_loss"]) for row in rows)
    assert finished[1]["val_nll"] == pytest.approx(best, abs=1e-5)


def test_figures_are_drawn_again(finished, no_training):
    folder, _ = finished
    before = content(folder)
    (folder / "figures" / "loss.png").unlink(missing_ok=True)
    paths = runs.draw_figures(folder)
    assert sorted(path.name for path in paths) == names(folder / "figures")
    assert content(folder).keys() == before.keys()
    assert {k: v for k, v in content(folder).items() if "figures" not in k} == {
        k: v for k, v in before.items() if "figures" not in k
    }


def test_figures_of_no_run_are_refused(tmp_path):
    with pytest.raises(mdn.InputError, match=r"no finished run there \(metrics.json is missing\)"):
        runs.draw_figures(tmp_path)


def test_a_table_with_least_squares(tmp_path, no_figures):
    write_table(tmp_path / "table.csv")
    (tmp_path / "config.toml").write_text(LEAST_SQUARES)
    config, _ = runs.read_config(tmp_path / "config.toml")
    assert config.dataset.path == str(tmp_path / "table.csv")  # relative to the config, absolute from then on
    metrics = runs.run(config, tmp_path / "run")
    resolved, _ = runs.read_config(tmp_path / "run" / "config.toml")
    assert runs.run(config, tmp_path / "run") == runs.run(resolved, tmp_path / "run") == metrics
    assert metrics["num_parameters"] == 16 + 1  # the network's, and the constant standard deviation
    assert "oracle_nll" not in metrics and list(metrics["test_rmse"]) == ["distance"]
    assert (metrics["num_train"], metrics["num_validation"], metrics["num_test"]) == (27, 3, 10)
    # the same sum in two orders: a Gaussian's nats from its RMSE
    std = float(mdn.std(mdn.load(tmp_path / "run")(np.array([3.0])))[0])
    expected = 0.5 * np.log(2 * np.pi * std**2) + 0.5 * (metrics["test_rmse"]["distance"] / std) ** 2
    assert metrics["test_nll"] == pytest.approx(expected, rel=1e-4)


def test_a_table_that_has_changed_is_told_from_the_one_before(tmp_path, no_figures):
    write_table(tmp_path / "table.csv")
    (tmp_path / "config.toml").write_text(LEAST_SQUARES)
    config, _ = runs.read_config(tmp_path / "config.toml")
    runs.run(config, tmp_path / "run")
    before = content(tmp_path / "run")
    write_table(tmp_path / "table.csv", 41)
    with pytest.raises(
        mdn.InputError, match=r"table.csv has changed since \(dataset.table_checksum: \w{16} -> \w{16}\): choose"
    ):
        runs.run(config, tmp_path / "run")
    resolved, _ = runs.read_config(tmp_path / "run" / "config.toml")
    with pytest.raises(
        mdn.InputError, match=r"table.csv has changed since this config noted its dataset.table_checksum"
    ):
        runs.run(resolved, tmp_path / "other")
    with pytest.raises(mdn.InputError, match=r"table.csv has changed since"):
        runs.draw_figures(tmp_path / "run")
    assert content(tmp_path / "run") == before and not (tmp_path / "other").exists()
    assert runs.run(config, tmp_path / "run", overwrite=True)["num_train"] == 28
    again = runs.run(config, tmp_path / "run")
    (tmp_path / "table.csv").unlink()
    assert runs.run(config, tmp_path / "run") == again  # what is finished needs its table no more
    with pytest.raises(mdn.InputError, match=r"table.csv: no such file"):
        runs.run(config, tmp_path / "new")


# Again


def test_the_resolved_config_gives_the_same_numbers(finished, tmp_path, no_figures):
    config, _ = runs.read_config(finished[0] / "config.toml")
    runs.run(config, tmp_path / "again")
    assert_same_numbers(tmp_path / "again", finished[0])


def test_a_finished_run_is_not_trained_again(finished, no_training):
    before = content(finished[0])
    assert runs.run(config_of(), finished[0]) == finished[1]
    assert content(finished[0]) == before


def test_another_config_in_the_folder_is_refused(finished, no_training):
    before = content(finished[0])
    other = config_of(TEXT.replace("seed = 1", "seed = 2").replace("[4]", "[4, 4]"))
    with pytest.raises(mdn.InputError) as caught:
        runs.run(other, finished[0])
    message = str(caught.value)
    assert "seed: 1 -> 2" in message and "model.hidden_sizes: (4,) -> (4, 4)" in message and "--overwrite" in message
    assert "learning_rate" not in message and "\n" not in message
    assert content(finished[0]) == before


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_of_something_else_is_refused(tmp_path, overwrite, no_training):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(mdn.InputError, match=r"is not a run folder \(no config.toml\): choose another with --out"):
        runs.run(config_of(), tmp_path, overwrite=overwrite)
    with pytest.raises(mdn.InputError, match=r"is not a run folder"):
        runs.run(config_of(), tmp_path / "thesis.tex", overwrite=overwrite)
    assert content(tmp_path).keys() == {"thesis.tex"}


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_with_a_config_of_something_else_is_refused(tmp_path, overwrite, no_training):
    (tmp_path / "config.toml").write_text("[server]\nport = 80\n")
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(mdn.InputError, match=r"beside a run: move it away" if overwrite else r"missing \[dataset\]"):
        runs.run(config_of(), tmp_path, overwrite=overwrite)
    assert content(tmp_path).keys() == {"config.toml", "thesis.tex"}


def test_overwrite_keeps_the_old_run_until_the_new_one_can_start(finished, no_training):
    before = content(finished[0])
    other = config_of(TEXT.replace('"sinusoid"', '"sine"'))
    with pytest.raises(mdn.InputError, match=r"no built-in problem 'sine'"):
        runs.run(other, finished[0], overwrite=True)
    assert content(finished[0]) == before


def test_overwrite_replaces_a_run(tmp_path, no_figures):
    runs.run(config_of(), tmp_path / "run")
    other = config_of(TEXT.replace("seed = 1", "seed = 2"))
    runs.run(other, tmp_path / "run", overwrite=True)
    assert runs.read_config(tmp_path / "run" / "config.toml")[0] == other
    assert names(tmp_path / "run") == FOLDER


# Interrupted

KILLED = """
import os, signal, sys
from pathlib import Path
from small_runs import config_of
from mdn_jax import runs

def watch(step, metrics):
    if step == 30:
        os.kill(os.getpid(), signal.SIGKILL)

runs.run(config_of(), Path(sys.argv[1]), on_evaluation=watch, checkpoint_seconds=0.0)
"""


def test_a_killed_run_goes_on_to_the_same_numbers(finished, tmp_path, no_figures):
    folder = tmp_path / "run"
    arguments = [sys.executable, "-c", KILLED, str(folder)]
    killed = subprocess.run(arguments, cwd=Path(__file__).parent, check=False, capture_output=True)
    assert killed.returncode == -9, killed.stderr
    assert names(folder) == ["checkpoint", "config.toml"]
    with pytest.raises(mdn.InputError, match=r"no saved model there"):
        mdn.load(folder)
    seen = []
    runs.run(config_of(), folder, on_evaluation=lambda step, metrics: seen.append(step))
    assert seen == [30, 40] and names(folder) == FOLDER
    assert_same_numbers(folder, finished[0])


def interrupt(step, metrics):
    if step == 20:
        raise KeyboardInterrupt


def test_an_interrupted_run_goes_on_to_the_same_numbers(finished, tmp_path, no_figures):
    with pytest.raises(KeyboardInterrupt):
        runs.run(config_of(), tmp_path / "run", on_evaluation=interrupt)
    assert names(tmp_path / "run") == ["checkpoint", "config.toml"]
    seen = []
    runs.run(config_of(), tmp_path / "run", on_evaluation=lambda step, metrics: seen.append(step))
    assert seen == [30, 40]
    assert_same_numbers(tmp_path / "run", finished[0])


def test_a_damaged_checkpoint_is_told_not_trusted(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        runs.run(config_of(), tmp_path / "run", on_evaluation=interrupt)
    arrays = tmp_path / "run" / "checkpoint" / "arrays.npz"
    arrays.write_bytes(arrays.read_bytes()[:-40])
    with pytest.raises(mdn.InputError, match=r"checkpoint: arrays.npz is damaged"):
        runs.run(config_of(), tmp_path / "run")


def test_a_run_that_fails_while_drawing_goes_on(finished, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(runs.writing, "_draw", fail)
    with pytest.raises(OSError, match="no space left"):
        runs.run(config_of(), tmp_path / "run")
    assert "metrics.json" not in names(tmp_path / "run")
    monkeypatch.setattr(runs.writing, "_draw", lambda folder, *_: folder.mkdir(exist_ok=True))
    runs.run(config_of(), tmp_path / "run")
    assert_same_numbers(tmp_path / "run", finished[0])


def test_stopping_early_is_a_whole_run(tmp_path, no_figures):
    metrics = runs.run(config_of(), tmp_path / "run", on_evaluation=lambda step, metrics: step == 20)
    assert metrics["status"] == "stopped_early" and names(tmp_path / "run") == FOLDER
    assert len((tmp_path / "run" / "history.csv").read_text().splitlines()) == 1 + 2


def test_an_ensemble_and_its_history(tmp_path, no_figures):
    config = config_of(TEXT + "ensemble_size = 2\n")
    metrics = runs.run(config, tmp_path / "run")
    assert metrics["num_parameters"] == 2 * 38 and len(metrics["best_step"]) == 2
    assert len(mdn.load(tmp_path / "run").networks) == 2
    history = runs.history.read_history(tmp_path / "run" / "history.csv")
    assert history["train_loss"].shape == history["step"].shape == (4, 2)


# Configs


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "no such config file"),
        (lambda path: path.mkdir(), "is a folder: give a config file"),
        (lambda path: path.write_bytes(b"\x89PNG\xff\xfe"), "not a text file in UTF-8"),
        (lambda path: path.write_text("seed = \n"), "not valid TOML: .*line 1"),
        (lambda path: path.write_text(""), r"missing \[dataset\]"),
    ],
)
def test_a_config_that_cannot_be_read(tmp_path, make, message):
    make(tmp_path / "a.toml")
    with pytest.raises(mdn.InputError, match=message) as caught:
        runs.read_config(tmp_path / "a.toml")
    assert str(tmp_path / "a.toml") in str(caught.value)


def test_half_a_first_write_is_no_reason_to_refuse(tmp_path, no_figures):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / ".config.toml.123.new").write_text("seed = ")
    assert runs.run(config_of(), folder)["status"] == "ok"

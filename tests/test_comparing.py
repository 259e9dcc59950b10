"""Runs side by side: fields that differ, and a paired test that finds what each NLL alone does not."""

import json

import numpy as np
import pytest
from small_runs import config_of

import mdn_jax as mdn
from mdn_jax import runs
from mdn_jax.cli import main
from mdn_jax.data import load
from mdn_jax.runs.comparing import _paired


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two runs that differ in their steps, and one on other data."""
    base, places = tmp_path_factory.mktemp("compared"), {}
    for name, num_steps, seed in (("short", 4, 0), ("long", 8, 0), ("other", 4, 1)):
        config = config_of()
        training = config.training.model_copy(update={"num_steps": num_steps, "evaluate_every": 4})
        dataset = config.dataset.model_copy(update={"seed": seed})
        runs.run(config.model_copy(update={"training": training, "dataset": dataset}), base / name)
        places[name] = base / name
    return places


def test_the_difference_is_that_of_the_scores_and_its_error_is_paired(folders):
    found = runs.compare_runs([folders["short"], folders["long"]])
    assert found.fields == {"training.num_steps": [4, 8]}
    nll = [one["test_nll"] for one in found.metrics]
    assert found.differences == pytest.approx([0.0, nll[1] - nll[0]], abs=1e-6)
    config, _ = runs.read_config(folders["short"] / "config.toml")
    test = load(config.dataset).test
    each = [mdn.evaluate(mdn.load(folders[name]), test.x, test.y).nll for name in ("short", "long")]
    assert found.errors[1] == pytest.approx(np.std(each[1] - each[0]) / np.sqrt(len(test)), rel=1e-6)
    assert found.errors[0] == 0.0 and found.errors[1] < found.metrics[0]["test_nll_standard_error"]


def test_the_points_of_a_row_count_together():
    rng = np.random.default_rng(0)
    shared, weight = rng.normal(size=(400, 1)), (rng.uniform(size=(400, 7)) < 0.8).astype(float)
    mean, error = _paired(np.broadcast_to(shared, (400, 7)), weight)
    assert mean == pytest.approx(np.average(np.broadcast_to(shared, (400, 7)), weights=weight))
    assert error == pytest.approx(1 / np.sqrt(400), rel=0.1)  # of 400 independent rows, not of 2,240 points


def test_the_best_run_of_a_sweep_stands_for_it(folders, tmp_path):
    (tmp_path / "sweep").mkdir()
    (folders["short"]).rename(tmp_path / "sweep" / "best")
    found = runs.compare_runs([tmp_path / "sweep", folders["long"]])
    (tmp_path / "sweep" / "best").rename(folders["short"])
    assert found.folders[0] == tmp_path / "sweep" / "best"


def test_the_command_shows_both(folders, capsys):
    assert main(["compare", str(folders["short"]), str(folders["long"])]) == 0
    shown = capsys.readouterr().out
    assert "training.num_steps" in shown and "paired" in shown and "coverage" in shown
    value = json.loads((folders["long"] / "metrics.json").read_text())["test_nll"]
    assert f"{value:.4f}" in shown


@pytest.mark.parametrize(
    ("names", "line"),
    [
        (("short",), "compare takes two run folders or more: mdn-jax compare A B"),
        (("short", "other"), "its test rows are not those of"),
        (("short", "nothing"), "no finished run there (metrics.json is missing)"),
    ],
)
def test_mistakes_are_one_line(folders, names, line, capsys):
    paths = [str(folders.get(name, "nothing")) for name in names]
    assert main(["compare", *paths]) == 2
    error = capsys.readouterr().err
    assert line in error and error.count("\n") == 1

"""Runs of pen strokes: through the same trainer, folder, sweep and page as any other kind of experiment."""

import json
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

import mdn_jax as mdn
from mdn_jax import cli, runs
from mdn_jax.config import parse
from mdn_jax.data import load
from mdn_jax.judging import row_nll
from mdn_jax.judging.strokes import judge_strokes
from mdn_jax.models.rows import standard_rows

TEXT = """
[dataset]
name = "strokes"
options = { num_drawings = 80, num_test_drawings = 20, ends = true, length = 96 }
[model]
network = "gru"
network_options = { hidden_size = 6, resets = true }
num_components = 2
covariance = "full"
[training]
num_steps = 4
evaluate_every = 2
batch_size = 4
"""
CONFIG, _ = parse(TEXT, "small.toml")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run of the small config, with its figures, and what it returned."""
    folder = tmp_path_factory.mktemp("strokes") / "run"
    return folder, runs.run(CONFIG, folder)


def test_metrics_tell_nats_per_point(finished):
    folder, metrics = finished
    assert json.loads((folder / "metrics.json").read_text()) == metrics
    assert_allclose(metrics["test_nll"], metrics["test_nll_offset"] + metrics["test_nll_pen"])
    assert metrics["test_nll_without_ends"] < metrics["test_nll"]
    points = metrics["num_test_points"] / metrics["num_test_drawings"]
    assert_allclose(metrics["test_nll_per_sequence"], metrics["test_nll"] * points)
    assert metrics["nll_per"] == "point" and metrics["num_test_drawings"] == 20 and metrics["points_per_second"] > 0
    assert {"test_sse", "pen_calibration_error", "pit_deviation", "normaliser", "min_std", "val_nll"} <= set(metrics)
    assert set(metrics["baselines"]["pen_alone"]) == {"test_nll", "test_sse"}


def test_the_score_is_the_models_own(finished):
    folder, metrics = finished
    model, test = runs.load_run(folder), load(CONFIG.dataset).test
    rows = standard_rows(model, test.x, test.y, weights=test.weight)
    assert_allclose(np.average(row_nll(model, rows), weights=rows.weight), metrics["test_nll"], rtol=1e-5)


def test_the_folder_is_that_of_any_run(finished):
    folder, metrics = finished
    assert {path.stem for path in (folder / "figures").glob("*.png")} == {
        "samples", "test_drawings", "nats_by_step", "pen_calibration", "calibration", "loss",
    }  # fmt: skip
    page = (folder / "report.html").read_text()
    assert "nats per point" in page and page.count("<img") == 6 and "http" not in page
    assert runs.run(CONFIG, folder) == metrics  # finished: nothing is trained
    (folder / "report.html").unlink()
    assert len(runs.draw_figures(folder)) == 6 and (folder / "report.html").read_text() == page


def test_the_command_prints_what_counts(finished, capsys):
    folder, metrics = finished
    assert cli.main(["run", str(folder / "config.toml"), "--out", str(folder)]) == 0
    printed = capsys.readouterr().out
    assert f"{metrics['test_nll']:.4f}" in printed and "nats per point" in printed and "of the pen" in printed


def test_a_table_is_no_question_for_it(finished, tmp_path, capsys):
    table = tmp_path / "table.csv"
    table.write_text("previous_dx,previous_dy,previous_pen,start\n0,0,0,1\n")
    assert cli.main(["predict", str(finished[0]), str(table), "--out", str(tmp_path / "out.csv")]) == 2
    message = capsys.readouterr().err.strip()
    assert message.count("\n") == 0 and "answers sequences" in message and "mdn.rollout" in message
    assert not (tmp_path / "out.csv").exists()


def test_rows_of_one_answer_are_what_evaluate_takes(finished):
    test = load(CONFIG.dataset).test
    with pytest.raises(mdn.InputError, match=r"these are sequences: map mdn\.nll over their steps"):
        mdn.evaluate(runs.load_run(finished[0]), test.x, test.y, weights=test.weight)


def test_whole_offsets_are_scored_beside_the_dequantised(tmp_path, no_figures):
    """Of rounded drawings: the noise is on the test rows too, and both numbers are told with the floor."""
    rng = np.random.default_rng(0)
    walks = [np.column_stack([rng.integers(-9, 10, (12, 2)), np.arange(12) == 11]) for _ in range(60)]
    bounds = np.arange(0, 12 * 61, 12)
    points = np.concatenate(walks)
    arrays = {"train_dxy": points[:, :2], "train_pen": points[:, 2], "train_off": bounds}
    np.savez(tmp_path / "walks.npz", **arrays)
    dataset = CONFIG.dataset.model_copy(
        update={"path": str(tmp_path / "walks.npz"), "options": type(CONFIG.dataset.options)({"length": 96})}
    )
    metrics = runs.run(CONFIG.model_copy(update={"dataset": dataset}), tmp_path / "run")
    assert_allclose(metrics["grain"], 1 / metrics["normaliser"])
    assert np.isfinite(metrics["test_nll_whole"]) and metrics["test_nll_whole"] != metrics["test_nll"]
    assert set(metrics["min_std"]) == {"dx", "dy"}


def test_a_kind_that_there_is_not(tmp_path):
    data = load(CONFIG.dataset)
    with pytest.raises(mdn.InputError, match=r"Dataset.kind: no kind 'stroke': .*strokes"):
        runs.run(CONFIG, tmp_path / "run", dataset=replace(data, kind="stroke"))
    assert not (tmp_path / "run").exists()


def test_a_network_without_resets_is_told(tmp_path, no_figures):
    options = type(CONFIG.model.network_options)({"hidden_size": 6})
    model = CONFIG.model.model_copy(update={"network_options": options})
    metrics = runs.run(CONFIG.model_copy(update={"model": model}), tmp_path / "run")
    assert any("model.network_options.resets = true" in said for said in metrics["warnings"])


@pytest.mark.slow
def test_a_member_of_a_sweep_is_its_run_alone(finished, tmp_path, no_figures):
    axes = {"model.num_components": [1, 2], "model.network_options.dropout": [0.0, 0.3]}
    for row in mdn.sweep(CONFIG, axes).table.iter_rows(named=True):
        own = {"dropout": row["model.network_options.dropout"]}
        options = type(CONFIG.model.network_options)({**CONFIG.model.network_options, **own})
        update = {"num_components": row["model.num_components"], "network_options": options}
        config = CONFIG.model_copy(update={"model": CONFIG.model.model_copy(update=update)})
        alone = runs.run(config, tmp_path / str(row["member"]))
        assert_allclose([row["test_nll"], row["val_nll"]], [alone["test_nll"], alone["val_nll"]], rtol=1e-5)


@pytest.mark.slow
def test_an_ensemble_is_judged_as_one(tmp_path, no_figures):
    training = CONFIG.training.model_copy(update={"ensemble_size": 2})
    metrics = runs.run(CONFIG.model_copy(update={"training": training}), tmp_path / "run")
    model, test = runs.load_run(tmp_path / "run"), load(CONFIG.dataset).test
    assert len(model.networks) == 2
    each = [judge_strokes(network, test).nll for network in model.networks]
    together = judge_strokes(model, test).nll
    assert_allclose(together, -np.logaddexp(-each[0], -each[1]) + np.log(2), rtol=1e-4, atol=1e-4)
    assert_allclose(metrics["test_nll"], together.mean(), rtol=1e-5)

"""The proof of the seams: data, a network, a head and an objective of a folder outside the package, by path."""

import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

import mdn_jax as mdn
from mdn_jax import cli

CONFIG = """
[dataset]
name = "own.py:rings"
options = { noise = 0.2 }

[model]
network = "own.py:build"
network_options = { dropout = 0.2 }
head = "own.py:LaplaceSpec"
head_options = { floor = 0.02 }

[training]
objective = "own.py:objective"
num_steps = 400
evaluate_every = 100
batch_size = 32
"""
SWEEP = """
[sweep]
"dataset.options.noise" = [0.2, 0.3]
"model.network_options.dropout" = [0.0, 0.2]
"model.head_options.floor" = [0.02, 0.05]
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the code and its config, and a finished run."""
    folder = tmp_path_factory.mktemp("extending")
    shutil.copy(Path(__file__).parent / "extending" / "own.py", folder)
    (folder / "ring.toml").write_text(CONFIG)
    (folder / "sweep.toml").write_text(CONFIG + SWEEP)
    assert cli.main(["run", str(folder / "ring.toml"), "--out", str(folder / "run")]) == 0
    return folder


def find(place, name):
    from mdn_jax._seams import find  # noqa: PLC0415

    return find(f"{place}/own.py:{name}", {}, "test")


def test_a_run_is_whole(place):
    metrics = json.loads((place / "run" / "metrics.json").read_text())
    assert metrics["status"] == "ok" and np.isfinite(metrics["test_nll"]) and metrics["test_nll"] < 0.6
    assert set(metrics["test_rmse"]) == {"across"}
    assert (place / "run" / "report.html").stat().st_size > 1000
    assert list((place / "run" / "figures").glob("*.png"))
    assert cli.main(["plot", str(place / "run")]) == 0


def test_the_same_command_returns_what_is_there_and_a_changed_option_is_refused(place, capsys):
    arguments = ["run", str(place / "ring.toml"), "--out", str(place / "run")]
    assert cli.main(arguments) == 0
    assert cli.main([*arguments, "--model.network-options.dropout", "0.3"]) == 2
    assert "model.network_options.dropout: 0.2 -> 0.3" in capsys.readouterr().err


def test_a_model_is_loaded_with_its_code_given(place):
    with pytest.raises(mdn.InputError, match=r"load\(path, head=|load\(path, network="):
        mdn.load(place / "run")
    model = mdn.load(place / "run", network=find(place, "build"), head=find(place, "LaplaceSpec"))
    distribution = model(np.array([0.5]))
    assert 0.5 < float(mdn.mean(distribution)[0]) < 1.3
    assert mdn.sample(jax.random.key(0), distribution, (5,)).shape == (5, 1)
    assert float(mdn.quantile(distribution, 0.9)[0]) > float(mdn.mean(distribution)[0])


def test_predictions_are_written(place):
    (place / "new.csv").write_text("angle\n0.5\n-1.0\n")
    out = place / "answers.csv"
    assert cli.main(["predict", str(place / "run"), str(place / "new.csv"), "--out", str(out)]) == 0
    assert len(out.read_text().splitlines()) == 3


def test_a_stopped_run_goes_on_to_the_same_numbers(place):
    x, y = (getattr(find(place, "rings")(noise=0.2).train, name) for name in "xy")
    options = {
        "model": mdn.ModelConfig(network=find(place, "build"), head=find(place, "LaplaceSpec")),
        "training": mdn.TrainingConfig(objective=find(place, "objective"), num_steps=40, evaluate_every=20),
    }
    whole = mdn.fit(jax.random.key(0), x, y, **options)
    state, _ = mdn.advance(mdn.start(jax.random.key(0), x, y, **options))
    mdn.save_state(place / "state", state)
    again = mdn.load_state(place / "state", mdn.start(jax.random.key(0), x, y, **options))
    resumed = mdn.finish(mdn.advance(again)[0])
    np.testing.assert_array_equal(resumed.history["val_loss"], whole.history["val_loss"])


def test_a_sweep_over_an_option_of_each(place):
    assert cli.main(["sweep", str(place / "sweep.toml"), "--out", str(place / "swept")]) == 0
    rows = (place / "swept" / "results.csv").read_text().splitlines()
    assert len(rows) == 9 and "model.network_options.dropout" in rows[0]
    assert (place / "swept" / "best" / "metrics.json").is_file()
    best = json.loads((place / "swept" / "best" / "metrics.json").read_text())
    alone = mdn.sweep(str(place / "sweep.toml"), {"model.network_options.dropout": [0.2]})
    assert alone.table["status"].to_list() == ["ok"] and np.isfinite(best["test_nll"])


def test_a_member_of_a_sweep_is_a_run_alone(place):
    table = mdn.sweep(str(place / "ring.toml"), {"model.network_options.dropout": [0.2]}).table
    metrics = json.loads((place / "run" / "metrics.json").read_text())
    assert table["test_nll"][0] == pytest.approx(metrics["test_nll"], rel=1e-6)


def test_a_changed_source_is_noticed(place, tmp_path, capsys):
    shutil.copytree(place, tmp_path / "copy")
    copy = tmp_path / "copy"
    assert cli.main(["run", str(copy / "ring.toml"), "--out", str(copy / "one"), "--training.num-steps", "20"]) == 0
    (copy / "own.py").write_text((copy / "own.py").read_text() + "\n# another line\n")
    assert cli.main(["run", str(copy / "ring.toml"), "--out", str(copy / "one"), "--training.num-steps", "20"]) == 2
    assert "own.py" in capsys.readouterr().err

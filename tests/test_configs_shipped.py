"""Every shipped config is a document that parses, and trains."""

import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import mdn_jax as mdn
from mdn_jax.data import load
from mdn_jax.runs import read_config
from mdn_jax.sweeps.search import Members
from mdn_jax.sweeps.space import read_space

ROOT = Path(__file__).parents[1]
CONFIGS = sorted((ROOT / "configs").glob("*.toml"))
SWEEPS = {"mixture_count": 640, "random_search": 128}  # members


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """The table of `configs/table_example.toml`, from the script that its header names."""
    path = tmp_path_factory.mktemp("table") / "table.csv"
    script = ROOT / "experiments" / "write_table_example.py"
    subprocess.run([sys.executable, str(script), "--out", str(path), "--rows", "300"], check=True, capture_output=True)
    return path


def test_there_are_some():
    assert len(CONFIGS) >= 8


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_config_says_what_it_is_and_trains_two_steps(path, table):
    text = path.read_text(encoding="utf-8")
    header = [line for line in text.splitlines() if line.startswith("#")]
    assert any(line.startswith("# COMMAND  ") and f"configs/{path.name}" in line for line in header)
    assert any(line.startswith("# EXPECT   ") for line in header)
    config, _ = read_config(path)
    if config.dataset.name == "strokes":
        few = {"num_drawings": 40, "num_test_drawings": 10}
        small = {"options": type(config.dataset.options)({**config.dataset.options, **few})}
    elif config.dataset.path is None:
        small = {"num_points": 200, "num_test_points": 50}
    else:
        assert config.dataset.path == str((ROOT / "experiments/output/table_example.csv").resolve())
        small = {"path": str(table)}
    data = load(config.dataset.model_copy(update=small))
    # one step at a time is one compiled program for both
    training = config.training.model_copy(update={"num_steps": 2, "evaluate_every": 1})
    fit = mdn.fit(jax.random.key(config.seed), **data.for_training, model=config.model, training=training)
    assert fit.status == "ok" and np.isfinite(fit.history["train_loss"]).all()
    total = config.model.num_components * training.ensemble_size
    one = jax.jit(fit.model)(data.test.x[0])
    assert (one.parts[0].logits.shape[-1] if data.kind == "strokes" else one.num_components) == total


@pytest.mark.parametrize("path", sorted((ROOT / "configs" / "sweeps").glob("*.toml")), ids=lambda path: path.stem)
def test_a_sweep_says_what_it_is_and_makes_its_members(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert any(line.startswith("# COMMAND  ") and f"configs/sweeps/{path.name}" in line for line in lines)
    assert any(line.startswith("# EXPECT   ") for line in lines)
    space = read_space(*read_config(path), str(path), path.parent)
    assert len(Members(space).configs) == SWEEPS[path.stem]

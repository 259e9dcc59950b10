"""Experiments so small that they run in a second or two, for the tests of runs and of the command line."""

import hashlib
from pathlib import Path

from mdn_jax.config import parse

TEXT = """
seed = 1

[dataset]
name = "sinusoid"
num_points = 64
num_test_points = 100

[model]
num_components = 2
hidden_sizes = [4]

[training]
num_steps = 40
evaluate_every = 10
batch_size = 16
"""
LEAST_SQUARES = """
[dataset]
path = "table.csv"
inputs = ["speed"]
targets = ["distance"]
test_fraction = 0.25

[model]
num_components = 1
hidden_sizes = [5]

[training]
objective = "squared_error"
num_steps = 20
evaluate_every = 10
batch_size = "full"
"""
FOLDER = ["config.toml", "figures", "history.csv", "metrics.json", "model", "report.html"]


def config_of(text=TEXT):
    return parse(text, "small")[0]


def write_table(path, count=40):
    rows = "".join(f"{i},{0.5 * i + (i * 7 % 5)}\n" for i in range(count))
    Path(path).write_text("speed,distance\n" + rows, encoding="utf-8")


def names(folder):
    return sorted(path.name for path in Path(folder).iterdir())


def content(folder):
    """Every file below a folder with a digest of its bytes."""
    files = (path for path in sorted(Path(folder).rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

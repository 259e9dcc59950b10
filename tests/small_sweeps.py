"""Sweeps so small that they train in a second, and all of one program, for the tests of sweeps."""

import csv
from itertools import count
from pathlib import Path

import jax
from numpy.testing import assert_allclose, assert_array_equal
from small_runs import TEXT

from mdn_jax.config import parse
from mdn_jax.storage import read_trained
from mdn_jax.sweeps.driver import run_sweep
from mdn_jax.sweeps.space import read_space

BASE = TEXT.replace("evaluate_every = 10", "evaluate_every = 5")  # eight chunks
GRID = '"training.learning_rate" = [1e-3, 1e-2, 1e-1, 1e6]\nseed = { count = 2 }\n'
RANGE = '"training.learning_rate" = { low = 1e-4, high = 1e-1, log = true }\nseed = { count = 100 }\n'
RANDOM = 'sampler = "random"\nnum_members = 8\n' + RANGE
TPE = RANDOM.replace("random", "tpe") + "ask_batch = 4\n"
HALVING = GRID + "halving = true\nask_batch = 8\n"
SEARCHES = {"grid": GRID, "random": RANDOM, "tpe": TPE, "halving": HALVING}


def space_of(sweep, text=BASE):
    config, table = parse(f"{text}\n[sweep]\n{sweep}", "small.toml")
    return read_space(config, table, "small.toml", Path())


def sweep(folder, table=GRID, text=BASE, **options):
    """Train a sweep into a folder; its rows by member."""
    return run_sweep(space_of(table, text), folder, **options)


def stop_after(chunks):
    """A `should_stop` that says so once, after some chunks."""
    asked = count(1)
    return lambda: next(asked) == chunks


def table_of(folder):
    """results.csv without the seconds, which differ every time."""
    with (Path(folder) / "results.csv").open(newline="", encoding="utf-8") as file:
        return [{name: cell for name, cell in row.items() if name != "seconds"} for row in csv.DictReader(file)]


def told(rows):
    """Rows without the seconds."""
    return {
        member: {name: value for name, value in row.items() if name != "seconds"}
        for member, row in sorted(rows.items())
    }


def assert_same_model(first, second, rtol=0.0):
    """To the last bit, or within a rounding."""
    assert jax.tree.structure(first) == jax.tree.structure(second)
    for one, other in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        assert_allclose(one, other, rtol=rtol, atol=rtol)


def assert_same_sweep(folder, other):
    """The same table and the same parameters, to the last bit."""
    assert table_of(folder) == table_of(other)
    first, second = read_trained(Path(folder) / "batches"), read_trained(Path(other) / "batches")
    assert sorted(first) == sorted(second)
    for member, one in first.items():
        assert_same_model(one.model, second[member].model)
        assert one.history.keys() == second[member].history.keys()
        for name, column in one.history.items():
            assert_array_equal(column, second[member].history[name])

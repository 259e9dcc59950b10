"""Members side by side, as on GPU and TPU: the same numbers but for rounding, which training then makes larger."""

import numpy as np
import pytest

import mdn_jax as mdn
from mdn_jax import devices
from mdn_jax.sweeps import planning, training
from mdn_jax.training import fitting, starting

CONFIG = mdn.Config(
    dataset=mdn.DatasetConfig(name="inverse_sinusoid", num_points=300, num_test_points=500),
    model=mdn.ModelConfig(num_components=4, hidden_sizes=(8,)),
    training=mdn.TrainingConfig(num_steps=300, evaluate_every=10, batch_size=32),
)
AXES = {"seed": {"count": 6}, "training.learning_rate": [0.01, 1e30]}


@pytest.fixture
def side_by_side(monkeypatch):
    """Members under `vmap` on every kind of device; programs of the other form are forgotten before and after."""

    def forget():
        for program in (fitting._advance, starting._start_networks, training._nll_of_members):
            program.clear_cache()

    forget()
    for module in (devices, planning, training):
        monkeypatch.setattr(module, "runs_in_turn", lambda: False)
    yield
    forget()


@pytest.fixture(scope="module")
def in_turn():
    """The sweep as CPUs run it."""
    return mdn.sweep(CONFIG, AXES)


def test_members_side_by_side_differ_by_rounding(in_turn, side_by_side):
    other = mdn.sweep(CONFIG, AXES)
    diverged = [row["status"] == "diverged" for row in in_turn.rows.values()]
    assert diverged == [row["status"] == "diverged" for row in other.rows.values()] == [False, True] * 6
    whole = [member for member in in_turn.rows if not diverged[member]]
    first, second = ([result.trained[member].history for member in whole] for result in (in_turn, other))
    for one, same in zip(first, second, strict=True):  # the first row is the mean over the first ten steps
        np.testing.assert_allclose(one["train_loss"][0], same["train_loss"][0], atol=1e-5)
    ends, others = (np.array([result.rows[member]["test_nll"] for member in whole]) for result in (in_turn, other))
    spread = ends.std()
    assert (np.abs(ends - others) < spread).all()


@pytest.mark.slow
def test_halving_drops_members_side_by_side(side_by_side):
    result = mdn.sweep(CONFIG, {"seed": {"count": 8}, "halving": True})
    ends = sorted((row["status"], row["steps"]) for row in result.rows.values())
    assert ends == [*[("halved", 40)] * 4, *[("halved", 80)] * 2, ("halved", 150), ("ok", 300)]

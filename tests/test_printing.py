"""What stands in a notebook is one short line."""

import jax
import numpy as np
import pytest

import mdn_jax as mdn

X = np.linspace(-1, 1, 40)[:, None]


@pytest.mark.parametrize("size", [1, 2])
def test_reprs_are_one_short_line(size):
    names = tuple(f"input number {index}" for index in range(1))
    training = mdn.TrainingConfig(num_steps=1, evaluate_every=1, ensemble_size=size)
    state = mdn.start(jax.random.key(0), X, X**2, training=training, input_names=names, target_names=("y",))
    done = mdn.finish(mdn.advance(state)[0])
    for value in (state, done, done.model, mdn.evaluate(done.model, X, X**2)):
        told = repr(value)
        assert told.startswith(type(value).__name__ + "(") and "\n" not in told and len(told) < 250, told
    assert "status='ok'" in repr(done)

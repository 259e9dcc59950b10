"""Extremes of pen strokes: far offsets, correlations of 1, and batches of little else than padding."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mdn_jax as mdn

SPEC = mdn.ProductSpec((mdn.MixtureSpec(20, 2, "full"), mdn.CategoricalSpec(3)))
SHORT = mdn.TrainingConfig(num_steps=4, evaluate_every=2, batch_size=4)
MODEL = mdn.ModelConfig(
    network="lstm", network_options={"hidden_size": 4, "resets": True}, num_components=3, covariance="full"
)


@pytest.mark.parametrize("size", [1.0, 1e2, 1e4])
@pytest.mark.parametrize("raw_size", [1.0, 30.0, 1e4])  # of the whitener's entries too: correlations of 1, to rounding
def test_far_offsets_have_finite_nats_and_gradients(size, raw_size):
    keys = jax.random.split(jax.random.key(0), 3)
    raw = raw_size * jax.random.normal(keys[0], (200, SPEC.num_outputs))
    y = jnp.column_stack([size * jax.random.normal(keys[1], (200, 2)), jax.random.randint(keys[2], (200,), 0, 3)])
    value_and_gradient = jax.vmap(jax.value_and_grad(lambda raw, y: mdn.nll(mdn.unpack(SPEC, raw), y)))
    values, gradients = jax.jit(value_and_gradient)(raw, y)
    assert np.isfinite(values).all() and np.isfinite(gradients).all()


def test_rows_that_are_padding_but_for_one_drawing():
    """One point in the whole of a row, and one row in the whole of a batch."""
    line = np.column_stack([np.linspace(0, 1, 9), np.linspace(0, 2, 9) ** 2, np.arange(9) == 8])
    data = mdn.stroke_dataset([line, line[-1:], line[-2:]] * 4, [line[-1:]], length=64)
    weight = np.zeros_like(data.train.weight)
    weight[0, :1] = 1.0
    only = {**data.for_training, "weights": np.vstack([weight, data.train.weight])}
    only |= {name: np.concatenate([only[name]] * 2) for name in ("x", "y")}
    done = mdn.fit(jax.random.key(0), **only, model=MODEL, training=SHORT)
    assert done.status == "ok" and np.isfinite(done.history["train_loss"]).all()


def test_padding_changes_nothing():
    """Of the same drawings in rows of any length the loss is the same, whatever stands in the padding."""
    rng = np.random.default_rng(0)
    lines = [np.column_stack([rng.normal(size=(n, 2)), np.arange(n) == n - 1]) for n in rng.integers(3, 9, 12)]
    losses = []
    for length, filled in ((8, 0.0), (20, 0.0), (20, 7.0)):
        data = mdn.stroke_dataset(lines, lines[:1], length=length)
        x, y, weight = data.train.x, data.train.y, data.train.weight
        padded = weight[..., None] == 0
        done = mdn.fit(
            jax.random.key(0), np.where(padded, filled, x), np.where(padded, np.array([filled, filled, 0.0]), y),
            weights=weight, num_classes=data.num_classes, model=MODEL,
            training=SHORT.model_copy(update={"batch_size": "full", "validation_fraction": 0.0}),
        )  # fmt: skip
        losses.append(done.history["train_loss"])
    np.testing.assert_allclose(losses[1:], [losses[0]] * 2, rtol=2e-5)

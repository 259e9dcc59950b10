"""Recurrent networks: against the formulas, a loop of steps, finite differences and a known law; and futures."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import mdn_jax as mdn
from mdn_jax.judging.scoring import row_nll
from mdn_jax.models.rows import ROWS_AT_ONCE, standard_rows
from mdn_jax.networks import NETWORKS
from mdn_jax.training import lane

RNG = np.random.default_rng(0)
X = RNG.normal(size=(12, 4, 3))  # (T, B, X)
CELLS = ("lstm", "gru")
WALKS = RNG.normal(size=(40, 13, 1)).cumsum(axis=1)


def network_of(cell, num_layers=2, **options):
    """Untrained, 5 units a layer, 6 outputs."""
    return NETWORKS[cell](jax.random.key(0), jnp.zeros((12, 3)), 6, hidden_size=5, num_layers=num_layers, **options)


def rows(dtype=float):
    return jnp.asarray(X.swapaxes(0, 1), dtype)


@functools.cache
def trained(cell, **options):
    """A model of random walks after two steps."""
    model = mdn.ModelConfig(network=cell, network_options={"hidden_size": 4, **options}, num_components=2)
    training = mdn.TrainingConfig(num_steps=2, evaluate_every=1, batch_size=8)
    return mdn.fit(jax.random.key(1), WALKS[:, :-1], WALKS[:, 1:], model=model, training=training).model


# The layers


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def by_hand(cell, network, x):
    """The formulas of Hochreiter and Schmidhuber, and of Cho, one step and layer after the other, in NumPy."""
    sizes = [len(layer.before[...]) for layer in network.layers]
    h, c, out = [np.zeros(size) for size in sizes], [np.zeros(size) for size in sizes], []
    for point in x:
        below = point
        for number, layer in enumerate(network.layers):
            w, u, b = (np.asarray(part, np.float64) for part in layer.weights)
            from_below, from_before = below @ w + b, h[number] @ u
            if cell == "lstm":
                i, f, g, o = np.split(from_below + from_before, 4)
                c[number] = sigmoid(f) * c[number] + sigmoid(i) * np.tanh(g)
                h[number] = sigmoid(o) * np.tanh(c[number])
            else:
                (r, z, n), (r2, z2, n2) = np.split(from_below, 3), np.split(from_before, 3)
                update = sigmoid(z + z2)
                h[number] = (1 - update) * np.tanh(n + sigmoid(r + r2) * n2) + update * h[number]
            below = np.concatenate([point, h[number]])
        out.append(np.concatenate(h) @ np.asarray(network.kernel[...], np.float64))
    return np.stack(out)


@pytest.mark.parametrize("cell", CELLS)
def test_layers_are_the_formulas(cell):
    with jax.enable_x64(True):
        network = network_of(cell)
        for x in rows():
            assert_allclose(network(x), by_hand(cell, network, x), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("resets", [False, True])
def test_gradients_are_those_of_a_loop_of_steps(cell, resets):
    """The layers' own reverse rule against autodiff through single steps, which do not use it."""
    x, weigh = rows(), jnp.asarray(RNG.normal(size=(4, 12, 6)), jnp.float32)

    def looped(network, x):
        state, out = network.initial_state(), []
        for point in x:
            state, raw = network.step(state, point)
            out.append(raw)
        return jnp.stack(out)

    def loss(network, x, forward):
        return jnp.sum(weigh * forward(network, x))

    network = network_of(cell, resets=resets)
    ways = {
        "loop": jax.vmap(looped, (None, 0)),
        "rows": lambda network, x: network.rows(x),
        "mapped": jax.vmap(lambda network, x: network(x), (None, 0)),
    }
    found = {
        name: jax.jit(jax.value_and_grad(loss, (0, 1)), static_argnums=2)(network, x, way) for name, way in ways.items()
    }
    for name in ("rows", "mapped"):
        for one, other in zip(jax.tree.leaves(found[name]), jax.tree.leaves(found["loop"]), strict=True):
            assert_allclose(one, other, rtol=2e-4, atol=2e-5)
    for leaf in jax.tree.leaves(found["rows"][1][0]):
        assert (np.abs(leaf) > 0).mean() > 0.99  # every parameter learns


@pytest.mark.parametrize("cell", CELLS)
def test_a_flag_begins_a_sequence_anew(cell):
    network = network_of(cell, resets=True)
    x = np.float32(X[:, 0])
    x[:, 2] = -0.5
    x[[0, 7], 2] = 2.0  # two drawings in one row
    packed, first, second = network(x), network(x[:7]), network(x[7:])
    assert_allclose(packed, np.concatenate([first, second]), rtol=1e-5, atol=1e-6)
    assert not np.allclose(network_of(cell)(x)[7:], second, atol=1e-3)


def test_dropout_draws_anew_for_each_step_row_and_key_and_only_with_one():
    network, still = network_of("lstm", dropout=0.5), network_of("lstm")
    same = jnp.ones((2, 12, 3))
    assert_array_equal(network.rows(same), still.rows(same))
    keys = jax.random.split(jax.random.key(2), 2)
    drawn = np.asarray(network.rows(same, keys))
    assert_allclose(drawn[0], network(same[0], keys[0]), rtol=1e-5, atol=1e-6)
    assert not np.allclose(drawn[0], drawn[1], atol=1e-3)
    # of the first layer's 5 outputs and the second's, some are missing: each step its own
    kernel = np.asarray(network_of("lstm", 1, dropout=0.5).kernel[...])
    missing = np.linalg.lstsq(kernel.T, np.asarray(network_of("lstm", 1, dropout=0.5)(same[0], keys[0])).T)[0].T
    patterns = np.abs(missing) < 1e-5
    assert len(np.unique(patterns, axis=0)) > 6
    assert 0.25 < patterns.mean() < 0.75
    many = jax.random.split(jax.random.key(3), 4_000)
    one = network_of("lstm", 1, dropout=0.5)
    mean = jax.vmap(lambda key: one(same[0], key))(many).mean(axis=0)
    assert_allclose(mean, one(same[0]), atol=0.05)  # what is kept is larger by as much


@pytest.mark.parametrize("cell", CELLS)
def test_double_precision_and_strict_promotion(cell):
    with jax.enable_x64(True), jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        model = trained.__wrapped__(cell, dropout=0.1, num_layers=2)
        assert {leaf.dtype for leaf in jax.tree.leaves(model.conditional)} == {jnp.dtype("float64")}
        state, distribution = model.step(model.initial_state(), WALKS[0, 0])
        assert_allclose(distribution.locs, model(WALKS[0, :-1]).locs[0], rtol=1e-10)
        future = mdn.rollout(jax.random.key(0), model, np.zeros(1), 3, following=lambda y: y, state=state)
        assert future.dtype == jnp.float64


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden_size": 0}, "model.network_options.hidden_size must be at least 1; got 0"),
        ({"num_layers": 0}, "model.network_options.num_layers must be at least 1; got 0"),
        ({"dropout": 1.0}, "model.network_options.dropout must be 0 or more, and below 1; got 1.0"),
        ({"hiden_size": 3}, "model.network_options.hiden_size: lstm takes no 'hiden_size': did you mean 'hidden_size'"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(mdn.InputError, match=message):
        trained("lstm", **({"hidden_size": 4} | options))


def test_rows_that_are_no_sequences_are_refused():
    with pytest.raises(mdn.InputError, match=r"takes sequences, x \(N, T, X\); got rows of shape \(1,\)"):
        mdn.fit(jax.random.key(0), WALKS[:, 0], WALKS[:, 1], model=mdn.ModelConfig(network="gru"))


# Models


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("size", [1, 2], ids=["model", "ensemble"])
def test_steps_are_the_sequence(cell, size):
    model = trained(cell) if size == 1 else mdn.ensemble([trained(cell), trained(cell, num_layers=2)])
    whole, state = model(WALKS[0, :-1]), model.initial_state()
    for t, point in enumerate(WALKS[0, :-1]):
        state, one = model.step(state, point)
        assert one.batch_shape == ()
        for leaf, of_all in zip(jax.tree.leaves(one), jax.tree.leaves(whole), strict=True):
            assert_allclose(leaf, of_all[t], rtol=1e-4, atol=1e-4)


def test_a_saved_model_steps_alike(tmp_path):
    model = trained("lstm", num_layers=2, dropout=0.1, resets=True)
    mdn.save(tmp_path / "model", model)
    again = mdn.load(tmp_path / "model")
    assert_array_equal(model(WALKS[0, :-1]).locs, again(WALKS[0, :-1]).locs)
    one, other = (m.step(m.initial_state(), WALKS[0, 0])[1] for m in (model, again))
    assert_array_equal(one.locs, other.locs)


def test_models_without_steps_and_batches_are_refused():
    training = mdn.TrainingConfig(num_steps=2, evaluate_every=1)
    plain = mdn.fit(jax.random.key(0), WALKS[:, 0], WALKS[:, 1], training=training).model
    with pytest.raises(mdn.InputError, match=r'MLP has no initial_state: train with \[model\] network = "lstm"'):
        mdn.rollout(jax.random.key(0), plain, np.zeros(1), 3, following=lambda y: y)
    model = trained("lstm")
    with pytest.raises(mdn.InputError, match=r"model takes one x of shape \('T', 1\); got \(40, 12, 1\): use jax.vmap"):
        model(WALKS[:, :-1])
    with pytest.raises(mdn.InputError, match=r"model takes one x of shape \(1,\); got \(12, 1\)"):
        model.step(model.initial_state(), WALKS[0, :-1])


# Futures


@pytest.mark.parametrize("size", [1, 2], ids=["model", "ensemble"])
def test_a_future_is_a_loop_of_steps(size):
    model = trained("gru") if size == 1 else mdn.ensemble([trained("gru")] * 2)
    calm = lambda one: mdn.graves_bias(one, 0.5)  # noqa: E731
    for temperature in (0.0, 1.0):
        key = jax.random.key(5)
        future = mdn.rollout(key, model, np.zeros(1), 6, following=lambda y: y, temperature=temperature, temper=calm)
        state, x = model.initial_state(), jnp.zeros(1)
        for t in range(6):
            state, one = model.step(state, x)
            x = mdn.sample(jax.random.fold_in(key, t), calm(one), temperature=temperature)
            assert_allclose(future[t], x, rtol=1e-4, atol=1e-4)


def test_a_longer_future_begins_like_a_shorter_one_and_goes_on_from_a_state():
    model, key = trained("gru"), jax.random.key(5)
    draw = functools.partial(mdn.rollout, key, model, np.zeros(1), following=lambda y: y)
    assert_allclose(draw(num_steps=4), draw(num_steps=9)[:4], rtol=1e-5, atol=1e-5)
    state, first = model.step(model.initial_state(), np.zeros(1))
    y = mdn.sample(jax.random.key(0), first, temperature=0.0)
    rest = mdn.rollout(key, model, y, 3, following=lambda y: y, temperature=0.0, state=state)
    assert_allclose(draw(num_steps=4, temperature=0.0)[1:], rest, rtol=1e-4, atol=1e-4)


def test_what_follows_must_be_an_input():
    with pytest.raises(mdn.InputError, match=r"following must give an x of shape \(1,\); got \(2,\)"):
        mdn.rollout(jax.random.key(0), trained("gru"), np.zeros(1), 3, following=lambda y: jnp.concatenate([y, y]))


# Training


def test_a_known_law_is_learnt_and_padding_moves_nothing(monkeypatch):
    """AR(1): given the last value the next one is normal, with std 0.6."""
    rng, count, length = np.random.default_rng(1), 300, 33
    y = np.zeros((count, length, 1))
    for t in range(1, length):
        y[:, t] = 0.8 * y[:, t - 1] + 0.6 * rng.normal(size=(count, 1))
    y = 30.0 + 5.0 * y
    weight = np.ones((count, length - 1))
    weight[::3, 20:] = 0.0
    x, target = y[:, :-1].copy(), y[:, 1:].copy()
    x[weight == 0], target[weight == 0] = 1e4, -1e4  # padding may hold anything
    config = {"num_components": 2, "network": "gru", "network_options": {"hidden_size": 12}}
    training = mdn.TrainingConfig(num_steps=400, evaluate_every=200, batch_size=32)
    monkeypatch.setattr(lane, "AT_ONCE", 8 * (length - 1))  # validation rows in chunks
    fit = mdn.fit(jax.random.key(0), x, target, weights=weight, model=mdn.ModelConfig(**config), training=training)
    assert_allclose(fit.model.inputs.shift, y[:, :-1][weight > 0].mean(axis=0), rtol=1e-10)
    optimum = np.log(5 * 0.6) + 0.5 * np.log(2 * np.pi * np.e)
    assert_allclose(fit.history["val_loss"][-1], optimum, atol=0.05)
    nats = row_nll(fit.model, standard_rows(fit.model, x, target, weights=weight))
    assert nats.shape == weight.shape and count * (length - 1) > ROWS_AT_ONCE
    assert_allclose(nats[weight > 0].mean(), optimum, atol=0.04)
    alone = row_nll(fit.model, standard_rows(fit.model, x[:1, :20], target[:1, :20]))
    assert_allclose(nats[0, :20], alone[0], rtol=1e-4, atol=1e-4)

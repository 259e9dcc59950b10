"""What changes without another program: the length of training, the history's rows, and the rates."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import mdn_jax as mdn
from mdn_jax.config import fields
from mdn_jax.training import lane

MODEL = mdn.ModelConfig(num_components=2, hidden_sizes=(4,))
PLAIN = mdn.TrainingConfig(num_steps=40, evaluate_every=10, batch_size=16)
ON = {"weight_decay": 0.1, "clip_norm": 0.5, "input_noise": 0.1, "target_noise": 0.1, "averaging": 0.9}
RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 1))
Y = 1.0 + 2.0 * X[:, 0] + 0.5 * RNG.normal(size=200)


def changed(training, **update):
    return training.model_copy(update=update)


def start(training, **options):
    return mdn.start(jax.random.key(0), X, Y, model=MODEL, training=training, **options)


def weights(state, kind="network"):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(getattr(state.lanes, kind))])


# Length


def optax_schedule(name, length):
    """Optax's own, of a static length; warm-up is a twentieth of the steps, and takes at least one."""
    warmup = max(1, round(0.05 * length))
    return {
        "constant": optax.constant_schedule(0.3),
        "linear": optax.linear_schedule(0.3, 0.0, length),
        "cosine": optax.cosine_decay_schedule(0.3, length),
        "warmup_cosine": optax.warmup_cosine_decay_schedule(0.0, 0.3, warmup, max(length, warmup + 1)),
    }[name]


@pytest.mark.parametrize("name", ["constant", "linear", "cosine", "warmup_cosine"])
def test_schedules_of_a_traced_length_are_optax_s_own(name):
    plan = replace(start(PLAIN).plan, schedule=name)
    rates = jax.jit(lambda length, steps: lane._schedule(plan, length, jnp.float32(0.3))(steps) * jnp.ones(13))
    for length in (1, 2, 9, 10, 11, 30, 49, 50, 70, 110, 4_000, 123_456):
        steps = np.unique(np.linspace(0, 1.1 * length, 13).astype(np.int32))
        steps = np.pad(steps, (0, 13 - len(steps)), mode="edge")
        expected = np.asarray(jax.vmap(optax_schedule(name, length))(steps))
        assert_allclose(rates(jnp.int32(length), steps), expected, rtol=2e-6, atol=1e-7, err_msg=str(length))


def test_warm_up_takes_as_many_steps_as_python_rounds_to():
    lengths = np.arange(1, 200_000)
    expected = [max(1, round(0.05 * length)) for length in lengths.tolist()]
    plan = replace(start(PLAIN).plan, schedule="warmup_cosine")
    # before the last step of warm-up the rate is (warmup - 1) / warmup
    rate = jax.vmap(lambda length, step: lane._schedule(plan, length, jnp.float32(1.0))(step))
    last = rate(jnp.asarray(lengths, jnp.int32), jnp.asarray(expected, jnp.int32) - 1)
    assert_allclose(last, 1 - 1 / np.array(expected), rtol=1e-6)


def test_lengths_share_one_program(compilations):
    first, second = start(PLAIN), start(changed(PLAIN, num_steps=38))
    first, told = mdn.advance(first)
    before = len(compilations)
    second, other = mdn.advance(second)
    assert compilations[before:] == []
    assert other["learning_rate"] < told["learning_rate"]
    for _ in range(3):
        second, other = mdn.advance(second)
    assert (other["step"], second.done) == (38, True)


def test_more_steps_than_a_count_holds_are_refused():
    with pytest.raises(ValueError, match="less than 2147483648"):
        mdn.TrainingConfig(num_steps=2**31)
    endless = start(mdn.TrainingConfig(num_steps=2**31 - 1, evaluate_every=2, schedule="constant"))
    assert endless.plan.num_evaluations == fields.MOST_EVALUATIONS
    assert not mdn.advance(endless)[0].done


# History


def test_the_earliest_rows_give_way():
    state, seen = start(changed(PLAIN, num_steps=9, evaluate_every=3)), []
    for count in range(1, 9):
        state, metrics = mdn.advance(state, 1)
        seen.append(metrics)
        history = mdn.finish(state).history
        for name, column in history.items():
            assert_array_equal(column, [row[name] for row in seen[-3:]])
        assert history["step"].tolist() == list(range(max(count - 2, 1), count + 1))


def test_a_network_that_ended_leaves_no_rows_after_its_end():
    state = start(changed(PLAIN, num_steps=8, evaluate_every=2, ensemble_size=2))
    for _ in range(2):
        state, _ = mdn.advance(state, 1)
    state, expected = mdn.stop(state, [False, True]), mdn.finish(state).history["train_loss"]
    for _ in range(3):
        state, _ = mdn.advance(state, 1)
    history = mdn.finish(state).history
    assert history["step"][:, 0].tolist() == [2, 3, 4, 5]
    assert_array_equal(history["train_loss"][0], expected[1])
    assert np.isnan(history["train_loss"][1:, 1]).all() and np.isfinite(history["train_loss"][:, 0]).all()


# Rates


def test_the_same_rates_change_no_bit():
    training = changed(PLAIN, **ON)
    state, _ = mdn.advance(start(training))
    one, other = mdn.advance(state)[0], mdn.advance(mdn.change_rates(state, training))[0]
    for first, second in zip(jax.tree.leaves(one.lanes._replace(key=None)),
                             jax.tree.leaves(other.lanes._replace(key=None)), strict=True):  # fmt: skip
        assert_array_equal(first, second)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_changed_before_the_first_step_is_started_with(optimizer):
    training = changed(PLAIN, optimizer=optimizer, schedule="constant", ensemble_size=2)
    wanted = changed(training, learning_rate=3e-3)
    one = mdn.advance(mdn.change_rates(start(training), wanted))[0]
    other = mdn.advance(start(wanted))[0]
    assert_array_equal(weights(one), weights(other))
    assert_allclose(one.lanes.latest["learning_rate"], 3e-3)


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_all_parts_of_a_program_can_rest(optimizer, compilations):
    plain = changed(PLAIN, optimizer=optimizer)
    state = mdn.advance(start(changed(plain, **ON)))[0]
    before = len(compilations)
    rested = mdn.advance(mdn.change_rates(start(changed(plain, **ON)), plain))[0]
    assert not any("_advance" in name for name in compilations[before:])
    without = mdn.advance(start(plain))[0]
    assert_allclose(weights(rested), weights(without), rtol=1e-5, atol=1e-6)
    assert_array_equal(weights(rested, "average"), weights(rested))
    assert np.abs(weights(state) - weights(without)).max() > 1e-3


def test_nothing_is_compiled_after_a_change(compilations):
    state = mdn.advance(mdn.advance(start(changed(PLAIN, **ON)))[0])[0]
    before = len(compilations)
    for update in ({name: value / 2 for name, value in ON.items()}, {"clip_norm": 1e-3}, {"learning_rate": 0.5}):
        state, metrics = mdn.advance(mdn.change_rates(state, changed(PLAIN, num_steps=70, **update)))
    assert compilations[before:] == []
    assert metrics["step"] == 50 and metrics["learning_rate"] > 0


@pytest.mark.parametrize(
    ("update", "message"),
    [
        ({"schedule": "linear"}, "schedule = 'linear' is another program than that of the state's 'cosine': start"),
        ({"validation_fraction": 0.2}, "training.validation_fraction = 0.2 is another program than that of"),
        ({"evaluate_every": 5}, "training.evaluate_every = 5 is another program"),
        ({"clip_norm": 1.0}, "clip_norm = 1.0 is not in a program that started with inf: start with any other"),
        *[({name: 0.1}, f"training.{name} = 0.1 is not in a program that started with 0.0") for name in ON
          if name != "clip_norm"],
    ],
)  # fmt: skip
def test_a_change_of_program_is_refused(update, message):
    with pytest.raises(mdn.InputError, match=message) as told:
        mdn.change_rates(start(PLAIN), changed(PLAIN, **update))
    assert "\n" not in str(told.value)


def test_rates_are_no_matter_of_an_optimizer_of_your_own():
    state = start(PLAIN, optimizer=optax.sgd(0.1))
    with pytest.raises(mdn.InputError, match=r"learning_rate = 0\.5 has no use beside an optimizer of your own"):
        mdn.change_rates(state, changed(PLAIN, learning_rate=0.5))

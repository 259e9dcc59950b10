"""The trainer: same key, same numbers; chunks and members that do not matter; how training ends; what is refused."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import mdn_jax as mdn
from mdn_jax.judging import evaluate_standard

MODEL = mdn.ModelConfig(num_components=2, hidden_sizes=(4,))
TRAINING = mdn.TrainingConfig(num_steps=40, evaluate_every=10, batch_size=16)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 1))
Y = 1.0 + 2.0 * X[:, 0] + 0.5 * RNG.normal(size=200)


def start(seed=0, x=X, y=Y, model=MODEL, **options):
    return mdn.start(jax.random.key(seed), x, y, model=model, training=TRAINING, **options)


def fit(seed=0, y=Y, training=TRAINING, **options):
    return mdn.fit(jax.random.key(seed), X, y, model=MODEL, training=training, **options)


def member(tree, index):
    return jax.tree.map(lambda leaf: leaf[index], tree)


def assert_same(first, second):
    """Equal structures, and every leaf equal to the last bit."""
    assert jax.tree.structure(first) == jax.tree.structure(second)
    for one, other in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        if jnp.issubdtype(one.dtype, jax.dtypes.prng_key):
            one, other = jax.random.key_data(one), jax.random.key_data(other)
        assert_array_equal(np.asarray(one), np.asarray(other))


@pytest.fixture(scope="module")
def solo():
    """One trained network."""
    return fit()


# One program, the same numbers


def test_a_second_fit_of_the_same_shapes_compiles_nothing(solo, compilations):
    other = TRAINING.model_copy(update={"learning_rate": 3e-2})
    again = fit(seed=5, y=Y**2, training=other)
    assert compilations == []
    assert again.history["learning_rate"][0] > 2 * solo.history["learning_rate"][0]


def test_the_key_alone_decides(solo):
    again, other, legacy = fit(), fit(seed=1), mdn.fit(jax.random.PRNGKey(0), X, Y, model=MODEL, training=TRAINING)
    assert_same(again.model, solo.model)
    assert_same(again.history, solo.history)
    assert_array_equal(legacy.history["train_loss"], solo.history["train_loss"])  # one generator, two wrappings
    assert not np.array_equal(other.history["train_loss"], solo.history["train_loss"])


def test_where_a_chunk_ends_does_not_matter(solo):
    quarters, whole = start(), start()
    for _ in range(4):
        quarters, _ = mdn.advance(quarters, 10)
    whole, _ = mdn.advance(whole, 40)
    assert quarters.step == whole.step == 40
    assert_same(quarters.lanes.network, whole.lanes.network)
    assert_same(quarters.lanes.optimizer, whole.lanes.optimizer)
    assert_same(member(whole.lanes.network, 0).network, mdn.finish(whole).model.conditional.network)


def test_a_last_chunk_takes_what_is_left():
    state = start()
    for _ in range(3):
        state, metrics = mdn.advance(state)
    assert (metrics["step"], state.done) == (30, False)
    state, metrics = mdn.advance(replace(state, training=TRAINING.model_copy(update={"evaluate_every": 30})))
    assert (metrics["step"], state.done) == (40, True)


def test_member_zero_of_an_ensemble_is_the_lone_fit(solo):
    three = fit(training=TRAINING.model_copy(update={"ensemble_size": 3}))
    assert len(three.model.networks) == 3
    assert_same(three.model.networks[0].conditional, solo.model.conditional)
    for name, column in solo.history.items():
        assert three.history[name].shape == (4, 3)
        assert_array_equal(three.history[name][:, 0], column)
    assert len(set(three.history["train_loss"][-1])) == 3  # the others are others
    assert three.statuses == ("ok",) * 3 and three.best_step.shape == (3,)
    assert three.model(X[0]).num_components == 6


def test_a_poisoned_member_leaves_the_others_as_they_are(solo):
    training = TRAINING.model_copy(update={"ensemble_size": 3})
    state = mdn.start(jax.random.key(0), X, Y, model=MODEL, training=training)
    rates = state.lanes.rates
    poisoned = rates | {"learning_rate": rates["learning_rate"].at[1].set(jnp.nan)}
    state = replace(state, lanes=state.lanes._replace(rates=poisoned))
    began = member(state.lanes.network, 1)
    while not state.done:
        state, _ = mdn.advance(state)
    done = mdn.finish(state)
    assert done.status == "diverged" and done.statuses == ("ok", "diverged", "ok")
    assert_same(done.model.networks[0].conditional, solo.model.conditional)
    assert_same(done.model.networks[1].conditional, began)  # the last finite parameters
    assert np.isnan(done.history["val_loss"][1:, 1]).all() and np.isfinite(done.history["val_loss"][:, [0, 2]]).all()


# History and what is kept


def test_history_has_one_row_per_evaluation(solo):
    assert set(solo.history) == {"step", "train_loss", "val_loss", "learning_rate"}
    assert all(column.shape == (4,) and np.isfinite(column).all() for column in solo.history.values())
    assert_array_equal(solo.history["step"], [10, 20, 30, 40])
    assert solo.status == "ok" and solo.statuses == ("ok",)


def test_losses_are_nats_of_the_original_target(solo):
    scaled = fit(y=1_000.0 * Y - 7.0)  # nats of 1,000 y are nats of y plus log 1,000
    for name in ("train_loss", "val_loss"):
        assert_allclose(scaled.history[name], solo.history[name] + np.log(1_000.0), rtol=0, atol=1e-3)


def test_the_best_validation_step_is_kept():
    rng = np.random.default_rng(1)
    y = rng.normal(size=200)  # nothing to learn: a high rate makes validation worse
    state = start(y=y)
    rates = state.lanes.rates | {"learning_rate": jnp.full(1, 0.2)}
    state, kept = replace(state, lanes=state.lanes._replace(rates=rates)), {}
    for _ in range(4):
        state, metrics = mdn.advance(state)
        kept[int(metrics["step"])] = member(state.lanes.network, 0)
        assert metrics["best_loss"] == mdn.finish(state).history["val_loss"].min()
    done = mdn.finish(state)
    best = int(done.history["step"][done.history["val_loss"].argmin()])
    assert best < 40 and done.best_step == [best]
    assert_same(done.model.conditional, kept[best])
    rows = state.data.validation
    nll = evaluate_standard(done.model, rows).nll.mean()
    assert nll == pytest.approx(done.history["val_loss"].min(), abs=1e-5)


def test_without_validation_rows_the_last_step_is_kept():
    training = TRAINING.model_copy(update={"validation_fraction": 0.0})
    state = mdn.start(jax.random.key(0), X, Y, model=MODEL, training=training)
    assert state.data.validation is None and state.data.rows.y.shape == (200, 1)
    while not state.done:
        state, _ = mdn.advance(state)
    done = mdn.finish(state)
    assert done.best_step == [40] and np.isnan(done.history["val_loss"]).all()
    assert_same(done.model.conditional, member(state.lanes.network, 0))


def test_validation_rows_are_the_same_for_every_key():
    first, second = start(0), start(1)
    assert_same(first.data.validation, second.data.validation)
    assert first.data.validation.y.shape == (20, 1) and first.data.rows.y.shape == (180, 1)
    both = np.concatenate([first.data.rows.y, first.data.validation.y])[:, 0]
    assert_array_equal(np.sort(both), np.sort(np.asarray(first.data.targets.standardize(Y), np.float32)))


def test_names_travel(solo):
    state = start(input_names=("speed",), target_names=("angle",))
    model = mdn.finish(state).model
    assert (model.input_names, model.target_names) == (("speed",), ("angle",))
    assert solo.model.input_names == ()


# Between two chunks


def test_on_evaluation_sees_each_chunk_and_may_stop(solo):
    seen = []

    def watch(step, metrics):
        seen.append((step, metrics))
        return step == 20

    stopped = fit(on_evaluation=watch)
    assert [step for step, _ in seen] == [10, 20]
    assert set(seen[0][1]) == {"step", "train_loss", "val_loss", "learning_rate", "best_loss"}
    assert stopped.status == "stopped_early" and stopped.statuses == ("stopped_early",)
    for name, column in stopped.history.items():
        assert_array_equal(column, solo.history[name][:2])
        assert_array_equal(column, [metrics[name] for _, metrics in seen])


def test_what_on_evaluation_returns_otherwise_changes_nothing(solo):
    assert fit(on_evaluation=lambda step, metrics: None).status == "ok"


def test_a_stopped_state_goes_no_further():
    state = mdn.stop(mdn.advance(start())[0])
    assert state.done and state.step == 10
    with pytest.raises(mdn.InputError, match="training is over"):
        mdn.advance(state, 10)


# Row weights


def test_rows_of_weight_zero_do_not_count():
    padded = {
        "x": np.vstack([X, np.zeros((20, X.shape[1]))]),
        "y": np.concatenate([Y, np.full((20, *Y.shape[1:]), 1e6)]),
    }
    state, plain = start(**padded, weights=np.repeat([1.0, 0.0], [len(Y), 20])), start()
    assert_same(state.data.rows, plain.data.rows)  # not even the units see them
    assert_same(mdn.advance(state)[0].lanes.network, mdn.advance(plain)[0].lanes.network)


def test_a_row_of_weight_two_counts_twice():
    full = TRAINING.model_copy(update={"batch_size": "full", "validation_fraction": 0.0})
    weights = np.where(np.arange(len(Y)) < 50, 2.0, 1.0)
    state = mdn.start(jax.random.key(0), X, Y, model=MODEL, training=full, weights=weights)
    once = mdn.start(jax.random.key(0), X, Y, model=MODEL, training=full)
    first = jax.tree.map(lambda leaf: leaf[:50], once.data.rows)
    rows = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), first, once.data.rows)
    twice = replace(once, data=once.data._replace(rows=rows))
    losses = [mdn.advance(each, 1)[1]["train_loss"] for each in (state, twice, once)]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
    assert abs(losses[0] - losses[2]) > 1e-3


def test_weights_of_one_are_no_weights(solo):
    assert_same(fit(weights=np.ones(200)).model, solo.model)


# Mistakes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": X[:, 0]}, r"x must have shape \(N, X\); got \(200,\): use x\[:, None\]"),
        ({"x": X[:, :, None]}, r"x must have shape \(N, X\); got \(200, 1, 1\)"),
        ({"x": X[:150]}, r"x, y and weights must have as many rows each; got \[150, 200\]"),
        ({"y": Y[:, None, None, None]}, r"y must have shape \(N, D\) or \(N,\) and not be empty; got \(200, 1, 1, 1\)"),
        ({"y": np.empty((200, 0))}, r"y must have shape \(N, D\) or \(N,\) and not be empty; got \(200, 0\)"),
        ({"y": np.full(200, 3.0)}, r"y is constant in column \[0\]: there is nothing to predict"),
        ({"y": np.stack([Y, 0 * Y], 1)}, r"y is constant in column \[1\]"),
        ({"y": np.where(np.arange(200) == 7, np.nan, Y)}, r"y must be finite; got nan in row 7, column 0 \(1 such"),
        ({"x": np.where(X[3] == X, np.inf, X)}, r"x must be finite; got inf in row 3, column 0 \(1 such values\)"),
        ({"x": X[:1], "y": Y[:1]}, r"y must have at least 2 rows that count; got 1$"),
        ({"weights": np.eye(200)[0]}, r"y must have at least 2 rows that count; got 1$"),
        ({"x": X[:0], "y": Y[:0]}, r"y must have shape \(N, D\) or \(N,\) and not be empty; got \(0, 1\)"),
        ({"weights": np.ones(3)}, r"weights must have shape \(200,\); got \(3,\)"),
        ({"weights": np.zeros(200)}, r"must be 0 or more, finite, and not all zero"),
        ({"weights": np.where(np.arange(200) == 0, -1.0, 1.0)}, r"must be 0 or more, finite, and not all zero"),
        ({"weights": np.where(np.arange(200) == 0, np.nan, 1.0)}, r"must be 0 or more, finite, and not all zero"),
        ({"weights": np.where(np.arange(200) == 0, np.inf, 1.0)}, r"must be 0 or more, finite, and not all zero"),
    ],
)
def test_what_cannot_be_trained_on_is_refused_in_one_line(changes, message):
    with pytest.raises(mdn.InputError, match=message) as caught:
        start(**changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("model", "training", "message"),
    [
        ({}, {"objective": "squared_error"}, "objective squared_error trains one mean: set num_components = 1, not 2"),
        ({"covariance": "full"}, {"objective": "crps"}, "objective crps cannot see the correlations of a full"),
        ({"covariance": "tied"}, {"objective": "crps"}, "objective crps cannot see the correlations of a tied"),
        ({}, {"validation_fraction": 0.999}, "too few rows to train on: 200 rows, 200 of them kept for validation"),
    ],
)
def test_an_objective_that_cannot_train_the_mixture_is_refused(model, training, message):
    y = np.stack([Y, Y**2], axis=1)
    with pytest.raises(mdn.InputError, match=message):
        mdn.start(
            jax.random.key(0), X, y, model=MODEL.model_copy(update=model), training=TRAINING.model_copy(update=training)
        )


def test_one_target_as_a_vector_or_a_column():
    for y in (Y[:, None], Y.tolist()):
        assert_same(start(y=y).data.rows, start(y=Y).data.rows)
        assert_same(start(y=y).lanes, start(y=Y).lanes)

"""A law of `jax_enable_x64`: everything trains, answers, travels and comes back in double precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import COVARIANCES
from flax import nnx
from numpy.testing import assert_allclose, assert_array_equal

import mdn_jax as mdn
from mdn_jax.storage import read_tree, write_tree

pytestmark = pytest.mark.usefixtures("x64")
RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 2))
Y = X @ RNG.normal(size=(2, 2)) + RNG.normal(size=(60, 2))
SHORT = mdn.TrainingConfig(num_steps=4, evaluate_every=2, batch_size=16)
SMALL = mdn.ModelConfig(num_components=2, hidden_sizes=(4,))


def changed(config, **fields):
    return config.model_copy(update=fields)


def fit(model=SMALL, training=SHORT, **options):
    return mdn.fit(jax.random.key(0), X, Y, model=model, training=training, **options)


def assert_double(tree):
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        assert not jnp.issubdtype(leaf.dtype, jnp.floating) or leaf.dtype == np.float64, jax.tree_util.keystr(path)


@pytest.fixture(scope="module")
def done():
    with jax.enable_x64(True):
        return fit(input_names=("a", "b"), target_names=("y", "z"))


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_every_leaf_of_a_fit_is_double(covariance):
    done = fit(changed(SMALL, covariance=covariance), changed(SHORT, averaging=0.9, weight_decay=0.1, clip_norm=1.0))
    assert_double(done.model)
    assert_double(done.model(X[0]))
    assert done.status == "ok"


@pytest.mark.parametrize("objective", ["squared_error", "crps", "energy_score"])
def test_whatever_the_objective(objective):
    model = changed(SMALL, num_components=1) if objective == "squared_error" else SMALL
    assert_double(fit(model, changed(SHORT, objective=objective, schedule="linear")).model)


def test_with_missing_targets_and_noise():
    noisy = changed(SHORT, input_noise=0.01, target_noise=0.01, optimizer="rmsprop", schedule="warmup_cosine")
    assert_double(fit(training=noisy, observed=RNG.random(Y.shape) < 0.8).model)


def test_an_ensemble_and_splits_of_a_table():
    own = changed(SHORT, ensemble_size=2, validation="own")
    assert_double(fit(training=own).model)
    assert_double([one.model for one in mdn.fit_splits(jax.random.key(0), X, Y, np.arange(60).reshape(2, 30),
                                                       model=SMALL, training=SHORT)])  # fmt: skip


def test_a_network_of_your_own():
    spec = mdn.MixtureSpec(2, 2)
    network = nnx.Linear(2, spec.num_outputs, rngs=nnx.Rngs(0))  # Flax's own default is float32
    done = fit(params=network, apply=lambda network, x: network(x), spec=spec)
    assert_double(done.model)
    assert_double(done.model(X[0]))


def test_scores_and_predictions_keep_their_digits(done):
    scores = mdn.evaluate(done.model, X, Y)
    one = [-float(mdn.log_prob(done.model(x), jnp.asarray(y))) for x, y in zip(X[:5], Y[:5], strict=True)]
    assert_allclose(scores.nll[:5], one, rtol=1e-12)
    table = mdn.predict(done.model, {"a": X[:5, 0], "b": X[:5, 1]})
    means = np.stack([mdn.mean(done.model(x)) for x in X[:5]])
    assert_allclose(np.stack([table["y_mean"], table["z_mean"]], axis=1), means, rtol=1e-8)


def test_a_model_comes_back_as_it_was(done, tmp_path):
    mdn.save(tmp_path / "model", done.model)
    back = mdn.load(tmp_path / "model")
    assert_double(back)
    assert_array_equal(back(X[0]).locs, done.model(X[0]).locs)


def test_training_goes_on_from_a_state_on_disk(done, tmp_path):
    state, _ = mdn.advance(mdn.start(jax.random.key(0), X, Y, model=SMALL, training=SHORT))
    write_tree(tmp_path / "state", {}, state.lanes)
    lanes = read_tree(tmp_path / "state", lambda _: state.lanes)[1]
    state, _ = mdn.advance(mdn.TrainingState(state.plan, lanes, state.data, state.training))
    assert_array_equal(mdn.finish(state).model(X[0]).locs, done.model(X[0]).locs)


def test_without_the_switch_all_is_single():
    with jax.enable_x64(False):
        single = fit()
    assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(single.model.conditional))

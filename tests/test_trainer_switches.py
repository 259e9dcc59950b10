"""Laws of JAX's switches: whatever is trained trains in double precision, without promotions, and without NaN."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import COVARIANCES
from flax import nnx
from numpy.testing import assert_allclose, assert_array_equal
from small_runs import TEXT, config_of

import mdn_jax as mdn
from mdn_jax import cli
from mdn_jax.storage import read_tree, write_tree
from mdn_jax.training import fitting
from mdn_jax.training.starting import shared_of

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 2))
Y = X @ RNG.normal(size=(2, 2)) + RNG.normal(size=(60, 2))
KNOWN = RNG.random(Y.shape) < 0.8
SHORT = mdn.TrainingConfig(num_steps=4, evaluate_every=2, batch_size=16)
SMALL = mdn.ModelConfig(num_components=2, hidden_sizes=(4,))
OWN_SPEC = mdn.MixtureSpec(2, 2)


def changed(config, **fields):
    return config.model_copy(update=fields)


def call(network, x):
    return network(x)


def own_network():
    """Flax's own default is float32, whatever JAX's is."""
    return {"params": nnx.Linear(2, OWN_SPEC.num_outputs, rngs=nnx.Rngs(0)), "apply": call, "spec": OWN_SPEC}


# all that a training can be asked for, each at least once
TRAININGS = {
    **{f"nll of {covariance}": ({"covariance": covariance}, {}, {}) for covariance in COVARIANCES},
    "least squares": ({"num_components": 1}, {"objective": "squared_error", "schedule": "linear"}, {}),
    "crps": ({}, {"objective": "crps", "optimizer": "sgd", "schedule": "warmup_cosine"}, {}),
    "energy score": ({}, {"objective": "energy_score", "optimizer": "rmsprop", "schedule": "constant"}, {}),
    "noise, decay, clipping": (
        {},
        {"optimizer": "adamw", "weight_decay": 0.1, "clip_norm": 1.0, "input_noise": 0.1, "target_noise": 0.1},
        {},
    ),
    "missing targets": ({"covariance": "full"}, {"averaging": 0.9, "patience": 3}, {"observed": KNOWN}),
    "no validation": ({}, {"validation_fraction": 0.0, "batch_size": "full"}, {"weights": np.arange(60.0)}),
    "rows of their own": ({}, {"ensemble_size": 2, "validation": "own"}, {}),
    "a network of your own": ({}, {}, None),
}


@functools.cache
def started(name):
    """A training before its first step, in whichever precision asks first: make it under the switch."""
    model, training, options = TRAININGS[name]
    options = own_network() if options is None else options
    return mdn.start(
        jax.random.key(0), X, Y, model=changed(SMALL, **model), training=changed(SHORT, **training), **options
    )


def traced(state):
    """The types of all that a chunk of training leaves, without compiling it."""
    return fitting._advance.eval_shape(state.plan, 2, shared_of(state), state.lanes)


def assert_double(tree):
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        assert not jnp.issubdtype(leaf.dtype, jnp.floating) or leaf.dtype == np.float64, jax.tree_util.keystr(path)


@pytest.fixture(scope="module")
def double():
    """A whole fit in double precision, and the state half way."""
    with jax.enable_x64(True):
        state, _ = mdn.advance(mdn.start(jax.random.key(0), X, Y, model=SMALL, training=SHORT,
                                         input_names=("a", "b"), target_names=("c", "d")))  # fmt: skip
        return state, mdn.finish(mdn.advance(state)[0])


# Double precision


@pytest.mark.parametrize("name", TRAININGS)
def test_training_is_in_double_precision(name, x64):
    started.cache_clear()
    state = started(name)
    assert_double((state.data, state.lanes))
    assert_double(traced(state))
    started.cache_clear()


@pytest.mark.parametrize("name", TRAININGS)
def test_training_promotes_nothing(name):
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        before, after = started(name), traced(started(name))
    # and what it carries keeps its type: a second chunk finds the same program
    assert [leaf.dtype for leaf in jax.tree.leaves(before.lanes)] == [leaf.dtype for leaf in jax.tree.leaves(after)]
    floats = {leaf.dtype.name for leaf in jax.tree.leaves(after) if jnp.issubdtype(leaf.dtype, jnp.floating)}
    assert floats == {"float32"}


def test_a_model_is_double_and_answers_so(double, x64, tmp_path):
    model = double[1].model
    assert_double((model, model(X[0]), jax.vmap(model)(X[:3])))
    scores = mdn.evaluate(model, X, Y)
    one = [-float(mdn.log_prob(model(x), jnp.asarray(y))) for x, y in zip(X[:3], Y[:3], strict=True)]
    assert_allclose(scores.nll[:3], one, rtol=1e-12)
    means = mdn.predict(model, {"a": X[:3, 0], "b": X[:3, 1]})
    assert_allclose(means["c_mean"].to_numpy(), [mdn.mean(model(x))[0] for x in X[:3]], rtol=1e-8)
    mdn.save(tmp_path / "model", model)
    assert_double(mdn.load(tmp_path / "model"))
    assert_array_equal(mdn.load(tmp_path / "model")(X[0]).locs, model(X[0]).locs)


def test_training_goes_on_from_a_state_on_disk(double, x64, tmp_path):
    state, done = double
    write_tree(tmp_path / "state", {}, state.lanes)
    members = read_tree(tmp_path / "state", lambda _: state.lanes)[1]
    state, _ = mdn.advance(mdn.TrainingState(state.plan, members, state.data, state.training))
    assert_array_equal(mdn.finish(state).model(X[0]).locs, done.model(X[0]).locs)


@pytest.fixture
def x64_everywhere():
    """In all threads: a sweep compiles in some of its own."""
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


@pytest.mark.slow
def test_ensembles_splits_and_sweeps_are_double(x64_everywhere):
    ensemble = mdn.fit(jax.random.key(0), X, Y, model=SMALL, training=changed(SHORT, ensemble_size=2))
    squares = mdn.fit(jax.random.key(0), X, Y, model=changed(SMALL, num_components=1),
                      training=changed(SHORT, objective="squared_error"))  # fmt: skip
    splits = mdn.fit_splits(jax.random.key(0), X, Y, np.arange(60).reshape(2, 30), model=SMALL, training=SHORT)
    swept = mdn.sweep(config_of(), {"seed": {"count": 2}})
    models = [ensemble.model, squares.model, *(one.model for one in splits), swept.model(0)]
    for model in models:
        assert_double(model)
    assert_double((ensemble.model(X[0]), squares.model(X[0])))


@pytest.mark.slow
def test_a_run_in_double_precision(x64, no_figures, tmp_path):
    (tmp_path / "small.toml").write_text(TEXT, encoding="utf-8")
    assert cli.main(["run", str(tmp_path / "small.toml"), "--out", str(tmp_path / "run")]) == 0
    assert_double(mdn.load(tmp_path / "run"))


# Strict promotion, and NaN


@pytest.mark.parametrize(
    "switch",
    [
        pytest.param(lambda: jax.debug_nans(True), id="debug_nans"),
        pytest.param(lambda: jax.numpy_dtype_promotion("strict"), id="strict"),
    ],
)
def test_a_healthy_fit_passes(switch):
    with switch():
        done = mdn.fit(jax.random.key(0), X, Y, model=SMALL, training=changed(SHORT, num_steps=40))
        model = done.model(X[0])
    assert done.status == "ok" and all(np.isfinite(column).all() for column in done.history.values())
    assert np.isfinite(model.locs).all()


@pytest.mark.parametrize("name", ["no validation", "rows of their own"])
def test_nan_is_made_on_the_host_alone(name):
    with jax.debug_nans(True):
        state = started(name)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.lanes.history))
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.lanes.latest))
        done = mdn.finish(mdn.advance(state)[0])
    assert np.isnan(done.history["val_loss"]).all() == (name == "no validation")
    assert len(done.history["step"]) == 1

"""The trainer around networks of your own, and its parts against closed forms where the gradient is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from numpy.testing import assert_allclose, assert_array_equal

import mdn_jax as mdn

SPEC = mdn.MixtureSpec(num_components=1, covariance="unit")  # one raw output: the centre
RNG = np.random.default_rng(0)
X = RNG.normal(size=(64, 2))
Y = RNG.normal(size=64) + X[:, 0]
PARAMS = {"kernel": jnp.array([[0.5, -0.25], [1.0, 2.0]]), "bias": jnp.array([0.5, -1.0])}


def idle(params, x):
    """Uses no parameter: every gradient is 0."""
    return jnp.zeros(1)


def shift(params, x):
    """One constant c beside the model's offset o, which starts at the mean of y, 0 in standard units.

    The gradient of the squared error is 2 (c + o) in both, so that both go the same way.
    """
    return params["c"][None]


def linear(params, x):
    return jnp.asarray(x, jnp.float32) @ params["slope"] + params["shift"]


def fit(apply, params, x=X, spec=SPEC, on_evaluation=None, **training):
    options = {"num_steps": 40, "evaluate_every": 10, "batch_size": "full", "validation_fraction": 0.0}
    options |= {"objective": "squared_error", "optimizer": "sgd", "schedule": "constant", "learning_rate": 0.1}
    config = mdn.TrainingConfig(**(options | training))
    return mdn.fit(
        jax.random.key(0), x, Y, params=params, apply=apply, spec=spec, training=config, on_evaluation=on_evaluation
    )


def trained(done):
    network = done.model.conditional
    return (network.conditional if isinstance(network, mdn.ConstantStd) else network).network.params


# Optimizers, schedules, decay, clipping


@pytest.mark.parametrize(
    ("optimizer", "schedule"),
    [("sgd", "constant"), ("adam", "linear"), ("rmsprop", "cosine"), ("adamw", "warmup_cosine")],
)
def test_learning_rates_follow_the_closed_form(optimizer, schedule):
    done = fit(shift, {"c": jnp.array(3.0)}, optimizer=optimizer, schedule=schedule, num_steps=200, evaluate_every=20)
    last = np.arange(20, 201, 20) - 1  # each row tells the rate of the step before it
    warm = 10  # 5 % of 200 steps
    expected = {
        "constant": np.full(10, 0.1),
        "linear": 0.1 * (1 - last / 200),
        "cosine": 0.05 * (1 + np.cos(np.pi * last / 200)),
        "warmup_cosine": 0.05 * (1 + np.cos(np.pi * (last - warm) / (200 - warm))),
    }[schedule]
    assert_allclose(done.history["learning_rate"], expected, rtol=1e-5, atol=1e-8)
    assert_allclose(trained(done)["c"], 1.5, atol=0.2)  # half of the way is the offset's
    assert done.status == "ok"
    assert done.history["train_loss"][-1] < done.history["train_loss"][0]


def test_plain_descent_is_its_closed_form():
    done = fit(shift, {"c": jnp.array(3.0)})
    assert_allclose(trained(done)["c"], 1.5 + 1.5 * 0.6**40, rtol=1e-3)  # c + o loses 0.1 * 2 * 2 (c + o)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "adam", "rmsprop"])
def test_weight_decay_leaves_biases_alone(optimizer):
    done = fit(idle, PARAMS, optimizer=optimizer, weight_decay=0.5)
    assert_array_equal(trained(done)["bias"], PARAMS["bias"])
    if optimizer in ("sgd", "adamw"):  # w - 0.1 * 0.5 w at each step, where the gradient is 0
        assert_allclose(trained(done)["kernel"], PARAMS["kernel"] * 0.95**40, rtol=1e-4)
    else:
        assert (np.abs(trained(done)["kernel"]) < np.abs(PARAMS["kernel"])).all()


def test_clipping_bounds_the_step():
    done = fit(shift, {"c": jnp.array(3.0)}, clip_norm=0.5)
    assert_allclose(trained(done)["c"], 3.0 - 40 * 0.1 * 0.5 / np.sqrt(2), rtol=1e-4)  # the norm is of c and o
    free = fit(shift, {"c": jnp.array(3.0)}, clip_norm=1e9)
    assert_allclose(trained(free)["c"], 1.5 + 1.5 * 0.6**40, rtol=1e-3)


# How training ends


def test_patience_stops_early():
    seen = []
    done = fit(
        idle,
        PARAMS,
        num_steps=200,
        validation_fraction=0.25,
        patience=3,
        on_evaluation=lambda step, metrics: seen.append(step),
    )
    assert done.status == "stopped_early" and seen == [10, 20, 30, 40]  # the first is the best, three wait
    assert done.best_step == [10] and all(column.shape == (4,) for column in done.history.values())


def test_a_step_that_is_not_finite_freezes_the_last_finite_parameters():
    def breaks(params, x):
        return jnp.where(params["c"] < 1.56, jnp.nan, params["c"])[None]

    # c is 1.5 + 1.5 * 0.6^t: step 8 meets 1.542 and is not finite
    state = mdn.start(
        jax.random.key(0),
        X,
        Y,
        params={"c": jnp.array(3.0)},
        apply=breaks,
        spec=SPEC,
        training=mdn.TrainingConfig(
            num_steps=40,
            evaluate_every=4,
            batch_size="full",
            validation_fraction=0.0,
            objective="squared_error",
            optimizer="sgd",
            schedule="constant",
            learning_rate=0.1,
        ),
    )
    while not state.done:
        state, _ = mdn.advance(state)
    assert state.step == 8
    # the update of step 7 is finite, but leads to where no step is
    assert_allclose(state.lanes.network.network.params["c"], [1.5 + 1.5 * 0.6**7], rtol=1e-5)
    done = mdn.finish(state)
    assert done.status == "diverged" and done.history["step"].tolist() == [4, 8]
    assert done.best_step == [8]
    assert_allclose(trained(done)["c"], 1.5 + 1.5 * 0.6**7, rtol=1e-5)  # no validation rows: the last finite ones


def test_an_infinite_gradient_of_a_finite_loss_is_seen():
    def cliff(params, x):
        return jnp.sqrt(jnp.maximum(params["c"], 0.0))[None]  # its slope at 0 is infinite

    done = fit(cliff, {"c": jnp.array(0.0)})
    assert done.status == "diverged" and trained(done)["c"] == 0.0


# Networks


def test_plain_parameters():
    start = {"slope": jnp.zeros((2, 1)), "shift": jnp.ones(1)}
    done = fit(linear, start, num_steps=100)
    design = np.column_stack([np.ones(64), X])
    coefficients = np.linalg.lstsq(design, Y, rcond=None)[0]
    assert done.model.inputs is None  # x is given as it is
    predicted = np.ravel(jax.jit(jax.vmap(done.model))(X).locs)
    assert_allclose(predicted, design @ coefficients, rtol=0, atol=1e-2)
    assert isinstance(done.model.conditional, mdn.ConstantStd)
    assert start["shift"] == 1.0


def test_an_nnx_module_as_parameters():
    spec = mdn.MixtureSpec(num_components=3)
    network = mdn.MLP(2, (4,), spec.num_outputs, key=jax.random.key(1))
    done = fit(nnx_apply, network, spec=spec, objective="nll", optimizer="adam", learning_rate=1e-2, batch_size=16)
    assert isinstance(trained(done), nnx.Module) and done.status == "ok"
    assert done.history["train_loss"][-1] < done.history["train_loss"][0]
    assert jax.jit(done.model)(X[0].astype(np.float32)).num_components == 3


def nnx_apply(network, x):
    return network(x)


def test_inputs_of_any_structure():
    x = {"place": X, "kind": np.arange(64) % 2}

    def apply(params, x):
        return (x["place"].astype(jnp.float32) @ params["slope"] + params["table"][x["kind"]])[None]

    params = {"slope": jnp.zeros(2), "table": jnp.zeros(2)}
    done = fit(apply, params, x, num_steps=20, input_noise=0.01)  # noise on numbers, never on categories
    assert done.history["train_loss"][-1] < done.history["train_loss"][0]
    one = jax.jit(done.model)({"place": X[0].astype(np.float32), "kind": np.int32(1)})
    assert one.locs.shape == (1, 1)
    assert mdn.evaluate(done.model, x, Y).nll.shape == (64,)


# Mistakes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"spec": None}, "a network of your own needs all of params, apply and spec"),
        ({"apply": None}, "a network of your own needs all of params, apply and spec"),
        ({"params": None}, "a network of your own needs all of params, apply and spec"),
        (
            {"params": {"a": {"b": np.arange(3)}}},
            r"parameters must be a pytree of floating arrays; got ndarray at params\[",
        ),
        ({"params": {"a": 1.0}}, r"got float at params\['a'\]: keep it out of them"),
        ({"params": {"a": "text"}}, r"got str at params\['a'\]: keep it out of them"),
        ({"spec": mdn.MixtureSpec(1, 3)}, "spec has target_dim 3, but y has 1 columns"),
        ({"spec": mdn.MixtureSpec(2)}, "objective squared_error trains one mean: give a spec of 1 component, not 2"),
        ({"x": X[:60]}, r"x, y and weights must have as many rows each; got \[60, 64\]"),
        ({"x": {"a": X, "b": X[:5]}}, r"x, y and weights must have as many rows each; got \[5, 64\]"),
        ({"x": {"a": X, "b": 3.0}}, r"x, y and weights must have as many rows each"),
    ],
)
def test_mistakes_are_told_in_one_line(changes, message):
    options = {"x": X, "params": PARAMS, "apply": idle, "spec": SPEC} | changes
    with pytest.raises(mdn.InputError, match=message) as caught:
        mdn.start(
            jax.random.key(0), options.pop("x"), Y, training=mdn.TrainingConfig(objective="squared_error"), **options
        )
    assert "\n" not in str(caught.value)


def test_a_network_of_your_own_trains_alone():
    with pytest.raises(mdn.InputError, match=r"trains alone: fit several and use mdn\.ensemble"):
        fit(idle, PARAMS, ensemble_size=2)


@pytest.mark.parametrize("spec", [SPEC, mdn.MixtureSpec(2)], ids=["squared_error", "nll"])
def test_raw_outputs_of_another_size_are_refused(spec):
    with pytest.raises(mdn.InputError, match=r"raw|outputs"):
        fit(lambda params, x: jnp.zeros(7), PARAMS, spec=spec, objective="nll")

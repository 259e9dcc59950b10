"""The seams of the trainer: networks that take a key, objectives, optimizers, augmentation, heads, and sequences."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import mdn_jax as mdn
from mdn_jax.models import Conditional, Functional, Rows
from mdn_jax.training.objectives import OBJECTIVES, Objective, row_losses

RNG = np.random.default_rng(0)
X = RNG.uniform(-1, 1, (200, 1))
Y = X**2 + 0.1 * RNG.normal(size=X.shape)
KINDS = (X[:, 0] + 0.3 * RNG.normal(size=200) > 0).astype(float) + (X[:, 0] > 0.6)
MODEL = mdn.ModelConfig(num_components=2, hidden_sizes=(8,))
SHORT = {"num_steps": 20, "evaluate_every": 10, "batch_size": 32}


def fit(x=X, y=Y, model=MODEL, optimizer=None, num_classes=(), augment=None, **training):
    return mdn.fit(
        jax.random.key(0),
        x,
        y,
        model=model,
        training=mdn.TrainingConfig(**(SHORT | training)),
        optimizer=optimizer,
        num_classes=num_classes,
        augment=augment,
    )


def own(apply, params, x=X, y=Y, spec=None, **training):
    options = mdn.TrainingConfig(**(SHORT | training))
    spec = spec or mdn.MixtureSpec(1)
    return mdn.fit(jax.random.key(0), np.float32(x), y, params=params, apply=apply, spec=spec, training=options)


# Keys


def chance(params, x, key):
    raw = params["w"] * x[0]
    return raw if key is None else raw + jax.random.normal(key, raw.shape)


def test_every_row_and_step_draws_anew_and_evaluation_draws_nothing():
    spec = mdn.MixtureSpec(1)
    conditional = Conditional(Functional({"w": jnp.zeros(2 + 1)}, chance), None, spec)
    rows = Rows(jnp.zeros((50, 1)), jnp.zeros((50, 1)), jnp.ones(50))
    centre = Objective(lambda key, distribution, y: distribution.locs[0, 0])
    keys = jax.random.split(jax.random.key(1))
    drawn = [row_losses(centre, conditional, rows, keys[0], key)[0] for key in keys]
    assert len(np.unique(drawn)) == 100
    assert_allclose(np.std(drawn), 1.0, atol=0.3)
    assert_array_equal(row_losses(centre, conditional, rows, keys[0])[0], np.zeros(50))
    done = own(chance, {"w": jnp.zeros(3)})
    assert done.status == "ok"
    at = jax.jit(done.model)
    assert_array_equal(at(np.float32([0.3])).locs, at(np.float32([0.3])).locs)


# Objectives


def test_an_objective_of_ones_own_is_the_named_one():
    def mine(key, distribution, y):
        return -mdn.log_prob(distribution, y)

    named, given = fit(), fit(objective=mine)
    scale = np.log(Y.std())  # one's own is told in standard units
    offset = named.history["val_loss"] - given.history["val_loss"]
    assert_allclose(offset, offset[0], atol=1e-5)
    assert_allclose(offset[0], scale, atol=0.1)  # of the training rows
    assert_array_equal(*(jax.tree.leaves(one.model.conditional)[0] for one in (named, given)))


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        (lambda key, d, y: d.locs, r"training.objective must give one number .* got shape \(2, 1\)"),
        (lambda key, d, y: jnp.log(-1.0) + mdn.nll(d, y), r"training.objective is nan for training row 0 before"),
    ],
)
def test_an_objective_that_is_no_loss_is_refused(objective, message):
    with pytest.raises(mdn.InputError, match=message) as caught:
        fit(objective=objective)
    assert "\n" not in str(caught.value)


# Optimizers


def test_an_optimizer_of_ones_own_is_the_named_one():
    named = fit(optimizer=None, schedule="constant", learning_rate=0.02, batch_size="full")
    given = fit(optimizer=optax.adam(0.02), batch_size="full")
    for one, other in zip(*(jax.tree.leaves(done.model.conditional) for done in (named, given)), strict=True):
        assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_an_optimizer_sees_the_pytree():
    def labels(params):
        return jax.tree.map_with_path(lambda path, _: "still" if "offset" in str(path) else "moves", params)

    parts = {"still": optax.set_to_zero(), "moves": optax.adam(0.02)}
    fits = [fit(optimizer=optax.multi_transform(parts, labels), num_steps=steps) for steps in (10, 20)]
    first, second = (done.model.conditional for done in fits)
    assert_array_equal(first.offset, second.offset)
    assert not np.array_equal(first.network.kernel[...], second.network.kernel[...])


def test_gradients_accumulate():
    many = optax.MultiSteps(optax.adam(0.02), 2)
    slow, fast = (
        fit(optimizer=many, batch_size="full"),
        fit(optimizer=optax.adam(0.02), batch_size="full", num_steps=10),
    )
    for one, other in zip(*(jax.tree.leaves(done.model.conditional) for done in (slow, fast)), strict=True):
        assert_allclose(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("setting", [{"learning_rate": 0.1}, {"schedule": "linear"}, {"weight_decay": 0.1}])
def test_two_optimizers_are_refused(setting):
    (name,) = setting
    with pytest.raises(mdn.InputError, match=rf"training.{name} = .* has no use beside an optimizer of your own"):
        fit(optimizer=optax.adam(0.1), **setting)


# Data


def test_rows_are_augmented_together_in_their_own_units():
    def line(key, row):
        return row._replace(y=0.3 * row.x + 0.3)

    done = fit(augment=line, num_steps=1000, evaluate_every=500, validation_fraction=0.0)
    found = [float(mdn.mean(done.model(np.array([x])))[0]) for x in (-0.5, 0.5)]
    assert_allclose(found, [0.15, 0.45], atol=0.03)


def test_what_can_be_read_once_is_refused():
    with pytest.raises(mdn.InputError, match=r"y must be arrays; got generator, which can be read only once"):
        fit(y=(y for y in Y))


def test_a_sequence_has_as_many_distributions_as_its_weight_has_entries():
    x, y = (array.reshape(20, 10, 1) for array in (X, Y))
    weight = np.ones((20, 10))
    weight[::2, 7:] = 0.0  # padding
    y = np.where(weight[..., None] > 0, y, 99.0)
    params = {"w": 0.1 * jnp.arange(6.0)[None]}
    spec = mdn.MixtureSpec(2)
    together = mdn.fit(
        jax.random.key(0), np.float32(x), y, weights=weight, params=params, apply=lambda p, x: x @ p["w"], spec=spec,
        training=mdn.TrainingConfig(num_steps=10, evaluate_every=1, batch_size="full", validation_fraction=0.0),
    )  # fmt: skip
    kept = weight.ravel() > 0
    apart = own(
        lambda p, x: x @ p["w"],
        params,
        X[kept],
        Y[kept],
        spec,
        num_steps=10,
        evaluate_every=1,
        batch_size="full",
        validation_fraction=0.0,
    )
    assert_allclose(together.history["train_loss"], apart.history["train_loss"], rtol=1e-4, atol=1e-5)
    assert together.model(np.float32(x[0])).locs.shape == (10, 2, 1)


# Heads


def test_heads_by_name():
    both = np.column_stack([Y, X + 0.1 * RNG.normal(size=X.shape)])
    apart = fit(y=both, model=MODEL.model_copy(update={"head": "independent"})).model(X[0])
    assert isinstance(apart, mdn.Independent) and mdn.quantile(apart, 0.5).shape == (2,)
    kinds = fit(y=KINDS, model=mdn.ModelConfig(head="categorical"), num_classes=(3,), num_steps=400, evaluate_every=100)
    logits = jax.vmap(kinds.model)(np.float32(X)).logits
    assert (np.argmax(logits, axis=1) == KINDS).mean() > 0.8
    mixed = fit(y=np.column_stack([Y, KINDS]), num_classes=(None, 3), ensemble_size=2).model
    one = mixed(X[0])
    assert isinstance(one, mdn.Merged) and len(mixed.networks) == 2
    alone = [mdn.log_prob(network(X[0]), jnp.array([0.3, 1.0])) for network in mixed.networks]
    assert_allclose(mdn.log_prob(one, jnp.array([0.3, 1.0])), jax.nn.logsumexp(jnp.stack(alone)) - np.log(2), rtol=1e-5)


def test_noise_leaves_kinds_alone():
    done = fit(y=np.column_stack([Y, KINDS]), num_classes=(None, 3), target_noise=0.5)
    assert done.status == "ok" and np.isfinite(done.history["train_loss"]).all()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"head": "categorical"}, r'model.head = "categorical" needs targets that name kinds'),
        ({"head": "independent", "covariance": "full"}, r"model.covariance = 'full' has no use"),
        (
            {"network": lambda key, x, num_outputs: None, "hidden_sizes": (4,)},
            r"model.hidden_sizes = \(4,\) has no use",
        ),
    ],
)
def test_settings_that_do_nothing_are_refused(model, message):
    with pytest.raises(mdn.InputError, match=message):
        fit(model=mdn.ModelConfig(**model))


def test_the_table_of_objectives_is_what_configs_offer():
    for name in (*OBJECTIVES, "energy_score"):
        components = 1 if name == "squared_error" else 2
        assert fit(objective=name, model=MODEL.model_copy(update={"num_components": components})).status == "ok"

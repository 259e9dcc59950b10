"""A law of networks of one's own: what draws or keeps state in its call is refused in one line, whose cure works."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx

import mdn_jax as mdn

SPEC = mdn.MixtureSpec(num_components=1)
X = np.random.default_rng(0).normal(size=(20, 2)).astype(np.float32)
SHORT = mdn.TrainingConfig(num_steps=2, evaluate_every=1, batch_size=4)


def call(module, x):
    return module(x)


class Layers(nnx.Module):
    """A layer of state or chance between two linear ones."""

    def __init__(self, middle):
        self.first, self.last = (nnx.Linear(*sizes, rngs=nnx.Rngs(0)) for sizes in ((2, 4), (4, SPEC.num_outputs)))
        self.middle = middle

    def __call__(self, x):
        return self.last(self.middle(self.first(x)))


class Recurrent(nnx.Module):
    def __init__(self):
        self.rnn = nnx.RNN(nnx.GRUCell(1, SPEC.num_outputs, rngs=nnx.Rngs(0)), rngs=nnx.Rngs(0))

    def __call__(self, x):
        return self.rnn(x[None, :, None])[0, -1]


class Cell(nnx.Module):
    """The cure: a cell inside `jax.lax.scan`."""

    def __init__(self):
        self.cell = nnx.GRUCell(1, SPEC.num_outputs, rngs=nnx.Rngs(0))

    def __call__(self, x):
        return jax.lax.scan(self.cell, jnp.zeros(SPEC.num_outputs), x[:, None])[0]


def dropout():
    return Layers(nnx.Dropout(0.5, rngs=nnx.Rngs(0)))


def batch_norm():
    return Layers(nnx.BatchNorm(4, rngs=nnx.Rngs(0)))


def split(module, copy):
    """Parameters and a function of them, the rest of the module inside."""
    graph, params, rest = nnx.split(module, nnx.Param, ...)
    return params, lambda params, x: nnx.merge(graph, params, rest, copy=copy)(x)


class Dropping(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dropout(0.5, deterministic=False)(nn.Dense(SPEC.num_outputs)(x))


def linen(**rngs):
    variables = Dropping().init({"params": jax.random.key(0), "dropout": jax.random.key(1)}, X[0])
    return variables, lambda variables, x: Dropping().apply(variables, x, rngs=rngs or None)


def draws(key):
    return {"w": jnp.zeros(SPEC.num_outputs)}, lambda p, x: p["w"] + jax.random.normal(key, p["w"].shape)


CURE = r"leave dropout out \(module\.eval\(\)\), take LayerNorm for BatchNorm, a cell in jax\.lax\.scan for nnx\.RNN"
CHANCE = r"apply draws random numbers, and without a key it draws the same for every row and step: "
STATE = r"apply must be a function of its parameters and x alone; "
IMPURE = {
    "dropout": (lambda: (dropout(), call), r"ArrayImpl at params\S*rngs\S*: keep it out of them \(nnx\.split"),
    "dropout inside": (lambda: split(dropout(), copy=False), STATE + "Cannot mutate RngCount from a different trace"),
    "one mask": (lambda: split(dropout(), copy=True), CHANCE),
    "BatchNorm": (lambda: (batch_norm(), call), "apply changes its own state when it is called"),
    "BatchNorm inside": (lambda: split(batch_norm(), copy=False), STATE + "Cannot mutate BatchStat"),
    "RNN": (lambda: (Recurrent(), call), r"rngs\S*: keep it out of them \(nnx\.split"),
    "RNN inside": (lambda: split(Recurrent(), copy=False), STATE + "Cannot mutate RngCount"),
    "Linen's dropout": (linen, STATE + "Dropout_0 needs PRNG"),
    "Linen's one mask": (lambda: linen(dropout=jax.random.key(1)), CHANCE),
    "a key": (lambda: draws(jax.random.key(0)), CHANCE),
    "a legacy key": (lambda: draws(jax.random.PRNGKey(0)), CHANCE),
}
PURE = {
    "dropout left out": lambda: split(nnx.view(dropout(), deterministic=True), copy=False),
    "LayerNorm": lambda: (Layers(nnx.LayerNorm(4, rngs=nnx.Rngs(0))), call),
    "a cell in a scan": lambda: (Cell(), call),
}


def start(params, apply, x=X):
    return mdn.start(jax.random.key(0), x, X[:, 0], params=params, apply=apply, spec=SPEC, training=SHORT)


@pytest.mark.parametrize("name", IMPURE)
def test_chance_and_state_are_refused_in_one_line(name):
    make, message = IMPURE[name]
    with pytest.raises(mdn.InputError, match=f"{message}.*{CURE}") as caught:
        start(*make())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", PURE)
def test_the_cure_works(name):
    assert mdn.finish(mdn.advance(start(*PURE[name]()))[0]).status == "ok"


@pytest.mark.parametrize(
    "keys", [jax.random.split, lambda key, count: jax.random.key_data(jax.random.split(key, count))]
)
def test_a_key_in_each_row_is_no_frozen_chance(keys):
    x = {"x": X, "key": keys(jax.random.key(0), len(X))}
    start({"w": jnp.zeros(SPEC.num_outputs)}, lambda p, x: p["w"] + 0.1 * jax.random.normal(x["key"], p["w"].shape), x)

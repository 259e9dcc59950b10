"""The head and the losses inside other people's code: plain JAX, Equinox, Flax Linen, sequences, ensembles.

The problem is Bishop's inverse one: x = t + 0.3 sin(2 pi t) + U(-0.1, 0.1), and t is wanted from x. By quadrature the
truth scores -1.28 nats and the best single Gaussian for each x -0.65: BOUND, between them, takes more than one branch.
"""

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
import pytest

import mdn_jax as mdn

SPEC = mdn.MixtureSpec(num_components=5, target_dim=1)
BOUND, STEPS, LEARNING_RATE = -0.85, 600, 1e-2


@pytest.fixture(scope="module")
def data():
    """x (N, 1) and the t (N, 1) it came from."""
    t_key, noise_key = jax.random.split(jax.random.key(0))
    t = jax.random.uniform(t_key, (512, 1))
    return t + 0.3 * jnp.sin(2 * jnp.pi * t) + jax.random.uniform(noise_key, t.shape, minval=-0.1, maxval=0.1), t


def train(loss, params, steps=STEPS):
    """Adam on the whole data set; the loss at the end."""
    optimizer = optax.adam(LEARNING_RATE)

    def step(carry, _):
        params, state = carry
        updates, state = optimizer.update(jax.grad(loss)(params), state)
        return (optax.apply_updates(params, updates), state), None

    (params, _), _ = jax.lax.scan(step, (params, optimizer.init(params)), length=steps)
    return params, loss(params)


def two_layers(key, num_inputs=1, width=24):
    """Parameters of a plain JAX network."""
    first, second = jax.random.split(key)
    return {
        "hidden": jax.random.normal(first, (num_inputs, width)),
        "shift": jnp.zeros(width),
        "head": jax.random.normal(second, (width, SPEC.num_outputs)) / width**0.5,
        "bias": jnp.zeros(SPEC.num_outputs),
    }


def predict(params, x):
    """One x (X,) to one mixture."""
    raw = jnp.tanh(x @ params["hidden"] + params["shift"]) @ params["head"] + params["bias"]
    return mdn.unpack(SPEC, raw)


def test_plain_jax(data):
    x, t = data

    def loss(params):
        mixtures = jax.vmap(predict, (None, 0))(params, x)
        return jax.vmap(mdn.nll)(mixtures, t).mean()

    params = two_layers(jax.random.key(1)) | {"bias": mdn.initial_bias(SPEC, t)}
    _, final = jax.jit(lambda params: train(loss, params))(params)
    assert final < BOUND


def test_equinox(data):
    x, t = data
    network = eqx.nn.MLP(1, SPEC.num_outputs, width_size=24, depth=1, activation=jnp.tanh, key=jax.random.key(1))
    params, static = eqx.partition(network, eqx.is_inexact_array)

    def loss(params):
        raw = jax.vmap(eqx.combine(params, static))(x)
        return jax.vmap(lambda raw, t: mdn.nll(mdn.unpack(SPEC, raw), t))(raw, t).mean()

    _, final = eqx.filter_jit(lambda params: train(loss, params))(params)
    assert final < BOUND


def test_flax_linen(data):
    x, t = data
    network = nn.Sequential([nn.Dense(24), nn.tanh, nn.Dense(SPEC.num_outputs)])

    def loss(params):
        mixtures = jax.vmap(lambda raw: mdn.unpack(SPEC, raw))(network.apply(params, x))
        return jax.vmap(mdn.nll)(mixtures, t).mean()

    _, final = jax.jit(lambda params: train(loss, params))(network.init(jax.random.key(1), x))
    assert final < BOUND


def test_a_masked_sequence(data):
    batch, time = 32, 16
    x, t = (array.reshape(batch, time, 1) for array in data)
    lengths = jax.random.randint(jax.random.key(2), (batch,), 4, time + 1)
    mask = jnp.arange(time)[None, :] < lengths[:, None]  # (B, T), True where a sequence has not ended
    t = jnp.where(mask[:, :, None], t, jnp.nan)  # what pads a sequence is never looked at

    def loss(params):
        mixtures = jax.vmap(jax.vmap(predict, (None, 0)), (None, 0))(params, x)  # a (B, T) batch of mixtures
        nlls = jax.vmap(jax.vmap(mdn.nll))(mixtures, jnp.where(mask[:, :, None], t, 0.0))
        return jnp.sum(nlls * mask) / jnp.sum(mask)

    params, final = jax.jit(lambda params: train(loss, params))(two_layers(jax.random.key(1)))
    assert final < BOUND
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(params))


def test_an_ensemble_of_five(data):
    x, t = data

    def loss(params):
        return jax.vmap(mdn.nll)(jax.vmap(predict, (None, 0))(params, x), t).mean()

    def network(key):
        return train(loss, two_layers(key))

    networks, finals = jax.jit(jax.vmap(network))(jax.random.split(jax.random.key(1), 5))

    def ensemble(x):
        return mdn.merge(jax.vmap(predict, (0, None))(networks, x))  # five mixtures as one

    merged = jax.jit(jax.vmap(lambda x, t: mdn.nll(ensemble(x), t)))(x, t).mean()
    assert jax.jit(ensemble)(x[0]).num_components == 25
    assert finals.max() < BOUND
    assert merged < finals.mean()  # -log of a mean is below the mean of -log: Jensen's inequality


def test_crps_and_energy_score_as_losses(data):
    x, t = data
    keys = jax.random.split(jax.random.key(3), len(x))

    def crps(params):
        return jax.vmap(mdn.crps)(jax.vmap(predict, (None, 0))(params, x), t).mean()

    def energy(params):
        score = jax.vmap(lambda key, mixture, t: mdn.energy_score(key, mixture, t, 4))
        return score(keys, jax.vmap(predict, (None, 0))(params, x), t).mean()

    start = two_layers(jax.random.key(1)) | {"bias": mdn.initial_bias(SPEC, t)}
    for loss in (crps, energy):
        params, _ = jax.jit(lambda params, loss=loss: train(loss, params, 300))(start)
        assert jax.jit(crps)(params) < 0.125  # the best there is scores 0.0963, knowing nothing 1/6


@pytest.mark.parametrize("make_key", [jax.random.key, jax.random.PRNGKey], ids=["typed", "legacy"])
def test_typed_and_legacy_keys(make_key):
    mixture = mdn.Mixture(jnp.zeros(2), jnp.array([[-5.0], [5.0]]), mdn.Isotropic(jnp.zeros(2)))
    draws = jax.jit(mdn.sample, static_argnums=2)(make_key(0), mixture, (1000,))
    assert draws.shape == (1000, 1)
    assert abs(float((draws > 0).mean()) - 0.5) < 4 * 0.5 / 1000**0.5
    assert jax.jit(mdn.rsample)(make_key(0), mixture).shape == (1,)

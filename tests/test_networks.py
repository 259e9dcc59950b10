"""Networks under plain JAX transformations; fewer components are a prefix of more."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import COVARIANCES
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import norm
from untrained import conditional

import mdn_jax as mdn
from mdn_jax.networks.mlp import in_bins


def spec_of(count, covariance="diagonal", dim=2):
    return mdn.MixtureSpec(num_components=count, target_dim=dim, covariance=covariance)


def network_of(count, covariance="diagonal", hidden=(8, 8), inputs=3, key=None, **options):
    """Drawn without `jit`: networks that have layers of one size share the programs that draw them."""
    key = jax.random.key(0) if key is None else key
    return conditional(inputs, hidden, spec_of(count, covariance), key=key, **options)


@jax.jit
def unpacked_rows(network):
    """Each row of the last layer is a raw vector, and so is the offset."""
    rows = network.network.kernel[...], network.offset[None]
    return jax.vmap(lambda row: mdn.unpack(network.head, row))(jnp.concatenate(rows))


call = jax.jit(lambda network, x: network(x))


@pytest.mark.parametrize(("covariance", "hidden"), [*((c, (8, 8)) for c in COVARIANCES), ("tied", ())], ids=str)
def test_fewer_components_are_a_prefix(covariance, hidden):
    y = np.random.default_rng(0).normal(size=(50, 2))
    few, many = (
        network_of(count, covariance, hidden, bias=mdn.initial_bias(spec_of(count, covariance), y)) for count in (3, 5)
    )
    first, second = unpacked_rows(few), unpacked_rows(many)
    jax.tree.map(lambda a, b: assert_array_equal(a, b[:, :3]), first, second)
    for first, second in zip(few.network.hidden, many.network.hidden, strict=True):
        assert_array_equal(first.kernel[...], second.kernel[...])
    x = jnp.array([0.3, -1.0, 2.0])
    jax.tree.map(lambda a, b: assert_allclose(a, b[:3], rtol=1e-5, atol=1e-6), call(few, x), call(many, x))


def test_the_network_is_its_formula():
    network, x = network_of(3), np.array([0.3, -1.0, 2.0], np.float32)
    hidden = x
    for layer in network.network.hidden:
        hidden = np.tanh(hidden @ np.asarray(layer.kernel[...]) + np.asarray(layer.bias[...]))
    raw = hidden @ np.asarray(network.network.kernel[...]) + np.asarray(network.offset)
    assert_allclose(call(network, jnp.asarray(x)).locs, raw[3:9].reshape(3, 2), rtol=1e-5, atol=1e-6)


def test_without_inputs_the_network_is_a_bias_vector():
    bias = jnp.arange(15.0)
    network = network_of(3, inputs=0, bias=bias)
    assert len(jax.tree.leaves(network)) == 2  # an empty kernel and the offset
    assert_array_equal(call(network, jnp.zeros(0)).locs, bias[3:9].reshape(3, 2))
    slopes = jax.jit(jax.grad(lambda n: mdn.nll(n(jnp.zeros(0)), jnp.ones(2))))(network)
    assert np.any(slopes.offset != 0)


@pytest.mark.parametrize("activation", ["tanh", "relu", "elu", "gelu", "silu", "softplus", "sigmoid", "sin"])
def test_every_activation_runs(activation):
    raw = mdn.MLP(3, (8,), 15, activation, key=jax.random.key(0))(jnp.array([0.5, -2.0, 1.0]))
    assert raw.shape == (15,) and np.all(np.isfinite(raw))


def test_activations_are_what_their_names_say():
    x = jnp.array([0.7, -0.4, 1.1])
    functions = {
        "tanh": np.tanh,
        "relu": lambda v: np.maximum(v, 0),
        "sin": np.sin,
        "softplus": lambda v: np.logaddexp(v, 0),
    }
    for name, function in functions.items():
        mlp = mdn.MLP(3, (8,), 15, name, key=jax.random.key(0))  # pyright: ignore[reportArgumentType]
        layer = mlp.hidden[0]
        hidden = function(np.asarray(x) @ np.asarray(layer.kernel[...]) + np.asarray(layer.bias[...]))
        assert_allclose(mlp(x), hidden @ np.asarray(mlp.kernel[...]), rtol=1e-5, atol=1e-6)


def test_an_unknown_activation_names_the_nearest():
    with pytest.raises(mdn.InputError, match=r"unknown activation 'tahn': did you mean 'tanh'\?"):
        mdn.MLP(1, (2,), 1, "tahn", key=jax.random.key(0))  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("make_key", [jax.random.key, jax.random.PRNGKey], ids=["typed", "legacy"])
def test_the_key_alone_draws_the_weights(make_key):
    first, again, other = (call(network_of(3, key=make_key(seed)), jnp.ones(3)).locs for seed in (0, 0, 1))
    assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_plain_jit_vmap_and_grad():
    network = network_of(3, "full")
    xs, ys = jnp.ones((5, 3)) * jnp.arange(5.0)[:, None], jnp.ones((5, 2))

    @jax.jit
    def loss(network):
        return jax.vmap(mdn.nll)(jax.vmap(network)(xs), ys).mean()

    value, slopes = jax.jit(jax.value_and_grad(loss))(network)
    alone = jax.jit(lambda x, y: mdn.nll(network(x), y))
    looped = np.mean([alone(x, y) for x, y in zip(xs, ys, strict=True)])
    assert_allclose(value, looped, rtol=1e-5)
    assert jax.tree.structure(slopes) == jax.tree.structure(network)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(slopes))
    stepped = jax.tree.map(lambda parameter, slope: parameter - 1e-2 * slope, network, slopes)
    assert loss(stepped) < value


def test_networks_are_a_vmap_over_keys():
    def network(key):
        return network_of(3, key=key)(jnp.ones(3)).locs

    keys = jax.random.split(jax.random.key(0), 4)
    assert_allclose(jax.jit(jax.vmap(network))(keys), np.stack([network(key) for key in keys]), rtol=1e-5, atol=1e-6)


# Inputs in pieces


def test_pieces_of_an_input_are_equally_probable_lines():
    x = np.random.default_rng(0).normal(size=(200, 2)).astype(np.float32)
    ends = norm.ppf([0.005, 0.25, 0.5, 0.75, 0.995])
    found = jax.vmap(lambda one: in_bins(one, 4))(jnp.asarray(x)).reshape(200, 2, 4)
    for piece, (low, high) in enumerate(pairwise(ends)):
        assert_allclose(found[..., piece], np.interp(x, [low, high], [-1, 1]), atol=1e-5)


def test_a_network_without_its_share_is_the_one_without_pieces():
    plain, none, whole = (
        mdn.MLP(3, (8, 8), 15, input_bins=count, share=share, key=jax.random.key(0))
        for count, share in ((0, 1), (4, 0), (4, 1))
    )
    x = jnp.array([0.3, -1.0, 2.0])
    assert_array_equal(none(x), plain(x))
    assert not np.allclose(whole(x), plain(x))
    slopes = [jax.grad(lambda network: jnp.sum(network(x) ** 2))(network) for network in (none, whole)]
    assert [bool(np.any(slope.binned.kernel[...])) for slope in slopes] == [False, True]
    assert not any(np.any(slope.share[...]) for slope in slopes)


def test_every_second_network_of_an_ensemble_goes_without_pieces(tmp_path):
    x = np.random.default_rng(0).normal(size=(60, 2))
    model = mdn.ModelConfig(num_components=2, hidden_sizes=(4,), network_options={"input_bins": 3})
    training = mdn.TrainingConfig(num_steps=3, evaluate_every=3, ensemble_size=3, optimizer="adamw", weight_decay=0.1)
    fit = mdn.fit(jax.random.key(0), x, x[:, 0], model=model, training=training)
    mdn.save(tmp_path / "model", fit.model)
    for ensemble in (fit.model, mdn.load(tmp_path / "model")):
        assert [float(one.conditional.network.share[...]) for one in ensemble.conditional.models] == [1, 0, 1]


@pytest.mark.parametrize("count", [-1, 2.5, "5", True])
def test_less_than_no_pieces_are_refused(count):
    with pytest.raises(mdn.InputError, match=rf"input_bins must be a whole number, 0 or more; got {count!r}"):
        mdn.MLP(1, (2,), 1, input_bins=count, key=jax.random.key(0))

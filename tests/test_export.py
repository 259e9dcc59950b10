"""Law: `jax.export` writes what answers with a distribution, and reads it back: any scale, batch and platform."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import COVARIANCES
from jax import export
from numpy.testing import assert_allclose, assert_array_equal
from untrained import conditional

import mdn_jax as mdn

PLATFORMS = ("cpu", "cuda", "tpu")
X = np.linspace(-1, 1, 5, dtype=np.float32)[:, None]


def there_and_back(function, *arguments, **options):
    """The function, written for all platforms and read again."""
    return export.deserialize(export.export(jax.jit(function), platforms=PLATFORMS, **options)(*arguments).serialize())


def assert_same(found, expected, rtol=1e-5):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    jax.tree.map(lambda one, other: assert_allclose(one, other, rtol=rtol, atol=1e-6), found, expected)


@cache
def model(covariance, seed=0):
    """An untrained network of one input and two targets between units of its own."""
    spec = mdn.MixtureSpec(3, 2, covariance)
    network = conditional(1, (4,), spec, key=jax.random.key(seed))
    targets = mdn.Standardizer(np.array([1e3, -2.0]), np.array([0.1, 5.0]))
    return mdn.Model(network, mdn.Standardizer(np.zeros(1), np.ones(1)), targets, ("x",), ("a", "b"))


def test_every_distribution_comes_back_as_itself(case):
    mixture = case.mixture()
    back = there_and_back(lambda mixture: mixture, mixture)
    assert back.platforms == PLATFORMS
    found = back.call(mixture)
    assert type(found.scale) is type(mixture.scale)
    jax.tree.map(assert_array_equal, found, mixture)


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_a_model_of_one_example(covariance):
    back = there_and_back(model(covariance), jax.ShapeDtypeStruct((1,), jnp.float32))
    assert_same(back.call(X[0]), jax.jit(model(covariance))(X[0]))


def test_an_ensemble_of_any_batch():
    ensemble = mdn.ensemble([model("full"), model("diagonal", 1)])
    (batch,) = export.symbolic_shape("batch")
    back = there_and_back(jax.vmap(ensemble), jax.ShapeDtypeStruct((batch, 1), jnp.float32))
    for rows in (X, X[:2]):
        found = back.call(rows)
        assert found.locs.shape == (len(rows), 6, 2)
        assert_same(found, jax.jit(jax.vmap(ensemble))(rows))


def test_answers_are_written_too():
    def answer(x):
        mixture = model("full")(x)
        return mdn.sample(jax.random.key(0), mixture), mdn.quantile(mixture, 0.9), mdn.log_prob(mixture, jnp.zeros(2))

    back = there_and_back(answer, jax.ShapeDtypeStruct((1,), jnp.float32))
    assert_same(back.call(X[0]), jax.jit(answer)(X[0]), rtol=1e-4)

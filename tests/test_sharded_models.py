"""A law of meshes: a model mapped over a sharded batch gives what it gives on one device, sharded as the batch is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import COVARIANCES
from jax.sharding import NamedSharding, PartitionSpec
from numpy.testing import assert_allclose
from untrained import conditional

import mdn_jax as mdn
from mdn_jax.models import ConstantStd

XS = np.random.default_rng(0).normal(size=(8, 2)).astype(np.float32)
UNITS = mdn.Standardizer(np.array([3.0, -1.0]), np.array([2.0, 0.5]))


def model_of(covariance, size=1):
    """Untrained: the same program as a trained one's."""
    spec = mdn.MixtureSpec(1 if covariance == "unit" else 2, 2, covariance)
    networks = [conditional(2, (4,), spec, key=jax.random.key(seed)) for seed in range(size)]
    if covariance == "unit":
        networks = [ConstantStd(network, np.zeros(2, np.float32)) for network in networks]
    models = [mdn.Model(network, UNITS, UNITS) for network in networks]
    return models[0] if size == 1 else mdn.ensemble(models)


@pytest.mark.parametrize("with_mesh", [False, True], ids=["without set_mesh", "with set_mesh"])
@pytest.mark.parametrize("size", [1, pytest.param(2, marks=pytest.mark.slow)], ids=["model", "ensemble"])
@pytest.mark.parametrize("covariance", [*COVARIANCES, "unit"])
def test_a_model_follows_an_explicit_mesh(covariance, size, with_mesh):
    mesh = jax.make_mesh((1,), ("rows",))  # Explicit axes: types tell the sharding, however many devices there are
    xs = jax.device_put(jnp.asarray(XS), NamedSharding(mesh, PartitionSpec("rows")))
    mapped = jax.jit(jax.vmap(model_of(covariance, size)))
    shapes = [leaf.shape for leaf in jax.tree.leaves(jax.eval_shape(mapped, XS))]
    if with_mesh:
        with jax.set_mesh(mesh):
            found = mapped(xs)
    else:
        found = mapped(xs)
    assert [leaf.shape for leaf in jax.tree.leaves(found)] == shapes
    kept = found if covariance != "unit" else found.locs  # its weight and width are constants
    assert {leaf.sharding.spec[0] for leaf in jax.tree.leaves(kept)} == {"rows"}
    if size == 1:
        assert_allclose(found.locs[0], model_of(covariance)(XS[0]).locs, rtol=1e-5, atol=1e-5)

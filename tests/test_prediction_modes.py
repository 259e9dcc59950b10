"""Regions and modes of many mixtures at once, against the library's own solvers of one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import Case
from numpy.testing import assert_allclose
from scipy.stats import norm

import mdn_jax as mdn
from mdn_jax.prediction.climbing import joint_modes
from mdn_jax.prediction.landscape import regions_and_modes
from mdn_jax.statistics import weighted_modes

pytestmark = pytest.mark.slow


def test_regions_and_modes_of_many_mixtures_on_a_line():
    generator = np.random.default_rng(0)
    weights, locs = generator.dirichlet(np.ones(4), 400), 2 * generator.normal(size=(400, 4))
    stds = np.exp(-1 + 0.8 * generator.normal(size=(400, 4)))
    weights[0], locs[1], stds[1] = [1, 0, 0, 0], [-9, -9, 9, 9], 0.01  # one component; two far spikes, each twice
    for mass in (0.05, 0.5, 0.9, 0.999):
        regions, points, shares = regions_and_modes(weights, locs, stds, mass, 4)
        below = np.einsum(
            "rk,rkpe->rpe", weights, norm.cdf((regions[:, None] - locs[..., None, None]) / stds[..., None, None])
        )
        held = np.nansum(below[..., 1] - below[..., 0], axis=1)
        assert_allclose(held, mass, atol=2e-3)
        assert np.quantile(np.abs(held - mass), 0.95) < (5e-5 if mass >= 0.5 else 1e-3)
    ends = norm.interval(0.999, locs[0, 0], stds[0, 0])
    assert_allclose(regions[0, 0], ends, rtol=1e-3)
    assert_allclose(sorted(points[1][:2]), [-9, 9], atol=1e-5)
    assert_allclose(shares[1][:2].sum(), 1.0, rtol=1e-6)
    slopes = np.einsum("rk,rmk->rm", weights, -norm.pdf(points[..., None], locs[:, None], stds[:, None])
                       * (points[..., None] - locs[:, None]) / stds[:, None] ** 2)  # fmt: skip
    assert np.nanquantile(np.abs(slopes[2:]), 0.9) < 1e-4


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("case", [Case("full", 3, 2), Case("isotropic", 3, 2), Case("full", 3, 4)], ids=str)
def test_climbs_end_on_the_modes_that_the_library_finds(case):
    find = jax.jit(weighted_modes)
    for seed in range(5):
        mixture = case.mixture(seed)
        whiteners = mixture.scale.to_triangular(case.target_dim).whitener
        arrays = (np.asarray(array)[None] for array in (mixture.weights, mixture.locs, whiteners))
        points, shares = (values[0] for values in joint_modes(*arrays, 3))
        expected, weights, distinct = (np.asarray(values) for values in find(mixture))
        there = ~np.isnan(shares)
        assert there.sum() == distinct.sum()
        assert_allclose(points[there], expected[distinct], atol=1e-5)
        assert_allclose(shares[there], weights[distinct], rtol=1e-10)


def test_a_component_on_a_saddle_counts_with_the_nearest_mode():
    locs = jnp.array([[-3.0, 0.0], [3.0, 0.0], [0.0, 0.0]])
    mixture = mdn.Mixture(
        jnp.log(jnp.array([0.45, 0.45, 0.1])), locs, mdn.Isotropic(jnp.log(jnp.array([1.0, 1.0, 9.0])))
    )
    points, weights, distinct = jax.jit(weighted_modes)(mixture)
    assert int(distinct.sum()) == 2 and float(weights.sum()) == pytest.approx(1.0)
    whiteners = np.asarray(mixture.scale.to_triangular(2).whitener)[None]
    found, shares = joint_modes(np.asarray(mixture.weights)[None], np.asarray(locs)[None], whiteners, 3)
    assert sorted(np.abs(found[0, :2, 0])) == pytest.approx([abs(float(x)) for x in points[distinct][:, 0]], abs=1e-3)
    assert np.nansum(shares) == pytest.approx(1.0) and np.isnan(shares[0, 2])

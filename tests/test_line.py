"""The profile of a line: masses, levels and peaks against scipy's cumulative distributions and fine grids.

Rows are random mixtures, and those that are hard: levels that graze a peak or a valley, equal components, weights of
1e-30, spikes beside plains, and any units.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import Case
from numpy.testing import assert_allclose
from scipy.signal import find_peaks
from scipy.stats import norm

import mdn_jax as mdn
from mdn_jax.statistics import weighted_modes

MASSES = (0.05, 0.5, 0.9, 0.999)
TOLERANCE = {"float32": 1e-4, "float64": 1e-8}


def rows_of(kind, count=96, components=4):
    """Logits, centres and standard deviations (R, K), in double precision."""
    rng = np.random.default_rng([ord(kind[0]), count])
    logits, locs = 2 * rng.normal(size=(count, components)), 3 * rng.normal(size=(count, components))
    stds = np.exp(0.8 * rng.normal(size=(count, components)) - 1)
    if kind == "equal":
        half = components // 2
        locs[:, half:], stds[:, half:], logits[: count // 2] = locs[:, :half], stds[:, :half], 0.0
    if kind == "rare":
        logits[:, 0] -= 69.0  # a weight of 1e-30
    if kind == "spikes":
        stds[:, 0], locs[:, 0] = 1e-5 * stds[:, 0], 0.0
    if kind == "grazing":  # a second peak as high as what 0.5, 0.9, ... of the first one needs, nearly
        shares = np.repeat([0.5, 0.9, 0.7, 0.999], count // 4)
        locs, stds = np.array([[0.0, 40.0, 40.0, 40.0]]).repeat(count, 0), np.ones((count, components))
        heights = np.exp(-0.5 * norm.isf((1 - shares) / 2) ** 2) * np.exp(
            rng.normal(size=count) * 10.0 ** -rng.uniform(2, 8, count)
        )
        logits = np.log(np.stack([np.ones(count), *[heights / 3] * 3], axis=1))
    return logits, locs, stds


def mixtures(logits, locs, stds):
    return mdn.Mixture(jnp.asarray(logits), jnp.asarray(locs)[..., None], mdn.Isotropic(jnp.log(jnp.asarray(stds))))


def exact(mixture):
    """(R, K) weights, centres and standard deviations as the mixture holds them, in double precision."""
    logits = np.asarray(mixture.logits, np.float64)
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    stds = np.exp(np.asarray(mixture.scale.log_std, np.float64))
    return weights / weights.sum(axis=1, keepdims=True), np.asarray(mixture.locs, np.float64)[..., 0], stds


def density(parts, y):
    """(R, Y) of y (R, Y)."""
    weights, locs, stds = (part[:, :, None] for part in parts)
    return (weights * norm.pdf(y[:, None], locs, stds)).sum(axis=1)


def below(parts, y):
    weights, locs, stds = (part[:, :, None] for part in parts)
    return (weights * norm.cdf(y[:, None], locs, stds)).sum(axis=1)


@jax.jit
def regions(mixture, masses):
    return jax.lax.map(lambda one: jax.vmap(mdn.highest_density, (None, 0))(one, masses), mixture, batch_size=32)


@jax.jit
def reached(mixture, y):
    return jax.lax.map(lambda one: mdn.highest_density_mass(one[0], one[1][None]), (mixture, y), batch_size=32)


@jax.jit
def modes_and_weights(mixture):
    return jax.lax.map(lambda one: (mdn.modes(one), weighted_modes(one)[1]), mixture, batch_size=32)


KINDS = ("random", "equal", "rare", "spikes", "grazing")


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("kind", KINDS)
def test_regions_hold_their_mass_and_no_density_outside_is_higher(request, precision, kind):
    if precision == "float64":
        request.getfixturevalue("x64")
    mixture = mixtures(*rows_of(kind))
    found, parts = np.asarray(regions(mixture, jnp.asarray(MASSES)), np.float64), exact(mixture)
    for place, mass in enumerate(MASSES):
        ends = found[:, place]
        used = np.isfinite(ends[..., 0])
        lower, upper = below(parts, ends[..., 0]), below(parts, ends[..., 1])
        assert_allclose(np.where(used, upper - lower, 0.0).sum(axis=1), mass, atol=TOLERANCE[precision])
        if kind in ("random", "equal", "rare"):  # all ends are equally dense, but where a level grazes a turn
            heights = np.concatenate(
                [density(parts, np.where(used, ends[..., side], parts[1])) for side in (0, 1)], axis=1
            )
            both = np.concatenate([used, used], axis=1)
            least, most = np.where(both, heights, np.inf).min(axis=1), np.where(both, heights, 0.0).max(axis=1)
            assert np.quantile(most / least, 0.95) < 1 + {"float32": 1e-3, "float64": 1e-5}[precision]


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["random", "equal", "rare", "spikes"])
def test_the_mass_above_a_point_is_that_of_a_fine_grid(request, precision, kind):
    if precision == "float64":
        request.getfixturevalue("x64")
    mixture = mixtures(*rows_of(kind))
    parts, rng = exact(mixture), np.random.default_rng(1)
    own = np.arange(96), rng.integers(1, 4, 96)
    y = np.asarray(jnp.asarray(parts[1][own] + parts[2][own] * rng.normal(size=96)), np.float64)
    offsets = np.linspace(-9, 9, 12_001)
    grid = np.sort((parts[1][:, :, None] + parts[2][:, :, None] * offsets).reshape(96, -1), axis=1)
    heights, level = density(parts, grid), density(parts, y[:, None])
    cells, (first, second) = np.diff(below(parts, grid), axis=1), (heights[:, :-1] - level, heights[:, 1:] - level)
    # the grid tells the mass but for its cells that the level crosses, or in which it may hide a turn
    inside, near = (first > 0) & (second > 0), np.minimum(abs(first), abs(second)) < 1e-5 * level
    doubtful = ((first > 0) != (second > 0)) | near
    least = (cells * (inside & ~near)).sum(axis=1)
    found = np.asarray(reached(mixture, jnp.asarray(y)), np.float64)
    assert (found > least - 1e-4).all() and (found < least + (cells * doubtful).sum(axis=1) + 1e-4).all()
    assert np.median((cells * doubtful).sum(axis=1)) < 1e-3


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_no_mass_is_above_a_mode_and_little_beside_it(request, precision):
    if precision == "float64":
        request.getfixturevalue("x64")
    mixture = mixtures(*rows_of("random"))
    (points, _, distinct), _ = modes_and_weights(mixture)
    assert np.asarray(distinct[:, 0]).all()
    top, parts = np.asarray(points[:, 0, 0], np.float64), exact(mixture)
    assert_allclose(reached(mixture, points[:, 0, 0]), 0.0, atol=TOLERANCE[precision])
    step = 1e-3 * parts[2].min(axis=1)
    near = np.asarray(jnp.asarray(top + step), np.float64)
    # beside a peak the density is a parabola: 2 |y - mode| p(mode), to first order
    expected = 2 * np.abs(near - top) * density(parts, top[:, None])[:, 0]
    assert_allclose(reached(mixture, jnp.asarray(near)), expected, atol=TOLERANCE[precision], rtol=0.02)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("kind", ["random", "equal", "rare"])
def test_modes_are_all_the_peaks_of_a_fine_grid_and_share_the_weight(kind):
    mixture = mixtures(*rows_of(kind))
    parts = exact(mixture)
    (points, log_probs, distinct), weights = jax.tree.map(np.asarray, modes_and_weights(mixture))
    assert_allclose(weights.sum(axis=1), 1.0, rtol=1e-12)
    assert (np.diff(log_probs, axis=1) <= 1e-12).all()
    offsets = np.linspace(-9, 9, 2001)
    grid = np.sort((parts[1][:, :, None] + parts[2][:, :, None] * offsets).reshape(96, -1), axis=1)
    for row, heights in enumerate(density(parts, grid)):
        apart = np.append(np.diff(grid[row]) > 1e-5 * parts[2][row].min(), True)  # nearer points differ by rounding
        line, heights = grid[row][apart], heights[apart]
        tops, found = find_peaks(heights, prominence=1e-12 * heights.max())
        clear = found["prominences"] > 0.01 * heights[tops]  # turns within half a standard deviation can be missed
        tops = line[tops[clear]]
        own = points[row, distinct[row], 0]
        assert np.abs(own[:, None] - tops).min(axis=0).max() < 0.02 * parts[2][row].max()
        assert (distinct[row].sum() <= 4) and (np.diff(np.sort(own)) > 0).all()
        # and each is a peak
        beside = density(tuple(part[row : row + 1] for part in parts), own[None] + 1e-4 * parts[2][row].min())
        assert (beside[0] <= np.exp(log_probs[row, distinct[row]]) * (1 + 1e-12)).all()


@pytest.mark.parametrize("power", [-30, -19, 0, 26, 30])
def test_any_units(power):
    # the same rows in other units; a power of two keeps all digits
    unit = 2.0 ** round(power * np.log2(10))
    logits, locs, stds = rows_of("random", 32)
    one, other = mixtures(logits, locs, stds), mixtures(logits, locs * unit, stds * unit)
    first, second = (np.asarray(regions(mixture, jnp.asarray(MASSES)), np.float64) for mixture in (one, other))
    assert_allclose(second / unit, first, rtol=1e-3, atol=1e-3)
    y = rows_of("random", 32)[1][:, 0]
    assert_allclose(reached(other, jnp.asarray(y * unit)), reached(one, jnp.asarray(y)), atol=1e-4)
    assert_allclose(modes_and_weights(other)[0][0] / unit, modes_and_weights(one)[0][0], rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("x64")
def test_the_mass_that_reaches_a_point_has_gradients():
    # the registry's mixtures, by central differences
    for covariance in ("isotropic", "full"):
        mixture = Case(covariance, 3, 1).mixture()

        @jax.jit
        def reach(locs, y, mixture=mixture):
            return mdn.highest_density_mass(mdn.Mixture(mixture.logits, locs, mixture.scale), y)

        y, step = jnp.array([0.4]), 1e-5
        gradient = jax.jit(jax.grad(reach, argnums=(0, 1)))(mixture.locs, y)
        for component in range(3):
            apart = jnp.zeros((3, 1)).at[component].set(step)
            expected = (reach(mixture.locs + apart, y) - reach(mixture.locs - apart, y)) / (2 * step)
            assert float(gradient[0][component, 0]) == pytest.approx(float(expected), abs=1e-6)
        expected = (reach(mixture.locs, y + step) - reach(mixture.locs, y - step)) / (2 * step)
        assert float(gradient[1][0]) == pytest.approx(float(expected), abs=1e-6)


def test_a_component_on_a_saddle_counts_with_the_nearest_mode():
    locs = jnp.array([[-3.0, 0.0], [3.0, 0.0], [0.0, 0.0]])
    scale = mdn.Isotropic(jnp.log(jnp.array([1.0, 1.0, 9.0])))
    points, weights, distinct = jax.jit(weighted_modes)(mdn.Mixture(jnp.log(jnp.array([0.45, 0.45, 0.1])), locs, scale))
    assert int(distinct.sum()) == 2 and float(weights.sum()) == pytest.approx(1.0)
    assert np.abs(points[distinct][:, 0]) == pytest.approx(2.97, abs=0.05)

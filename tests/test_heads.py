"""Every real vector is a valid mixture, with a gradient that pulls back; the layout; where training starts."""

import math

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from cases import COVARIANCES, HEADS, covariances_of, log_prob
from numpy.testing import assert_allclose, assert_array_equal

import mdn_jax as mdn
from mdn_jax.heads import kernel
from mdn_jax.heads.mixture import by_role, raw_scale

unpack = jax.jit(mdn.unpack, static_argnums=0)
SMALL, LARGE = 0.013, 1e3  # floors for the tests of the floor


def spec_of(covariance, count=3, dim=2, min_std=1e-3):
    return mdn.MixtureSpec(num_components=count, target_dim=dim, covariance=covariance, min_std=min_std)


# --- layout ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("covariance", "count", "dim", "expected"),
    [  # counted by hand: K logits, K D centres, and the scales
        ("isotropic", 5, 3, 5 + 15 + 5),
        ("diagonal", 5, 3, 5 + 15 + 15),
        ("tied", 5, 3, 5 + 15 + 6),
        ("full", 5, 3, 5 + 15 + 30),
        ("diagonal", 1, 1, 3),
        ("unit", 1, 4, 4),
    ],
)
def test_num_outputs(covariance, count, dim, expected):
    assert spec_of(covariance, count, dim).num_outputs == expected


@pytest.mark.usefixtures("x64")
def test_full_covariance_is_a_chain_of_regressions():
    raw = np.array([0.3, 1.0, -2.0, 0.5, -0.7, 0.9])  # logit, centre, log std of what remains, y_1's slope on y_0
    mixture = unpack(spec_of("full", 1, 2, 0.1), jnp.asarray(raw))
    d = np.array([0.5, -0.7]) - np.log(0.1)
    first, second = 0.1 * np.exp((d + np.hypot(d, 1)) / 2)  # y_0 ~ N(., first^2), y_1 = 0.9 y_0 + N(., second^2)
    expected = [[first**2, 0.9 * first**2], [0.9 * first**2, 0.81 * first**2 + second**2]]
    assert_allclose(covariances_of(mixture)[0], expected, rtol=1e-13)
    assert_allclose(mixture.locs, [[1.0, -2.0]], rtol=1e-15)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("covariance", ["isotropic", "diagonal"])
def test_log_std_bends_from_the_floor_to_the_raw_scale(covariance):
    raw = np.linspace(-8, 8, spec_of(covariance).num_outputs)
    d = raw[9:] - np.log(SMALL)
    expected = np.log(SMALL) + (d + np.hypot(d, 1)) / 2
    mixture = unpack(spec_of(covariance, min_std=SMALL), jnp.asarray(raw))
    assert_allclose(mixture.logits, raw[:3], rtol=0)
    assert_allclose(mixture.locs, raw[3:9].reshape(3, 2), rtol=0)
    assert_allclose(np.asarray(mixture.scale.log_std).ravel(), expected, rtol=1e-13)


@pytest.mark.usefixtures("x64")
def test_raw_scales_are_those_that_unpack_reads():
    log_std = np.array([*np.log([1.001 * SMALL, 0.1, 1.0, 2_900.0]), 8.1, 12.0, 19.5])
    raw = [0.0] * 14 + [*raw_scale(log_std, SMALL)]
    assert_allclose(unpack(spec_of("isotropic", 7, 1, SMALL), jnp.asarray(raw)).scale.log_std, log_std, rtol=1e-12)


def test_far_above_the_floor_std_is_the_exponential():
    raw = jnp.array([0.0, 0.0, math.log(0.1)])
    assert_allclose(jnp.exp(unpack(spec_of("diagonal", 1, 1, 1e-3), raw).scale.log_std), 0.1, rtol=0.056)
    assert_allclose(jnp.exp(unpack(spec_of("diagonal", 1, 1, 1e-30), raw).scale.log_std), 0.1, rtol=0.004)


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_columns_of_components_are_put_in_the_order_that_unpack_reads(covariance):
    spec = spec_of(covariance, 5)
    columns = np.random.default_rng(0).normal(size=(5, spec.outputs_per_component)).astype(np.float32)
    mixture = unpack(spec, np.concatenate([np.zeros(spec.outputs_shared, np.float32), by_role(spec, columns)]))
    assert_array_equal(mixture.logits, columns[:, 0])
    assert_array_equal(mixture.locs, columns[:, 1 : 1 + spec.target_dim])


def test_tied_components_share_one_covariance():
    raw = np.random.default_rng(0).normal(size=spec_of("tied").num_outputs)
    whitener = unpack(spec_of("tied"), raw).scale.whitener
    assert_array_equal(whitener, np.stack([whitener[0]] * 3))


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
def test_half_precision_is_raised(dtype):
    mixture = unpack(spec_of("full"), jnp.ones(spec_of("full").num_outputs, dtype))
    assert {leaf.dtype for leaf in jax.tree.leaves(mixture)} == {jnp.dtype("float32")}
    assert log_prob(mixture, jnp.ones(2, dtype)).dtype == jnp.float32


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_no_standard_deviation_falls_below_the_floor(covariance):
    spec = spec_of(covariance, min_std=SMALL)
    raw = jnp.full(spec.num_outputs, -1e6)
    if isinstance(scale := unpack(spec, raw).scale, mdn.Triangular):
        remaining = 1 / np.diagonal(scale.whitener, axis1=1, axis2=2)
    else:
        remaining = np.exp(scale.log_std)
    assert_allclose(remaining, SMALL, rtol=1e-5)


# --- finite everywhere -----------------------------------------------------------------------------------------------


def hostile(draws, size, dim):
    """Raw outputs of every magnitude, half with one entry of +-1e6, and targets up to 1e6."""
    rng = np.random.default_rng(0)
    raw = rng.normal(size=(draws, size)) * rng.choice([1.0, 30.0, 100.0, 1e4], size=(draws, 1))
    raw[np.arange(draws // 2), rng.integers(size, size=draws // 2)] = rng.choice([-1e6, 1e6], size=draws // 2)
    y = rng.uniform(-1, 1, size=(draws, dim)) * rng.choice([0.0, 1.0, 1e3, 1e6], size=(draws, 1))
    return jnp.asarray(raw, jnp.float32), jnp.asarray(y, jnp.float32)


MILLION = [pytest.param(5, 3, 125_000, dtype, marks=pytest.mark.slow) for dtype in (jnp.float32, jnp.bfloat16)]
SIZES = [(5, 1, 20_000, jnp.float32), (5, 3, 20_000, jnp.float32), (5, 3, 20_000, jnp.bfloat16),
         (64, 8, 1_000, jnp.float32), *MILLION]  # fmt: skip
NAMES = ["K5-D1", "K5-D3", "K5-D3-half", "K64-D8", "million", "million-half"]  # the last two under four covariances


@pytest.mark.parametrize(("count", "dim", "draws", "dtype"), SIZES, ids=NAMES)
@pytest.mark.parametrize("covariance", COVARIANCES)
def test_nll_and_its_gradient_are_finite_everywhere(covariance, count, dim, draws, dtype):
    spec = spec_of(covariance, count, dim)

    @jax.jit
    @jax.vmap
    def finite(raw, y):
        loss = lambda raw, y: mdn.nll(mdn.unpack(spec, raw), y)  # noqa: E731
        value, gradients = jax.value_and_grad(loss, (0, 1))(raw.astype(dtype), y)
        return jnp.isfinite(value), jnp.isfinite(gradients[0]).all(), jnp.isfinite(gradients[1]).all()

    faults = [int((~f).sum()) for f in finite(*hostile(draws, spec.num_outputs, dim))]
    assert faults == [0, 0, 0]  # values, gradients in the raw outputs, gradients in the target


@pytest.mark.parametrize("covariance", COVARIANCES)
@pytest.mark.parametrize("raw_std", [-1e6, -1e4, -100.0, -8.0, 0.0])
def test_a_scale_that_is_too_small_is_pulled_up(covariance, raw_std):
    spec, slope = spec_of(covariance, 1), scale_slopes(covariance)
    assert np.all(slope(spec, raw_std, jnp.full(2, 1e3)) < 0)  # a target far off: descent increases the std


@pytest.mark.parametrize("covariance", COVARIANCES)
@pytest.mark.parametrize("raw_std", [1e6, 1e4, 100.0, 8.0, 1.0])
def test_a_scale_that_is_too_large_is_pulled_down(covariance, raw_std):
    spec, slope = spec_of(covariance, 1), scale_slopes(covariance)
    assert np.all(slope(spec, raw_std, jnp.full(2, 0.01)) > 0)  # a target near by: descent decreases the std


def scale_slopes(covariance):
    """d nll / d raw log std of one component at the origin with uncorrelated targets, as a function."""
    places = {"isotropic": [3], "diagonal": [3, 4], "tied": [0, 1], "full": [3, 4]}[covariance]

    def slope(spec, raw_std, y):
        raw = np.zeros(spec.num_outputs, np.float32)
        raw[places] = raw_std
        return np.asarray(_gradient(spec, raw, y))[places]

    return slope


_gradient = jax.jit(
    jax.grad(lambda spec, raw, y: mdn.nll(mdn.unpack(spec, raw), y), argnums=1), static_argnums=0
)  # fmt: skip


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_no_gradient_vanishes_at_zero_outputs(covariance):
    spec = spec_of(covariance)
    raw = np.zeros(spec.num_outputs, np.float32)
    # components that are all alike share their logits' pull: move one centre
    raw[spec.num_outputs - spec.outputs_per_component + 1] = 0.5
    assert np.all(np.asarray(_gradient(spec, raw, jnp.array([0.7, -2.1]))) != 0)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("raw", [-1e4, -50.0, -4.4, -4.3, 0.0, 7.99, 8.0, 8.01, 30.0, 1e4])
def test_the_slope_of_a_scale_is_that_of_its_formula(raw):
    mpmath.mp.dps = 40
    floor = mpmath.log(mpmath.mpf(SMALL))

    def formula(raw):
        excess = max(raw - 8, 0)
        d = min(raw, 8) + excess / (1 + excess / 12) - floor
        return floor + (d + mpmath.sqrt(d**2 + 1)) / 2

    log_std = lambda raw: unpack(spec_of("isotropic", 1, 1, SMALL), jnp.stack([0.0, 0.0, raw])).scale.log_std[0]  # noqa: E731
    value, slope = jax.jit(jax.value_and_grad(log_std))(raw)
    assert_allclose(value, float(formula(mpmath.mpf(raw))), rtol=1e-14)
    assert_allclose(slope, float(mpmath.diff(formula, mpmath.mpf(raw), h=mpmath.mpf("1e-15"))), rtol=1e-9)
    assert_allclose(slope, jax.jit(jax.jacfwd(log_std))(raw), rtol=1e-15)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("distance", [-3.0, 0.0, 1.0])
def test_the_curvature_of_a_scale_is_that_of_its_formula(distance):
    log_std = lambda raw: unpack(spec_of("isotropic", 1, 1, 1.0), jnp.stack([0.0, 0.0, raw])).scale.log_std[0]  # noqa: E731
    assert_allclose(jax.jit(jax.hessian(log_std))(distance), 0.5 * (1 + distance**2) ** -1.5, rtol=1e-14)


@pytest.mark.parametrize("covariance", COVARIANCES)
@pytest.mark.parametrize("spread", [1e-9, 0.01, 1.0, 1e5])
def test_components_start_half_as_wide_as_the_targets(covariance, spread):
    y = spread * np.array([[-1.0], [1.0]]) * np.ones((1, 2))
    scale = unpack(spec_of(covariance), mdn.initial_bias(spec_of(covariance), y)).scale
    assert_allclose(scale.std(2), max(0.5 * spread, 2e-3), rtol=1e-5)


def test_targets_that_spread_too_far_are_refused():
    with pytest.raises(mdn.InputError, match=r"targets with a std of 1e\+09 are beyond 1.8e\+08: standardise them"):
        mdn.initial_bias(spec_of("diagonal", 1, 1), np.array([-1e9, 1e9]))


# --- where training starts -------------------------------------------------------------------------------------------


def targets(dim):
    return np.random.default_rng(0).normal(size=(200, dim)) * [3.0, 0.1, 50.0][:dim] + [5.0, -1.0, 0.0][:dim]


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_initial_centres_are_spread_within_the_targets(covariance):
    y = targets(3)
    mixture = unpack(spec_of(covariance, 10, 3), mdn.initial_bias(spec_of(covariance, 10, 3), y))
    locs = np.asarray(mixture.locs)
    assert np.all(locs >= y.min(axis=0)) and np.all(locs <= y.max(axis=0))
    ranks = np.mean(y[None] <= locs[:, None], axis=1)
    assert np.all(np.diff(np.sort(ranks, axis=0), axis=0) < 1 / 3)  # no third of any target's mass without a centre
    assert_allclose(mixture.weights, 0.1, rtol=1e-6)


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_the_start_of_fewer_components_is_a_prefix(covariance):
    few, many = (
        unpack(spec_of(covariance, count, 3), mdn.initial_bias(spec_of(covariance, count, 3), targets(3)))
        for count in (3, 7)
    )
    jax.tree.map(lambda a, b: assert_array_equal(a, b[:3]), few, many)


def test_one_component_starts_as_wide_as_the_targets():
    y = targets(2)
    mixture = mdn.unpack(
        spec_of("diagonal", 1, min_std=1e-9), mdn.initial_bias(spec_of("diagonal", 1, min_std=1e-9), y)
    )
    assert_allclose(jax.jit(mdn.std)(mixture), y.std(axis=0), rtol=1e-5)


def test_the_start_leaves_out_nan_and_takes_one_column_flat():
    y, spec = targets(1)[:, 0], spec_of("diagonal", 4, 1)
    with_gaps = np.concatenate([y, [np.nan, np.inf]])
    assert_array_equal(mdn.initial_bias(spec, with_gaps), mdn.initial_bias(spec, y[:, None]))


def test_least_squares_starts_at_the_mean():
    y = targets(3)
    assert_allclose(mdn.initial_bias(spec_of("unit", 1, 3), y), y.mean(axis=0), rtol=1e-6)


# --- messages --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_components": 0}, "num_components must be at least 1; got 0"),
        ({"num_components": 1, "target_dim": 0}, "target_dim must be at least 1; got 0"),
        ({"num_components": 1, "covariance": "diag"}, "unknown covariance 'diag': did you mean 'diagonal'?"),
        ({"num_components": 1, "min_std": 0.0}, "min_std must be positive, or a density can grow without bound"),
        ({"num_components": 1, "min_std": float("nan")}, "min_std must be positive"),
        ({"num_components": 1, "min_std": 3e3}, "and below 2981; got 3000.0"),
        ({"num_components": 2, "covariance": "unit"}, "covariance 'unit' has one component"),
    ],
)
def test_a_spec_says_what_is_wrong(fields, message):
    with pytest.raises(mdn.InputError) as error:
        mdn.MixtureSpec(**fields)
    assert message in str(error.value)


def test_initial_bias_says_what_is_wrong():
    with pytest.raises(mdn.InputError, match=r"takes targets \(N, 2\); got \(5, 3\)"):
        mdn.initial_bias(spec_of("full"), np.zeros((5, 3)))
    with pytest.raises(mdn.InputError, match="a finite value in every target column"):
        mdn.initial_bias(spec_of("full"), np.array([[1.0, np.nan], [2.0, np.nan]]))


# --- every head ------------------------------------------------------------------------------------------------------


def columns_of(spec, count=60):
    """Targets that a head of the registry can have: numbers, and codes 0 to 2."""
    rng = np.random.default_rng(0)
    blocks = spec.specs if isinstance(spec, mdn.ProductSpec) else (spec,)
    kinds = [isinstance(block, mdn.CategoricalSpec) for block in blocks for _ in range(block.target_dim)]
    columns = [rng.integers(3, size=count) if kind else rng.normal(5.0, 3.0, size=count) for kind in kinds]
    return np.stack(columns, axis=1).astype(float)


@pytest.mark.parametrize("name", HEADS)
def test_every_raw_vector_is_a_distribution_with_a_gradient(name):
    spec = HEADS[name]
    assert hash(spec) == hash(eval(repr(spec), vars(mdn)))
    y = jnp.asarray(columns_of(spec), jnp.float32)
    raw, _ = hostile(len(y), spec.num_outputs, 1)
    slopes = jax.jit(jax.vmap(jax.value_and_grad(lambda raw, y: mdn.nll(mdn.unpack(spec, raw), y))))(raw, y)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slopes))
    assert mdn.unpack(spec, raw[0].astype(jnp.bfloat16)).target_dim == spec.target_dim
    assert {leaf.dtype.name for leaf in jax.tree.leaves(mdn.unpack(spec, raw[0].astype(jnp.float16)))} == {"float32"}


@pytest.mark.parametrize("name", HEADS)
def test_every_head_starts_from_what_is_known(name):
    spec = HEADS[name]
    y = columns_of(spec)
    raw, with_gaps = mdn.initial_bias(spec, y), np.concatenate([y, np.full((1, y.shape[1]), np.nan)])
    assert raw.shape == (spec.num_outputs,) and spec.units(y).scale.shape == (spec.target_dim,)
    assert_allclose(mdn.initial_bias(spec, with_gaps), raw, rtol=1e-6)
    assert kernel(spec, jax.random.key(0), 7).shape == (7, spec.num_outputs)


def test_blocks_and_targets_start_as_they_would_alone():
    spec = HEADS["product"]
    y = columns_of(spec)
    parts = [mdn.initial_bias(one, own) for one, own in zip(spec.specs, np.split(y, [2, 3], axis=1))]
    assert_array_equal(mdn.initial_bias(spec, y), np.concatenate(parts))
    each = [mdn.initial_bias(mdn.MixtureSpec(2), column) for column in y[:, 3:].T]
    assert_array_equal(parts[2], np.concatenate(each))
    assert_allclose(np.exp(parts[1]), (1 + np.bincount(y[:, 2].astype(int))) / (3 + len(y)), rtol=1e-6)
    expected = [*y[:, :2].std(axis=0), 1.0, *y[:, 3:].std(axis=0)]
    assert_allclose(spec.units(y).scale, expected, rtol=1e-12)
    weights = spec.kernel(jax.random.key(0), 7)
    assert len(np.unique(weights)) == weights.size  # no block, and no target, shares another's draws


def test_isotropic_targets_keep_their_own_units():
    for unit in (1e-200, 1.0, 1e200):
        y = unit * np.random.default_rng(0).normal([3.0, 0.0, 7.0], [1.0, 2.0, 0.0], size=(50, 3))
        units = HEADS["isotropic"].units(y)
        assert_allclose(units.shift, y.mean(axis=0), rtol=1e-12)
        assert_allclose(units.scale / unit, np.full(3, np.sqrt(np.mean((y / unit).var(axis=0)))), rtol=1e-12)
    assert_array_equal(HEADS["isotropic"].units(np.ones((5, 2))).scale, [1.0, 1.0])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: mdn.CategoricalSpec(1), "num_classes must be at least 2; got 1"),
        (lambda: mdn.IndependentSpec(0), "num_components must be at least 1; got 0"),
        (lambda: mdn.IndependentSpec(1, 0), "target_dim must be at least 1; got 0"),
        (lambda: mdn.ProductSpec(()), "ProductSpec takes at least one spec; got none"),
        (lambda: mdn.initial_bias(mdn.CategoricalSpec(3), np.array([0, 1, 5])), "class codes 0 to 2; got [5.0]"),
        (lambda: mdn.initial_bias(mdn.CategoricalSpec(3), np.array([0.5, 1])), "class codes 0 to 2; got [0.5]"),
        (lambda: mdn.initial_bias(HEADS["product"], np.zeros((5, 2))), "takes targets (N, 5); got (5, 2)"),
        (lambda: mdn.unpack(HEADS["product"], jnp.zeros(3)), "unpack takes one raw vector of shape (24,); got (3,)"),
    ],
)
def test_every_head_says_what_is_wrong(make, message):
    with pytest.raises(mdn.InputError) as error:
        make()
    assert message in str(error.value) and "\n" not in str(error.value)

"""Laws over every distribution of the registry: what can be done to one keeps to what its density says."""

from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import DISTRIBUTIONS, Case, blocks, independent, num_classes, targets_of
from jax import export
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import log_softmax, logsumexp
from scipy.stats import chisquare, kstest

import mdn_jax as mdn

KEY = jax.random.key
NUMBERS = ("independent", "numbers", "merged numbers")
log_prob, log_probs = jax.jit(mdn.log_prob), jax.jit(jax.vmap(mdn.log_prob, (None, 0)))
observed_log_prob = jax.jit(lambda distribution, y, seen: mdn.log_prob(distribution, y, observed=seen))
marginal = jax.jit(mdn.marginal, static_argnums=1)
each_distribution = pytest.mark.parametrize("name", DISTRIBUTIONS)
each_of_numbers = pytest.mark.parametrize("name", NUMBERS)


@pytest.mark.usefixtures("x64")
@each_distribution
def test_the_mass_of_every_target_is_one(name):
    distribution = DISTRIBUTIONS[name]()
    for d, classes in enumerate(num_classes(distribution)):
        points = np.linspace(-60, 60, 20_001) if classes is None else np.arange(classes)
        densities = np.exp(log_probs(marginal(distribution, d), jnp.asarray(points, float)[:, None]))
        assert_allclose(np.trapezoid(densities, points) if classes is None else densities.sum(), 1.0, rtol=1e-9)


@pytest.mark.usefixtures("x64")
@each_distribution
def test_observed_is_the_marginal_of_what_is_observed(name):
    distribution = DISTRIBUTIONS[name]()
    (y,), dim = targets_of(distribution, 1), distribution.target_dim
    for size in range(1, dim + 1):
        for dims in combinations(range(dim), size):
            seen = np.isin(np.arange(dim), dims)
            expected = log_prob(marginal(distribution, dims), y[np.array(dims)])
            assert_allclose(observed_log_prob(distribution, jnp.where(seen, y, jnp.nan), seen), expected, rtol=1e-9)
            assert_allclose(mdn.nll(mdn.Observed(distribution, jnp.asarray(seen)), y), -expected, rtol=1e-9)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", [name for name in DISTRIBUTIONS if name != "categorical"])
def test_a_density_is_the_marginal_times_the_conditional(name):
    distribution = DISTRIBUTIONS[name]()
    (y,), dim = targets_of(distribution, 1, seed=2), distribution.target_dim
    for given in [(0,), (dim - 1,), (dim - 1, 0)]:
        free = np.array([d for d in range(dim) if d not in given])
        known = jax.jit(mdn.condition, static_argnums=1)(distribution, given, y[np.array(given)])
        parts = log_prob(marginal(distribution, given), y[np.array(given)]) + log_prob(known, y[free])
        assert_allclose(parts, log_prob(distribution, y), rtol=1e-9)


@pytest.mark.usefixtures("x64")
@each_distribution
def test_marginals_come_in_the_order_asked(name):
    distribution = DISTRIBUTIONS[name]()
    (y,), dims = targets_of(distribution, 1), tuple(reversed(range(distribution.target_dim)))
    turned = marginal(distribution, dims)
    assert_allclose(log_prob(turned, y[::-1]), log_prob(distribution, y), rtol=1e-9)


def test_targets_that_depend_on_each_other_stay_side_by_side():
    with pytest.raises(mdn.InputError, match=r"targets \[0, 1\] depend on each other: ask for them side by side"):
        mdn.marginal(blocks(), (0, 2, 1))
    numbers = mdn.marginal(DISTRIBUTIONS["numbers"](), (2, 0, 3))  # those of a block of independent ones need not
    assert numbers.target_dim == 3


@pytest.mark.usefixtures("x64")
@each_distribution
def test_units_change_the_density_by_their_logarithm(name):
    distribution = DISTRIBUTIONS[name]()
    (y,), numeric = targets_of(distribution, 1), np.array([c is None for c in num_classes(distribution)])
    shift, scale = jnp.asarray(np.where(numeric, 5.0, 0.0)), jnp.asarray(np.where(numeric, -0.3, 1.0))
    changed = mdn.affine(distribution, shift=shift, scale=scale)
    expected = log_prob(distribution, y) - np.log(0.3) * numeric.sum()
    assert_allclose(log_prob(changed, shift + scale * y), expected, rtol=1e-9)


@pytest.mark.usefixtures("x64")
@each_distribution
def test_merged_is_the_log_of_the_mean_density(name):
    one, two = DISTRIBUTIONS[name](3), DISTRIBUTIONS[name](4)
    merged = mdn.merge([one, two], jnp.array([1.0, 3.0]))
    for y in targets_of(one, 3):
        expected = logsumexp([log_prob(one, y), log_prob(two, y)], b=[0.25, 0.75])
        assert_allclose(log_prob(merged, y), expected, rtol=1e-12)
    batched = mdn.merge(
        jax.tree.map(lambda *leaves: jnp.stack(leaves), one, two), log_weights=jnp.log(jnp.array([1, 3.0]))
    )
    assert_allclose(log_prob(batched, y), expected, rtol=1e-12)


@each_distribution
def test_samples_follow_every_marginal(name):
    distribution = DISTRIBUTIONS[name]()
    draws = np.asarray(jax.jit(mdn.sample, static_argnums=2)(KEY(1), distribution, (4_000,)))
    for d, classes in enumerate(num_classes(distribution)):
        one = marginal(distribution, d)
        if classes is None:
            says = jax.jit(jax.vmap(mdn.cdf, (None, 0)))(one, draws[:, d, None])
            assert kstest(np.ravel(says), "uniform").pvalue > 1e-3
        else:
            probs = np.asarray(one.probs, np.float64)
            counts = np.bincount(draws[:, d].astype(int), minlength=classes)
            assert chisquare(counts, 4_000 * probs / probs.sum()).pvalue > 1e-3
    assert np.isfinite(log_probs(distribution, draws)).all()


@each_of_numbers
def test_samples_have_the_moments_that_are_told(name):
    distribution = DISTRIBUTIONS[name]()
    draws = np.asarray(jax.jit(mdn.sample, static_argnums=2)(KEY(1), distribution, (40_000,)), np.float64)
    mean, std = jax.jit(mdn.mean)(distribution), jax.jit(mdn.std)(distribution)
    assert_allclose(draws.mean(axis=0), mean, atol=5 * np.max(std) / 200)
    covariance = np.asarray(jax.jit(mdn.covariance)(distribution))
    assert_allclose(np.sqrt(np.diag(covariance)), std, rtol=1e-5)
    assert_allclose(np.cov(draws.T) / np.outer(std, std), covariance / np.outer(std, std), atol=0.05)


@each_distribution
def test_a_temperature_is_a_distribution_of_its_own(name):
    distribution = DISTRIBUTIONS[name]()
    cooled = mdn.sample(KEY(0), distribution, (5,), temperature=0.5)
    assert_allclose(mdn.sample(KEY(0), mdn.temper(distribution, 0.5), (5,)), cooled, rtol=1e-4, atol=1e-5)
    coldest = mdn.sample(KEY(0), distribution, (5,), temperature=0.0)
    assert_array_equal(coldest, np.broadcast_to(mdn.sample(KEY(9), distribution, temperature=0.0), coldest.shape))
    neat = mdn.sample(KEY(0), mdn.sketch_rnn_temper(mdn.graves_bias(distribution, 20.0), 1e-3), (2,))
    assert_allclose(neat, coldest[:2], atol=1e-3)


@pytest.mark.usefixtures("x64")
@each_of_numbers
def test_the_distribution_function_inverts_the_quantile(name):
    distribution = DISTRIBUTIONS[name]()
    at = jax.jit(mdn.quantile)(distribution, 0.3)
    for function, expected in [(mdn.cdf, 0.3), (mdn.log_cdf, np.log(0.3)), (mdn.log_survival, np.log(0.7))]:
        assert_allclose(jax.jit(function)(distribution, at), np.full(len(at), expected), rtol=1e-9)
    ends = jax.jit(mdn.interval)(distribution, 0.4)
    assert_allclose(ends[0], at, rtol=1e-9)
    assert np.all(np.asarray(jax.jit(mdn.tail_mean)(distribution, 0.3)) > at)


@pytest.mark.usefixtures("x64")
@each_of_numbers
def test_scores_are_those_of_the_marginals(name):
    distribution = DISTRIBUTIONS[name]()
    (y,), dim = targets_of(distribution, 1), distribution.target_dim
    alone = [(marginal(distribution, d), y[d : d + 1]) for d in range(dim)]
    assert_allclose(jax.jit(mdn.crps)(distribution, y), np.mean([jax.jit(mdn.crps)(*one) for one in alone]), rtol=1e-12)
    errors = [jax.jit(mdn.squared_error)(*one) for one in alone]
    assert_allclose(jax.jit(mdn.squared_error)(distribution, y), np.sum(errors), rtol=1e-9)
    keys = jax.random.split(KEY(0), 40)
    scores = jax.jit(jax.vmap(lambda key: mdn.energy_score(key, distribution, y, 50)))(keys)
    draws = np.asarray(jax.jit(mdn.sample, static_argnums=2)(KEY(1), distribution, (4_000,)))
    pairs = np.linalg.norm(draws[::2] - draws[1::2], axis=1).mean()
    expected = np.linalg.norm(draws - np.asarray(y), axis=1).mean() - 0.5 * pairs
    assert_allclose(scores.mean(), expected, atol=5 * np.hypot(scores.std() / 40**0.5, 2 * draws.std() / 4_000**0.5))


def test_energy_scores_have_gradients_in_the_weights():
    gradient = jax.jit(jax.grad(lambda d, y: mdn.energy_score(KEY(0), d, y, 16)))
    for name in NUMBERS:
        distribution = DISTRIBUTIONS[name]()
        leaves = jax.tree.leaves(gradient(distribution, targets_of(distribution, 1)[0]))
        assert all(np.isfinite(leaf).all() and np.any(leaf != 0) for leaf in leaves)


@pytest.mark.usefixtures("x64")
def test_boxes_of_blocks_multiply():
    one, two = independent(), independent(5)
    low = jnp.array([-1.0, 0.0, -jnp.inf])
    high = jnp.array([2.0, 0.5, 1.0])
    masses = [
        np.prod([mdn.cdf(mdn.marginal(d, i), high[i : i + 1]) - mdn.cdf(mdn.marginal(d, i), low[i : i + 1])
                 for i in range(3)]) for d in (one, two)
    ]  # fmt: skip
    assert_allclose(np.exp(jax.jit(mdn.log_mass)(one, low, high)), masses[0], rtol=1e-9)
    merged = mdn.merge([mdn.Product((one,)), mdn.Product((two,))])
    assert_allclose(np.exp(jax.jit(mdn.log_mass)(merged, low, high)), np.mean(masses), rtol=1e-9)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", ["independent", "product", "numbers"])
def test_modes_of_blocks_are_combinations_best_first(name):
    distribution = DISTRIBUTIONS[name]()
    points, found, distinct = jax.jit(mdn.modes)(distribution)
    assert_allclose(found, log_probs(distribution, points), rtol=1e-9)
    assert np.all(np.diff(found) <= 1e-12) and distinct[0]
    assert_array_equal(jax.jit(mdn.mode)(distribution), points[0])
    rng, numeric = np.random.default_rng(0), np.array([c is None for c in num_classes(distribution)])
    nearby = points[:1] + 0.05 * numeric * rng.normal(size=(50, distribution.target_dim))
    assert np.all(log_probs(distribution, nearby) <= found[0] + 1e-9)
    assert np.all(log_probs(distribution, targets_of(distribution, 500)) <= found[0])


@each_distribution
def test_strict_and_in_both_precisions(name):
    for x64, dtype in ((False, "float32"), (True, "float64")):
        with jax.enable_x64(x64), jax.numpy_dtype_promotion("strict"), jax.debug_nans(True):
            distribution = DISTRIBUTIONS[name]()
            (y,) = targets_of(distribution, 1)
            seen = jnp.arange(distribution.target_dim) % 2 == 0
            answer = jax.jit(lambda distribution, y, seen: [
                mdn.nll(distribution, y), jax.grad(mdn.nll)(distribution, y), mdn.nll(distribution, y, observed=seen),
                mdn.sample(KEY(0), distribution, (2,)), mdn.marginal(distribution, -1), mdn.temper(distribution, 2.0),
                mdn.merge([distribution] * 2),
                mdn.affine(distribution, shift=jnp.zeros_like(y), scale=jnp.ones_like(y)),
            ])  # fmt: skip
            says = answer(distribution, y, seen)
            assert {leaf.dtype.name for leaf in jax.tree.leaves(says)} == {dtype}
            assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(says))


@pytest.mark.usefixtures("x64")
@each_distribution
def test_the_gradient_is_the_slope(name):
    distribution = DISTRIBUTIONS[name]()
    (y,), rng = targets_of(distribution, 1), np.random.default_rng(0)
    way = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), distribution)
    at = lambda t: log_prob(jax.tree.map(lambda leaf, step: leaf + t * step, distribution, way), y)  # noqa: E731
    slope = sum(
        jax.tree.leaves(jax.tree.map(lambda a, b: jnp.sum(a * b), jax.grad(mdn.log_prob)(distribution, y), way))
    )
    assert_allclose(slope, (at(1e-6) - at(-1e-6)) / 2e-6, rtol=1e-5)


@each_distribution
def test_mapped_compiled_and_exported_alike(name):
    many = [DISTRIBUTIONS[name](seed) for seed in range(3)]
    batch, ys = jax.tree.map(lambda *leaves: jnp.stack(leaves), *many), targets_of(many[0], 3)
    mapped = jax.jit(jax.vmap(mdn.log_prob))(batch, ys)
    assert_allclose(mapped, [mdn.log_prob(one, y) for one, y in zip(many, ys)], rtol=2e-5)
    back = export.deserialize(export.export(jax.jit(lambda distribution: distribution))(many[0]).serialize())
    found = back.call(many[0])
    assert type(found) is type(many[0])
    jax.tree.map(assert_array_equal, found, many[0])
    for function in (mdn.log_prob, mdn.nll):
        for wrong, y in ((batch, ys), (batch, ys[0]), (many[0], ys)):
            with pytest.raises(mdn.InputError, match=rf"use jax.vmap\(mdn.{function.__name__}\)"):
                function(wrong, y)


@pytest.mark.usefixtures("x64")
def test_a_component_for_each_target_is_a_diagonal_mixture():
    one = Case("diagonal", 1, 3).mixture()
    apart = mdn.Independent(
        mdn.Mixture(jnp.zeros((3, 1)), one.locs.T[..., None], mdn.Diagonal(one.scale.log_std.T[..., None]))
    )
    (y,) = targets_of(one, 1)
    for function in (mdn.log_prob, mdn.cdf, mdn.crps, mdn.log_survival, mdn.squared_error):
        assert_allclose(jax.jit(function)(apart, y), jax.jit(function)(one, y), rtol=1e-12)
    for function in (mdn.mean, mdn.std, mdn.covariance, mdn.mode):
        assert_allclose(jax.jit(function)(apart), jax.jit(function)(one), rtol=1e-9, atol=1e-12)
    assert_allclose(mdn.quantile(apart, 0.2), mdn.quantile(one, 0.2), rtol=1e-12)


@pytest.mark.usefixtures("x64")
@each_distribution
def test_a_product_of_one_block_is_that_block(name):
    block = DISTRIBUTIONS[name]()
    for y in targets_of(block, 3):
        assert_allclose(log_prob(mdn.Product((block,)), y), log_prob(block, y), rtol=1e-12)


# Classes


@pytest.mark.usefixtures("x64")
def test_classes_have_the_softmax_of_their_logits():
    logits = np.array([0.3, -jnp.inf, 2.0])
    kinds = mdn.Categorical(jnp.asarray(logits))
    with np.errstate(divide="ignore"):
        assert_allclose(log_probs(kinds, jnp.arange(3)[:, None]), log_softmax(logits), rtol=1e-12)
    assert_array_equal(log_probs(kinds, jnp.array([[0.5], [-1.0], [3.0], [jnp.nan]])), np.full(4, -np.inf))
    points, found, distinct = mdn.modes(kinds)
    assert_array_equal(points[:, 0], [2, 0, 1])
    assert_array_equal(distinct, [True, True, False])
    assert mdn.mode(kinds) == 2 == mdn.sample(KEY(0), kinds, temperature=0.0)
    assert mdn.nll(kinds, jnp.array([2])) == -found[0]


def test_classes_have_no_units():
    kinds = mdn.Categorical(jnp.zeros(3))
    with pytest.raises(mdn.InputError, match="affine needs numbers; a categorical target has shift 0 and scale 1 only"):
        mdn.affine(kinds, shift=jnp.ones(1), scale=jnp.ones(1))
    same = jax.jit(lambda kinds, units: units.restore(kinds))(kinds, mdn.Standardizer.identity(1))
    assert_array_equal(same.logits, kinds.logits)
    with pytest.raises(mdn.InputError, match=r"the same classes; got numbers of classes \[2, 3\]"):
        mdn.merge([kinds, mdn.Categorical(jnp.zeros(2))])


# What one cannot do is refused by name

OF_ONE, OF_Y = ("mean", "std", "covariance"), ("cdf", "log_cdf", "log_survival", "crps", "squared_error")
OF_SHARE, ONLY_ONE = ("quantile", "interval", "tail_mean"), ("highest_density", "highest_density_mass")
STATISTICS = {
    **{name: lambda d, y, name=name: getattr(mdn, name)(d) for name in OF_ONE},
    **{name: lambda d, y, name=name: getattr(mdn, name)(d, y) for name in (*OF_Y, "highest_density_mass")},
    **{name: lambda d, y, name=name: getattr(mdn, name)(d, 0.5) for name in (*OF_SHARE, "highest_density")},
    "log_mass": lambda d, y: mdn.log_mass(d, y, y + 1),
    "energy_score": lambda d, y: mdn.energy_score(KEY(0), d, y, 2),
    "rsample": lambda d, y: mdn.rsample(KEY(0), d),
}  # fmt: skip
OTHERS = {
    "sample": lambda d: mdn.sample(KEY(0), d), "mode": mdn.mode, "modes": mdn.modes,
    "marginal": lambda d: mdn.marginal(d, 0), "condition": lambda d: mdn.condition(d, 0, 0.0),
    "affine": lambda d: mdn.affine(d, shift=jnp.zeros(2), scale=jnp.ones(2)), "temper": lambda d: mdn.temper(d, 2.0),
}  # fmt: skip


@pytest.mark.parametrize("name", STATISTICS)
def test_what_needs_numbers_says_so(name):
    with pytest.raises(mdn.InputError) as caught:
        STATISTICS[name](mdn.Categorical(jnp.zeros(3)), jnp.zeros(1))
    assert str(caught.value) == f"{name} needs numbers; target 0 is categorical"
    if name not in ONLY_ONE:
        beside = mdn.Product((Case("diagonal", 3, 2).mixture(), mdn.Categorical(jnp.zeros(3))))
        with pytest.raises(mdn.InputError) as caught:
            STATISTICS[name](beside, jnp.zeros(3))
        assert str(caught.value) == f"{name} needs numbers; target 2 is categorical"


@pytest.mark.parametrize("name", [*STATISTICS, *OTHERS])
def test_what_needs_every_target_says_so(name):
    seen, y = mdn.Observed(Case("diagonal", 3, 2).mixture(), jnp.array([True, False])), jnp.zeros(2)
    if name in ONLY_ONE:
        seen, y = mdn.Observed(Case("diagonal", 3, 1).mixture(), jnp.array([False])), jnp.zeros(1)
    with pytest.raises(mdn.InputError) as caught:
        STATISTICS[name](seen, y) if name in STATISTICS else OTHERS[name](seen)
    assert str(caught.value) == f"{name} needs every target; some are missing"

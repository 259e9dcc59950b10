"""Masses that regions need against the normal's own; order statistics; coverage; scores with weights and masks."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import optimize, stats

import mdn_jax as mdn
from mdn_jax import models
from mdn_jax.judging import needed_masses
from mdn_jax.models import Calibration, map_rows, standard_rows
from mdn_jax.models.calibration import LARGEST_MASS

COUNT = 1_000


# The mass of the region that reaches one target

MIXTURES = {  # weights, means, standard deviations
    "one": ([1.0], [2.0], [3.0]),
    "two apart": ([0.3, 0.7], [-4.0, 5.0], [1.0, 0.5]),
    "two that touch": ([0.5, 0.5], [-1.2, 1.2], [1.0, 1.0]),
    "a spike on a hill": ([0.9, 0.1], [0.0, 0.7], [2.0, 0.05]),
    "equal": ([0.5, 0.5], [1.0, 1.0], [1.0, 1.0]),
    "three": ([0.2, 0.5, 0.3], [-3.0, 0.0, 4.0], [0.3, 1.0, 0.7]),
}


masses_at = jax.jit(jax.vmap(mdn.highest_density_mass, (None, 0)))
regions_of = jax.jit(jax.vmap(mdn.highest_density, (None, 0)))


def mixture_of(name):
    weights, means, stds = (np.array(part) for part in MIXTURES[name])
    if len(weights) == 2:  # the first in two equal halves, which change nothing: one program serves two and three
        weights, means, stds = (
            np.r_[weights[0] / 2, weights[0] / 2, weights[1]],
            np.r_[means[0], means],
            np.r_[stds[0], stds],
        )
    weights, means, stds = (jnp.asarray(part) for part in (weights, means, stds))
    return mdn.Mixture(jnp.log(weights), means[:, None], mdn.Isotropic(jnp.log(stds)))


def expected_mass(name, y):
    """Mass of all that is denser than y: crossings by Brent's method on a fine grid, masses by the normal's own."""
    weights, means, stds = (np.array(part) for part in MIXTURES[name])

    def pdf(points):
        return stats.norm.pdf(np.asarray(points)[..., None], means, stds) @ weights

    def cdf(points):
        return stats.norm.cdf(np.asarray(points)[..., None], means, stds) @ weights

    level = pdf(y)
    grid = np.sort(np.concatenate([mean + std * np.linspace(-9.0, 9.0, 20_001) for mean, std in zip(means, stds)]))
    above = pdf(grid) > level
    ends = [optimize.brentq(lambda t: pdf(t) - level, grid[i], grid[i + 1]) for i in np.flatnonzero(np.diff(above))]
    return sum(cdf(high) - cdf(low) for low, high in zip(ends[::2], ends[1::2], strict=True))


@pytest.mark.parametrize("name", MIXTURES)
def test_needed_mass_is_that_of_all_that_is_denser(x64, name):
    y = np.array([-5.3, -4.0, -1.0, 0.31, 0.7, 1.9, 4.4, 6.0])
    mixture = mixture_of(name)
    found = masses_at(mixture, jnp.asarray(y)[:, None])
    assert_allclose(found, [expected_mass(name, point) for point in y], atol=1e-7)
    if name == "one":
        assert_allclose(found, 2.0 * stats.norm.cdf(np.abs(y - 2.0) / 3.0) - 1.0, atol=1e-12)


LINE = np.r_[np.linspace(-8.0, 8.0, 797), -1e4, 1e4, -100.0, 5.0]


def test_needed_mass_far_out_and_on_the_peak():
    found = masses_at(mixture_of("two apart"), jnp.asarray(LINE, jnp.float32)[:, None])
    assert_allclose(found[-4:], [1.0, 1.0, 1.0, 0.0], atol=1e-4)


@pytest.mark.parametrize("name", ["two apart", "two that touch", "a spike on a hill"])
def test_a_region_holds_what_needs_less(name):
    mixture = mixture_of(name)
    needed = np.asarray(masses_at(mixture, jnp.asarray(LINE, jnp.float32)[:, None]))
    regions = np.asarray(regions_of(mixture, jnp.array([0.2, 0.5, 0.9])))
    for mass, region in zip((0.2, 0.5, 0.9), regions, strict=True):
        inside = ((LINE[:, None] >= region[:, 0]) & (LINE[:, None] <= region[:, 1])).any(axis=1)
        clear = np.abs(needed - mass) > 1e-3
        assert_array_equal(inside[clear], needed[clear] < mass)
        assert inside.any() and not inside.all()


def test_needed_mass_takes_one_target_of_one_mixture():
    two = mdn.Mixture(jnp.zeros(1), jnp.zeros((1, 2)), mdn.Isotropic(jnp.zeros(1)))
    with pytest.raises(mdn.InputError, match="needs one target, not 2"):
        mdn.highest_density_mass(two, jnp.zeros(2))
    with pytest.raises(mdn.InputError, match="highest_density_mass takes one mixture"):
        mdn.highest_density_mass(mixture_of("one"), jnp.zeros((5, 1)))


# Order statistics


def test_the_mass_to_ask_for_is_an_order_statistic():
    needed = np.random.default_rng(0).permutation(np.arange(1, 20) / 100.0)[:, None]  # 19 rows: 0.01 to 0.19
    one = Calibration(needed, needed**2, needed[:, 0])
    assert one.mass("central", 0.9).tolist() == [0.18]  # the 18th of 19, as (19 + 1) 0.9 = 18
    assert_allclose(one.mass("highest-density", 0.5), [0.1**2])
    assert one.joint_mass(0.95) == 0.19
    assert one.joint_mass(0.96) == LARGEST_MASS  # 19 rows cannot promise that much
    holes = np.where(np.arange(19)[:, None] < 9, needed, np.nan)
    assert Calibration(holes, holes, needed[:, 0]).mass("central", 0.9)[0] == np.nanmax(holes)
    assert Calibration(holes, holes, needed[:, 0]).mass("central", 0.95)[0] == LARGEST_MASS
    for share in (0.0, 1.0):
        with pytest.raises(mdn.InputError, match="share must lie between 0 and 1"):
            one.mass("central", share)


@pytest.mark.parametrize("share", [0.5, 0.8, 0.9])
def test_of_exchangeable_rows_each_share_is_held(share):
    # the guarantee itself, over which of the rows is the new one
    needed = np.sort(np.random.default_rng(1).random(40))
    held = [
        needed[i] <= Calibration(rest[:, None], rest[:, None], rest).joint_mass(share)
        for i in range(40)
        for rest in [np.delete(needed, i)]
    ]
    assert share <= np.mean(held) <= share + 1 / 40


# Models that are right, and models that are too sure

SPEC = mdn.MixtureSpec(2, 2)  # logits (2), means (2, 2), log standard deviations (2, 2)


def given(params, x):
    """A network whose input is its output, with components `params` times as wide."""
    return x + jnp.concatenate([jnp.zeros(6), jnp.full(4, jnp.log(params["width"]))])


def model_of(width):
    units = mdn.Standardizer(np.array([10.0, -3.0]), np.array([2.0, 0.1]))
    return mdn.Model(mdn.Conditional(mdn.Functional({"width": np.float32(width)}, given), None, SPEC), None, units)


def rows_of(seed):
    """Inputs, and targets drawn from the model of width 1."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(COUNT, 10)).astype(np.float32)
    mixtures = jax.vmap(model_of(1.0))(jnp.asarray(x))
    draw = jax.jit(jax.vmap(mdn.sample))
    return x, np.asarray(draw(jax.random.split(jax.random.key(seed), COUNT), mixtures), np.float64)


@pytest.fixture(scope="module")
def kept():
    return rows_of(1)


@pytest.fixture(scope="module")
def fresh():
    return rows_of(2)


KINDS = ("central", "highest_density", "joint")


def test_needed_masses_of_the_exact_model_are_uniform(kept):
    found = needed_masses(model_of(1.0), *kept)
    for kind in KINDS:
        for column in np.atleast_2d(getattr(found, kind).T):
            assert column.shape == (COUNT,) and stats.kstest(column, "uniform").pvalue > 1e-3, kind
    calibrated = mdn.calibrate(model_of(1.0), *kept).calibration
    for share in (0.5, 0.9):
        bound = 4.0 * np.sqrt(share * (1.0 - share) / COUNT)
        masses = [*calibrated.mass("central", share), *calibrated.mass("highest-density", share)]
        assert_allclose([*masses, calibrated.joint_mass(share)], share, atol=bound)


def test_a_model_that_is_too_sure_holds_what_it_names_once_calibrated(kept, fresh):
    model = mdn.calibrate(model_of(0.5), *kept)
    needed = needed_masses(model_of(0.5), *fresh)
    masses = {
        "central": model.calibration.mass("central", 0.9),
        "highest_density": model.calibration.mass("highest-density", 0.9),
        "joint": model.calibration.joint_mass(0.9),
    }
    bound = 4.0 * np.sqrt(2.0 * 0.9 * 0.1 / COUNT)  # of the rows kept, and of the new ones
    for kind, mass in masses.items():
        column = getattr(needed, kind)
        assert (np.mean(column <= 0.9, axis=0) < 0.8).all(), kind
        assert_allclose(np.mean(column <= mass, axis=0), 0.9, atol=bound, err_msg=kind)
    # the same through the intervals themselves, at the masses asked for
    ends = jax.jit(jax.vmap(lambda x, mass: mdn.interval(model(x), mass), (0, None)))
    for dim, mass in enumerate(masses["central"]):
        low, high = np.asarray(ends(fresh[0], mass))[:, :, dim].T
        inside = (fresh[1][:, dim] >= low) & (fresh[1][:, dim] <= high)
        assert np.mean(inside == (needed.central[:, dim] <= mass)) > 0.999
    assert_array_equal(model(kept[0][0]).locs, model_of(0.5)(kept[0][0]).locs)  # densities stay


def test_targets_that_are_missing_do_not_count(kept):
    x, y = kept
    y = y.copy()
    y[:300, 0], y[100:400, 1] = np.nan, np.nan
    whole, found = needed_masses(model_of(1.0), *kept), needed_masses(model_of(1.0), x, y)
    for kind in ("central", "highest_density"):
        assert_array_equal(np.isnan(getattr(found, kind)), np.isnan(y))
        known = ~np.isnan(y)
        assert_allclose(getattr(found, kind)[known], getattr(whole, kind)[known], atol=1e-5)
    assert_array_equal(np.isnan(found.joint), np.isnan(y).all(axis=1))
    # where one target alone is known, the joint region is its own, but for the 1,000 draws that tell it
    assert_allclose(found.joint[:100], found.highest_density[:100, 1], atol=5.0 * np.sqrt(0.25 / 1_000))


def test_an_ensemble_is_calibrated_as_one(kept):
    one = mdn.calibrate(model_of(0.5), *kept)
    both = mdn.calibrate(mdn.ensemble([one, one]), *kept)
    assert len(both.networks) == 2 and mdn.ensemble([one, one]).calibration is None
    assert_allclose(both.calibration.central, one.calibration.central, atol=1e-4)
    assert_allclose(both.calibration.highest_density, one.calibration.highest_density, atol=1e-3)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.zeros((19, 10)), np.zeros((19, 2)), "calibrate takes at least 20 rows; got 19: keep more apart"),
        (np.zeros((30, 10)), np.zeros((30, 3)), r"takes targets \(N, 2\); got \(30, 3\)"),
        (np.zeros((31, 10)), np.zeros((30, 2)), "as many inputs as targets"),
    ],
)
def test_rows_that_cannot_calibrate_are_refused(x, y, message):
    with pytest.raises(mdn.InputError, match=message):
        mdn.calibrate(model_of(1.0), x.astype(np.float32), y)


# Scores

REPORTED = ("test_nll", "test_rmse", "test_crps", "coverage_90", "width_90", "live_components")


def test_a_row_of_weight_two_counts_twice_in_scores(kept):
    x, y = kept[0][:200], kept[1][:200]
    weights = np.random.default_rng(3).integers(0, 4, size=200)
    weighted = mdn.evaluate(model_of(0.7), x, y, weights=weights).report(("a", "b"))
    repeated = mdn.evaluate(model_of(0.7), np.repeat(x, weights, axis=0), np.repeat(y, weights, axis=0)).report(
        ("a", "b")
    )
    for name in REPORTED:
        assert weighted[name] == pytest.approx(repeated[name], rel=1e-6), name
    for target in "ab":
        assert weighted["pit_deviation"][target] == pytest.approx(repeated["pit_deviation"][target], abs=0.01)
    plain, threes = (mdn.evaluate(model_of(0.7), x, y, weights=w).report(("a", "b")) for w in (None, np.full(200, 3.0)))
    assert threes.pop("measure") == plain.pop("measure") == "density"
    for name, value in plain.items():
        assert threes[name] == pytest.approx(value, rel=1e-9), name


def test_targets_not_observed_are_integrated_out_of_scores(kept):
    x, y = kept[0][:200], kept[1][:200]
    model, known = model_of(0.7), np.ones((200, 2), bool)
    known[:50, 0], known[40:60, 1] = False, False
    whole, same, some = (
        mdn.evaluate(model, x, np.where(known, y, np.nan) if mask is known else y, observed=mask)
        for mask in (None, np.ones((200, 2), bool), known)
    )
    assert_allclose(same.nll, whole.nll, rtol=1e-5, atol=1e-5)
    for name in ("error", "crps", "pit"):
        found = getattr(some, name)
        assert_array_equal(np.isnan(found), ~known)
        assert_allclose(found[known], getattr(whole, name)[known], rtol=1e-5, atol=1e-6)
    assert_allclose(some.nll[60:], whole.nll[60:], rtol=1e-5, atol=1e-5)
    second = jax.jit(jax.vmap(lambda x, y: -mdn.log_prob(mdn.marginal(model(x), 1), y)))(x[:40], y[:40, 1:])
    assert_allclose(some.nll[:40], second, rtol=1e-4, atol=1e-4)
    assert_array_equal(some.nll[40:50], 0.0)  # nothing known, nothing paid
    report = some.report(("a", "b"))
    assert report["test_rmse"]["a"] == pytest.approx(np.sqrt(np.mean(whole.error[50:, 0] ** 2)), rel=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": np.ones(29)}, r"weights must have shape \(30,\); got \(29,\)"),
        ({"weights": -np.ones(30)}, "weights must be 0 or more, finite, and not all zero"),
        ({"weights": np.zeros(30)}, "weights must be 0 or more, finite, and not all zero"),
        ({"weights": np.full(30, np.nan)}, "weights must be 0 or more, finite, and not all zero"),
        ({"observed": np.ones((30, 1), bool)}, r"observed must have the shape of y, \(30, 2\); got \(30, 1\)"),
    ],
)
def test_weights_and_masks_that_do_not_fit_are_refused(options, message):
    with pytest.raises(mdn.InputError, match=message):
        mdn.evaluate(model_of(1.0), np.zeros((30, 10), np.float32), np.zeros((30, 2)), **options)


def moments(mixture, row):
    return {"mean": mdn.mean(mixture), "gap": (row.y - mixture.locs[0]) * row.weight}


@pytest.mark.parametrize("rows_per_call", [7, 64, 200, 1_000])
def test_rows_are_mapped_the_same_however_they_are_chunked(kept, monkeypatch, rows_per_call):
    model = model_of(1.0)
    rows = standard_rows(model, kept[0][:200], kept[1][:200], weights=np.arange(1.0, 201.0))
    monkeypatch.setattr(models.rows, "ROWS_PER_CALL", (rows_per_call,))
    found = map_rows(moments, replace(model, calibration=None), rows)
    mixtures = jax.vmap(model.standardized)(jnp.asarray(rows.x))
    assert_allclose(found["mean"], jax.vmap(mdn.mean)(mixtures), rtol=1e-5, atol=1e-6)
    assert_allclose(
        found["gap"], (rows.y - np.asarray(mixtures.locs[:, 0])) * rows.weight[:, None], rtol=1e-4, atol=1e-3
    )


def test_weights_all_alike_change_nothing():
    rng = np.random.default_rng(0)
    for count in (20, 33, 60, 1_000):
        needed = rng.uniform(size=count)
        plain, weighted = (
            Calibration(needed[:, None], needed[:, None], needed, w) for w in (None, np.full(count, 3.0))
        )
        for share in (0.01, 0.1, 0.5, 0.8, 0.9, 0.95, 0.99):
            assert weighted.joint_mass(share) == plain.joint_mass(share)


def test_weighted_rows_hold_their_share_of_the_weight():
    """Heavy rows need more mass: of new rows by their weight 90 % are held, which the plain quantile misses."""
    rng = np.random.default_rng(0)

    def draw(count):
        weight = np.where(rng.uniform(size=count) < 0.3, 9.0, 1.0)
        return weight, rng.uniform(size=count) ** np.where(weight > 1, 0.3, 2.0)

    held = {True: [], False: []}
    for _ in range(300):
        weight, needed = draw(300)
        new_weight, new = draw(2_000)
        for weighted, shares in held.items():
            mass = Calibration(needed[:, None], needed[:, None], needed, weight if weighted else None).joint_mass(0.9)
            shares.append(np.average(new <= mass, weights=new_weight))
    assert 0.895 < np.mean(held[True]) < 0.91 and np.mean(held[False]) < 0.88


def test_a_weighted_calibration_is_kept(kept, tmp_path):
    weight = np.random.default_rng(0).uniform(0.5, 2.0, len(kept[1]))
    model = mdn.calibrate(model_of(1.0), *kept, weights=weight)
    with pytest.raises(mdn.InputError, match="weights must have shape"):
        mdn.calibrate(model_of(1.0), *kept, weights=weight[1:])
    mdn.save(tmp_path / "model", model)
    loaded = mdn.load(tmp_path / "model", network=model.conditional.network)
    assert_allclose(loaded.calibration.weight, weight)

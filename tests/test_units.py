"""Laws: what the core says of a mixture depends neither on its units nor on a large offset, in float32."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import CASES, everything
from numpy.testing import assert_allclose

import mdn_jax as mdn

answers = jax.jit(everything)
SIZES = [case for case in CASES if case.num_components == 3 and case.target_dim != 2]  # a program each
SAME = {
    "responsibilities",
    "observed shares",
    "cdf",
    "log_cdf",
    "log_survival",
    "log_mass",
    "log_mass below",
    "highest_density_mass",
}
OF_EACH = {
    "mean",
    "std",
    "quantile",
    "interval",
    "tail_mean",
    "sample",
    "rsample",
    "coldest",
    "modes",
    "highest_density",
}
MIXTURES = {"marginal", "merge", "affine", "condition"}
ROUNDING = 4e-5  # log std = -69 is a float32 to 4e-6


def in_units(mixture, units):
    """The mixture of `units * y`, from the definitions, in double precision on the host."""
    scale = mixture.scale
    if isinstance(scale, mdn.Triangular):
        moved = mdn.Triangular(jnp.asarray(np.asarray(scale.whitener, np.float64) / units))
    else:
        log_std = np.asarray(scale.log_std, np.float64)
        moved = type(scale)(jnp.asarray(log_std + (np.log(units[0]) if log_std.ndim == 1 else np.log(units))))
    return mdn.Mixture(mixture.logits, jnp.asarray(np.asarray(mixture.locs, np.float64) * units), moved)


def stds_of(mixture):
    return np.asarray(mixture.scale.std(mixture.target_dim), np.float64)


def check(before, after, units):
    """Everything after a change of units is what it was before, in the new units."""
    log_units = np.log(units)
    one = units[0] if np.all(units == units[0]) else None  # else distances between targets mean nothing
    for name, old in before.items():
        new, close = after[name], {"rtol": ROUNDING, "atol": ROUNDING, "err_msg": f"{name} in {units}"}
        if name in SAME:
            assert_allclose(new, old, **close)
        elif name in OF_EACH:
            assert_allclose(np.asarray(new, np.float64) / units, old, **close)
        elif name in MIXTURES:
            of_target = units[-new.target_dim :] if name != "condition" else units[1:]
            assert_allclose(jax.nn.softmax(new.logits), jax.nn.softmax(old.logits), **close)
            assert_allclose(np.asarray(new.locs, np.float64) / of_target, old.locs, **close)
            assert_allclose(stds_of(new) / of_target, stds_of(old), **close)
        elif name in ("log_prob", "nll", "observed"):
            sign, seen = (-1 if name == "log_prob" else 1), slice(None, None, 2 if name == "observed" else 1)
            assert_allclose(np.asarray(new, np.float64) - sign * log_units[seen].sum(), old, **close)
        elif "slopes" in name:
            assert_allclose(new.logits, old.logits, **close)
            assert_allclose(np.asarray(new.locs, np.float64) * units, old.locs, rtol=1e-3, atol=1e-4, err_msg=name)
            assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(new))
        elif name in ("crps", "energy_score") and one:
            assert_allclose(np.float64(new) / one, old, **close)
        elif name in ("squared_error", "covariance") and one and 1e-17 < one < 1e17:  # else no float32 holds it
            assert_allclose(np.asarray(new, np.float64) / one**2, old, **close)


@pytest.mark.parametrize("case", SIZES, ids=str)
def test_units_change_nothing(case):
    mixture, y, key = case.mixture(), case.targets(1)[0], jax.random.key(0)
    before = answers(key, mixture, y)
    mixed = [] if case.covariance == "isotropic" else [np.array([-30.0, 30.0, 0.0, 17.0])]  # of targets among others
    for exponents in [*([e] * 4 for e in (-30, -19, -16, 16, 26, 30)), *mixed]:
        units = 10.0 ** np.asarray(exponents, np.float64)[: case.target_dim]
        check(before, answers(key, in_units(mixture, units), jnp.asarray(np.asarray(y, np.float64) * units)), units)


@pytest.mark.parametrize("case", SIZES, ids=str)
def test_an_offset_changes_nothing_but_places(case):
    mixture, key = in_units(case.mixture(), np.full(case.target_dim, 16.0)), jax.random.key(0)
    offset = 2.0**26  # float32 holds multiples of 8 there
    mixture = mdn.Mixture(mixture.logits, 8 * jnp.round(mixture.locs / 8), mixture.scale)
    y = 8 * jnp.round(2 * case.targets(1)[0])
    before = answers(key, mixture, y)
    before.pop("log_mass", None)  # its upper end is no multiple of 8
    after = answers(key, mdn.Mixture(mixture.logits, mixture.locs + offset, mixture.scale), y + offset)
    places = OF_EACH - {"std"}
    for name, old in before.items():
        new = after[name]
        if name in places:
            assert_allclose(np.asarray(new, np.float64) - offset, old, rtol=0, atol=8, err_msg=name)
        elif name in MIXTURES:
            moved = -offset if name == "affine" else offset
            assert_allclose(np.asarray(new.locs, np.float64) - moved, old.locs, rtol=0, atol=8, err_msg=name)
            assert_allclose(new.logits, old.logits, rtol=1e-5, atol=1e-5, err_msg=name)
        else:
            close = {"rtol": 1e-5, "atol": 1e-5, "err_msg": name}
            jax.tree.map(lambda a, b, close=close: assert_allclose(a, b, **close), new, old)


def test_equal_centres_far_out_have_the_mean_and_std_of_one():
    mixture = mdn.Mixture(jnp.zeros(10), jnp.full((10, 1), 2.0**24), mdn.Isotropic(jnp.zeros(10)))
    assert_allclose(mdn.mean(mixture), 2.0**24, rtol=0)
    assert_allclose(mdn.std(mixture), 1.0, rtol=1e-6)
    assert_allclose(mdn.covariance(mixture), 1.0, rtol=1e-6)

"""Laws of what training is given: its units do not matter, and what float32 or a floor cannot hold is told."""

import functools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import COVARIANCES
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.mixture import GaussianMixture

import mdn_jax as mdn

RNG = np.random.default_rng(0)
X = RNG.normal(size=(100, 1))
Y = 1.0 + X @ RNG.normal(size=(1, 2)) + RNG.normal(size=(100, 2))
WEIGHTS = RNG.uniform(0.5, 2.0, size=100)
SHORT = mdn.TrainingConfig(num_steps=20, evaluate_every=10, batch_size=16)
NOTHING = np.zeros((1000, 0))
Z, W = RNG.normal(size=(2, 1000))


def fit(y=Y, covariance="diagonal", x=X, training=SHORT, **options):
    model = mdn.ModelConfig(num_components=2, hidden_sizes=(4,), covariance=covariance)
    return mdn.fit(jax.random.key(0), x, y, model=model, training=training, **options)


def start(y, x=NOTHING):
    return mdn.start(jax.random.key(0), x, y, model=mdn.ModelConfig(num_components=2, hidden_sizes=(4,)))


# Units


@pytest.mark.parametrize("weight", [1e-300, 1e-42, 1e38, 1e305])
def test_the_unit_of_weights_does_not_matter(weight):
    plain, scaled = fit(weights=WEIGHTS), fit(weights=weight * WEIGHTS)
    assert scaled.status == "ok"
    assert_allclose(scaled.history["train_loss"], plain.history["train_loss"], rtol=1e-4)
    assert_allclose(scaled.model(X[0]).locs, plain.model(X[0]).locs, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("unit", [1e-200, 1e-30, 1e30, 1e200])
def test_units_of_data_do_not_matter_to_training(unit):
    plain, scaled = mdn.Standardizer.fit(Y), mdn.Standardizer.fit(unit * Y)
    assert_allclose(scaled.shift / unit, plain.shift, rtol=1e-12)
    assert_allclose(scaled.scale / unit, plain.scale, rtol=1e-12)
    before, after = start(Y, X).data, start(unit * Y, unit * X).data
    for one, other in zip(jax.tree.leaves(before.rows), jax.tree.leaves(after.rows), strict=True):
        assert_allclose(other, one, rtol=1e-6, atol=1e-6)


@functools.cache
def plain(covariance):
    return fit(covariance=covariance).model


@pytest.mark.parametrize("unit", [1e-30, 1e30])
@pytest.mark.parametrize("covariance", COVARIANCES)
def test_answers_are_in_the_units_of_the_target(covariance, unit):
    scaled = fit(unit * Y, covariance).model
    for x in X[:1]:
        one, other = plain(covariance)(x), scaled(x)
        assert_allclose(np.asarray(other.locs, np.float64) / unit, one.locs, rtol=1e-3, atol=1e-3)
        values = [
            float(mdn.log_prob(one, jnp.asarray(Y[0], float))),
            float(mdn.log_prob(other, jnp.asarray(unit * Y[0], float))),
        ]
        assert_allclose(values[1], values[0] - 2 * np.log(unit), atol=1e-2)


# Where float32 cannot hold the answer


@pytest.mark.parametrize(
    ("x", "y", "column"),
    [
        (X, np.c_[Y[:, 0], 1.7e9 + 2 * Y[:, 1]], "target 1 is 1.7e+09 give or take"),  # seconds since 1970
        (X, np.c_[1e-42 * Y[:, 0], Y[:, 1]], "target 0 is"),
        (X, np.c_[1e38 * Y[:, 0], Y[:, 1]], "target 0 is"),
        (1.7e9 + X, Y, "input 0 is 1.7e+09 give or take"),
    ],
)
def test_what_float32_cannot_hold_is_told_once(x, y, column):
    model = mdn.finish(start(y, x)).model
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("default")
        jax.vmap(model)(jnp.asarray(x, jnp.float32))
    assert [str(one.message).startswith(column) and "mdn.predict" in str(one.message) for one in told] == [True]
    assert told[0].filename == __file__
    with jax.enable_x64(True):
        jax.vmap(mdn.finish(start(y, x)).model)(jnp.asarray(x))  # a warning would be an error


@pytest.mark.parametrize("offset", [0.0, 2_000.0, 3e4])
def test_what_float32_can_hold_is_not_remarked(offset):
    mdn.finish(start(Y + offset, X + offset)).model(jnp.asarray(X[0] + offset, jnp.float32))


# Where starting centres are


@pytest.mark.parametrize("zeros", [50, 60, 90])
def test_two_spikes_are_found(zeros):
    y = np.repeat([0.0, 9999.0], [zeros, 100 - zeros])
    done = fit(y, x=np.zeros((100, 0)), training=mdn.TrainingConfig(validation_fraction=0.0, num_steps=2000))
    weight = zeros / 100
    # two spikes as narrow as the floor, a thousandth of the standard deviation
    lowest = (
        -weight * np.log(weight) - (1 - weight) * np.log(1 - weight) + np.log(1e-3 * y.std()) + 0.5 * np.log(2 * np.pi)
    )
    assert sorted(np.ravel(done.model(np.zeros(0)).locs).round()) == [0.0, 9999.0]
    assert 0 < mdn.evaluate(done.model, np.zeros((100, 0)), y).nll.mean() - lowest < 0.25


@pytest.mark.parametrize("dim", [1, 3])
def test_starting_centres_are_rows_that_occur_and_differ(dim):
    y = RNG.integers(0, 4, size=(200, dim)).astype(float)
    y[:150] = 1.0  # most of them alike
    spec = mdn.MixtureSpec(4, dim)
    locs = np.asarray(mdn.unpack(spec, mdn.initial_bias(spec, y)).locs)
    assert all((y == loc).all(axis=1).any() for loc in locs) and len(np.unique(locs, axis=0)) == 4
    fewer = mdn.MixtureSpec(3, dim)
    assert_array_equal(mdn.unpack(fewer, mdn.initial_bias(fewer, y)).locs, locs[:3])


# Rows and columns that training cannot do justice to


def test_a_target_is_called_by_its_name():
    with pytest.warns(UserWarning, match=r"^twice is 2 times once within 1%"):
        mdn.start(jax.random.key(0), NOTHING, np.c_[Z, 2 * Z], target_names=("once", "twice"))


@pytest.mark.parametrize(
    ("y", "sentence"),
    [
        (np.c_[Z, 2 * Z], r"column 1 of y is 2 times column 0 of y within 1%, and a constant: .* leave it out"),
        (np.c_[Z, 2 * Z + 1e-3 * W], r"column 1 of y is 2 times column 0 of y within 1%"),
        (
            np.c_[Z, W, 1e-30 * (3 * Z - W + 7)],
            r"column 2 of y is 3e-30 times column 0 of y plus -1e-30 times column 1 of y",
        ),
        (np.where(np.arange(1000) == 12, 1e6, Z), r"row 12: column 0 of y is 1e\+06, where 99.5% of rows spread"),
        (np.where(np.arange(1000) > 996, 3e4, Z), r"row 997: column 0 of y is 3e\+04"),
        (np.c_[W, np.where(np.arange(1000) == 7, -60.0, Z)], r"row 7: column 1 of y is -60"),
    ],
)
def test_one_sentence_names_the_row_or_the_column(y, sentence):
    with pytest.warns(UserWarning, match=sentence) as told:
        start(y)
    assert len(told) == 1 and told[0].filename == __file__ and "\n" not in str(told[0].message)


@pytest.mark.parametrize(
    "y",
    [
        np.c_[Z, 2 * Z + 0.05 * W],
        np.c_[Z, W],
        np.where(np.arange(1000) == 12, 20.0, Z),
        RNG.standard_t(3, size=1000),
        np.exp(Z),
        np.where(np.arange(1000) < 970, 0.0, Z),  # mostly zero
        np.r_[Z[:9], 50.0],  # too few to tell
    ],
)
def test_ordinary_targets_are_not_remarked(y):
    start(y, NOTHING[: len(y)])


@pytest.mark.slow
@pytest.mark.parametrize("y", [np.c_[Z, 2 * Z + 0.05 * W], np.c_[Z, W], np.where(np.arange(1000) == 12, 20.0, Z)])
def test_without_a_sentence_training_finds_what_scikit_learn_finds(y):
    y = y.reshape(len(y), -1)
    done = fit(y, "full", NOTHING, mdn.TrainingConfig(validation_fraction=0.0))
    reference = GaussianMixture(2, n_init=3, random_state=0).fit(y).score(y)
    assert -mdn.evaluate(done.model, NOTHING, y).nll.mean() > reference - 0.05

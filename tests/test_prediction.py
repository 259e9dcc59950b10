"""Predictions of tables, against scipy on each row's own mixture."""

from dataclasses import replace

import jax
import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_allclose
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.special import logsumexp
from scipy.stats import multivariate_normal, norm

import mdn_jax as mdn
from mdn_jax.encoding import Encoding
from mdn_jax.prediction import answers
from mdn_jax.statistics import weighted_modes

START = 1.7e9  # seconds since 1970: float32 tells 128 of them apart
TRAINING = mdn.TrainingConfig(num_steps=60, evaluate_every=30, learning_rate=3e-2)


def rows(count, seed=0):
    """A table whose two targets branch, one of them a time in seconds."""
    generator = np.random.default_rng(seed)
    size, colour = generator.uniform(1, 9, count), generator.choice(["red", "green", "blue"], count)
    branch = generator.choice([-1.0, 1.0], count)
    price = branch * size + (colour == "red") + 0.3 * generator.normal(size=count)
    time = START + 0.5 * price + branch + 0.2 * generator.normal(size=count)
    return pl.DataFrame({"id": np.arange(count), "size": size, "colour": colour, "price": price, "time": time})


def columns_of(table):
    return {name: table[name].to_numpy() for name in ("size", "colour")}


def trained(*targets, **model):
    table = rows(300)
    encoding = Encoding.fit(
        columns_of(table), ("size", "colour"), targets, categorical=("colour",), missing_values=(-999,)
    )
    return mdn.fit(
        jax.random.key(0), encoding.encode(columns_of(table)).x, table.select(targets).to_numpy(), training=TRAINING,
        model=mdn.ModelConfig(hidden_sizes=(16,), **model), encoding=encoding, input_names=encoding.names,
        target_names=targets,
    ).model  # fmt: skip


@pytest.fixture(scope="module")
def one():
    """One target, one network."""
    return trained("price", num_components=3)


@pytest.fixture(scope="module")
def two():
    """Two targets with full covariance: an ensemble of two networks of different sizes."""
    return mdn.ensemble([trained("price", "time", num_components=count, covariance="full") for count in (2, 3)])


def standard_inputs(model, table):
    return model.inputs.standardize(model.encoding.encode(columns_of(table)).x).astype(np.float32)


@jax.jit
def standard_mixtures(model, x):
    found = jax.vmap(model.standardized)(x)
    covariances = jax.vmap(lambda mixture: mixture.scale.covariance(mixture.target_dim))(found)
    return found.weights, found.locs, covariances


def mixtures(model, table):
    """Each row's weights, centres and covariances in float64, in units of the targets."""
    found = (np.asarray(a, np.float64) for a in standard_mixtures(model, standard_inputs(model, table)))
    shift, scale = model.targets.shift, model.targets.scale
    return [(w / w.sum(), shift + scale * m, np.outer(scale, scale) * c) for w, m, c in zip(*found)]


# --- numbers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["one", "two"])
def test_moments_and_quantiles_are_scipys(request, name):
    model, table = request.getfixturevalue(name), rows(6, seed=1)
    found = mdn.predict(model, table, quantiles=(0.025, 0.5))
    for row, (weights, locs, covariances) in enumerate(mixtures(model, table)):
        for dim, target in enumerate(model.target_names):
            scale = model.targets.scale[dim]
            centres, stds = locs[:, dim], np.sqrt(covariances[:, dim, dim])
            mean = weights @ centres
            assert_allclose(found[f"{target}_mean"][row], mean, rtol=0, atol=1e-6 * scale)
            spread = np.sqrt(weights @ (stds**2 + (centres - mean) ** 2))
            assert_allclose(found[f"{target}_std"][row], spread, rtol=1e-5)
            for q, column in ((0.025, "q2.5"), (0.5, "q50")):
                low, high = centres.min() - 9 * stds.max(), centres.max() + 9 * stds.max()
                root = brentq(lambda y, q=q, c=centres, s=stds, w=weights: w @ norm.cdf(y, c, s) - q, low, high)
                # a place between the branches is as loose as the density there is low
                density = weights @ norm.pdf(root, centres, stds)
                assert_allclose(found[f"{target}_{column}"][row], root, rtol=0, atol=1e-6 * scale + 1e-6 / density)


@pytest.mark.parametrize("name", ["one", "two"])
def test_log_prob_is_scipys_in_the_targets_units(request, name):
    model, table = request.getfixturevalue(name), rows(6, seed=2)
    table = table.with_columns(price=pl.when(pl.col("id") == 3).then(None).otherwise("price"))
    found = mdn.predict(model, table)["log_prob"]
    for row, (weights, locs, covariances) in enumerate(mixtures(model, table)):
        y = np.array([table[target][row] for target in model.target_names], np.float64)
        known = np.flatnonzero(~np.isnan(y))
        if not len(known):
            assert found[row] is None
            continue
        parts = [
            multivariate_normal.logpdf(y[known], m[known], c[np.ix_(known, known)]) for m, c in zip(locs, covariances)
        ]
        assert_allclose(found[row], logsumexp(parts, b=weights), rtol=0, atol=2e-4)


def pieces(found, target, row):
    ends = []
    while f"{target}_low_{len(ends) + 1}" in found.columns:
        ends.append(tuple(found[f"{target}_{side}_{len(ends) + 1}"][row] for side in ("low", "high")))
    return [piece for piece in ends if piece != (None, None)]


@pytest.mark.parametrize("name", ["one", "two"])
def test_highest_density_pieces_hold_their_mass_by_quadrature(request, name):
    model, table = request.getfixturevalue(name), rows(6, seed=3)
    found = mdn.predict(model, table, mass=0.8)
    most = 0
    for row, (weights, locs, covariances) in enumerate(mixtures(model, table)):
        for dim, target in enumerate(model.target_names):
            density = lambda y, d=dim, w=weights, m=locs, c=covariances: w @ norm.pdf(y, m[:, d], np.sqrt(c[:, d, d]))  # noqa: E731
            ends = pieces(found, target, row)
            most = max(most, len(ends))
            assert_allclose(sum(quad(density, low, high)[0] for low, high in ends), 0.8, atol=1e-3)
            levels = [density(end) for piece in ends for end in piece]
            assert_allclose(levels, levels[0], rtol=1e-3)
            assert np.all(np.diff(np.ravel(ends)) > 0)
    assert most == 2  # the branches


def test_a_central_interval_lies_between_quantiles(two):
    table = rows(6)
    found = mdn.predict(two, table, interval="central", mass=0.8, quantiles=(0.1, 0.9))
    for target in two.target_names:
        assert_allclose(found[f"{target}_low"], found[f"{target}_q10"], rtol=1e-5)
        assert_allclose(found[f"{target}_high"], found[f"{target}_q90"], rtol=1e-5)


def test_disagreement_is_between_the_networks(one, two):
    table = rows(5)
    found = mdn.predict(two, table)
    means = jax.jit(jax.vmap(lambda x: [mdn.mean(model(x)) for model in two.conditional.models]))(
        standard_inputs(two, table)
    )
    spread = np.std([two.targets.scale * np.asarray(mean) for mean in means], axis=0)
    assert_allclose(found[["price_disagreement", "time_disagreement"]].to_numpy(), spread, rtol=1e-4)
    assert not [column for column in mdn.predict(one, table).columns if "disagreement" in column]


@pytest.mark.parametrize("name", ["one", "two"])
def test_modes_are_the_librarys_best_first(request, name):
    model, table = request.getfixturevalue(name), rows(8, seed=4)
    found = mdn.predict(model, table, num_modes=7)
    x = standard_inputs(model, table)
    points, weights, distinct = jax.jit(jax.vmap(lambda x: weighted_modes(model.standardized(x))))(x)
    for row in range(len(table)):
        place = np.asarray(distinct[row])
        expected = np.asarray(points[row])[place] * model.targets.scale + model.targets.shift
        count = len(expected)
        for dim, target in enumerate(model.target_names):
            told = [found[f"{target}_mode_{m + 1}"][row] for m in range(7)]
            assert told[count:] == [None] * (7 - count)
            assert_allclose(told[:count], expected[:, dim], rtol=0, atol=1e-3 * model.targets.scale[dim])
            assert found[f"{target}_mode"][row] == told[0]
        shares = [found[f"mode_weight_{m + 1}"][row] for m in range(7)]
        assert_allclose(shares[:count], np.asarray(weights[row])[place], atol=1e-5)
        assert_allclose(sum(shares[:count]), 1.0, atol=1e-5)
    assert found["mode_weight_2"].null_count() < len(table)


# --- tables ----------------------------------------------------------------------------------------------------------


def test_paths_frames_and_mappings_give_the_same(one, tmp_path):
    table = rows(5, seed=5)
    table.write_csv(tmp_path / "new.csv")
    table.write_parquet(tmp_path / "new.parquet")
    np.savez(tmp_path / "new.npz", **{name: table[name].to_numpy().astype(table[name].to_numpy().dtype) for name in
                                      ("id", "size", "price")}, colour=np.array(table["colour"].to_list()))  # fmt: skip
    expected = mdn.predict(one, table, keep=["id"])
    assert expected.columns[:2] == ["id", "price_mean"] and expected.columns[-2:] == ["log_prob", "outside_training"]
    assert expected["id"].to_list() == list(range(5))
    for other in (tmp_path / "new.csv", str(tmp_path / "new.parquet"), tmp_path / "new.npz", table.to_dict(),
                  {name: table[name].to_list() for name in table.columns}):  # fmt: skip
        assert mdn.predict(one, other, keep=["id"]).equals(expected)
    mdn.save(tmp_path / "model", one)
    assert mdn.predict(tmp_path / "model", table, keep=["id"]).equals(expected)


def test_rows_stay_in_order_in_chunks_of_any_size(one, monkeypatch):
    table = rows(40, seed=6)
    whole, told = mdn.predict(one, table, keep="all"), []
    monkeypatch.setattr(answers, "ROWS_AT_ONCE", 16)
    parts = mdn.predict(one, table, keep="all", on_progress=lambda done, count: told.append((done, count)))
    assert told == [(16, 40), (32, 40), (40, 40)]
    assert parts.columns == whole.columns and parts["id"].to_list() == list(range(40))
    for column in whole.columns[5:-1]:
        assert_allclose(parts[column].to_numpy(), whole[column].to_numpy(), rtol=1e-5, atol=1e-5)
    order = np.random.default_rng(0).permutation(40)
    assert_allclose(mdn.predict(one, table[order])["price_mean"], whole["price_mean"].to_numpy()[order], rtol=1e-6)


def test_what_is_kept(one):
    table = rows(4)
    assert mdn.predict(one, table, keep="all").columns[:5] == table.columns
    assert mdn.predict(one, table, keep=["colour", "id"])[["colour", "id"]].equals(table[["colour", "id"]])
    assert mdn.predict(one, table, keep="id").columns[0] == "id"
    with pytest.raises(mdn.InputError, match="column 'price_mean' has the name of an answer"):
        mdn.predict(one, table.with_columns(price_mean=1.0), keep="all")


def test_timestamps_keep_their_digits(two):
    table = rows(30, seed=7)
    found = mdn.predict(two, table)
    times = found["time_q50"].to_numpy()
    assert 1.0 < times.std() < 9.0 and len(np.unique(times)) == 30
    assert_allclose(times, START, rtol=0, atol=20)
    shifted = np.asarray([m[:, 1] for _, m, _ in mixtures(two, table)])
    assert np.all((times > shifted.min(axis=1) - 3) & (times < shifted.max(axis=1) + 3))


def test_inputs_far_from_zero_keep_their_digits(one):
    shift = np.array([START, 0, 0, 0])
    units = mdn.Standardizer(one.inputs.shift + shift, one.inputs.scale)
    moved = replace(one, inputs=units, encoding=None)
    columns = {
        "size": np.array([2.0, 2.5, 7.0]),
        "colour=blue": [1] * 3,
        "colour=green": [0] * 3,
        "colour=red": [0] * 3,
    }
    expected = mdn.predict(replace(one, encoding=None), columns)["price_q95"].to_numpy()
    assert_allclose(mdn.predict(moved, columns | {"size": columns["size"] + START})["price_q95"], expected, rtol=1e-5)


# --- what is known, missing and new ----------------------------------------------------------------------------------


def test_given_targets_condition_the_mixture(two):
    table, price = rows(5, seed=8), 2.0
    found = mdn.predict(two, table, given={"price": price})
    assert not [column for column in found.columns if column.startswith("price")]
    for row, (weights, locs, covariances) in enumerate(mixtures(two, table)):
        gain = covariances[:, 1, 0] / covariances[:, 0, 0]
        posterior = weights * norm.pdf(price, locs[:, 0], np.sqrt(covariances[:, 0, 0]))
        posterior, centres = posterior / posterior.sum(), locs[:, 1] + gain * (price - locs[:, 0])
        stds = np.sqrt(covariances[:, 1, 1] - gain * covariances[:, 1, 0])
        assert_allclose(found["time_mean"][row], posterior @ centres, rtol=0, atol=1e-3)
        expected = np.log(posterior @ norm.pdf(table["time"][row], centres, stds))
        assert_allclose(found["log_prob"][row], expected, rtol=1e-4, atol=1e-3)
    of_column = mdn.predict(two, table.with_columns(known=pl.lit(price)), given={"price": "known"})
    assert of_column.equals(found)


def test_calibrated_intervals_hold_their_share_of_new_rows(one):
    table = rows(600, seed=9)
    x = one.encoding.encode(columns_of(table)).x
    model, test = mdn.calibrate(one, x[:300], table["price"].to_numpy()[:300]), table[300:]
    for interval in ("central", "highest-density"):
        found = mdn.predict(model, test, interval=interval, mass=0.8, calibrated=True)
        ends = ["", ""] if interval == "central" else [f"_{n}" for n in range(1, 4)]
        inside = np.zeros(300, bool)
        for end in ends:
            if f"price_low{end}" in found.columns:
                low, high = (found[f"price_{side}{end}"].to_numpy() for side in ("low", "high"))
                inside |= (test["price"].to_numpy() > low) & (test["price"].to_numpy() < high)
        assert abs(inside.mean() - 0.8) < 4 * np.sqrt(2 * 0.8 * 0.2 / 300)  # of calibration and test rows
    with pytest.raises(mdn.InputError, match=r"no calibration: set dataset.calibration_fraction"):
        mdn.predict(one, table, calibrated=True)


def test_strange_rows_are_answered_and_flagged(one):
    table = {"size": [5.0, 99.0, 5.0], "colour": ["red", "red", "mauve"]}
    found = mdn.predict(one, table)
    assert found["outside_training"].to_list() == [False, True, True] and found["log_prob"].null_count() == 3
    assert found["price_mean"].null_count() == 0
    with pytest.raises(mdn.InputError, match=r"table: column 'colour', row 3: training never saw 'mauve'"):
        mdn.predict(one, table, strict=True)


@pytest.mark.parametrize("mark", [None, -999.0])
def test_missing_inputs_are_refused_dropped_or_answered(one, mark):
    table = {"size": [5.0, mark, 5.0], "colour": ["red", "red", "blue"]}
    with pytest.raises(mdn.InputError, match=r"column 'size': 1 value is missing, first in row 2: fill it in"):
        mdn.predict(one, table)
    dropping, indicating = (
        replace(one, encoding=replace(one.encoding, missing_inputs=choice)) for choice in ("drop", "indicate")
    )
    found = mdn.predict(dropping, table, keep=["colour"])
    assert found["colour"].to_list() == ["red", "red", "blue"]
    for column in found.columns[1:-1]:
        assert [value is None for value in found[column]][1] and found["price_mean"][0] is not None
    assert found["outside_training"].to_list() == [False, True, False]
    samples = mdn.predict_samples(jax.random.key(0), dropping, table, 2)
    assert samples["price"].is_null().to_list() == [False, False, True, True, False, False]
    found = mdn.predict(indicating, table)
    assert found["price_mean"].null_count() == 0 and found["outside_training"].to_list() == [False, True, False]


def test_models_that_know_less_of_their_columns(one):
    named = replace(one, encoding=None)
    assert named.input_names == ("size", "colour=blue", "colour=green", "colour=red")
    columns = {"size": [5.0], "colour=blue": [0], "colour=green": [0], "colour=red": [1]}
    found = mdn.predict(named, columns)
    assert "outside_training" not in found.columns
    assert found["price_mean"][0] == mdn.predict(one, {"size": [5.0], "colour": ["red"]})["price_mean"][0]
    with pytest.raises(mdn.InputError, match="no column 'size': did you mean 'sise'"):
        mdn.predict(named, {"sise": [5.0]})
    with pytest.raises(mdn.InputError, match="column 'size': 1 value is missing, first in row 1"):
        mdn.predict(named, columns | {"size": [np.nan]})
    for nameless in (replace(named, input_names=()), replace(one, target_names=())):
        with pytest.raises(
            mdn.InputError, match="does not know its columns: give fit the input_names and target_names"
        ):
            mdn.predict(nameless, columns)


def test_a_model_without_inputs_answers_every_row_alike():
    y = np.random.default_rng(0).normal(size=(64, 1))
    fit = mdn.fit(jax.random.key(0), np.empty((64, 0)), y, training=TRAINING, target_names=("y",))
    found = mdn.predict(fit.model, {"id": [1, 2, 3]})
    assert found.height == 3 and found["y_mean"].n_unique() == 1


# --- samples ---------------------------------------------------------------------------------------------------------


def test_samples_follow_the_mixture_and_the_rows_place(two, monkeypatch):
    table = rows(4, seed=10)
    samples = mdn.predict_samples(jax.random.key(1), two, table, 500)
    assert samples.columns == ["row", "sample", "price", "time"] and samples.height == 2_000
    found = mdn.predict(two, table)
    for target in ("price", "time"):
        values = samples[target].to_numpy().reshape(4, 500)
        error = found[f"{target}_std"].to_numpy() / np.sqrt(500)
        assert np.all(np.abs(values.mean(axis=1) - found[f"{target}_mean"].to_numpy()) < 4.5 * error)
    assert np.corrcoef(samples["price"].to_numpy()[:500], samples["time"].to_numpy()[:500])[0, 1] > 0.5
    monkeypatch.setattr(answers, "ROWS_AT_ONCE", 2)
    again = mdn.predict_samples(jax.random.key(1), two, table, 500)
    assert_allclose(again["price"], samples["price"], rtol=1e-4, atol=1e-4)
    with pytest.raises(mdn.InputError, match="num_samples must be 1 or more; got 0"):
        mdn.predict_samples(jax.random.key(0), two, table, 0)
    given = mdn.predict_samples(jax.random.key(1), two, table, 3, given={"price": 1.0})
    assert given.columns == ["row", "sample", "time"]


# --- mistakes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mass": 1.0}, "mass must lie between 0 and 1"),
        ({"quantiles": (0.0,)}, "quantiles lie between 0 and 1, both excluded; got 0"),
        ({"quantiles": (0.5, 0.5)}, "named twice"),
        ({"num_modes": 0}, "num_modes must be 1 or more"),
        ({"interval": "centre"}, "interval 'centre': did you mean 'central'"),
        ({"given": {"prise": 1.0}}, "'prise' is not a target of this model: did you mean 'price'"),
        ({"given": {"price": 1.0, "time": 2.0}}, "names all targets"),
        ({"given": {"price": np.nan}}, "give a finite number"),
        ({"given": {"price": "nowhere"}}, "no column 'nowhere'"),
        ({"keep": ["colours"]}, "no column 'colours': did you mean 'colour'"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_mistake_in_the_options_is_told(two, options, message):
    with pytest.raises(mdn.InputError, match=message):
        mdn.predict(two, rows(3), **options)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"size": [], "colour": []}, "the table has no rows"),
        ({"size": [1.0]}, "no column 'colour'"),
        ({"size": ["big"], "colour": ["red"]}, "column 'size', row 1: 'big' is not a number: correct it, or empty"),
        ({"size": [[1.0]], "colour": ["red"]}, r"column 'size' must be \(N,\); got \(1, 1\)"),
        ({"size": [1.0, 2.0], "colour": ["red"]}, "different lengths"),
        ([1.0], "takes a path, a polars or pandas DataFrame or a mapping"),
        ("nowhere.csv", "nowhere.csv: no such file"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_mistake_in_the_table_is_told(one, table, message):
    with pytest.raises(mdn.InputError, match=message):
        mdn.predict(one, table)

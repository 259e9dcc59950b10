"""Columns that are chosen, tables of any kind and length, and the distributions of a table."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import test_prediction
from numpy.testing import assert_allclose
from test_prediction import START, mixtures, rows

import mdn_jax as mdn
from mdn_jax.prediction import questions

one, two = test_prediction.one, test_prediction.two  # the same models


def test_columns_are_chosen_by_name_or_for_all_targets(two):
    table = rows(5, seed=11)
    whole = mdn.predict(two, table, quantiles=(0.025, 0.5), num_modes=2)
    found = mdn.predict(two, table, columns=["q2.5", "time_mean", "low", "mode_weight", "log_prob"], num_modes=2)
    pieces = [f"{name}_low_{piece}" for name in two.target_names for piece in range(1, 6)]
    weights = ["mode_weight_1", "mode_weight_2"]
    assert found.columns == ["price_q2.5", "time_q2.5", "time_mean", *pieces, *weights, "log_prob"]
    for column in found.columns:
        assert_allclose(found[column].to_numpy(), whole[column].to_numpy(), rtol=1e-5, atol=1e-5)
    with pytest.raises(mdn.InputError, match="columns: 'maen' is no column of this answer: did you mean"):
        mdn.predict(two, table, columns=["maen"])
    with pytest.raises(mdn.InputError, match="columns chooses none"):
        mdn.predict(two, table, columns=[])


def test_a_mean_alone_asks_for_no_region(one, monkeypatch):
    def fail(*_):
        raise AssertionError("profiled")

    for name in ("profile", "quantile", "std", "region"):
        monkeypatch.setattr(questions, name, fail)
    assert mdn.predict(one, rows(3), columns=["mean"], num_modes=3).columns == ["price_mean"]


def test_columns_are_the_same_for_every_table_of_a_model(one):
    without = {"size": [5.0], "colour": ["red"]}
    assert mdn.predict(one, rows(40)).columns == mdn.predict(one, without).columns
    assert mdn.predict(one, rows(40)).columns[-4:] == ["price_low_3", "price_high_3", "log_prob", "outside_training"]


def test_pieces_across_the_narrowest_gaps_are_one():
    nan = np.nan
    ends = np.array([[0, 1], [1.1, 2], [4, 5], [5.2, 6], [9, 10], [13, 14], [20, 21], [nan, nan]], np.float32)
    found = questions._joined(jnp.array(ends), jnp.array([True] * 7 + [False]))
    assert_allclose(found, [[0, 2], [4, 6], [9, 10], [13, 14], [20, 21]])
    few = np.where(np.arange(8)[:, None] < 2, ends, nan)
    found = questions._joined(jnp.array(few), jnp.array([True] * 2 + [False] * 6))
    assert_allclose(found, [*ends[:2], *[[nan, nan]] * 3])


def test_one_row_of_scalars_is_a_table(one):
    found = mdn.predict(one, {"size": 5.0, "colour": "red"}, keep="all")
    assert found.equals(mdn.predict(one, {"size": [5.0], "colour": ["red"]}, keep="all")) and found.height == 1


def test_frames_of_pandas_are_tables(one):
    pandas = pytest.importorskip("pandas")
    table = rows(5, seed=5)
    frame = pandas.DataFrame(table.to_dict(as_series=False), index=list("vwxyz"))
    assert mdn.predict(one, frame).equals(mdn.predict(one, table))
    kept = frame.astype({"colour": "category", "size": "Float64"})
    kept.loc["w", "size"] = pandas.NA
    dropping = replace(one, encoding=replace(one.encoding, missing_inputs="drop"))
    assert mdn.predict(dropping, kept)["price_mean"].is_null().to_list() == [False, True, False, False, False]


def test_no_number_of_rows_compiles_a_program(one, compilations):
    for count in (2, 200):
        mdn.predict(one, rows(count))
    compilations.clear()
    for count in (1, 3, 16, 17, 128, 129, 513, 1_025):
        assert mdn.predict(one, rows(count)).height == count
    assert not compilations


def test_distributions_are_the_models_own(one, two):
    table = rows(6, seed=12)
    batch = mdn.predict_distributions(one, table)
    for row, (weights, locs, covariances) in enumerate(mixtures(one, table)):
        assert_allclose(batch.weights[row], weights, rtol=1e-5, atol=1e-7)
        assert_allclose(batch.locs[row], locs, rtol=1e-4, atol=1e-5)
        assert_allclose(np.exp(2 * batch.scale.log_std[row, :, 0]), covariances[:, 0, 0], rtol=1e-4)
    given = mdn.predict_distributions(two, table, given={"time": START})
    assert given.locs.shape == (6, 5, 1)
    expected = mdn.predict(two, table, given={"time": START}, columns=["mean"])["price_mean"]
    assert_allclose(jax.jit(jax.vmap(mdn.mean))(given)[:, 0], expected, rtol=1e-4, atol=1e-5)
    with pytest.warns(UserWarning, match="target 1 is 1.7e.09"):
        mdn.predict_distributions(two, table)


def test_a_distribution_of_a_row_without_an_input_is_refused(one):
    dropping = replace(one, encoding=replace(one.encoding, missing_inputs="drop"))
    with pytest.raises(mdn.InputError, match="table: row 2 lacks an input: fill it in, or drop it"):
        mdn.predict_distributions(dropping, {"size": [5.0, None], "colour": ["red", "red"]})


def test_probabilities_beyond_values_are_those_of_the_distribution(one, two):
    table, values = rows(6, seed=3), [-0.5, 1.25]
    found = mdn.predict(one, table, above={"price": values}, below={"price": 1.25}, columns=["above", "below"])
    assert found.columns == ["price_above_-0.5", "price_above_1.25", "price_below_1.25"]
    batch = mdn.predict_distributions(one, table)
    for value in values:
        expected = np.exp(jax.vmap(mdn.log_survival)(batch, jnp.full((6, 1), value)))[:, 0]
        assert_allclose(found[f"price_above_{value:g}"].to_numpy(), expected, rtol=1e-4, atol=1e-9)
    assert_allclose(found["price_above_1.25"].to_numpy() + found["price_below_1.25"].to_numpy(), 1.0, atol=1e-6)
    median = mdn.predict(two, rows(1), columns=["q50"])
    ends = {name: median[f"{name}_q50"][0] for name in two.target_names}
    assert_allclose(mdn.predict(two, rows(1), above=ends, columns=["above"]).row(0), 0.5, atol=1e-4)


def test_new_thresholds_compile_nothing(one, compilations):
    for value in (1.0, 2.0):
        compilations.clear()
        mdn.predict(one, rows(3), above={"price": value}, columns=["above"])
    assert compilations == []


@pytest.mark.parametrize(
    ("ends", "message"),
    [
        ({"prise": 1.0}, "above: 'prise' is no number that is predicted: did you mean 'price'"),
        ({"price": [1.0, np.inf]}, r"above: 'price' takes finite numbers; got \[1.0, inf\]"),
    ],
)
def test_thresholds_that_are_none_are_refused(one, ends, message):
    with pytest.raises(mdn.InputError, match=message):
        mdn.predict(one, rows(3), above=ends)


def test_networks_of_other_supports_are_asked_too_and_thresholds_keep_their_digits():
    x, training = np.linspace(0.1, 8, 40), mdn.TrainingConfig(num_steps=1, evaluate_every=1)
    fits = [
        mdn.fit(
            jax.random.key(0), x[:, None], x, training=training, input_names=("x",), target_names=("y",),
            num_classes=(support,),
        ) for support in (mdn.Support(high=9.0), mdn.Support())
    ]  # fmt: skip
    values = [12345678901.0, 12345678902.0, 0.1]
    found = mdn.predict(mdn.ensemble([fit.model for fit in fits]), {"x": 1.0}, above={"y": values}, columns=["above"])
    assert found.columns == ["y_above_12345678901", "y_above_12345678902", "y_above_0.1"]
    assert found["y_above_0.1"][0] > 0.5 and found["y_above_12345678902"][0] < 1e-6


def test_nothing_on_a_circle_is_above():
    x = np.linspace(0, 350, 40)
    training = mdn.TrainingConfig(num_steps=1, evaluate_every=1)
    fit = mdn.fit(
        jax.random.key(0), x[:, None], x, training=training, input_names=("hour",), target_names=("wind",),
        num_classes=(mdn.Support(period=360.0),),
    )  # fmt: skip
    with pytest.raises(mdn.InputError, match="above: 'wind' goes round, and nothing on a circle is above: ask for qu"):
        mdn.predict(fit.model, {"hour": 1.0}, above={"wind": 10.0})
    found = mdn.predict(fit.model, {"hour": 1.0})
    assert 0 <= found["wind_mean"][0] < 360 and {"wind_low", "wind_high"} < set(found.columns)

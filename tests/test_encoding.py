"""Encodings against numbers written by hand; what travels with a model; units that keep their digits."""

import json
import tomllib
from dataclasses import replace

import jax
import numpy as np
import pytest
import tomli_w
from numpy.testing import assert_allclose, assert_array_equal

import mdn_jax as mdn
from mdn_jax.encoding import Column, Encoding, missing_in
from mdn_jax.models import Calibration
from mdn_jax.training import prepare

NAN = np.nan


def texts(*values):
    return np.array(values, object)


TABLE = {
    "size": np.array([1.0, NAN, 5.0, 6.0]),
    "kind": texts("b", "a", None, "b"),
    "year": np.array([2000.0, 2001.0, 2002.0, 2003.0]),
}
NEW = {"size": np.array([NAN, 0.5, 6.0]), "kind": texts("c", "a", None), "year": np.array([2000.0, NAN, 2004.0])}


def encoding(choice):
    return Encoding.fit(TABLE, ("size", "kind", "year"), ("y",), categorical=("kind",), missing_inputs=choice)


def test_missing_values_and_kinds_by_hand():
    code = encoding("indicate")
    assert code.names == ("size", "size missing", "kind=a", "kind=b", "kind missing", "year")
    assert code.categorical == ("kind",) and code.inputs == ("size", "kind", "year")
    # size: mean of 1, 5, 6; kind: one a and two b; a kind never seen and a missing one are the training shares
    trained = code.encode(TABLE)
    assert_array_equal(
        trained.x, [[1, 0, 0, 1, 0, 2000], [4, 1, 1, 0, 0, 2001], [5, 0, 1 / 3, 2 / 3, 1, 2002], [6, 0, 0, 1, 0, 2003]]
    )
    assert not trained.outside.any()
    new = code.encode(NEW)
    assert_array_equal(new.x, [[4, 1, 1 / 3, 2 / 3, 0, 2000], [0.5, 0, 1, 0, 0, 2001.5], [6, 0, 1 / 3, 2 / 3, 1, 2004]])
    # an unknown kind; a number below its range and a missing year, which training never lacked; a number above
    assert_array_equal(new.outside, [True, True, True])
    assert new.unknown == {"kind": 1} and new.missing == {"size": 1, "kind": 1, "year": 1}


def test_an_unknown_kind_is_the_average_row():
    code = encoding("drop")
    average = code.encode({"size": np.array([NAN]), "kind": texts("never"), "year": np.array([NAN])})
    whole = {name: values[~missing_in(values)] for name, values in TABLE.items()}
    kinds = np.mean([[kind == "a", kind == "b"] for kind in whole["kind"]], axis=0)
    assert_allclose(average.x, [[whole["size"].mean(), *kinds, whole["year"].mean()]], rtol=1e-15)
    assert average.outside.all() and code.names == ("size", "kind=a", "kind=b", "year")


def test_a_missing_value_is_flagged_where_training_had_none_to_learn_from():
    indicated, dropped = encoding("indicate"), encoding("drop")
    row = {"size": np.array([NAN]), "kind": texts("a"), "year": np.array([2001.0])}
    assert not indicated.encode(row).outside[0] and dropped.encode(row).outside[0]
    inside = {"size": np.array([1.0, 6.0]), "kind": texts("a", "b"), "year": np.array([2000.0, 2003.0])}
    assert not dropped.encode(inside).outside.any()  # the ends of a range belong to it


def test_without_inputs_there_are_rows_all_the_same():
    code = Encoding.fit(TABLE, (), ("y",))
    assert code.encode(TABLE).x.shape == (4, 0) and not code.encode(TABLE).outside.any() and code.names == ()


def test_a_column_without_a_value_is_refused():
    with pytest.raises(mdn.InputError, match="column 'a' has no value in any training row"):
        Column.fit("a", np.full(3, NAN), categorical=False, indicate=True)


@pytest.mark.parametrize(
    "there_and_back", [lambda p: tomllib.loads(tomli_w.dumps(p)), lambda p: json.loads(json.dumps(p))]
)
def test_plain_values_and_back(there_and_back):
    table = TABLE | {'a "b" = ö\n': texts("x=1", 'y"', "größe", "x=1")}
    inputs = tuple(table)
    code = Encoding.fit(table, inputs, ("y",), categorical=("kind", inputs[-1]), missing_values=(-999, 0.1, "?"))
    again = Encoding.from_dict(there_and_back(code.to_dict()))
    assert again == code and hash(again) == hash(code) and again.missing_values == (-999, 0.1, "?")
    assert_array_equal(again.encode(table).x, code.encode(table).x)


@pytest.mark.parametrize("damage", [{"columns": [{"nam": "a"}]}, {"columns": 3}, {}])
def test_what_is_no_encoding_is_refused(damage):
    with pytest.raises(mdn.InputError, match="not an encoding of columns"):
        Encoding.from_dict(damage)


# With a model


def calibration(count, dim):
    needed = np.random.default_rng(4).random((2, count, dim))
    needed[0, 3, 0] = np.nan
    return Calibration(needed[0], needed[1], needed[0].mean(axis=1))


@pytest.fixture(scope="module")
def pair():
    """Two networks as training starts them, as one."""
    rng = np.random.default_rng(0)
    training = mdn.TrainingConfig(num_steps=1, evaluate_every=1, ensemble_size=2)
    model, code = mdn.ModelConfig(num_components=2, hidden_sizes=()), encoding("indicate")
    x, y = rng.normal(size=(60, 6)), rng.normal(size=(60, 2))
    state = mdn.start(
        jax.random.key(0), x, y, model=model, training=training, input_names=code.names, encoding=code
    )  # fmt: skip
    return mdn.finish(state).model


@pytest.mark.parametrize("which", ["ensemble", "one"])
def test_a_model_keeps_encoding_and_calibration_on_disk(tmp_path, pair, which):
    model = replace(pair if which == "ensemble" else pair.networks[0], calibration=calibration(30, 2))
    mdn.save(tmp_path / "model", model)
    again = mdn.load(tmp_path / "model")
    assert type(again) is type(model) and again.encoding == model.encoding == encoding("indicate")
    assert jax.tree.structure(again) == jax.tree.structure(model)
    for one, other in zip(jax.tree.leaves(again), jax.tree.leaves(model), strict=True):
        assert one.dtype == other.dtype
        assert_array_equal(one, other)
    assert again.calibration.central.dtype == np.float64
    mdn.save(tmp_path / "model", pair)
    assert mdn.load(tmp_path / "model").calibration is None


def test_a_network_of_ones_own_loads_with_what_was_kept_beside_it(tmp_path):
    units = mdn.Standardizer.identity(1)
    plain = mdn.Model(
        mdn.Conditional(mdn.Functional({"b": np.zeros(2, np.float32)}, lambda params, x: x), None, mdn.MixtureSpec(1)),
        units,
        units,
    )
    rich = replace(plain, calibration=calibration(25, 1), encoding=encoding("drop"))
    for kept in (rich, plain):
        mdn.save(tmp_path / "model", kept)
        again = mdn.load(tmp_path / "model", network=plain.conditional.network)
        assert again.encoding == kept.encoding
        assert (again.calibration is None) == (kept.calibration is None)
    mdn.save(tmp_path / "model", rich)
    assert_array_equal(
        mdn.load(tmp_path / "model", network=plain.conditional.network).calibration.joint, rich.calibration.joint
    )


# Units

TRAINING = mdn.TrainingConfig(num_steps=300, evaluate_every=100, batch_size="full", learning_rate=0.02)


def test_timestamps_keep_their_digits():
    # seconds of 2023 with a spread of a few: float32 alone would see multiples of 128
    rng = np.random.default_rng(1)
    seconds = rng.uniform(-3.0, 3.0, size=400)
    x, y = 1.7e9 + seconds[:, None], 1.7e9 + 10.0 * seconds + rng.normal(size=400)
    config = mdn.ModelConfig(num_components=1, hidden_sizes=())
    stamped, plain = (
        mdn.fit(jax.random.key(0), *data, model=config, training=TRAINING) for data in ((x, y), (x - 1.7e9, y - 1.7e9))
    )
    assert_allclose(stamped.history["val_loss"], plain.history["val_loss"], atol=1e-4)
    scores = mdn.evaluate(stamped.model, x, y)
    assert np.abs(scores.error).std() < 1.0  # of noise 1, where y alone spreads by 17
    # the density of a straight line with normal noise, by least squares
    residuals = y - 1.7e9 - np.polyval(np.polyfit(seconds, y - 1.7e9, 1), seconds)
    assert scores.nll.mean() == pytest.approx(0.5 * np.log(2.0 * np.pi * np.e * residuals.var()), abs=0.02)


def head_of(num_classes):
    return mdn.MixtureSpec(1, len(num_classes))


def test_a_rare_kind_stands_two_units_from_the_others():
    rng = np.random.default_rng(2)
    x = np.column_stack([np.arange(500) == 7, np.where(np.arange(500) < 3, -1.0, 5.0), rng.normal(size=500)])
    data = prepare(x, x[:, 2], None, 0.0, head_of=head_of)
    own = replace(data.inputs, shift=np.zeros(3))
    assert_array_equal(own.scale[:2], [0.5, 3.0])  # half the distance of the two values
    assert_allclose(own.scale[2], x[:, 2].std(), rtol=1e-12)
    assert_allclose(data.inputs.shift, x.mean(axis=0), rtol=1e-12)
    spread = np.asarray(data.rows.x)
    assert_allclose(spread.max(axis=0)[:2] - spread.min(axis=0)[:2], 2.0, rtol=1e-6)
    assert_allclose(spread.mean(axis=0), 0.0, atol=1e-6)
    constant = prepare(np.column_stack([x[:, 2], np.full(500, 7.0)]), x[:, 2], None, 0.0, head_of=head_of)
    assert constant.inputs.scale[1] == 1.0 and (np.asarray(constant.rows.x)[:, 1] == 0.0).all()

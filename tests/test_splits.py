"""Which rows train, calibrate and test; many splits at once; validation rows of one's own; mean weights; masks."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import mdn_jax as mdn
from mdn_jax import DatasetConfig, InputError
from mdn_jax.data import load
from mdn_jax.data.splits import split_rows
from mdn_jax.judging import row_nll

# Rows of a table


def config(**fields):
    return DatasetConfig(**({"path": "t.csv", "inputs": ("a",), "targets": ("y",)} | fields))


def parts(count=100, column=None, **fields):
    return split_rows(config(**fields), count, column, "t.csv")


GROUPS = np.array([f"g{i % 13}" for i in range(100)], object)


@pytest.mark.parametrize(
    ("fields", "column"),
    [
        ({}, None),
        ({"calibration_fraction": 0.25}, None),
        ({"split": "ordered", "calibration_fraction": 0.1}, None),
        ({"split": "ordered", "split_column": "t"}, np.arange(100.0)[::-1]),
        ({"split": "group", "split_column": "g", "calibration_fraction": 0.3, "test_fraction": 0.2}, GROUPS),
        ({"test_path": "other.csv", "calibration_fraction": 0.2}, None),
    ],
)
def test_parts_are_disjoint_complete_and_seeded(fields, column):
    found = parts(column=column, **fields)
    assert sorted(np.concatenate(list(found.values()))) == list(range(100))
    wanted = {"train"} | ({"calibration"} if "calibration_fraction" in fields else set())
    assert set(found) == wanted | (set() if "test_path" in fields else {"test"})
    again, other = parts(column=column, **fields), parts(column=column, **fields, seed=1)
    for name, rows in found.items():
        assert_array_equal(again[name], rows)
    moves = fields.get("split") != "ordered"
    assert moves == any(set(other[name].tolist()) != set(rows.tolist()) for name, rows in found.items())


def test_shares_are_of_what_is_left():
    found = parts(test_fraction=0.2, calibration_fraction=0.25)
    assert {name: len(rows) for name, rows in found.items()} == {"test": 20, "calibration": 20, "train": 60}
    # one more part leaves the test rows as they are
    assert_array_equal(found["test"], parts(test_fraction=0.2)["test"])


@pytest.mark.parametrize(
    "values",
    [
        [9.0, 10.0, -1.0, 2.5, 1e3, 8.0, 7.0, 6.0, 5.0, 4.0],
        ["9", "10", "-1", "2.5", "1e3", "8", "7", "6", "5", "4"],  # numbers, though texts: 9 is before 10
        [f"{y}-{m:02}-01" for y, m in [(2021, 12), (2022, 1), (1999, 1), (2000, 2), (2022, 2)] + [(2010, 5)] * 5],
    ],
)
def test_an_ordered_split_trains_on_the_past(values):
    column = np.array(values, float if isinstance(values[0], float) else object)
    found = parts(10, column, split="ordered", split_column="t", test_fraction=0.2, calibration_fraction=0.25)
    assert found["test"].tolist() == [1, 4]
    order = sorted(range(10), key=lambda i: values[i] if "01" in str(values[i]) else float(values[i]))
    assert_array_equal(np.concatenate([found["train"], found["calibration"], found["test"]]), order)


def test_no_group_is_shared_between_parts():
    fields = {"split": "group", "split_column": "g", "calibration_fraction": 0.3, "test_fraction": 0.2}
    found = {name: set(GROUPS[rows]) for name, rows in parts(column=GROUPS, **fields).items()}
    assert sorted(group for groups in found.values() for group in groups) == sorted(set(GROUPS))
    assert {name: len(groups) for name, groups in found.items()} == {"test": 3, "calibration": 3, "train": 7}


@pytest.mark.parametrize(
    ("count", "fields", "message"),
    [
        (20, {"test_fraction": 0.01}, "dataset.test_fraction = 0.01 of 20 rows leaves no test row: raise it"),
        (20, {"test_fraction": 0.99}, "dataset.test_fraction = 0.99 of 20 rows leaves no training row: lower it"),
        (20, {"calibration_fraction": 0.01}, "dataset.calibration_fraction = 0.01 of 18 rows leaves no calibration"),
        (20, {"calibration_fraction": 0.99}, "dataset.calibration_fraction = 0.99 of 18 rows leaves no training row"),
        (3, {"split": "group", "split_column": "g"}, "dataset.test_fraction = 0.1 of 2 groups leaves no test group"),
    ],
)
def test_an_empty_part_is_refused_with_file_and_field(count, fields, message):
    with pytest.raises(InputError) as caught:
        parts(count, np.array(["a", "b", "a"], object) if count == 3 else None, **fields)
    assert str(caught.value).startswith("t.csv: ") and message in str(caught.value)


def table(folder, count=60, name="t.csv", **columns):
    plain = {"a": np.arange(count), "y": np.arange(count) % 7, "g": np.arange(count) % 6} | columns
    lines = zip(*[[str(value) for value in column] for column in plain.values()], strict=True)
    (folder / name).write_text(",".join(plain) + "\n" + "".join(",".join(line) + "\n" for line in lines))


def test_a_test_table_of_its_own_is_used_alone(tmp_path):
    table(tmp_path)
    (tmp_path / "last.csv").write_text("y,a\n3,100\n4,-5\n")  # neither split nor as many rows as a split needs
    fields = {"split": "group", "split_column": "g", "test_path": "last.csv", "calibration_fraction": 0.5}
    data = load(config(**fields), tmp_path)
    assert_array_equal(data.test.x, [[100.0], [-5.0]])
    assert_array_equal(data.test.y, [[3.0], [4.0]])
    assert len(data.train) == len(data.calibration) == 30
    (tmp_path / "last.csv").write_text("y,a\n")
    with pytest.raises(InputError, match=r"last.csv: no row to test on"):
        load(config(**fields), tmp_path)


def test_so_few_calibration_rows_promise_nothing(tmp_path):
    table(tmp_path)
    with pytest.raises(InputError, match=r"dataset.calibration_fraction = 0.2 keeps 11 rows apart, .* at least 20"):
        load(config(calibration_fraction=0.2), tmp_path)
    with pytest.raises(InputError, match=r"keeps 10 rows apart"):
        load(DatasetConfig(name="sinusoid", num_points=100, num_test_points=10, calibration_fraction=0.1))
    kept = load(DatasetConfig(name="sinusoid", num_points=100, num_test_points=10, calibration_fraction=0.3))
    assert len(kept.train) == 70 and len(kept.calibration) == 30


@pytest.mark.parametrize("split", ["ordered", "group"])
@pytest.mark.parametrize("inputs", [("a",), ("a", "t")])
def test_a_row_of_unknown_order_or_group_is_refused(tmp_path, split, inputs):
    table(tmp_path, t=["" if i == 7 else i % 9 for i in range(60)])
    fields = {"split": split, "split_column": "t", "inputs": inputs}
    with pytest.raises(InputError, match=r"t.csv: column 't': 1 value is missing, first in row 8: fill it in"):
        load(config(**fields, missing_inputs="indicate"), tmp_path)
    if "t" in inputs:
        assert len(load(config(**fields, missing_inputs="drop"), tmp_path).warnings) == 1


# Training

MODEL = mdn.ModelConfig(num_components=2, hidden_sizes=(4,))
TRAINING = mdn.TrainingConfig(num_steps=6, evaluate_every=3, batch_size=16, ensemble_size=2)
ROWS = np.random.default_rng(0)
X = 100.0 + 5.0 * ROWS.normal(size=(120, 2))
Y = X[:, :1] - 100.0 + ROWS.normal(size=(120, 1))


def near(first, second):
    """Equal to rounding: what is computed twice, in one program or in two, may differ in the last bit."""
    for one, other in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def same(first, second):
    """Equal to the last bit."""
    assert jax.tree.structure(first) == jax.tree.structure(second)
    for one, other in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        if jnp.issubdtype(one.dtype, jax.dtypes.prng_key):
            one, other = jax.random.key_data(one), jax.random.key_data(other)
        assert_array_equal(np.asarray(one), np.asarray(other))


SPLITS = [np.arange(80), np.r_[100:119, 20:81]]


@pytest.fixture(scope="module")
def fits():
    """Two splits at once; no row of the first split is above 79, none of the second below 20 or 119."""
    return mdn.fit_splits(jax.random.key(3), X, Y, SPLITS, model=MODEL, training=TRAINING)


def test_each_split_is_a_fit_on_its_rows(fits):
    for number, (rows, fit) in enumerate(zip(SPLITS, fits, strict=True)):
        key = jax.random.fold_in(jax.random.key(3), number)
        alone = mdn.fit(key, X[rows], Y[rows], model=MODEL, training=TRAINING)
        assert_allclose(fit.history["train_loss"], alone.history["train_loss"], atol=1e-4)
        assert_allclose(fit.history["val_loss"], alone.history["val_loss"], atol=1e-4)
        assert fit.statuses == alone.statuses and fit.best_step.tolist() == alone.best_step.tolist()
        for units, own in ((fit.model.inputs, alone.model.inputs), (fit.model.targets, alone.model.targets)):
            assert_allclose(units.shift, own.shift, rtol=1e-12)
            assert_allclose(units.scale, own.scale, rtol=1e-12)
        assert_allclose(fit.model.targets.shift, Y[rows].mean(axis=0), rtol=1e-12)
        assert_allclose(mdn.mean(fit.model(X[0])), mdn.mean(alone.model(X[0])), rtol=1e-3)


def test_splits_of_other_sizes_are_fits_too(fits):
    other = np.arange(40, 110)
    splits = [SPLITS[0], other, SPLITS[1]]
    found = mdn.fit_splits(jax.random.key(3), X, Y, splits, model=MODEL, training=TRAINING)
    same(found[0].model, fits[0].model)
    assert_allclose(found[2].model.targets.shift, fits[1].model.targets.shift)
    alone = mdn.fit(jax.random.fold_in(jax.random.key(3), 1), X[other], Y[other], model=MODEL, training=TRAINING)
    assert_allclose(found[1].history["val_loss"], alone.history["val_loss"], atol=1e-4)


@pytest.mark.parametrize("poison", [1e12, np.nan])
def test_rows_left_out_are_never_seen(fits, poison):
    x, y = X.copy(), Y.copy()
    x[119], y[119] = poison, poison  # in neither split
    y[81:100] = -poison
    for before, after in zip(fits, mdn.fit_splits(jax.random.key(3), x, y, SPLITS, model=MODEL, training=TRAINING)):
        same(before.model, after.model)
        same(before.history, after.history)


def test_one_split_does_not_see_the_rows_of_another(fits):
    y = Y.copy()
    y[100:119] *= 1e12  # of the second alone
    poisoned = mdn.fit_splits(jax.random.key(3), X, y, SPLITS, model=MODEL, training=TRAINING)
    same(poisoned[0].model, fits[0].model)
    same(poisoned[0].history, fits[0].history)
    assert not np.array_equal(poisoned[1].model.targets.scale, fits[1].model.targets.scale)


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ([], "takes at least one split; got none"),
        ([np.arange(100, 121)], "whole numbers from 0 to 119"),
        ([np.arange(-1, 20)], "whole numbers from 0 to 119"),
        ([np.arange(20.0)], "whole numbers from 0 to 119"),
        ([np.ones(120, bool)], "whole numbers from 0 to 119"),
        ([np.array([5])], r"splits of 2 rows or more; got sizes \[1\]"),
        ([np.full(20, 4)], "y is constant in column"),
    ],
)
def test_splits_that_cannot_be_are_refused(splits, message):
    with pytest.raises(InputError, match=message):
        mdn.fit_splits(jax.random.key(0), X, Y, splits, model=MODEL, training=TRAINING)


# Validation rows of each network's own


def own(seed=0, **fields):
    training = mdn.TrainingConfig(**({"validation": "own", "ensemble_size": 3, "validation_fraction": 0.25} | fields))
    return mdn.start(jax.random.key(seed), X, Y, model=MODEL, training=training)


def test_every_network_has_validation_rows_of_its_own():
    state, other = own(), own(seed=1)
    train, validation = np.asarray(state.lanes.split.train), np.asarray(state.lanes.split.validation)
    assert train.shape == (3, 90) and validation.shape == (3, 30) and state.data.validation is None
    for row, kept in zip(train, validation, strict=True):
        assert sorted([*row, *kept]) == list(range(120))
    assert len({tuple(sorted(kept)) for kept in validation}) == 3
    same(state.lanes.split, other.lanes.split)
    shared = mdn.start(
        jax.random.key(0), X, Y, model=MODEL,
        training=mdn.TrainingConfig(ensemble_size=3, validation_fraction=0.25),
    )  # fmt: skip
    assert shared.lanes.split is None  # the first network has the rows that are shared otherwise
    assert_array_equal(shared.data.validation.y, np.asarray(state.data.rows.y)[validation[0]])


def test_all_rows_may_train_every_network():
    split = own(validation_fraction=0.0).lanes.split
    assert split.validation is None
    assert_array_equal(split.train, np.tile(np.arange(120), (3, 1)))


def test_validation_rows_choose_by_their_own_loss():
    training = TRAINING.model_copy(update={"validation": "own", "ensemble_size": 2})
    state = mdn.start(jax.random.key(0), X, Y, model=MODEL, training=training)
    state, metrics = mdn.advance(state)
    model, split = mdn.finish(state).model, state.lanes.split
    for index in range(2):
        rows = jax.tree.map(lambda leaf, i=index: np.asarray(leaf)[np.asarray(split.validation[i])], state.data.rows)
        alone = replace(model.networks[index], targets=state.data.targets)
        assert metrics["val_loss"][index] == pytest.approx(row_nll(alone, rows).mean(), abs=1e-5)


# A mean of the weights over the steps


AVERAGED = mdn.TrainingConfig(num_steps=12, evaluate_every=1, batch_size=16, averaging=0.3)


def averaged(rate):
    training = AVERAGED.model_copy(update={"averaging": rate})
    return mdn.start(jax.random.key(0), X, Y, model=MODEL, training=training)


def test_averaging_is_an_exponential_mean_by_hand():
    state, plain = averaged(0.3), averaged(0.0)
    mean = [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(state.lanes.network)]
    for number in range(12):
        (state, metrics), (plain, _) = mdn.advance(state), mdn.advance(plain)
        rate = min(0.3, (1 + number) / (10 + number))  # the first steps are forgotten sooner
        steps = [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(state.lanes.network)]
        mean = [rate * old + (1.0 - rate) * new for old, new in zip(mean, steps, strict=True)]
        for one, other in zip(jax.tree.leaves(state.lanes.average), mean, strict=True):
            assert_allclose(one, other, rtol=1e-5, atol=1e-6)
        if number == 0 or metrics["val_loss"] == metrics["best_loss"]:  # the mean is what is judged and kept
            near(state.lanes.best_network, state.lanes.average)
            loss = row_nll(mdn.finish(state).model, state.data.validation).mean()
            assert metrics["val_loss"] == pytest.approx(loss, abs=1e-5)
    near(state.lanes.network, plain.lanes.network)  # and steers nothing
    assert plain.lanes.average is None


def test_averaging_of_nothing_is_no_averaging():
    state, plain = averaged(0.3), averaged(0.0)
    # a member of rate 0 in a program that averages
    rates = state.lanes.rates | {"averaging": jnp.zeros(1)}
    state = replace(state, lanes=state.lanes._replace(rates=rates))
    for _ in range(12):
        (state, _), (plain, _) = mdn.advance(state), mdn.advance(plain)
    same(mdn.finish(state).model, mdn.finish(plain).model)


# Targets that are not observed

Y2 = np.column_stack([Y[:, 0], 1000.0 * Y[:, 0] ** 2])


def masked(known, y=Y2, **options):
    training = mdn.TrainingConfig(num_steps=4, evaluate_every=2, batch_size=16, **options)
    return mdn.start(jax.random.key(0), X, y, model=MODEL, training=training, observed=known)


def test_all_observed_is_no_mask():
    state, plain = masked(np.ones_like(Y2, bool)), masked(None)
    same(state.data.rows, plain.data.rows)
    same(state.lanes, plain.lanes)
    assert state.data.rows.observed is None


def test_what_is_not_observed_may_be_anything():
    known = np.arange(240).reshape(120, 2) % 3 > 0
    first, second = masked(known, np.where(known, Y2, np.nan)), masked(known, np.where(known, Y2, 1e30))
    for _ in range(2):
        (first, metrics), (second, _) = mdn.advance(first), mdn.advance(second)
    same(first.lanes, second.lanes)
    model = mdn.finish(first).model
    assert np.isfinite(metrics["train_loss"])
    # the units are those of what is known, and losses are in nats of the known targets alone
    for column in (0, 1):
        values = Y2[known[:, column], column]
        assert model.targets.shift[column] == pytest.approx(values.mean(), rel=1e-12)
        assert model.targets.scale[column] == pytest.approx(values.std(), rel=1e-12)
    assert metrics["best_loss"] == pytest.approx(row_nll(model, first.data.validation).mean(), abs=1e-4)


def straight(params, x):
    """Two independent normals around a constant each, in the order logit, means, log standard deviations."""
    return jnp.concatenate([jnp.zeros(1), params["mean"], params["log_std"]])


def test_a_target_that_is_rarely_known_leaves_the_other_as_if_alone():
    known = np.column_stack([np.ones(120, bool), np.arange(120) < 5])
    training = mdn.TrainingConfig(num_steps=30, evaluate_every=30, batch_size="full", validation_fraction=0.0)
    params = {"mean": np.full(2, 0.4, np.float32), "log_std": np.full(2, -0.3, np.float32)}
    found = {}
    for name, dim in (("both", 2), ("alone", 1)):
        own = {part: values[:dim] for part, values in params.items()}
        found[name] = mdn.fit(
            jax.random.key(0), X, Y2[:, :dim], params=own, apply=straight, spec=mdn.MixtureSpec(1, dim),
            training=training, observed=known[:, :dim],
        ).model  # fmt: skip
    for part in ("mean", "log_std"):
        both, alone = (np.asarray(model.conditional.network.params[part]) for model in found.values())
        assert_allclose(both[0], alone[0], rtol=1e-5)
        assert abs(both[1] - params[part][1]) > 1e-2  # its few rows train it


@pytest.mark.parametrize(
    ("known", "options", "message"),
    [
        (np.ones((120, 3), bool), {}, r"observed must have the shape of y, \(120, 2\); got \(120, 3\)"),
        (np.arange(240).reshape(120, 2) % 2 == 0, {}, "observed leaves a target without any value"),
        (np.arange(240).reshape(120, 2) > 0, {"objective": "crps"}, "crps needs every target; some are missing"),
        (np.arange(240).reshape(120, 2) > 0, {"objective": "energy_score"}, "energy_score needs every target"),
    ],
)
def test_masks_that_cannot_be_are_refused(known, options, message):
    with pytest.raises(InputError, match=message):
        masked(known, **options)


def test_a_target_known_only_where_rows_weigh_nothing_is_refused():
    known = np.column_stack([np.ones(120, bool), np.arange(120) < 5])
    weights = (np.arange(120) >= 5).astype(float)
    with pytest.raises(InputError, match="observed leaves a target without any value"):
        mdn.start(jax.random.key(0), X, Y2, model=MODEL, observed=known, weights=weights)
    with pytest.raises(InputError, match="y must be finite; got nan in row 3, column 0"):
        mdn.start(jax.random.key(0), X, np.where(np.arange(120)[:, None] == 3, np.nan, Y2), observed=known, model=MODEL)

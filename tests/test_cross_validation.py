"""Scores by folds: each row once, by networks that never saw it."""

import json
from dataclasses import replace

import jax
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import mdn_jax as mdn
from mdn_jax import DatasetConfig, InputError
from mdn_jax.data import load_folds
from mdn_jax.data.splits import fold_rows
from mdn_jax.runs import run
from mdn_jax.training import fit_prepared, head_of, objective_of, prepare

TRAINING = {"num_steps": 6, "evaluate_every": 3, "batch_size": 16}
MODEL = {"num_components": 2, "hidden_sizes": (4,)}


def write(folder, count=60, **columns):
    rng = np.random.default_rng(0)
    a = rng.normal(size=count)
    plain = {"a": a, "y": 3.0 * a + rng.normal(size=count), "g": [f"g{i % 7}" for i in range(count)]} | columns
    lines = zip(*[[str(value) for value in column] for column in plain.values()], strict=True)
    (folder / "t.csv").write_text(",".join(plain) + "\n" + "".join(",".join(line) + "\n" for line in lines))
    return {"path": str(folder / "t.csv"), "inputs": ("a",), "targets": ("y",)}


def config(dataset, **training):
    return mdn.Config(
        dataset=DatasetConfig(**dataset), model=mdn.ModelConfig(**MODEL),
        training=mdn.TrainingConfig(**TRAINING | training),
    )  # fmt: skip


@pytest.mark.parametrize(("count", "folds"), [(60, 5), (61, 5), (12, 12)])
def test_each_row_stands_in_one_fold(count, folds):
    plain = DatasetConfig(path="t.csv", targets=("y",))
    found = fold_rows(plain, folds, count, None, "t.csv")
    assert len(found) == folds and sorted(np.concatenate(found)) == list(range(count))
    assert max(map(len, found)) - min(map(len, found)) <= 1
    again, other = (fold_rows(plain.model_copy(update={"seed": s}), folds, count, None, "") for s in (0, 1))
    assert all(np.array_equal(one, two) for one, two in zip(found, again, strict=True))
    assert not all(np.array_equal(one, two) for one, two in zip(found, other, strict=True))


def test_groups_stay_whole(tmp_path):
    dataset = DatasetConfig(**write(tmp_path), split="group", split_column="g")
    for fold in load_folds(dataset, 3):
        train, test = (set(np.asarray(part.place) % 7) for part in (fold.train, fold.test))
        assert not train & test and train | test == set(range(7))


def test_every_row_is_judged_by_a_fit_on_the_others(tmp_path, compilations):
    whole = config(write(tmp_path), ensemble_size=2)
    scores = mdn.cross_validate(whole, num_folds=4)
    assert sum("_advance" in name for name in compilations) <= 1
    assert scores.nll.shape == (60,) and np.isfinite(scores.nll).all()
    for number, fold in enumerate(load_folds(whole.dataset, 4)):
        key = jax.random.fold_in(jax.random.key(whole.seed), number)
        alone = mdn.fit(key, **fold.for_training, model=whole.model, training=whole.training).model
        expected = mdn.evaluate(alone, fold.test.x, fold.test.y)
        assert_allclose(scores.nll[fold.test.place], expected.nll, rtol=1e-3, atol=1e-3)
        assert_allclose(scores.crps[fold.test.place], expected.crps, rtol=1e-3, atol=1e-3)
    assert set(scores.report(["y"])) >= {"test_nll", "test_nll_standard_error", "test_rmse"}


def test_a_fold_never_sees_its_own_rows(tmp_path):
    y = np.random.default_rng(1).normal(size=60)
    plain = config(write(tmp_path, y=y))
    own = load_folds(plain.dataset, 4)[1].test.place
    before = mdn.cross_validate(plain, num_folds=4)
    spoilt = mdn.cross_validate(config(write(tmp_path, y=np.where(np.isin(range(60), own), y + 1e6, y))), num_folds=4)
    # the same predictions of rows that only their own fold leaves out
    moved = before.error[own] - spoilt.error[own]
    assert_allclose(moved, 1e6, rtol=1e-5)


@pytest.mark.parametrize(
    "told",
    [
        {"support": {"y": "positive"}},
        pytest.param({"support": {"y": "count"}}, marks=pytest.mark.slow),
        {"inputs": ("a", "g"), "categorical": ("g",), "weight": "w"},
        pytest.param({"targets": ("y", "z"), "missing_targets": "marginalise"}, marks=pytest.mark.slow),
        pytest.param({"targets": ("g",), "categorical": ("g",)}, marks=pytest.mark.slow),
    ],
    ids=["bounds", "counts", "kinds_weights", "missing", "target_of_kinds"],
)
def test_tables_of_every_form(tmp_path, told):
    counts = np.random.default_rng(0).poisson(9.0, size=60) + 1
    weight, z = np.arange(60) % 3, ["" if i % 4 == 0 else i % 13 for i in range(60)]
    whole = config(write(tmp_path, y=counts, w=weight, z=z) | told)
    scores = mdn.cross_validate(whole, num_folds=3)
    assert scores.nll.shape == (60,) and np.isfinite(scores.nll).all()
    if "weight" in told:
        assert_array_equal(scores.weight, weight)
    for number, fold in enumerate(load_folds(whole.dataset, 3)[:1]):
        key = jax.random.fold_in(jax.random.key(0), number)
        alone = mdn.fit(key, **fold.for_training, model=whole.model, training=whole.training).model
        nll = mdn.evaluate(alone, fold.test.x, fold.test.y, observed=fold.test.observed).nll
        assert_allclose(scores.nll[fold.test.place], nll, rtol=1e-3, atol=1e-3)


def test_histories_of_folds_with_missing_targets_are_in_their_own_units(tmp_path):
    z = ["" if i % 4 == 0 else i % 13 for i in range(60)]
    whole = config(write(tmp_path, z=z) | {"targets": ("y", "z"), "missing_targets": "marginalise"})
    folds = [replace(fold, encoding=None) for fold in load_folds(whole.dataset, 3)]
    objective = objective_of("nll", 2)
    prepared = [
        prepare(**fold.for_training, validation_fraction=0.0, head_of=lambda n: head_of(whole.model, objective, n))
        for fold in folds
    ]
    keys = jax.random.split(jax.random.key(0), 3)
    fits = fit_prepared(keys, prepared, whole.model, whole.training)
    for key, fit, fold in zip(keys, fits, folds, strict=True):
        alone = mdn.fit(key, **fold.for_training, model=whole.model, training=whole.training)
        assert_allclose(fit.history["train_loss"], alone.history["train_loss"], rtol=0.02, atol=0.02)


@pytest.mark.parametrize(
    ("told", "folds", "message"),
    [
        ({}, 61, r"t.csv: num_folds is 61, of 60 rows: give 2 to 60"),
        ({}, 1, r"t.csv: num_folds is 1, of 60 rows: give 2 to 60"),
        ({"split": "group", "split_column": "g"}, 8, r"num_folds is 8, of 7 groups: give 2 to 7"),
        ({"split": "ordered"}, 3, r'folds test on the past too: set dataset.split = "random"'),
    ],
)
def test_folds_that_cannot_be_are_refused(tmp_path, told, folds, message):
    with pytest.raises(InputError, match=message):
        mdn.cross_validate(config(write(tmp_path) | told), num_folds=folds)


def test_what_is_no_table_has_no_folds():
    with pytest.raises(InputError, match=r"folds are of a table, and dataset.name = 'sinusoid' draws rows: give path"):
        mdn.cross_validate(mdn.Config(dataset=DatasetConfig(name="sinusoid")))


def test_a_small_test_part_is_offered_folds_that_work(tmp_path, no_figures, monkeypatch):
    run(config(write(tmp_path)), tmp_path / "run")
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    said = [one for one in metrics["warnings"] if "cross_validate" in one]
    assert len(said) == 1 and said[0].startswith("6 test rows are few to judge by: their NLL is known within")
    monkeypatch.chdir(tmp_path / "run")
    scores = mdn.cross_validate("config.toml")
    assert scores.nll.shape == (60,)
    assert_array_equal(mdn.cross_validate(tmp_path / "run").nll, scores.nll)

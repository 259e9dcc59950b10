"""`MDNRegressor` among scikit-learn's own tools."""

import builtins
import importlib
import pickle
import sys

import jax
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_predict, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import mdn_jax as mdn
from mdn_jax.estimator import MDNRegressor, log_likelihood

SMALL = {"num_steps": 40, "ensemble_size": 1, "num_components": 3, "hidden_sizes": (8,), "random_state": 0}
ROWS = np.random.default_rng(0)
X = ROWS.normal(size=(100, 2))
Y = 50.0 + 3.0 * X[:, 0] + ROWS.normal(size=100)
BOTH = np.stack([Y, 1e6 * X[:, 1] + ROWS.normal(size=100)], axis=1)
WHY = "a row of weight 2 is drawn as often as any other and counts twice: mini-batches are not those of two equal rows"


@pytest.fixture(scope="module")
def fitted():
    return MDNRegressor(**SMALL).fit(X, Y)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # of 15 rows of noise, say
@parametrize_with_checks(
    [MDNRegressor(num_steps=200, ensemble_size=1, batch_size=32)],
    expected_failed_checks=lambda _: {"check_sample_weight_equivalence_on_dense_data": WHY},
)
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


# Answers


def test_answers_are_those_of_the_model(fitted):
    mixtures = jax.vmap(fitted.model_)(X)
    assert_allclose(fitted.predict(X), jax.vmap(mdn.mean)(mixtures)[:, 0], rtol=1e-5)
    levels = [0.1, 0.333, 0.9]
    quantiles = fitted.predict_quantiles(X, levels)
    assert quantiles.shape == (100, 3)
    asked = jax.vmap(lambda one: jax.numpy.stack([mdn.quantile(one, q)[0] for q in levels]))
    assert_allclose(quantiles, asked(mixtures), rtol=1e-4)
    assert_allclose(fitted.predict_interval(X, 0.8)[:, 0], quantiles[:, 0])
    assert_allclose(fitted.predict_interval(X, 0.8)[:, 1], quantiles[:, 2])
    # the mixture's density by scipy
    weights, centres = np.asarray(jax.nn.softmax(mixtures.logits)), np.asarray(mixtures.locs[..., 0])
    stds = np.exp(np.asarray(mixtures.scale.log_std[..., 0]))
    exact = np.log(np.sum(weights * stats.norm.pdf(Y[:, None], centres, stds), axis=1))
    assert_allclose(fitted.log_prob(X, Y), exact, rtol=1e-3, atol=1e-3)
    assert_allclose(log_likelihood(fitted, X, Y), exact.mean(), rtol=1e-4)
    weight = np.arange(100.0)
    assert_allclose(log_likelihood(fitted, X, Y, weight), np.average(exact, weights=weight), rtol=1e-4)
    batch = fitted.predict_distributions(X)
    assert_allclose(batch.locs, mixtures.locs, rtol=1e-5)


def test_samples_follow_the_model(fitted):
    drawn = fitted.sample(X[:4], 4_000, random_state=1)
    assert drawn.shape == (4, 4_000)
    assert_array_equal(drawn, fitted.sample(X[:4], 4_000, random_state=1))
    spread = drawn.std(axis=1)
    assert np.all(np.abs(drawn.mean(axis=1) - fitted.predict(X[:4])) < 5 * spread / np.sqrt(4_000))
    assert not np.array_equal(drawn, fitted.sample(X[:4], 4_000, random_state=2))


def test_several_targets_keep_their_shape():
    two = MDNRegressor(**SMALL, covariance="full").fit(X, BOTH)
    assert two.predict(X[:7]).shape == (7, 2)
    assert two.predict_quantiles(X[:7], [0.25, 0.75, 0.9]).shape == (7, 3, 2)
    assert two.predict_interval(X[:7]).shape == (7, 2, 2)
    assert two.sample(X[:7], 5, random_state=0).shape == (7, 5, 2)
    assert two.log_prob(X, BOTH).shape == (100,)
    assert two.predict(X)[:, 1].std() > 1e5
    column = MDNRegressor(**SMALL).fit(X, Y[:, None])
    assert column.predict(X[:3]).shape == (3, 1)


def test_a_row_is_answered_alike_among_any_others(fitted, compilations):
    many = np.resize(X, (1_000, 2))
    whole = fitted.predict(many), fitted.predict_quantiles(many), fitted.log_prob(many, np.resize(Y, 1_000))
    del compilations[:]
    for size in (1, 2, 99, 600):
        assert_array_equal(fitted.predict(many[:size]), whole[0][:size])
        assert_array_equal(fitted.predict_quantiles(many[300 : 300 + size]), whole[1][300 : 300 + size])
        assert_array_equal(fitted.log_prob(many[:size], np.resize(Y, size)), whole[2][:size])
    assert not compilations


# Frames


def test_frames_in_frames_out():
    frame = pd.DataFrame(X, columns=["speed", "distance"], index=np.arange(100) + 1_000)
    fitted = MDNRegressor(**SMALL).fit(frame, pd.Series(Y, name="angle"))
    assert fitted.model_.input_names == ("speed", "distance") and fitted.model_.target_names == ("angle",)
    assert list(fitted.feature_names_in_) == ["speed", "distance"]
    assert isinstance(fitted.predict(frame), np.ndarray)
    quantiles = fitted.predict_quantiles(frame, [0.1, 0.9])
    assert list(quantiles.columns) == [("angle", 0.1), ("angle", 0.9)] and quantiles.index.equals(frame.index)
    interval = fitted.predict_interval(frame, 0.8)
    assert list(interval.columns) == [("angle", 0.8, "lower"), ("angle", 0.8, "upper")]
    assert_array_equal(interval.to_numpy(), quantiles.to_numpy())
    with pytest.raises(ValueError, match="feature names should match"):
        fitted.predict(frame.rename(columns={"speed": "pace"}))


def test_names_that_tell_nothing_apart_are_left_out():
    frame = pd.DataFrame(X, columns=["speed", "angle"])
    named = MDNRegressor(**SMALL).fit(frame, pd.DataFrame({"angle": Y, "force": Y**2}))
    assert named.model_.input_names == ("x0", "x1") and named.model_.target_names == ("y0", "y1")
    assert named.predict_quantiles(frame[:2], 0.5).shape == (2, 2)


@pytest.mark.slow
def test_a_pipeline_with_kinds():
    frame = pd.DataFrame({"size": X[:, 0], "kind": np.where(X[:, 1] > 0, "a", "b")})
    columns = ColumnTransformer([("kinds", OneHotEncoder(), ["kind"]), ("numbers", StandardScaler(), ["size"])])
    pipe = Pipeline([("columns", columns), ("network", MDNRegressor(**SMALL | {"num_steps": 200}))]).fit(frame, Y)
    assert pipe.predict(frame[:5]).shape == (5,)
    inner = pipe[-1].log_prob(columns.transform(frame), Y).mean()
    assert_allclose(log_likelihood(pipe, frame, Y), inner)
    assert_allclose(log_likelihood(Pipeline([("network", pipe[-1])]), columns.transform(frame), Y), inner)
    search = GridSearchCV(pipe, {"network__num_components": [1, 2]}, scoring=log_likelihood, cv=2).fit(frame, Y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


# Fitting


def test_parameters_are_the_configs_and_the_rest_the_recipes():
    names = {*mdn.ModelConfig.model_fields, *mdn.TrainingConfig.model_fields, "random_state"}
    assert set(MDNRegressor().get_params()) <= names
    model, training = MDNRegressor(learning_rate=np.float64(0.5), num_components=np.int64(2))._configs(300, 4)
    chosen_model, chosen = mdn.table_recipe(300, 4)
    assert model == chosen_model.model_copy(update={"num_components": 2})
    assert training == chosen.model_copy(update={"learning_rate": 0.5})
    for steps, every in ((250, 125), (6_000, 100), (30, 100), (90, 90), (10_007, 100)):
        assert MDNRegressor(num_steps=steps)._configs(300, 4)[1].evaluate_every == every


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"learning_rate": -1.0}, r"MDNRegressor: training.learning_rate: input should be greater than 0; got -1.0"),
        ({"covariance": "round"}, r"MDNRegressor: model.covariance: .*'round'"),
        ({"num_components": 2.5}, r"MDNRegressor: model.num_components: .*2.5"),
    ],
)
def test_a_parameter_out_of_bounds_is_refused_in_one_line(told, message):
    with pytest.raises(mdn.InputError, match=message):
        MDNRegressor(**told).fit(X, Y)


def test_what_is_not_fitted_says_so():
    for ask in (lambda one: one.predict(X), lambda one: one.log_prob(X, Y), lambda one: one.sample(X)):
        with pytest.raises(NotFittedError):
            ask(MDNRegressor())


def test_clone_and_pickle(fitted):
    again = clone(fitted).fit(X, Y)
    assert_array_equal(again.predict(X), fitted.predict(X))
    assert not np.array_equal(MDNRegressor(**SMALL | {"random_state": 1}).fit(X, Y).predict(X), fitted.predict(X))
    back = pickle.loads(pickle.dumps(fitted))
    assert_array_equal(back.predict_quantiles(X), fitted.predict_quantiles(X))
    assert back.get_params() == fitted.get_params()


def test_weights_count():
    spoilt = np.concatenate([Y, Y + 1e3])
    weight = np.repeat([1.0, 0.0], 100)
    weighted = MDNRegressor(**SMALL).fit(np.concatenate([X, X]), spoilt, sample_weight=weight)
    assert_array_equal(weighted.predict(X), MDNRegressor(**SMALL).fit(X, Y).predict(X))
    other = MDNRegressor(**SMALL).fit(X, Y, sample_weight=np.where(X[:, 0] > 0, 10.0, 1.0))
    assert not np.allclose(other.predict(X), weighted.predict(X))


def test_groups_choose_the_best_step_whole(monkeypatch):
    seen = {}
    plain = importlib.import_module("mdn_jax.estimator").finish

    def look(state):
        seen["state"] = state
        return plain(state)

    monkeypatch.setattr("mdn_jax.estimator.finish", look)
    groups = np.repeat(np.arange(20), 5)
    inputs, weight = X + groups[:, None] * 100.0, np.where(groups == 3, 0.0, 1.0)
    fitted = MDNRegressor(**SMALL, validation_fraction=0.2)
    fitted.fit(inputs, Y, sample_weight=weight, groups=groups)
    data = seen["state"].data
    parts = [np.asarray(rows.x)[:, 0] * data.inputs.scale[0] + data.inputs.shift[0] for rows in data[:2]]
    train, held = (set(np.round(part / 100.0).astype(int)) for part in parts)
    assert not train & held and train | held == set(range(20)) - {3}
    assert len(held) == 4 and len(parts[1]) == 20
    assert np.isfinite(fitted.history_["val_loss"]).all()
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        fitted.fit(X, Y, groups=groups[:-1])


def test_training_that_diverges_warns():
    with pytest.warns(ConvergenceWarning, match="training diverged: lower learning_rate"):
        assert MDNRegressor(**SMALL | {"learning_rate": 1e6}).fit(X, Y).status_ == "diverged"


# Searches


def test_folds_of_one_shape_find_one_compiled_program(compilations):
    search = GridSearchCV(
        MDNRegressor(**SMALL), {"learning_rate": [1e-3, 1e-2, 1e-1]}, scoring=log_likelihood, cv=5, refit=False
    )
    jax.clear_caches()
    search.fit(X, Y)
    for program in ("_advance", "_start_networks", "_distributions", "_mapped"):
        assert sum(program in name for name in compilations) == 1
    scores = search.cv_results_["mean_test_score"]
    assert np.isfinite(scores).all() and len(set(scores)) == 3


@pytest.mark.slow
def test_scikit_learns_searches_and_splits():
    scores = cross_val_score(MDNRegressor(**SMALL), X, Y, cv=GroupKFold(3), groups=np.repeat(np.arange(20), 5))
    assert scores.shape == (3,)
    assert cross_val_predict(make_pipeline(StandardScaler(), MDNRegressor(**SMALL)), X, Y, cv=2).shape == (100,)


def test_without_scikit_learn_the_import_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def missing(name, *arguments):
        if name.partition(".")[0] == "sklearn":
            raise ImportError(name)
        return real(name, *arguments)

    monkeypatch.delitem(sys.modules, "mdn_jax.estimator")
    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ImportError, match=r"mdn_jax.estimator needs scikit-learn: pip install 'mdn-jax\[sklearn\]'"):
        importlib.import_module("mdn_jax.estimator")

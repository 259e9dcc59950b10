"""Law: every public function refuses what is plainly of another kind, in one line that names the argument."""

import inspect
import pickle

import jax
import numpy as np
import pytest
from cases import pick
from untrained import conditional

import mdn_jax as mdn
from mdn_jax._typing import Key, PyTree

FUNCTIONS = {name: function for name in mdn.__all__ if inspect.isfunction(function := getattr(mdn, name))}
KNOWN = (
    "key",
    "path",
    "distribution",
    "model",
    "spec",
    "state",
    "config",
    "models",
    "distributions",
)  # names of such arguments
KEY = jax.random.key(0)
X = np.linspace(-1, 1, 64)[:, None]
(CASE,) = pick(1, covariances=("full",))
MIXTURE = CASE.mixture()
MODEL = mdn.Model(conditional(1, (), mdn.MixtureSpec(2), key=KEY), *[mdn.Standardizer.identity(1)] * 2, ("x",), ("y",))


def refused(function, *arguments, **named):
    with pytest.raises(mdn.InputError) as caught:
        function(*arguments, **named)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_stranger_is_refused_by_the_name_of_the_argument(name):
    stranger = type("Stranger", (), {})()
    for argument, parameter in inspect.signature(FUNCTIONS[name]).parameters.items():
        if argument in KNOWN and parameter.annotation is not PyTree:
            assert f": {argument} must be " in refused(FUNCTIONS[name], **{argument: stranger})
            assert refused(FUNCTIONS[name], **{argument: stranger}).endswith("; got Stranger")


def test_most_functions_take_something_known():
    known = [name for name in FUNCTIONS if set(KNOWN) & set(inspect.signature(FUNCTIONS[name]).parameters)]
    assert set(FUNCTIONS) - set(known) == {"stroke_dataset", "table_recipe"}
    keys = [inspect.signature(function).parameters.get("key") for function in FUNCTIONS.values()]
    assert all(key.annotation is Key for key in keys if key)


@pytest.mark.parametrize(
    ("name", "arguments", "line"),
    [
        ("save", (MODEL, "folder"), "save(path, model): path must be str | PathLike; got Model"),
        ("load", (MODEL,), "load(path): path must be str | PathLike; got Model"),
        ("predict", ({}, MODEL), "predict(model, table): model must be Model | str | PathLike; got dict"),
        ("ensemble", (MODEL,), "ensemble(models): models must be Sequence[Model]; got Model"),
        ("fit", (X, X), "fit(key, x, y): key must be a key, as jax.random.key(0); got ndarray"),
        ("fit", (0, X, X), "fit(key, x, y): key must be a key, as jax.random.key(0); got int"),
        ("fit", (KEY, X, X, mdn.ModelConfig()), "fit() takes 3 positional arguments but 4 were given"),
        ("evaluate", (X, X), "evaluate(model, x, y): model must be Model; got ndarray"),
        ("calibrate", (X, X, MODEL), "calibrate(model, x, y): model must be Model; got ndarray"),
        ("mean", (MODEL,), "mean(distribution): distribution must be Distribution; got Model"),
        ("nll", (X, MIXTURE), "nll(distribution, y): distribution must be Distribution | Observed; got ndarray"),
        ("sample", (MIXTURE, KEY), "sample(key, distribution): key must be a key, as jax.random.key(0); got Mixture"),
        ("merge", ([MODEL],),
         "merge(distributions): distributions must be Sequence[Distribution] | Distribution; got list"),
    ],
    ids=str,
)  # fmt: skip
def test_the_line_says_what_came_and_the_order(name, arguments, line):
    with pytest.raises((mdn.InputError, TypeError)) as caught:
        getattr(mdn, name)(*arguments)
    assert str(caught.value) == line


def test_a_config_of_another_kind():
    line = refused(mdn.fit, KEY, X, X, training=mdn.ModelConfig())
    assert line == "fit(key, x, y): training must be TrainingConfig | None; got ModelConfig"


def test_what_is_right_passes(tmp_path):
    for key in (KEY, jax.random.PRNGKey(0), jax.random.key(0, impl="rbg"), np.array([0, 1], np.uint32)):
        assert mdn.sample(key, MIXTURE).shape == (1,)
    assert jax.jit(jax.vmap(mdn.sample, (0, None)))(jax.random.split(KEY, 3), MIXTURE).shape == (3, 1)
    assert jax.jit(mdn.sample, static_argnames="shape")(KEY, MIXTURE, shape=(2,)).shape == (2, 1)
    for path in (str(tmp_path / "a"), tmp_path / "b"):
        mdn.save(path, mdn.ensemble((MODEL, MODEL)))
        assert len(mdn.load(path).networks) == 2
    assert mdn.merge((MIXTURE, MIXTURE)).num_components == 6
    assert mdn.marginal(MIXTURE, np.array([0])).target_dim == mdn.marginal(MIXTURE, np.int64(0)).target_dim == 1


@pytest.mark.parametrize("name", FUNCTIONS)
def test_public_functions_pickle(name):
    assert pickle.loads(pickle.dumps(FUNCTIONS[name])) is getattr(mdn, name)

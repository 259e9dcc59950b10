"""Folders: the same bits come back, atomically; what is damaged, newer or something else is refused in one line."""

import json
import tomllib
import zipfile
from dataclasses import replace
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tomli_w
from cases import COVARIANCES
from numpy.testing import assert_array_equal
from untrained import conditional

import mdn_jax as mdn
from mdn_jax import storage
from mdn_jax.models import Calibration

RNG = np.random.default_rng(0)


@cache
def network(covariance="diagonal", inputs=2, targets=2, count=3, hidden=(4,), seed=0):
    spec = mdn.MixtureSpec(count, targets, covariance)
    return conditional(inputs, hidden, spec, "silu", key=jax.random.key(seed))


at = jax.jit(lambda model, x: model(x))


def model(*options, **named):
    """An untrained model in units of its own."""
    net = network(*options, **named)
    units = [
        mdn.Standardizer(1.7e9 + RNG.normal(size=size), RNG.uniform(0.5, 2.0, size))
        for size in (net.architecture.input_shape[0], net.head.target_dim)
    ]
    names = tuple(f"größe {i}" for i in range(net.architecture.input_shape[0])), tuple("ab"[: net.head.target_dim])
    return mdn.Model(net, *units, *names)


def functional():
    return mdn.Conditional(mdn.Functional({"w": jnp.arange(2.0)}, double), None, mdn.MixtureSpec(1, covariance="unit"))


def double(params, x):
    return jnp.sum(2 * params["w"] * x)[None]


def assert_same(first, second):
    """Equal structures, names and spec included, and leaves of one kind equal to the last bit."""
    assert jax.tree.structure(first) == jax.tree.structure(second)
    for one, other in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        assert isinstance(one, np.ndarray) == isinstance(other, np.ndarray) and one.dtype == other.dtype
        assert_array_equal(one, other)


def round_trip(folder, value):
    mdn.save(folder, value)
    return mdn.load(folder)


@pytest.fixture
def saved(tmp_path):
    """A folder with a model in it, and the model."""
    value = model()
    mdn.save(tmp_path / "model", value)
    return tmp_path / "model", value


# Round trips


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_every_covariance_comes_back(tmp_path, covariance):
    value = model(covariance)
    back = round_trip(tmp_path / "model", value)
    assert_same(back, value)
    assert back.input_names == ("größe 0", "größe 1") and back.target_names == ("a", "b")
    x = value.inputs.shift + 0.5  # pyright: ignore[reportOptionalMemberAccess]
    assert_same(at(back, x), at(value, x))


def test_units_keep_their_float64(tmp_path):
    value = model()
    back = round_trip(tmp_path / "model", value)
    assert isinstance(back.targets.shift, np.ndarray) and back.targets.shift.dtype == np.float64
    assert (back.targets.shift == value.targets.shift).all()


@pytest.mark.parametrize("hidden", [(), (3,), (3, 5, 2)], ids=str)
def test_every_depth_comes_back(tmp_path, hidden):
    assert_same(round_trip(tmp_path / "model", value := model(hidden=hidden)), value)


def test_no_inputs(tmp_path):
    assert_same(round_trip(tmp_path / "model", value := model(inputs=0)), value)


def test_least_squares(tmp_path):
    value = model("unit", count=1)
    value = replace(value, conditional=mdn.ConstantStd(value.conditional, np.float32([-0.5, 0.25])))  # pyright: ignore
    back = round_trip(tmp_path / "model", value)
    assert isinstance(back.conditional, mdn.ConstantStd)
    assert_array_equal(back.conditional.log_std, [-0.5, 0.25])
    assert_same(back.conditional.conditional, value.conditional.conditional)  # pyright: ignore


def test_an_ensemble_of_different_shapes(tmp_path):
    value = mdn.ensemble([model(hidden=(3, 5, 2)), model("full", count=2, hidden=(), seed=1), model("tied", seed=2)])
    back = round_trip(tmp_path / "model", value)
    assert_same(back, value)
    x = np.asarray(value.inputs.shift) + 0.5  # pyright: ignore[reportOptionalMemberAccess]
    assert at(back, x).num_components == 8
    assert_same(at(back, x), at(value, x))


def test_a_network_of_your_own_needs_like(tmp_path):
    value = mdn.Model(functional(), None, mdn.Standardizer.identity(1))
    mdn.save(tmp_path / "model", value)
    with pytest.raises(mdn.InputError, match=r"holds a network of your own: give load\(path, network="):
        mdn.load(tmp_path / "model")
    blank = mdn.Functional({"w": jnp.zeros(2)}, double)
    assert_same(mdn.load(tmp_path / "model", network=blank), value)
    other = mdn.Functional({"w": jnp.zeros(3)}, double)
    with pytest.raises(mdn.InputError, match=r"the arrays are not those of the structure asked for"):
        mdn.load(tmp_path / "model", network=other)
    renamed = mdn.Functional({"v": jnp.zeros(2)}, double)
    with pytest.raises(mdn.InputError, match=r"the arrays are not those of the structure asked for"):
        mdn.load(tmp_path / "model", network=renamed)


def test_a_network_of_another_class_is_told_how(tmp_path):
    value = mdn.Model(lambda x: x, None, mdn.Standardizer.identity(1))
    with pytest.raises(mdn.InputError, match=r"cannot save function: a model holds an mdn\.Conditional"):
        mdn.save(tmp_path / "model", value)
    assert not (tmp_path / "model").exists()


def test_keys_and_every_dtype_come_back(tmp_path):
    tree = {
        "typed": jax.random.key(3),
        "batch": jax.random.split(jax.random.key(1), 2),
        "other": jax.random.key(1, impl="rbg"),
        "legacy": jax.random.PRNGKey(3),
        "whole": jnp.arange(3),
        "truth": jnp.array([True, False]),
        "host": np.array([1.7e9 + 0.1]),
        "nothing": jnp.zeros((0, 2)),
        "odd": jnp.array([jnp.nan, -jnp.inf, -0.0]),
    }
    storage.write_tree(tmp_path / "state", {"seconds": {"train": 1.5}}, tree)
    description, back = storage.read_tree(tmp_path / "state", lambda _: tree)
    assert description["seconds"] == {"train": 1.5}
    for name, leaf in tree.items():
        assert back[name].dtype == leaf.dtype
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            assert_array_equal(jax.random.key_data(back[name]), jax.random.key_data(leaf))
        else:
            assert np.asarray(back[name]).tobytes() == np.asarray(leaf).tobytes()


# Precision


def in_float64(value):
    """Device arrays in double precision, as training under x64 leaves them."""
    return jax.tree.map(lambda leaf: leaf if isinstance(leaf, np.ndarray) else leaf.astype(jnp.float64), value)


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_float64_comes_back_as_it_was(tmp_path, x64, covariance):
    value = in_float64(mdn.ensemble([model(covariance), model("diagonal", seed=1)]))
    assert jax.tree.leaves(value.networks[0].conditional)[0].dtype == jnp.float64
    assert_same(round_trip(tmp_path / "model", value), value)


def test_float64_of_least_squares_and_calibration(tmp_path, x64):
    value = in_float64(model("unit", count=1))
    masses = RNG.uniform(size=(20, 2))
    value = replace(
        value,
        conditional=mdn.ConstantStd(value.conditional, jnp.array([-0.5, 0.25])),
        calibration=Calibration(masses, masses**2, masses[:, 0]),
    )
    assert_same(round_trip(tmp_path / "model", value), value)


def test_float64_is_read_as_float32_where_jax_has_no_other(tmp_path):
    with jax.enable_x64(True):
        mdn.save(tmp_path / "model", value := in_float64(model()))
    back = mdn.load(tmp_path / "model")
    assert back.targets.shift.dtype == np.float64
    for one, other in zip(jax.tree.leaves(back.conditional), jax.tree.leaves(value.conditional), strict=True):
        assert isinstance(one, jax.Array) and one.dtype == jnp.float32
        assert_array_equal(one, np.float32(other))


@pytest.mark.parametrize("wide", [False, True])
def test_a_state_goes_on_in_the_precision_it_began_in(tmp_path, wide):
    def state():
        return {"key": jax.random.key(3), "params": jnp.linspace(0, 1, 3), "step": jnp.arange(2)}

    with jax.enable_x64(wide):
        storage.write_tree(tmp_path / "state", {}, state())
        _, back = storage.read_tree(tmp_path / "state", lambda _: state(), state=True)
        assert_same(back["params"], state()["params"])
    with jax.enable_x64(not wide):
        began = "with" if wide else "without"
        with pytest.raises(mdn.InputError, match=rf"training began {began} JAX_ENABLE_X64=1: go on so, or start over"):
            storage.read_tree(tmp_path / "state", lambda _: state(), state=True)


# The folder


def test_a_folder_is_two_files(saved):
    folder, value = saved
    assert sorted(path.name for path in folder.iterdir()) == ["arrays.npz", "model.toml"]
    assert [path.name for path in folder.parent.iterdir()] == ["model"]  # nothing is left beside it
    description = tomllib.loads((folder / "model.toml").read_text(encoding="utf-8"))
    assert description["format"] == 3 and set(description["versions"]) >= {"mdn_jax", "jax", "flax", "numpy", "python"}
    with np.load(folder / "arrays.npz", allow_pickle=False) as archive:
        assert any("kernel" in name for name in archive.files)
        assert len(archive.files) == len(jax.tree.leaves(value)) + 1  # and a checksum of the description


def test_a_run_folder_is_read_by_its_model(saved):
    folder, value = saved
    assert_same(mdn.load(folder.parent), value)


def test_a_model_replaces_a_model(saved):
    folder, _ = saved
    assert_same(round_trip(folder, value := model("full")), value)
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_a_write_that_fails_leaves_the_old_model(saved, monkeypatch):
    folder, value = saved

    def fail(*_, **__):
        raise OSError("no space left on device")

    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises(OSError, match="no space left"):
        mdn.save(folder, model("full"))
    monkeypatch.undo()
    assert_same(mdn.load(folder), value)
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_something_else_is_never_replaced(tmp_path, kind):
    place = tmp_path / "place"
    if kind == "folder":
        place.mkdir()
    (place / "thesis.tex" if kind == "folder" else place).write_text("years of work")
    with pytest.raises(mdn.InputError, match=r"holds something else than a saved model: choose another path"):
        mdn.save(place, model())
    assert (place / "thesis.tex" if kind == "folder" else place).read_text() == "years of work"


def test_an_empty_folder_and_missing_parents_are_used(tmp_path):
    (tmp_path / "empty").mkdir()
    for place in ("empty", "a/b/c"):
        assert_same(round_trip(tmp_path / place, value := model()), value)


# Damage


@pytest.mark.parametrize("name", ["model.toml", "arrays.npz"])
def test_a_missing_file(saved, name):
    (saved[0] / name).unlink()
    with pytest.raises(mdn.InputError, match=f"{name} is missing"):
        mdn.load(saved[0])


@pytest.mark.parametrize("name", ["model.toml", "arrays.npz"])
@pytest.mark.parametrize("kept", [0.0, 0.5, 0.99])
def test_a_truncated_file(saved, name, kept):
    content = (saved[0] / name).read_bytes()
    (saved[0] / name).write_bytes(content[: int(kept * len(content))])
    with pytest.raises(mdn.InputError, match=r"damaged|changed") as caught:
        mdn.load(saved[0])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["model.toml", "arrays.npz"])
def test_a_flipped_bit_is_found_or_does_not_matter(saved, name):
    folder, value = saved
    content = (folder / name).read_bytes()
    found = 0
    for position in np.random.default_rng(7).integers(0, 8 * len(content), 60):
        flipped = bytearray(content)
        flipped[position // 8] ^= 1 << (position % 8)
        (folder / name).write_bytes(flipped)
        try:
            back = mdn.load(folder)
        except mdn.InputError:
            found += 1
        else:
            assert_same(back, value)
    assert found == 60 if name == "model.toml" else found >= 20  # an archive has dates that nobody reads


def head_of(description):
    return description["model"]["conditional"]["head"]


def network_of(description):
    return description["model"]["conditional"]["network"]


def describe(folder, change):
    """Rewrite a folder's description, checksum included, as a version of another day would have written it."""
    description, tree = storage.read_tree(folder, lambda _: mdn.load(folder))
    change(description)
    storage.write_tree(folder, description, tree)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(format=4), r"written in format 4, which this version does not read \(only 3\): upgrade"),
        (lambda d: d.update(format=1), r"written in format 1, which this version does not read .*: train again"),
        (lambda d: d.pop("model"), r"model.toml does not describe a model"),
        (lambda d: d["model"].update(kind="boat"), r"unknown kind of model 'boat'"),
        (lambda d: d["model"]["conditional"].pop("head"), r"model.toml does not describe a model"),
        (lambda d: head_of(d)["fields"].update(colour="red"), r"model.toml does not describe a model"),
        (lambda d: head_of(d)["fields"].update(num_components=0), r"num_components"),
        (lambda d: network_of(d)["options"].update(hidden_sizes=[9]), r"the arrays are not those of the structure"),
        (lambda d: d["model"].update(target_dim=3), r"the arrays are not those of the structure"),
        (lambda d: d.update(format="new"), r"written in format new, which this version does not read"),
        (lambda d: d.update(model="boat"), r"model.toml does not describe a model"),
    ],
)
def test_a_description_of_something_else(saved, change, message):
    describe(saved[0], change)
    with pytest.raises(mdn.InputError, match=message) as caught:
        mdn.load(saved[0])
    assert "\n" not in str(caught.value)


def test_an_edited_description_is_refused(saved):
    path = saved[0] / "model.toml"
    description = tomllib.loads(path.read_text(encoding="utf-8"))
    description["model"]["conditional"]["network"]["options"]["activation"] = "relu"
    path.write_text(tomli_w.dumps(description), encoding="utf-8")
    with pytest.raises(mdn.InputError, match=r"was changed or damaged since it was written"):
        mdn.load(saved[0])


def test_a_pickle_is_never_opened(saved, tmp_path):
    folder, _ = saved
    with np.load(folder / "arrays.npz", allow_pickle=False) as archive:
        arrays = dict(archive)

    class Trap:
        def __reduce__(self):
            return (tmp_path.joinpath("sprung").touch, ())

    for name in arrays:
        poisoned = arrays | {name: np.array([Trap()], dtype=object)}
        with (folder / "arrays.npz").open("wb") as file:
            np.savez(file, allow_pickle=True, **poisoned)
        with pytest.raises(mdn.InputError, match=r"arrays.npz is damaged"):
            mdn.load(folder)
    assert not (tmp_path / "sprung").exists()


def test_an_archive_of_something_else(saved):
    with zipfile.ZipFile(saved[0] / "arrays.npz", "w") as archive:
        archive.writestr("notes.txt", "no array")
    with pytest.raises(mdn.InputError, match=r"damaged|changed"):
        mdn.load(saved[0])
    (saved[0] / "arrays.npz").write_text(json.dumps({"no": "archive"}))
    with pytest.raises(mdn.InputError, match=r"arrays.npz is damaged"):
        mdn.load(saved[0])

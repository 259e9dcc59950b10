"""Data of one's own: datasets made by a function, parts and their checks, targets that name kinds, runs of all this."""

from pathlib import Path

import numpy as np
import pytest
import tomli_w

import mdn_jax as mdn
from mdn_jax import cli, runs
from mdn_jax.config import DatasetConfig, parse
from mdn_jax.data import load
from mdn_jax.encoding import Encoding

OWN = """
import numpy as np
import mdn_jax as mdn

def rings(seed, noise=0.1, num_points=40, wrong=""):
    rng = np.random.default_rng(seed)
    t = rng.uniform(0, 6, (num_points + 20, 1))
    y = np.concatenate([np.cos(t), np.sin(t)], axis=1) + noise * rng.normal(size=(len(t), 2))
    parts = {"train": mdn.Part(t[20:], y[20:]), "test": mdn.Part(t[:20], y[:20])}
    if wrong == "nan":
        t[3] = np.nan
        mdn.Part(t, y)
    return {
        "": lambda: mdn.Dataset(**parts, input_names=("t",), log_density=lambda x, y: np.zeros(len(y))),
        "none": lambda: None,
        "rows": lambda: mdn.Dataset(train=mdn.Part(t[:0], y[:0]), test=parts["test"]),
        "names": lambda: mdn.Dataset(**parts, target_names=("a",)),
        "twice": lambda: mdn.Dataset(**parts, input_names=("a",), target_names=("a", "b")),
        "widths": lambda: mdn.Dataset(train=parts["train"], test=mdn.Part(t, y[:, :1])),
        "codes": lambda: mdn.Dataset(**parts, num_classes=(2, None)),
    }[wrong]()

def from_file(path, seed):
    with open(path) as file:
        return rings(seed, num_points=len(file.read()))

no_seed = lambda noise: None
"""


@pytest.fixture
def own(tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    return lambda name="rings", **fields: DatasetConfig(**{"name": f"{tmp_path}/own.py:{name}"} | fields)


def refused(call):
    with pytest.raises(mdn.InputError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Functions


def test_a_function_gets_its_options_and_the_seed(own, tmp_path):
    data = load(own(options={"noise": 0.5}, seed=3))
    again, quiet = load(own(options={"noise": 0.5}, seed=3)), load(own(options={"noise": 0.0}, seed=3))
    assert isinstance(data, mdn.Dataset) and len(data.train) == 40 and data.train.x.shape == (40, 1)
    assert np.array_equal(data.train.y, again.train.y) and np.array_equal(data.train.x, quiet.train.x)
    np.testing.assert_allclose(np.hypot(*quiet.test.y.T), 1.0)
    assert data.input_names == ("t",) and data.target_names == ("y0", "y1") and data.num_classes == (None, None)
    assert not np.array_equal(load(own(seed=4)).train.x, data.train.x)
    relative = DatasetConfig(name="own.py:rings", options={"noise": 0.5}, seed=3)
    assert np.array_equal(load(relative, tmp_path).train.y, data.train.y)
    assert data.for_training["num_classes"] == (None, None) and data.for_training["augment"] is None


def test_a_path_and_numbers_of_points(own, tmp_path):
    (tmp_path / "data.bin").write_text("x" * 25)
    assert len(load(own("from_file", path=str(tmp_path / "data.bin"))).train) == 25
    assert len(load(own(num_points=30)).train) == 30
    line = refused(lambda: load(own(num_test_points=30)))
    assert "own.py:rings: rings must take (seed, num_test_points) by these names; it takes (seed, noise, " in line
    assert "must take (seed, path)" in refused(lambda: load(own(path="a.bin")))


def test_rows_are_kept_apart_to_calibrate(own):
    data, whole = load(own(calibration_fraction=0.5)), load(own())
    assert data.calibration is not None and len(data.train) == len(data.calibration) == 20
    rows = np.concatenate([data.train.y, data.calibration.y])
    assert np.array_equal(np.sort(rows, axis=0), np.sort(whole.train.y, axis=0))
    assert np.array_equal(data.calibration.y, load(own(calibration_fraction=0.5)).calibration.y)  # pyright: ignore


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("none", "it returned NoneType: return an mdn.Dataset"),
        ("rows", "the train part has no rows"),
        ("names", "target_names has 1 entries for 2 columns: ('a',)"),
        ("twice", "'a' is named twice in input_names and target_names: rename one"),
        ("widths", "rows of y have shape (1,) in test and (2,) in train"),
        ("nan", "x is nan in row 3 (counted from 0): give finite numbers"),
        ("codes", "in the train part: a target of 2 kinds holds the whole numbers 0 to 1"),
    ],
)
def test_what_a_function_returns_is_checked(own, wrong, said):
    line = refused(lambda: load(own(options={"wrong": wrong})))
    assert line.startswith("dataset.name: /") and "own.py:rings: " in line and said in line
    load(own(options={"wrong": ""}))


def test_a_mistake_in_a_call_is_one_line(own):
    assert refused(lambda: load(own(options={"nois": 0.1}))).startswith(
        "dataset.options.nois: rings takes no 'nois': did you mean 'noise'?"
    )
    assert "must take (seed)" in refused(lambda: load(own("no_seed")))
    assert "has no 'ring': did you mean 'rings'?" in refused(lambda: load(own("ring")))
    line = refused(lambda: load(DatasetConfig(name="robot_arm", options={"noise": 0.1})))
    assert line == "dataset.options.noise: the function takes no 'noise': it takes no options, drop it"
    assert "dataset.options.seed: rings gets seed from the package itself" in refused(
        lambda: load(own(options={"seed": 1}))
    )


# Parts


def test_parts_are_two_dimensional_float64():
    part = mdn.Part([1, 2, 3], [[1], [2], [3]], weight=[1, 0, 2])  # pyright: ignore[reportArgumentType]
    assert part.x.shape == part.y.shape == (3, 1) and part.x.dtype == part.y.dtype == np.float64
    assert len(part) == 3 and part.observed is None and part.weight is not None and part.weight.dtype == np.float64
    assert np.array_equal(part.take(np.array([2, 0])).weight, [2, 1])  # pyright: ignore[reportArgumentType]


def test_targets_that_are_missing_are_said():
    y = np.array([[1.0, np.nan], [np.inf, 2.0]])
    part = mdn.Part(np.zeros(2), y, observed=np.isfinite(y))
    assert np.array_equal(part.y, [[1.0, np.nan], [np.nan, 2.0]], equal_nan=True)
    assert np.array_equal(part.observed, np.isfinite(y))  # pyright: ignore[reportArgumentType]
    line = refused(lambda: mdn.Part(np.zeros(2), y))
    assert line == "y is nan in row 0 (counted from 0): give finite numbers (for missing targets give observed)"
    line = refused(lambda: mdn.Part(np.zeros(3), np.zeros(2)))
    assert line == "x has 3 rows and y has 2: give one of each"
    assert "x has 2 rows and weight has 3" in refused(lambda: mdn.Part(np.zeros(2), np.zeros(2), weight=np.ones(3)))
    assert "x must hold rows, (N, X); got one number" in refused(lambda: mdn.Part(1.0, 2.0))  # pyright: ignore


# Targets that name kinds


def table_of(folder, species="cat dog bird", last="cat"):
    kinds = species.split()
    rows = [f"{i},{kinds[i % len(kinds)] if i < 29 else last},{0.5 * i}" for i in range(30)]
    (folder / "pets.csv").write_text("weight,species,age\n" + "\n".join(rows) + "\n")
    return DatasetConfig(
        path=str(folder / "pets.csv"), inputs=("weight",), targets=("species", "age"), categorical=("species",),
        split="ordered",
    )  # fmt: skip


def test_kinds_of_a_target_become_codes(tmp_path):
    data = load(table_of(tmp_path))
    assert data.num_classes == (3, None) and data.encoding is not None
    assert data.encoding.target_kinds == (("bird", "cat", "dog"), None) and data.encoding.num_classes == (3, None)
    expected = [{"bird": 0, "cat": 1, "dog": 2}[("cat", "dog", "bird")[i % 3]] for i in range(27)]
    assert np.array_equal(data.train.y[:, 0], expected) and np.array_equal(data.train.y[:, 1], np.arange(27) / 2)
    again = Encoding.from_dict(parse_toml(data.encoding.to_dict()))
    assert again == data.encoding and hash(again) == hash(data.encoding)
    y, unseen = again.encode_targets({"species": np.array(["dog", "cow", None], object), "age": np.array([1.0, 2, 3])})
    assert np.array_equal(y, [[2, 1], [-1, 2], [np.nan, 3]], equal_nan=True)
    assert unseen.tolist() == [[False, False], [True, False], [False, False]]


def parse_toml(table):
    import tomllib  # noqa: PLC0415

    return tomllib.loads(tomli_w.dumps(table))


def test_missing_kinds_of_a_target(tmp_path):
    config = table_of(tmp_path)
    text = Path(config.path or "").read_text().replace("3,cat", "3,")
    Path(config.path or "").write_text(text)
    assert "column 'species': 1 value is missing, first in row 4" in refused(lambda: load(config))
    data = load(config.model_copy(update={"missing_targets": "marginalise"}))
    assert np.isnan(data.train.y[3, 0]) and data.train.observed is not None and not data.train.observed[3, 0]
    assert len(load(config.model_copy(update={"missing_targets": "drop"})).train) == 26


def test_a_kind_that_training_never_saw_is_refused(tmp_path):
    line = refused(lambda: load(table_of(tmp_path, last="cow")))
    assert line.startswith(f"{tmp_path}/pets.csv: target 'species', row 30: no training row is of kind 'cow', so that")
    assert "drop such rows" in line
    load(table_of(tmp_path))
    assert "target 'species' is cat in all 27 training rows" in refused(lambda: load(table_of(tmp_path, "cat")))


# Runs

TEXT = """
[dataset]
name = "own.py:rings"
options = { noise = 0.2 }

[model]
num_components = 1
hidden_sizes = [4]

[training]
num_steps = 4
evaluate_every = 2
"""


@pytest.mark.usefixtures("no_figures")
def test_a_run_notes_its_source_and_refuses_another(own, tmp_path):
    (tmp_path / "own.toml").write_text(TEXT)
    config, _ = runs.read_config(tmp_path / "own.toml")
    assert config.dataset.name == f"{tmp_path}/own.py:rings"
    metrics = runs.run(config, tmp_path / "run")
    noted, _ = runs.read_config(tmp_path / "run" / "config.toml")
    assert set(noted.checksums or {}) == {"dataset.name"} and noted.dataset.options == {"noise": 0.2}
    assert "num_points" not in (tmp_path / "run" / "config.toml").read_text()
    assert runs.run(config, tmp_path / "run") == runs.run(noted, tmp_path / "run") == metrics
    runs.configs.warn_of_changed_sources(noted, tmp_path / "run")  # nothing to say
    (tmp_path / "own.py").write_text(OWN + "# changed\n")
    line = refused(lambda: runs.run(config, tmp_path / "run"))
    assert f"{tmp_path}/own.py has changed since (checksums.dataset.name: " in line and "--overwrite" in line
    line = refused(lambda: runs.run(noted, tmp_path / "run"))
    assert line.startswith(
        f"{tmp_path}/own.py has changed since this config noted its checksum (dataset.name): restore"
    )
    with pytest.warns(UserWarning, match=r"own.py has changed since .* may be of other code than it was trained with"):
        runs.draw_figures(tmp_path / "run")
    (tmp_path / "own.py").write_text(OWN)
    assert runs.run(config, tmp_path / "run") == metrics
    (tmp_path / "other.toml").write_text(TEXT.replace("0.2", "0.3"))
    other, _ = runs.read_config(tmp_path / "other.toml")
    assert "dataset.options.noise: 0.2 -> 0.3" in refused(lambda: runs.run(other, tmp_path / "run"))


@pytest.mark.usefixtures("no_sweep_figures")
def test_a_sweep_over_an_option_goes_on_with_the_same_source_alone(own, tmp_path):
    (tmp_path / "own.toml").write_text(TEXT + '[sweep]\n"dataset.options.noise" = [0.1, 1.0]\n')
    result = mdn.sweep(tmp_path / "own.toml", out=tmp_path / "sweep")
    assert result.table["dataset.options.noise"].to_list() == [0.1, 1.0]
    best, _ = runs.read_config(tmp_path / "sweep" / "best" / "config.toml")
    assert best.dataset.options["noise"] in (0.1, 1.0) and set(best.checksums or {}) == {"dataset.name"}
    again = mdn.sweep(tmp_path / "own.toml", out=tmp_path / "sweep")
    assert again.table.equals(result.table)
    assert cli.main(["sweep", f"{tmp_path}/sweep"]) == 0
    (tmp_path / "own.py").write_text(OWN + "# changed\n")
    line = refused(lambda: mdn.sweep(tmp_path / "own.toml", out=tmp_path / "sweep"))
    assert f"{tmp_path}/own.py has changed since (checksums.dataset.name: " in line
    assert cli.main(["sweep", f"{tmp_path}/sweep"]) == 2
    (tmp_path / "own.py").write_text(OWN)
    assert cli.main(["sweep", f"{tmp_path}/sweep", "--dataset.options.noise", "3"]) == 2  # an axis


def test_a_checksum_goes_with_its_field():
    config = parse(TEXT + '[checksums]\n"dataset.name" = "abc"\n', "a.toml")[0]
    changed = config.model_copy(update={"dataset": DatasetConfig(name="other.py:rings")})
    assert runs.changed_by_hand(config, config) == config
    assert runs.changed_by_hand(config, changed).checksums is None

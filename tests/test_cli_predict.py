"""`mdn-jax predict`: what it writes and prints, and one line for each mistake."""

import csv
import os
import stat
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_allclose

import mdn_jax as mdn
from mdn_jax import cli, prediction, storage
from mdn_jax.config import DatasetConfig
from mdn_jax.data import load as load_dataset
from mdn_jax.encoding import Encoding

pytestmark = pytest.mark.slow

NEW = "id,size,colour,price\n007,2.50,red,7\n008,99,mauve,\n009,,blue,3\n"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run's folder, as far as predictions need it: a calibrated model of a small table."""
    folder, generator = tmp_path_factory.mktemp("predict"), np.random.default_rng(0)
    size, colour = generator.uniform(1, 9, 200), generator.choice(["red", "blue"], 200)
    price = 3 * size + (colour == "red") + generator.normal(size=200)
    pl.DataFrame({"size": size, "colour": colour, "price": price}).write_csv(folder / "table.csv")
    data = load_dataset(
        DatasetConfig(
            path="table.csv", inputs=("size", "colour"), targets=("price",), categorical=("colour",),
            missing_inputs="drop", calibration_fraction=0.3,
        ),
        folder,
    )  # fmt: skip
    fit = mdn.fit(
        jax.random.key(0), data.train.x, data.train.y, encoding=data.encoding, input_names=data.input_names,
        target_names=data.target_names, model=mdn.ModelConfig(num_components=2, hidden_sizes=(4,)),
        training=mdn.TrainingConfig(num_steps=40, evaluate_every=20),
    )  # fmt: skip
    mdn.save(folder / "run/model", mdn.calibrate(fit.model, data.calibration.x, data.calibration.y))
    return folder / "run"


@pytest.fixture
def place(trained, tmp_path, monkeypatch):
    """A working directory with the run and a table of new rows."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").symlink_to(trained)
    (tmp_path / "new.csv").write_text(NEW)
    return tmp_path


def predict(line):
    return cli.main(["predict", *line.split()])


def complaint(capsys, line):
    """The one line that a mistake prints on standard error, with exit code 2 and nothing written."""
    before = sorted(Path().rglob("*"))
    code = predict(line)
    printed = capsys.readouterr()
    assert code == 2 and printed.out == "", printed
    lines = printed.err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("mdn-jax: "), printed.err
    assert sorted(Path().rglob("*")) == before
    return lines[0].removeprefix("mdn-jax: ")


# What it writes


def test_a_table_is_answered_row_by_row_and_what_is_strange_is_counted(place, capsys):
    assert predict("run new.csv --out out.csv --keep id size") == 0
    assert capsys.readouterr().out.splitlines() == [
        "1 value of 'colour' is of a kind that training never saw: 'mauve' in row 2",
        "1 row lacks an input: its answers are empty",
        "2 of 3 rows are outside what training saw (outside_training): 'size' in 2 rows, 'colour' in 1 row",
        "out.csv: 3 rows of 14 columns",
    ]
    with Path("out.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert [row["id"] for row in found] == ["007", "008", "009"]
    assert [row["size"] for row in found] == ["2.50", "99", ""]  # as they were spelled
    assert [row["outside_training"] for row in found] == ["false", "true", "true"]
    second = ("price_low_2", "price_high_2")  # of one piece there is none
    empty = [[not row[name] for name in row if name not in second] for row in found]
    assert not any(empty[0]) and all(empty[2][2:-1])
    assert found[1]["log_prob"] == "" and float(found[1]["price_mean"]) > float(found[0]["price_mean"])
    assert sorted(path.name for path in place.iterdir()) == ["new.csv", "out.csv", "run"]


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ({"size": [2.0, 3.0], "colour": ["red", "blue"]}, []),
        (
            {"size": [2.0, 99.0, 0.0, None], "colour": ["red", "blue", None, "mauve"]},
            [
                "1 value of 'colour' is of a kind that training never saw: 'mauve' in row 4",
                "2 rows lack an input: their answers are empty",
                "3 of 4 rows are outside what training saw (outside_training): 'size' in 3 rows, 'colour' in 2 rows",
            ],
        ),
        (
            {"size": [2.0] * 9001 + [99.0], "colour": [None] + ["red"] * 8999 + ["mauve", "green"]},
            [
                "2 values of 'colour' are of a kind that training never saw: 'mauve' in row 9001 is the first",
                "1 row lacks an input: its answers are empty",
                "3 of 9,002 rows are outside what training saw (outside_training): 'colour' in 3 rows, 'size' in 1 row",
            ],
        ),
    ],
    ids=["nothing", "each", "chunks"],
)
def test_what_is_strange_is_named(trained, table, expected):
    prepared = prediction.prepare(trained, pl.DataFrame(table))
    assert prediction.notices_of(prepared, prediction.answer(prepared)) == expected


def test_only_the_inputs_that_are_most_often_strange_are_named():
    training = mdn.TrainingConfig(num_steps=2, evaluate_every=1)
    x, names = np.random.default_rng(0).uniform(size=(64, 5)), tuple("abcde")
    encoding = Encoding.fit(dict(zip(names, x.T, strict=True)), names, ("y",))
    fit = mdn.fit(
        jax.random.key(0), x, x[:, 0], encoding=encoding, input_names=names, target_names=("y",), training=training
    )
    new = np.array([[0.5, 2, 2, 2, 2], [0.5, 0.5, 2, 2, 0.5], [0.5, 0.5, 0.5, 2, -2]])
    prepared = prediction.prepare(fit.model, dict(zip(names, new.T, strict=True)))
    (line,) = prediction.notices_of(prepared, prediction.answer(prepared))
    assert line.endswith(": 'd' in 3 rows, 'c' in 2 rows, 'e' in 2 rows and 1 other input")


def test_the_command_is_the_librarys_twin(place):
    options = "--quantiles 0.1 0.975 --interval central --mass 0.5 --num-modes 2 --keep all --samples 5 --seed 3"
    assert predict(f"run new.csv --out out.parquet {options}") == 0
    expected = mdn.predict(
        "run", "new.csv", quantiles=(0.1, 0.975), interval="central", mass=0.5, num_modes=2, keep="all"
    )
    assert pl.read_parquet("out.parquet").equals(expected)
    assert expected["id"].to_list() == ["007", "008", "009"] and expected["size"].to_list() == [2.5, 99.0, None]
    samples = mdn.predict_samples(jax.random.key(3), "run/model", "new.csv", 5)
    assert pl.read_parquet("out_samples.parquet").equals(samples) and samples.height == 15


def test_chosen_columns_are_written_alone(place):
    assert predict("run new.csv --out out.csv --columns mean q2.5 --keep id") == 0
    assert Path("out.csv").read_text().startswith("id,price_mean,price_q2.5\n")


def test_calibrated_intervals_are_those_of_the_models_own_mass(place):
    model = mdn.load("run")
    assert predict("run new.csv --out out.csv --interval central --mass 0.8 --calibrated") == 0
    mass = float(model.calibration.mass("central", 0.8)[0])
    found, expected = pl.read_csv("out.csv"), mdn.predict(model, "new.csv", interval="central", mass=mass)
    assert_allclose(found["price_low"][0], expected["price_low"][0], rtol=1e-5)


def test_texts_become_numbers_where_none_is_an_identifier():
    frame = pl.DataFrame(
        {"a": ["1", "2"], "b": ["1.50", None], "c": ["007", "8"], "d": ["x", "1"], "e": ["9" * 17, "1"]}
    )
    assert [str(kind) for kind in prediction.typed(frame).dtypes] == ["Int64", "Float64", "String", "String", "String"]


def test_a_table_that_is_there_is_replaced_on_demand_only(place, capsys):
    Path("out.csv").write_text("mine")
    assert "out.csv is there already: choose another, or replace it with --overwrite" in complaint(
        capsys, "run new.csv --out out.csv"
    )
    assert predict("run new.csv --out out.csv --overwrite") == 0
    assert Path("out.csv").read_text().startswith("price_mean,price_std,price_q05")


def test_nothing_is_written_where_it_ends_early(place, capsys, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(prediction, "answer", interrupt)
    assert predict("run new.csv --out out.csv") == 130
    assert "nothing was written" in capsys.readouterr().err and not Path("out.csv").exists()


def test_a_terminal_sees_how_far_it_is(place, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert predict("run new.csv --out out.csv") == 0
    assert "3/3" in capsys.readouterr().err


def test_both_tables_or_none(place, monkeypatch):
    frame = pl.DataFrame({"a": [1]})

    class Full:
        def write_csv(self, path):
            Path(path).write_text("half")
            raise OSError(28, "No space left on device")

    with pytest.raises(mdn.InputError, match=r"cannot write a.csv and b.csv: No space left on device"):
        storage.write_frames({Path("a.csv"): frame, Path("b.csv"): Full()})
    assert sorted(path.name for path in place.iterdir()) == ["new.csv", "run"]


# Mistakes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("run new.csv", "out"),
        ("run", "required"),
        ("run new.csv --out out.csv --quantile 0.5", "unknown option '--quantile': did you mean '--quantiles'?"),
        ("run new.csv --out out.txt", "out.txt: cannot write '.txt' files: end its name in .csv or .parquet"),
        ("run new.csv --out nowhere/out.csv", "there is no folder nowhere"),
        ("run new.csv --out new.csv --overwrite", "new.csv is the table to read: write to another place"),
        ("run new.csv --out out.csv --mass 1.5", "mass must lie between 0 and 1, both excluded; got 1.5"),
        ("run new.csv --out out.csv --quantiles 0.5 2", "quantiles lie between 0 and 1, both excluded; got 2"),
        ("run new.csv --out out.csv --num-modes 0", "num_modes must be 1 or more; got 0"),
        ("run new.csv --out out.csv --interval widest", "widest"),
        ("run new.csv --out out.csv --samples -1", "--samples takes a number of samples"),
        ("run new.csv --out out.csv --seed -1", "--seed takes a whole number"),
        ("run new.csv --out out.csv --given price=1", "given names all targets (price): nothing is left to predict"),
        ("run new.csv --out out.csv --given prize=1", "'prize' is not a target of this model: did you mean 'price'?"),
        ("run new.csv --out out.csv --given price", "--given takes TARGET=VALUE; got 'price'"),
        ("run new.csv --out out.csv --above price", "--above takes TARGET=VALUE, a number; got 'price'"),
        ("run new.csv --out out.csv --below price=low", "--below takes TARGET=VALUE, a number; got 'price=low'"),
        (
            "run new.csv --out out.csv --above prize=1",
            "above: 'prize' is no number that is predicted: did you mean 'price'?",
        ),
        ("run new.csv --out out.csv --given price=1 --given price=2", "--given names 'price' twice"),
        ("run new.csv --out out.csv --keep ids", "new.csv: no column 'ids': did you mean 'id'?"),
        ("run new.csv --out out.csv --strict", "column 'colour', row 2: training never saw 'mauve'"),
        ("run nothing.csv --out out.csv", "nothing.csv: no such file"),
        ("run empty.csv --out out.csv", "empty.csv: the table has no rows"),
        ("run other.csv --out out.csv", "other.csv: no column 'size': did you mean 'sise'?"),
        ("run unknown.csv --out out.csv", "column 'price', row 1: '?' is not a number: correct it, or empty the cell"),
        ("nowhere new.csv --out out.csv", "nowhere: no saved model there (model.toml is missing)"),
        ("sweep new.csv --out out.csv", "sweep is a sweep: give sweep/best"),
        ("damaged new.csv --out out.csv", "damaged"),
    ],
    ids=lambda text: text[-40:],
)
def test_a_mistake_is_one_line_and_exit_code_2(place, capsys, options, message):
    Path("empty.csv").write_text("size,colour\n")
    Path("other.csv").write_text("sise,colour\n1,red\n")
    Path("unknown.csv").write_text("size,colour,price\n1,red,?\n")
    (place / "sweep/best").mkdir(parents=True)
    mdn.save("damaged", mdn.load("run"))
    arrays = bytearray(Path("damaged/arrays.npz").read_bytes())
    arrays[len(arrays) // 2] ^= 1
    Path("damaged/arrays.npz").write_bytes(arrays)
    assert message in complaint(capsys, options)


def test_a_model_that_was_not_calibrated_says_how_to(place, capsys):
    mdn.save("plain", replace(mdn.load("run"), calibration=None))
    line = complaint(capsys, "plain new.csv --out out.csv --calibrated")
    assert "no calibration: set dataset.calibration_fraction" in line


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_folder_that_cannot_be_written(place, capsys):
    Path("locked").mkdir()
    Path("locked").chmod(stat.S_IRUSR | stat.S_IXUSR)
    assert "the folder locked cannot be written" in complaint(capsys, "run new.csv --out locked/out.csv")


def test_help_names_every_option(capsys):
    with pytest.raises(SystemExit) as left:
        cli.main(["predict", "--help"])
    printed = capsys.readouterr().out
    assert left.value.code == 0
    flags = "--out --overwrite --keep --quantiles --interval --mass --calibrated --num-modes --given --samples --strict"
    assert all(flag in printed for flag in f"{flags} --seed --above --below".split())

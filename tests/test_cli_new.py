"""`mdn-jax new`: what it writes loads and runs, whatever the columns are called; mistakes are one line."""

import json
import tomllib
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from mdn_jax import cli, runs
from mdn_jax.data import load

FEW = {"num-steps": 60, "evaluate-every": 30, "batch-size": 32, "ensemble-size": 1}
SMALL = [f"--training.{name}={value}" for name, value in FEW.items()] + [
    "--model.num-components=1",
    "--model.hidden-sizes",
    "4",
]
AWKWARD = [
    'say "yes"',
    "größe in m²",
    "a=b",
    " ",
    "it's",
    "#1",
    "back\\slash",
    "two\nlines",
    "[dataset]",
    "\x7f\x01",
    "日本",
]


def write_table(path, step=0.5, count=40):
    rows = "".join(f"{step * i},{0.5 * i + (i * 7 % 5)}\n" for i in range(count))
    Path(path).write_text("speed,distance\n" + rows, encoding="utf-8")


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_table("table.csv", 0.5)
    return tmp_path


def new(*arguments):
    return cli.main(["new", *(str(argument) for argument in arguments)])


def awkward(count=300):
    """Columns of every kind under names that no one should use; one in ten cells of two columns is missing."""
    rng = np.random.default_rng(0)
    columns = {name: rng.normal(size=count) for name in AWKWARD}
    columns["it's"][::10], columns["a=b"][5::10] = np.nan, np.nan
    texts = [['"', "x\ny", "größe", "[", "\x7f"][i] for i in rng.integers(5, size=count)]
    return pl.DataFrame(columns).with_columns(pl.Series("kind\tof", texts), pl.Series("constant", np.full(count, 3.0)))


# What it writes


def test_what_it_writes_is_short(place, capsys):
    assert new("table.csv", "--targets", "distance") == 0
    text = (place / "table.toml").read_text()
    printed = capsys.readouterr().out
    assert text in printed and "mdn-jax run table.toml" in printed
    table = tomllib.loads(text)
    assert table.pop("recipe") == "table"
    # 40 rows are too few to keep some apart for calibration
    assert table == {"dataset": {"path": "table.csv", "inputs": ["speed"], "targets": ["distance"]}}
    data = load(runs.read_config(place / "table.toml")[0].dataset)
    assert len(data.train) == 36 and data.calibration is None
    comments = [line for line in text.splitlines() if line.startswith("#   ")]
    assert len(comments) == 2 and comments[1].endswith("target") and "40 different" in comments[0]


@pytest.mark.parametrize("name", ["t.parquet", "t.csv"])
def test_columns_may_be_called_anything(place, name):
    frame = awkward()
    if name == "t.csv":
        frame = frame.rename({" ": "blank"})  # a header's cells are read without the blanks around them
    frame.write_parquet(name) if name == "t.parquet" else frame.fill_nan(None).write_csv(name)
    assert new(name, "--targets", "a=b", "two\nlines", "--out", "deep/er/first.toml") == 0
    config, sweep = runs.read_config(place / "deep/er/first.toml")
    dataset = config.dataset
    assert sweep == {} and config.recipe == "table" and dataset.targets == ("a=b", "two\nlines")
    assert dataset.path == str(place / name)
    assert set(dataset.inputs) == set(frame.columns) - {"a=b", "two\nlines", "constant"}  # one value tells nothing
    assert dataset.categorical == ("kind\tof",)
    assert (dataset.missing_inputs, dataset.missing_targets) == ("indicate", "marginalise")
    data = load(dataset)
    assert len(data.calibration) == 27 and data.train.observed is not None and "it's missing" in data.input_names
    text = (place / "deep/er/first.toml").read_text()
    assert tomllib.loads(text)["dataset"]["path"] == f"../../{name}"
    head = text.partition("recipe = ")[0].splitlines()
    assert all(line == "" or line.startswith("#") for line in head) and len(head) == 3 + len(frame.columns)


def test_it_runs_with_missing_targets_and_calibrates(place, no_figures):
    awkward().write_parquet("t.parquet")
    assert new("t.parquet", "--targets", "a=b", "日本") == 0
    assert cli.main(["run", "t.toml", *SMALL]) == 0
    metrics = json.loads((place / "runs/t/metrics.json").read_text())
    assert metrics["num_calibration"] == 27 and set(metrics["test_rmse"]) == {"a=b", "日本"}
    assert np.isfinite(metrics["test_nll"])


def test_one_target_that_is_missing_drops_its_rows(place):
    awkward().write_parquet("t.parquet")
    assert new("t.parquet", "--targets", "a=b") == 0
    data = load(runs.read_config(place / "t.toml")[0].dataset)
    assert data.warnings[0] == "30 rows with missing values were dropped" and data.calibration is not None


@pytest.mark.parametrize("count", [216, 217, 223, 240])
def test_rows_are_kept_apart_only_where_they_are_enough(place, count):
    write_table("t.csv", count=count)
    assert new("t.csv", "--targets", "distance") == 0
    calibration = load(runs.read_config(place / "t.toml")[0].dataset).calibration  # would refuse fewer than 20
    assert (calibration is not None) == (round(0.1 * round(0.9 * count)) >= 20)


def test_paths_are_relative_to_the_config(place):
    (place / "data").mkdir()
    (place / "configs").mkdir()
    (place / "table.csv").rename("data/table.csv")
    assert new("data/table.csv", "--targets", "distance") == 0
    assert tomllib.loads((place / "table.toml").read_text())["dataset"]["path"] == "data/table.csv"
    assert new(place / "data/table.csv", "--targets", "distance", "--out", "configs/a.toml") == 0
    assert tomllib.loads((place / "configs/a.toml").read_text())["dataset"]["path"] == "../data/table.csv"
    (place / "both").mkdir()
    for name in ("data", "configs"):
        (place / name).rename(place / "both" / name)
    dataset = runs.read_config(place / "both/configs/a.toml")[0].dataset
    assert len(load(dataset).train) == 36  # together they may go anywhere


def test_arrays_and_flags(place):
    rng = np.random.default_rng(0)
    np.savez("t.npz", x=rng.normal(size=(50, 2)), y=rng.normal(size=50), hot=rng.random(50) < 0.5, meta=np.zeros(3))
    assert new("t.npz", "--targets=y") == 0
    dataset = runs.read_config(place / "t.toml")[0].dataset
    assert (dataset.inputs, dataset.categorical) == (("x_0", "x_1", "hot"), ("hot",))
    assert load(dataset).input_names == ("x_0", "x_1", "hot=false", "hot=true")


def comments(path):
    """By column, what the comments say after how many cells are missing."""
    lines = [line[4:] for line in path.read_text().splitlines() if line.startswith("#   ")]
    return {line.split()[0]: line.partition(" missing")[2].strip() for line in lines}


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
@pytest.mark.parametrize("count", [19, 20, 600])
def test_identifiers_are_marked_and_row_numbers_left_out(place, name, count):
    rng = np.random.default_rng(0)
    order, y = rng.permutation(count), rng.normal(size=count)
    columns = {"id": order + 1001, "customer": 7 * order, "order": 2**60 + 2 * order, "twice": order // 2, "y": y}
    columns |= {"real": order + 0.5, "floats": 3.0 * order, "numbered": order - 5.0}
    frame = pl.DataFrame(columns)
    frame.write_csv(name) if name == "t.csv" else frame.write_parquet(name)
    assert new(name, "--targets", "y") == 0
    said = comments(place / "t.toml")
    inputs = tomllib.loads((place / "t.toml").read_text())["dataset"]["inputs"]
    counts = ["id", "numbered"] if count >= 20 else []
    perhaps = ["customer", "order", "floats"] if count >= 20 else []
    assert inputs == [column for column in frame.columns if column not in [*counts, "y"]]
    assert [column for column in said if said[column].startswith("left out: a row number?")] == counts
    assert [column for column in said if said[column].startswith("an identifier?")] == perhaps
    assert said["twice"] == said["real"] == "" and said["y"] == "target"


def test_a_row_number_that_is_all_there_is_leaves_no_inputs(place):
    write_table("table.csv", step=1)
    assert new("table.csv", "--targets", "distance") == 0  # speed is 0, 1, ..., 39
    why = "left out: a row number? its whole numbers are consecutive"
    assert comments(place / "table.toml")["speed"] == f'{why}; to keep it add "speed" to inputs'
    data = load(runs.read_config(place / "table.toml")[0].dataset)
    assert data.train.x.shape == (36, 0)  # an unconditional density


def test_the_cell_that_makes_texts_of_numbers_is_named(place):
    count = 60
    columns = {name: [f"{i + 0.25}" for i in range(count)] for name in ("one", "two", "half", "empty")}
    columns["y"] = [f"{i * i + 0.25}" for i in range(count)]
    columns["rooms"] = [str(i % 4) for i in range(count)]
    columns["rooms"][0], columns["one"][16], columns["empty"][3] = "many", " few ", ""
    columns["two"][5] = columns["two"][9] = "x" * 40
    columns["half"][::2] = ["text"] * 30
    pl.DataFrame(columns).write_csv("t.csv")
    assert new("t.csv", "--targets", "y") == 0
    cure = "correct it, or list it in missing_values and"
    said = comments(place / "t.toml")
    assert said == {
        "one": f"left out; row 17: 'few' is not a number: {cure} add \"one\" to inputs",
        "two": f"left out; row 6: '{'x' * 30}...' is not a number (2 such cells): {cure} add \"two\" to inputs",
        "half": "",
        "empty": "",
        "y": "target",
        "rooms": f"row 1: 'many' is not a number: {cure} take it off categorical",
    }
    dataset = tomllib.loads((place / "t.toml").read_text())["dataset"]
    assert (dataset["inputs"], dataset["categorical"]) == (["half", "empty", "rooms"], ["half", "rooms"])


# Mistakes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("table.csv --targets distanse", "table.csv: no column 'distanse': did you mean 'distance'?"),
        ("table.csv --targets distance --out taken.toml", "taken.toml is there already: choose another with --out"),
        ("table.csv --targets distanse --out taken.toml", "no column 'distanse': did you mean 'distance'?"),
        ("table.csv --out taken.toml", "say which columns to predict with --targets"),
        ("nowhere.csv --targets y --out taken.toml", "nowhere.csv: no such file"),
        (
            "nearly.csv --targets y",
            "nearly.csv: target 'y', row 2: 'two' is not a number: correct it, or empty the cell",
        ),
        ("table.csv --targets distance --out table.txt", "table.txt: a config is a .toml file"),
        ("table.csv", "say which columns to predict with --targets, of: speed, distance"),
        ("table.csv --targets speed distance speed", "table.csv: target 'speed' is named twice"),
        (
            "words.csv --targets empty",
            "words.csv: target 'empty' is a text, neither a number nor one of a few kinds: choose others",
        ),
        ("nowhere.csv --targets y", "nowhere.csv: no such file: give the path of a table"),
        ("empty.csv --targets y", "empty.csv: the file is empty"),
        ("header.csv --targets y", "header.csv: names the columns 'x, y' and has no rows: add them"),
        ("taken.toml --targets y --out b.toml", "cannot read '.toml' files: save the table as one of: .csv"),
        ("fake.parquet --targets y", "fake.parquet: begins with b'x,y\\n1,2\\n', which is no .parquet file"),
        ("table.csv --target distance", "unknown option '--target': did you mean '--targets'?"),
        ("", "A .csv, .tsv, .txt (or .gz of these), .parquet or .npz file. (required)"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(place, capsys, arguments, message):
    (place / "taken.toml").write_text("mine")
    (place / "words.csv").write_text("word,empty\na,\nb,\na,\n")
    (place / "nearly.csv").write_text("x,y\n1,1\n2,two\n3,3\n")
    (place / "empty.csv").write_bytes(b"")
    (place / "header.csv").write_text("x,y\n")
    (place / "fake.parquet").write_text("x,y\n1,2\n")
    before = sorted(path.name for path in place.iterdir())
    assert cli.main(["new", *arguments.split()]) == 2
    printed = capsys.readouterr()
    lines = printed.err.splitlines()
    assert printed.out == "" and len(lines) == 1 and message in lines[0], printed.err
    assert sorted(path.name for path in place.iterdir()) == before
    assert (place / "taken.toml").read_text() == "mine"

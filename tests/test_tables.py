"""Tables: the same values from every kind of file; what is missing, weighted or wrong; every mistake in one line."""

import contextlib
import datetime
import json

import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_array_equal

from mdn_jax import DatasetConfig, InputError, cli
from mdn_jax.data import column_names, load, read_table, summarise

COUNT = 40
RNG = np.random.default_rng(0)
SIZE = RNG.normal(size=COUNT)
SIZE[3] = np.nan
GRADE = RNG.integers(3, size=COUNT).astype(float)
COLOUR = [["red", "blue", "größe", None][i] for i in RNG.integers(4, size=COUNT)]
HOT = RNG.random(COUNT) < 0.5
PRICE = RNG.normal(size=COUNT)
FRAME = pl.DataFrame({"size": SIZE, "grade": GRADE, "colour": COLOUR, "hot": HOT, "price": PRICE})
FIELDS = {
    "inputs": ("size", "grade", "colour", "hot"),
    "targets": ("price",),
    "categorical": ("grade", "colour", "hot"),
    "missing_inputs": "indicate",
}


def write(folder, name, frame=FRAME):
    """A frame in a file of the kind that its name says, missing numbers as empty cells or NaN."""
    path = folder / name
    if path.suffix == ".csv":
        # what pandas writes: floats with a point, True and False
        spelled = frame.with_columns(pl.col(pl.Boolean).replace_strict({True: "True", False: "False"}))
        spelled.fill_nan(None).write_csv(path)
    elif path.suffix == ".parquet":
        frame.write_parquet(path)
    else:
        texts = {name: frame[name].fill_null("").to_list() for name in frame.select(pl.col(pl.String)).columns}
        np.savez(path, **{name: np.array(texts.get(name, frame[name].to_numpy())) for name in frame.columns})
    return path


def config(path, **fields):
    return DatasetConfig(**({"path": str(path), "inputs": ("a",), "targets": ("y",)} | fields))


def numbers(folder, name="table.csv", count=COUNT, **columns):
    """A file of the columns a, y and those given."""
    plain = {"a": np.arange(count, dtype=float), "y": np.arange(count, dtype=float) % 7}
    return write(folder, name, pl.DataFrame(plain | columns))


# One table, three files


@pytest.mark.parametrize("name", ["table.csv", "table.npz", "TABLE.PARQUET"])
def test_the_same_values_from_every_file_give_the_same_data(tmp_path, name):
    parquet = load(config(write(tmp_path, "one.parquet"), **FIELDS))
    path = write(tmp_path, name.lower()).rename(tmp_path / name)
    other = load(config(path, **FIELDS))
    names = ("size", "size missing", "grade=0", "grade=1", "grade=2", "colour=blue", "colour=größe", "colour=red")
    assert other.input_names == (*names, "colour missing", "hot=false", "hot=true")
    assert other.encoding == parquet.encoding
    for part, same in ((other.train, parquet.train), (other.test, parquet.test)):
        assert_array_equal(part.x, same.x)
        assert_array_equal(part.y, same.y)
        assert_array_equal(part.place, same.place)
    assert_array_equal(other.train.y[:, 0], PRICE[other.train.place])


def test_a_missing_value_elsewhere_changes_no_spelling(tmp_path):
    # the same kinds whether or not a number is missing among them: an integer column turns into floats where one is
    whole = read_table(write(tmp_path, "a.parquet", pl.DataFrame({"k": [1.0, 2.0, 3e20]})), (), ("k",)).columns["k"]
    holes = read_table(write(tmp_path, "b.parquet", pl.DataFrame({"k": [1.0, np.nan, 2.0]})), (), ("k",)).columns["k"]
    assert whole[:2].tolist() == ["1", "2"] and holes.tolist() == ["1", None, "2"]


def test_arrays_of_two_axes_are_named_by_column(tmp_path):
    both = RNG.normal(size=(COUNT, 2))
    np.savez(tmp_path / "table.npz", pose=both, y=np.arange(COUNT), other=np.zeros(3), scalar=np.array(2.0))
    data = load(config(tmp_path / "table.npz", inputs=("pose_1", "pose_0"), split="ordered"))
    assert_array_equal(data.train.x, both[: len(data.train), ::-1])
    assert column_names(tmp_path / "table.npz") == ["pose_0", "pose_1", "y"]


def test_all_kinds_of_numbers(tmp_path):
    day = np.array(["1970-01-02", "2001-09-09", "NaT"], "datetime64[D]")
    arrays = {
        "half": np.array([1, 2, 3], np.float16), "big_endian": np.array([1, 2, 3], ">f8"),
        "flag": np.array([True, False, True]),
        "wide": np.array([2**62, 1, 0], np.uint64), "long": np.array([1, 2, 3], np.longdouble), "day": day,
        "month": day.astype("datetime64[M]"), "wait": np.array([1500, 0, 1], "timedelta64[ms]"),
    }  # fmt: skip
    np.savez(tmp_path / "kinds.npz", **arrays)
    found = read_table(tmp_path / "kinds.npz", list(arrays)).columns
    for name in ("half", "big_endian", "flag", "wide", "long"):
        assert_array_equal(found[name], arrays[name].astype(float))
    assert_array_equal(found["day"], [1.0, 11_574.0, np.nan])
    assert_array_equal(found["month"], [0.0, 11_566.0, np.nan])
    assert_array_equal(found["wait"], [1.5, 0.0, 0.001])
    frame = pl.DataFrame({"clock": [datetime.time(1, 0, 1), None], "wait": [datetime.timedelta(seconds=2.5), None]})
    found = read_table(write(tmp_path, "times.parquet", frame), ["clock", "wait"]).columns
    assert_array_equal(found["clock"], [3601.0, np.nan])
    assert_array_equal(found["wait"], [2.5, np.nan])


def test_lines_may_end_in_a_carriage_return(tmp_path):
    (tmp_path / "old.csv").write_bytes(b"a,b\r1,2\r3,4\r")
    assert_array_equal(read_table(tmp_path / "old.csv", ["b"]).columns["b"], [2.0, 4.0])


# What is missing


@pytest.mark.parametrize("mark", [-999, -999.0, "-999"])
@pytest.mark.parametrize("name", ["table.csv", "table.parquet", "table.npz"])
def test_values_that_stand_for_a_missing_one(tmp_path, name, mark):
    a = np.where(np.arange(COUNT) == 5, -999.0, np.arange(COUNT))
    kind = np.where(np.arange(COUNT) == 6, -999, np.arange(COUNT) % 2)
    table = read_table(numbers(tmp_path, name, a=a, kind=kind), ("a",), ("kind",), (mark, "?"))
    assert np.flatnonzero(np.isnan(table.columns["a"])).tolist() == [5]
    assert [i for i, value in enumerate(table.columns["kind"]) if value is None] == [6]
    assert set(table.columns["kind"]) == {"0", "1", None}


def test_words_for_a_missing_value_beside_numbers(tmp_path):
    (tmp_path / "table.csv").write_text("a,b\n1,x\n ? ,?\n2,-999\ninf,y\n")
    table = read_table(tmp_path / "table.csv", ("a",), ("b",), ("?", -999, float("inf")))
    assert_array_equal(table.columns["a"], [1.0, np.nan, 2.0, np.nan])
    assert table.columns["b"].tolist() == ["x", None, None, "y"]


def test_rows_with_missing_values_are_dropped_and_counted(tmp_path):
    a, y = np.arange(COUNT, dtype=float), np.arange(COUNT) ** 2.0
    a[[3, 9]], y[[9, 20]] = np.nan, np.nan
    fields = {"missing_inputs": "drop", "missing_targets": "drop", "split": "ordered"}
    data = load(config(numbers(tmp_path, a=a, y=y), **fields))
    assert sorted(np.concatenate([data.train.place, data.test.place])) == sorted(set(range(COUNT)) - {3, 9, 20})
    assert_array_equal(data.train.y[:, 0], np.asarray(data.train.place) ** 2.0)
    assert data.warnings[0] == "3 rows with missing values were dropped"
    assert data.train.observed is None


def test_missing_targets_are_integrated_out(tmp_path):
    y, z = np.arange(COUNT, dtype=float), -np.arange(COUNT, dtype=float)
    y[[1, 2]], z[[2, 3]] = np.nan, np.nan
    fields = {"targets": ("y", "z"), "missing_targets": "marginalise", "split": "ordered"}
    data = load(config(numbers(tmp_path, y=y, z=z), **fields))
    assert data.train.place.tolist()[:4] == [0, 1, 3, 4]  # row 2 tells nothing
    assert_array_equal(np.isnan(data.train.y[:4]), [[0, 0], [1, 0], [0, 1], [0, 0]])
    assert_array_equal(data.train.observed, ~np.isnan(data.train.y))
    assert data.test.observed is None
    assert data.warnings[0] == "1 rows with missing values were dropped"


# Weights, and what a person should know


def test_weights_are_read_and_stay_with_their_rows(tmp_path):
    data = load(config(numbers(tmp_path, w=np.arange(COUNT) % 5 + 0.5), weight="w"))
    assert_array_equal(data.train.weight, np.asarray(data.train.place) % 5 + 0.5)
    assert_array_equal(data.test.weight, np.asarray(data.test.place) % 5 + 0.5)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.where(np.arange(COUNT) == 4, -1.0, 1.0), "column 'w', row 5: a weight is 0 or more"),
        (np.where(np.arange(COUNT) == 4, np.nan, 1.0), "column 'w': 1 value is missing, first in row 5: fill it in"),
        (np.where(np.arange(COUNT) >= 30, 0.0, 1.0), "column 'w': the weights of all test rows are 0"),
    ],
)
def test_weights_that_cannot_be_are_refused(tmp_path, weight, message):
    with pytest.raises(InputError, match=message):
        load(config(numbers(tmp_path, w=weight), weight="w", split="ordered"))


def test_a_constant_input_is_named_and_kept(tmp_path):
    data = load(config(numbers(tmp_path, b=np.full(COUNT, 4.0)), inputs=("a", "b")))
    assert data.warnings == ("input 'b' is 4 in all training rows: it tells nothing",)
    assert data.input_names == ("a", "b") and (data.train.x[:, 1] == 4.0).all()


def test_few_whole_numbers_are_hinted_at_where_rows_are_many(tmp_path):
    columns = {"few": np.arange(200) % 4, "two": np.arange(200) % 2, "half": np.arange(200) % 4 / 2}
    data = load(config(numbers(tmp_path, count=200, **columns), inputs=("few", "two", "half")))
    assert len(data.warnings) == 1 and "'few' holds only 4 different whole numbers" in data.warnings[0]
    named = load(config(tmp_path / "table.csv", inputs=("few", "two", "half"), categorical=("few",)))
    assert named.warnings == ()


def test_a_summary_of_columns(tmp_path):
    columns = {c.name: c for c in summarise(write(tmp_path, "table.csv")).columns}
    assert {name: column.kind for name, column in columns.items()} == {
        "size": "number", "grade": "number", "colour": "category", "hot": "category", "price": "number",
    }  # fmt: skip
    assert columns["size"].num_missing == 1 and columns["size"].num_distinct == COUNT - 1
    assert columns["colour"].num_missing == COLOUR.count(None) and columns["grade"].range == "0 to 2"
    frame = pl.DataFrame({"nested": [[1], [2]], "when": [datetime.date(2024, 1, 1), datetime.date(2024, 1, 3)]})
    nested, when = summarise(write(tmp_path, "nested.parquet", frame)).columns
    assert (nested.kind, when.kind, when.range) == ("text", "number", "2024-01-01 to 2024-01-03")


# Mistakes, through the command line


def damaged_parquet(path):
    write(path.parent, path.name)
    content = bytearray(path.read_bytes())
    content[len(content) // 3 :: 7] = b"\xff" * len(content[len(content) // 3 :: 7])
    path.write_bytes(content)


def arrays(**named):
    return lambda path: np.savez(path, **named)


def whole(**columns):
    return lambda path: numbers(path.parent, path.name, **columns)


OBJECTS = np.array([{"a": 1}, "text", None] * 10, dtype=object)
MISTAKES = {
    "constant target": ("t.csv", whole(y=np.full(COUNT, 2.0)), {}, "target 'y' is 2 in all 36 training rows"),
    "infinite": ("t.parquet", whole(a=np.r_[np.inf, SIZE[1:]]), {}, "column 'a', row 1: inf is not finite"),
    "repeated name": ("t.csv", b"a,y,y\n" + b"1,2,3\n" * 20, {}, "2 columns are named 'y': rename all but one"),
    "repeated array": (
        "t.npz",
        arrays(a=np.zeros((9, 2)), a_0=np.zeros(9)),
        {"inputs": ["a_1"]},
        "2 columns are named",
    ),
    "text among numbers": ("t.csv", b"a,y\n" + b"1,2\n" * 19 + b"1,two\n", {}, "column 'y', row 20: 'two' is not a"),
    "parquet that is CSV": ("t.parquet", b"a,y\n1,2\n" * 20, {}, "which is no .parquet"),
    "damaged parquet": ("t.parquet", damaged_parquet, {"inputs": ["size"]}, "cannot be read as Parquet ("),
    "npz that is text": (
        "t.npz",
        b"a,y\n1,2\n" * 20,
        {},
        "which is no .npz file: if it is a text, let its name end in .csv",
    ),
    "csv that is binary": ("t.csv", bytes(range(256)) * 9, {}, "is not utf-8: it is no text, save it as a"),
    "csv in UTF-16": ("t.csv", "a,y\n1,2\n".encode("utf-16"), {}, 'is not utf-8: set dataset.encoding = "utf-16"'),
    "empty csv": ("t.csv", b"", {}, "the file is empty"),
    "empty parquet": ("t.parquet", b"", {}, "the file is empty"),
    "header only": ("t.csv", b"a,y\n", {}, "number of rows is 0, too few"),
    "no rows": (
        "t.parquet",
        lambda path: pl.DataFrame({"a": [], "y": []}).write_parquet(path),
        {},
        "number of rows is 0",
    ),
    "no test row": ("t.csv", whole(), {"test_fraction": 0.01}, "t.csv: dataset.test_fraction = 0.01 of 40 rows leaves"),
    "objects": (
        "t.npz",
        arrays(a=OBJECTS, y=np.arange(30)),
        {},
        "cannot be read as NPZ (Object arrays cannot be loaded",
    ),
    "unequal": (
        "t.npz",
        arrays(a=np.arange(30), y=np.arange(31)),
        {},
        "arrays of different lengths: {'a': 30, 'y': 31}",
    ),
    "two axes": (
        "t.npz",
        arrays(a=np.zeros((30, 2)), y=np.arange(30)),
        {},
        "'a' is an array of 2 columns: name them a_0",
    ),
    "complex": ("t.npz", arrays(a=np.ones(30) * 1j, y=np.arange(30)), {}, "column 'a' holds Object, not numbers"),
    "no such array": ("t.npz", arrays(aa=np.ones(30), y=np.arange(30)), {}, "no column 'a': did you mean 'aa'?"),
    "all missing": (
        "t.csv",
        whole(a=np.full(COUNT, np.nan)),
        {"missing_inputs": "indicate"},
        "column 'a' has no value",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_and_nothing_is_written(tmp_path, monkeypatch, capsys, no_training, name):
    monkeypatch.chdir(tmp_path)
    file, content, fields, message = MISTAKES[name]
    if callable(content):
        content(tmp_path / file)
    else:
        (tmp_path / file).write_bytes(content)
    table = {"path": file, "inputs": ["a"], "targets": ["y"]} | fields
    if name == "damaged parquet":
        table["targets"] = ["price"]
    rows = "".join(f"{key} = {json.dumps(value)}\n" for key, value in table.items())
    (tmp_path / "run.toml").write_text("[dataset]\n" + rows)
    assert cli.main(["run", "run.toml"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    line = [line for line in printed.err.splitlines() if line.startswith("mdn-jax: ")][-1]
    assert file in line and message in line, line
    assert printed.err.count("mdn-jax: ") == 1 and "Traceback" not in printed.err
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["run.toml", file])


def test_a_panic_of_the_reader_is_one_line(tmp_path, monkeypatch):
    def panic(*_, **__):
        raise pl.exceptions.PanicException("called unwrap() on None\nand more")

    write(tmp_path, "t.parquet")
    monkeypatch.setattr(pl, "read_parquet", panic)
    with pytest.raises(InputError, match=r"cannot be read as Parquet \(called unwrap\(\) on None\)"):
        read_table(tmp_path / "t.parquet", ["size"])


@pytest.mark.parametrize("seed", range(3))
def test_flipped_bytes_are_a_table_or_one_line(tmp_path, seed):
    rng = np.random.default_rng(seed)
    for name in ("t.npz", "t.csv"):
        content = write(tmp_path, name).read_bytes()
        for _ in range(30):
            flipped = bytearray(content)
            flipped[rng.integers(len(content))] = rng.integers(256)
            (tmp_path / name).write_bytes(flipped[: rng.integers(1, len(content))] if rng.random() < 0.3 else flipped)
            with contextlib.suppress(InputError):
                read_table(tmp_path / name, ["size", "price"], ["colour"])


def test_a_kind_of_column_that_holds_no_texts_names_its_file(tmp_path):
    write(tmp_path, "t.parquet", pl.DataFrame({"list": [[1], [2]]}))
    with pytest.raises(InputError, match=r"t.parquet: column 'list' holds List\(Int64\), not texts: leave it out"):
        read_table(tmp_path / "t.parquet", (), ("list",))
    write(tmp_path, "t.parquet", pl.DataFrame({"kind": pl.Series(["x", "y"], dtype=pl.Categorical)}))
    with pytest.raises(InputError, match="holds Categorical, not numbers: name it in dataset"):
        read_table(tmp_path / "t.parquet", ("kind",))
    assert read_table(tmp_path / "t.parquet", (), ("kind",)).columns["kind"].tolist() == ["x", "y"]

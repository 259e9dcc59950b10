"""Files as they come: each form is read by what `new` writes as the plain file is, and a config that does not fit it
gets the line that cures it."""

import gzip
import io
import json
import re

import jax
import numpy as np
import polars as pl
import pytest
from new_tables import loaded, new, refused
from numpy.testing import assert_array_equal

import mdn_jax as mdn
from mdn_jax import DatasetConfig, InputError, cli
from mdn_jax.data import load, read_table, summarise
from mdn_jax.data.cells import numbers_in
from mdn_jax.encoding import Dialect, Encoding

COUNT = 60
RNG = np.random.default_rng(0)
X, Y = RNG.uniform(-60, 60, COUNT).round(2), RNG.uniform(1e3, 9e6, COUNT).round()
KIND = [["größe", "red", "blue"][i] for i in RNG.integers(3, size=COUNT)]


def lines(separator=",", decimal=".", x=X, y=Y, newline="\n"):
    rows = [
        separator.join((str(a), kind, str(int(b)))).replace(".", decimal) for a, kind, b in zip(x, KIND, y, strict=True)
    ]
    return newline.join([separator.join(("x", "kind", "y")), *rows, ""])


def thousands(mark=",", separator=",", decimal="."):
    number = lambda value: f'"{int(value):,}"'.replace(",", mark)  # noqa: E731
    rows = [f"{a}%".replace(".", decimal) + separator + k + separator + number(b) for a, k, b in zip(X, KIND, Y)]
    return "\n".join([separator.join(("x", "kind", "y")), *rows, ""])


FORMS = {  # name of the file, its bytes, and what `new` writes of them
    "semicolons": ("t.csv", lines(";", ",").encode(), {"separator": ";", "decimal": ","}),
    "semicolons and points": ("t.csv", lines(";").encode(), {"separator": ";"}),
    "tabs": ("t.tsv", lines("\t").encode(), {}),
    "tabs with commas": ("t.tsv", lines("\t", ",").encode(), {"decimal": ","}),
    "tabs in a text": ("t.txt", lines("\t").encode(), {"separator": "\t"}),
    "pipes": ("t.txt", lines("|").encode(), {"separator": "|"}),
    "commas in a text": ("t.txt", lines().encode(), {}),
    "latin-1": ("t.csv", lines().encode("latin-1"), {"encoding": "latin-1"}),
    "cp1252": ("t.csv", lines().replace("red", "€").encode("cp1252"), {"encoding": "cp1252"}),
    "a mark of UTF-8": ("t.csv", lines().encode("utf-8-sig"), {}),
    "UTF-16": ("t.csv", lines(";", ",").encode("utf-16"), {"separator": ";", "decimal": ",", "encoding": "utf-16"}),
    "gzip": ("t.csv.gz", gzip.compress(lines().encode()), {}),
    "gzip of tabs": ("t.tsv.gz", gzip.compress(lines("\t").encode("latin-1")), {"encoding": "latin-1"}),
    "lines of Windows": ("T.CSV", lines(";", ",", newline="\r\n").encode(), {"separator": ";", "decimal": ","}),
    "thousands": ("t.csv", thousands().encode(), {}),
    "thousands in German": ("t.csv", thousands(".", ";", ",").encode(), {"separator": ";", "decimal": ","}),
    "thousands in French": ("t.csv", thousands("\u202f", ";", ",").encode(), {"separator": ";", "decimal": ","}),
    "thousands in Swiss": ("t.csv", thousands("'").encode(), {}),
}


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def same(data, x=X, y=Y, kinds=KIND):
    """Every row holds the numbers and the kind that its place in the file has."""
    names = data.input_names
    for part in (data.train, data.test):
        assert_array_equal(part.y[:, 0], y[part.place])
        assert_array_equal(part.x[:, names.index("x")], x[part.place])
        for kind in set(kinds):
            assert_array_equal(part.x[:, names.index(f"kind={kind}")], np.array(kinds)[part.place] == kind)


# Forms


@pytest.mark.parametrize("name", FORMS)
def test_every_form_is_found_and_read(place, name):
    file, content, written = FORMS[name]
    (place / file).write_bytes(content)
    dataset, text = new(file, "y")
    assert dataset == {"path": file, **written, "inputs": ["x", "kind"], "targets": ["y"], "categorical": ["kind"]}
    same(loaded(), kinds=[kind.replace("red", "€") for kind in KIND] if name == "cp1252" else KIND)
    for field in written:
        assert re.search(rf"^{field} = .*  # .", text, re.M), "a reason stands beside it"
    if "thousands" in name:
        assert "is read as" in text and f"'{X[0]}%'".replace(".", written.get("decimal", ".")) in text


@pytest.mark.parametrize("name", [name for name, form in FORMS.items() if form[2]])
def test_a_config_that_does_not_fit_gets_the_line_that_cures_it(place, name):
    file, content, written = FORMS[name]
    (place / file).write_bytes(content)
    fields = {"path": file, "inputs": ("x", "kind"), "targets": ("y",), "categorical": ("kind",)}
    said = set()
    for _ in range(3):  # at most a line for each field
        try:
            load(DatasetConfig(**fields))
        except InputError as error:
            line = str(error)
        else:
            break
        assert line.startswith(f"{file}: ") and "\n" not in line and line not in said
        said.add(line)
        fields |= {field: json.loads(value) for field, value in re.findall(r'dataset\.(\w+) = ("[^"]+")', line)}
    assert {field: fields[field] for field in written} == written
    same(load(DatasetConfig(**fields)), kinds=[kind.replace("red", "€") for kind in KIND] if name == "cp1252" else KIND)


def test_the_lines_show_what_was_found(place):
    def line(content, **fields):
        (place / "t.csv").write_bytes(content)
        return refused(load, DatasetConfig(path="t.csv", targets=("y",), **{"inputs": ("x",)} | fields))

    semicolons = lines(";", ",").encode()
    assert line(semicolons) == (
        't.csv: the first line is \'x;kind;y\': set dataset.separator = ";" and dataset.decimal = ","'
    )
    assert line(semicolons, separator=";") == (
        f"t.csv: column 'x', row 1: '{X[0]}' is not a number: set dataset.decimal = \",\"".replace(".", ",")
        .replace("t,csv", "t.csv")
        .replace("dataset,", "dataset.")
    )
    assert line(lines().encode("latin-1")).startswith("t.csv: line ")
    assert "b'" in line(lines().encode("latin-1")) and "gr\\xf6" in line(lines().encode("latin-1"))
    assert 'row 2: \'NA\' is not a number: set dataset.missing_values = ["?", "NA"], or' in line(
        b"x,y\n1,2\nNA,3\n", missing_values=("?",)
    )
    ragged = line(b"x,y\n1,2\n1,2,3\n")
    assert ragged == "t.csv: row 2, '1,2,3', has 3 values but the header has 2: correct the row"


@pytest.mark.parametrize("mark", ["NA", "N/A", "?", "null", "-", "#N/A", "None", ".", "NaN"])
def test_missing_markers(place, mark):
    x, y = [mark if i % 9 == 4 else str(v) for i, v in enumerate(X)], [str(v) for v in Y]
    y[7] = f" {mark} "
    pl.DataFrame({"x": x, "kind": KIND, "y": y}).write_csv("t.csv")
    dataset, _ = new("t.csv", "y")
    assert dataset.get("missing_values", []) == ([] if mark == "NaN" else [mark])
    assert (dataset["missing_inputs"], dataset["missing_targets"]) == ("indicate", "drop")
    data = loaded()
    for part in (data.train, data.test):
        assert 7 not in part.place
        missing = np.asarray(part.place) % 9 == 4
        assert_array_equal(part.x[:, data.input_names.index("x missing")], missing)
        assert_array_equal(part.x[~missing, 0], X[part.place][~missing])


@pytest.mark.parametrize(
    ("decimal", "cells", "numbers"),
    [
        (".", ["1,234,567", "12", "1 234.5", "1'234", "\u22125", None], [1234567, 12, 1234.5, 1234, -5, None]),
        (".", ["0,123", "1,23", "12,34,567", "1.5", "x"], [None, None, None, 1.5, None]),
        (",", ["1.234,5", "3,5", "2,5e3", "1.234", "7"], [1234.5, 3.5, 2500, 1234, 7]),
        (",", ["1.5", "1,234,567", "0,5"], [None, None, 0.5]),
        (".", ["66%", "7.5 %", None], [66, 7.5, None]),
        (".", ["66%", "7"], [None, 7]),
    ],
)
def test_numbers_in_cells(decimal, cells, numbers):
    assert numbers_in(pl.Series(cells), decimal).to_list() == numbers


def test_a_column_of_markers_alone_is_empty(place):
    pl.DataFrame({"x": X, "none": ["NA"] * COUNT, "y": Y}).write_csv("t.csv")
    dataset, text = new("t.csv", "y")
    assert dataset["inputs"] == ["x"] and "left out: no value in any row" in text


def test_markers_beside_kinds(place):
    kinds = ["red", "NA", "blue", "-"] * 15
    countries = ["DE", "NA", "FR"] * 20
    pl.DataFrame({"kind": kinds, "country": countries, "y": Y}).write_csv("t.csv")
    dataset, _ = new("t.csv", "y")
    assert dataset["missing_values"] == ["NA"]  # of a kind; a dash may be one
    pl.DataFrame({"country": countries, "x": X, "y": Y}).write_csv("u.csv")
    dataset, _ = new("u.csv", "y")
    assert "missing_values" not in dataset and "country=NA" in loaded().input_names  # Namibia


# Dates and codes


def test_dates_and_times_are_the_same_numbers_from_every_file(place):
    days = np.arange(COUNT) + np.datetime64("2015-03-01")
    stamps = days + np.timedelta64(3_723_500, "ms")
    frame = pl.DataFrame({"day": days, "stamp": stamps, "y": Y})
    frame = frame.with_columns(
        midnight=pl.col("day").cast(pl.Datetime("us")), clock=pl.col("stamp").dt.time(),
        zoned=pl.col("stamp").dt.replace_time_zone("UTC").dt.convert_time_zone("Europe/Berlin"),
    )  # fmt: skip
    frame.write_parquet("t.parquet")
    # midnights as pandas writes them, a blank for a T, an offset from UTC
    texts = frame.with_columns(pl.col("midnight").dt.date(), pl.col("stamp").dt.to_string("%Y-%m-%d %H:%M:%S%.f"))
    texts.write_csv("t.csv")
    found = [read_table(place / file, frame.columns).columns for file in ("t.csv", "t.parquet")]
    expected = days.astype(float)
    for columns in found:
        assert_array_equal(columns["day"], expected)
        assert_array_equal(columns["midnight"], expected)
        for name in ("stamp", "zoned"):
            np.testing.assert_allclose(columns[name], expected + 3723.5 / 86_400, rtol=1e-15)
        np.testing.assert_allclose(columns["clock"], 3723.5, rtol=1e-15)
    assert_array_equal(found[0]["zoned"], found[1]["zoned"])
    short = "d,t\n2015-03-01 10:30,1:30\n2015-03-01T10:30:00Z,01:30\n2015-03-01 12:30+02,1:30:00\n"
    (place / "short.csv").write_text(short)
    columns = read_table(place / "short.csv", ["d", "t"]).columns
    assert_array_equal(columns["d"], [16495.4375] * 3)
    assert_array_equal(columns["t"], [5400.0] * 3)
    (place / "bad.csv").write_text("d\n2015-02-28\n2015-02-30\n")
    assert "column 'd', row 2: '2015-02-30' is not a number" in refused(read_table, place / "bad.csv", ["d"])


@pytest.mark.parametrize("file", ["t.csv", "t.parquet"])
def test_codes_stay_apart_as_written(place, file):
    icd = ["250.0", "250.00", "401.9", "007", "7"] * 12
    typed = ["1", "1.0", "2", "2.0", "3.5"] * 12
    frame = pl.DataFrame({"icd": icd, "zip": ["02134", "10001", "00501"] * 20, "typed": typed, "y": Y})
    frame.write_csv(file) if file == "t.csv" else frame.write_parquet(file)
    dataset, text = new(file, "y")
    assert dataset["categorical"] == dataset["codes"] == ["icd", "zip"] and "'007' is no plain number" in text
    data = loaded()
    assert data.input_names == (
        *(f"icd={kind}" for kind in sorted(set(icd))), "zip=00501", "zip=02134", "zip=10001", "typed",
    )  # fmt: skip
    assert_array_equal(data.train.x[:, -1], np.array(typed, float)[data.train.place])
    frame = frame.select("y", icd=pl.Series(["250.0", "250.00", "401.9"] * 20))
    frame.write_csv(file) if file == "t.csv" else frame.write_parquet(file)
    codes = summarise(place / file).columns[1]
    assert (codes.kind, codes.codes) == ("category", "'250.0' and '250.00' stay apart")
    assert "not among categorical: add it there" in refused_by_config(targets=("y",), codes=("y",))
    assert "encoding of texts" in refused_by_config(targets=("y",), encoding="utf-99")


def refused_by_config(**fields):
    with pytest.raises(ValueError, match="Value error") as caught:
        DatasetConfig(path="t.csv", **fields)
    return str(caught.value)


# Predicting


@pytest.fixture
def model(place):
    """A model of the semicolons with codes, saved and loaded."""
    icd, x = ["250.0", "250.00"] * 30, [str(value).replace(".", ",") for value in X]
    x[3] = "NA"
    pl.DataFrame({"x": x, "icd": icd, "y": Y.astype(int)}).write_csv("train.csv", separator=";")
    dataset, _ = new("train.csv", "y")
    assert dataset["codes"] == ["icd"] and dataset["missing_values"] == ["NA"]
    training, small = mdn.TrainingConfig(num_steps=2, evaluate_every=1), mdn.ModelConfig(hidden_sizes=(4,))
    fitted = mdn.fit(jax.random.key(0), **loaded().for_training, model=small, training=training)
    mdn.save("model", fitted.model)
    return mdn.load("model")


def test_new_tables_are_read_as_the_training_table_was(place, model):
    plain = pl.DataFrame({"x": [1.5, None, 1234.5], "icd": ["250.0", "250.00", "250.000"]})
    expected = mdn.predict(model, plain)
    (place / "new.csv").write_text("x;icd\n1,5;250.0\nNA;250.00\n1.234,5;250.000\n")
    answers = mdn.predict(model, "new.csv")
    assert answers.equals(expected) and answers["outside_training"].to_list() == [False, False, True]
    plain.write_parquet("new.parquet")
    assert mdn.predict(model, "new.parquet").equals(expected)
    (place / "other.csv").write_text("x,icd\n1.5,250.0\n")
    line = refused(mdn.predict, model, "other.csv")
    as_it_was = "save it as the training table was (';' between cells, ',' in numbers, utf-8)"
    assert line == f"other.csv: the first line is 'x,icd': {as_it_was}"
    (place / "points.csv").write_text("x;icd\n1.5;250.0\n")
    line = refused(mdn.predict, model, "points.csv")
    assert line == "points.csv: column 'x', row 1: '1.5' is not a number: correct it, or empty the cell"


def test_an_encoding_keeps_how_its_table_was_written():
    table = {"x": np.arange(3.0), "icd": np.array(["1.0", "1.00", None], object)}
    dialect = Dialect(";", ",", "latin-1", ("icd",))
    encoding = Encoding.fit(table, ("x", "icd"), ("y",), categorical=("icd",), dialect=dialect)
    plain = json.loads(json.dumps(encoding.to_dict()))
    assert Encoding.from_dict(plain) == encoding and encoding.dialect == dialect
    assert Encoding.from_dict({name: value for name, value in plain.items() if name != "dialect"}).dialect == Dialect()


# Faults, and what is legal


def npz(**arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def parquet():
    file = io.BytesIO()
    pl.DataFrame({"x": X, "kind": KIND, "y": Y}).write_parquet(file)
    return file.getvalue()


WRONG = {
    "Parquet": ("t.csv", parquet(), "begins with b'PAR1", "t.parquet"),
    "NPZ": ("t.csv", npz(x=X, kind=KIND, y=Y), "begins with b'PK", "t.npz"),
    "gzip": ("t.csv", gzip.compress(lines().encode()), "begins with b'\\x1f\\x8b", "t.csv.gz"),
    "text for gzip": ("t.csv.gz", lines().encode(), "begins with b'x,kind,y", "t.csv"),
    "text for Parquet": ("t.parquet", lines().encode(), "which is no .parquet file", "t.csv"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_file_of_another_kind_than_its_content(place, capsys, name):
    file, content, said, right = WRONG[name]
    (place / file).write_bytes(content)
    assert cli.main(["new", file, "--targets", "y"]) == 2
    line = capsys.readouterr().err
    end = re.findall(r"end in (\.[\w.]+)", line)[0]
    assert line.count("\n") == 1 and said in line and right == "t" + end
    assert [path.name for path in place.iterdir()] == [file]
    (place / file).rename(right)
    new(right, "y")
    same(loaded())


def test_a_compressed_file_that_ends_early(place):
    (place / "t.csv.gz").write_bytes(gzip.compress(lines().encode())[:-40])
    for call in (summarise, lambda path: read_table(path, ["x"])):
        line = refused(call, place / "t.csv.gz")
        assert "t.csv.gz: the compressed file ends early or is damaged (" in line and "again" in line
    (place / "t.csv.gz").write_bytes(gzip.compress(lines().encode()))
    same(load(DatasetConfig(path="t.csv.gz", inputs=("x", "kind"), targets=("y",), categorical=("kind",))))


def test_names_that_stand_twice_and_no_rows(place):
    (place / "t.csv").write_text(lines().replace("kind", "x", 1))
    assert refused(summarise, place / "t.csv").endswith("t.csv: 2 columns are named 'x': rename all but one")
    (place / "t.csv").write_text("x;y\n")
    assert refused(summarise, place / "t.csv").endswith("t.csv: names the columns 'x, y' and has no rows: add them")


def test_what_is_legal(place):
    (place / "t.csv").write_text("y\n" + "\n".join(map(str, Y)) + "\n")
    assert new("t.csv", "y")[0]["inputs"] == [] and loaded().train.x.shape == (54, 0)  # one column
    text = lines(";", ",").replace("red", '"r;e\nd"').replace("blue", '"say ""blue"""')
    (place / "t.csv").write_text(text)
    new("t.csv", "y")  # quotes, with a separator and a new line in them
    same(loaded(), kinds=[kind.replace("red", "r;e\nd").replace("blue", 'say "blue"') for kind in KIND])
    (place / "t.csv").write_text("y\n" + "\n".join(f"{i},5" for i in range(COUNT)))
    new("t.csv", "y")  # one column of decimal commas
    assert_array_equal(loaded().train.y % 1, 0.5)


def test_many_columns(place):
    columns = {f"c{i}": np.full(12, i) + np.arange(12) % 3 for i in range(2_000)}
    pl.DataFrame(columns | {"y": np.arange(12) ** 2}).write_csv("t.csv")
    assert len(new("t.csv", "y")[0]["inputs"]) == 2_000 and loaded().train.x.shape == (11, 2_000)

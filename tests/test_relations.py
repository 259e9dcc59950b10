"""Relations between columns: what `new` leaves out with the line that keeps it, and the splits that it proposes."""

import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from new_tables import loaded, new

from mdn_jax import runs

COUNT = 60
RNG = np.random.default_rng(0)
X, Y = RNG.uniform(-60, 60, COUNT).round(2), RNG.uniform(1e3, 9e6, COUNT).round()


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


# Columns that are left out


def test_each_column_left_out_says_why_and_the_line_that_keeps_it_does(place):
    frame = pl.DataFrame({
        "x": X, "number": np.arange(1, COUNT + 1), "name": [f"n{i}" for i in range(COUNT)], "one": [3.5] * COUNT,
        "same": ["a"] * COUNT, "few": [f"f{i}" for i in range(COUNT - 5)] + ["f0"] * 5, "none": [None] * COUNT,
        "zip": [f"0{i % 56 + 1000}" for i in range(COUNT)], "y": Y, "copy": (1.8 * Y + 32).round(1),
    })  # fmt: skip
    frame.write_csv("t.csv")
    dataset, text = new("t.csv", "y")
    assert dataset["inputs"] == ["x"] and dataset["categorical"] == dataset["codes"] == []
    said = dict(re.findall(r"^#   (\w+) .* missing  (.*)$", text, re.M))
    assert said.pop("y") == "target" and said.pop("none") == "left out: no value in any row"
    expected = {
        "number": "a row number? its whole numbers are consecutive", "name": "60 different texts are more than 50",
        "one": "one value in all rows tells nothing", "same": "one value in all rows tells nothing",
        "few": "55 different texts are more than 50", "zip": "56 different texts are more than 50",
        "copy": "'y' itself in other units",
    }  # fmt: skip
    assert set(said) == set(expected)
    for name, why in expected.items():
        lists = re.fullmatch(rf'left out: {re.escape(why)}; to keep it add "{name}" to ([\w ]+)', said[name])
        assert lists, said[name]
        changed = text
        for field in lists[1].split(" and "):
            changed = re.sub(rf"^{field} = \[", f'{field} = ["{name}", ', changed, flags=re.M)
        (place / "new.toml").write_text(changed)
        names = loaded().input_names
        assert any(own.partition("=")[0] == name for own in names), names


def test_a_column_without_a_name_is_told(place):
    rows = "\n".join(f"{i},{y}" for i, y in enumerate(Y))
    (place / "t.csv").write_text(f",y\n{rows}\n")
    dataset, text = new("t.csv", "y")
    assert dataset["inputs"] == [] and "Columns without a name (1) are left out: name one in the first line" in text
    assert loaded().train.x.shape == (54, 0)
    (place / "t.csv").write_text(f"z,y\n{rows}\n")
    assert re.search(r"z .* left out: a row number", new("t.csv", "y")[1])


def test_the_only_input_stays_though_it_is_a_copy(place):
    pl.DataFrame({"y": Y, "x": (0.3048 * Y).round(1)}).write_csv("t.csv")
    assert new("t.csv", "y")[0]["inputs"] == ["x"]


@pytest.mark.parametrize(
    ("other", "copy"),
    [
        (Y / 3, True), (-(2.54 * Y).round(-2), True), (Y + RNG.normal(size=COUNT), False),
        (Y // 1e6, False), (Y**1.01, False), (np.where(np.arange(COUNT) == 3, 0, Y), False),
    ],
)  # fmt: skip
def test_a_copy_is_one_to_rounding(place, other, copy):
    pl.DataFrame({"x": X, "other": other, "y": Y}).write_csv("t.csv")
    assert ("other" not in new("t.csv", "y")[0]["inputs"]) == copy


def test_a_cell_among_numbers_is_cured_as_it_says(place):
    pl.DataFrame({"x": X, "size": ["few" if i == 5 else str(v) for i, v in enumerate(X)], "y": Y}).write_csv("t.csv")
    dataset, text = new("t.csv", "y")
    cure = "row 6: 'few' is not a number: correct it, or list it in missing_values and add \"size\" to inputs"
    assert dataset["inputs"] == ["x"] and cure in text
    text = text.replace("missing_values = []", 'missing_values = ["few"]').replace(
        'inputs = ["x"', 'inputs = ["x", "size"'
    )
    (place / "new.toml").write_text(text)
    assert loaded().input_names == ("x", "size", "size missing")


# Splits


@pytest.mark.parametrize("order", ["rising", "falling", "none"])
@pytest.mark.parametrize("file", ["t.csv", "t.parquet"])
def test_a_date_that_orders_the_rows_proposes_an_ordered_split(place, order, file):
    days = np.arange(COUNT) + np.datetime64("2015-03-01")
    days = {"rising": days, "falling": days[::-1], "none": RNG.permutation(days)}[order]
    frame = pl.DataFrame({"date": days, "y": Y})
    frame.write_csv(file) if file == "t.csv" else frame.write_parquet(file)
    dataset, text = new(file, "y")
    assert dataset["inputs"] == ["date"] and "2015-03-01 to 2015-04-29" in text
    assert dataset.get("split") == (None if order == "none" else "ordered")
    if order != "none":
        assert dataset["split_column"] == "date" and "'date' orders the rows" in text
        data = loaded()
        assert data.test.x.min() > data.train.x.max() and len(data.test) == 6


def test_panels_propose_groups(place):
    who = np.repeat([f"C{i:02d}" for i in range(20)], 12)
    columns = {"country": who, "year": np.tile(np.arange(1960, 2020, 5), 20), "y": RNG.normal(size=240).round(3)}
    frame = pl.DataFrame(columns)
    frame.sample(fraction=1.0, shuffle=True, seed=0).write_csv("t.csv")
    dataset, text = new("t.csv", "y")
    assert "split" not in dataset and "# 'country' names 20 panels along 'year'. A random split" in text
    (place / "new.toml").write_text(text.replace("# split", "split"))
    config = runs.read_config(Path("new.toml"))[0].dataset
    assert (config.split, config.split_column) == ("group", "country")
    assert len(loaded().test) == 24  # two countries
    for less in (frame[:-1], frame.with_columns(pl.lit(1960).alias("year")), frame[:60]):
        less.write_csv("t.csv")
        assert "panels" not in new("t.csv", "y")[1]

"""Tables, splits and every message of a mistake."""

import subprocess
import sys

import numpy as np
import pytest

from mdn_jax import DatasetConfig, InputError
from mdn_jax.data import load, table_checksum


def test_an_unknown_problem_names_the_nearest():
    with pytest.raises(
        InputError, match=r"^dataset.name: no built-in problem 'inverse_sine': did you mean 'inverse_sin"
    ):
        load(DatasetConfig(name="inverse_sine"))


def test_import_loads_no_table_reader_and_no_plots():
    code = "import sys, mdn_jax.data; sys.exit(bool({'polars', 'matplotlib'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True)


# Tables


def config(**fields):
    return DatasetConfig(**{"path": "table.csv", "inputs": ("a", "b"), "targets": ("c",)} | fields)


def write(folder, text, name="table.csv"):
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())


def lines(num_rows, **replaced):
    """A table `c,unused,a,b` whose row i (from 1) is i, text, 10 i, -i; `row_3="..."` replaces a row."""
    rows = [f"{i},text,{10 * i},{-i}" for i in range(1, num_rows + 1)]
    for name, row in replaced.items():
        rows[int(name.removeprefix("row_")) - 1] = row
    return "c,unused,a,b\n" + "".join(f"{row}\n" for row in rows)


def test_a_checksum_is_of_the_bytes_of_all_tables(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path, lines(20))
    write(tmp_path, lines(12), "new.csv")
    with_test = config(test_path="new.csv")
    alone, both = table_checksum(config()), table_checksum(with_test)
    assert alone is not None and both is not None and len(both) == 16 and alone != both
    assert table_checksum(with_test, config()) == both and table_checksum(DatasetConfig(name="sinusoid")) is None
    load(config(test_path="new.csv", table_checksum=both))
    write(tmp_path, lines(13), "new.csv")
    assert table_checksum(config()) == alone
    with pytest.raises(InputError, match=r"table.csv or new.csv has changed since this config noted"):
        load(config(test_path="new.csv", table_checksum=both))
    assert table_checksum(config(path="gone.csv")) is None  # whoever reads it tells


def test_columns_are_found_by_name_in_any_order(tmp_path):
    write(tmp_path, lines(20))
    data = load(config(split="ordered", test_fraction=0.25), tmp_path)
    assert data.train.x.shape == (15, 2) and data.test.x.shape == (5, 2) and data.log_density is None
    assert (data.input_names, data.target_names) == (("a", "b"), ("c",))
    assert np.array_equal(data.train.x, [[10 * i, -i] for i in range(1, 16)])
    assert np.array_equal(data.test.y[:, 0], np.arange(16, 21))  # the last rows


def test_a_random_split_is_disjoint_complete_and_follows_its_seed(tmp_path):
    write(tmp_path, lines(50))
    data = load(config(seed=1), tmp_path)
    assert len(data.test.y) == 5
    assert sorted(np.concatenate([data.train.y, data.test.y])[:, 0]) == list(range(1, 51))
    for x, y in [(data.train.x, data.train.y), (data.test.x, data.test.y)]:
        assert np.array_equal(x, np.concatenate([10 * y, -y], axis=1))
    assert np.array_equal(load(config(seed=1), tmp_path).train.y, data.train.y)
    assert not np.array_equal(load(config(seed=2), tmp_path).test.y, data.test.y)


def test_kinds_of_numbers_and_a_path_without_a_base(tmp_path):
    rows = [f'{i}, {"TRUE" if i % 2 else "false"} ,"{i}e-1"' for i in range(10)]
    write(tmp_path, "\ufeffwhole , flag,decimal\r\n" + "\r\n".join(rows) + "\r\n\r\n")  # byte-order mark, blank end
    table = DatasetConfig(
        path=str(tmp_path / "table.csv"), inputs=("flag",), targets=("decimal", "whole"), split="ordered"
    )
    data = load(table)
    assert np.array_equal(data.train.x[:, 0], [0, 1, 0, 1, 0, 1, 0, 1, 0])
    np.testing.assert_allclose(data.train.y, [[i / 10, i] for i in range(9)], rtol=1e-15)


def test_a_table_without_inputs(tmp_path):
    write(tmp_path, lines(10))
    data = load(config(inputs=()), tmp_path)
    assert data.train.x.shape == (9, 0) and data.test.x.shape == (1, 0)


@pytest.mark.parametrize(
    ("text", "fields", "message"),
    [
        (None, {}, "no such file: give the path of a table"),
        ("", {}, "the file is empty: expected a table with named columns"),
        (",,\n1,2,3\n", {}, "the first line is blank: it must name the columns"),
        ("a,b,c,b\n1,2,3,4\n", {}, "2 columns are named 'b': rename all but one"),
        ("a,b,cc\n1,2,3\n", {}, "no column 'c': did you mean 'cc'?"),
        ("a,b,xyz\n1,2,3\n", {}, "no column 'c': expected one of: a, b, xyz"),
        ("a;b;c\n1;2;3\n", {}, "the first line is 'a;b;c': set dataset.separator = \";\""),
        (
            lines(12, row_3="3,text,n/a,1"),
            {},
            "column 'a', row 3: 'n/a' is not a number: set dataset.missing_values = [\"n/a\"], or correct it",
        ),
        (lines(12), {"inputs": ("unused",)}, "column 'unused', row 1: 'text' is not a number"),
        (
            lines(12, row_4="4,text,,1"),
            {},
            "column 'a': 1 value is missing, first in row 4: set dataset.missing_inputs = ",
        ),
        (
            lines(12, row_7="-inf,x,0,1"),
            {},
            "column 'c', row 7: -inf is not finite (1 such values): correct it, or list",
        ),
        (lines(12, row_5="nan,x,0,1", row_7=",x,0,1"), {}, "column 'c': 2 values are missing, first in row 5: set"),
        (lines(12, row_6="6,x,1"), {}, "column 'b': 1 value is missing, first in row 6"),
        (lines(12, row_2=""), {}, "column 'a': 1 value is missing, first in row 2"),
        (
            lines(12, row_8="8,x,0,1,9,9"),
            {},
            "row 8, '8,x,0,1,9,9', has 6 values but the header has 4: correct the row",
        ),
        (lines(12, row_9='9,"x,0,1'), {}, "cannot be read as CSV ("),
        (
            lines(12, row_9="9,größe,0,1").encode("latin1"),
            {},
            'is not utf-8: set dataset.encoding = "latin-1", or save the file in UTF-8',
        ),
        (lines(0), {}, "number of rows is 0, too few: give at least 10"),
        (lines(9), {}, "number of rows is 9, too few: give at least 10"),
        (lines(12), {"test_fraction": 0.01}, "dataset.test_fraction = 0.01 of 12 rows leaves no test row: raise it"),
        (lines(12), {"test_fraction": 0.99}, "test_fraction = 0.99 of 12 rows leaves no training row: lower it"),
        ("a,b,c\n" + "1,2,3\n" * 20, {}, "target 'c' is 3 in all 18 training rows: nothing to predict, choose another"),
        (lines(12), {"path": "table.xlsx"}, "cannot read '.xlsx' files: save the table as one of: .csv"),
        (lines(12), {"path": "."}, "is a folder: give the path of a table"),
    ],
)
def test_a_mistake_in_a_table_is_told_in_one_line(tmp_path, text, fields, message):
    table = config(**fields)
    if text is not None and table.path != ".":
        write(tmp_path, text, str(table.path))
    with pytest.raises(InputError) as caught:
        load(table, tmp_path)
    report = str(caught.value)
    assert report.startswith(str(tmp_path)) and message in report and "\n" not in report

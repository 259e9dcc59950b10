"""The record of a sweep: members come back to the last bit, and what a kill or a bad disk left counts as not there."""

import math
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from small_runs import content, names
from untrained import shapes

import mdn_jax as mdn
from mdn_jax.storage import Batch, Trained, drop_rows, read_member, read_rows, read_trained, record, write_batch

RNG = np.random.default_rng(0)


@cache
def structure(count, hidden, covariance):
    """A network's structure; drawing its weights would take longer than all of these tests."""
    spec = mdn.MixtureSpec(count, 2, covariance)
    return shapes(2, hidden, spec)


def network(count=3, hidden=(4,), covariance="diagonal"):
    shapes = structure(count, hidden, covariance)
    return jax.tree.map(lambda leaf: jnp.asarray(RNG.normal(size=leaf.shape).astype(leaf.dtype)), shapes)


def model(*options, **named):
    units = [mdn.Standardizer(1.7e9 + RNG.normal(size=2), RNG.uniform(0.5, 2.0, 2)) for _ in range(2)]
    return mdn.Model(network(*options, **named), *units, ("größe", "b"), ("c", "d"))


def trained(member, model, evaluations=4, status="ok", **row):
    columns = len(model.networks)
    shape = (evaluations,) if columns == 1 else (evaluations, columns)
    history = {name: RNG.normal(size=shape) for name in ("step", "train_loss", "val_loss", "learning_rate")}
    row = {"member": member, "settings": {"seed": member, "model.hidden_sizes": [4]}, "status": status} | row
    return Trained(row | {"val_nll": float(RNG.normal()), "best_step": [3]}, model, history)


def assert_same(first, second):
    """Equal rows, models and histories, to the last bit."""
    assert first.row == second.row
    assert jax.tree.structure(first.model) == jax.tree.structure(second.model)
    for one, other in zip(jax.tree.leaves(first.model), jax.tree.leaves(second.model), strict=True):
        assert one.dtype == other.dtype and isinstance(one, np.ndarray) == isinstance(other, np.ndarray)
        assert_array_equal(one, other)
    assert first.history.keys() == second.history.keys()
    for name, column in first.history.items():
        assert second.history[name].dtype == column.dtype
        assert_array_equal(second.history[name], column)


MEMBERS = [
    trained(7, model()),
    trained(3, model()),
    trained(4, model(5, (6, 6))),
    trained(12, mdn.ensemble([model(), model()])),
    trained(5, model(2, (), "full")),
    trained(6, model(), evaluations=1, status="diverged"),  # ended before the others of its structure
    trained(8, mdn.ensemble([model(), model(5, (6, 6))]), evaluations=2),
]


@pytest.fixture
def folder(tmp_path):
    """A record of two batches, of members 3, 4, 5, 6, 7, 8, 12 and of 20, 21."""
    write_batch(tmp_path / "batches", Batch.of(MEMBERS))
    write_batch(tmp_path / "batches", Batch.of([trained(20, model()), trained(21, model())]))
    return tmp_path / "batches"


def files(folder, ending):
    """The two batches' files."""
    return sorted(folder.glob(f"*.{ending}"))


# Round trips


def test_float64_comes_back_as_it_was(tmp_path, x64):
    member = trained(1, jax.tree.map(lambda leaf: leaf.astype(np.float64), model()))
    write_batch(tmp_path, Batch.of([member]))
    assert_same(read_member(tmp_path, 1), member)


def test_members_of_several_structures_come_back(folder):
    back = read_trained(folder)
    assert sorted(back) == [3, 4, 5, 6, 7, 8, 12, 20, 21]
    for one in MEMBERS:
        assert_same(back[one.row["member"]], one)
        assert_same(read_member(folder, one.row["member"]), one)


def test_a_batch_is_two_files(folder):
    assert len(files(folder, "json")) == len(files(folder, "npz")) == 2 and len(names(folder)) == 4
    assert [path.stem for path in files(folder, "json")] == [path.stem for path in files(folder, "npz")]
    assert [int(path.name.split("-")[0]) for path in files(folder, "json")] == [3, 20]  # its first member


def test_rows_come_back_alone(folder):
    rows, damaged = read_rows(folder, thorough=True)
    assert not damaged and rows == read_rows(folder)[0]
    assert {number: rows[number] for number in (3, 7, 12)} == {
        one.row["member"]: one.row for one in MEMBERS if one.row["member"] in (3, 7, 12)
    }


def test_numbers_that_are_no_numbers_come_back(tmp_path):
    write_batch(tmp_path, Batch.of([trained(0, model(), val_nll=math.nan, test_nll=math.inf)]))
    rows, damaged = read_rows(tmp_path, thorough=True)
    assert rows[0]["test_nll"] == math.inf and not damaged


def test_a_batch_is_written_again_in_its_place(folder):
    before = content(folder)
    write_batch(folder, Batch.of(MEMBERS))
    assert content(folder) == before


def test_the_same_first_member_in_another_batch_is_another_file(folder):
    write_batch(folder, Batch.of(MEMBERS[:2]))
    assert len(files(folder, "json")) == 3 and sorted(read_rows(folder)[0]) == [3, 4, 5, 6, 7, 8, 12, 20, 21]


def test_no_record_holds_nothing(tmp_path):
    assert read_rows(tmp_path / "nowhere") == ({}, []) and read_trained(tmp_path / "nowhere") == {}
    with pytest.raises(mdn.InputError, match=r"no finished member 3: no member is finished"):
        read_member(tmp_path / "nowhere", 3)


# Damage


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path):
    packed = bytearray(path.read_bytes())
    packed[len(packed) // 2] ^= 1
    path.write_bytes(bytes(packed))


def empty(path):
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [cut, flip, empty, lambda path: path.unlink()])
def test_parameters_that_are_not_whole_count_as_not_there(folder, damage):
    arrays = files(folder, "npz")[1]
    damage(arrays)
    rows, damaged = read_rows(folder, thorough=True)
    assert sorted(rows) == [3, 4, 5, 6, 7, 8, 12] and damaged == [arrays.with_suffix(".json")]
    assert_same(read_member(folder, 7), MEMBERS[0])
    with pytest.raises(mdn.InputError, match=r"(damaged|missing): run the sweep again to train its members anew"):
        read_member(folder, 20)


@pytest.mark.parametrize("damage", [cut, flip, empty, lambda path: path.write_text("[]")])
def test_rows_that_are_not_whole_count_as_not_there(folder, damage):
    path = files(folder, "json")[1]
    damage(path)
    for thorough in (False, True):
        rows, damaged = read_rows(folder, thorough=thorough)
        assert sorted(rows) == [3, 4, 5, 6, 7, 8, 12] and damaged == [path]
    with pytest.raises(mdn.InputError, match=r"no finished member 20: finished members are 3 to 12"):
        read_member(folder, 20)
    assert sorted(read_trained(folder)) == sorted(rows)


def test_every_flipped_bit_is_found(folder):
    for path in (files(folder, "json")[1], files(folder, "npz")[1]):
        whole = path.read_bytes()
        for place in RNG.choice(len(whole), 30, replace=False):
            packed = bytearray(whole)
            packed[place] ^= 1 << int(RNG.integers(8))
            path.write_bytes(bytes(packed))
            assert sorted(read_rows(folder, thorough=True)[0]) == [3, 4, 5, 6, 7, 8, 12]
        path.write_bytes(whole)


def test_a_changed_number_is_found(folder):
    path = files(folder, "json")[0]
    path.write_text(path.read_text(encoding="utf-8").replace('"member": 7', '"member": 9'), encoding="utf-8")
    assert read_rows(folder) == ({20: read_rows(folder)[0][20], 21: read_rows(folder)[0][21]}, [path])


def test_parameters_without_rows_are_not_seen(folder):
    files(folder, "json")[0].unlink()  # a kill between the two renames
    rows, damaged = read_rows(folder, thorough=True)
    assert sorted(rows) == [20, 21] and not damaged
    write_batch(folder, Batch.of(MEMBERS))
    assert_same(read_member(folder, 7), MEMBERS[0])


def test_half_written_files_are_not_seen(folder):
    for path in [*files(folder, "json"), *files(folder, "npz")]:
        path.with_name(f".{path.name}.123.new").write_bytes(path.read_bytes()[:100])
    rows, damaged = read_rows(folder, thorough=True)
    assert len(rows) == 9 and not damaged and len(read_trained(folder)) == 9


def test_a_newer_format_is_told(folder, monkeypatch):
    monkeypatch.setattr(record, "FORMAT", 99)
    write_batch(folder, Batch.of(MEMBERS))
    monkeypatch.undo()
    with pytest.raises(mdn.InputError, match=r"format 99, which this version does not read .*: upgrade"):
        read_rows(folder)


def test_a_damaged_format_is_damage(folder):
    path = files(folder, "json")[1]
    path.write_text(path.read_text(encoding="utf-8").replace('"format": 3', '"format": 9'), encoding="utf-8")
    assert read_rows(folder)[1] == [path]


# Doors


def test_a_member_by_its_number(folder):
    sweep = folder.parent
    value = mdn.load(sweep, member=12)
    assert jax.tree.structure(value) == jax.tree.structure(MEMBERS[3].model)
    with pytest.raises(mdn.InputError, match=r"no finished member 9: finished members are 3 to 21"):
        mdn.load(sweep, member=9)
    with pytest.raises(mdn.InputError, match=r"no sweep there \(batches/ is missing\)"):
        mdn.load(sweep / "nowhere", member=9)


def test_rows_are_dropped_and_the_others_stay(folder):
    assert drop_rows(folder, lambda row: row["status"] == "diverged") == 1
    back = read_trained(folder)
    assert sorted(back) == [3, 4, 5, 7, 8, 12, 20, 21] and len(names(folder)) == 4
    for one in MEMBERS:
        if one.row["member"] != 6:
            assert_same(back[one.row["member"]], one)
    assert drop_rows(folder, lambda row: row["status"] == "diverged") == 0
    assert drop_rows(folder, lambda row: row["member"] >= 20) == 2 and len(names(folder)) == 2


def test_dropping_leaves_what_is_damaged(folder):
    cut(files(folder, "json")[1])
    assert drop_rows(folder, lambda row: True) == 7
    assert len(names(folder)) == 2

"""`mdn.sweep`: a table, stacked models, any member's model, and ensembles of them."""

from pathlib import Path

import jax
import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from small_runs import LEAST_SQUARES, config_of, names, write_table
from small_sweeps import BASE, GRID, assert_same_model, space_of

import mdn_jax as mdn
from mdn_jax import cli, runs
from mdn_jax.data import load as load_dataset
from mdn_jax.sweeps import driver, training
from mdn_jax.sweeps.results import write_ensemble
from mdn_jax.sweeps.training import Source

pytestmark = pytest.mark.usefixtures("no_sweep_figures")
AXES = {"model.hidden_sizes": [4, [3, 3]], "training.learning_rate": [1e-2, 1e30], "seed": {"count": 2}}


@pytest.fixture(scope="module")
def result(no_sweep_figures):
    """Two shapes, two seeds, and a learning rate that diverges at once."""
    return mdn.sweep(config_of(BASE), AXES)


def test_the_table(result):
    table = result.table
    assert isinstance(table, pl.DataFrame) and table.height == 8
    assert table.columns[:6] == ["member", *AXES, "val_nll", "test_nll"]
    assert table["model.hidden_sizes"].to_list() == 4 * ["4"] + 4 * ["3x3"]
    assert table["seed"].to_list() == [1, 2] * 4 and table["val_nll"].dtype == pl.Float64
    assert table["status"].to_list() == ["ok", "ok", "diverged", "diverged"] * 2


def test_the_best_is_the_lowest_validation_nll_of_those_that_finished(result):
    whole = result.table.filter(pl.col("status") == "ok").sort("val_nll")
    assert result.best == whole["member"][0]


def test_a_group_is_one_stacked_pytree(result):
    assert [group.members.tolist() for group in result.groups] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    x = np.array([0.5])
    for group in result.groups:
        assert {np.shape(leaf)[0] for leaf in jax.tree.leaves(group.models)} == {4}
        together = jax.vmap(lambda model: mdn.mean(model(x)))(group.models)
        assert together.shape == (4, 1)
        for place, member in enumerate(group.members.tolist()):
            alone = jax.tree.map(lambda leaf, place=place: leaf[place], group.models)
            assert_same_model(alone, jax.tree.map(np.asarray, result.model(member)))


def test_a_members_model_gives_its_scores(result):
    data = load_dataset(config_of(BASE).dataset)
    scores = mdn.evaluate(result.model(result.best), data.test.x, data.test.y)
    assert scores.nll.mean() == result.rows[result.best]["test_nll"]
    with pytest.raises(mdn.InputError, match=r"no member 8: numbers are 0 to 7"):
        result.model(8)


def test_members_of_any_shapes_make_one_mixture(result):
    both = mdn.ensemble([result.model(0), result.model(4)])
    x, y = np.array([0.3]), np.array([0.1])
    densities = [np.exp(float(mdn.log_prob(result.model(member)(x), y))) for member in (0, 4)]
    assert_allclose(float(mdn.log_prob(both(x), y)), np.log(np.mean(densities)), rtol=1e-4, atol=1e-5)


def test_nothing_stays_on_disk(tmp_path, monkeypatch, result):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    mdn.sweep(config_of(BASE), AXES)
    assert names(tmp_path) == []


def test_rows_of_ones_own(result):
    data = load_dataset(config_of(BASE.replace("num_points = 64", "seed = 5\nnum_points = 64")).dataset)
    own = mdn.sweep(config_of(BASE), AXES, data=data)
    text = BASE.replace("num_points = 64", "seed = 5\nnum_points = 64")
    named = mdn.sweep(config_of(text), AXES)
    assert own.table.drop("seconds").equals(named.table.drop("seconds"))
    assert not own.table.drop("seconds").equals(result.table.drop("seconds"))
    with pytest.raises(mdn.InputError, match=r"no axis can change them: drop dataset\.seed"):
        mdn.sweep(config_of(BASE), AXES | {"dataset.seed": [0, 1]}, data=data)


def test_a_folder_of_arrays_goes_on_with_the_same_ones_alone(tmp_path, monkeypatch):
    x = np.linspace(-1, 1, 80)
    y = np.sin(3 * x)
    first = mdn.sweep(config_of(BASE), AXES, data=(x, y), out=tmp_path / "sweep")
    assert {row["num_train"] + row["num_validation"] for row in first.rows.values()} == {72}  # a tenth is for the test
    monkeypatch.setattr(training, "advance", None)
    again = mdn.sweep(config_of(BASE), AXES, data=(x, y), out=tmp_path / "sweep")
    assert again.table.equals(first.table)
    assert_same_model(mdn.load(tmp_path / "sweep", member=3), first.model(3))
    given = (
        r"differ: .*data given to mdn\.sweep has changed since \(dataset\.table_checksum: \w+ -> \w+\): choose another"
    )
    order = np.random.default_rng(0).permutation(80)
    parts = {"train": mdn.Part(x[order[8:]], y[order[8:]]), "test": mdn.Part(x[order[:8]], y[order[:8]])}
    for other in ((x, y + 1e-9), mdn.Dataset(**parts)):
        with pytest.raises(mdn.InputError, match=given):
            mdn.sweep(config_of(BASE), AXES, data=other, out=tmp_path / "sweep")
    with pytest.raises(mdn.InputError, match=r"dataset\.targets: \('y0',\) -> \('height',\)"):
        mdn.sweep(config_of(BASE), AXES, data=mdn.Dataset(**parts, target_names=("height",)), out=tmp_path / "sweep")


def test_arrays_that_cannot_be_split(tmp_path):
    for x, y, line in ((np.ones(3), np.ones(2), "x has 3 rows and y has 2"), (np.ones(3), np.ones(3), "test_fraction")):
        with pytest.raises(mdn.InputError, match=line):
            mdn.sweep(config_of(BASE), AXES, data=(x, y), out=tmp_path / "sweep")
    assert names(tmp_path) == []


def test_a_folder_and_a_config_file(tmp_path, monkeypatch, result):
    (tmp_path / "small.toml").write_text(f"{BASE}\n[sweep]\n{GRID}")
    seen = []
    first = mdn.sweep(tmp_path / "small.toml", out=tmp_path / "sweep", on_progress=seen.append)
    assert (seen[0].done, seen[-1].done, seen[-1].total, seen[-1].diverged) == (0, 8, 8, 2)
    monkeypatch.setattr(training, "advance", None)
    again = mdn.sweep(tmp_path / "small.toml", out=tmp_path / "sweep")
    assert again.table.equals(first.table) and again.best == first.best
    assert_same_model(mdn.load(tmp_path / "sweep", member=3), first.model(3))
    with pytest.raises(mdn.InputError, match=r"these fields differ"):
        mdn.sweep(tmp_path / "small.toml", {"seed": [1, 2]}, out=tmp_path / "sweep")


def test_an_ensemble_is_that_of_the_best(tmp_path, no_sweep_figures):
    space = space_of(GRID)
    rows = driver.run_sweep(space, tmp_path / "sweep")
    order = sorted((m for m in rows if rows[m]["status"] == "ok"), key=lambda m: rows[m]["val_nll"])[:3]
    metrics = write_ensemble(space, tmp_path / "sweep", rows, 3, tmp_path / "ensemble", Source(load_dataset))
    expected = mdn.ensemble([mdn.load(tmp_path / "sweep", member=member) for member in order])
    assert_same_model(mdn.load(tmp_path / "ensemble"), expected)
    data = load_dataset(config_of(BASE).dataset)
    assert metrics["test_nll"] == mdn.evaluate(expected, data.test.x, data.test.y).nll.mean()
    assert metrics["test_nll"] < np.mean([rows[member]["test_nll"] for member in order])  # Jensen


def test_an_ensemble_mixes_no_data(tmp_path):
    space = space_of('"dataset.seed" = { count = 2 }\n"training.learning_rate" = [1e-2, 1e-1]\n')
    rows = driver.run_sweep(space, tmp_path / "sweep")
    metrics = write_ensemble(space, tmp_path / "sweep", rows, 2, tmp_path / "ensemble", Source(load_dataset))
    assert sorted(metrics["members"]) in ([0, 1], [2, 3])
    with pytest.raises(mdn.InputError, match=r"an ensemble of 3 asks for more than the 2 finished members"):
        write_ensemble(space, tmp_path / "sweep", rows, 3, tmp_path / "ensemble", Source(load_dataset))


@pytest.mark.parametrize(
    "values", [np.geomspace(1e-3, 1e-1, 4).tolist(), list(np.geomspace(1e-3, 1e-1, 4)), (1e-3, 1e-2)]
)
def test_values_from_python(values, monkeypatch, tmp_path):
    space = driver.read_space(config_of(BASE), {"training.learning_rate": values}, "sweep", tmp_path)
    driver.claim(space, tmp_path / "sweep", overwrite=False)
    assert driver.open_space(tmp_path / "sweep").axes == space.axes
    assert_array_equal(space.axes[0].values, np.array(values))


def test_what_the_front_door_refuses():
    with pytest.raises(mdn.InputError, match=r"sweep: \[sweep\] has no axis"):
        mdn.sweep(config_of(BASE))
    with pytest.raises(mdn.InputError, match=r"no field 'model.num_component' to vary: did you mean"):
        mdn.sweep(config_of(BASE), {"model.num_component": [1]})
    with pytest.raises(mdn.InputError, match=r"nowhere.toml: no such config file"):
        mdn.sweep("nowhere.toml")


def test_a_sweep_knows_its_table_again(tmp_path, monkeypatch, no_figures):
    monkeypatch.chdir(tmp_path)
    write_table("table.csv")
    (tmp_path / "sweep.toml").write_text(LEAST_SQUARES + "[sweep]\nseed = { count = 2 }\n")
    first = mdn.sweep("sweep.toml", out="runs/sweep").rows
    assert mdn.sweep("sweep.toml", out="runs/sweep").rows == first
    write_table("table.csv", 41)
    with pytest.raises(
        mdn.InputError, match=r"another sweep; .*table.csv has changed since \(dataset.table_checksum: "
    ):
        mdn.sweep("sweep.toml", out="runs/sweep")


def test_tables_may_be_an_axis_and_are_known_again(tmp_path, monkeypatch, no_figures):
    monkeypatch.chdir(tmp_path)
    write_table("table.csv")
    write_table("longer.csv", 60)
    config, _ = runs.resolve(runs.read_config(_written("sweep.toml", LEAST_SQUARES))[0])
    assert config.dataset.table_checksum  # of one table, and none of the other's
    axes = {"dataset.path": ["table.csv", "longer.csv"], "seed": {"count": 2}}
    rows = mdn.sweep(config, axes, out="runs/sweep").rows
    assert len({row["test_nll"] for row in rows.values()}) == 4
    best, _ = runs.read_config(tmp_path / "runs" / "sweep" / "best" / "config.toml")
    assert runs.run(best, tmp_path / "runs" / "sweep" / "best")["status"] == "ok"  # finished
    assert cli.main(["sweep", "runs/sweep", "--export", "1"]) == 0
    assert mdn.sweep(config, axes, out="runs/sweep").rows == rows
    write_table("longer.csv", 61)
    with pytest.raises(mdn.InputError, match=r"another sweep; .*dataset.table_checksum"):
        mdn.sweep(config, axes, out="runs/sweep")
    assert cli.main(["sweep", "runs/sweep", "--export", "2"]) == 2
    assert cli.main(["sweep", "runs/sweep", "--status"]) == 0


def _written(name, text):
    path = Path(name)
    path.write_text(text)
    return path

"""A recipe fills what a config does not say: explicit fields stand, and what was resolved needs no recipe any more."""

import json
import tomllib

import pytest
from small_runs import write_table

import mdn_jax as mdn
from mdn_jax import ModelConfig, TrainingConfig, cli, recipe, runs
from mdn_jax.cli import running
from mdn_jax.cli.flags import said_by
from mdn_jax.config import Config, differences, parse

TABLE = """
recipe = "table"

[dataset]
path = "table.csv"
inputs = ["speed"]
targets = ["distance"]
"""


def tiny(num_rows, num_inputs):
    """A recipe whose numbers tell what it was asked, small enough to run."""
    model = ModelConfig(num_components=num_inputs + 1, hidden_sizes=(3,))
    training = TrainingConfig(
        num_steps=4, evaluate_every=2, batch_size=num_rows, ensemble_size=2, validation="own", patience=9, averaging=0.5
    )
    return model, training


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working directory with a table of 40 rows, 36 of them to train on, and a config that leaves all else."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(recipe.table, "table_recipe", tiny)
    write_table("table.csv")
    (tmp_path / "small.toml").write_text(TABLE)
    return tmp_path


@pytest.fixture
def resolved(place, monkeypatch):
    """What the command line would run, after its recipe."""
    seen = []
    monkeypatch.setattr(runs, "run", lambda config, *_, **__: seen.append(config) or {"status": "ok"})
    monkeypatch.setattr(running, "_print_metrics", lambda *_: None)

    def resolve(*arguments, text=TABLE):
        (place / "small.toml").write_text(text)
        assert cli.main(["run", "small.toml", *arguments]) == 0
        return seen[-1]

    return resolve


# What is said stands


@pytest.mark.parametrize("num_inputs", [1, 90])
@pytest.mark.parametrize("num_rows", [10, 1_000, 9_000, 500_000])
def test_the_recipe_is_a_config_that_can_be_trained(num_rows, num_inputs):
    model, training = mdn.table_recipe(num_rows, num_inputs)
    assert mdn.table_recipe(num_rows, num_inputs) == (model, training)
    table = {"dataset": {"name": "sinusoid"}, "model": model.to_dict(), "training": training.to_dict()}
    assert Config.model_validate(table).training == training
    assert training.objective == "nll"  # the likelihood alone serves missing targets


def test_a_recipe_fills_all_that_is_not_said(resolved):
    config = resolved()
    assert config.model == tiny(36, 1)[0] and config.training == tiny(36, 1)[1]
    assert config.recipe == "table" and config.seed == 0


SIZES = ("--model.hidden-sizes", "32", "32")


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("[model]\nhidden_sizes = [32, 32]\n[training]\nnum_steps = 4_000\naveraging = 0.0\n", ()),
        ("", (*SIZES, "--training.num_steps=4000", "--training.averaging", "0")),
        ("[model]\nhidden_sizes = [7]\n[training]\naveraging = 0.0\n", (*SIZES, "--training.num-steps", "4000")),
    ],
)
def test_what_is_said_wins_though_it_is_the_default(resolved, text, arguments):
    config = resolved(*arguments, text=TABLE + text)
    said = {"num_steps": 4_000, "averaging": 0.0}
    assert config.model == tiny(36, 1)[0].model_copy(update={"hidden_sizes": (32, 32)})
    assert config.training == tiny(36, 1)[1].model_copy(update=said)
    assert (
        config.training.num_steps == TrainingConfig().num_steps
        and config.model.hidden_sizes == ModelConfig().hidden_sizes
    )


def test_the_recipe_counts_rows_and_inputs_after_encoding(resolved):
    write_table("table.csv", count=60)
    more = 'categorical = ["speed"]\ntest_fraction = 0.5\n'
    assert resolved(text=TABLE + more).model.num_components == 31  # the kinds of 30 training rows, and one


def test_without_a_recipe_nothing_is_filled_and_nothing_read(resolved, monkeypatch):
    monkeypatch.setattr(recipe.table, "table_recipe", None)
    config, dataset = runs.fill_in(parse(TABLE.replace('recipe = "table"', ""), "small")[0])
    assert dataset is None
    (runs.configs.Path("table.csv")).unlink()
    config = resolved(text=TABLE.replace('recipe = "table"', ""))
    assert config.model == ModelConfig() and config.training == TrainingConfig()


def test_a_recipe_by_flag_and_for_a_built_in_problem(resolved):
    config = resolved("--recipe", "table", text='dataset.name = "sinusoid"\ndataset.num_points = 50\n')
    assert config.model == tiny(50, 1)[0] and config.training.batch_size == 50


def test_what_was_said_is_told_from_what_was_parsed():
    config = parse('dataset.name = "sinusoid"\n[training]\nnum_steps = 7\n', "t")[0]
    values = {
        "seed": 3,
        "training": {"num_steps": 7, "learning_rate": 0.1, "batch_size": 128},
        "model": {"min_std": 0.1},
    }
    said = said_by(values, config, ["--training.learning-rate=0.1", "--model.min_std", "0.1", "5", "-x"])
    assert said == {"seed": 3, "training": {"num_steps": 7, "learning_rate": 0.1}, "model": {"min_std": 0.1}}


# What was resolved


def test_a_resolved_config_is_complete(place):
    config, dataset = runs.resolve(runs.read_config(place / "small.toml")[0])
    assert dataset is not None and len(dataset.train) == 36 and recipe.is_complete(config)
    plain = config.model_copy(update={"training": config.training.model_copy(update={"patience": None})})
    for one in (config, plain):  # TOML has no word for None
        again = parse(runs.running.tomli_w.dumps(one.to_dict()), "again")[0]
        assert recipe.is_complete(again) and differences(one, again) == []
        assert runs.resolve(again) == (again, None)
    assert not recipe.is_complete(runs.read_config(place / "small.toml")[0])


def test_a_run_is_recognised_and_its_config_gives_the_same_numbers(place, no_figures, monkeypatch, capsys):
    assert cli.main(["run", "small.toml", "--training.patience", "5"]) == 0
    first = json.loads((place / "runs/small/metrics.json").read_text())
    written = tomllib.loads((place / "runs/small/config.toml").read_text())
    assert written["training"]["patience"] == 5 and written["model"]["num_components"] == 2
    assert first["num_train"] + first["num_validation"] == 36
    # what was resolved needs neither the recipe nor, once it is finished, the data
    (place / "copy.toml").write_bytes((place / "runs/small/config.toml").read_bytes())
    monkeypatch.setattr(recipe.table, "table_recipe", None)
    assert cli.main(["run", "copy.toml", "--out", "again"]) == 0
    second = json.loads((place / "again/metrics.json").read_text())
    for name in ("test_nll", "test_rmse", "val_nll", "best_step", "num_train", "num_parameters"):
        assert first[name] == second[name], name
    assert (place / "again/config.toml").read_bytes() == (place / "runs/small/config.toml").read_bytes()
    monkeypatch.setattr(runs.running, "advance", None)
    capsys.readouterr()
    (place / "table.csv").rename(place / "moved.csv")
    assert cli.main(["run", "copy.toml", "--out", "again"]) == 0
    (place / "moved.csv").rename(place / "table.csv")
    monkeypatch.setattr(recipe.table, "table_recipe", tiny)
    assert cli.main(["run", "small.toml", "--training.patience", "5"]) == 0
    assert f"{first['test_nll']:.4f}" in capsys.readouterr().out


# Mistakes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (TABLE.replace('"table"\n', '"tabel"\n', 1), "recipe: input should be 'table'; got 'tabel'"),
        (TABLE + "[training]\nobjective = 'squared_error'\n", "set model.num_components = 1"),
        (TABLE.replace("table.csv", "nowhere.csv"), "nowhere.csv: no such file"),
    ],
)
def test_a_mistake_is_one_line(place, capsys, no_training, text, message):
    (place / "small.toml").write_text(text)
    assert cli.main(["run", "small.toml"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and message in lines[0]
    assert not (place / "runs").exists()

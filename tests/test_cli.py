"""The command line: exit codes, one line for each mistake, typed overrides, a run that goes on."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_runs import FOLDER, LEAST_SQUARES, TEXT, config_of, names, write_table

from mdn_jax import cli, runs
from mdn_jax.cli import running

HERE = Path(__file__).parent


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working directory with a config and a table."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.toml").write_text(TEXT)
    (tmp_path / "least_squares.toml").write_text(LEAST_SQUARES)
    write_table("table.csv")
    return tmp_path


def complaint(capsys, arguments):
    """The one line that a mistake prints on standard error, with exit code 2 and nothing trained."""
    code = cli.main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    assert code == 2 and printed.out == ""
    lines = printed.err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("mdn-jax: "), printed.err
    return lines[0].removeprefix("mdn-jax: ")


# Runs


def test_a_run_prints_its_numbers_and_again_without_training(place, capsys, monkeypatch):
    assert cli.main(["run", "small.toml"]) == 0
    first = capsys.readouterr().out
    metrics = json.loads((place / "runs/small/metrics.json").read_text())
    assert names("runs/small") == FOLDER
    for part in ("runs/small", "status", "test NLL", f"{metrics['test_nll']:.4f}", "RMSE, y", "runs/small/figures"):
        assert part in first
    monkeypatch.setattr(runs.running, "advance", None)
    assert cli.main(["run", "small.toml"]) == 0
    again = "this run was finished before: nothing was trained (--overwrite trains again)\n"
    assert capsys.readouterr().out == first + again
    before = {path: path.stat().st_mtime_ns for path in (place / "runs/small/figures").iterdir()}
    assert cli.main(["plot", "runs/small"]) == 0
    assert sorted(capsys.readouterr().out.split()) == sorted(f"runs/small/figures/{path.name}" for path in before)
    assert all(path.stat().st_mtime_ns > before[path] for path in before)


def test_a_dry_run_tells_what_the_run_will_have_and_writes_nothing(place, capsys, no_figures):
    before = names(".")
    assert cli.main(["run", "small.toml", "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert names(".") == before
    assert cli.main(["run", "small.toml"]) == 0
    metrics = json.loads((place / "runs/small/metrics.json").read_text())
    assert f"of {metrics['num_parameters']:,} parameters" in told
    assert f"rows: {metrics['num_train'] + metrics['num_validation']:,} to train on, {metrics['num_test']:,}" in told


def test_the_resolved_config_elsewhere_gives_the_same_nll(place, no_figures):
    assert cli.main(["run", "least_squares.toml", "--out", "here"]) == 0
    elsewhere = place / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "copy.toml").write_bytes((place / "here/config.toml").read_bytes())
    assert cli.main(["run", str(elsewhere / "copy.toml"), "--out", "there"]) == 0
    first, second = (json.loads((place / name / "metrics.json").read_text()) for name in ("here", "there"))
    assert first["test_nll"] == second["test_nll"] and first["num_parameters"] == 17


def test_typed_overrides(place, no_figures, monkeypatch):
    seen = []

    def record(config, folder, **options):
        seen.append((config, folder, options["overwrite"]))
        return {"status": "ok"}

    monkeypatch.setattr(runs, "run", record)
    monkeypatch.setattr(running, "_print_metrics", lambda *_: None)
    arguments = """
        run small.toml --model.num-components 3 --model.hidden-sizes 8 8 --training.batch-size full --out there
        --training.patience 5 --training.learning-rate 3e-3 --training.clip-norm inf --seed 7 --overwrite
        --dataset.name bishop --model.covariance full --training.optimizer adamw
    """
    assert cli.main(arguments.split()) == 0
    config, folder, overwrite = seen[-1]
    assert (config.model.num_components, config.model.hidden_sizes, config.model.covariance) == (3, (8, 8), "full")
    assert (config.training.batch_size, config.training.patience, config.training.optimizer) == ("full", 5, "adamw")
    assert (config.training.learning_rate, config.training.clip_norm) == (3e-3, float("inf"))
    assert (config.seed, config.dataset.name, config.dataset.num_points) == (7, "bishop", 64)
    assert config.training.num_steps == 40  # of the file
    assert (folder, overwrite) == (Path("there"), True)
    assert (
        cli.main(
            ["run", "small.toml", "--training.batch-size", "32", "--training.patience", "None", "--model.hidden-sizes"]
        )
        == 0
    )
    config, folder, overwrite = seen[-1]
    assert (config.training.batch_size, config.training.patience, config.model.hidden_sizes) == (32, None, ())
    assert (folder, overwrite) == (Path("runs/small"), False)
    assert cli.main(["run", "small.toml"]) == 0
    assert seen[-1][0] == config_of()


def test_options_on_the_line(place, no_figures, monkeypatch):
    seen = []
    monkeypatch.setattr(runs, "run", lambda config, *_, **__: seen.append(config) or {"status": "ok"})
    monkeypatch.setattr(running, "_print_metrics", lambda *_: None)
    (place / "own.toml").write_text(TEXT + 'objective = "own.py:loss"\n[model.network_options]\na = 1\n')
    arguments = ["run", "own.toml", "--model.network-options.drop-out", "0.2", "--model.head-options.kind=[1, 'b']"]
    arguments += [
        "--dataset.options.shape",
        "circle",
        "--dataset.name",
        "own.py:rings",
        "--model.network",
        "net.py:build",
    ]
    assert cli.main(arguments) == 0
    config = seen[-1]
    assert config.model.network_options == {"a": 1, "drop_out": 0.2}
    assert config.model.head_options == {"kind": (1, "b")} and config.dataset.options == {"shape": "circle"}
    assert config.model.network == f"{place}/net.py:build" and config.training.objective == f"{place}/own.py:loss"


def test_a_sweep_table_is_ignored_by_run(place, no_figures, monkeypatch):
    (place / "swept.toml").write_text(TEXT + '[sweep]\n"model.num_components" = [1, 2]\nseed.count = 3\n')
    seen = []
    monkeypatch.setattr(runs, "run", lambda config, *_, **__: seen.append(config) or {"status": "ok"})
    monkeypatch.setattr(running, "_print_metrics", lambda *_: None)
    assert cli.main(["run", "swept.toml"]) == 0
    assert seen == [config_of()]


def test_a_diverged_run_writes_its_folder_and_exits_with_1(place, no_figures, capsys):
    arguments = ["run", "small.toml", "--training.optimizer", "sgd", "--training.learning-rate", "1e30", "--out", "bad"]
    assert cli.main(arguments) == 1
    assert "try a lower learning rate" in capsys.readouterr().out
    assert names("bad") == FOLDER
    assert json.loads((place / "bad/metrics.json").read_text())["status"] == "diverged"
    assert cli.main(arguments) == 1  # found finished: the same answer


INTERRUPTED = """
import os, signal, sys
from mdn_jax import cli, runs
from mdn_jax.cli import running

advance = runs.running.advance

def interrupt(state):
    result = advance(state)
    if result[0].step == 20:
        os.kill(os.getpid(), signal.SIGINT)
    return result

runs.running.advance = interrupt
sys.exit(cli.main(sys.argv[1:]))
"""


def test_control_c_exits_with_130_and_the_same_command_goes_on(place, no_figures, monkeypatch):
    arguments = [sys.executable, "-c", INTERRUPTED, "run", "small.toml"]
    done = subprocess.run(arguments, cwd=place, capture_output=True, text=True, check=False)
    assert done.returncode == 130, done.stderr
    assert (
        "interrupted; the same command (without --overwrite) goes on from here" in done.stderr
        and "Traceback" not in done.stderr
    )
    assert names("runs/small") == ["checkpoint", "config.toml"]
    steps, advance = [], runs.running.advance

    def count(state):
        steps.append(state.step)
        return advance(state)

    monkeypatch.setattr(runs.running, "advance", count)
    assert cli.main(["run", "small.toml"]) == 0
    assert steps[0] in (10, 20) and names("runs/small") == FOLDER  # the signal may cut the second chunk short


# Mistakes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("rum small.toml", "unknown command 'rum': did you mean 'run'?"),
        ("--verbose", "unknown command '--verbose'"),
        ("run", "run takes a config file first"),
        ("run --seed 3", "run takes a config file first"),
        ("run missing.toml", "missing.toml: no such config file"),
        ("run .", ". is a folder: give a config file (.toml)"),
        ("run small.toml --model.num-component 3", "unknown option '--model.num-component': did you mean '--model.num"),
        ("run small.toml --trainign.num-steps=3", "unknown option '--trainign.num-steps': did you mean '--training.nu"),
        ("run small.toml extra", "unknown option 'extra'"),
        ("run small.toml --model.num-components three", "three"),
        ("run small.toml --model.num-components 2.5", "2.5"),
        ("run small.toml --model.num-components 0", "model.num_components: input should be greater than or equal to 1"),
        ("run small.toml --model.hidden-sizes 8 -1", "hidden"),
        ("run small.toml --training.learning-rate nan", "training.learning_rate: "),
        ("run small.toml --training.learning-rate -1", "training.learning_rate: input should be greater than 0"),
        ("run small.toml --training.optimizer adan", "adan"),
        ("run small.toml --training.objective squared_error", "set model.num_components = 1, not 2"),
        ("run small.toml --dataset.options.noise", "--dataset.options.noise takes a value, as TOML writes it"),
        ("run small.toml --dataset.options.wind 1", "dataset.options.wind: the function takes no 'wind'"),
        ("run small.toml --dataset.option.noise 1", "unknown option '--dataset.option.noise'"),
        ("run small.toml --model.network mpl", "command line: model.network: no network 'mpl': did you mean 'mlp'?"),
        ("run small.toml --dataset.name own.py:f", "/own.py: no such file: give the path of a Python file"),
        ("run small.toml --dataset.name sinusiod", "no built-in problem 'sinusiod': did you mean 'sinusoid'?"),
        ("run small.toml --training.num-steps", "num-steps"),
        ("run least_squares.toml --dataset.targets distanse", "no column 'distanse': did you mean 'distance'?"),
        ("run least_squares.toml --dataset.path nowhere.csv", "nowhere.csv: no such file"),
        (
            "run least_squares.toml --dataset.name sinusoid",
            "a built-in problem has its own columns: drop them, or name",
        ),
        ("plot", "run"),
        ("plot nowhere", "nowhere: no finished run there (metrics.json is missing)"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(place, capsys, no_training, arguments, message):
    assert message in complaint(capsys, arguments.split())
    assert not (place / "runs").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (TEXT.replace("seed = 1", "seed = "), "not valid TOML: Invalid value (at line 2, column 8)"),
        (TEXT.replace("num_points", "num_pionts"), "unknown key 'dataset.num_pionts': did you mean 'num_points'?"),
        (b"\x89PNG\r\n\x1a\n\xff", "not a text file in UTF-8"),
        ("", "missing [dataset]"),
    ],
)
def test_a_mistake_in_a_config_is_one_line(place, capsys, no_training, content, message):
    (place / "bad.toml").write_bytes(content if isinstance(content, bytes) else content.encode())
    line = complaint(capsys, ["run", "bad.toml"])
    assert line.startswith("bad.toml: ") and message in line


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("speed,distance\n" + "1,2\n" * 5, "number of rows is 5, too few"),
        ("speed,distance\n" + "1,far\n" * 20, "column 'distance', row 1: 'far' is not a number"),
        ("speed,distance\n" + "1,nan\n" * 20, "column 'distance': 20 values are missing, first in row 1"),
        ("speed\n" + "1\n" * 20, "no column 'distance'"),
        ("", "the file is empty"),
    ],
)
def test_a_mistake_in_a_table_is_one_line(place, capsys, no_training, table, message):
    (place / "table.csv").write_text(table)
    line = complaint(capsys, ["run", "least_squares.toml"])
    assert "table.csv" in line and message in line
    assert not (place / "runs").exists()


def test_a_folder_that_is_taken(place, capsys, no_figures):
    assert cli.main(["run", "small.toml", "--out", "taken"]) == 0
    capsys.readouterr()
    line = complaint(capsys, ["run", "small.toml", "--out", "taken", "--seed", "9", "--training.num-steps", "50"])
    assert line.startswith("taken holds another run; these fields differ: seed: 1 -> 9; training.num_steps: 40 -> 50")
    assert cli.main(["run", "small.toml", "--out", "taken", "--seed", "9", "--overwrite"]) == 0
    capsys.readouterr()
    for options in ([], ["--overwrite"]):
        line = complaint(capsys, ["run", "small.toml", "--out", ".", *options])
        assert ". is not a run folder (no config.toml)" in line
    assert "small.toml" in names(".")


# Help


def test_help_of_the_whole(capsys):
    for arguments in ([], ["--help"], ["-h"]):
        assert cli.main(arguments) == 0
        printed = capsys.readouterr().out
        assert "mdn-jax run CONFIG" in printed and "mdn-jax plot RUN" in printed


def test_the_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.strip().count(".") == 2


def test_help_of_the_module_exits_with_0(place):
    command = [sys.executable, "-m", "mdn_jax", "run", "small.toml", "--help"]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--seed" in done.stdout and "Gaussians in the mixture" in done.stdout and not done.stderr
    assert not (place / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--help"], ["mdn-jax run CONFIG"]),
        (
            ["run", "--help"],
            [
                "--model.num-components",
                "--training.learning-rate",
                "--overwrite",
                "Optax optimizer",
                "--dataset.options.NAME",
            ],
        ),
        (["run", "small.toml", "--help"], ["--seed", "Gaussians in the mixture"]),
        (["plot", "--help"], ["The run's folder"]),
    ],
)
def test_help_exits_with_0(place, capsys, arguments, parts):
    try:
        code = cli.main(arguments)
    except SystemExit as left:
        code = left.code
    printed = capsys.readouterr()
    assert code == 0, printed.err
    assert all(part in printed.out for part in parts) and not printed.err
    assert not (place / "runs").exists()


def test_another_table_on_the_line_has_a_checksum_of_its_own(tmp_path, monkeypatch, no_figures, capsys):
    monkeypatch.chdir(tmp_path)
    write_table("table.csv")
    write_table("longer.csv", 60)
    Path("small.toml").write_text(LEAST_SQUARES)
    assert cli.main(["run", "small.toml", "--out", "first"]) == 0
    assert cli.main(["run", "first/config.toml", "--out", "second", "--dataset.path", "longer.csv"]) == 0
    noted = [runs.read_config(Path(name) / "config.toml")[0].dataset.table_checksum for name in ("first", "second")]
    assert all(noted) and noted[0] != noted[1]
    write_table("table.csv", 41)
    assert cli.main(["run", "small.toml", "--out", "first"]) == 2
    assert "table.csv has changed since" in capsys.readouterr().err


def test_programs_that_are_read_again_say_nothing(tmp_path):
    code = """
from mdn_jax import cli
cli.main(["--version"])
import jax, jax.numpy as jnp
print(jax.jit(lambda x: jnp.sort(jax.random.normal(jax.random.key(0), x.shape) + x))(jnp.ones((9, 9))).shape)
"""
    environment = {name: value for name, value in os.environ.items() if name != "JAX_ENABLE_COMPILATION_CACHE"}
    environment["XDG_CACHE_HOME"] = str(tmp_path)
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        assert done.stderr == "" and any(tmp_path.rglob("jit_*"))

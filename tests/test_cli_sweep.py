"""`mdn-jax sweep`: what it prints and writes, one line for each mistake, and signals after which the same goes on."""

import json
import os
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from filelock import FileLock
from small_runs import FOLDER, LEAST_SQUARES, TEXT, content, names, write_table
from small_sweeps import BASE, GRID, TPE, assert_same_sweep, table_of

import mdn_jax as mdn
from mdn_jax import cli, runs
from mdn_jax.cli import sweeping
from mdn_jax.storage import read_rows
from mdn_jax.sweeps import planning, training

pytestmark = pytest.mark.usefixtures("no_sweep_figures")
HERE = Path(__file__).parent
CONFIG = f"{BASE}\n[sweep]\n{GRID}"
SECTION = "\n[sweep]\n"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working directory with the config of a sweep."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.toml").write_text(CONFIG)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


@pytest.fixture(scope="module")
def finished(tmp_path_factory, no_sweep_figures):
    """A finished sweep's folder, and what the command printed."""
    folder = tmp_path_factory.mktemp("cli")
    (folder / "small.toml").write_text(CONFIG)
    assert cli.main(["sweep", str(folder / "small.toml"), "--out", str(folder / "sweep")]) == 0
    return folder / "sweep"


@pytest.fixture
def no_members_train(monkeypatch):
    """Sweeps that fail where they would train."""
    monkeypatch.setattr(training, "advance", None)
    monkeypatch.setattr(training, "compile_chunk", None)


def said(capsys, arguments, code=0):
    """What a command prints, in words."""
    assert cli.main([str(argument) for argument in arguments]) == code
    printed = capsys.readouterr()
    return " ".join(printed.out.split())


def complaint(capsys, arguments):
    """The one line that a mistake prints on standard error, with exit code 2."""
    code = cli.main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    lines = printed.err.splitlines()
    assert code == 2 and printed.out == "" and len(lines) == 1 and lines[0].startswith("mdn-jax: "), printed
    return lines[0].removeprefix("mdn-jax: ")


# Sweeps


def test_a_sweep_prints_its_best_and_again_without_training(place, capsys, finished, monkeypatch):
    first = said(capsys, ["sweep", "small.toml"])
    assert_same_sweep(place / "runs/small", finished)
    rows, _ = read_rows(place / "runs/small/batches")
    best = min((m for m in rows if rows[m]["status"] == "ok"), key=lambda m: rows[m]["val_nll"])
    for part in (
        "runs/small: the best of 8 members, by validation NLL", "learning_rate", f"{rows[best]['val_nll']:.4f}",
        "6 ok, 2 diverged", "runs/small/results.csv", "runs/small/figures", "runs/small/best",
    ):  # fmt: skip
        assert part in first
    monkeypatch.setattr(training, "advance", None)
    before = content(place / "runs/small/batches")
    assert said(capsys, ["sweep", "small.toml"]) == first
    assert said(capsys, ["sweep", "runs/small"]) == first  # the folder is a config too
    assert content(place / "runs/small/batches") == before


def test_progress_in_a_log(place, capsys):
    assert cli.main(["sweep", "small.toml"]) == 0
    printed = capsys.readouterr().err
    assert "0 of 8 members done" in printed and "\x1b" not in printed


def test_the_status(finished, capsys, no_members_train):
    before = content(finished)
    printed = said(capsys, ["sweep", finished, "--status"])
    rows, _ = read_rows(finished / "batches")
    best = min(row["val_nll"] for row in rows.values() if row["status"] == "ok")
    assert f"8 of 8 members done, 2 diverged, best val NLL {best:.4f} left: 0" in printed
    assert content(finished) == before


def test_a_dry_run_says_what_would_be_and_writes_nothing(place, capsys, no_members_train):
    (place / "shapes.toml").write_text(CONFIG + '"model.num_components" = [2, 3]\n"model.hidden_sizes" = [4, [4, 4]]\n')
    printed = said(capsys, ["sweep", "shapes.toml", "--dry-run"])
    assert "32 members, 4 compiled programs" in printed
    for part in ("model.num_components", "model.hidden_sizes", "(4, 4)", "MiB", "roughly"):
        assert part in printed
    (place / "tpe.toml").write_text(BASE + SECTION + TPE)
    printed = said(capsys, ["sweep", "tpe.toml", "--dry-run"])
    assert "8 members, 1 compiled programs" in printed and "tpe asks again after every 4 members" in printed
    (place / "many.toml").write_text(BASE + SECTION + "seed = { count = 6000 }\n")
    assert "6,000 members" in said(capsys, ["sweep", "many.toml", "--dry-run"])
    assert names(place) == ["many.toml", "shapes.toml", "small.toml", "tpe.toml"]


def test_a_member_as_a_run(finished, capsys, no_members_train, no_training):
    printed = said(capsys, ["sweep", finished, "--export", "3"])
    folder = finished / "members/3"
    rows, _ = read_rows(finished / "batches")
    assert names(folder) == FOLDER and f"test NLL {rows[3]['test_nll']:.4f} nats per row" in printed
    config, _ = runs.read_config(folder / "config.toml")
    assert (config.training.learning_rate, config.seed) == (1e-2, 2)
    assert runs.run(config, folder)["val_nll"] == rows[3]["val_nll"]
    line = complaint(capsys, ["sweep", finished, "--export", "99"])
    assert "no finished member 99: finished members are 0 to 7" in line


def test_an_ensemble_of_the_best(finished, capsys, no_members_train):
    printed = said(capsys, ["sweep", finished, "--ensemble", "3"])
    metrics = json.loads((finished / "ensemble-3/metrics.json").read_text())
    rows, _ = read_rows(finished / "batches")
    order = sorted((m for m in rows if rows[m]["status"] == "ok"), key=lambda m: rows[m]["val_nll"])
    assert metrics["members"] == order[:3] and f"{metrics['test_nll']:.4f}" in printed
    assert metrics["gap_to_oracle"] == pytest.approx(metrics["test_nll"] - metrics["oracle_nll"])
    assert len(mdn.load(finished / "ensemble-3").networks) == 3
    for count, message in ((7, "an ensemble of 7 asks for more than the 6 finished"), (0, "1 or more; got 0")):
        assert message in complaint(capsys, ["sweep", finished, "--ensemble", count])


def test_a_study_for_the_dashboard(finished, capsys, tmp_path):
    assert "8 trials" in said(capsys, ["sweep", finished, "--export-optuna", tmp_path / "study.journal"])
    backend = optuna.storages.journal.JournalFileBackend(str(tmp_path / "study.journal"))
    study = optuna.load_study(study_name="sweep", storage=optuna.storages.JournalStorage(backend))
    assert len(study.trials) == 8 and len(study.best_trials) == 1
    again = complaint(capsys, ["sweep", finished, "--export-optuna", tmp_path / "study.journal"])
    assert "study.journal is there already: delete it, or export elsewhere" in again


def test_diverged_members_again(place, capsys, finished):
    assert cli.main(["sweep", "small.toml"]) == 0
    capsys.readouterr()
    assert "2 diverged members train again" in said(capsys, ["sweep", "small.toml", "--retry", "diverged"])
    assert_same_sweep("runs/small", finished)
    before = content("runs/small")
    with FileLock("runs/small/.lock-1-of-1"):
        assert "another process is at work" in complaint(capsys, ["sweep", "runs/small", "--retry", "diverged"])
    assert content("runs/small") == before


def test_shards(place, capsys, finished):
    first = said(capsys, ["sweep", "small.toml", "--shard", "2/2"])
    assert first == "shard 2-of-2: done; 4 members are left to other shards, the last of which writes the results"
    printed = said(capsys, ["sweep", "small.toml", "--status"])
    assert "4 of 8 members done" in printed and "left: 4" in printed
    assert "the best of 8 members" in said(capsys, ["sweep", "small.toml", "--shard", "1/2"])
    assert_same_sweep("runs/small", finished)


def test_fields_on_the_command_line(place, capsys):
    (place / "random.toml").write_text(BASE + SECTION + 'sampler = "random"\nnum_members = 9\nseed = { count = 99 }\n')
    line = "sweep random.toml --sweep.num-members 8 --training.learning-rate 0.02 --out there"
    assert "the best of 8 members" in said(capsys, line.split())
    assert len(table_of("there")) == 8
    config, table = runs.read_config(place / "there/config.toml")
    assert config.training.learning_rate == 0.02 and table["num_members"] == 8
    line = complaint(capsys, ["sweep", "random.toml", "--sweep.num-members", "7", "--out", "there"])
    assert "these fields differ: " in line
    assert "sweep.num_members: 8 -> 7" in line and "training.learning_rate: 0.02 -> 0.01" in line


def test_tables_are_found_beside_the_config(place, capsys, monkeypatch):
    (place / "below").mkdir()
    text = LEAST_SQUARES.replace("[5]", "[4]") + SECTION + '"dataset.path" = ["one.csv", "two.csv"]\n'
    (place / "below/tables.toml").write_text(text)
    for name in ("one", "two"):
        write_table(place / f"below/{name}.csv")
    printed = said(capsys, ["sweep", "below/tables.toml", "--dry-run"])
    assert "2 members, 2 compiled programs" in printed and str(place / "below/one.csv") in printed.replace(" ", "")


# Mistakes

MISTAKES = [
    ("sweep", "sweep takes a config file or a sweep's folder first"),
    ("sweep --status", "sweep takes a config file or a sweep's folder first"),
    ("sweep missing.toml", "missing.toml: no such config file"),
    ("sweep .", ".: no sweep there (config.toml is missing)"),
    ("sweep run.toml", "run.toml has no [sweep] table: add one, for example seed = { count = 8 }"),
    ("sweep small.toml --satus", "unknown option '--satus': did you mean '--status'?"),
    (
        "sweep small.toml --sweep.num-member 3",
        "unknown option '--sweep.num-member': did you mean '--sweep.num-members'",
    ),
    ("sweep small.toml --sweep.num-members 3", "a grid has as many members as combinations: drop num_members"),
    ("sweep small.toml --training.learning-rate 0.1", "training.learning_rate is an axis of this sweep: change its"),
    ("sweep small.toml --seed 4", "seed is an axis of this sweep: change its values in [sweep]"),
    ("sweep small.toml --model.num-components 0", "model.num_components: input should be greater than or equal to 1"),
    ("sweep small.toml --dataset.name sinusiod", "no built-in problem 'sinusiod': did you mean 'sinusoid'?"),
    ("sweep small.toml --shard 3/2", "--shard takes I/N with I from 1 to N, for example 1/4; got '3/2'"),
    ("sweep small.toml --shard 1/2 --cluster auto", "--shard and --cluster are two ways to share a sweep: use one"),
    ("sweep small.toml --retry diverged", "runs/small: no sweep there"),
    ("sweep small.toml --retry okay", "okay"),
    ("sweep small.toml --status", "runs/small: no sweep there (config.toml is missing)"),
    ("sweep small.toml --export 3", "runs/small: no sweep there (config.toml is missing)"),
    ("sweep small.toml --out thesis.tex", "thesis.tex is a file: choose another folder with --out"),
    ("sweep small.toml --out .", "and is no sweep's folder: choose another with --out"),
    ("sweep small.toml --out . --overwrite", "and is no sweep's folder: choose another with --out"),
    ("sweep many.toml", "this sweep has 5,001 members, more than 5,000: add --yes if that is meant"),
    ("sweep tpe.toml --shard 1/2", "--shard trains fixed slices, and sampler tpe asks again after each round"),
    ("sweep unknown.toml", "unknown.toml: [sweep] has no field 'model.num_component' to vary: did you mean"),
    ("sweep empty.toml", "empty.toml: sweep axis 'seed' is empty: give at least one value"),
    ("sweep range.toml", "range.toml: sweep axis 'training.learning_rate' is a range, and a grid takes lists"),
    (
        "sweep value.toml",
        "value.toml: sweep axis 'model.num_components': model.num_components: input should be greater",
    ),
]


@pytest.mark.parametrize(("arguments", "message"), MISTAKES, ids=[arguments for arguments, _ in MISTAKES])
def test_a_mistake_is_one_line_and_nothing_is_written(place, capsys, no_members_train, arguments, message):
    (place / "run.toml").write_text(TEXT)
    (place / "thesis.tex").write_text("years of work")
    sweeps = {
        "many": "seed = { count = 5001 }", "tpe": TPE, "unknown": '"model.num_component" = [1]', "empty": "seed = []",
        "range": '"training.learning_rate" = { low = 0.1, high = 0.2 }', "value": '"model.num_components" = [1, 0]',
    }  # fmt: skip
    for name, table in sweeps.items():
        (place / f"{name}.toml").write_text(BASE + SECTION + table)
    before = content(place)
    assert message in complaint(capsys, arguments.split())
    assert content(place) == before and not (place / "runs").exists()


def test_many_members_with_yes(place, capsys, monkeypatch, finished):
    monkeypatch.setattr(sweeping, "MANY", 7)
    assert "8 members, more than 7: add --yes" in complaint(capsys, ["sweep", "small.toml"])
    assert "the best of 8 members" in said(capsys, ["sweep", "small.toml", "--yes"])


def test_two_at_once(place, capsys, finished):
    before = content(finished)
    with FileLock(finished / ".lock-1-of-1"):
        line = complaint(capsys, ["sweep", finished])
        assert "another process is at work on this sweep (1-of-1): wait for it, or see --status" in line
        assert "8 of 8" in said(capsys, ["sweep", finished, "--status"])
    assert content(finished) == before


def test_help(capsys):
    with pytest.raises(SystemExit) as left:
        cli.main(["sweep", "--help"])
    printed = capsys.readouterr().out
    assert left.value.code == 0
    for part in ("--status", "--dry-run", "--retry", "--shard", "--export-optuna", "--sweep.num-members", "--seed"):
        assert part in printed


# Signals and the compilation cache

SIGNALLED = """
import os, signal, sys
from mdn_jax import cli, runs
from mdn_jax.sweeps import driver, planning, results, training

planning.MOST_IN_TURN = 4
driver.run_sweep.__kwdefaults__["checkpoint_seconds"] = 0.0
runs.writing._draw = lambda folder, *_: folder.mkdir(exist_ok=True)
results.draw = lambda *_: None
advance, chunks = training.advance, []

def kill(state):
    chunks.append(state.step)
    if len(chunks) == 12:
        os.kill(os.getpid(), getattr(signal, sys.argv[1]))
    return advance(state)

training.advance = kill
sys.exit(cli.main(sys.argv[2:]))
"""


def signalled(place, name):
    arguments = [sys.executable, "-c", SIGNALLED, name, "sweep", "small.toml"]
    done = subprocess.run(arguments, cwd=place, capture_output=True, text=True, check=False)
    assert "checkpoint-1-of-1" in names(place / "runs/small"), done.stderr
    assert len(read_rows(place / "runs/small/batches")[0]) == 4
    assert "Traceback" not in done.stderr
    return done


def goes_on(place, finished, monkeypatch, chunks):
    steps, advance = [], training.advance
    monkeypatch.setattr(training, "advance", lambda state: steps.append(state.step) or advance(state))
    monkeypatch.setattr(planning, "MOST_IN_TURN", 4)
    assert cli.main(["sweep", "small.toml"]) == 0
    assert len(steps) == chunks
    assert_same_sweep(place / "runs/small", finished)


@pytest.mark.slow
def test_sigterm_saves_at_once_and_the_same_command_goes_on(place, finished, monkeypatch):
    done = signalled(place, "SIGTERM")
    assert done.returncode == 143
    assert "stopped by SIGTERM with everything saved; the same command goes on from here" in done.stdout
    goes_on(place, finished, monkeypatch, 4)  # the chunk in which the signal came was finished


@pytest.mark.slow
def test_sigusr1_too(place, finished, monkeypatch):
    done = signalled(place, "SIGUSR1")
    assert done.returncode == 143 and "stopped by SIGUSR1" in done.stdout
    goes_on(place, finished, monkeypatch, 4)


@pytest.mark.slow
def test_a_killed_sweep_goes_on(place, finished, monkeypatch):
    assert signalled(place, "SIGKILL").returncode == -9
    goes_on(place, finished, monkeypatch, 5)


@pytest.mark.slow
def test_control_c_goes_on(place, finished, monkeypatch):
    done = signalled(place, "SIGINT")
    assert done.returncode == 130 and "interrupted; the same command" in done.stderr
    goes_on(place, finished, monkeypatch, 5)


@pytest.mark.slow
def test_a_cache_that_cannot_be_made_is_a_warning(place):
    (place / "plain").write_text("a file")
    environment = {name: value for name, value in os.environ.items() if name != "JAX_ENABLE_COMPILATION_CACHE"}
    environment["XDG_CACHE_HOME"] = str(place / "plain/cache")
    command = [sys.executable, "-m", "mdn_jax", "sweep", "small.toml", "--dry-run"]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0 and "8 members" in done.stdout, done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("mdn-jax: warning: "), done.stderr
    assert "compiled programs are not kept" in lines[0]
    assert names(place) == ["plain", "small.toml"]

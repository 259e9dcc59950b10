"""A resolved config to a run folder and back.

runs/NAME/  config.toml   the resolved config: running it again gives the same numbers
            checkpoint/   the training state, only while the run is unfinished
            history.csv   one row per evaluation
            model/        what `mdn.load` reads
            figures/      *.png
            metrics.json  written last: it marks a whole run
"""

import csv
import json
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tomli_w

from mdn_jax._checks import InputError, require
from mdn_jax.config import Config, differences, parse
from mdn_jax.datasets import Dataset, Part
from mdn_jax.datasets import load as load_dataset
from mdn_jax.metrics import Scores
from mdn_jax.model import Ensemble, Model, evaluate, num_parameters, row_nll
from mdn_jax.storage import load, read_tree, save, versions, write_text, write_tree
from mdn_jax.training import Fit, OnEvaluation, TrainingState, advance, finish, start, stop

__all__ = ["Outcome", "absolute", "draw_figures", "evaluate_part", "oracle_scores", "read_config", "run", "write_run"]

CONFIG, METRICS, HISTORY, MODEL, FIGURES, CHECKPOINT = (
    "config.toml", "metrics.json", "history.csv", "model", "figures", "checkpoint",
)  # fmt: skip


def read_config(path: Path) -> tuple[Config, dict[str, Any]]:
    """The config and sweep table of a TOML file; a table's path becomes absolute, from the file's own folder.

    Raises:
        InputError: for a file that is missing or not a valid config.
    """
    require(path.exists(), f"{path}: no such config file")
    require(path.is_file(), f"{path} is a folder: give a config file (.toml)")
    try:
        config, sweep = parse(path.read_text(encoding="utf-8"), str(path))
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a text file in UTF-8") from None
    return absolute(path.parent, config), sweep


def absolute(base: Path, config: Config) -> Config:
    """The config with its table's path made absolute, from `base` where it is relative."""
    if config.dataset.path is None:
        return config
    absolute = str((base / config.dataset.path).resolve())
    return config.model_copy(update={"dataset": config.dataset.model_copy(update={"path": absolute})})


def run(
    config: Config,
    folder: Path,
    *,
    overwrite: bool = False,
    on_evaluation: OnEvaluation | None = None,
    checkpoint_seconds: float = 10.0,
) -> dict[str, Any]:
    """Train, evaluate, save and draw one experiment; the same config again goes on, or returns what is there.

    Args:
        config: what to run.
        folder: where; made where it does not exist.
        overwrite: replace another run in that folder.
        on_evaluation: `f(step, metrics)` after each chunk; True stops early.
        checkpoint_seconds: the most training that a kill can lose.

    Returns:
        What stands in metrics.json.

    Raises:
        InputError: for data that cannot be used, or a folder that holds another run or something else.
    """
    config = absolute(Path(), config)
    finished = _claim(config, folder, overwrite=overwrite)
    if finished is not None:
        return finished
    dataset = load_dataset(config.dataset)
    began = time.perf_counter()
    state = start(
        jax.random.key(config.seed),
        dataset.train.x,
        dataset.train.y,
        weights=dataset.train.weight,
        observed=dataset.train.observed,
        model=config.model,
        training=config.training,
        input_names=dataset.input_names,
        target_names=dataset.target_names,
        encoding=dataset.encoding,
    )
    if overwrite and folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / CONFIG, tomli_w.dumps(config.to_dict()))
    clock = _Clock(compile_seconds=time.perf_counter() - began)
    state, clock = _resume(folder / CHECKPOINT, state, clock)
    state, clock = _train(state, clock, folder / CHECKPOINT, on_evaluation, checkpoint_seconds)
    metrics = write_run(folder, config, dataset, _outcome(state, clock))
    for left in (folder / CHECKPOINT, *folder.glob(f".{CHECKPOINT}.*")):
        shutil.rmtree(left, ignore_errors=True)
    return metrics


@dataclass(frozen=True)
class Outcome:
    """What training left, and what it took.

    Attributes:
        fit: the model, its history and status.
        val_nll: mean over the validation rows, nats of the original y; None without such rows.
        num_train: training rows.
        num_validation: validation rows.
        compile_seconds: setting up and compiling, the first chunk included.
        train_seconds: the chunks after it.
        timed_steps: the steps in them.
    """

    fit: Fit
    val_nll: float | None
    num_train: int
    num_validation: int
    compile_seconds: float
    train_seconds: float
    timed_steps: int


def write_run(folder: Path, config: Config, dataset: Dataset, outcome: Outcome) -> dict[str, Any]:
    """A trained model as a run folder: judged on the test rows, saved and drawn; metrics.json is written last.

    Returns:
        What stands in metrics.json.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / CONFIG, tomli_w.dumps(config.to_dict()))
    fit = outcome.fit
    scores = evaluate_part(fit.model, dataset.test)
    metrics = _metrics(config, dataset, outcome, scores)
    save(folder / MODEL, fit.model)
    _write_history(folder / HISTORY, fit.history)
    _draw(folder / FIGURES, config, dataset, fit.model, scores, fit.history, metrics)
    write_text(folder / METRICS, json.dumps(metrics, indent=2) + "\n")
    return metrics


def draw_figures(folder: Path) -> list[Path]:
    """Draw a finished run's figures again.

    Raises:
        InputError: where the folder holds no finished run.
    """
    require((folder / METRICS).is_file(), f"{folder}: no finished run there ({METRICS} is missing)")
    config, _ = read_config(folder / CONFIG)
    metrics = json.loads((folder / METRICS).read_text(encoding="utf-8"))
    dataset, model = load_dataset(config.dataset), load(folder / MODEL)
    scores = evaluate_part(model, dataset.test)
    return _draw(folder / FIGURES, config, dataset, model, scores, _read_history(folder / HISTORY), metrics)


@dataclass(frozen=True)
class _Clock:
    """Seconds of a run: setting up and compiling (the first chunk included), and the chunks after it."""

    compile_seconds: float = 0.0
    train_seconds: float = 0.0
    timed_steps: int = 0


def _claim(config: Config, folder: Path, *, overwrite: bool) -> dict[str, Any] | None:
    """Whether `folder` is this config's: the metrics of a finished run, or None where there is work to do."""
    if not folder.exists():
        return None
    # a kill can leave half a file of ours, under a name that begins with a dot: no reason to refuse
    if folder.is_dir() and all(path.name.startswith(".") and _is_ours(path.name) for path in folder.iterdir()):
        return None
    require(
        folder.is_dir() and (folder / CONFIG).is_file(),
        f"{folder} is not a run folder (no {CONFIG}): choose another with --out",
    )
    if overwrite:
        strangers = [path.name for path in folder.iterdir() if not _is_ours(path.name)]
        others = ", ".join(strangers)
        require(not strangers, f"{folder} holds {others} beside a run: move it away, or choose another with --out")
        return None
    other, _ = read_config(folder / CONFIG)
    changed = differences(other, config)
    require(
        not changed,
        f"{folder} holds another run; these fields differ: {'; '.join(changed)}: choose another folder with --out, "
        f"or replace it with --overwrite",
    )
    if not (folder / METRICS).is_file():
        return None
    return json.loads((folder / METRICS).read_text(encoding="utf-8"))


def _is_ours(name: str) -> bool:
    """Whether a run writes a file or folder of this name, or wrote half of it when it was killed."""
    own = (CONFIG, METRICS, HISTORY, MODEL, FIGURES, CHECKPOINT)
    return name in own or name.startswith(tuple(f".{part}." for part in own))


def _resume(folder: Path, state: TrainingState, clock: _Clock) -> tuple[TrainingState, _Clock]:
    """The state of the last whole checkpoint, or the state as it starts."""
    if not folder.exists() and not any(folder.parent.glob(f".{folder.name}.*.old")):
        return state, clock
    description, members = read_tree(folder, lambda _: state.members)
    seconds = description["seconds"]
    resumed = _Clock(clock.compile_seconds + seconds["compile"], seconds["train"], seconds["timed_steps"])
    return replace(state, members=members), resumed


def _train(
    state: TrainingState,
    clock: _Clock,
    folder: Path,
    on_evaluation: OnEvaluation | None,
    checkpoint_seconds: float,
) -> tuple[TrainingState, _Clock]:
    """All chunks, with a checkpoint every so often, and one more where the user interrupts."""
    saved, compiled = time.perf_counter(), set()
    try:
        while not state.done:
            began, before = time.perf_counter(), state.step
            state, metrics = advance(state)
            spent = time.perf_counter() - began
            steps = state.step - before
            if steps not in compiled:  # the first chunk of a length compiles
                clock = replace(clock, compile_seconds=clock.compile_seconds + spent)
            else:
                clock = replace(clock, train_seconds=clock.train_seconds + spent, timed_steps=clock.timed_steps + steps)
            compiled.add(steps)
            if on_evaluation is not None and on_evaluation(state.step, metrics):
                state = stop(state)
            if not state.done and time.perf_counter() - saved >= checkpoint_seconds:
                _checkpoint(folder, state, clock)
                saved = time.perf_counter()
    except KeyboardInterrupt:
        _checkpoint(folder, state, clock)
        raise
    return state, clock


def _checkpoint(folder: Path, state: TrainingState, clock: _Clock) -> None:
    seconds = {"compile": clock.compile_seconds, "train": clock.train_seconds, "timed_steps": clock.timed_steps}
    write_tree(folder, {"format": 1, "versions": versions(), "seconds": seconds}, state.members)


def _outcome(state: TrainingState, clock: _Clock) -> Outcome:
    fit, val_nll = finish(state), None
    if state.data.validation is not None:
        rows = state.data.validation
        val_nll = float(np.average(row_nll(fit.model, rows), weights=rows.weight))
    num_validation = 0 if state.data.validation is None else int(state.data.validation.weight.shape[0])
    num_train = int(state.data.rows.weight.shape[0])
    return Outcome(
        fit, val_nll, num_train, num_validation, clock.compile_seconds, clock.train_seconds, clock.timed_steps
    )


def evaluate_part(model: Model | Ensemble, part: Part) -> Scores:
    """Scores of a model on rows of the data."""
    return evaluate(model, part.x, part.y, weights=part.weight, observed=part.observed)


def oracle_scores(dataset: Dataset, scores: Scores) -> dict[str, float]:
    """The exact density's NLL on the test rows, and the model's distance from it, where it is known."""
    if dataset.problem is None or dataset.problem.log_density is None:
        return {}
    exact = -dataset.problem.log_density(dataset.test.x, dataset.test.y)
    return {"oracle_nll": float(exact.mean()), "gap_to_oracle": float((scores.nll - exact).mean())}


def _metrics(config: Config, dataset: Dataset, outcome: Outcome, scores: Scores) -> dict[str, Any]:
    """What metrics.json says: scores in original units, nats per row, seconds."""
    fit = outcome.fit
    metrics: dict[str, Any] = {"status": fit.status, **scores.report(dataset.target_names)}
    if outcome.val_nll is not None:
        metrics["val_nll"] = outcome.val_nll
    metrics |= oracle_scores(dataset, scores)
    floor = 0.0 if config.training.objective == "squared_error" else config.model.min_std
    floors = floor * np.asarray(fit.model.targets.scale)
    device = jax.local_devices()[0]
    return metrics | {
        "min_std": dict(zip(dataset.target_names, floors.tolist(), strict=True)),
        "num_parameters": num_parameters(fit.model),
        "num_train": outcome.num_train,
        "num_validation": outcome.num_validation,
        "num_test": len(dataset.test.y),
        "best_step": fit.best_step.tolist(),
        "train_seconds": outcome.train_seconds,
        "compile_seconds": outcome.compile_seconds,
        "steps_per_second": outcome.timed_steps / outcome.train_seconds if outcome.train_seconds else None,
        "versions": versions(),
        "device": f"{jax.local_device_count()} x {device.device_kind} ({device.platform})",
    }


def _draw(
    folder: Path,
    config: Config,
    dataset: Dataset,
    model: Model | Ensemble,
    scores: Scores,
    history: dict[str, np.ndarray],
    metrics: dict[str, Any],
) -> list[Path]:
    """Every figure of a run as a PNG."""
    from mdn_jax.plotting import run_figures  # noqa: PLC0415  (matplotlib is loaded where figures are drawn)

    density = config.training.objective == "nll"
    figures = run_figures(
        model,
        dataset.train.x,
        dataset.train.y,
        dataset.test.x,
        dataset.test.y,
        scores,
        history,
        input_names=dataset.input_names,
        target_names=dataset.target_names,
        oracle=metrics.get("oracle_nll") if density else None,
        log_density=dataset.problem.log_density if dataset.problem else None,
        loss_unit="nats" if density else f"{config.training.objective}, standardised",
    )
    folder.mkdir(exist_ok=True)
    paths = []
    for name, figure in figures.items():
        figure.savefig(folder / f"{name}.png", dpi=150)
        paths.append(folder / f"{name}.png")
    return paths


def _write_history(path: Path, history: dict[str, np.ndarray]) -> None:
    """One row per evaluation; members' columns are numbered."""
    columns = {}
    for name, values in history.items():
        if values.ndim == 1:
            columns[name] = values
        elif name in ("step", "learning_rate"):
            columns[name] = np.nanmax(values, axis=1)
        else:
            columns |= {f"{name}_{member}": values[:, member] for member in range(values.shape[1])}
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([list(columns), *rows])


def _read_history(path: Path) -> dict[str, np.ndarray]:
    """`_write_history`'s file as the history it came from."""
    with path.open(newline="", encoding="utf-8") as file:
        names, *rows = csv.reader(file)
    table = dict(zip(names, np.array(rows, float).T, strict=True))
    if "train_loss" in table:
        return table
    members = len([name for name in names if name.startswith("train_loss_")])
    losses = {
        name: np.stack([table[f"{name}_{member}"] for member in range(members)], axis=1)
        for name in ("train_loss", "val_loss")
    }
    steps = {name: np.repeat(table[name][:, None], members, axis=1) for name in ("step", "learning_rate")}
    return steps | losses

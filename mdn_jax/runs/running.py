"""Training a config in a folder: resumed where it was stopped, and done only once."""

import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tomli_w

from mdn_jax.config import Config
from mdn_jax.data import Dataset
from mdn_jax.data import load as load_dataset
from mdn_jax.judging import row_nll
from mdn_jax.models import Model, Rows
from mdn_jax.runs.configs import resolve
from mdn_jax.runs.folder import CHECKPOINT, CONFIG, claim
from mdn_jax.runs.kinds import kind_of
from mdn_jax.runs.writing import Outcome, write_run
from mdn_jax.storage import read_tree, write_text, write_tree
from mdn_jax.training import Fit, OnEvaluation, TrainingState, advance, finish, start, stop

__all__ = ["run"]


def run(
    config: Config,
    folder: Path,
    *,
    dataset: Dataset | None = None,
    overwrite: bool = False,
    on_evaluation: OnEvaluation | None = None,
    checkpoint_seconds: float = 10.0,
) -> dict[str, Any]:
    """Train, evaluate, save and draw one experiment; the same config again goes on, or returns what is there.

    Args:
        config: what to run.
        folder: where; made where it does not exist.
        dataset: what the config's data are, where they were read already (from `resolve`).
        overwrite: replace another run in that folder.
        on_evaluation: `f(step, metrics)` after each chunk; True stops early.
        checkpoint_seconds: the most training that a kill can lose.

    Returns:
        What stands in metrics.json.

    Raises:
        InputError: for data that cannot be used, or a folder that holds another run or something else.
    """
    config, read = resolve(config)
    finished = claim(config, folder, overwrite=overwrite)
    if finished is not None:
        return finished
    dataset = dataset or read or load_dataset(config.dataset)
    kind_of(dataset)  # refused before it trains
    began = time.perf_counter()
    state = start(jax.random.key(config.seed), **dataset.for_training, model=config.model, training=config.training)
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
class _Clock:
    """Seconds of a run: setting up and compiling (the first chunk included), and the chunks after it."""

    compile_seconds: float = 0.0
    train_seconds: float = 0.0
    timed_steps: int = 0


def _resume(folder: Path, state: TrainingState, clock: _Clock) -> tuple[TrainingState, _Clock]:
    """The state of the last whole checkpoint, or the state as it starts."""
    if not folder.exists() and not any(folder.parent.glob(f".{folder.name}.*.old")):
        return state, clock
    description, lanes = read_tree(folder, lambda _: state.lanes, state=True)
    seconds = description["seconds"]
    resumed = _Clock(clock.compile_seconds + seconds["compile"], seconds["train"], seconds["timed_steps"])
    return replace(state, lanes=lanes), resumed


def _train(
    state: TrainingState, clock: _Clock, folder: Path, on_evaluation: OnEvaluation | None, checkpoint_seconds: float
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
    write_tree(folder, {"seconds": seconds}, state.lanes)


def _outcome(state: TrainingState, clock: _Clock) -> Outcome:
    fit, split = finish(state), state.lanes.split
    num_train, num_validation, val_nll = len(state.data.rows.weight), 0, None
    if split is not None and split.validation is not None:
        num_validation = split.validation.shape[1]
        num_train, val_nll = num_train - num_validation, _own_nll(state, fit)
    elif state.data.validation is not None:
        val_nll, num_validation = _mean_nll(fit.model, state.data.validation), len(state.data.validation.weight)
    return Outcome(
        fit, val_nll, num_train, num_validation, clock.compile_seconds, clock.train_seconds, clock.timed_steps
    )


def _mean_nll(model: Model, rows: Rows) -> float:
    return float(np.average(row_nll(model, rows), weights=np.asarray(rows.weight)))


def _own_nll(state: TrainingState, fit: Fit) -> float:
    """The networks' mean NLL, each on its own validation rows."""
    split = jax.tree.map(np.asarray, state.lanes.split)
    data, values = state.data, []
    for index, model in enumerate(fit.model.networks):
        rows = jax.tree.map(lambda leaf, own=split.validation[index]: leaf[own], data.rows)
        values.append(_mean_nll(replace(model, inputs=data.inputs, targets=data.targets), rows))
    return float(np.mean(values))

"""A trained model as a run folder: judged on the test rows, saved and drawn."""

import itertools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tomli_w

from mdn_jax._checks import require
from mdn_jax.config import Config
from mdn_jax.data import Dataset
from mdn_jax.data import load as load_dataset
from mdn_jax.judging import calibrate
from mdn_jax.models import num_parameters
from mdn_jax.runs.configs import absolute, read_config
from mdn_jax.runs.folder import CONFIG, FIGURES, HISTORY, METRICS, MODEL, REPORT
from mdn_jax.runs.history import read_history, write_history
from mdn_jax.runs.kinds import Judgement, kind_of
from mdn_jax.runs.loading import load_run
from mdn_jax.storage import save, versions, write_text
from mdn_jax.training import Fit

__all__ = ["Outcome", "draw_figures", "save_fit", "write_run"]


@dataclass(frozen=True)
class Outcome:
    """The result of training, and its cost.

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
    if dataset.calibration is not None:
        kept = dataset.calibration
        model = calibrate(outcome.fit.model, kept.x, kept.y, weights=kept.weight)
        outcome = replace(outcome, fit=replace(outcome.fit, model=model))
    fit = outcome.fit
    judged = kind_of(dataset).of(config, dataset, fit.model, fit.statuses)
    metrics = _plain({"status": fit.status, **judged.metrics(), **_cost(config, dataset, outcome)})
    save(folder / MODEL, fit.model)
    write_history(folder / HISTORY, fit.history)
    _draw(folder / FIGURES, judged, fit.history, metrics)
    _write_report(folder, config, judged, metrics)
    write_text(folder / METRICS, json.dumps(metrics, indent=2, allow_nan=False) + "\n")
    return metrics


def save_fit(
    out: Path, name: str, config: Config, fit: Fit, seconds: float, tables: Mapping[str, np.ndarray] | None = None
) -> Path:
    """A run folder of its own, `name` and the first number that is free, for a fit that was trained elsewhere.

    Args:
        out: the folder of run folders.
        name: of the new one.
        config: what it was trained by; its table's paths are names in `tables`, or anywhere.
        fit: from `finish`.
        seconds: that the steps took.
        tables: file name -> (N, 2) columns x and y, written into the folder.

    Returns:
        The folder.
    """
    place = next(path for count in itertools.count(1) if not (path := out / f"{name}_{count}").exists())
    place.mkdir(parents=True)
    for file, rows in (tables or {}).items():
        lines = ["x,y", *(f"{x!r},{y!r}" for x, y in rows.tolist())]
        write_text(place / file, "\n".join(lines) + "\n")
    config = absolute(place if tables else Path(), config)
    dataset, steps = load_dataset(config.dataset), config.training.num_steps
    write_run(place, config, dataset, Outcome(fit, None, len(dataset.train), 0, 0.0, seconds, steps))
    return place


def draw_figures(folder: Path) -> list[Path]:
    """Draw a finished run's figures again, and write its report anew.

    Raises:
        InputError: where the folder holds no finished run.
    """
    require((folder / METRICS).is_file(), f"{folder}: no finished run there ({METRICS} is missing)")
    config, _ = read_config(folder / CONFIG)
    metrics = json.loads((folder / METRICS).read_text(encoding="utf-8"))
    require("statuses" in metrics, f"{folder}: an older version wrote this run: run it again to draw its figures")
    dataset = load_dataset(config.dataset)
    judged = kind_of(dataset).of(config, dataset, load_run(folder), tuple(metrics["statuses"]))
    paths = _draw(folder / FIGURES, judged, read_history(folder / HISTORY), metrics)
    _write_report(folder, config, judged, metrics)
    return paths


def _plain(value: Any) -> Any:
    """The same values with None for numbers that are none, which JSON has no word for."""
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _cost(config: Config, dataset: Dataset, outcome: Outcome) -> dict[str, Any]:
    """Sizes, seconds and versions, as metrics.json tells them of every run."""
    fit, device, batch = outcome.fit, jax.local_devices()[0], config.training.batch_size
    rate = outcome.timed_steps / outcome.train_seconds if outcome.train_seconds else None
    rows = outcome.num_train if batch == "full" else batch
    points = 1.0 if dataset.train.weight is None else np.count_nonzero(dataset.train.weight) / len(dataset.train)
    validated = {} if outcome.val_nll is None else {"val_nll": outcome.val_nll}
    return validated | {
        "statuses": list(fit.statuses),
        "num_parameters": num_parameters(fit.model),
        "num_train": outcome.num_train,
        "num_validation": outcome.num_validation,
        "num_calibration": 0 if dataset.calibration is None else len(dataset.calibration),
        "num_test": len(dataset.test.y),
        "best_step": fit.best_step.tolist(),
        "train_seconds": outcome.train_seconds,
        "compile_seconds": outcome.compile_seconds,
        "steps_per_second": rate,
        "points_per_second": None if rate is None else rate * rows * points,
        "versions": versions(),
        "device": f"{jax.local_device_count()} x {device.device_kind} ({device.platform})",
    }


def _draw(folder: Path, judged: Judgement, history: dict[str, np.ndarray], metrics: dict[str, Any]) -> list[Path]:
    """Every figure of a run as a PNG."""
    figures = judged.figures(history, metrics)
    folder.mkdir(exist_ok=True)
    for name, figure in figures.items():
        figure.savefig(folder / f"{name}.png", dpi=150)
    return [folder / f"{name}.png" for name in figures]


def _write_report(folder: Path, config: Config, judged: Judgement, metrics: dict[str, Any]) -> None:
    """The run on one page, with the figures that stand in its folder."""
    figures = {path.stem: path.read_bytes() for path in sorted((folder / FIGURES).glob("*.png"))}
    toml = tomli_w.dumps(config.to_dict())
    write_text(folder / REPORT, judged.report(folder.resolve().name, metrics, figures, toml))

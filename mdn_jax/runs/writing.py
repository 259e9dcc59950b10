"""A trained model as a run folder: judged on the test rows, saved and drawn."""

import json
import math
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
from mdn_jax.judging import Diagnosis, calibrate
from mdn_jax.judging.components import component_floors
from mdn_jax.judging.findings import diagnosis_of, evaluate_part, findings
from mdn_jax.judging.metrics import Scores
from mdn_jax.judging.targets import names_of_kinds
from mdn_jax.models import Model, num_parameters
from mdn_jax.report import report_html
from mdn_jax.runs.configs import read_config
from mdn_jax.runs.folder import CONFIG, FIGURES, HISTORY, METRICS, MODEL, REPORT
from mdn_jax.runs.history import read_history, write_history
from mdn_jax.runs.loading import load_run
from mdn_jax.storage import save, versions, write_text
from mdn_jax.training import Fit

__all__ = ["Outcome", "draw_figures", "oracle_scores", "write_run"]


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
        model = calibrate(outcome.fit.model, dataset.calibration.x, dataset.calibration.y)
        outcome = replace(outcome, fit=replace(outcome.fit, model=model))
    fit = outcome.fit
    scores = evaluate_part(fit.model, dataset.test)
    diagnosis, found = findings(config, dataset, fit, scores)
    metrics = _plain(_metrics(config, dataset, outcome, scores) | found)
    save(folder / MODEL, fit.model)
    write_history(folder / HISTORY, fit.history)
    _draw(folder / FIGURES, config, dataset, fit.model, scores, fit.history, metrics, diagnosis)
    _write_report(folder, config, dataset, metrics)
    write_text(folder / METRICS, json.dumps(metrics, indent=2, allow_nan=False) + "\n")
    return metrics


def draw_figures(folder: Path) -> list[Path]:
    """Draw a finished run's figures again, and write its report anew.

    Raises:
        InputError: where the folder holds no finished run.
    """
    require((folder / METRICS).is_file(), f"{folder}: no finished run there ({METRICS} is missing)")
    config, _ = read_config(folder / CONFIG)
    metrics = json.loads((folder / METRICS).read_text(encoding="utf-8"))
    dataset, model = load_dataset(config.dataset), load_run(folder)
    require("coverage" in metrics, f"{folder}: an older version wrote this run: run it again to draw its figures")
    scores, history = evaluate_part(model, dataset.test), read_history(folder / HISTORY)
    diagnosis, _ = diagnosis_of(model, dataset, scores, tuple(metrics["diagnosis"]["statuses"]))
    paths = _draw(folder / FIGURES, config, dataset, model, scores, history, metrics, diagnosis)
    _write_report(folder, config, dataset, metrics)
    return paths


def oracle_scores(dataset: Dataset, scores: Scores) -> dict[str, float]:
    """The exact density's NLL on the test rows, and the model's distance from it, where it is known."""
    if dataset.log_density is None:
        return {}
    exact = -dataset.log_density(dataset.test.x, dataset.test.y)
    return {"oracle_nll": float(exact.mean()), "gap_to_oracle": float((scores.nll - exact).mean())}


def _plain(value: Any) -> Any:
    """The same values with None for numbers that are none, which JSON has no word for."""
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _metrics(config: Config, dataset: Dataset, outcome: Outcome, scores: Scores) -> dict[str, Any]:
    """The content of metrics.json: scores in original units, nats per row, seconds."""
    fit = outcome.fit
    metrics: dict[str, Any] = {"status": fit.status, **scores.report(dataset.target_names)}
    if outcome.val_nll is not None:
        metrics["val_nll"] = outcome.val_nll
    metrics |= oracle_scores(dataset, scores)
    floors = component_floors(fit.model, len(fit.model.networks)).min(axis=0)
    device = jax.local_devices()[0]
    return metrics | {
        "min_std": {dataset.target_names[dim]: float(floors[dim]) for dim in scores.numbers},
        "num_parameters": num_parameters(fit.model),
        "num_train": outcome.num_train,
        "num_validation": outcome.num_validation,
        "num_calibration": 0 if dataset.calibration is None else len(dataset.calibration),
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
    model: Model,
    scores: Scores,
    history: dict[str, np.ndarray],
    metrics: dict[str, Any],
    diagnosis: Diagnosis,
) -> list[Path]:
    """Every figure of a run as a PNG."""
    from mdn_jax.plotting import health_figure, run_figures  # noqa: PLC0415  (loads matplotlib)

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
        kinds=names_of_kinds(dataset.encoding, dataset.num_classes),
        oracle=metrics.get("oracle_nll") if density else None,
        log_density=dataset.log_density,
        loss_unit="nats" if density else f"{config.training.objective}, standardised",
    )
    if metrics["coverage"]["regions"]:
        figures["health"] = health_figure(diagnosis, metrics["coverage"])
    folder.mkdir(exist_ok=True)
    for name, figure in figures.items():
        figure.savefig(folder / f"{name}.png", dpi=150)
    return [folder / f"{name}.png" for name in figures]


def _write_report(folder: Path, config: Config, dataset: Dataset, metrics: dict[str, Any]) -> None:
    """The run on one page, with the figures that stand in its folder."""
    figures = {path.stem: path.read_bytes() for path in sorted((folder / FIGURES).glob("*.png"))}
    text = report_html(folder.resolve().name, config, dataset, metrics, figures, tomli_w.dumps(config.to_dict()))
    write_text(folder / REPORT, text)

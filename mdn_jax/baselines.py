"""What a model has to beat, on the same rows: the targets' own Gaussian, linear least squares, one Gaussian per row.

marginal        N(mean, std) of the training targets, whatever x
least_squares   N(a + B x, s), linear, s the standard deviation of the training residuals
one_gaussian    the same network with one component
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from mdn_jax._typing import Float
from mdn_jax.config import Config, ModelConfig, TrainingConfig
from mdn_jax.datasets import Dataset, Part
from mdn_jax.metrics import Scores
from mdn_jax.model import Standardizer, evaluate
from mdn_jax.training import fit

__all__ = ["baseline_scores", "baseline_sentences", "least_squares", "marginal_gaussian", "one_gaussian"]

MOST_ROWS = 50_000  # of the training rows that linear least squares takes
SHORTER, MOST_STEPS = 4, 2_000  # of the steps that the one Gaussian trains: a quarter, and no more than these
REPORTED = ("test_nll", "test_rmse", "test_crps", "coverage_90")
HALF_WIDTH = 1.6448536269514722  # standard deviations to the end of a central 90 % interval


def baseline_scores(config: Config, dataset: Dataset) -> dict[str, Any]:
    """The scores of the baselines on the test rows.

    Args:
        config: of the model that they stand beside.
        dataset: its rows.

    Returns:
        Name -> `test_nll` (nats per row), `test_rmse`, `test_crps`, `coverage_90` ({target: value}), or None, with
        the reason under `skipped`.
    """
    train, test, names = dataset.train, dataset.test, dataset.target_names
    found: dict[str, Any] = {"marginal": _report(marginal_gaussian(train, test), names)}
    skipped = {}
    linear = least_squares(train, test)
    found["least_squares"] = None if linear is None else _report(linear, names)
    if linear is None:
        skipped["least_squares"] = "no more training rows than inputs"
    reason = _no_gaussian(config, dataset)
    found["one_gaussian"] = None
    if reason is not None:
        skipped["one_gaussian"] = reason
    else:
        model, training = _one_gaussian_config(config)
        scores = one_gaussian(config.seed, dataset, model, training)
        found["one_gaussian"] = _report(scores, names) | {"num_steps": training.num_steps}
    return found | {"skipped": skipped}


def baseline_sentences(baselines: Mapping[str, Any], test_nll: float) -> list[str]:
    """What to think of a model that a baseline beats; nothing where none does."""
    cures = {
        "marginal": "the inputs tell nothing about the targets, or the model overfits",
        "least_squares": "the model overfits, or was trained too little",
        "one_gaussian": "model.num_components = 1 may do",
    }
    better = [name for name in cures if baselines[name] and baselines[name]["test_nll"] <= test_nll]
    if not better:
        return []
    name, titles = better[0], {"marginal": "the targets' own Gaussian", "least_squares": "linear least squares"}
    nll = baselines[name]["test_nll"]
    return [
        f"{titles.get(name, 'one Gaussian')} answers no worse: its NLL is {nll:.3f} nats per row, the model's "
        f"{test_nll:.3f}: {cures[name]}"
    ]


def marginal_gaussian(train: Part, test: Part) -> Scores:
    """The test rows' scores by the mean and standard deviation of the training targets."""
    weight = _weights(train)
    known = ~np.isnan(train.y)
    total = known.T @ weight
    y = np.where(known, train.y, 0.0)
    mean = y.T @ weight / total
    variance = (np.where(known, train.y - mean, 0.0) ** 2).T @ weight / total
    shape = test.y.shape
    return _normal_scores(np.broadcast_to(mean, shape), np.broadcast_to(np.sqrt(variance), shape), test)


def least_squares(train: Part, test: Part) -> Scores | None:
    """The test rows' scores by linear least squares with a constant variance.

    Each target is fitted to the rows that know it; among inputs that say the same the smallest coefficients are taken.

    Args:
        train: rows to fit.
        test: rows to score.

    Returns:
        Scores, or None where a target has no more rows than there are coefficients.
    """
    units = Standardizer.fit(train.x)
    ones = np.ones((len(test), 1))
    inputs = np.concatenate([ones, units.standardize(test.x)], axis=1)
    mean, std = np.empty(test.y.shape), np.empty(test.y.shape)
    for index in range(test.y.shape[1]):
        line = _line(np.concatenate([np.ones((len(train), 1)), units.standardize(train.x)], axis=1), train, index)
        if line is None:
            return None
        coefficients, std[:, index] = line
        mean[:, index] = inputs @ coefficients
    return _normal_scores(mean, std, test)


def one_gaussian(seed: int, dataset: Dataset, model: ModelConfig, training: TrainingConfig) -> Scores:
    """The test rows' scores by a network, which is trained for it."""
    train, test = dataset.train, dataset.test
    fitted = fit(
        jax.random.key(seed),
        train.x,
        train.y,
        model=model,
        training=training,
        weights=train.weight,
        observed=train.observed,
    )
    return evaluate(fitted.model, test.x, test.y, weights=test.weight, observed=test.observed)


def _no_gaussian(config: Config, dataset: Dataset) -> str | None:
    """Why no one Gaussian is trained, or None where it is."""
    if dataset.problem is not None:
        return "not trained for built-in problems"
    if config.training.objective == "squared_error":
        return "the network is fitted by least squares itself"
    return "the model is one Gaussian itself" if config.model.num_components == 1 else None


def _one_gaussian_config(config: Config) -> tuple[ModelConfig, TrainingConfig]:
    """The same network with one component, alone, and trained for a quarter of the steps."""
    steps = max(1, min(config.training.num_steps // SHORTER, MOST_STEPS))
    every = min(config.training.evaluate_every, steps)
    training = config.training.model_copy(update={"num_steps": steps, "evaluate_every": every, "ensemble_size": 1})
    return config.model.model_copy(update={"num_components": 1}), training


def _line(inputs: Float[np.ndarray, "N C"], train: Part, index: int) -> tuple[Float[np.ndarray, " C"], float] | None:
    """Coefficients and residual standard deviation of one target; None where the rows do not tell one."""
    weight = _weights(train)
    rows = np.flatnonzero(~np.isnan(train.y[:, index]) & (weight > 0))
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(len(rows), MOST_ROWS)).round().astype(int))]
    root = np.sqrt(weight[rows])
    y = train.y[rows, index]
    level, spread = y.mean(), y.std() or 1.0  # a large offset would cost digits
    coefficients, _, rank, _ = np.linalg.lstsq(root[:, None] * inputs[rows], root * (y - level) / spread, rcond=None)
    if len(rows) <= rank:
        return None
    residuals = (y - level) / spread - inputs[rows] @ coefficients
    # unbiased: every coefficient takes a degree of freedom
    variance = np.average(residuals**2, weights=weight[rows]) * len(rows) / (len(rows) - rank)
    coefficients[0] += level / spread
    return spread * coefficients, float(spread * np.sqrt(max(variance, np.finfo(np.float64).tiny)))


def _normal_scores(mean: Float[np.ndarray, "N D"], std: Float[np.ndarray, "N D"], test: Part) -> Scores:
    """Scores of independent Gaussians, all in closed form."""
    z = (test.y - mean) / std
    density = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
    below = 0.5 * (1 + _erf(z / np.sqrt(2)))
    nll = 0.5 * np.log(2 * np.pi * std**2) + 0.5 * z**2
    return Scores(
        nll=np.nansum(nll, axis=1),
        error=mean - test.y,
        # CRPS = std (z (2 Phi(z) - 1) + 2 phi(z) - 1 / sqrt(pi))
        crps=std * (z * (2 * below - 1) + 2 * density - 1 / np.sqrt(np.pi)),
        pit=below,
        width_90=2 * HALF_WIDTH * std,
        responsibilities=np.ones((len(z), 1)),
        weight=test.weight,
    )


_erf = np.vectorize(math.erf, otypes=[float])


def _report(scores: Scores, names: Sequence[str]) -> dict[str, Any]:
    report: Mapping[str, Any] = scores.report(names)
    return {name: report[name] for name in REPORTED}


def _weights(part: Part) -> Float[np.ndarray, " N"]:
    return np.ones(len(part)) if part.weight is None else part.weight

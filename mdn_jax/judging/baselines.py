"""What a model has to beat, on the same rows: the targets' own Gaussian, linear least squares, one Gaussian per row.

marginal        N(mean, std) of the training targets, whatever x
least_squares   N(a + B x, s), linear, s the standard deviation of the training residuals
one_gaussian    the same network with one component
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from mdn_jax._typing import Float
from mdn_jax.config import Config, ModelConfig, TrainingConfig
from mdn_jax.data import Dataset, Part
from mdn_jax.heads import MixtureSpec
from mdn_jax.judging.metrics import Scores
from mdn_jax.judging.scoring import evaluate
from mdn_jax.models import Conditional, ConstantStd, Functional, Model, Standardizer, evenly
from mdn_jax.training import fit

__all__ = ["baseline_scores", "baseline_sentences", "least_squares", "marginal_gaussian", "one_gaussian"]

MOST_ROWS = 50_000  # of the training rows that linear least squares takes
SHORTER, MOST_STEPS = 4, 2_000  # of the steps that the one Gaussian trains: a quarter, and no more than these
REPORTED = ("test_nll", "test_rmse", "test_crps", "coverage_90")


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
    linear, reason = least_squares(train, test), _no_gaussian(config, dataset)
    found["least_squares"] = None if linear is None else _report(linear, names)
    found["one_gaussian"] = None
    if reason is None:
        model, training = _one_gaussian_config(config)
        scores = one_gaussian(config.seed, dataset, model, training)
        found["one_gaussian"] = _report(scores, names) | {"num_steps": training.num_steps}
    reasons = {"least_squares": "no more training rows than inputs", "one_gaussian": reason}
    return found | {"skipped": {name: why for name, why in reasons.items() if found[name] is None}}


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
    weight, known = _weights(train), ~np.isnan(train.y)
    total, y = known.T @ weight, np.where(known, train.y, 0.0)
    mean = y.T @ weight / total
    variance = (np.where(known, train.y - mean, 0.0) ** 2).T @ weight / total
    lines = np.zeros((1 + train.x.shape[1], len(mean)))
    return _line_scores(lines, np.ones(len(mean)), Standardizer(mean, np.sqrt(variance)), train, test)


def least_squares(train: Part, test: Part) -> Scores | None:
    """The test rows' scores by linear least squares with a constant variance.

    Each target is fitted to the rows that know it; among inputs that say the same the smallest coefficients are taken.

    Args:
        train: rows to fit.
        test: rows to score.

    Returns:
        Scores, or None where a target has no more rows than there are coefficients.
    """
    targets = Standardizer.fit(train.y)
    inputs = np.concatenate([np.ones((len(train), 1)), Standardizer.fit(train.x).standardize(train.x)], axis=1)
    y, weight = targets.standardize(train.y), _weights(train)
    found = [_line(inputs, column, weight) for column in y.T]
    if any(line is None for line in found):
        return None
    coefficients, stds = zip(*found, strict=True)  # pyright: ignore[reportArgumentType]
    return _line_scores(np.stack(coefficients, axis=1), np.array(stds), targets, train, test)


def one_gaussian(seed: int, dataset: Dataset, model: ModelConfig, training: TrainingConfig) -> Scores:
    """The test rows' scores by a network, which is trained for it."""
    fitted, test = fit(jax.random.key(seed), **dataset.for_training, model=model, training=training), dataset.test
    return evaluate(fitted.model, test.x, test.y, weights=test.weight, observed=test.observed)


def _no_gaussian(config: Config, dataset: Dataset) -> str | None:
    """Why no one Gaussian is trained, or None where it is."""
    if config.dataset.name is not None and not config.dataset.is_own:
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


def _line(
    inputs: Float[np.ndarray, "N C"], y: Float[np.ndarray, " N"], weight: Float[np.ndarray, " N"]
) -> tuple[Float[np.ndarray, " C"], float] | None:
    """Coefficients and residual standard deviation of one target; None where the rows do not tell one."""
    rows = np.flatnonzero(~np.isnan(y) & (weight > 0))
    rows = rows[evenly(len(rows), MOST_ROWS)]
    root = np.sqrt(weight[rows])
    coefficients, _, rank, _ = np.linalg.lstsq(root[:, None] * inputs[rows], root * y[rows], rcond=None)
    if len(rows) <= rank:
        return None
    # unbiased: every coefficient takes a degree of freedom
    residuals = y[rows] - inputs[rows] @ coefficients
    variance = np.average(residuals**2, weights=weight[rows]) * len(rows) / (len(rows) - rank)
    return coefficients, float(np.sqrt(max(variance, np.finfo(np.float32).tiny)))


def _line_scores(
    coefficients: Float[np.ndarray, "C D"], std: Float[np.ndarray, " D"], targets: Standardizer, train: Part, test: Part
) -> Scores:
    """Scores of a linear model of one component: coefficients, level first, and deviations, in standard units."""
    params = {"level": coefficients[0], "slope": coefficients[1:]}
    line = Conditional(Functional(params, _linear), None, MixtureSpec(1, len(std), "unit"))
    model = Model(ConstantStd(line, np.log(std)), Standardizer.fit(train.x), targets)
    return evaluate(model, test.x, test.y, weights=test.weight, observed=~np.isnan(test.y))


def _linear(params: dict[str, Any], x: Float[Array, " X"]) -> Float[Array, " D"]:
    return jnp.asarray(params["level"]) + x @ jnp.asarray(params["slope"])


def _report(scores: Scores, names: Sequence[str]) -> dict[str, Any]:
    report: Mapping[str, Any] = scores.report(names)
    return {name: report[name] for name in REPORTED}


def _weights(part: Part) -> Float[np.ndarray, " N"]:
    return np.ones(len(part)) if part.weight is None else part.weight

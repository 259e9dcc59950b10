"""Baselines for a model, on the same rows: the targets alone, a linear answer, one Gaussian per row.

marginal        N(mean, std) of the training targets, whatever x; of kinds `frequencies`, of both `no_inputs`
least_squares   N(a + B x, s), linear, s the std of the training residuals; of kinds `softmax`, of both `linear`
one_gaussian    the same network with one component
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from mdn_jax._typing import Float
from mdn_jax.config import Config, ModelConfig, TrainingConfig
from mdn_jax.data import Dataset, Part
from mdn_jax.heads import HEADS, MixtureSpec
from mdn_jax.judging.classifiers import Classifier, frequencies, softmax_regression
from mdn_jax.judging.metrics import OF_KINDS, Scores
from mdn_jax.judging.scoring import evaluate
from mdn_jax.models import Conditional, ConstantStd, Functional, Model, Standardizer, evenly
from mdn_jax.training import fit

__all__ = ["baseline_scores", "baseline_sentences", "least_squares", "marginal_gaussian", "one_gaussian"]

MOST_ROWS = 50_000  # of the training rows that linear least squares takes
SHORTER, MOST_STEPS = 4, 2_000  # of the steps that the one Gaussian trains: a quarter, and no more than these
REPORTED = ("test_nll", "test_rmse", "test_crps", "coverage_90", "test_log_loss", "test_accuracy", "calibration_error")
WITHOUT, LINEAR = (
    ("marginal", "frequencies", "no_inputs"),
    ("least_squares", "softmax", "linear"),
)  # numbers, kinds, both


def baseline_scores(config: Config, dataset: Dataset) -> dict[str, Any]:
    """The scores of the baselines on the test rows.

    Args:
        config: of the model that they stand beside.
        dataset: its rows.

    Returns:
        Name -> scores of the report (nats per row, {target: value}), or None, with the reason under `skipped`.
    """
    names, classes = dataset.target_names, dataset.num_classes
    both = 2 if len({count is None for count in classes}) == 2 else int(classes[0] is not None)
    without, linear = WITHOUT[both], LINEAR[both]
    found: dict[str, Any] = {without: _of_both(dataset, marginal_gaussian, frequencies)}
    found |= {linear: _of_both(dataset, least_squares, softmax_regression), "one_gaussian": None}
    found = {name: scores and _report(scores, names) for name, scores in found.items()}
    reason = _no_gaussian(config, dataset)
    if reason is None:
        model, training = _one_gaussian_config(config)
        scores = one_gaussian(config.seed, dataset, model, training)
        found["one_gaussian"] = _report(scores, names) | {"num_steps": training.num_steps}
    reasons = {linear: "no more training rows than inputs"} | ({"one_gaussian": reason} if None in classes else {})
    return found | {"skipped": {name: why for name, why in reasons.items() if found[name] is None}}


def baseline_sentences(baselines: Mapping[str, Any], test_nll: float) -> list[str]:
    """A warning of a model that a baseline beats; nothing where none does."""
    cures = dict.fromkeys(WITHOUT, "the inputs tell nothing about the targets, or the model overfits")
    cures |= dict.fromkeys(LINEAR, "the model overfits, or was trained too little")
    cures |= {"one_gaussian": "model.num_components = 1 may do"}
    better = [name for name in cures if baselines.get(name) and baselines[name]["test_nll"] <= test_nll]
    if not better:
        return []
    name, titles = better[0], {
        "marginal": "the targets' own Gaussian", "frequencies": "a guess by the class frequencies alone",
        "no_inputs": "a guess without inputs", "least_squares": "linear least squares",
        "softmax": "a linear softmax classifier", "linear": "a linear model",
    }  # fmt: skip
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


def _of_both(
    dataset: Dataset, of_numbers: Callable[[Part, Part], Scores | None], of_kinds: Classifier
) -> Scores | None:
    """The test rows' scores, the numbers' by one baseline and each target of kinds by another; None where one is."""
    train, test, size = dataset.train, dataset.test, len(dataset.num_classes)
    numbers = [dim for dim in range(size) if dataset.num_classes[dim] is None]
    if len(numbers) == size:
        return of_numbers(train, test)
    columns = {name: np.full((len(test), size), np.nan) for name in ("error", "crps", "pit", "width_90", *OF_KINDS)}
    nll = np.zeros(len(test))
    if numbers:
        scores = of_numbers(*(_columns(part, numbers) for part in (train, test)))
        if scores is None:
            return None
        nll = scores.nll
        for name in ("error", "crps", "pit", "width_90"):
            columns[name][:, numbers] = getattr(scores, name)
    inputs, weight = Standardizer.fit(train.x), _weights(train)
    for dim in (dim for dim in range(size) if dim not in numbers):
        known, seen = ~np.isnan(train.y[:, dim]) & (weight > 0), ~np.isnan(test.y[:, dim])
        own, codes = weight[known] / weight[known].mean(), np.where(seen, test.y[:, dim], 0).astype(int)
        x, at = inputs.standardize(train.x[known]), inputs.standardize(test.x)
        log_probs = of_kinds(x, train.y[known, dim], own, dataset.num_classes[dim] or 0, at)
        kind, rows = log_probs.argmax(axis=1), np.arange(len(test))
        loss = np.where(seen, -log_probs[rows, codes], np.nan)
        said = (loss, np.where(seen, kind == codes, np.nan), np.exp(log_probs[rows, kind]), kind)
        for name, values in zip(OF_KINDS, said, strict=True):
            columns[name][:, dim] = values
        nll = nll + np.nan_to_num(loss)
    return Scores(nll, weight=test.weight, classes=dataset.num_classes, **columns)


def _columns(part: Part, dims: Sequence[int]) -> Part:
    """Rows with some of their targets."""
    observed = None if part.observed is None else part.observed[:, dims]
    return replace(part, y=np.where(np.isnan(part.y), 0.0, part.y)[:, dims], observed=observed)


def _no_gaussian(config: Config, dataset: Dataset) -> str | None:
    """The reason for training no single Gaussian; None where one is trained."""
    if config.model.head not in HEADS or None not in dataset.num_classes:
        return "the head's answers are no Gaussians"
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
    report = scores.report(names)
    return {name: report[name] for name in REPORTED if name in report}


def _weights(part: Part) -> Float[np.ndarray, " N"]:
    return np.ones(len(part)) if part.weight is None else part.weight

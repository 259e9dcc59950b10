"""Baselines for a model, on the same rows: the targets alone, a linear answer, one Gaussian per row.

marginal        N(mean, std) of the training targets, whatever x; of kinds `frequencies`, of both `no_inputs`
least_squares   N(a + B x, s), linear, s the std of the training residuals; of kinds `softmax`, of both `linear`
                on a circle both are fitted to cosine and sine, and give a wrapped normal around their direction
one_gaussian    the same network with one component
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from mdn_jax._typing import Float
from mdn_jax.config import Config, ModelConfig, TrainingConfig
from mdn_jax.data import Dataset, Part
from mdn_jax.distributions import Categorical, Diagonal, Distribution, Mixture, Product, Wrapped
from mdn_jax.heads import HEADS, Support
from mdn_jax.judging.classifiers import Numbers, frequencies, softmax_regression
from mdn_jax.judging.metrics import Scores
from mdn_jax.judging.scoring import evaluate
from mdn_jax.models import Model, Standardizer, evenly
from mdn_jax.training import fit

__all__ = [
    "TITLES", "baseline_report", "baseline_scores", "baseline_sentences", "linear", "one_gaussian", "without_inputs",
]  # fmt: skip

Classes = tuple[int | Support | None, ...]

KINDS = (int, np.integer)  # a count of them is a target of kinds
MOST_ROWS = 50_000  # of the training rows that linear least squares takes
SHORTER, MOST_STEPS = 4, 2_000  # of the steps that the one Gaussian trains: a quarter, and no more than these
REPORTED = ("test_nll", "test_rmse", "test_crps", "coverage_90", "test_log_loss", "test_accuracy", "calibration_error")
WITHOUT, LINEAR = (
    ("marginal", "frequencies", "no_inputs"),
    ("least_squares", "softmax", "linear"),
)  # numbers, kinds, both
TITLES = {
    "marginal": "the targets' own Gaussian", "frequencies": "a guess by the class frequencies alone",
    "no_inputs": "a guess without inputs", "least_squares": "linear least squares",
    "softmax": "a linear softmax classifier", "linear": "a linear model", "one_gaussian": "one Gaussian",
}  # fmt: skip


def baseline_scores(config: Config, dataset: Dataset) -> dict[str, Scores | None]:
    """The scores of the baselines on the test rows, by name; None of one that cannot be had.

    Args:
        config: of the model that they stand beside.
        dataset: its rows.
    """
    rows, both = (dataset.train, dataset.test, dataset.for_training["num_classes"]), _sort_of(dataset)
    found = {WITHOUT[both]: without_inputs(*rows), LINEAR[both]: linear(*rows), "one_gaussian": None}
    if _no_gaussian(config, dataset) is None:
        found["one_gaussian"] = one_gaussian(config.seed, dataset, *_one_gaussian_config(config))
    return found


def baseline_report(config: Config, dataset: Dataset, found: Mapping[str, Scores | None]) -> dict[str, Any]:
    """The baselines' scores (nats per row, {target: value}) as plain values, None with the reason under `skipped`."""
    report: dict[str, Any] = {name: scores and _report(scores, dataset.target_names) for name, scores in found.items()}
    if any(one is not None and one.has_mass for one in dataset.supports):  # a density is no probability
        for name in (*WITHOUT, *LINEAR):
            (report.get(name) or {}).pop("test_nll", None)
    if report["one_gaussian"]:
        report["one_gaussian"]["num_steps"] = _one_gaussian_config(config)[1].num_steps
    reasons = {LINEAR[_sort_of(dataset)]: "no more training rows than inputs"}
    reasons |= {"one_gaussian": _no_gaussian(config, dataset)} if None in dataset.num_classes else {}
    return report | {"skipped": {name: why for name, why in reasons.items() if report[name] is None}}


def baseline_sentences(baselines: Mapping[str, Any], test_nll: float) -> list[str]:
    """A warning of a model that a baseline beats; nothing where none does."""
    cures = dict.fromkeys(WITHOUT, "the inputs tell nothing about the targets, or the model overfits")
    cures |= dict.fromkeys(LINEAR, "the model overfits, or was trained too little")
    cures |= {"one_gaussian": "model.num_components = 1 may do"}
    better = [name for name in cures if baselines.get(name) and baselines[name].get("test_nll", math.inf) <= test_nll]
    if not better:
        return []
    name = better[0]
    nll = baselines[name]["test_nll"]
    return [
        f"{TITLES[name]} answers no worse: its NLL is {nll:.3f} nats per row, the model's {test_nll:.3f}: {cures[name]}"
    ]


def without_inputs(train: Part, test: Part, classes: Classes = ()) -> Scores:
    """The test rows' scores by the training targets' mean and standard deviation, and their classes' frequencies."""
    scores = _scores(train, test, classes, _moments, frequencies)
    assert scores is not None  # any rows have moments
    return scores


def linear(train: Part, test: Part, classes: Classes = ()) -> Scores | None:
    """The test rows' scores by linear least squares with a constant variance, and by softmax regression.

    Each target is fitted to the rows that know it; among inputs that say the same the smallest coefficients are taken.

    Args:
        train: rows to fit.
        test: rows to score.
        classes: of each target how many kinds it names, its support, or None; () where all are plain numbers.

    Returns:
        Scores, or None where a number has no more rows than there are coefficients.
    """
    return _scores(train, test, classes, _line, softmax_regression)


def one_gaussian(seed: int, dataset: Dataset, model: ModelConfig, training: TrainingConfig) -> Scores:
    """The test rows' scores by a network, which is trained for it."""
    fitted, test = fit(jax.random.key(seed), **dataset.for_training, model=model, training=training), dataset.test
    return evaluate(fitted.model, test.x, test.y, weights=test.weight, observed=test.observed)


def _scores(train: Part, test: Part, classes: Classes, of_number: Callable, of_kinds: Callable) -> Scores | None:
    """The test rows' scores by a linear model of each target, fitted to the rows that know it; None where one is."""
    classes = classes or (None,) * train.y.shape[1]
    inputs, units = Standardizer.fit(train.x), Standardizer.fit(train.y)
    periods = [one.period if isinstance(one, Support) else 0.0 for one in classes]
    lines = np.array([not isinstance(one, KINDS) and not period for one, period in zip(classes, periods)])
    targets = Standardizer(np.where(lines, units.shift, 0.0), np.where(lines, units.scale, 1.0))
    x = np.concatenate([np.ones((len(train), 1)), inputs.standardize(train.x)], axis=1)
    weight, parts = np.ones(len(train)) if train.weight is None else train.weight, []
    for y, count, period in zip(targets.standardize(train.y).T, classes, periods, strict=True):
        known = ~np.isnan(y) & (weight > 0)
        rows = x[known], y[known], weight[known] / weight[known].mean()
        if period:
            parts.append(_around(*rows, period, of_number))
        else:
            parts.append(of_kinds(*rows, count) if isinstance(count, KINDS) else of_number(*rows))
    if any(part is None for part in parts):
        return None
    model = Model(_Linear(tuple(parts)), inputs, targets)
    return evaluate(model, test.x, test.y, weights=test.weight, observed=~np.isnan(test.y))


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class _Linear:
    """Independent targets: of a number its coefficients and the log of its deviation, of kinds their logits' ones.

    On a circle the coefficients are those of cosine and sine, and the period comes last.
    """

    parts: tuple[Any, ...]

    def __call__(self, x: Float[Array, " X"]) -> Distribution:
        x = jnp.concatenate([jnp.ones(1, x.dtype), x])
        blocks = [_block(x, *part) if isinstance(part, tuple) else Categorical(x @ part) for part in self.parts]
        return blocks[0] if len(blocks) == 1 else Product(tuple(blocks))


def _block(x: Float[Array, " X"], slopes: Any, log_std: Any, period: Any = None) -> Distribution:
    """One Gaussian, on a line or a circle."""
    found = x @ slopes
    centre = found if period is None else jnp.arctan2(found[1], found[0]) * period / (2 * np.pi)
    normal = Mixture(jnp.zeros_like(x[:1]), centre[None, None], Diagonal(jnp.asarray(log_std)[None, None]))
    return normal if period is None else Wrapped(normal, jnp.asarray(period))


def _sort_of(dataset: Dataset) -> int:
    """The place in a triple for targets that are numbers, kinds, or both."""
    kinds = {count is not None for count in dataset.num_classes}
    return 2 if len(kinds) == 2 else int(kinds.pop())


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


def _moments(x: Numbers, y: Numbers, weight: Numbers) -> tuple[Numbers, Numbers]:
    mean = np.average(y, weights=weight)
    return mean * np.eye(x.shape[1])[0], _log_std(np.average((y - mean) ** 2, weights=weight))


def _line(x: Numbers, y: Numbers, weight: Numbers) -> tuple[Numbers, Numbers] | None:
    """Coefficients and log residual deviation of one target; None where the rows do not tell one."""
    rows = evenly(len(x), MOST_ROWS)
    x, y, weight = x[rows], y[rows], weight[rows]
    root = np.sqrt(weight)
    coefficients, _, rank, _ = np.linalg.lstsq(root[:, None] * x, root * y, rcond=None)
    if len(rows) <= rank:
        return None
    # unbiased: every coefficient takes a degree of freedom
    variance = np.average((y - x @ coefficients) ** 2, weights=weight) * len(rows) / (len(rows) - rank)
    return coefficients, _log_std(variance)


def _around(x: Numbers, y: Numbers, weight: Numbers, period: float, of_number: Callable) -> tuple[Any, ...] | None:
    """Coefficients of cosine and sine of a target on a circle, log deviation from their direction, and the period."""
    angles = 2 * np.pi / period * y
    each = [of_number(x, function(angles), weight) for function in (np.cos, np.sin)]
    if None in each:
        return None
    slopes = np.stack([own for own, _ in each], axis=1)
    direction = np.arctan2(*(x @ slopes).T[::-1])
    length = np.average(np.cos(angles - direction), weights=weight)
    return slopes, 0.5 * np.log(-2 * np.log(np.clip(length, 1e-6, 1 - 1e-12))) + np.log(period / (2 * np.pi)), period


def _log_std(variance: Any) -> Numbers:
    return 0.5 * np.log(np.maximum(variance, np.finfo(np.float32).tiny))


def _report(scores: Scores, names: Sequence[str]) -> dict[str, Any]:
    report = scores.report(names)
    return {name: report[name] for name in REPORTED if name in report}

"""Mixture density networks in JAX: a network's output is a distribution."""

import importlib
import inspect
from typing import TYPE_CHECKING, Any

from mdn_jax._checks import InputError
from mdn_jax._checks import check_kinds as _check_kinds
from mdn_jax._version import __version__ as __version__
from mdn_jax.config import Config, DatasetConfig, ModelConfig, TrainingConfig
from mdn_jax.data import Dataset, Part, stroke_dataset
from mdn_jax.distributions import (
    Bounded,
    Categorical,
    Diagonal,
    Independent,
    Inflated,
    Isotropic,
    Merged,
    Mixture,
    Observed,
    Positive,
    Product,
    Stepped,
    Triangular,
    Wrapped,
    affine,
    condition,
    graves_bias,
    log_prob,
    marginal,
    merge,
    responsibilities,
    rsample,
    sample,
    sketch_rnn_temper,
    temper,
)
from mdn_jax.heads import (
    CategoricalSpec,
    CircularSpec,
    IndependentSpec,
    MixtureSpec,
    ProductSpec,
    Support,
    SupportSpec,
    initial_bias,
    unpack,
)
from mdn_jax.judging import calibrate, evaluate
from mdn_jax.models import Conditional, ConstantStd, Functional, Model, Standardizer, ensemble
from mdn_jax.networks import MLP
from mdn_jax.recipe import table_recipe
from mdn_jax.statistics import (
    cdf,
    covariance,
    density_level,
    highest_density,
    highest_density_mass,
    interval,
    log_cdf,
    log_mass,
    log_survival,
    mean,
    mode,
    modes,
    quantile,
    std,
    tail_mean,
)
from mdn_jax.statistics.scores import crps, energy_score, nll, squared_error
from mdn_jax.storage import load, load_state, save, save_state
from mdn_jax.training import Fit, Rows, TrainingState, advance, change_rates, finish, fit, fit_splits, start, stop

if TYPE_CHECKING:
    from mdn_jax.prediction import (
        draw_strokes,
        paper_densities,
        predict,
        predict_distributions,
        predict_samples,
        rollout,
    )
    from mdn_jax.runs import cross_validate
    from mdn_jax.sweeps import sweep

__all__ = [
    "MLP", "Bounded", "Categorical", "CategoricalSpec", "CircularSpec", "Conditional", "Config", "ConstantStd",
    "Dataset", "DatasetConfig", "Diagonal", "Fit", "Functional", "Independent", "IndependentSpec", "Inflated",
    "InputError", "Isotropic", "Merged", "Mixture", "MixtureSpec", "Model", "ModelConfig", "Observed", "Part",
    "Positive", "Product", "ProductSpec", "Rows", "Standardizer", "Stepped", "Support", "SupportSpec", "TrainingConfig",
    "TrainingState", "Triangular", "Wrapped", "advance", "affine", "calibrate", "cdf", "change_rates", "condition",
    "covariance", "cross_validate", "crps", "density_level", "draw_strokes", "energy_score", "ensemble", "evaluate",
    "finish", "fit", "fit_splits", "graves_bias", "highest_density", "highest_density_mass", "initial_bias", "interval",
    "load", "load_state", "log_cdf", "log_mass", "log_prob", "log_survival", "marginal", "mean", "merge", "mode",
    "modes", "nll", "paper_densities", "predict", "predict_distributions", "predict_samples", "quantile",
    "responsibilities", "rollout", "rsample", "sample", "save", "save_state", "sketch_rnn_temper", "squared_error",
    "start", "std", "stop", "stroke_dataset", "sweep", "table_recipe", "tail_mean", "temper", "unpack",
]  # fmt: skip

# who comes in by the front door may have swapped something; inside, functions call each other as they are
_PUBLIC = {name: value for name, value in globals().items() if name in __all__ and inspect.isfunction(value)}
globals().update({name: _check_kinds(function) for name, function in _PUBLIC.items()})

# what brings tables, plots or searches with it is loaded by its first use (PEP 562)
_LAZY: dict[str, str] = dict.fromkeys(
    ("draw_strokes", "paper_densities", "predict", "predict_distributions", "predict_samples", "rollout"), "prediction"
)
_LAZY |= {"cross_validate": "runs", "sweep": "sweeps"}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'mdn_jax' has no attribute {name!r}")
    value = globals()[name] = _check_kinds(getattr(importlib.import_module(f"mdn_jax.{_LAZY[name]}"), name))
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})

"""Mixture density networks in JAX: a network's output is a distribution."""

from mdn_jax._checks import InputError
from mdn_jax.config import Config, DatasetConfig, ModelConfig, TrainingConfig
from mdn_jax.head import MixtureSpec, initial_bias, unpack
from mdn_jax.losses import crps, energy_score, nll, squared_error
from mdn_jax.mixture import Mixture, affine, condition, log_prob, marginal, merge, responsibilities
from mdn_jax.model import ConstantStd, Ensemble, Functional, Model, Standardizer, calibrate, ensemble, evaluate
from mdn_jax.networks import MDN, MLP
from mdn_jax.recipe import table_recipe
from mdn_jax.sampling import graves_bias, rsample, sample, sketch_rnn_temper, temper
from mdn_jax.scales import Diagonal, Isotropic, Triangular
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
from mdn_jax.storage import load, save
from mdn_jax.training import Fit, Objective, Rows, TrainingState, advance, finish, fit, fit_splits, start, stop

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    # sweeps bring optuna and plotting with them: loaded by the first use (PEP 562)
    if name == "sweep":
        from mdn_jax.sweeps import sweep  # noqa: PLC0415

        return sweep
    # predictions are tables, which nothing else at this door reads or writes
    if name in ("predict", "predict_samples"):
        from mdn_jax import prediction  # noqa: PLC0415

        return getattr(prediction, name)
    raise AttributeError(f"module 'mdn_jax' has no attribute {name!r}")

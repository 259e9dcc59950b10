"""Statistics of a mixture: moments, modes, quantiles, regions and scores, as pure functions of one mixture.

What is defined by an equation (quantiles, modes, highest-density regions) is solved without gradients and then
differentiated through that equation, to any order, by `jax.lax.custom_root`.
"""

from mdn_jax.statistics.maxima import mode, modes, weighted_modes
from mdn_jax.statistics.moments import covariance, mean, std
from mdn_jax.statistics.quantiles import cdf, interval, log_cdf, log_mass, log_survival, quantile, tail_mean
from mdn_jax.statistics.regions import density_level, highest_density, highest_density_mass
from mdn_jax.statistics.scores import crps, energy_score, nll, squared_error

__all__ = [
    "cdf", "covariance", "crps", "density_level", "energy_score", "highest_density", "highest_density_mass",
    "interval", "log_cdf", "log_mass", "log_survival", "mean", "mode", "modes", "nll", "quantile", "squared_error",
    "std", "tail_mean", "weighted_modes",
]  # fmt: skip

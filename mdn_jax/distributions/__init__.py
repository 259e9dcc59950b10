"""Distributions: what a network can put out, as frozen pytrees of one example, and what can be done to them exactly."""

from mdn_jax.distributions.mixture import Mixture, affine, condition, log_prob, marginal, merge, responsibilities
from mdn_jax.distributions.sampling import graves_bias, rsample, sample, sketch_rnn_temper, temper
from mdn_jax.distributions.scales import Diagonal, Isotropic, Triangular

__all__ = [
    "Diagonal", "Isotropic", "Mixture", "Triangular", "affine", "condition", "graves_bias", "log_prob", "marginal",
    "merge", "responsibilities", "rsample", "sample", "sketch_rnn_temper", "temper",
]  # fmt: skip

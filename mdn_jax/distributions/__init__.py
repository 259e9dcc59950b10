"""Distributions: what a network can put out, as frozen pytrees of one example, and what can be done to them exactly."""

from mdn_jax.distributions.categorical import Categorical
from mdn_jax.distributions.functions import affine, condition, log_prob, marginal, responsibilities
from mdn_jax.distributions.independent import Independent
from mdn_jax.distributions.inflated import Inflated
from mdn_jax.distributions.merged import Merged, merge
from mdn_jax.distributions.mixture import Mixture
from mdn_jax.distributions.observed import Observed
from mdn_jax.distributions.product import Product
from mdn_jax.distributions.protocol import Distribution
from mdn_jax.distributions.sampling import graves_bias, rsample, sample, sketch_rnn_temper, temper
from mdn_jax.distributions.scales import Diagonal, Isotropic, Triangular
from mdn_jax.distributions.stepped import Stepped
from mdn_jax.distributions.supported import Bounded, Positive
from mdn_jax.distributions.wrapped import Wrapped

__all__ = [
    "Bounded", "Categorical", "Diagonal", "Distribution", "Independent", "Inflated", "Isotropic", "Merged", "Mixture",
    "Observed", "Positive", "Product", "Stepped", "Triangular", "Wrapped", "affine", "condition", "graves_bias",
    "log_prob", "marginal", "merge", "responsibilities", "rsample", "sample", "sketch_rnn_temper", "temper",
]  # fmt: skip

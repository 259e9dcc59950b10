"""A registry of mixtures, and what scipy says of them: nothing here uses the package's own formulas."""

from dataclasses import dataclass
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import logsumexp, softmax
from scipy.stats import multivariate_normal

import mdn_jax as mdn

# one compiled program for each structure of mixture, shared by every test that asks
log_prob = jax.jit(mdn.log_prob)
log_probs = jax.jit(jax.vmap(mdn.log_prob, (None, 0)))
cdfs = jax.jit(jax.vmap(mdn.cdf, (None, 0)))
crps_at = jax.jit(jax.vmap(mdn.crps, (None, 0)))
COVARIANCES = ("isotropic", "diagonal", "tied", "full")


@dataclass(frozen=True)
class Case:
    """A kind of scale, K and D."""

    covariance: str
    num_components: int
    target_dim: int

    def __str__(self):
        return f"{self.covariance}-K{self.num_components}-D{self.target_dim}"

    def mixture(self, seed=0):
        """One mixture, in the floating point precision of the moment."""
        rng = np.random.default_rng([seed, self.num_components, self.target_dim])
        count, dim = self.num_components, self.target_dim
        logits, locs = rng.normal(size=count), 2 * rng.normal(size=(count, dim))
        log_std = 0.5 * rng.normal(size=(count, dim)) - 0.3
        whitener = np.tril(rng.normal(size=(count, dim, dim)), -1) + np.exp(-log_std)[:, :, None] * np.eye(dim)
        scale = {
            "isotropic": lambda: mdn.Isotropic(jnp.asarray(log_std[:, 0])),
            "diagonal": lambda: mdn.Diagonal(jnp.asarray(log_std)),
            "tied": lambda: mdn.Triangular(jnp.asarray(np.repeat(whitener[:1], count, axis=0))),
            "full": lambda: mdn.Triangular(jnp.asarray(whitener)),
        }[self.covariance]()
        return mdn.Mixture(jnp.asarray(logits), jnp.asarray(locs), scale)

    def targets(self, count, seed=0):
        """Targets around the centres, (count, D)."""
        rng = np.random.default_rng([seed, count, self.target_dim])
        return jnp.asarray(3 * rng.normal(size=(count, self.target_dim)))


CASES = [Case(*fields) for fields in product(COVARIANCES, (1, 3), (1, 2, 4))]


def pick(target_dim, num_components=3, covariances=COVARIANCES):
    """The registered cases of one size."""
    return [c for c in CASES if (c.target_dim, c.num_components) == (target_dim, num_components) and
            c.covariance in covariances]  # fmt: skip


def weights_of(mixture) -> np.ndarray:
    """(K,) in double precision."""
    return np.asarray(softmax(np.asarray(mixture.logits, np.float64)))


def covariances_of(mixture) -> np.ndarray:
    """(K, D, D) in double precision, from what the scale's own attributes are defined to mean."""
    scale, dim = mixture.scale, mixture.locs.shape[1]
    if isinstance(scale, mdn.Triangular):
        whitener = np.asarray(scale.whitener, np.float64)
        return np.linalg.inv(np.swapaxes(whitener, 1, 2) @ whitener)
    variances = np.exp(2 * np.asarray(scale.log_std, np.float64))
    return variances.reshape(len(variances), -1)[:, :, None] * np.eye(dim)


def scipy_log_prob(mixture, y, dims=None) -> float:
    """log p(y), or the marginal's over the targets in `dims`, from scipy's multivariate normal."""
    dims = list(range(mixture.locs.shape[1]) if dims is None else dims)
    y, locs = np.asarray(y, np.float64), np.asarray(mixture.locs, np.float64)[:, dims]
    covariances = covariances_of(mixture)[:, dims][:, :, dims]
    terms = [multivariate_normal.logpdf(y, loc, cov) for loc, cov in zip(locs, covariances, strict=True)]
    return float(logsumexp(np.log(weights_of(mixture)) + terms))

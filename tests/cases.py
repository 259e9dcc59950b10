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


def independent(seed=0, dim=3):
    """Three components for each of D targets, all different."""
    each = [Case("diagonal", 3, 1).mixture([seed, d]) for d in range(dim)]
    return mdn.Independent(jax.tree.map(lambda *leaves: jnp.stack(leaves), *each))


def blocks(seed=0):
    """Two correlated targets, a class, and another number."""
    rng = np.random.default_rng([seed, 7])
    weather = mdn.Categorical(jnp.asarray(rng.normal(size=3)))
    return mdn.Product((Case("full", 3, 2).mixture(seed), weather, Case("diagonal", 3, 1).mixture(seed)))


# every distribution beside the mixtures, name -> f(seed) in the precision of the moment
DISTRIBUTIONS = {
    "categorical": lambda seed=0: mdn.Categorical(jnp.asarray(np.random.default_rng(seed).normal(size=4))),
    "independent": independent,
    "product": blocks,
    "numbers": lambda seed=0: mdn.Product((Case("full", 3, 2).mixture(seed), independent(seed, 2))),
    "merged": lambda seed=0: mdn.merge([blocks(seed), blocks(seed + 1)], jnp.array([0.3, 0.7])),
    "merged numbers": lambda seed=0: mdn.merge(
        [independent(seed), Case("tied", 3, 3).mixture(seed)], jnp.array([0.3, 0.7])
    ),
}
HEADS = {
    "mixture": mdn.MixtureSpec(3, 2, "full"),
    "isotropic": mdn.MixtureSpec(3, 2, "isotropic"),
    "independent": mdn.IndependentSpec(3, 2),
    "categorical": mdn.CategoricalSpec(3),
    "product": mdn.ProductSpec((mdn.MixtureSpec(2, 2, "tied"), mdn.CategoricalSpec(3), mdn.IndependentSpec(2, 2))),
}


def num_classes(distribution):
    """Of each target, None where it is a number."""
    kinds = [mdn.marginal(distribution, d) for d in range(distribution.target_dim)]
    return [kind.logits.shape[0] if isinstance(kind, mdn.Categorical) else None for kind in kinds]


def targets_of(distribution, count, seed=0):
    """Numbers around 0 and codes of classes, (count, D)."""
    rng = np.random.default_rng(seed)
    columns = [
        3 * rng.normal(size=count) if classes is None else rng.integers(classes, size=count)
        for classes in num_classes(distribution)
    ]
    return jnp.asarray(np.stack(columns, axis=1), float)


def everything(key, mixture, y):
    """Every answer of the core, name -> array or mixture: a law that runs over `CASES` runs over all of these.

    A target is observed where its index is even; `y` is known in the first dimension, and one corner of the box.
    """
    seen = jnp.arange(mixture.target_dim) % 2 == 0
    scores = (mdn.log_prob, mdn.responsibilities, mdn.nll, mdn.squared_error, mdn.crps, mdn.cdf, mdn.log_cdf,
              mdn.log_survival)  # fmt: skip
    says = {function.__name__: function(mixture, y) for function in scores}
    says |= {function.__name__: function(mixture) for function in (mdn.mean, mdn.std, mdn.covariance)}
    says["observed"] = mdn.nll(mixture, y, observed=seen)
    says["observed shares"] = mdn.responsibilities(mixture, y, observed=seen)
    says["slopes"] = jax.grad(mdn.nll)(mixture, y)
    says["observed slopes"] = jax.grad(lambda m: mdn.nll(m, y, observed=seen))(mixture)
    says["energy_score"] = mdn.energy_score(key, mixture, y, 2)
    says["quantile"], says["interval"] = mdn.quantile(mixture, 0.3), mdn.interval(mixture, 0.9)
    says["tail_mean"] = mdn.tail_mean(mixture, 0.8)
    says["sample"], says["rsample"] = mdn.sample(key, mixture, (3,)), mdn.rsample(key, mixture)
    says["coldest"] = mdn.sample(key, mixture, temperature=0.0)
    says["marginal"] = mdn.marginal(mixture, -1)
    says["modes"] = mdn.modes(mixture)[0]
    if mixture.target_dim == 1:
        says["highest_density"] = mdn.highest_density(mixture, 0.9)
        says["highest_density_mass"] = mdn.highest_density_mass(mixture, y)
    says["merge"] = mdn.merge([mixture, mixture], jnp.array([1.0, 3.0], y.dtype))
    says["affine"] = mdn.affine(mixture, shift=jnp.zeros_like(y), scale=-jnp.ones_like(y))
    if mixture.target_dim > 1:
        says["condition"] = mdn.condition(mixture, 0, y[0])
    if mixture.target_dim == 1 or not isinstance(mixture.scale, mdn.Triangular):
        says["log_mass"] = mdn.log_mass(mixture, y, y + mdn.std(mixture))
        says["log_mass below"] = mdn.log_mass(mixture, jnp.full_like(y, -jnp.inf), y)
    return says


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

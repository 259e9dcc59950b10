r"""Scores of one distribution against one target: one example in, one number out, never reduced.

All are proper scores but `squared_error`, which sees the mean alone; lower is better. Take the mean over a batch
yourself: `jax.vmap(mdn.nll)(distributions, ys).mean()`.
"""

import jax
import jax.numpy as jnp
from jax import Array

from mdn_jax._checks import require
from mdn_jax._typing import Bool, Float, Key, Scalar
from mdn_jax.distributions import Distribution, Merged, Mixture, Observed, log_prob
from mdn_jax.distributions.protocol import apart, capability, check_target, of_each
from mdn_jax.distributions.scales import PRECISION, length

__all__ = ["crps", "energy_score", "nll", "squared_error"]


def nll(
    distribution: Distribution | Observed, y: Float[Array, " D"], *, observed: Bool[Array, " D"] | None = None
) -> Scalar:
    """Negative log-likelihood: -log p(y), in nats. Negative where the density exceeds 1.

    Args:
        distribution: one distribution.
        y: (D,) one target.
        observed: (D,) which targets are known; the others are integrated out.

    Returns:
        () nats, constants included.

    Raises:
        InputError: for a batch (use `jax.vmap(mdn.nll)`).

    Example:
        >>> import jax.numpy as jnp, mdn_jax as mdn
        >>> mixture = mdn.Mixture(jnp.zeros(1), jnp.zeros((1, 1)), mdn.Isotropic(jnp.zeros(1)))
        >>> print(round(float(mdn.nll(mixture, jnp.zeros(1))), 4))
        0.9189
    """
    distribution, y, observed = check_target("nll", distribution, y, observed)
    return -log_prob(distribution, y, observed=observed)


def squared_error(distribution: Distribution, y: Float[Array, " D"]) -> Scalar:
    """Squared distance of the target from the mean: |y - E[Y]|^2, summed over the D targets.

    Args:
        distribution: one distribution.
        y: (D,) one target.

    Returns:
        () squared units of the target.

    Raises:
        InputError: for a batch (use `jax.vmap(mdn.squared_error)`).

    Example:
        >>> import jax.numpy as jnp, mdn_jax as mdn
        >>> mixture = mdn.Mixture(jnp.zeros(1), jnp.zeros((1, 1)), mdn.Isotropic(jnp.zeros(1)))
        >>> print(mdn.squared_error(mixture, jnp.array([3.0])))
        9.0
    """
    distribution, y, _ = check_target("squared_error", distribution, y)
    if isinstance(distribution, Mixture):
        # y - E[Y] as a mean of distances, which a large offset leaves their digits
        errors = jnp.einsum("k,kd->d", distribution.weights, y[None, :] - distribution.locs, precision=PRECISION)
    else:
        errors = apart(distribution, y, of_each("squared_error", distribution, "mean"))
    return jnp.sum(errors**2)


def crps(distribution: Distribution, y: Float[Array, " D"]) -> Scalar:
    """Continuous ranked probability score of the marginals, averaged over the D targets, in closed form.

    CRPS = E|Y - y| - E|Y - Y'| / 2 for each target. It does not see correlations: see `energy_score`.
    Equivalent to `scoringrules.crps_mixnorm`.

    Args:
        distribution: one distribution.
        y: (D,) one target.

    Returns:
        () in the units of the targets.

    Raises:
        InputError: for a batch (use `jax.vmap(mdn.crps)`).

    Example:
        >>> import jax, jax.numpy as jnp, mdn_jax as mdn
        >>> mixture = mdn.Mixture(jnp.zeros(1), jnp.zeros((1, 1)), mdn.Isotropic(jnp.zeros(1)))
        >>> print(round(float(jax.jit(mdn.crps)(mixture, jnp.zeros(1))), 4))
        0.2337

    References:
        E. P. Grimit, T. Gneiting, V. J. Berrocal and N. A. Johnson, "The continuous ranked probability score for
        circular variables and its application to mesoscale forecast ensemble verification", 2006.
    """
    distribution, y, _ = check_target("crps", distribution, y)
    return jnp.mean(marginal_crps(distribution, y))


def energy_score(key: Key, distribution: Distribution, y: Float[Array, " D"], num_samples: int) -> Scalar:
    """Energy score E|Y - y| - E|Y - Y'| / 2, an unbiased estimate that sees correlations; CRPS where D = 1.

    Every component is sampled `num_samples` times and weighted by its probability, so that the estimate has
    gradients in the weights too; independent blocks are sampled pathwise.

    Args:
        key: a PRNG key.
        distribution: one distribution.
        y: (D,) one target.
        num_samples: draws of EACH component of a mixture or of what is merged, at least 2.

    Returns:
        () in the units of the targets.

    Raises:
        InputError: for a batch (use `jax.vmap` over keys, mixtures and targets), or num_samples below 2.

    Example:
        >>> import jax, jax.numpy as jnp, mdn_jax as mdn
        >>> mixture = mdn.Mixture(jnp.zeros(1), jnp.zeros((1, 1)), mdn.Isotropic(jnp.zeros(1)))
        >>> print(mdn.energy_score(jax.random.key(0), mixture, jnp.zeros(1), 2000).round(1))
        0.2

    References:
        T. Gneiting and A. E. Raftery, "Strictly proper scoring rules, prediction, and estimation", 2007, eq. 22.
    """
    distribution, y, _ = check_target("energy_score", distribution, y)
    require(num_samples >= 2, f"energy_score needs num_samples of at least 2 (pairs of draws); got {num_samples}")
    weights, draws = _draws(key, distribution, y, num_samples)
    to_target = jnp.mean(length(draws), axis=0)
    pairs = length(draws[:, None, :, None, :] - draws[None, :, None, :, :])  # (S, S, K, K)
    totals = jnp.sum(pairs, axis=(0, 1))  # a draw's distance to itself adds 0: only the count must leave it out
    own = jnp.eye(weights.shape[0], dtype=totals.dtype)
    to_other = totals / (num_samples**2 - num_samples * own)
    second = jnp.einsum("k,l,kl->", weights, weights, to_other, precision=PRECISION)
    return jnp.sum(weights * to_target) - 0.5 * second


def marginal_crps(distribution: Distribution, y: Float[Array, " D"]) -> Float[Array, " D"]:
    """The CRPS of each target's marginal, before `crps` takes their mean."""
    return of_each("crps", distribution, "crps", y)


def _draws(
    key: Key, distribution: Distribution, y: Float[Array, " D"], num_samples: int
) -> tuple[Float[Array, " K"], Float[Array, "S K D"]]:
    """Weights of what is drawn from, and draws of each as seen from y, with gradients in every parameter."""
    if isinstance(distribution, Mixture):
        noise = jax.random.normal(key, (num_samples, *distribution.locs.shape), distribution.locs.dtype)
        return distribution.weights, (distribution.locs - y[None, :])[None] + jax.vmap(distribution.scale.colour)(noise)
    if isinstance(distribution, Merged):
        keys = jax.random.split(key, len(distribution.parts))
        each = [_draws(own, part, y, num_samples) for own, part in zip(keys, distribution.parts)]
        shares = jax.nn.softmax(distribution.log_weights)
        weights = jnp.concatenate([shares[i] * own for i, (own, _) in enumerate(each)])
        return weights, jnp.concatenate([draws for _, draws in each], axis=1)
    rsample, marginal = (capability("energy_score", distribution, name) for name in ("rsample", "marginal"))
    for d in range(distribution.target_dim):
        capability("energy_score", marginal((d,)), "rsample", d)
    draws = jax.vmap(rsample)(jax.random.split(key, num_samples))
    return jnp.ones_like(y[:1]), (draws - y[None, :])[:, None, :]

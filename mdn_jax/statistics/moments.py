"""Mean, covariance and standard deviation of a mixture."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from mdn_jax._checks import check_single
from mdn_jax._typing import Float
from mdn_jax.distributions.mixture import Mixture
from mdn_jax.distributions.scales import PRECISION, length

__all__ = ["covariance", "mean", "std"]


def mean(mixture: Mixture) -> Float[Array, " D"]:
    """E[Y] = sum_k w_k mu_k.

    Args:
        mixture: one mixture.

    Returns:
        (D,) in the units of the target.

    Raises:
        InputError: for a batch (use `jax.vmap(mdn.mean)`).

    Example:
        >>> import jax.numpy as jnp, mdn_jax as mdn
        >>> print(mdn.mean(mdn.Mixture(jnp.zeros(2), jnp.array([[0.0], [4.0]]), mdn.Isotropic(jnp.zeros(2)))))
        [2.]
    """
    mixture = check_single("mean", mixture)
    return _about_the_mean(mixture)[0]


def covariance(mixture: Mixture) -> Float[Array, "D D"]:
    """Cov[Y] = E[Cov(Y|k)] + Cov(E[Y|k]).

    Args:
        mixture: one mixture.

    Returns:
        (D, D) in squared units of the target.

    Raises:
        InputError: for a batch (use `jax.vmap(mdn.covariance)`).

    Example:
        >>> import jax.numpy as jnp, mdn_jax as mdn
        >>> mixture = mdn.Mixture(jnp.zeros(2), jnp.array([[0.0], [4.0]]), mdn.Isotropic(jnp.zeros(2)))
        >>> print(mdn.covariance(mixture))
        [[5.]]
    """
    mixture = check_single("covariance", mixture)
    _, centred = _about_the_mean(mixture)
    between = jnp.einsum("k,ki,kj->ij", mixture.weights, centred, centred, precision=PRECISION)
    within = mixture.scale.covariance(mixture.target_dim)
    return jnp.einsum("k,kij->ij", mixture.weights, within, precision=PRECISION) + between


def std(mixture: Mixture) -> Float[Array, " D"]:
    """Standard deviation of each target: the root of the covariance's diagonal.

    Args:
        mixture: one mixture.

    Returns:
        (D,) in the units of the target.

    Raises:
        InputError: for a batch (use `jax.vmap(mdn.std)`).

    Example:
        >>> import jax.numpy as jnp, mdn_jax as mdn
        >>> print(mdn.std(mdn.Mixture(jnp.zeros(1), jnp.zeros((1, 2)), mdn.Isotropic(jnp.zeros(1)))))
        [1. 1.]
    """
    mixture = check_single("std", mixture)
    _, centred = _about_the_mean(mixture)
    roots = jnp.exp(0.5 * jax.nn.log_softmax(mixture.logits))[:, None]
    return length(jnp.concatenate([roots * mixture.scale.std(mixture.target_dim), roots * centred]).T)


def _about_the_mean(mixture: Mixture) -> tuple[Float[Array, " D"], Float[Array, "K D"]]:
    """The mean, and the centres' distances from it, which keep the digits that a large offset would cost."""
    average = partial(jnp.einsum, "k,kd->d", mixture.weights, precision=PRECISION)
    near = jax.lax.stop_gradient(average(mixture.locs))
    apart = mixture.locs - near[None, :]
    beyond = average(apart)
    return near + beyond, apart - beyond[None, :]

"""Mean, covariance and standard deviation of a distribution."""

from jax import Array

from mdn_jax._typing import Float
from mdn_jax.distributions.protocol import Distribution, capability, of_each, single

__all__ = ["covariance", "mean", "std"]


def mean(distribution: Distribution) -> Float[Array, " D"]:
    """E[Y] = sum_k w_k mu_k.

    Args:
        distribution: one distribution.

    Returns:
        (D,) in the units of the target.

    Raises:
        InputError: for a batch (use `jax.vmap(mdn.mean)`).

    Example:
        >>> import jax.numpy as jnp, mdn_jax as mdn
        >>> print(mdn.mean(mdn.Mixture(jnp.zeros(2), jnp.array([[0.0], [4.0]]), mdn.Isotropic(jnp.zeros(2)))))
        [2.]
    """
    return of_each("mean", single("mean", distribution), "mean")


def covariance(distribution: Distribution) -> Float[Array, "D D"]:
    """Cov[Y] = E[Cov(Y|k)] + Cov(E[Y|k]).

    Args:
        distribution: one distribution.

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
    return capability("covariance", single("covariance", distribution), "covariance")()


def std(distribution: Distribution) -> Float[Array, " D"]:
    """Standard deviation of each target: the root of the covariance's diagonal.

    Args:
        distribution: one distribution.

    Returns:
        (D,) in the units of the target.

    Raises:
        InputError: for a batch (use `jax.vmap(mdn.std)`).

    Example:
        >>> import jax.numpy as jnp, mdn_jax as mdn
        >>> print(mdn.std(mdn.Mixture(jnp.zeros(1), jnp.zeros((1, 2)), mdn.Isotropic(jnp.zeros(1)))))
        [1. 1.]
    """
    return of_each("std", single("std", distribution), "std")

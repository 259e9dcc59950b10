"""The density of a distribution, and what can be made of one exactly: marginals, conditionals, changes of units."""

import operator
from collections.abc import Iterable, Sequence

import jax.numpy as jnp
import numpy as np
from jax import Array

from mdn_jax._checks import InputError, require
from mdn_jax._typing import Bool, Float, Scalar
from mdn_jax.distributions.observed import Observed
from mdn_jax.distributions.protocol import Distribution, capability, check_target, dtype_of, single

__all__ = ["affine", "condition", "log_prob", "marginal", "responsibilities"]


def log_prob(
    distribution: Distribution | Observed, y: Float[Array, " D"], *, observed: Bool[Array, " D"] | None = None
) -> Scalar:
    """Log density of `y` in nats, constants included.

    Equivalent to `scipy.special.logsumexp(log w_k + scipy.stats.multivariate_normal.logpdf(y, mu_k, Sigma_k))`.
    Gradients follow Bishop's closed form, in which the responsibilities weigh the components' gradients; forward
    and reverse mode pass, to any order.

    Args:
        distribution: one distribution.
        y: (D,) one target.
        observed: (D,) which targets are known; the others are integrated out, exactly, and may be NaN.

    Returns:
        () nats per example, in the units of `y`.

    Raises:
        InputError: for a batch (use `jax.vmap(mdn.log_prob)`).

    Example:
        >>> import jax.numpy as jnp, mdn_jax as mdn
        >>> mixture = mdn.Mixture(jnp.zeros(1), jnp.zeros((1, 1)), mdn.Diagonal(jnp.zeros((1, 1))))
        >>> print(round(float(mdn.log_prob(mixture, jnp.array([0.0]))), 4))
        -0.9189
    """
    distribution, y, observed = check_target("log_prob", distribution, y, observed)
    seen = distribution if observed is None else Observed(distribution, observed)
    return capability("log_prob", seen, "log_prob")(y)


def responsibilities(
    distribution: Distribution | Observed, y: Float[Array, " D"], *, observed: Bool[Array, " D"] | None = None
) -> Float[Array, " K"]:
    """Posterior probability of each component given `y`: w_k N_k(y) / p(y).

    Args:
        distribution: one distribution.
        y: (D,) one target.
        observed: (D,) which targets are known.

    Returns:
        (K,) with sum 1; where every density vanishes, as at infinity, their limit: all to what reaches farthest.

    Raises:
        InputError: for a batch (use `jax.vmap(mdn.responsibilities)`).

    Example:
        >>> import jax.numpy as jnp, mdn_jax as mdn
        >>> mixture = mdn.Mixture(jnp.zeros(2), jnp.array([[-9.0], [9.0]]), mdn.Isotropic(jnp.zeros(2)))
        >>> print(mdn.responsibilities(mixture, jnp.array([9.0])))
        [0. 1.]
    """
    distribution, y, observed = check_target("responsibilities", distribution, y, observed)
    seen = distribution if observed is None else Observed(distribution, observed)
    return capability("responsibilities", seen, "responsibilities")(y)


def marginal(distribution: Distribution, dims: int | Sequence[int]) -> Distribution:
    """The distribution of some of the targets, the others integrated out.

    Args:
        distribution: one distribution.
        dims: static indices of the targets to keep, in the order wanted.

    Returns:
        Of a mixture one with D = len(dims).

    Raises:
        InputError: for a batch, or for indices that repeat, are out of range, or are none.

    Example:
        >>> import jax.numpy as jnp, mdn_jax as mdn
        >>> mixture = mdn.Mixture(jnp.zeros(1), jnp.array([[1.0, 2.0]]), mdn.Isotropic(jnp.zeros(1)))
        >>> print(mdn.marginal(mixture, 1).locs)
        [[2.]]
    """
    distribution = single("marginal", distribution)
    return capability("marginal", distribution, "marginal")(_indices("marginal", dims, distribution.target_dim))


def condition(
    distribution: Distribution, dims: int | Sequence[int], values: Float[Array, " G"] | float
) -> Distribution:
    """The distribution of the other targets once those in `dims` are known.

    In a mixture each component's weight is multiplied by its density at the known values, and its centre moves by its
    regression.

    Args:
        distribution: one distribution.
        dims: static indices of the known targets.
        values: (len(dims),) what they are; a scalar where `dims` is one index.

    Returns:
        A distribution of the remaining targets, in their order.

    Raises:
        InputError: for a batch, for indices that repeat, are out of range, none or all, or values of another shape.

    Example:
        >>> import jax.numpy as jnp, mdn_jax as mdn
        >>> whitener = jnp.array([[[1.0, 0.0], [-3.0, 1.0]]])  # y_1 = 3 y_0 + noise
        >>> mixture = mdn.Mixture(jnp.zeros(1), jnp.zeros((1, 2)), mdn.Triangular(whitener))
        >>> print(mdn.condition(mixture, 0, 2.0).locs)
        [[6.]]
    """
    distribution = single("condition", distribution)
    given = _indices("condition", dims, distribution.target_dim)
    require(
        len(given) < distribution.target_dim,
        f"condition leaves nothing free: dims {given} are all {distribution.target_dim} targets",
    )
    values = jnp.atleast_1d(jnp.asarray(values, dtype_of(distribution)))
    require(
        values.shape == (len(given),),
        f"condition takes one value per index, shape ({len(given)},); got {values.shape}: use jax.vmap(mdn.condition)",
    )
    return capability("condition", distribution, "condition")(given, values)


def affine(distribution: Distribution, *, shift: Float[Array, " D"], scale: Float[Array, " D"]) -> Distribution:
    """The distribution of `shift + scale * y`: a change of units, or the undoing of a standardisation.

    Args:
        distribution: one distribution.
        shift: (D,) added.
        scale: (D,) factors of any sign, none zero.

    Returns:
        Of a mixture one of the same kind of scale; `Isotropic` becomes `Diagonal`. Classes have shift 0 and scale 1.

    Raises:
        InputError: for a batch, or for shapes other than (D,).

    Example:
        >>> import jax.numpy as jnp, mdn_jax as mdn
        >>> celsius = mdn.Mixture(jnp.zeros(1), jnp.array([[100.0]]), mdn.Diagonal(jnp.zeros((1, 1))))
        >>> print(mdn.affine(celsius, shift=jnp.array([32.0]), scale=jnp.array([1.8])).locs)
        [[212.]]
    """
    shift, scale, expected = jnp.asarray(shift), jnp.asarray(scale), (distribution.target_dim,)
    distribution = single("affine", distribution, shift=(shift, expected), scale=(scale, expected))
    dtype = dtype_of(distribution)
    return capability("affine", distribution, "affine")(shift.astype(dtype), scale.astype(dtype))


def _indices(function: str, dims: int | Sequence[int], target_dim: int) -> tuple[int, ...]:
    """Static target indices, checked, negative ones counted from the end."""
    listed = list(dims) if isinstance(dims, Iterable) else [dims]
    try:
        require(not any(isinstance(d, bool | np.bool_) for d in listed), "")
        given = tuple(operator.index(d) for d in listed)
    except (TypeError, InputError):
        raise InputError(f"{function} takes indices of targets, static integers; got {dims}") from None
    resolved = tuple(d + target_dim if d < 0 else d for d in given)
    require(
        len(resolved) > 0 and len(set(resolved)) == len(resolved) and all(0 <= d < target_dim for d in resolved),
        f"{function} takes distinct target indices from 0 to {target_dim - 1}; got {list(given)}",
    )
    return resolved

"""Regions of highest density: exact intervals on a line, a level of density in any dimension."""

import jax
import jax.numpy as jnp
from jax import Array

from mdn_jax._checks import check_range, require
from mdn_jax._typing import Bool, Float, Key, Scalar
from mdn_jax.distributions import Distribution, Mixture, log_prob, sample
from mdn_jax.distributions.protocol import capability, check_target, dtype_of, single
from mdn_jax.statistics.line import mass_above, profile, region

__all__ = ["density_level", "highest_density", "highest_density_mass"]


def density_level(key: Key, distribution: Distribution, mass: float | Scalar, num_samples: int) -> Scalar:
    """The log density above which a share `mass` of the probability lies, in any dimension, by sampling.

    `log_prob(distribution, y) >= level` tells whether y lies in the smallest region of that mass.

    Args:
        key: a PRNG key.
        distribution: one distribution.
        mass: () in (0, 1).
        num_samples: how many draws estimate it; the mass is met within sqrt(mass (1 - mass) / num_samples).

    Returns:
        () nats.

    Raises:
        InputError: for a batch (use `jax.vmap`), a mass outside (0, 1), or num_samples below 1.

    Example:
        >>> import jax, jax.numpy as jnp, mdn_jax as mdn
        >>> mixture = mdn.Mixture(jnp.zeros(1), jnp.zeros((1, 2)), mdn.Isotropic(jnp.zeros(1)))
        >>> level = jax.jit(mdn.density_level, static_argnums=3)(jax.random.key(0), mixture, 0.5, 4096)
        >>> round(float(level), 1)  # log(0.5 / (2 pi))
        -2.5
    """
    check_range("mass", mass, 0, 1)
    distribution = single("density_level", distribution, mass=(jnp.asarray(mass), ()))
    require(num_samples >= 1, f"num_samples must be at least 1; got {num_samples}")
    draws = sample(key, distribution, (num_samples,))
    return jnp.quantile(jax.vmap(lambda y: log_prob(distribution, y))(draws), 1 - mass)


def highest_density(distribution: Distribution, mass: float | Scalar) -> Float[Array, "K 2"]:
    """The smallest region that holds a share `mass` of a one-dimensional mixture: disjoint intervals.

    Args:
        distribution: one distribution with D = 1.
        mass: () in (0, 1), say 0.9.

    Returns:
        (K, 2) lower and upper ends in rising order, in the units of the target; unused rows are NaN (a mixture of K
        Gaussians on a line has at most K modes). The mass is met within 1e-4 in float32, and 1e-8 in float64.

    Raises:
        InputError: for a batch (use `jax.vmap`), for D > 1 (use `density_level`, or `marginal` first), or a mass
            outside (0, 1).

    Example:
        >>> import jax, jax.numpy as jnp, mdn_jax as mdn
        >>> mixture = mdn.Mixture(jnp.zeros(2), jnp.array([[-9.0], [9.0]]), mdn.Isotropic(jnp.zeros(2)))
        >>> print(jax.jit(mdn.highest_density)(mixture, 0.9).round(1))
        [[-10.6  -7.4]
         [  7.4  10.6]]

    References:
        R. J. Hyndman, "Computing and graphing highest density regions", 1996.
    """
    check_range("mass", mass, 0, 1)
    distribution = single("highest_density", distribution, mass=(jnp.asarray(mass), ()))
    require(
        distribution.target_dim == 1,
        f"highest_density needs one target, not {distribution.target_dim}: take mdn.marginal(mixture, d) first, or "
        f"mdn.density_level in any dimension",
    )
    mass = jnp.asarray(mass, dtype_of(distribution))
    return capability("highest_density", distribution, "highest_density", known={Mixture: _region})(mass)


def highest_density_mass(distribution: Distribution, y: Float[Array, " 1"]) -> Scalar:
    """The probability of a density higher than at `y`: the mass of the smallest highest-density region that reaches it.

    Uniform in (0, 1) for targets drawn from the mixture, as the PIT is: `highest_density(mixture, mass)` holds `y`
    where `mass` exceeds it.

    Args:
        distribution: one distribution with D = 1.
        y: (1,) one target.

    Returns:
        () in [0, 1].

    Raises:
        InputError: for a batch (use `jax.vmap`), or for D > 1.

    Example:
        >>> import jax, jax.numpy as jnp, mdn_jax as mdn
        >>> mixture = mdn.Mixture(jnp.zeros(1), jnp.zeros((1, 1)), mdn.Isotropic(jnp.zeros(1)))
        >>> print(round(float(jax.jit(mdn.highest_density_mass)(mixture, jnp.array([1.0]))), 3))
        0.683

    References:
        R. Izbicki, G. Shimizu and R. Stern, "CD-split and HPD-split: efficient conformal regions in high dimensions",
        2022.
    """
    distribution, y, _ = check_target("highest_density_mass", distribution, y)
    require(
        distribution.target_dim == 1,
        f"highest_density_mass needs one target, not {distribution.target_dim}: take mdn.marginal(mixture, d) first",
    )
    known = {Mixture: _mass_reaching}
    return capability("highest_density_mass", distribution, "highest_density_mass", known=known)(y)


def _region(mixture: Mixture, mass: Scalar) -> Float[Array, "K 2"]:
    ends, used, _ = region(profile(jax.lax.stop_gradient(mixture)), jax.lax.stop_gradient(mass))
    ends = _differentiable_ends(mixture, mass, ends, used)
    return jnp.where(used[:, None], ends, jnp.nan)


@jax.custom_jvp
def _mass_reaching(mixture: Mixture, y: Float[Array, " 1"]) -> Scalar:
    return mass_above(profile(mixture), y[0])[0]


@_mass_reaching.defjvp
def _mass_reaching_jvp(primals: tuple, tangents: tuple) -> tuple[Scalar, Scalar]:
    mixture, y = primals
    mass, ends, signs = mass_above(profile(mixture), y[0])
    slope = jax.vmap(lambda end: jax.grad(mixture.log_prob)(end[None])[0])(ends)
    rates = jnp.exp(_log_density(mixture, ends)) / jnp.where(slope == 0, jnp.inf, slope)

    def held(mixture: Mixture, y: Float[Array, " 1"]) -> Scalar:
        # an end moves by what its density lacks of that at y, divided by its slope
        lacks = mixture.log_prob(y) - _log_density(mixture, ends)
        return jnp.sum(jnp.where(signs == 0, 0.0, signs * (_below(mixture, ends) + rates * lacks)))

    return mass, jax.jvp(held, primals, tangents)[1]


def _log_density(mixture: Mixture, y: Float[Array, " S"]) -> Float[Array, " S"]:
    """log p at S points of a line."""
    return jax.vmap(lambda point: mixture.log_prob(point[None]))(y)


def _below(mixture: Mixture, y: Float[Array, " S"]) -> Float[Array, " S"]:
    """The distribution function at S points of a line."""
    return jax.vmap(lambda point: mixture.cdf(point[None])[0])(y)


def _differentiable_ends(
    mixture: Mixture, mass: Scalar, ends: Float[Array, "K 2"], used: Bool[Array, " K"]
) -> Float[Array, "K 2"]:
    """The same ends, differentiable through what defines them: equal densities, and the mass between them."""
    used_ends = jnp.repeat(used, 2)
    fixed = jnp.where(used_ends, ends.ravel(), mixture.locs[0, 0])
    fixed = jax.lax.stop_gradient(fixed)
    signs = jnp.where(jnp.arange(fixed.size) % 2 == 0, -1.0, 1.0).astype(fixed.dtype)

    def residual(ends: Array) -> Array:
        heights = _log_density(mixture, ends)
        inside = jnp.sum(jnp.where(used_ends, signs * _below(mixture, ends), 0.0)) - mass
        equal = jnp.where(used_ends, heights - heights[0], ends - fixed)
        return equal.at[0].set(inside)

    flat = jax.lax.custom_root(
        residual,
        fixed,
        solve=lambda _, start: start,
        tangent_solve=lambda linear, rhs: jnp.linalg.solve(jax.jacfwd(linear)(jnp.zeros_like(rhs)), rhs),
    )
    return flat.reshape(-1, 2)

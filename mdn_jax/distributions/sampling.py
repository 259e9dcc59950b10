r"""Drawing from a mixture, and the field's three conventions of temperature.

Here a temperature tau divides the logits and multiplies the VARIANCES (World Models; the paper of sketch-rnn):
weights softmax(logits / tau), standard deviations std * sqrt(tau). tau = 1 is the mixture itself, tau = 0 the most
probable component's centre, exactly. The other two conventions are mixtures of their own, to be sampled at tau = 1:
`sketch_rnn_temper` and `graves_bias`.

References:
    D. Ha and J. Schmidhuber, "World models", 2018. D. Ha and D. Eck, "A neural representation of sketch drawings",
    2017. A. Graves, "Generating sequences with recurrent neural networks", 2013, eq. 61 and 62.
    M. Figurnov, S. Mohamed and A. Mnih, "Implicit reparameterization gradients", 2018 (`rsample`).
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
from jax import Array

from mdn_jax._checks import require
from mdn_jax._typing import Float, Int, Key
from mdn_jax.distributions.protocol import Distribution, capability, dtype_of, single
from mdn_jax.distributions.scales import forward_substitution

if TYPE_CHECKING:
    from mdn_jax.distributions.mixture import Mixture

__all__ = ["choose", "draw", "draw_pathwise", "graves_bias", "rsample", "sample", "sketch_rnn_temper", "temper"]


def sample(
    key: Key, distribution: Distribution, shape: tuple[int, ...] = (), *, temperature: float | Float[Array, ""] = 1.0
) -> Float[Array, "*S D"]:
    """Independent draws. Gradients reach centres and scales, not the logits: for those use `rsample`.

    Args:
        key: a PRNG key, typed or legacy.
        distribution: one distribution.
        shape: static shape of the draws.
        temperature: 1 samples the mixture; lower is less varied; 0 gives the most probable component's centre.

    Returns:
        (*shape, D) in the units of the mixture.

    Raises:
        InputError: for a batch (use `jax.vmap` over keys and mixtures), or a negative temperature.

    Example:
        >>> import jax, jax.numpy as jnp, mdn_jax as mdn
        >>> mixture = mdn.Mixture(jnp.array([0.0, 1.0]), jnp.array([[-9.0], [9.0]]), mdn.Isotropic(jnp.zeros(2)))
        >>> mdn.sample(jax.random.key(0), mixture, (5,)).shape
        (5, 1)
        >>> print(mdn.sample(jax.random.key(0), mixture, temperature=0.0))
        [9.]
    """
    distribution = single("sample", distribution, temperature=(jnp.asarray(temperature), ()))
    require(
        not isinstance(temperature, int | float) or temperature >= 0,
        f"temperature must be 0 or more; got {temperature}",
    )
    return capability("sample", distribution, "sample")(key, shape, temperature)


def rsample(key: Key, distribution: Distribution) -> Float[Array, " D"]:
    """One draw whose gradient is pathwise in every parameter, the logits included.

    The draw y is tied to its conditional quantiles u_d = F(y_d | y_1 ... y_{d-1}), which are held while the parameters
    move: dy = -(du/dy)^{-1} du/dparameters. For D = 1 that is the quantile's implicit rule. Where components hardly
    overlap the derivative with respect to the logits is large and rare: unbiased, of high variance.

    Args:
        key: a PRNG key, typed or legacy.
        distribution: one distribution.

    Returns:
        (D,) distributed as `sample`.

    Raises:
        InputError: for a batch (use `jax.vmap` over keys and mixtures).

    Example:
        >>> import jax, jax.numpy as jnp, mdn_jax as mdn
        >>> def mean_draw(logits):
        ...     mixture = mdn.Mixture(logits, jnp.array([[-1.0], [1.0]]), mdn.Isotropic(jnp.zeros(2)))
        ...     return jax.vmap(lambda key: mdn.rsample(key, mixture))(jax.random.split(jax.random.key(0), 4096)).mean()
        >>> print(jax.jit(jax.grad(mean_draw))(jnp.zeros(2)).round(1))  # the mean is tanh((l_1 - l_0) / 2)
        [-0.5  0.5]
    """
    distribution = single("rsample", distribution)
    return capability("rsample", distribution, "rsample")(key)


def temper(distribution: Distribution, temperature: float | Float[Array, ""]) -> Distribution:
    """The mixture that `sample(..., temperature=temperature)` draws from: logits / tau, std * sqrt(tau).

    Args:
        distribution: one distribution, or a batch.
        temperature: positive.

    Returns:
        A distribution of the same shapes.

    Example:
        >>> import jax.numpy as jnp, mdn_jax as mdn
        >>> mixture = mdn.Mixture(jnp.ones(1), jnp.zeros((1, 1)), mdn.Isotropic(jnp.zeros(1)))
        >>> print(jnp.exp(mdn.temper(mixture, 4.0).scale.log_std))
        [2.]
    """
    tau = jnp.asarray(temperature, dtype_of(distribution))
    return capability("temper", distribution, "tempered")(1 / tau, 0.5 * jnp.log(tau))


def sketch_rnn_temper(distribution: Distribution, temperature: float | Float[Array, ""]) -> Distribution:
    """The convention of sketch-rnn's published code: logits / tau, std * tau.

    Args:
        distribution: one distribution, or a batch.
        temperature: positive.

    Returns:
        A distribution of the same shapes, to be sampled at temperature 1.

    Example:
        >>> import jax.numpy as jnp, mdn_jax as mdn
        >>> mixture = mdn.Mixture(jnp.ones(1), jnp.zeros((1, 1)), mdn.Isotropic(jnp.zeros(1)))
        >>> print(jnp.exp(mdn.sketch_rnn_temper(mixture, 0.5).scale.log_std))
        [0.5]
    """
    tau = jnp.asarray(temperature, dtype_of(distribution))
    return capability("sketch_rnn_temper", distribution, "tempered")(1 / tau, jnp.log(tau))


def graves_bias(distribution: Distribution, bias: float | Float[Array, ""]) -> Distribution:
    """Graves' probability bias: logits * (1 + b), std * exp(-b); b = 0 changes nothing, higher is neater.

    Args:
        distribution: one distribution, or a batch.
        bias: zero or more.

    Returns:
        A distribution of the same shapes, to be sampled at temperature 1.

    Example:
        >>> import jax.numpy as jnp, mdn_jax as mdn
        >>> mixture = mdn.Mixture(jnp.ones(1), jnp.zeros((1, 1)), mdn.Isotropic(jnp.zeros(1)))
        >>> print(mdn.graves_bias(mixture, 2.0).logits)
        [3.]
    """
    bias = jnp.asarray(bias, dtype_of(distribution))
    return capability("graves_bias", distribution, "tempered")(1 + bias, -bias)


def draw(
    mixture: "Mixture", key: Key, shape: tuple[int, ...] = (), temperature: float | Float[Array, ""] = 1.0
) -> Float[Array, "*S D"]:
    """`sample` of a mixture."""
    component_key, noise_key = jax.random.split(key)
    dtype = mixture.locs.dtype
    tau = jnp.asarray(temperature, dtype)
    component = choose(component_key, mixture.logits, shape, tau)
    chosen = jax.tree.map(lambda leaf: leaf[component], mixture.scale)
    z = jnp.sqrt(tau) * jax.random.normal(noise_key, (*shape, mixture.target_dim), dtype)
    return mixture.locs[component] + chosen.colour(z)


def draw_pathwise(mixture: "Mixture", key: Key) -> Float[Array, " D"]:
    """`rsample` of a mixture."""
    y = jax.lax.stop_gradient(draw(mixture, key))
    quantiles = jax.lax.stop_gradient(_conditional_cdf(mixture, y))

    def solve(linear: Callable, rhs: Array) -> Array:
        return forward_substitution(jax.jacfwd(linear)(jnp.zeros_like(rhs)), rhs[:, None])[:, 0]

    return jax.lax.custom_root(
        lambda y: _conditional_cdf(mixture, y) - quantiles, y, solve=lambda _, y: y, tangent_solve=solve
    )


def choose(key: Key, logits: Float[Array, " K"], shape: tuple[int, ...], tau: Float[Array, ""]) -> Int[Array, "*S"]:
    """Indices drawn with weights softmax(logits / tau); the most probable one where tau is 0."""
    excess = logits - jnp.max(logits)
    cumulative = jnp.cumsum(jnp.exp(jax.lax.stop_gradient(excess / jnp.where(tau > 0, tau, 1.0))))
    drawn = _count_below(cumulative, cumulative[-1] * jax.random.uniform(key, shape, logits.dtype))
    return jnp.where(tau > 0, drawn, jnp.argmax(logits).astype(drawn.dtype))


def _count_below(rising: Float[Array, " K"], values: Float[Array, "*S"]) -> Int[Array, "*S"]:
    """Count the rising numbers that each value reaches, by bisection.

    Written out: `jnp.searchsorted` makes an array of values times numbers, or fails on a mesh of Explicit axes.
    """
    count, found = rising.shape[0], 0
    for bit in reversed(range(count.bit_length())):
        more = jnp.minimum(found + (1 << bit), count)
        found = found + (rising[more - 1] <= values).astype(jnp.int32) * (more - found)
    return found  # pyright: ignore[reportReturnType]


def _conditional_cdf(mixture: "Mixture", y: Float[Array, " D"]) -> Float[Array, " D"]:
    """u_d = F(y_d | y_1 ... y_{d-1}), uniform on the unit cube where y comes from the mixture (Rosenblatt)."""
    # row d of a lower triangular whitener standardises y_d given the ones before, so z needs no further work
    z = mixture.scale.whiten(y[None, :] - mixture.locs)
    log_normal = mixture.scale.log_diagonal(y.shape[0]) - 0.5 * z**2
    before = jnp.cumsum(log_normal, axis=1) - log_normal
    weights = jax.nn.softmax(mixture.logits[:, None] + before, axis=0)
    return jnp.sum(weights * jax.scipy.special.ndtr(z), axis=0)

"""Futures drawn from a recurrent model, which is given what it drew."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from mdn_jax._checks import require
from mdn_jax._pytrees import joined
from mdn_jax._typing import Float, Key, PyTree
from mdn_jax.distributions import Distribution, sample
from mdn_jax.models import Model

__all__ = ["rollout"]


def rollout(
    key: Key,
    model: Model,
    x: Float[Array, " X"],
    num_steps: int,
    *,
    following: Callable[[Float[Array, " D"]], Float[Array, " X"]],
    temperature: float | Float[Array, ""] = 1.0,
    temper: Callable[[Distribution], Distribution] | None = None,
    state: PyTree = None,
) -> Float[Array, "T D"]:
    """One future: y of each step is drawn, and makes the x of the next, in one `jax.lax.scan`.

    For many, map it over keys inside one `jax.jit`. Step t draws by `jax.random.fold_in(key, t)`: a longer future
    begins like a shorter one.

    Args:
        key: a PRNG key, typed or legacy.
        model: of a recurrent network, or an ensemble of such.
        x: (X,) the first input, in original units.
        num_steps: T, static.
        following: `following(y) -> x`, the input after y was drawn.
        temperature: of every draw, as in `sample`: 0 gives the most probable component's centre.
        temper: makes of each distribution the one drawn from, such as `lambda one: mdn.graves_bias(one, 1.0)`.
        state: of the network before x, from `model.step`; that of a new sequence where absent.

    Returns:
        (T, D) draws in original units.

    Raises:
        InputError: for a model without steps, or a `following` that gives another shape than x has.

    Example:
        >>> import jax, numpy as np, mdn_jax as mdn
        >>> y = np.random.default_rng(0).normal(size=(8, 6, 1)).cumsum(axis=1)  # random walks
        >>> fit = mdn.fit(
        ...     jax.random.key(0), y[:, :-1], y[:, 1:],
        ...     model=mdn.ModelConfig(network="gru", network_options={"hidden_size": 4}),
        ...     training=mdn.TrainingConfig(num_steps=2, evaluate_every=1),
        ... )
        >>> draw = lambda key: mdn.rollout(key, fit.model, np.zeros(1), 10, following=lambda y: y)
        >>> jax.jit(jax.vmap(draw))(jax.random.split(jax.random.key(1), 100)).shape
        (100, 10, 1)
    """
    x = jnp.asarray(x, float)
    state = model.initial_state() if state is None else state

    def one(carry: tuple[PyTree, Array], key: Key) -> tuple[tuple[PyTree, Array], Array]:
        state, distribution = model.step(*carry)
        y = sample(key, distribution if temper is None else temper(distribution), temperature=temperature)
        after = jnp.asarray(following(y), x.dtype)
        require(after.shape == x.shape, f"following must give an x of shape {x.shape}; got {after.shape}")
        return (state, after), y

    keys = jax.vmap(lambda step: jax.random.fold_in(key, step))(jnp.arange(num_steps))
    return jax.lax.scan(one, joined((state, x), jax.random.bits(key)), keys)[1]

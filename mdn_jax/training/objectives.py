"""Objectives: losses of one row's distribution and target, with what training has to know of them."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from mdn_jax._seams import find, is_path
from mdn_jax._typing import Float, Key, Scalar
from mdn_jax.distributions import Observed
from mdn_jax.models import Rows
from mdn_jax.statistics import crps, energy_score, nll, squared_error

__all__ = ["OBJECTIVES", "Objective", "Rows", "is_ours", "objective_of", "row_losses", "weighted_mean"]


@dataclass(frozen=True)
class Objective:
    """A loss of one row, static and hashable.

    Attributes:
        loss: `loss(key, distribution, y) -> ()`, in standard units.
        is_nll: whether it is -log p(y), so that it is told in nats of the original y.
        sees_mean_alone: whether it trains nothing but the mean: the head is then a bare mean, and training ends by
            setting one standard deviation for each target.
        sees_correlation: whether it tells correlated targets from independent ones.
    """

    loss: Callable[[Key, Any, Float[Array, " D"]], Scalar]
    is_nll: bool = False
    sees_mean_alone: bool = False
    sees_correlation: bool = True


def _nll(key: Key, distribution: Any, y: Array) -> Scalar:
    return nll(distribution, y)


def _squared_error(key: Key, distribution: Any, y: Array) -> Scalar:
    return squared_error(distribution, y)


def _crps(key: Key, distribution: Any, y: Array) -> Scalar:
    return crps(distribution, y)


@functools.cache  # one object for each number of draws, or every fit would compile again
def _energy_score(num_samples: int) -> Callable:
    return lambda key, distribution, y: energy_score(key, distribution, y, num_samples)


OBJECTIVES: dict[str, Objective] = {
    "nll": Objective(_nll, is_nll=True),
    "squared_error": Objective(_squared_error, sees_mean_alone=True),
    "crps": Objective(_crps, sees_correlation=False),
}


def objective_of(given: str | Callable, num_samples: int) -> Objective:
    """The objective of a config: one of ours by name, or a function of your own."""
    ours = OBJECTIVES | {"energy_score": Objective(_energy_score(num_samples))}
    if isinstance(given, str) and given in ours:
        return ours[given]
    return Objective(find(given, ours, "training.objective"))  # pyright: ignore[reportArgumentType]


def is_ours(given: str | Callable) -> bool:
    """True for the name of one of ours, false for a function of your own or its import path."""
    return isinstance(given, str) and not is_path(given)


def row_losses(
    objective: Objective, conditional: Any, rows: Rows, key: Key, network_key: Key | None = None
) -> tuple[Float[Array, "*B"], Float[Array, "*B"]]:
    """The loss and the weight of each distribution of each row; with a `network_key` it is training."""
    count = rows.weight.shape[0]
    keys = jax.random.split(key, count)
    network_keys = jax.random.split(network_key, count) if network_key is not None else None

    def one(distribution: Any, row: Rows, key: Key) -> Array:
        if row.observed is not None:
            distribution = Observed(distribution, row.observed)
        loss = objective.loss
        if row.weight.ndim:
            key = jax.random.split(key, row.weight.shape)
        for _ in row.weight.shape:
            loss = jax.vmap(loss)
        return loss(key, distribution, row.y)

    return jax.vmap(one)(conditional.rows(rows.x, network_keys), rows, keys), rows.weight


def weighted_mean(values: Float[Array, " B"], weights: Float[Array, " B"]) -> Float[Array, ""]:
    """sum(w v) / sum(w); what weighs 0 does not count, whatever its value."""
    values = jnp.where(weights > 0, values, 0.0)
    return jnp.sum(weights * values) / jnp.maximum(jnp.sum(weights), jnp.finfo(values.dtype).tiny)

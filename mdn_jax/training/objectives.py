"""What is minimised: a value and a weight for every row of a batch."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from mdn_jax._typing import Float, Key
from mdn_jax.models import Rows
from mdn_jax.statistics.scores import crps, energy_score, nll, squared_error

__all__ = ["Objective", "Rows"]


@dataclass(frozen=True)
class Objective:
    """A loss of mixtures by name, static and hashable: `objective(network, rows, key) -> (values, weights)`.

    Attributes:
        name: "nll", "squared_error", "crps" or "energy_score".
        num_samples: draws of each component for the energy score.
    """

    name: str = "nll"
    num_samples: int = 16

    def __call__(self, network: Any, rows: Rows, key: Key) -> tuple[Float[Array, " B"], Float[Array, " B"]]:
        """Values in standard units, and the rows' weights."""
        mixtures = jax.vmap(network)(rows.x)
        if self.name == "energy_score":
            keys = jax.random.split(key, rows.weight.shape[0])
            values = jax.vmap(lambda key, m, y: energy_score(key, m, y, self.num_samples))(keys, mixtures, rows.y)
        elif rows.observed is not None:  # nll alone can integrate targets out
            values = jax.vmap(lambda m, y, observed: nll(m, y, observed=observed))(mixtures, rows.y, rows.observed)
        else:
            losses = {"nll": nll, "squared_error": squared_error, "crps": crps}
            values = jax.vmap(losses[self.name])(mixtures, rows.y)
        return values, rows.weight


def weighted_mean(values: Float[Array, " B"], weights: Float[Array, " B"]) -> Float[Array, ""]:
    """sum(w v) / sum(w); rows of weight 0 do not count, whatever their value."""
    values = jnp.where(weights > 0, values, 0.0)
    return jnp.sum(weights * values) / jnp.maximum(jnp.sum(weights), jnp.finfo(values.dtype).tiny)

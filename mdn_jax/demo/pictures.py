"""Numbers behind a picture: one compiled program for a graph, one for what lies above a single x."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mdn_jax._compiling import jit, jit_quickly
from mdn_jax._typing import Float, Int, Key, Scalar
from mdn_jax.data import Part
from mdn_jax.distributions import Mixture, log_prob, responsibilities, sample
from mdn_jax.models import Model
from mdn_jax.statistics import highest_density, mean, modes, nll

__all__ = ["COLUMNS", "EACH", "SCORED", "Picture", "Scored", "Slice", "View", "draw", "scored_rows", "slice_at"]

Either = Any  # on the device, and on the host once it is shown
COLUMNS, LINES = 120, 100  # of the heat map
EACH = 10  # fresh samples at each x, as in Ha's post
SCORED = 1_024  # rows on which the loss is shown
MARGIN = 0.05  # of the data's range, on each side
FINE = 256  # points of a density above one x


class View(NamedTuple):
    """The frame of a graph: (low, high) of x and of y."""

    x: tuple[float, float]
    y: tuple[float, float]

    @classmethod
    def of(cls, part: Part) -> "View":
        """Around all rows, with a margin."""
        ends = []
        for values in (part.x, part.y):
            low, high = float(np.min(values)), float(np.max(values))
            pad = MARGIN * (high - low) or 0.5
            ends.append((low - pad, high + pad))
        return cls(*ends)

    @property
    def columns(self) -> Float[np.ndarray, " W"]:
        """The x of the heat map's columns."""
        return _middles(*self.x, COLUMNS)

    @property
    def lines(self) -> Float[np.ndarray, " H"]:
        """The y of its lines."""
        return _middles(*self.y, LINES)

    @property
    def fine(self) -> Float[np.ndarray, " F"]:
        """The y at which the density above one x is drawn."""
        return np.linspace(*self.y, FINE)


class Scored(NamedTuple):
    """Rows to score in one shape: repeated, or the first ones; weights sum to 1."""

    x: Float[jax.Array, "R 1"]
    y: Float[jax.Array, "R 1"]
    weight: Float[jax.Array, " R"]


def scored_rows(part: Part) -> Scored:
    """As many rows of a part as every picture scores."""
    places = np.arange(SCORED) % len(part)
    weight = (np.ones(len(part)) if part.weight is None else part.weight)[places] / np.bincount(places)[places]
    return Scored(*(jnp.asarray(one, float) for one in (part.x[places], part.y[places], weight / weight.sum())))


class Picture(NamedTuple):
    """A model on the whole of a view.

    Attributes:
        density: p(y | x) on the heat map, or one component's share of it.
        samples: fresh y at each column.
        centres: of the components, at each column.
        weights: of the components, at each column.
        train_nll: nats per training row.
        test_nll: nats per fresh row.
    """

    density: Float[Either, "H W"]
    samples: Float[Either, "W S"]
    centres: Float[Either, "W K"]
    weights: Float[Either, "W K"]
    train_nll: Scalar
    test_nll: Scalar


class Slice(NamedTuple):
    """The whole distribution above one x.

    Attributes:
        density: at the fine y of a view.
        parts: each component's share of it.
        mean: of y.
        modes: of y, best first; NaN where there are fewer.
        half: pieces (low, high) of the smallest region of mass 0.5; NaN where unused.
        most: the same of mass 0.9.
    """

    density: Float[Either, " F"]
    parts: Float[Either, "K F"]
    mean: Scalar
    modes: Float[Either, " K"]
    half: Float[Either, "K 2"]
    most: Float[Either, "K 2"]


@jit
def draw(
    model: Model,
    key: Key,
    columns: Float[jax.Array, " W"],
    lines: Float[jax.Array, " H"],
    train: Scored,
    test: Scored,
    component: Int[jax.Array, ""],
) -> Picture:
    """A picture of a model; `component` shows where that one is responsible, -1 the whole density."""

    def column(key: Key, x: Scalar) -> tuple:
        mixture: Mixture = model(x[None])

        def cell(y: Scalar) -> Scalar:
            whole = jnp.exp(log_prob(mixture, y[None]))
            return jax.lax.cond(
                component < 0, lambda: whole, lambda: whole * responsibilities(mixture, y[None])[component]
            )

        samples = sample(key, mixture, (EACH,))[:, 0]
        return jax.vmap(cell)(lines), samples, mixture.locs[:, 0], jax.nn.softmax(mixture.logits)

    def score(rows: Scored) -> Scalar:
        values = jax.vmap(lambda x, y: nll(model(x), y))(rows.x, rows.y)
        return jnp.sum(rows.weight * values)

    density, samples, centres, weights = jax.vmap(column)(jax.random.split(key, columns.shape[0]), columns)
    return Picture(density.T, samples, centres, weights, score(train), score(test))


@jit_quickly
def slice_at(model: Model, x: Scalar, fine: Float[jax.Array, " F"]) -> Slice:
    """The distribution above one x."""
    mixture: Mixture = model(x[None])
    density = jnp.exp(jax.vmap(lambda y: log_prob(mixture, y[None]))(fine))
    shares = jax.vmap(lambda y: responsibilities(mixture, y[None]))(fine)
    points, _, distinct = modes(mixture)
    peaks = jnp.where(distinct, points[:, 0], jnp.nan)
    half, most = (highest_density(mixture, mass) for mass in (0.5, 0.9))
    return Slice(density, shares.T * density[None], mean(mixture)[0], peaks, half, most)


def _middles(low: float, high: float, count: int) -> np.ndarray:
    return low + (high - low) * (np.arange(count) + 0.5) / count

"""What is asked about each row, and how one mixture answers it, in standard units."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Self, get_args

import jax
import jax.numpy as jnp
from jax import Array

from mdn_jax._checks import nearest, require
from mdn_jax._typing import Float
from mdn_jax.distributions import Mixture, condition, log_prob, marginal, sample
from mdn_jax.models import Kind, Rows
from mdn_jax.statistics import mean, quantile, std, weighted_modes
from mdn_jax.statistics.line import peaks, profile, region

__all__ = ["Asked", "Draw", "Question", "check_asked", "percent"]


class Asked(NamedTuple):
    """What a user asks about each row, as `mdn.predict` explains it."""

    quantiles: Sequence[float] = (0.05, 0.5, 0.95)
    num_modes: int = 1
    interval: Kind = "highest-density"
    mass: float = 0.9
    calibrated: bool = False


@dataclass(frozen=True)
class Question:
    """What is asked about each row; equal questions share one compiled program."""

    quantiles: tuple[float, ...]  # shares in (0, 1)
    num_modes: int  # how many of the best modes
    interval: Kind
    masses: tuple[float, ...]  # of the interval of each target that is left
    given: tuple[int, ...]  # indices of the targets that are known
    scored: bool  # whether the targets that are left are known too, so that they have a density
    members: tuple[int, ...]  # components of each member of an ensemble; none for a single model

    @property
    def levels(self) -> tuple[float, ...]:
        """The quantiles, then of a central interval all lower ends and all upper ends."""
        if self.interval != "central":
            return self.quantiles
        return (*self.quantiles, *((1 - mass) / 2 for mass in self.masses), *((1 + mass) / 2 for mass in self.masses))

    @property
    def on_device(self) -> Self:
        """What the compiled program answers: masses of regions are data, so that calibrated models share it."""
        return replace(self, quantiles=self.levels, masses=())

    def __call__(self, mixture: Mixture, row: Rows) -> dict[str, Float[Array, "..."]]:
        """The answers for one row: numbers in standard units by name."""
        mixture = _known(mixture, self.given, row)
        answers = {"mean": mean(mixture), "std": std(mixture)}
        answers["quantile"] = jax.vmap(lambda q: quantile(mixture, q))(jnp.array(self.quantiles))
        highest, lines = self.interval == "highest-density", []
        if highest or mixture.target_dim == 1:
            lines = [profile(marginal(mixture, dim)) for dim in range(mixture.target_dim)]
        if highest:
            found = [region(line, mass) for line, mass in zip(lines, row.y["mass"], strict=True)]
            answers["ends"] = jnp.stack([jnp.where(used[:, None], ends, jnp.nan) for ends, used, _ in found], axis=-1)
        if mixture.target_dim == 1:
            points, weights, distinct = peaks(lines[0])
            points = points[:, None]
        else:
            points, weights, distinct = weighted_modes(mixture)
        best = jnp.argsort(~distinct, stable=True)[: self.num_modes]
        answers["mode"] = jnp.where(distinct[best, None], points[best], jnp.nan)
        answers["mode_weight"] = jnp.where(distinct[best], weights[best], jnp.nan)
        if self.members:
            answers["disagreement"] = _disagreement(mixture, self.members)
        if self.scored:
            answers["log_prob"] = log_prob(mixture, row.y["targets"], observed=row.observed)
        return answers


@dataclass(frozen=True)
class Draw:
    """Samples of each row: the same for a row whatever the rows around it."""

    count: int
    given: tuple[int, ...]  # indices of the targets that are known

    def __call__(self, mixture: Mixture, row: Rows) -> Float[Array, "S D"]:
        """The samples of one row in standard units."""
        key = jax.random.wrap_key_data(row.y["key"], impl="threefry2x32")
        return sample(jax.random.fold_in(key, row.y["place"]), _known(mixture, self.given, row), (self.count,))


def check_asked(asked: Asked) -> tuple[float, ...]:
    """The quantiles in the order given, once what a user asked has been found possible."""
    quantiles, kinds = tuple(float(q) for q in asked.quantiles), get_args(Kind)
    for q in quantiles:
        require(0 < q < 1, f"quantiles lie between 0 and 1, both excluded; got {q:g}")
    require(len(set(map(percent, quantiles))) == len(quantiles), f"quantiles are named twice: {quantiles}")
    require(asked.num_modes >= 1, f"num_modes must be 1 or more; got {asked.num_modes}")
    require(0 < asked.mass < 1, f"mass must lie between 0 and 1, both excluded; got {asked.mass:g}")
    require(asked.interval in kinds, f"interval {asked.interval!r}: {nearest(asked.interval, kinds)}")
    return quantiles


def percent(share: float) -> str:
    """05 for 0.05, 50 for 0.5, 2.5 for 0.025."""
    value = round(100 * share, 9)
    return f"{value:02.0f}" if value == math.floor(value) else f"{value:.10g}"


def _known(mixture: Mixture, given: tuple[int, ...], row: Rows) -> Mixture:
    return condition(mixture, given, row.y["given"]) if given else mixture


def _disagreement(mixture: Mixture, members: tuple[int, ...]) -> Float[Array, " D"]:
    """Standard deviation over the members of an ensemble of their means: which components are whose is known."""
    means, first = [], 0
    for count in members:
        own = slice(first, first + count)
        means.append(jnp.sum(jax.nn.softmax(mixture.logits[own])[:, None] * mixture.locs[own], axis=0))
        first += count
    return jnp.std(jnp.stack(means), axis=0)

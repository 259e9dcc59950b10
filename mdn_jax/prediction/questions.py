"""The questions about each row, and one distribution's answers to them, in standard units."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self, get_args

import jax
import jax.numpy as jnp
from jax import Array

from mdn_jax._checks import InputError, nearest, require
from mdn_jax._typing import Bool, Float
from mdn_jax.distributions import Distribution, condition, log_prob, sample
from mdn_jax.judging import kinds_of, mixture_of, numbers_of, of_targets, target_of
from mdn_jax.models import Kind, Rows
from mdn_jax.statistics import mean, quantile, std, weighted_modes
from mdn_jax.statistics.line import peaks, profile, region

__all__ = ["Asked", "Draw", "Question", "check_asked", "percent"]


class Asked(NamedTuple):
    """The questions of a user about each row, as `mdn.predict` explains them."""

    quantiles: Sequence[float] = (0.05, 0.5, 0.95)
    num_modes: int = 1
    interval: Kind = "highest-density"
    mass: float = 0.9
    calibrated: bool = False


@dataclass(frozen=True)
class Question:
    """The question about each row; equal questions share one compiled program."""

    quantiles: tuple[float, ...]  # shares in (0, 1)
    num_modes: int  # how many of the best modes
    interval: Kind
    masses: tuple[float, ...]  # of the interval of each number that is left
    given: tuple[int, ...]  # indices of the targets that are known
    scored: bool  # whether the targets that are left are known too, so that they have a density
    networks: tuple[int, ...]  # components of each network of an ensemble, 0 of other numbers; none for a single model

    @property
    def levels(self) -> tuple[float, ...]:
        """The quantiles, then of a central interval all lower ends and all upper ends."""
        if self.interval != "central":
            return self.quantiles
        return (*self.quantiles, *((1 - mass) / 2 for mass in self.masses), *((1 + mass) / 2 for mass in self.masses))

    @property
    def on_device(self) -> Self:
        """The compiled program's question: masses of regions are data, so that calibrated models share it."""
        return replace(self, quantiles=self.levels, masses=())

    def __call__(self, distribution: Distribution, row: Rows) -> dict[str, Float[Array, "..."]]:
        """The answers for one row: numbers in standard units by name, and the probabilities of kinds."""
        distribution = _known(distribution, self.given, row)
        answers = {f"probs_{dim}": one.probs for dim, one in kinds_of(distribution).items()}
        _, numbers = numbers_of(distribution)
        if numbers is not None:
            answers |= self._of_numbers(numbers, row)
        if self.scored:
            answers["log_prob"] = _log_prob(distribution, row.y["targets"], row.observed)
        return answers

    def _of_numbers(self, numbers: Distribution, row: Rows) -> dict[str, Float[Array, "..."]]:
        answers = {"mean": of_targets(mean, numbers), "std": of_targets(std, numbers)}
        ask = lambda q: of_targets(lambda one: quantile(one, q), numbers)  # noqa: E731
        answers["quantile"] = jax.vmap(ask)(jnp.array(self.quantiles))
        highest, mixture = self.interval == "highest-density", mixture_of(numbers)
        joint = mixture is not None and mixture.target_dim > 1
        each = [mixture_of(target_of(numbers, dim)) for dim in range(numbers.target_dim)]
        lines: list[Any] = [one and profile(one) for one in each] if highest or not joint else []
        if highest:
            found = [region(line, mass) for line, mass in zip(lines, row.y["mass"], strict=True)]
            most = max(len(used) for _, used, _ in found)  # pieces; blocks may differ in their components
            ends = [jnp.where(used[:, None], ends, jnp.nan) for ends, used, _ in found]
            more = [jnp.full((most - len(own), 2), jnp.nan, own.dtype) for own in ends]
            answers["ends"] = jnp.stack([jnp.concatenate(own) for own in zip(ends, more)], axis=-1)
        if mixture is not None and joint:
            answers["mode"], answers["mode_weight"] = self._best(*weighted_modes(mixture))
        else:
            none = jnp.full((self.num_modes, 2), jnp.nan)
            best = jnp.stack([none if line is None else jnp.stack(self._best(*peaks(line)), axis=1) for line in lines])
            modes, weights = jnp.moveaxis(best, (2, 0), (0, 2))
            alone = numbers.target_dim == 1
            answers |= {"mode": modes, "mode_weight": weights[:, 0] if alone else weights}
        if self.networks:
            answers["disagreement"] = _disagreement(numbers, self.networks)
        return answers

    def _best(self, points: Array, weights: Float[Array, " K"], distinct: Bool[Array, " K"]) -> tuple[Array, Array]:
        """As many of the best modes as are asked for, with their weights; NaN where there are fewer."""
        best = jnp.argsort(~distinct, stable=True)[: self.num_modes]
        there = distinct[best].reshape(-1, *(1,) * (points.ndim - 1))
        mode, weight = jnp.where(there, points[best], jnp.nan), jnp.where(distinct[best], weights[best], jnp.nan)
        more = [(0, self.num_modes - len(best))]
        mode = jnp.pad(mode, more + [(0, 0)] * (mode.ndim - 1), constant_values=jnp.nan)
        return mode, jnp.pad(weight, more, constant_values=jnp.nan)


@dataclass(frozen=True)
class Draw:
    """Samples of each row: the same for a row whatever the rows around it."""

    count: int
    given: tuple[int, ...]  # indices of the targets that are known

    def __call__(self, distribution: Distribution, row: Rows) -> Float[Array, "S D"]:
        """The samples of one row in standard units."""
        key = jax.random.wrap_key_data(row.y["key"], impl="threefry2x32")
        return sample(jax.random.fold_in(key, row.y["place"]), _known(distribution, self.given, row), (self.count,))


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


def _known(distribution: Distribution, given: tuple[int, ...], row: Rows) -> Distribution:
    return condition(distribution, given, row.y["given"]) if given else distribution


def _log_prob(distribution: Distribution, y: Float[Array, " D"], observed: Any) -> Float[Array, ""]:
    """Of the observed targets; NaN where some are not and cannot be integrated out."""
    try:
        return log_prob(distribution, y, observed=observed)
    except InputError:
        return jnp.where(jnp.all(observed), log_prob(distribution, y), jnp.nan)


def _disagreement(numbers: Any, networks: tuple[int, ...]) -> Float[Array, " D"]:
    """Standard deviation over the networks of an ensemble of their means: which components are whose is known."""
    if mixture_of(numbers) is None:
        means = [of_targets(mean, part) for part in getattr(numbers, "parts", ())]
        return jnp.std(jnp.stack(means), axis=0) if means else jnp.full(numbers.target_dim, jnp.nan)
    means, first = [], 0
    for count in networks:
        own = slice(first, first + count)
        means.append(jnp.sum(jax.nn.softmax(numbers.logits[own])[:, None] * numbers.locs[own], axis=0))
        first += count
    return jnp.std(jnp.stack(means), axis=0)

"""The questions about each row, and one distribution's answers to them, in standard units."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self, get_args

import jax
import jax.numpy as jnp
from jax import Array

from mdn_jax._checks import InputError, nearest, require
from mdn_jax._typing import Bool, Float
from mdn_jax.distributions import Distribution, condition, log_prob, sample
from mdn_jax.distributions.protocol import apart
from mdn_jax.judging import kinds_of, mixture_of, numbers_of, of_targets, target_of
from mdn_jax.models import Kind, Rows
from mdn_jax.statistics import cdf, log_survival, mean, quantile, std, weighted_modes
from mdn_jax.statistics.line import peaks, profile, region
from mdn_jax.statistics.quantiles import mass_at

__all__ = ["MOST_PIECES", "Asked", "Draw", "Question", "Thresholds", "check_asked", "known", "percent"]

MOST_PIECES = 5  # of a highest-density region


Thresholds = Mapping[str, float | Sequence[float]]


class Asked(NamedTuple):
    """The questions of a user about each row, as `mdn.predict` explains them."""

    quantiles: Sequence[float] = (0.05, 0.5, 0.95)
    num_modes: int = 1
    interval: Kind = "highest-density"
    mass: float = 0.9
    calibrated: bool = False
    columns: Sequence[str] | None = None
    above: Thresholds | None = None
    below: Thresholds | None = None


@dataclass(frozen=True)
class Question:
    """The question about each row; equal questions share one compiled program."""

    parts: tuple[str, ...]  # names of what is computed
    quantiles: tuple[float, ...]  # shares in (0, 1)
    num_modes: int  # how many of the best modes
    interval: Kind
    masses: tuple[float, ...]  # of the interval of each number that is left
    given: tuple[int, ...]  # indices of the targets that are known
    networks: tuple[int, ...]  # components of each network of an ensemble, 0 of other numbers; none for a single model
    above: tuple[tuple[int, float], ...] = ()  # numbers by their places, and values above which a probability is told
    below: tuple[tuple[int, float], ...] = ()

    @property
    def levels(self) -> tuple[float, ...]:
        """The quantiles, then of a central interval all lower ends and all upper ends."""
        if self.interval != "central" or "ends" not in self.parts:
            return self.quantiles
        return (*self.quantiles, *((1 - mass) / 2 for mass in self.masses), *((1 + mass) / 2 for mass in self.masses))

    @property
    def on_device(self) -> Self:
        """The compiled program's question: masses of regions and thresholds are data, for which nothing compiles."""
        parts = set(self.parts) - ({"ends"} if self.interval == "central" else set())
        parts |= {"quantile"} if self.levels else set()
        above, below = (tuple((dim, 0.0) for dim, _ in ends) for ends in (self.above, self.below))
        parts = tuple(sorted(parts))
        return replace(self, quantiles=self.levels, masses=(), above=above, below=below, parts=parts)

    def __call__(self, distribution: Distribution, row: Rows) -> dict[str, Float[Array, "..."]]:
        """The answers for one row: numbers in standard units by name, and the probabilities of kinds."""
        distribution = known(distribution, self.given, row.y["given"])
        answers: dict[str, Any] = {
            f"probs_{dim}": lambda one=one: one.probs for dim, one in kinds_of(distribution).items()
        }
        _, numbers = numbers_of(distribution)
        if numbers is not None:
            answers |= self._of_numbers(numbers, row)
        answers["log_prob"] = lambda: _log_prob(distribution, row.y["targets"], row.observed)
        return {name: ask() for name, ask in answers.items() if name in self.parts}

    def _of_numbers(self, numbers: Distribution, row: Rows) -> dict[str, Callable[[], Float[Array, "..."]]]:
        """The ways to answer; what nobody asks is not even traced."""
        mixture = mixture_of(numbers)
        joint = mixture is not None and mixture.target_dim > 1
        each = [mixture_of(target_of(numbers, dim)) for dim in range(numbers.target_dim)]
        asked = {"ends"} | (set() if joint else {"mode", "mode_weight"})
        lines: list[Any] = [one and profile(one) for one in each] if asked & set(self.parts) else []
        alone, best = numbers.target_dim == 1, {}
        if {"mode", "mode_weight"} & set(self.parts):
            best = dict(zip(("mode", "mode_weight"), self._modes(mixture if joint else None, lines)))
        ask = lambda q: of_targets(lambda one: quantile(one, q), numbers)  # noqa: E731
        return {
            "mean": lambda: of_targets(mean, numbers),
            "std": lambda: of_targets(std, numbers),
            "quantile": lambda: jax.vmap(ask)(jnp.array(self.quantiles)),
            "ends": lambda: _pieces(lines, row.y["mass"]),
            "mode": lambda: best["mode"],
            "mode_weight": lambda: best["mode_weight"][:, 0] if alone else best["mode_weight"],
            "disagreement": lambda: _disagreement(numbers, self.networks),
            "above": lambda: _beyond(_above, numbers, self.above, row.y["above"]),
            "below": lambda: _beyond(_below, numbers, self.below, row.y["below"]),
        }

    def _modes(self, mixture: Any, lines: list[Any]) -> tuple[Array, Array]:
        """The best joint modes (M, D) with their weights (M,), or those of each line, with weights (M, D)."""
        if mixture is not None:
            return self._best(*weighted_modes(mixture))
        none = jnp.full((self.num_modes, 2), jnp.nan)
        best = jnp.stack([none if line is None else jnp.stack(self._best(*peaks(line)), axis=1) for line in lines])
        modes, weights = jnp.moveaxis(best, (2, 0), (0, 2))
        return modes, weights

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
        return sample(
            jax.random.fold_in(key, row.y["place"]), known(distribution, self.given, row.y["given"]), (self.count,)
        )


def check_asked(asked: Asked, implied: Sequence[float] = ()) -> tuple[float, ...]:
    """The quantiles in the order given, then those implied, once what a user asked has been found possible."""
    quantiles, kinds = tuple(float(q) for q in asked.quantiles), get_args(Kind)
    there = set(map(percent, quantiles))
    quantiles += tuple(q for q in implied if percent(q) not in there)
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


def known(distribution: Distribution, given: tuple[int, ...], values: Float[Array, " G"]) -> Distribution:
    """The distribution of the targets that are left, where those at the indices `given` are known."""
    return condition(distribution, given, values) if given else distribution


def _pieces(lines: Sequence[Any], masses: Float[Array, " F"]) -> Float[Array, "P 2 F"]:
    """The highest-density regions of lines, NaN in place of pieces that one has fewer."""
    found = [region(line, mass) for line, mass in zip(lines, masses, strict=True)]
    each = [_joined(jnp.where(used[:, None], ends, jnp.nan), used) for ends, used, _ in found]
    most = max(len(own) for own in each)  # blocks may differ in their components
    more = [jnp.full((most - len(own), 2), jnp.nan, own.dtype) for own in each]
    return jnp.stack([jnp.concatenate(own) for own in zip(each, more)], axis=-1)


def _joined(ends: Float[Array, "K 2"], used: Bool[Array, " K"]) -> Float[Array, "P 2"]:
    """A few pieces at most: those with the narrowest gaps between them are one, so that no mass is lost."""
    if len(ends) <= MOST_PIECES:
        return ends
    gaps, last = jnp.nan_to_num(ends[1:, 0] - ends[:-1, 1], nan=-1.0), jnp.sum(used) - 1
    before = jnp.sort(jax.lax.top_k(gaps, MOST_PIECES - 1)[1])  # unused pieces come last, and so do gaps to them
    zero, end = jnp.zeros(1, before.dtype), jnp.full(1, len(ends) - 1, before.dtype)
    lows = ends[jnp.concatenate([zero, before + 1]), 0]
    highs = ends[jnp.minimum(jnp.concatenate([before, end]), last), 1]
    return jnp.stack([lows, jnp.where(jnp.isnan(lows), jnp.nan, highs)], axis=1)


def _log_prob(distribution: Distribution, y: Float[Array, " D"], observed: Any) -> Float[Array, ""]:
    """Of the observed targets; NaN where some are not and cannot be integrated out."""
    try:
        return log_prob(distribution, y, observed=observed)
    except InputError:
        return jnp.where(jnp.all(observed), log_prob(distribution, y), jnp.nan)


def _beyond(ask: Callable, numbers: Distribution, ends: Sequence[tuple[int, float]], values: Array) -> Array:
    """(E,) probabilities beyond the values (E,) of some of the numbers."""
    each = [ask(target_of(numbers, dim), values[place][None]) for place, (dim, _) in enumerate(ends)]
    return jnp.concatenate(each)


def _above(distribution: Distribution, y: Float[Array, " 1"]) -> Float[Array, " 1"]:
    """P(Y > y), right in the tail where the family knows how."""
    try:
        return jnp.exp(log_survival(distribution, y))
    except InputError:
        return jnp.maximum(1.0 - cdf(distribution, y), 0.0)


def _below(distribution: Distribution, y: Float[Array, " 1"]) -> Float[Array, " 1"]:
    """P(Y < y)."""
    return jnp.maximum(cdf(distribution, y) - mass_at(distribution, y), 0.0)


def _disagreement(numbers: Any, networks: tuple[int, ...]) -> Float[Array, " D"]:
    """Standard deviation over the networks of an ensemble of their means: which components are whose is known."""
    if mixture_of(numbers) is None:
        parts, centre = getattr(numbers, "parts", ()), of_targets(mean, numbers)
        means = [apart(numbers, of_targets(mean, part), centre) for part in parts]
        return jnp.std(jnp.stack(means), axis=0) if means else jnp.full(numbers.target_dim, jnp.nan)
    means, first = [], 0
    for count in networks:
        own = slice(first, first + count)
        means.append(jnp.sum(jax.nn.softmax(numbers.logits[own])[:, None] * numbers.locs[own], axis=0))
        first += count
    return jnp.std(jnp.stack(means), axis=0)

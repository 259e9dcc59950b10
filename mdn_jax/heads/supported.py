"""The values that a target can have, and a head for those with bounds, steps or atoms: a mixture behind a map."""

import itertools
import math
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from mdn_jax._checks import require
from mdn_jax._typing import ArrayLike, Float, Key
from mdn_jax.distributions import Bounded, Inflated, Mixture, Positive, Stepped
from mdn_jax.distributions.scales import Diagonal
from mdn_jax.distributions.units import Standardizer
from mdn_jax.heads.circular import CircularSpec
from mdn_jax.heads.mixture import MixtureSpec
from mdn_jax.heads.protocol import columns

__all__ = ["Support", "SupportSpec"]


@dataclass(frozen=True)
class Support:
    """The values that a target can have: between two open bounds, on a grid, single ones beside others, on a circle.

    Attributes:
        low: lower bound; minus infinity for none, which a circle has.
        high: upper bound; infinite for none.
        step: distance of the values of a grid, multiples of it; 0 for none.
        atoms: values that have a probability of their own beside all others, in rising order; on a bound, too.
        period: length of the circle that the values lie on; 0 for a line. Any number is then a place on it.
        shift: mean of the mapped training targets that are no atoms, from `fitted`.
        scale: their standard deviation.

    Raises:
        InputError: for bounds that are not in order, an upper one without a lower one, a negative step, atoms that
            are not in rising order, a negative period, or one beside bounds, a step or atoms.

    Example:
        >>> import numpy as np, mdn_jax as mdn
        >>> round(mdn.Support(low=0.0).fitted(np.exp(np.linspace(0.0, 2.0, 9))).shift, 6)
        1.0
    """

    low: float = 0.0
    high: float = math.inf
    step: float = 0.0
    atoms: tuple[float, ...] = ()
    period: float = 0.0
    shift: float = 0.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        require(0 <= self.period < math.inf, f"the period of a support is a positive number; got {self.period}")
        if self.period and self.low == 0.0:  # the default
            object.__setattr__(self, "low", -math.inf)
        alone = not self.period or (math.isinf(self.low) and not self.step and not self.atoms)
        require(alone, "a target with a period has no bounds, step or atoms: drop them, or the period")
        ordered = self.low < self.high and not (math.isinf(self.low) and math.isfinite(self.high))
        require(ordered, f"a support has a finite low below its high; got low = {self.low}, high = {self.high}")
        require(0 <= self.step < math.inf, f"the step of a support is a positive number; got {self.step}")
        rising = all(one < other for one, other in itertools.pairwise(self.atoms)) and all(
            map(math.isfinite, self.atoms)
        )
        require(rising, f"atoms are different numbers in rising order; got {self.atoms}")

    def head(self, num_components: int, min_std: float) -> "SupportSpec | CircularSpec":
        """The head of such a target."""
        if self.period:
            return CircularSpec(num_components, min_std, self.period)
        return SupportSpec(num_components, min_std, self.low, self.high, self.step, self.atoms, self.shift, self.scale)

    @property
    def has_mass(self) -> bool:
        """True where single values have probabilities."""
        return self.step > 0 or bool(self.atoms)

    def holds(self, y: Float[np.ndarray, "..."]) -> np.ndarray:
        """True for a value that the target can have, or that is missing."""
        between = (y > self.low) & (y < self.high)
        if self.step:
            places = y / self.step
            between &= np.abs(places - np.round(places)) < 1e-3 + 1e-6 * np.abs(places)
        return np.isnan(y) | between | np.isin(y, self.atoms)

    def fitted(self, y: Float[np.ndarray, " N"]) -> "Support":
        """The same support with units of the mapped targets that are no atoms; NaN is left out. A circle has none."""
        if self.period:
            return self
        rest = self.mapped(y[~np.isnan(y) & ~np.isin(y, self.atoms)])
        require(len(rest) > 1, f"a support leaves {len(rest)} values beside its atoms {list(self.atoms)}: drop some")
        units = Standardizer.fit(rest[:, None])
        return replace(self, shift=float(units.shift[0]), scale=float(units.scale[0]))

    def mapped(self, y: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        """Values behind the map, in float64; NaN for what has no place there, such as an atom on a bound."""
        y = np.where((y > self.low) & (y < self.high), y, np.nan)
        if math.isinf(self.low):
            return y
        below = np.log(y - self.low)
        return below if math.isinf(self.high) else below - np.log(self.high - y)

    def placed(self, y: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        """Values as they are, and on a circle in [0, period)."""
        return np.mod(y, self.period) if self.period else y

    def __str__(self) -> str:
        said = [f"a multiple of {self.step:g}"] if self.step else []
        if math.isfinite(self.low):
            high = math.isfinite(self.high)
            said.append(f"between {self.low:g} and {self.high:g}" if high else f"above {self.low:g}")
        return " ".join(said) or "any number"


@dataclass(frozen=True)
class SupportSpec:
    """One target with bounds, steps or atoms.

    Standard deviations stay below that of the mapped training targets: behind an exponential a wider component would
    move the mean by orders of magnitude where the likelihood sees nothing.

    Attributes:
        num_components: K.
        min_std: floor of the standard deviations, in units of the mapped targets.
        low: see `Support`.
        high: see `Support`.
        step: see `Support`.
        atoms: see `Support`.
        shift: see `Support`.
        scale: see `Support`.

    Example:
        >>> import jax.numpy as jnp, mdn_jax as mdn
        >>> spec = mdn.SupportSpec(num_components=5, low=0.0, high=1.0)
        >>> type(mdn.unpack(spec, jnp.zeros(spec.num_outputs))).__name__
        'Bounded'
    """

    num_components: int
    min_std: float = 1e-3
    low: float = 0.0
    high: float = math.inf
    step: float = 0.0
    atoms: tuple[float, ...] = ()
    shift: float = 0.0
    scale: float = 1.0

    @property
    def target_dim(self) -> int:
        """1."""
        return 1

    @property
    def num_outputs(self) -> int:
        """The number of raw outputs a network needs: a logit for each atom and one for the rest come first."""
        return self._num_logits + self._inner.num_outputs

    @property
    def support(self) -> Support:
        """The values that the target can have, and the units behind the map."""
        atoms = tuple(self.atoms)
        return Support(self.low, self.high, self.step, atoms, shift=self.shift, scale=self.scale)

    @property
    def _num_logits(self) -> int:
        return 1 + len(self.atoms) if self.atoms else 0

    @property
    def _inner(self) -> MixtureSpec:
        return MixtureSpec(self.num_components, min_std=self.min_std)

    def unpack(self, raw: Float[Array, " P"]) -> Any:
        """The distribution that raw outputs describe."""
        logits, raw = jnp.split(raw, [self._num_logits])
        inner = self._inner.unpack(raw)
        log_std = jnp.log(inner.scale.std(1))
        mixture = Mixture(inner.logits, inner.locs, Diagonal(-0.5 * jnp.logaddexp(-2.0 * log_std, 0.0)))
        units = (jnp.full(1, value, raw.dtype) for value in (self.shift, self.scale))
        found: Any = mixture.affine(*units)
        bounds = [jnp.asarray(bound, raw.dtype) for bound in (self.low, self.high) if math.isfinite(bound)]
        if bounds:
            found = (Positive, Bounded)[len(bounds) - 1](found, *bounds)
        if self.step:
            found = Stepped(found, jnp.asarray(self.step, raw.dtype))
        return Inflated(logits, jnp.asarray(self.atoms, raw.dtype), found) if self.atoms else found

    def initial_bias(self, y: ArrayLike) -> Float[Array, " P"]:
        """Shares of the atoms; equal weights, and centres spread over the quantiles of the other mapped targets."""
        y, support = columns(self, y), self.support
        y = y[~np.isnan(y[:, 0])]
        atom = y == np.asarray(self.atoms)[None, :]  # (N, A)
        rest = y[~atom.any(axis=1)]
        inner = self._inner.initial_bias((support.mapped(rest) - self.shift) / self.scale)
        if not self.atoms:
            return inner
        counts = np.concatenate([[len(rest)], atom.sum(axis=0)])
        return jnp.concatenate([jnp.asarray(np.log((counts + 0.5) / (len(y) + 0.5)), inner.dtype), inner])

    def units(self, y: ArrayLike, weight: ArrayLike | None = None) -> Standardizer:
        """None but the target's own: the head's units lie behind the map."""
        return Standardizer.identity(1)

    def kernel(self, key: Key, fan_in: int) -> Float[Array, "H P"]:
        """The mixture's own weights."""
        own = self._inner.kernel(key, fan_in)
        if not self.atoms:
            return own
        draw = jax.nn.initializers.lecun_normal()
        return jnp.concatenate([draw(jax.random.fold_in(key, 1), (fan_in, self._num_logits)), own], axis=1)

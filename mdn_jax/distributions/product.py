"""Independent blocks of targets side by side: numbers beside classes, correlated targets beside others."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.linalg import block_diag

from mdn_jax._checks import require
from mdn_jax._pytrees import register
from mdn_jax._typing import Bool, Float, Key, Scalar
from mdn_jax.distributions.independent import Independent
from mdn_jax.distributions.protocol import Distribution, capability, kinds

__all__ = ["Product"]


@register
@dataclass(frozen=True, eq=False)
class Product:
    """Blocks that are independent given x: the first takes the first targets, the next those behind, and so on.

    Attributes:
        parts: the blocks' distributions.

    Example:
        >>> import jax.numpy as jnp, mdn_jax as mdn
        >>> height = mdn.Mixture(jnp.zeros(1), jnp.zeros((1, 1)), mdn.Isotropic(jnp.zeros(1)))
        >>> product = mdn.Product((height, mdn.Categorical(jnp.zeros(2))))
        >>> print(mdn.nll(product, jnp.array([0.0, 1.0])).round(4))  # log(2 pi) / 2 + log 2
        1.6121
    """

    parts: tuple[Distribution, ...]

    @property
    def target_dim(self) -> int:
        return sum(part.target_dim for part in self.parts)

    @property
    def kinds(self) -> tuple[int | None, ...]:
        return sum(map(kinds, self.parts), ())

    @property
    def periods(self) -> Float[Array, " D"] | None:
        each = [getattr(part, "periods", None) for part in self.parts]
        if all(one is None for one in each):
            return None
        lines = (jnp.zeros(part.target_dim) if one is None else one for part, one in zip(self.parts, each))
        return jnp.concatenate(list(lines))

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return next((part.batch_shape for part in self.parts if part.batch_shape), ())

    def log_prob(self, y: Float[Array, " D"]) -> Scalar:
        return self._sum("log_prob", "log_prob", y)

    def log_prob_observed(self, y: Float[Array, " D"], observed: Bool[Array, " D"]) -> Scalar:
        return self._sum("log_prob", "log_prob_observed", y, observed)

    def sample(
        self, key: Key, shape: tuple[int, ...] = (), temperature: float | Float[Array, ""] = 1.0
    ) -> Float[Array, "*S D"]:
        return self._joined(key, "sample", shape, temperature)

    def rsample(self, key: Key) -> Float[Array, " D"]:
        return self._joined(key, "rsample")

    def covariance(self) -> Float[Array, "D D"]:
        return block_diag(*(ask() for ask in self._ask("covariance", "covariance")))

    def marginal(self, dims: tuple[int, ...]) -> Distribution:
        """The targets `dims`, in that order; targets of one block that depend on each other stay side by side."""
        owner = np.repeat(np.arange(len(self.parts)), [part.target_dim for part in self.parts])
        runs = [(block, list(run)) for block, run in groupby(dims, lambda d: int(owner[d]))]
        split = {block for i, (block, _) in enumerate(runs) if block in [other for other, _ in runs[:i]]}
        for block in split:
            require(
                isinstance(self.parts[block], Independent | Product),
                f"marginal: targets {[d for d in dims if owner[d] == block]} depend on each other: ask for them "
                f"side by side, not as {list(dims)}",
            )
        starts = self._starts()
        found = [self.parts[b].marginal(tuple(d - starts[b] for d in run)) for b, run in runs]
        return found[0] if len(found) == 1 else Product(tuple(found))

    def condition(self, dims: tuple[int, ...], values: Float[Array, " G"]) -> Distribution:
        """The other targets; those of a block of which some are known move, other blocks stay."""
        found, asked = [], {d: values[i] for i, d in enumerate(dims)}
        for part, start in zip(self.parts, self._starts()):
            own = [d for d in dims if start <= d < start + part.target_dim]
            if len(own) == part.target_dim:
                continue
            if own:
                known = jnp.stack([asked[d] for d in own])
                part = capability("condition", part, "condition", start)(tuple(d - start for d in own), known)
            found.append(part)
        return found[0] if len(found) == 1 else Product(tuple(found))

    def affine(self, shift: Float[Array, " D"], scale: Float[Array, " D"]) -> "Product":
        units = zip(self._ask("affine", "affine"), self._split(shift), self._split(scale))
        return Product(tuple(ask(*own) for ask, *own in units))

    def tempered(self, factor: Any, log_factor: Any) -> "Product":
        return Product(tuple(ask(factor, log_factor) for ask in self._ask("temper", "tempered")))

    def _starts(self) -> list[int]:
        """Index of the first target of each block."""
        return np.cumsum([0, *(part.target_dim for part in self.parts[:-1])]).tolist()

    def _split(self, values: Array) -> list[Array]:
        """The blocks' own entries."""
        return jnp.split(values, self._starts()[1:])

    def _ask(self, function: str, name: str) -> list[Callable[..., Any]]:
        """A capability of every block."""
        return [capability(function, part, name, start) for part, start in zip(self.parts, self._starts())]

    def _sum(self, function: str, name: str, *rows: Array) -> Scalar:
        """Sum over the blocks of what each says of its own entries."""
        return sum(ask(*own) for ask, *own in zip(self._ask(function, name), *map(self._split, rows)))  # pyright: ignore

    def _joined(self, key: Key, name: str, *options: Any) -> Float[Array, "*S D"]:
        """Draws of all blocks."""
        keys = jax.random.split(key, len(self.parts))
        return jnp.concatenate([ask(key, *options) for ask, key in zip(self._ask(name, name), keys)], axis=-1)

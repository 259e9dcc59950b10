"""The targets of a distribution, and of a model: numbers, and those that name kinds."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from mdn_jax._checks import InputError
from mdn_jax._typing import Float, Int, PyTree
from mdn_jax.distributions import Distribution, Mixture, marginal
from mdn_jax.distributions.protocol import kinds
from mdn_jax.encoding import Encoding
from mdn_jax.models import Model, Rows

__all__ = [
    "classes_of", "components_of", "first", "has_regions", "kinds_of", "mixture_of", "names_of_kinds", "numbers_alone",
    "numbers_of", "of_targets", "only_numbers", "target_of",
]  # fmt: skip


def kinds_of(distribution: Distribution) -> dict[int, Any]:
    """The marginals of the targets that name kinds, by the index of the target."""
    return {dim: target_of(distribution, dim) for dim, count in enumerate(kinds(distribution)) if count is not None}


def numbers_of(distribution: Distribution) -> tuple[Int[np.ndarray, " F"], Any]:
    """Indices of the targets that are numbers, and their distribution; None where there are none."""
    dims = np.array([dim for dim, count in enumerate(kinds(distribution)) if count is None], int)
    if len(dims) == 1:
        return dims, target_of(distribution, int(dims[0]))
    whole = len(dims) == distribution.target_dim
    return dims, (distribution if whole else marginal(distribution, dims.tolist()) if len(dims) else None)


def mixture_of(numbers: Any) -> Mixture | None:
    """The distribution of the numbers where it is a mixture of components that they share; else None."""
    return numbers if all(hasattr(numbers, name) for name in ("responsibilities", "locs", "scale")) else None


def of_targets(
    ask: Callable[..., Array], distribution: Distribution, *given: Float[Array, " D"], shape: tuple[int, ...] = ()
) -> Float[Array, "*S D"]:
    """The answer `ask(distribution, *given)` for all targets; where some refuse, for each alone, NaN for those."""
    try:
        return ask(distribution, *given)
    except InputError:
        if distribution.target_dim == 1:
            return jnp.full((*shape, 1), jnp.nan)
    dims = range(distribution.target_dim)
    each = [of_targets(ask, target_of(distribution, d), *(row[d : d + 1] for row in given), shape=shape) for d in dims]
    return jnp.concatenate(each, axis=-1)


def classes_of(model: Model, x: PyTree) -> tuple[int | None, ...]:
    """Of each target how many kinds it names, None of a number; x is one example in standard units."""
    return kinds(_traced(lambda one: one, model, x))


def components_of(model: Model, x: PyTree) -> int:
    """The number of components of the mixture that a model's numbers share; 0 where they share none."""
    found = _traced(lambda one: mixture_of(numbers_of(one)[1]), model, x)
    return 0 if found is None else found.num_components


def has_regions(model: Model, x: PyTree) -> bool:
    """True where each number of a model has a mixture of its own, whose highest-density regions are known."""

    def mixtures(one: Any) -> list[Any]:
        dims, numbers = numbers_of(one)
        return [mixture_of(target_of(numbers, dim)) for dim in range(len(dims))]

    return None not in _traced(mixtures, model, x)


def names_of_kinds(encoding: Encoding | None, classes: tuple[int | None, ...]) -> tuple[tuple[str, ...] | None, ...]:
    """The kinds that each target names: the table's own, or their codes; None of a number."""
    own = (encoding.target_kinds if encoding is not None else ()) or (None,) * len(classes)
    codes = (None if count is None else tuple(map(str, range(count))) for count in classes)
    return tuple(code and (names or code) for names, code in zip(own, codes, strict=True))


def numbers_alone(model: Model, rows: Rows) -> tuple[list[int], Model, Rows]:
    """The indices of targets that are numbers, and the model and its rows in standard units without the others."""
    numbers, model = only_numbers(model, first(rows))
    observed = None if rows.observed is None else rows.observed[:, numbers]
    return numbers, model, rows._replace(y=rows.y[:, numbers], observed=observed)


def first(rows: Rows) -> PyTree:
    """The x of the first row."""
    return jax.tree.map(lambda leaf: leaf[0], rows.x)


def only_numbers(model: Model, x: PyTree) -> tuple[list[int], Model]:
    """The indices of targets that are numbers, and the model of them alone; x is one example in standard units."""
    one = _traced(lambda one: one, model, x)
    numbers = [dim for dim, count in enumerate(kinds(one)) if count is None]
    if len(numbers) == len(model.targets.shift) and (len(numbers) > 1 or mixture_of(one) is not None):
        return numbers, model
    names = tuple(model.target_names[dim] for dim in numbers) if model.target_names else ()
    targets = model.targets.part(numbers)
    return numbers, replace(model, conditional=_Numbers(model.conditional), targets=targets, target_names=names)


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class _Numbers:
    """The numbers' marginal of a conditional distribution."""

    conditional: Callable[[Any], Any]

    def __call__(self, x: PyTree) -> Any:
        return numbers_of(self.conditional(x))[1]


def target_of(distribution: Distribution, dim: int) -> Any:
    """The marginal of one target; a lone one's is its distribution, whether it says so or not."""
    alone = distribution.target_dim == 1
    plain = alone and (hasattr(distribution, "scale") or not hasattr(distribution, "marginal"))
    return distribution if plain else marginal(distribution, dim)


def _traced(ask: Callable[[Any], Any], model: Model, x: PyTree) -> Any:
    """The shapes of what `ask` says of a model's distribution at one x."""
    return jax.eval_shape(lambda x: ask(model.standardized(x)), jax.tree.map(jnp.asarray, x))

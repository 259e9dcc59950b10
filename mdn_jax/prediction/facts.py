"""Static facts about a model's distributions, traced once for all models of one structure."""

from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mdn_jax.distributions.protocol import kinds
from mdn_jax.judging import components_of, mixture_of, numbers_of, target_of
from mdn_jax.models import Model
from mdn_jax.prediction.questions import MOST_PIECES, known

__all__ = ["Facts", "facts_of"]


class Facts(NamedTuple):
    """The shape of a model's answers.

    Attributes:
        classes: of each target how many kinds it names, None of a number.
        pieces: of a highest-density region at most; 0 where no region of some number is known.
        shared: whether the numbers that are left share the components of one mixture.
        circles: of each number that is left whether it goes round.
        networks: components of each network of an ensemble, 0 where its numbers share none; none of a network alone.
    """

    classes: tuple[int | None, ...]
    pieces: int
    shared: bool
    circles: tuple[bool, ...]
    networks: tuple[int, ...]


def facts_of(model: Model, given: tuple[int, ...] = ()) -> Facts:
    """The facts of a model whose targets at the indices `given` are known."""
    leaves, structure = jax.tree.flatten(replace(model, input_names=(), target_names=(), encoding=None))
    return _facts_of(structure, tuple((np.shape(leaf), np.asarray(leaf).dtype) for leaf in leaves), given)


@lru_cache(maxsize=256)
def _facts_of(structure: Any, leaves: tuple, given: tuple[int, ...]) -> Facts:
    # ones: units that hold any answer
    model = jax.tree.unflatten(structure, [np.ones(shape, dtype) for shape, dtype in leaves])
    x, found = np.zeros(len(model.inputs.shift)), []

    def look(x: Any, values: Any) -> None:
        whole = model.standardized(x)
        _, numbers = numbers_of(known(whole, given, values))
        alone = [] if numbers is None else [target_of(numbers, dim) for dim in range(numbers.target_dim)]
        each, circles = [mixture_of(one) for one in alone], [getattr(one, "periods", None) is not None for one in alone]
        pieces = 0 if None in each else max((one.num_components for one in each if one is not None), default=0)
        found.append((tuple(kinds(whole)), min(pieces, MOST_PIECES), mixture_of(numbers) is not None, tuple(circles)))

    jax.eval_shape(look, jnp.asarray(x), jnp.zeros(len(given)))
    networks = model.networks if len(model.networks) > 1 else ()
    classes, pieces, shared, circles = found[0]
    return Facts(classes, pieces, shared, circles, tuple(components_of(network, x) for network in networks))

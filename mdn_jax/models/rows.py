"""Rows of data in a model's standard units, and a function mapped over any number of them by one program."""

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import numpy as np

from mdn_jax._checks import require
from mdn_jax._compiling import jit, jit_quickly
from mdn_jax._typing import ArrayLike, Float, Int, PyTree
from mdn_jax.distributions.units import Standardizer, device_dtype
from mdn_jax.models.model import Model

__all__ = ["ROWS_AT_ONCE", "Rows", "check_weights", "evenly", "in_nats", "map_rows", "row_chunks", "standard_rows"]

ROWS_AT_ONCE = 8_192  # rows, or steps of sequences, side by side: bounds memory, and no device gains from more
POINTS_PER_COMPONENT = 33  # where a highest-density region looks at each component: the most that is held for a row
QUICK = 2**20  # rows times components squared that cost no more than a better program would take to compile
ROWS_PER_CALL = (64, 512)  # on CPU: few programs, of as many rows side by side as fit a cache, in all cores' threads


class Rows(NamedTuple):
    """Data in standard units: any pytrees whose leaves lead with N.

    Attributes:
        x: inputs.
        y: targets.
        weight: (N,) how much each row counts, (N, T) of each step of sequences; 0 leaves it out.
        observed: (N, D) which targets are known, or None where all are.
    """

    x: PyTree
    y: PyTree
    weight: Any  # Float[Array, " N"], on the host a NumPy array
    observed: Any = None  # Bool[Array, "N D"]


def standard_rows(
    model: Any, x: PyTree, y: ArrayLike, *, weights: ArrayLike | None = None, observed: ArrayLike | None = None
) -> Rows:
    """N rows, of sequences too, in the standard units of a model (or of whatever has `inputs` and `targets`)."""
    y = np.asarray(y, np.float64)
    y = y[:, None] if y.ndim == 1 else y
    size = model.targets.shift.shape[0]
    require(y.ndim in (2, 3) and y.shape[-1] == size, f"evaluate takes targets (N, {size}); got {y.shape}")
    if model.inputs is not None:
        x = np.asarray(x, np.float64)
        size = model.inputs.shift.shape[0]
        require(x.ndim == y.ndim and x.shape[-1] == size, f"evaluate takes inputs (N, {size}); got {x.shape}")
        x = model.inputs.standardize(x)
    rows = {len(leaf) for leaf in jax.tree.leaves((x, y))}
    require(len(rows) == 1, f"evaluate takes as many inputs as targets; got {sorted(rows)} rows")
    z, known = model.targets.standardize(y), None
    if observed is not None:
        known = np.asarray(observed, bool)
        known = known[:, None] if known.ndim == 1 else known
        require(known.shape == y.shape, f"observed must have the shape of y, {y.shape}; got {known.shape}")
        z = np.where(known, z, 0.0)
    return Rows(x, z, np.ones(y.shape[:-1]) if weights is None else check_weights(weights, y.shape[:-1]), known)


def check_weights(weights: ArrayLike, shape: tuple[int, ...]) -> Float[np.ndarray, "*N"]:
    """Weights of a shape in float64, or an `InputError`."""
    weight = np.asarray(weights, np.float64)
    require(weight.shape == shape, f"weights must have shape {shape}; got {weight.shape}")
    require(
        bool((weight >= 0).all() and 0 < weight.max() < np.inf), "weights must be 0 or more, finite, and not all zero"
    )
    return weight


def evenly(count: int, most: int) -> Int[np.ndarray, " R"]:
    """Indices of at most `most` of `count` rows, evenly spread."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int))


def map_rows(
    function: Callable[[Any, Rows], PyTree], model: Model, rows: Rows, *, once: bool = False, block: int | None = None
) -> PyTree:
    """`function(distribution, row)` of N rows, all in standard units, by one program whatever N is.

    Args:
        function: of one distribution and one row; the same object again finds the compiled program.
        model: maps an x in standard units to a distribution.
        rows: on the host.
        once: asked once: few rows get a program that compiles fast and runs slowly.
        block: rows of each call, the last filled up; chosen for N where absent.

    Returns:
        The results stacked along N, on the host.
    """
    # one program, however many rows calibrated it; a thread would take the host's float64 for float32
    model, count = jax.device_put(replace(model, calibration=None)), len(rows.weight)
    rows = jax.tree.map(lambda leaf: np.asarray(leaf, device_dtype(leaf)), rows)
    one = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((1, *leaf.shape[1:]), leaf.dtype), rows.x)
    leaves = jax.tree.leaves(jax.eval_shape(_distributions, model, one))
    width = sum(math.prod(leaf.shape[1:]) for leaf in leaves)
    sizes, numbers = (ROWS_PER_CALL, 2**17) if jax.default_backend() == "cpu" else ((2**17,), 2**25)
    quick = once and sizes == ROWS_PER_CALL and count * (width // 3) ** 2 <= QUICK
    size = sizes[0] if quick else block or next((size for size in sizes if size >= count), sizes[-1])
    fitting = numbers // (POINTS_PER_COMPONENT * max(width // 3, 1))
    at_once = 2 ** min(max(fitting, 64), size).bit_length() // 2
    ask = _map_quickly if quick else _map

    def chunk(start: int) -> Rows:
        places = np.minimum(np.arange(start, start + size), count - 1)
        return jax.tree.map(lambda leaf: leaf[places], rows)

    chunks = [chunk(start) for start in range(0, count, size)]
    # called here, which compiles: threads inherit none of JAX's switches, by which a call would be traced
    first = _distributions(model, chunks[0].x)
    parts = [jax.device_get(ask(function, at_once, first, chunks[0]))]
    if len(chunks) > 1:
        conditional = _distributions.lower(model, chunks[0].x).compile()
        answers = ask.lower(function, at_once, first, chunks[0]).compile()
        wide = device_dtype(np.zeros(0)) == np.float64  # told here: a thread inherits none of JAX's switches

        def answer(part: Rows) -> PyTree:
            with jax.enable_x64(wide):
                return jax.device_get(answers(conditional(model, part.x), part))

        with ThreadPoolExecutor() as pool:
            parts += pool.map(answer, chunks[1:])
    return jax.tree.map(lambda *leaves: np.concatenate(leaves)[:count], *parts)


@jit
def _distributions(model: Model, x: PyTree) -> PyTree:
    """Of a chunk of inputs; by itself, so that what is asked of them is one program for networks of any shape."""
    return jax.vmap(model.standardized)(x)


def _mapped(function: Callable, at_once: int, distributions: PyTree, rows: Rows) -> PyTree:
    return jax.lax.map(lambda row: function(*row), (distributions, rows._replace(x=())), batch_size=at_once)


_map, _map_quickly = (compiled(_mapped, static_argnums=(0, 1)) for compiled in (jit, jit_quickly))


def row_chunks(rows: Rows) -> Iterator[Rows]:
    """N rows in chunks of one size, which one program serves whatever N is; the last is filled up with its last row."""
    rows, count = jax.tree.map(lambda leaf: np.asarray(leaf, device_dtype(leaf)), rows), len(rows.weight)
    at_once = max(ROWS_AT_ONCE // math.prod(rows.weight.shape[1:]), 1)
    for first in range(0, count, at_once):
        chosen = np.minimum(np.arange(first, first + at_once), count - 1)
        yield jax.tree.map(lambda leaf, chosen=chosen: leaf[chosen], rows)


def in_nats(values: ArrayLike, targets: Standardizer, observed: ArrayLike | None = None) -> Float[np.ndarray, "..."]:
    """-log p in standard units as nats of the original y; of the observed targets, where some are not."""
    log_scale = np.log(np.asarray(targets.scale))
    offset = log_scale.sum() if observed is None else np.asarray(observed, np.float64) @ log_scale
    return np.asarray(values, np.float64) + offset

"""The contract of a distribution, and how the package's functions ask one for what they need.

A capability is a method that is there or not. What D targets have no closed form of their own for is asked of each
target's marginal, so that a distribution made of others needs no code for it; what is not there is refused by name.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar, Protocol, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer

from mdn_jax._checks import InputError, promoted, require
from mdn_jax._typing import Bool, Float, Key, Scalar

__all__ = [
    "Distribution", "OneTarget", "apart", "capability", "check_target", "kinds", "of_each", "shorter_way",
    "single", "width",
]  # fmt: skip


class Distribution(Protocol):
    """A distribution of ONE y (D,): a pytree of floating arrays, whose batches lead with more axes on every leaf.

    Capabilities that may be there too, asked for by the functions of the same names: `mean() (D,)`, `std() (D,)`,
    `covariance() (D, D)`, `cdf(y) (D,)`, `log_cdf(y) (D,)`, `log_survival(y) (D,)`, `quantile(q) (D,)`,
    `crps(y) (D,)`, `tail_mean(q) (D,)`, `log_mass(lower, upper) ()`, `modes()`, `rsample(key) (D,)`,
    `condition(dims, values)`, `responsibilities(y, observed=None)`; for targets that may be missing
    `log_prob_observed(y, observed) ()`, for temperatures `tempered(factor, log_factor)` (logits times the one, log
    standard deviations plus the other), and a static `merge(parts, log_weights)` where the family has a closed form.
    Where targets lie on circles, `periods (D,)` holds their lengths, 0 for a line.
    Where targets name kinds, `kinds` holds for each target their number, or None; their marginals have `probs (C,)`.
    For D > 1 the per-target ones are asked of the marginals; `cdf` is enough for `quantile` and `interval`. Arrays
    arrive checked, in the dtype of the leaves.
    """

    @property
    def target_dim(self) -> int:
        """D."""
        ...

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """() of one distribution; the leading axes of a batch."""
        ...

    def log_prob(self, y: Float[Array, " D"], /) -> Scalar:
        """Log density of y in nats; of a class its log probability."""
        ...

    def sample(self, key: Key, shape: tuple[int, ...] = (), temperature: Any = 1.0) -> Float[Array, "*S D"]:
        """Independent draws; temperature 0 gives what is most probable."""
        ...

    def marginal(self, dims: tuple[int, ...], /) -> "Distribution":
        """The distribution of some of the targets, indices 0 to D - 1, in the order asked."""
        ...

    def affine(self, shift: Float[Array, " D"], scale: Float[Array, " D"], /) -> "Distribution":
        """The distribution of shift + scale * y."""
        ...


class OneTarget:
    """The methods that a distribution of one target without units of its own shares with its like.

    Such are classes, and numbers that say their bounds, steps or atoms as they are: nothing may shift or scale them.
    """

    unitless: ClassVar[str]  # what `affine` says to other units

    @property
    def target_dim(self) -> int:
        return 1

    def marginal(self, dims: tuple[int, ...]) -> Self:
        return self

    def log_prob_observed(self: Any, y: Float[Array, " 1"], observed: Bool[Array, " 1"]) -> Scalar:
        return jnp.where(observed[0], self.log_prob(jnp.where(observed, y, self.stand_in(y))), 0.0)

    def stand_in(self, y: Float[Array, " 1"]) -> Float[Array, " 1"]:
        """A value in place of a missing one, where the gradient is finite."""
        return jnp.zeros_like(y)

    def affine(self, shift: Float[Array, " 1"], scale: Float[Array, " 1"]) -> Self:
        """Itself: shift 0 and scale 1 are the only units that it has, and traced ones are taken to be those."""
        if not isinstance(shift, Tracer) and not isinstance(scale, Tracer):
            units = [np.ravel(jax.device_get(number)).tolist() for number in (shift, scale)]
            require(units == [[0.0], [1.0]], self.unitless)
        return self


def capability(
    function: str, distribution: Any, name: str, target: int = 0, known: Mapping[type, Callable] | None = None
) -> Callable[..., Any]:
    """The method `name` of a distribution, or the closed form known for its kind; else an `InputError`."""
    form = (known or {}).get(type(distribution))
    method = getattr(distribution, name, None) if form is None else partial(form, distribution)
    if method is None:
        kind, default = type(distribution).__name__, "{function}: {kind} has no {name}"
        reason = getattr(distribution, "refusal", default)
        raise InputError(reason.format(function=function, kind=kind, name=name, target=target))
    return method


def kinds(distribution: Any) -> tuple[int | None, ...]:
    """Of each target how many kinds it names, None of a number."""
    return getattr(distribution, "kinds", (None,) * distribution.target_dim)


def shorter_way(distance: Float[Array, " D"], periods: Float[Array, " D"]) -> Float[Array, " D"]:
    """Distances as they are on lines, and the shorter way round on circles."""
    return distance - periods * jnp.round(distance / jnp.where(periods > 0, periods, 1.0))


def apart(distribution: Any, one: Float[Array, " D"], other: Float[Array, " D"]) -> Float[Array, " D"]:
    """one - other of each target; on a circle the shorter way from the other to the one."""
    periods = getattr(distribution, "periods", None)
    return one - other if periods is None else shorter_way(one - other, periods)


def width(distribution: Any, ends: Float[Array, "2 D"]) -> Float[Array, " D"]:
    """The widths of intervals; on a circle an upper end may be below the lower one, which is one turn less."""
    periods, long = getattr(distribution, "periods", None), ends[1] - ends[0]
    return long if periods is None else jnp.where(long < 0, long + periods, long)


def single(function: str, distribution: Any, **arrays: tuple[Any, tuple[int, ...]]) -> Any:
    """One distribution in at least float32; a batch where one and single arrays are expected is refused.

    A forgotten `jax.vmap` would broadcast into a number of the right shape and the wrong value, so every public
    function of one distribution calls this first, when it is traced, by its own name; `arrays` come with the shapes
    that they must have.
    """
    kind = type(distribution).__name__.lower()
    if distribution.batch_shape != ():
        wanted = getattr(distribution, "shapes", f"batch shape (), not {distribution.batch_shape}")
        raise InputError(
            f"{function} takes one {kind}: {wanted}; got {shapes_of(distribution)}: "
            f"use jax.vmap(mdn.{function}) for a batch"
        )
    for name, (array, expected) in arrays.items():
        shape = tuple(getattr(array, "shape", ()))
        if shape != expected:
            raise InputError(
                f"{function} takes one {kind} and one {name} of shape {expected}; got {name} {shape}: "
                f"use jax.vmap(mdn.{function})"
            )
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, promoted(leaf)) if _is_number(leaf) else leaf, distribution)


def check_target(function: str, distribution: Any, y: Any, observed: Any = None) -> tuple[Any, Array, Any]:
    """One distribution, y (D,) and where given the mask (D,), in one dtype, or an `InputError`."""
    y, expected = jnp.asarray(y), (distribution.target_dim,)
    arrays = {"y": (y, expected)}
    if observed is not None:
        observed = jnp.asarray(observed, bool)
        arrays["observed"] = (observed, expected)
    distribution = single(function, distribution, **arrays)
    dtype = dtype_of((distribution, y))
    return as_dtype(distribution, dtype), y.astype(dtype), observed


def as_dtype(tree: Any, dtype: Any) -> Any:
    """The same pytree with all of its numbers in one dtype."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype) if _is_number(leaf) else leaf, tree)


def dtype_of(distribution: Any) -> Any:
    """The floating dtype that the leaves of a distribution have together."""
    return promoted(*filter(_is_number, jax.tree.leaves(distribution)))


def shapes_of(distribution: Any) -> str:
    """The leaves' shapes by name, for messages."""
    leaves = jax.tree_util.tree_leaves_with_path(distribution)
    said = [f"{jax.tree_util.keystr(path, simple=True, separator='.')} {np.shape(leaf)}" for path, leaf in leaves]
    return ", ".join(said)


def of_each(
    function: str,
    distribution: Any,
    name: str,
    *given: Any,
    known: Mapping[type, Callable] | None = None,
    from_cdf: Callable | None = None,
    target: int = 0,
) -> Float[Array, " D"]:
    """`name` of every target: the distribution's own closed form, or that of its marginals, alike ones side by side.

    Args:
        function: the public name of the caller, for the message, as is `target`, the index of the first target.
        distribution: one distribution.
        name: the capability.
        given: its arguments: one entry per target, or a scalar for all.
        known: closed forms by kind, beside those that are methods.
        from_cdf: of one target, where it has no closed form of its own but a `cdf`.
        target: see `function`.
    """
    own = (known or {}).get(type(distribution)) or getattr(type(distribution), name, None)
    if own is not None:
        return own(distribution, *given)
    if distribution.target_dim == 1:
        capability(function, distribution, name if from_cdf is None else "cdf", target)
        return from_cdf(distribution, *given)  # pyright: ignore[reportOptionalCall]
    marginal, alike = capability(function, distribution, "marginal", target), {}
    for d in range(distribution.target_dim):
        leaves, structure = jax.tree.flatten(marginal((d,)))
        alike.setdefault((structure, *((leaf.shape, leaf.dtype) for leaf in leaves)), {})[d] = leaves
    answers = []
    for (structure, *_), group in alike.items():
        places = list(group)
        ones = jax.tree.unflatten(structure, [jnp.stack(leaves) for leaves in zip(*group.values())])
        rows = [row[np.array(places), None] if jnp.ndim(row) else row for row in given]
        ask = partial(of_each, known=known, from_cdf=from_cdf, target=target + places[0])
        found = jax.vmap(lambda one, *rows, ask=ask: ask(function, one, name, *rows),
                         (0, *(0 if jnp.ndim(row) else None for row in given)))(ones, *rows)  # fmt: skip
        answers.append(found[:, 0])
    order = np.argsort([d for group in alike.values() for d in group])
    return answers[0] if len(alike) == 1 else jnp.concatenate(answers)[order]


def _is_number(leaf: Any) -> bool:
    """True for an array of numbers: no mask, nor a key."""
    dtype = getattr(leaf, "dtype", None)
    return dtype is not None and jnp.issubdtype(dtype, jnp.number)

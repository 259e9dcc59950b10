"""A model: a network between two standardizers. It maps one x to ONE mixture in the targets' original units.

Networks see standardised data; the change of units is undone exactly, by `affine`, so that every density is in nats
of the original y. What is fitted to data lives on the host in float64, where timestamps keep their digits.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from mdn_jax._checks import require
from mdn_jax._typing import ArrayLike, Float, PyTree
from mdn_jax.head import MixtureSpec, unpack
from mdn_jax.losses import nll
from mdn_jax.metrics import Scores, score
from mdn_jax.mixture import Mixture, affine, merge
from mdn_jax.scales import Diagonal

__all__ = [
    "ConstantStd",
    "Ensemble",
    "Functional",
    "Model",
    "Standardizer",
    "chunk_nll",
    "ensemble",
    "evaluate",
    "in_nats",
    "num_parameters",
    "row_chunks",
    "row_nll",
    "stack",
]

ROWS_AT_ONCE = 8_192  # rows evaluated side by side: bounds memory, and no device gains from more


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Standardizer:
    """z = (y - shift) / scale, per column.

    Attributes:
        shift: (D,) column means.
        scale: (D,) column standard deviations; 1 for a constant column.

    Example:
        >>> import numpy as np, mdn_jax as mdn
        >>> units = mdn.Standardizer.fit(np.array([[1.7e9], [1.7e9 + 2.0]]))
        >>> print(units.standardize(np.array([[1.7e9 + 2.0]])))
        [[1.]]
    """

    shift: Float[Array | np.ndarray, " D"]
    scale: Float[Array | np.ndarray, " D"]

    @classmethod
    def fit(cls, y: ArrayLike) -> Self:
        """Means and standard deviations of (N, D) or (N,) data, in float64; NaN is left out."""
        y = np.asarray(y, np.float64)
        y = y[:, None] if y.ndim == 1 else y
        if y.shape[1] == 0:
            return cls(np.zeros(0), np.ones(0))
        shift, scale = np.nanmean(y, axis=0), np.nanstd(y, axis=0)
        # a column of one value has a spread of rounding errors only
        constant = scale <= 1e-12 * np.maximum(np.abs(shift), 1e-300)
        return cls(shift, np.where(constant, 1.0, scale))

    @classmethod
    def identity(cls, size: int) -> Self:
        """Units that change nothing."""
        return cls(np.zeros(size), np.ones(size))

    def standardize(self, y: ArrayLike) -> Any:
        """(..., D) in original units to standard units: float64 for NumPy arrays, traceable for JAX's."""
        return (y - self.shift) / self.scale

    def restore(self, mixture: Mixture) -> Mixture:
        """A mixture in standard units to one in original units."""
        return affine(mixture, jnp.asarray(self.shift), jnp.asarray(self.scale))

    def within(self, outer: "Standardizer") -> "Standardizer":
        """The change from `outer`'s standard units to these, computed on the host in float64."""
        return Standardizer((self.shift - outer.shift) / outer.scale, self.scale / outer.scale)


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Functional:
    """A network of your own: parameters and a function of them.

    Attributes:
        params: a pytree of floating arrays.
        apply: `apply(params, x) -> raw (spec.num_outputs,)`, for one example.
        spec: which mixture the outputs describe.
    """

    params: PyTree
    apply: Callable[[PyTree, Any], Float[Array, " P"]] = field(metadata={"static": True})
    spec: MixtureSpec = field(metadata={"static": True})

    def __call__(self, x: PyTree) -> Mixture:
        """The mixture of one example."""
        return unpack(self.spec, self.apply(self.params, x))


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class ConstantStd:
    """Least squares as a distribution: a network's mean, with one standard deviation per target everywhere.

    Attributes:
        network: maps x to a mixture of one component.
        log_std: (D,) in standard units.
    """

    network: Callable[[Any], Mixture]
    log_std: Float[Array | np.ndarray, " D"]

    def __call__(self, x: PyTree) -> Mixture:
        """The normal distribution of one example."""
        mixture = self.network(x)
        return Mixture(mixture.logits, mixture.locs, Diagonal(jnp.asarray(self.log_std)[None, :]))


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Model:
    """What `fit` gives: call it with one x for the mixture of y.

    A pytree: pass it through `jax.jit`, or map it with `jax.vmap(model)(xs)`. Inside a transformation x is float32
    already; `evaluate` standardises on the host, in float64.

    Attributes:
        network: maps one x in standard units to a mixture in standard units.
        inputs: units of x; None where the network takes x as given.
        targets: units of y.
        input_names: X names, or none.
        target_names: D names, or none.
    """

    network: Callable[[Any], Mixture]
    inputs: Standardizer | None
    targets: Standardizer
    input_names: tuple[str, ...] = field(default=(), metadata={"static": True})
    target_names: tuple[str, ...] = field(default=(), metadata={"static": True})

    def __call__(self, x: PyTree) -> Mixture:
        """x (X,) -> the mixture of y in original units.

        Raises:
            InputError: for a batch (use `jax.vmap(model)(xs)`).
        """
        return self.targets.restore(self.standardized(_standard_input(self.inputs, x)))

    def standardized(self, x: PyTree) -> Mixture:
        """The mixture in standard units, for an x in standard units."""
        return self.network(x)


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Ensemble:
    """Several models as ONE: its output is the exact mixture of all of theirs. Made by `ensemble`.

    Attributes:
        models: the members, each in units relative to `inputs` and `targets`.
        inputs: units of x.
        targets: units of y.
        input_names: X names, or none.
        target_names: D names, or none.
    """

    models: tuple[Model, ...]
    inputs: Standardizer | None
    targets: Standardizer
    input_names: tuple[str, ...] = field(default=(), metadata={"static": True})
    target_names: tuple[str, ...] = field(default=(), metadata={"static": True})

    def __call__(self, x: PyTree) -> Mixture:
        """x (X,) -> the mixture of y in original units."""
        return self.targets.restore(self.standardized(_standard_input(self.inputs, x)))

    def members(self, x: PyTree) -> list[Mixture]:
        """x (X,) -> the members' own mixtures in original units."""
        x = _standard_input(self.inputs, x)
        return [self.targets.restore(model(x)) for model in self.models]

    def standardized(self, x: PyTree) -> Mixture:
        """The mixture in standard units, for an x in standard units."""
        return merge([model(x) for model in self.models])


def ensemble(models: Sequence[Model | Ensemble]) -> Ensemble:
    """Models of any shapes as ONE model whose output is one exact mixture, equally weighted.

    Args:
        models: over the same inputs and targets; an ensemble's members count one by one.

    Returns:
        An `Ensemble`.

    Raises:
        InputError: for none, or for models over different columns.

    Example:
        >>> import jax, numpy as np, mdn_jax as mdn
        >>> x = np.linspace(-1, 1, 64)[:, None]
        >>> training = mdn.TrainingConfig(num_steps=2, evaluate_every=1)
        >>> fits = [mdn.fit(jax.random.key(seed), x, x**2, training=training) for seed in (0, 1)]
        >>> mdn.ensemble([fit.model for fit in fits])(x[0]).num_components
        20
    """
    require(len(models) > 0, "ensemble takes at least one model; got none")
    first = models[0]
    flat: list[Model] = []
    for model in models:
        require(
            model.targets.shift.shape == first.targets.shift.shape
            and (model.inputs is None) == (first.inputs is None)
            and (model.inputs is None or model.inputs.shift.shape == first.inputs.shift.shape)  # pyright: ignore
            and model.input_names == first.input_names
            and model.target_names == first.target_names,
            "ensemble takes models over the same inputs and targets",
        )
        flat.extend(_absolute(model))
    return Ensemble(
        models=tuple(
            replace(
                model,
                inputs=None if model.inputs is None else model.inputs.within(first.inputs),  # pyright: ignore
                targets=model.targets.within(first.targets),
            )
            for model in flat
        ),
        inputs=first.inputs,
        targets=first.targets,
        input_names=first.input_names,
        target_names=first.target_names,
    )


def num_parameters(model: Model | Ensemble) -> int:
    """Numbers in a model's networks."""
    models = model.models if isinstance(model, Ensemble) else (model,)
    return sum(leaf.size for one in models for leaf in jax.tree.leaves(one.network))


def stack(models: Sequence[Model | Ensemble]) -> PyTree:
    """Models of one structure as one whose leaves lead with M, on the host."""
    return jax.tree.map(lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]), *models)


def evaluate(model: Model | Ensemble, x: PyTree, y: ArrayLike) -> Scores:
    """Scores of a model on N rows, in the targets' original units.

    Rows are standardised on the host in float64 and scored in standard units; the units are put back afterwards, so
    that offsets and spreads of any size keep their digits.

    Args:
        model: from `fit` or `load`.
        x: (N, X) inputs, or any pytree with leading N where the network takes one.
        y: (N, D) or (N,) targets.

    Returns:
        `Scores` of N rows; `.report(names)` sums them up.

    Raises:
        InputError: where x and y disagree with the model.

    Example:
        >>> import jax, numpy as np, mdn_jax as mdn
        >>> x = np.linspace(-1, 1, 64)[:, None]
        >>> fit = mdn.fit(jax.random.key(0), x, x**2, training=mdn.TrainingConfig(num_steps=2, evaluate_every=1))
        >>> mdn.evaluate(fit.model, x, x**2).pit.shape
        (64, 1)
    """
    y = np.asarray(y, np.float64)
    y = y[:, None] if y.ndim == 1 else y
    size = model.targets.shift.shape[0]
    require(y.ndim == 2 and y.shape[1] == size, f"evaluate takes targets (N, {size}); got {y.shape}")
    if model.inputs is not None:
        x = np.asarray(x, np.float64)
        size = model.inputs.shift.shape[0]
        require(x.ndim == 2 and x.shape[1] == size, f"evaluate takes inputs (N, {size}); got {x.shape}")
        x = model.inputs.standardize(x)
    rows = {len(leaf) for leaf in jax.tree.leaves((x, y))}
    require(len(rows) == 1, f"evaluate takes as many inputs as targets; got {sorted(rows)} rows")
    return evaluate_standard(model, x, model.targets.standardize(y))


def evaluate_standard(model: Model | Ensemble, x: PyTree, z: Float[Array | np.ndarray, "N D"]) -> Scores:
    """`evaluate` for inputs and targets that are in standard units already; the scores are in original ones."""
    row_values = row_nll(model, x, z)
    x, z = jax.tree.map(lambda leaf: jnp.asarray(leaf, _single(leaf)), (x, z))
    scores = {name: np.asarray(value, np.float64) for name, value in _score_rows(model, x, z).items()}
    scale = np.asarray(model.targets.scale)
    for name in ("error", "crps", "width_90"):
        scores[name] = scores[name] * scale
    return Scores(nll=row_values, **scores)


@jax.jit
def _score_rows(model: Model | Ensemble, x: PyTree, z: Float[Array, "N D"]) -> dict[str, Float[Array, "N ..."]]:
    scores = jax.lax.map(lambda row: score(model.standardized(row[0]), row[1]), (x, z), batch_size=ROWS_AT_ONCE)
    return {name: values for name, values in scores.items() if name != "nll"}


def row_nll(model: Model | Ensemble, x: PyTree, z: Float[Array | np.ndarray, "N D"]) -> Float[np.ndarray, " N"]:
    """-log p of N rows in nats of the original y, for inputs and targets in standard units."""
    parts = [np.asarray(_nll_program(model, part)) for part in row_chunks(x, z)]
    return in_nats(np.concatenate(parts)[: len(z)], model.targets)


def row_chunks(x: PyTree, z: Float[Array | np.ndarray, "N D"]) -> Iterator[tuple[PyTree, Float[np.ndarray, "R D"]]]:
    """N rows in chunks of one size, which one program serves whatever N is; the last is filled up with its last row."""
    x, z = jax.tree.map(lambda leaf: np.asarray(leaf, _single(leaf)), (x, z))
    for first in range(0, len(z), ROWS_AT_ONCE):
        rows = np.minimum(np.arange(first, first + ROWS_AT_ONCE), len(z) - 1)
        yield jax.tree.map(lambda leaf, rows=rows: leaf[rows], (x, z))


def chunk_nll(model: Model | Ensemble, rows: tuple[PyTree, Float[Array, "R D"]]) -> Float[Array, " R"]:
    """-log p of a chunk of rows, all in standard units; traceable."""
    return jax.vmap(lambda x, z: nll(model.standardized(x), z))(*rows)


# a program of its own, so that a model alone gives the same digits as among the members of a sweep
_nll_program = jax.jit(chunk_nll)


def in_nats(values: ArrayLike, targets: Standardizer) -> Float[np.ndarray, "..."]:
    """-log p in standard units as nats of the original y."""
    return np.asarray(values, np.float64) + np.log(np.asarray(targets.scale)).sum()


def _single(leaf: ArrayLike) -> Any:
    """float32 for the host's float64; None, JAX's own choice, for any other."""
    dtype = getattr(leaf, "dtype", None) or np.result_type(leaf)
    return np.float32 if dtype == np.float64 else None


def _standard_input(inputs: Standardizer | None, x: PyTree) -> PyTree:
    """One x in standard units, refused where it is a batch; a host array keeps its digits until it is standardised."""
    if inputs is None:
        return x
    x = x if isinstance(x, jax.Array) else np.asarray(x, np.float64)
    require(
        x.shape == inputs.shift.shape,
        f"model takes one x of shape {inputs.shift.shape}; got {x.shape}: use jax.vmap(model)(xs)",
    )
    z = inputs.standardize(x)
    return jnp.asarray(z, _single(z))


def _absolute(model: Model | Ensemble) -> list[Model]:
    """A model, or an ensemble's members, in units of their own."""
    if isinstance(model, Model):
        return [model]
    return [
        replace(
            member,
            inputs=None if member.inputs is None else _compose(model.inputs, member.inputs),  # pyright: ignore
            targets=_compose(model.targets, member.targets),
        )
        for member in model.models
    ]


def _compose(outer: Standardizer, inner: Standardizer) -> Standardizer:
    """The units of `inner`, which are relative to `outer`, by themselves."""
    return Standardizer(outer.shift + outer.scale * inner.shift, outer.scale * inner.scale)

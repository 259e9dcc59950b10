"""A network between two standardizers, and several of them as one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from mdn_jax._checks import require
from mdn_jax._printing import ShortRepr
from mdn_jax._typing import Float, PyTree
from mdn_jax.distributions import Mixture, merge
from mdn_jax.distributions.scales import Diagonal
from mdn_jax.distributions.units import Standardizer, device_dtype
from mdn_jax.encoding import Encoding
from mdn_jax.heads import MixtureSpec, unpack
from mdn_jax.models.calibration import Calibration

__all__ = ["ConstantStd", "Ensemble", "Functional", "Model", "ensemble", "num_parameters", "stack"]


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
@dataclass(frozen=True, eq=False, repr=False)
class Model(ShortRepr):
    """What `fit` gives: call it with one x for the mixture of y.

    A pytree: pass it through `jax.jit`, or map it with `jax.vmap(model)(xs)`. Inside a transformation x is float32
    already; `evaluate` standardises on the host, in float64.

    Attributes:
        network: maps one x in standard units to a mixture in standard units.
        inputs: units of x; None where the network takes x as given.
        targets: units of y.
        input_names: X names, or none.
        target_names: D names, or none.
        encoding: how a table's columns become x, or None.
        calibration: from `calibrate`, or None.
    """

    network: Callable[[Any], Mixture]
    inputs: Standardizer | None
    targets: Standardizer
    input_names: tuple[str, ...] = field(default=(), metadata={"static": True})
    target_names: tuple[str, ...] = field(default=(), metadata={"static": True})
    encoding: Encoding | None = field(default=None, metadata={"static": True})
    calibration: Calibration | None = None

    def __call__(self, x: PyTree) -> Mixture:
        """x (X,) -> the mixture of y in original units; a warning where float32 cannot hold such units.

        Raises:
            InputError: for a batch (use `jax.vmap(model)(xs)`).
        """
        return self.targets.restore(self.standardized(_standard_input(self.inputs, x)))

    def standardized(self, x: PyTree) -> Mixture:
        """The mixture in standard units, for an x in standard units."""
        return self.network(x)


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False, repr=False)
class Ensemble(ShortRepr):
    """Several models as ONE: its output is the exact mixture of all of theirs. Made by `ensemble`.

    Attributes:
        models: the members, each in units relative to `inputs` and `targets`.
        inputs: units of x.
        targets: units of y.
        input_names: X names, or none.
        target_names: D names, or none.
        encoding: how a table's columns become x, or None.
        calibration: from `calibrate`, or None.
    """

    models: tuple[Model, ...]
    inputs: Standardizer | None
    targets: Standardizer
    input_names: tuple[str, ...] = field(default=(), metadata={"static": True})
    target_names: tuple[str, ...] = field(default=(), metadata={"static": True})
    encoding: Encoding | None = field(default=None, metadata={"static": True})
    calibration: Calibration | None = None

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
            and model.target_names == first.target_names
            and model.encoding == first.encoding,
            "ensemble takes models over the same inputs and targets",
        )
        flat.extend(_absolute(model))
    return Ensemble(
        models=tuple(
            replace(
                model,
                calibration=None,
                inputs=None if model.inputs is None else model.inputs.within(first.inputs),  # pyright: ignore
                targets=model.targets.within(first.targets),
            )
            for model in flat
        ),
        inputs=first.inputs,
        targets=first.targets,
        input_names=first.input_names,
        target_names=first.target_names,
        encoding=first.encoding,
    )


def num_parameters(model: Model | Ensemble) -> int:
    """Numbers in a model's networks."""
    models = model.models if isinstance(model, Ensemble) else (model,)
    return sum(leaf.size for one in models for leaf in jax.tree.leaves(one.network))


def stack(models: Sequence[Model | Ensemble]) -> PyTree:
    """Models of one structure as one whose leaves lead with M, on the host."""
    return jax.tree.map(lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]), *models)


def _standard_input(inputs: Standardizer | None, x: PyTree) -> PyTree:
    """One x in standard units, refused where it is a batch; a host array keeps its digits until it is standardised."""
    if inputs is None:
        return x
    x = x if isinstance(x, jax.Array) else np.asarray(x, np.float64)
    require(
        x.shape == inputs.shift.shape,
        f"model takes one x of shape {inputs.shift.shape}; got {x.shape}: use jax.vmap(model)(xs)",
    )
    if isinstance(x, jax.Array):
        inputs.warn_unless_held("input", x.dtype)
    z = inputs.standardize(x)
    return jnp.asarray(z, device_dtype(z))


def _absolute(model: Model | Ensemble) -> list[Model]:
    """A model, or an ensemble's members, in units of their own."""
    if isinstance(model, Model):
        return [model]
    return [
        replace(
            member,
            inputs=None if member.inputs is None else model.inputs.compose(member.inputs),  # pyright: ignore
            targets=model.targets.compose(member.targets),
        )
        for member in model.models
    ]

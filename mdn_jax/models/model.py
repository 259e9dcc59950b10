"""A conditional distribution between units: one network's, or that of several networks merged."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from mdn_jax._checks import InputError, require
from mdn_jax._printing import ShortRepr
from mdn_jax._typing import Float, Key, PyTree
from mdn_jax.distributions import Distribution, Mixture, merge
from mdn_jax.distributions.scales import Diagonal
from mdn_jax.distributions.units import Standardizer, device_dtype
from mdn_jax.encoding import Encoding
from mdn_jax.heads import Head, unpack
from mdn_jax.models.calibration import Calibration
from mdn_jax.networks import Architecture, takes_key

__all__ = ["Conditional", "ConstantStd", "Functional", "Merger", "Model", "ensemble", "num_parameters", "stack"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Functional:
    """A network of your own: parameters and a function of them.

    Attributes:
        params: a pytree of floating arrays.
        apply: `apply(params, x) -> raw (P,)` for one example, or `apply(params, x, key)`: with a key it is training
            (dropout), with None it is not.
    """

    params: PyTree
    apply: Callable[..., Float[Array, " P"]] = field(metadata={"static": True})

    def __call__(self, x: PyTree, key: Key | None = None) -> Float[Array, " P"]:
        """The raw outputs of one example."""
        return self.apply(self.params, x, key) if takes_key(self.apply, 2) else self.apply(self.params, x)


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Conditional:
    """p(y | x) in standard units: `head.unpack(network(x) + offset)`.

    Attributes:
        network: maps one x to raw outputs (P,), or (T, P) for T distributions; `network(x, key)` where it draws numbers
            in training.
        offset: (P,) added to the raw outputs, trained; it starts at `head.initial_bias`. None for none.
        head: makes the distribution.
        architecture: how the network was built, so that it can be saved; None for one of your own.
    """

    network: Callable[..., Float[Array, "*T P"]]
    offset: Float[Array, " P"] | None
    head: Head = field(metadata={"static": True})
    architecture: Architecture | None = field(default=None, metadata={"static": True})

    def __call__(self, x: PyTree, key: Key | None = None) -> Any:
        """The distribution of one example, or a batch of them; a key makes it training."""
        raw = self.network(x, key) if self.draws else self.network(x)
        return self._made_of_all(raw)

    def rows(self, x: PyTree, keys: Key | None = None) -> Any:
        """The distributions of several examples, by the network's own `rows` where it has one."""
        rows = getattr(self.network, "rows", None)
        return jax.vmap(self)(x, keys) if rows is None else self._made_of_all(rows(x, keys))

    def _made_of_all(self, raw: Float[Array, "*T P"]) -> Any:
        made = self._made
        for _ in raw.shape[:-1]:
            made = jax.vmap(made)
        return made(raw)

    def _made(self, raw: Float[Array, " P"]) -> Distribution:
        return unpack(self.head, raw if self.offset is None else raw + self.offset)

    @property
    def draws(self) -> bool:
        """True where the network takes a key."""
        return takes_key(self.network)

    @property
    def input_rank(self) -> int:
        """Axes of one x: 1 of a vector, 2 of a sequence."""
        return 1 if self.architecture is None else len(self.architecture.input_shape)

    def initial_state(self) -> PyTree:
        """The state of the network before a sequence."""
        return _recurrent(self.network, "initial_state")()

    def step(self, state: PyTree, x: PyTree) -> tuple[PyTree, Distribution]:
        """The next state, and the distribution of one step of a sequence."""
        state, raw = _recurrent(self.network, "step")(state, x)
        return state, self._made(raw)


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class ConstantStd:
    """Least squares as a distribution: a network's mean, with one standard deviation per target everywhere.

    Attributes:
        conditional: maps x to a mixture of one component.
        log_std: (D,) in standard units.
    """

    conditional: Callable[[Any], Any]
    log_std: Float[Array | np.ndarray, " D"]

    def __call__(self, x: PyTree) -> Mixture:
        """The normal distribution of one example."""
        mixture = self.conditional(x)
        return Mixture(mixture.logits, mixture.locs, Diagonal(jnp.asarray(self.log_std)[None, :]))


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Merger:
    """The networks of an ensemble as ONE conditional distribution, each network counting alike.

    Attributes:
        models: one for each network, in units relative to the ensemble's.
    """

    models: tuple["Model", ...]

    def __call__(self, x: PyTree) -> Any:
        """The exact mixture of all networks' distributions of one example, or of each step of a sequence."""
        return _merged([model(x) for model in self.models])

    @property
    def input_rank(self) -> int:
        """Axes of one x."""
        return self.models[0].input_rank

    def initial_state(self) -> PyTree:
        """The states of the networks before a sequence."""
        return tuple(model.initial_state() for model in self.models)

    def step(self, state: PyTree, x: PyTree) -> tuple[PyTree, Distribution]:
        """The next states, and the exact mixture of one step of a sequence."""
        stepped = [model.step(before, x) for model, before in zip(self.models, state, strict=True)]
        states, distributions = zip(*stepped, strict=True)
        return states, merge(list(distributions))


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False, repr=False)
class Model(ShortRepr):
    """A trained model: call it with one x for the distribution of y.

    A pytree: pass it through `jax.jit`, or map it with `jax.vmap(model)(xs)`. Inside a transformation x is float32
    already; `evaluate` standardises on the host, in float64.

    Attributes:
        conditional: maps one x in standard units to a distribution in standard units: a `Conditional`, `ConstantStd`,
            or the `Merger` of an ensemble.
        inputs: units of x; None where the network takes x as given.
        targets: units of y.
        input_names: X names, or none.
        target_names: D names, or none.
        encoding: how a table's columns become x, or None.
        calibration: from `calibrate`, or None.
    """

    conditional: Callable[[Any], Any]
    inputs: Standardizer | None
    targets: Standardizer
    input_names: tuple[str, ...] = field(default=(), metadata={"static": True})
    target_names: tuple[str, ...] = field(default=(), metadata={"static": True})
    encoding: Encoding | None = field(default=None, metadata={"static": True})
    calibration: Calibration | None = None

    def __call__(self, x: PyTree) -> Any:
        """x (X,) -> the distribution of y in original units; a warning where float32 cannot hold such units.

        A recurrent network takes a sequence x (T, X), and gives a batch of T distributions.

        Raises:
            InputError: for a batch (use `jax.vmap(model)(xs)`).
        """
        return self.targets.restore(self.standardized(_standard_input(self.inputs, x, self.input_rank)))

    @property
    def input_rank(self) -> int:
        """Axes of one x: 1 of a vector, 2 of a sequence."""
        return getattr(self.conditional, "input_rank", 1)

    def initial_state(self) -> PyTree:
        """The state of a recurrent network before a sequence.

        Raises:
            InputError: where the network is none.
        """
        return _recurrent(self.conditional, "initial_state")()

    def step(self, state: PyTree, x: Float[Array, " X"]) -> tuple[PyTree, Distribution]:
        """One step of a sequence: state, x (X,) -> the next state, and the distribution of y in original units.

        Raises:
            InputError: where the network is not recurrent, or for a batch (use `jax.vmap(model.step)`).

        Example:
            >>> import jax, numpy as np, mdn_jax as mdn
            >>> x = np.random.default_rng(0).normal(size=(8, 5, 1))
            >>> config = mdn.ModelConfig(network="lstm", network_options={"hidden_size": 4})
            >>> training = mdn.TrainingConfig(num_steps=2, evaluate_every=1)
            >>> model = mdn.fit(jax.random.key(0), x, x**2, model=config, training=training).model
            >>> state, distribution = model.step(model.initial_state(), x[0, 0])
            >>> model(x[0]).locs.shape, distribution.locs.shape
            ((5, 10, 1), (10, 1))
        """
        state, distribution = _recurrent(self.conditional, "step")(state, _standard_input(self.inputs, x, 1))
        return state, self.targets.restore(distribution)

    def standardized(self, x: PyTree) -> Any:
        """The distribution in standard units, for an x in standard units."""
        return self.conditional(x)

    @property
    def networks(self) -> tuple["Model", ...]:
        """The networks of an ensemble, each a model in original units; of any other model itself alone."""
        if not isinstance(self.conditional, Merger):
            return (self,)
        return tuple(
            replace(
                model,
                inputs=None if model.inputs is None else self.inputs.compose(model.inputs),  # pyright: ignore
                targets=self.targets.compose(model.targets),
            )
            for model in self.conditional.models
        )


def ensemble(models: Sequence[Model]) -> Model:
    """Models of any shapes as ONE model whose output is one exact mixture, equally weighted.

    Args:
        models: over the same inputs and targets; an ensemble's networks count one by one.

    Returns:
        A `Model` of all their `networks`.

    Raises:
        InputError: for none, or for models over different columns.

    Example:
        >>> import jax, numpy as np, mdn_jax as mdn
        >>> x = np.linspace(-1, 1, 64)[:, None]
        >>> training = mdn.TrainingConfig(num_steps=2, evaluate_every=1)
        >>> fits = [mdn.fit(jax.random.key(seed), x, x**2, training=training) for seed in (0, 1)]
        >>> model = mdn.ensemble([fit.model for fit in fits])
        >>> len(model.networks), model(x[0]).num_components
        (2, 20)
    """
    require(len(models) > 0, "ensemble takes at least one model; got none")
    first = models[0]
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
    relative = (
        replace(
            network,
            calibration=None,
            inputs=None if network.inputs is None else network.inputs.within(first.inputs),  # pyright: ignore
            targets=network.targets.within(first.targets),
        )
        for model in models
        for network in model.networks
    )
    return replace(first, conditional=Merger(tuple(relative)), calibration=None)


def num_parameters(model: Model) -> int:
    """Numbers in a model's networks."""
    return sum(math.prod(leaf.shape) for one in model.networks for leaf in jax.tree.leaves(one.conditional))


def stack(models: Sequence[Model]) -> PyTree:
    """Models of one structure as one whose leaves lead with M, on the host."""
    return jax.tree.map(lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]), *models)


def _recurrent(network: Any, name: str) -> Callable[..., Any]:
    """A method that recurrent networks have, and what is made of them."""
    method = getattr(network, name, None)
    if method is None:
        kind = type(network).__name__
        raise InputError(f'{kind} has no {name}: train with [model] network = "lstm" or "gru", which go step by step')
    return method


def _merged(distributions: Sequence[Distribution]) -> Distribution:
    """One exact mixture, of each step where they are batches."""
    merged = merge
    for _ in distributions[0].batch_shape:
        merged = jax.vmap(merged)
    return merged(list(distributions))


def _standard_input(inputs: Standardizer | None, x: PyTree, rank: int) -> PyTree:
    """One x in standard units, refused where it is a batch; a host array keeps its digits until it is standardised."""
    if inputs is None:
        return x
    x = x if isinstance(x, jax.Array) else np.asarray(x, np.float64)
    expected = ("T",) * (rank - 1) + inputs.shift.shape
    require(
        x.ndim == rank and x.shape[-1:] == inputs.shift.shape,
        f"model takes one x of shape {expected}; got {x.shape}: use jax.vmap(model)(xs)",
    )
    if isinstance(x, jax.Array):
        inputs.warn_unless_held("input", x.dtype)
    z = inputs.standardize(x)
    return jnp.asarray(z, device_dtype(z))

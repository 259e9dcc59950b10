"""Training before its first step: rows, head and network of a config, or a network of one's own."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mdn_jax._checks import InputError, require
from mdn_jax._compiling import jit
from mdn_jax._typing import ArrayLike, Float, Key, PyTree
from mdn_jax.config import ModelConfig, TrainingConfig, varying_fields
from mdn_jax.devices import map_lanes, place_lanes
from mdn_jax.encoding import Encoding
from mdn_jax.heads import HEADS, Head
from mdn_jax.models import Conditional, Functional, Standardizer
from mdn_jax.networks import NETWORKS, Architecture, check_network
from mdn_jax.training.choices import architecture_of, check_objective, head_of
from mdn_jax.training.lane import Lane, Plan, Shared, Split, start_lane
from mdn_jax.training.objectives import Objective, Rows, is_ours, objective_of, row_losses
from mdn_jax.training.preparation import Data, prepare, rows_of_lanes, starting_bias
from mdn_jax.training.state import TrainingState

__all__ = ["check_optimizer", "placed", "shared_of", "start", "start_runs"]

FEW_ROWS = 64  # on which an objective of one's own is tried


def start(
    key: Key,
    x: PyTree,
    y: ArrayLike,
    *,
    model: ModelConfig | None = None,
    training: TrainingConfig | None = None,
    optimizer: optax.GradientTransformation | None = None,
    weights: ArrayLike | None = None,
    observed: ArrayLike | None = None,
    params: PyTree | None = None,
    apply: Callable[..., Float[jax.Array, " P"]] | None = None,
    spec: Head | None = None,
    num_classes: tuple[int | None, ...] = (),
    input_names: tuple[str, ...] = (),
    target_names: tuple[str, ...] = (),
    encoding: Encoding | None = None,
    augment: Callable[[Key, Rows], Rows] | None = None,
) -> TrainingState:
    """A state before its first step; the arguments are those of `fit`.

    Example:
        >>> import jax, numpy as np, mdn_jax as mdn
        >>> x = np.linspace(-1, 1, 64)[:, None]
        >>> state = mdn.start(jax.random.key(0), x, x**2, training=mdn.TrainingConfig(num_steps=2, evaluate_every=1))
        >>> state, metrics = mdn.advance(state)
        >>> state.step, state.done, mdn.finish(state).status
        (1, False, 'ok')
    """
    model, training = model or ModelConfig(), training or TrainingConfig()
    objective, own = objective_of(training.objective, training.num_samples), params is not None
    require(
        own == (apply is not None) == (spec is not None), "a network of your own needs all of params, apply and spec"
    )
    data = prepare(
        x, y, weights, training.shared_fraction,
        head_of=lambda counts: head_of(model, objective, counts) if spec is None else _fitting(spec, objective, counts),
        observed=observed, as_given=own, num_classes=num_classes, input_names=input_names, target_names=target_names,
        encoding=encoding, augment=augment,
    )  # fmt: skip
    if spec is None:
        return start_runs(data, model, [training], jnp.stack([key]), optimizer=optimizer)
    require(training.validation == "shared", 'validation = "own" is for ensembles, and a network of your own is one')
    require(training.ensemble_size == 1, "a network of your own trains alone: fit several and use mdn.ensemble")
    conditional = _own_conditional(params, apply, spec, data)  # pyright: ignore[reportArgumentType]
    plan = _plan(training, objective, data, optimizer)
    _probe(plan, conditional, data)
    rates = {name: column[0] for name, column in _rates([training]).items()}
    lane = start_lane(plan, conditional, jax.random.split(jax.random.fold_in(key, 0))[1], rates)
    return TrainingState(plan, jax.tree.map(lambda leaf: leaf[None], lane), data, training)


def start_runs(
    data: Data,
    model: ModelConfig,
    trainings: Sequence[TrainingConfig],
    keys: Key,
    splits: Split | None = None,
    *,
    optimizer: optax.GradientTransformation | None = None,
) -> TrainingState:
    """The state of R runs of one program before their first step; run i alone would start the same.

    Args:
        data: from `prepare`.
        model: of all R runs.
        trainings: R configs that differ only in the fields that lanes of one program may differ in.
        keys: (R,), one for each run.
        splits: of the lanes, leaves (M, ...), where they train on rows of their own.
        optimizer: in place of the configs'.

    Returns:
        A state of M = R times `ensemble_size` networks, those of one run side by side.
    """
    training = trainings[0]
    objective = objective_of(training.objective, training.num_samples)
    head = head_of(model, objective, data.num_classes)
    architecture = architecture_of(model, data.rows.x.shape[1:])
    if training.validation == "own" and splits is None:
        splits = rows_of_lanes(data.rows.weight.shape[0], training, [0] * len(keys))
    plan = _plan(training, objective, data, optimizer)
    bias = jnp.asarray(starting_bias(head, data, splits))
    _probe(plan, _shapes(architecture, head, bias), data)
    lanes = _start_networks(plan, architecture, head, training.ensemble_size, keys, _rates(trainings), bias)
    if not is_ours(training.objective) or model.head not in HEADS:
        _refuse_infinite(plan, lanes, data)
    return placed(TrainingState(plan, lanes._replace(split=splits), data, training))[1]


@jit(static_argnames=("plan", "architecture", "head", "size"))
def _start_networks(
    plan: Plan, architecture: Architecture, head: Head, size: int, keys: Key, rates: Mapping, bias: jax.Array
) -> Lane:
    """`size` networks for each of R keys and rates (R,): the lanes of a state. `bias` (1, P), or (M, P)."""

    def begin(_: None, drawn: tuple) -> Lane:
        key, index, rates, bias = drawn
        weights_key, training_key = jax.random.split(jax.random.fold_in(key, index))
        network = architecture(weights_key, jnp.zeros(architecture.input_shape), head, index)
        return start_lane(plan, Conditional(network, bias, head, architecture), training_key, rates)

    keys, rates = jax.tree.map(lambda leaf: jnp.repeat(leaf, size, axis=0), (keys, dict(rates)))
    indices, count = jnp.tile(jnp.arange(size), keys.shape[0] // size), keys.shape[0]
    return map_lanes(begin, None, (keys, indices, rates, jnp.broadcast_to(bias, (count, bias.shape[1]))))


def placed(state: TrainingState) -> tuple[Shared, TrainingState]:
    """Data and length that the lanes of a state share, and the state itself, on the devices."""
    shared, lanes = place_lanes(shared_of(state), state.lanes)
    data = state.data._replace(rows=shared.rows, validation=shared.validation)
    return shared, replace(state, data=data, lanes=lanes)


def shared_of(state: TrainingState) -> Shared:
    """Data and length that the lanes of a state share."""
    data, units = state.data, None
    if data.augment is not None:
        standardizers = (data.inputs or Standardizer.identity(1), data.targets)
        units = tuple((jnp.asarray(one.shift, float), jnp.asarray(one.scale, float)) for one in standardizers)
    return Shared(jnp.asarray(np.int32(state.training.num_steps)), data.rows, data.validation, units)


def _fitting(spec: Head, objective: Objective, num_classes: Sequence[int | None]) -> Head:
    """A head of one's own network, where it has as many targets as there are, and the objective can train it."""
    count = len(num_classes)
    require(spec.target_dim == count, f"spec has target_dim {spec.target_dim}, but y has {count} columns")
    check_objective(objective, spec)
    return spec


def _own_conditional(params: PyTree, apply: Callable, head: Head, data: Data) -> Conditional:
    """A network of one's own under its head, in JAX's float."""
    functional = Functional(params, apply)
    check_network(functional, _one(data.rows).x, head.num_outputs, "apply")
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, float if leaf.dtype == np.float32 else None), params)
    return Conditional(Functional(params, apply), jnp.asarray(starting_bias(head, data, None)[0]), head)


def _shapes(architecture: Architecture, head: Head, bias: jax.Array) -> Conditional:
    """The shapes of a network built by other code than ours, once its call is known to be a function."""
    x = jnp.zeros(architecture.input_shape)
    network = jax.eval_shape(lambda key: architecture(key, x, head), jax.random.key(0))
    if architecture.name not in NETWORKS:
        one = jax.ShapeDtypeStruct(x.shape, x.dtype)
        check_network(network, one, head.num_outputs, f"model.network {architecture.name}")
    return Conditional(network, jax.ShapeDtypeStruct(bias.shape[1:], bias.dtype), head, architecture)  # pyright: ignore


def _probe(plan: Plan, conditional: Conditional, data: Data) -> None:
    """Refuse a head or an objective that does not give one number for one row."""
    rows = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((1, *leaf.shape[1:]), leaf.dtype), data.rows)
    key = jax.random.key(0)
    values = jax.eval_shape(lambda c, rows: row_losses(plan.objective, c, rows, key)[0], conditional, rows)
    require(
        values.shape == rows.weight.shape,
        f"training.objective must give one number for one distribution and one target; got shape {values.shape[1:]}",
    )


def _refuse_infinite(plan: Plan, lanes: Lane, data: Data) -> None:
    """Refuse an objective of one's own that is not finite before the first step."""
    first = jax.tree.map(lambda leaf: leaf[0], lanes.network)
    rows = jax.tree.map(lambda leaf: leaf[:FEW_ROWS], data.rows)
    values = np.asarray(row_losses(plan.objective, first, rows, jax.random.key(0))[0])
    for place in np.argwhere(~np.isfinite(values))[:1]:
        raise InputError(
            f"training.objective is {values[tuple(place)]} for training row {place[0]} before the first step: it must "
            "be finite for every distribution and every target"
        )


def _one(rows: Rows) -> Rows:
    """The shapes of one row."""
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), rows)


def check_optimizer(training: TrainingConfig, optimizer: str | optax.GradientTransformation | None) -> None:
    """Refuse settings of the config's optimizer beside an optimizer of one's own."""
    if optimizer is None or isinstance(optimizer, str):
        return
    for name in ("optimizer", "learning_rate", "schedule", "weight_decay", "clip_norm"):
        default = TrainingConfig.model_fields[name].default
        require(
            getattr(training, name) == default,
            f"training.{name} = {getattr(training, name)!r} has no use beside an optimizer of your own: leave it out",
        )


def _plan(
    training: TrainingConfig, objective: Objective, data: Data, optimizer: optax.GradientTransformation | None
) -> Plan:
    check_optimizer(training, optimizer)
    return Plan(
        objective=objective,
        optimizer=training.optimizer if optimizer is None else optimizer,
        schedule=training.schedule,
        batch_size=None if training.batch_size == "full" else training.batch_size,
        num_evaluations=training.num_evaluations,
        patience=training.patience,
        noisy=training.noisy,
        decays=training.decays,
        clips=training.clips,
        averages=training.averages,
        numbers=tuple(count is None for count in data.num_classes),
        augment=data.augment,
    )


def _rates(trainings: Sequence[TrainingConfig]) -> dict[str, jax.Array]:
    """The numbers in which lanes of one program may differ, (R,) each."""
    columns = {name: [getattr(training, name) for training in trainings] for name in varying_fields(TrainingConfig)}
    return {name: jnp.asarray(column, float) for name, column in columns.items()}

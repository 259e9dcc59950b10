"""One lane's training as pure functions: where it starts, and one chunk of its steps.

Everything here is written for ONE network. What is static (`Plan`) is hashable, so that a second fit of the same
shapes finds the compiled program; what may differ between lanes of one program (`rates`) is a pytree of scalars. How
many steps there are is a length of the schedule and not of the program: a number, shared by all lanes.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.flatten_util import ravel_pytree

from mdn_jax._typing import Bool, Float, Int, Key, PyTree, Scalar
from mdn_jax.training.objectives import Objective, Rows, row_losses, weighted_mean

__all__ = ["DIVERGED", "OK", "STOPPED_EARLY", "Lane", "Plan", "Split", "advance_lane", "start_lane"]

OK, DIVERGED, STOPPED_EARLY = 0, 1, 2
ASTRAY = 1.0  # standard units per target by which a best loss above the first one means that training diverged
WARMUP_SHARE = 0.05  # of the steps, for the schedule "warmup_cosine"
AT_ONCE = 16_384  # distributions of validation rows evaluated side by side


@dataclass(frozen=True)
class Plan:
    """The static side of training: it shapes the compiled program.

    Attributes:
        objective: what is minimised.
        optimizer: by name, or Optax's own.
        schedule: by name.
        batch_size: rows per step, drawn with replacement; None takes all of them.
        num_evaluations: rows of history, a ring.
        patience: evaluations without a better one before the lane stops; None never.
        noisy: whether steps draw noise.
        decays: whether weights decay.
        clips: whether gradients are clipped.
        averages: whether a running mean of the parameters is judged and kept.
        numbers: of each target whether it is a number, which noise may act on.
        augment: `augment(key, row) -> row` in original units, of each row drawn, or None.
    """

    objective: Objective
    optimizer: str | optax.GradientTransformation
    schedule: str
    batch_size: int | None
    num_evaluations: int
    patience: int | None
    noisy: bool
    decays: bool
    clips: bool
    averages: bool
    numbers: tuple[bool, ...]
    augment: Callable[[Key, Rows], Rows] | None = None


class Shared(NamedTuple):
    """The data and the length that all lanes read.

    Attributes:
        num_steps: where the schedule and the training end.
        rows: to train on.
        validation: rows that choose the best step, or None.
        units: (shift, scale) of x and of y, where rows are augmented in original units; None otherwise.
    """

    num_steps: Int[Array, ""]
    rows: Rows
    validation: Rows | None
    units: tuple[tuple[PyTree, PyTree], ...] | None = None


class Split(NamedTuple):
    """The rows that are a lane's own, in the one copy of the data that all lanes read.

    Attributes:
        train: (T,) indices of the rows to train on.
        validation: (V,) indices of the rows that choose its best step, or None.
    """

    train: Int[Array, " T"]
    validation: Int[Array, " V"] | None


class Lane(NamedTuple):
    """One network in training: what changes, and what is its own.

    Attributes:
        key: draws its batches and noise, step by step.
        rates: its own learning rate, weight decay, clip norm and noise.
        network: the parameters of the last finite step.
        optimizer: Optax's state.
        step: steps taken.
        status: OK, DIVERGED or STOPPED_EARLY; a lane that is not OK rests.
        best_network: the parameters at the best evaluation so far.
        best_loss: its value.
        best_step: when that was.
        first_loss: the loss of its first batch, before any step.
        waited: evaluations since then.
        evaluations: how many there were.
        latest: name -> () of the last evaluation; `val_loss` is 0 without validation rows.
        history: name -> (num_evaluations,), evaluation e at e % num_evaluations, 0 where not yet reached.
        split: its own rows; None where it trains on all.
        average: the running mean of the parameters; None where none is kept.
    """

    key: Key
    rates: dict[str, Scalar]
    network: PyTree
    optimizer: PyTree
    step: Int[Array, ""]
    status: Int[Array, ""]
    best_network: PyTree
    best_loss: Scalar
    best_step: Int[Array, ""]
    first_loss: Scalar
    waited: Int[Array, ""]
    evaluations: Int[Array, ""]
    latest: dict[str, Scalar]
    history: dict[str, Float[Array, " E"]]
    split: Split | None = None
    average: PyTree = None


def start_lane(plan: Plan, network: PyTree, key: Key, rates: dict[str, Scalar]) -> Lane:
    """A lane before its first step."""
    zero = jnp.zeros((), jnp.int32)
    names = ("step", "train_loss", "val_loss", "learning_rate")
    return Lane(
        key=key,
        rates=rates,
        network=network,
        # no rate is asked for before the first step
        optimizer=_optimizer(plan, lambda _: 0.0, rates, network).init(ravel_pytree(network)[0]),
        step=zero,
        status=zero,
        best_network=network,
        best_loss=jnp.full((), jnp.inf),
        best_step=zero,
        first_loss=jnp.zeros(()),
        waited=zero,
        evaluations=zero,
        latest={name: jnp.zeros(()) for name in names},
        history={name: jnp.zeros(plan.num_evaluations) for name in names},
        average=network if plan.averages else None,
    )


def advance_lane(plan: Plan, num_steps: int, shared: Shared, lane: Lane) -> Lane:
    """`num_steps` steps and one evaluation; a lane that has ended is returned as it is."""
    return jax.lax.cond(lane.status == OK, lambda: _chunk(plan, num_steps, shared, lane), lambda: lane)


def _chunk(plan: Plan, num_steps: int, shared: Shared, lane: Lane) -> Lane:
    length, rows, validation, units = shared
    optimizer = _optimizer(plan, _schedule(plan, length, lane.rates["learning_rate"]), lane.rates, lane.network)
    # one vector of all parameters: a step of many small leaves costs more for each leaf than for its numbers
    vector, network_of = ravel_pytree(lane.network)
    num_rows = (rows.weight if lane.split is None else lane.split.train).shape[0]
    numbers = lane.step + jnp.arange(num_steps, dtype=lane.step.dtype)
    keys = jax.vmap(lambda step: jax.random.fold_in(lane.key, step))(numbers)
    # a chunk's batches are drawn at once: each depends on its step alone, and one large draw costs less than many
    draws, size = None, plan.batch_size
    if size is not None:
        draws = jax.vmap(lambda key: jax.random.randint(key, (size,), 0, num_rows))(keys)

    def step(carry: tuple, drawn: tuple) -> tuple[tuple, Scalar]:
        vector, state, alive, average = carry
        key, indices, number = drawn
        batch = _batch(rows, lane.split, indices)
        noise_key, loss_key = jax.random.split(key)
        if plan.augment is not None:
            batch = _augment(plan.augment, units, jax.random.fold_in(key, 2), batch)
        if plan.noisy:
            batch = _add_noise(noise_key, batch, lane.rates, plan.numbers)
        network = network_of(vector)
        network_key = jax.random.fold_in(key, 3) if network.draws else None
        losses_of = lambda network: row_losses(plan.objective, network, batch, loss_key, network_key)  # noqa: E731
        loss, gradient = jax.value_and_grad(lambda network: weighted_mean(*losses_of(network)))(network)
        with jax.numpy_dtype_promotion("standard"):  # Optax's own arithmetic mixes its counts with floats
            updates, new_state = optimizer.update(ravel_pytree(gradient)[0], state, vector)
        # one number sees every entry: a non-finite one anywhere makes the norm non-finite
        alive = alive & jnp.isfinite(loss) & jnp.isfinite(jnp.linalg.norm(updates))
        vector, state = _choose(alive, (vector + updates, new_state), (vector, state))
        if plan.averages:
            # the first steps are forgotten sooner: the mean is over about a tenth of the steps so far, at most
            decay = jnp.minimum(lane.rates["averaging"], (1.0 + number) / (10.0 + number))
            average = decay * average + (1.0 - decay) * vector
        return (vector, state, alive, average), loss

    start = (vector, lane.optimizer, jnp.array(True), ravel_pytree(lane.average)[0] if plan.averages else None)
    (vector, state, alive, average), losses = jax.lax.scan(step, start, (keys, draws, numbers.astype(float)))
    network = network_of(vector)
    judged = network
    if average is not None:
        judged = network_of(average)
        lane = lane._replace(average=judged)
    lane = lane._replace(first_loss=jnp.where(lane.step == 0, losses[0], lane.first_loss))
    train_loss = jnp.mean(losses)
    if lane.split is not None and lane.split.validation is not None:
        validation = _take(rows, lane.split.validation)
    val_loss = None if validation is None else _evaluate(plan, judged, validation)
    return _record(plan, num_steps, length, lane, (network, judged, state, alive), train_loss, val_loss)


def _batch(rows: Rows, split: Split | None, indices: Int[Array, " B"] | None) -> Rows:
    """Rows of one step: those drawn, or all of them."""
    if split is not None:
        return _take(rows, split.train if indices is None else split.train[indices])
    return rows if indices is None else _take(rows, indices)


def _take(rows: Rows, indices: Int[Array, " B"]) -> Rows:
    return jax.tree.map(lambda leaf: leaf[indices], rows)


def _record(
    plan: Plan,
    num_steps: int,
    length: Int[Array, ""],
    lane: Lane,
    result: tuple,
    train_loss: Scalar,
    val_loss: Scalar | None,
) -> Lane:
    """The lane after a chunk: history, best parameters, and whether it goes on."""
    network, shown, state, alive = result
    step = lane.step + num_steps
    judged = train_loss if val_loss is None else val_loss
    better = alive & (judged < lane.best_loss)
    # without validation rows the last finite parameters are kept: the loss of noisy batches chooses nothing
    kept = better if val_loss is not None else jnp.array(True)
    waited = jnp.where(better, 0, lane.waited + 1)
    best_loss = jnp.where(better, judged, lane.best_loss)
    impatient = jnp.array(False) if plan.patience is None else waited >= plan.patience
    # every real vector is a valid mixture, so steps that went astray can stay finite: then none was better than none
    last = impatient | (step >= length)
    alive = alive & ~(last & (best_loss > lane.first_loss + ASTRAY * len(plan.numbers)))
    row = {
        "step": step,
        "train_loss": train_loss,
        "val_loss": jnp.zeros(()) if val_loss is None else val_loss,
        "learning_rate": _schedule(plan, length, lane.rates["learning_rate"])(step - 1),
    }
    row = {name: value.astype(float) for name, value in row.items()}
    place = lane.evaluations % plan.num_evaluations
    return lane._replace(
        network=network,
        optimizer=state,
        step=step,
        status=jnp.where(alive, jnp.where(impatient, STOPPED_EARLY, OK), DIVERGED).astype(jnp.int32),
        best_network=_choose(kept, shown, lane.best_network),
        best_loss=best_loss,
        best_step=jnp.where(kept, step, lane.best_step),
        waited=waited,
        evaluations=lane.evaluations + 1,
        history={name: column.at[place].set(row[name]) for name, column in lane.history.items()},
        latest=row,
    )


def _evaluate(plan: Plan, network: PyTree, rows: Rows) -> Scalar:
    """The objective on all of `rows`, the same draws every time, in chunks that fit memory."""
    key = jax.random.key(0)
    count = rows.weight.shape[0]
    at_once = max(AT_ONCE // math.prod(rows.weight.shape[1:]), 1)
    chunks = -(-count // at_once)
    if chunks == 1:
        return weighted_mean(*row_losses(plan.objective, network, rows, key))
    # rows that only fill the last chunk weigh nothing
    padded = jax.tree.map(lambda leaf: jnp.resize(leaf, (chunks * at_once, *leaf.shape[1:])), rows)
    alive = jnp.arange(chunks * at_once) < count
    weight = jnp.where(alive.reshape(-1, *[1] * (padded.weight.ndim - 1)), padded.weight, 0.0)
    split = jax.tree.map(lambda leaf: leaf.reshape(chunks, at_once, *leaf.shape[1:]), padded._replace(weight=weight))
    values, weights = jax.lax.map(lambda chunk: row_losses(plan.objective, network, chunk, key), split)
    return weighted_mean(values.ravel(), weights.ravel())


def _optimizer(
    plan: Plan, rate: optax.Schedule, rates: dict[str, Scalar], network: PyTree
) -> optax.GradientTransformation:
    """Optax's optimizer of the vector of all parameters, by name with rates that may be traced, or one's own."""
    if not isinstance(plan.optimizer, str):
        return _on_vector(plan.optimizer, ravel_pytree(network)[1])
    # decay weights, never biases: those hold where the components' centres start
    decay = optax.add_decayed_weights(rates["weight_decay"] * _matrices(network))  # pyright: ignore[reportArgumentType]
    parts = [optax.clip_by_global_norm(rates["clip_norm"])] if plan.clips else []  # pyright: ignore[reportArgumentType]
    if plan.optimizer == "adamw" and plan.decays:
        parts += [optax.scale_by_adam(), decay, optax.scale_by_learning_rate(rate)]
    else:
        named = {"adam": optax.adam, "adamw": optax.adam, "sgd": optax.sgd, "rmsprop": optax.rmsprop}
        parts += [decay] if plan.decays else []
        parts += [named[plan.optimizer](rate)]
    return optax.chain(*parts)


def _on_vector(own: optax.GradientTransformation, tree_of: Callable[[Array], PyTree]) -> optax.GradientTransformation:
    """An optimizer of the pytree of parameters, between vectors."""

    def update(updates: Array, state: PyTree, vector: Array | None = None) -> tuple[Array, PyTree]:
        found, state = own.update(tree_of(updates), state, tree_of(vector))  # pyright: ignore[reportArgumentType]
        return ravel_pytree(found)[0], state

    return optax.GradientTransformation(lambda vector: own.init(tree_of(vector)), update)  # pyright: ignore


def _schedule(plan: Plan, length: Int[Array, ""], peak: Scalar) -> optax.Schedule:
    """Learning rate at each step, as Optax's schedules of these names, whose own lengths cannot be traced."""
    end = length.astype(float)
    warmup = jnp.maximum(jnp.round(WARMUP_SHARE * end), 1.0)

    def cosine(step: Scalar, end: Scalar) -> Scalar:
        return 0.5 * (1.0 + jnp.cos(jnp.pi * jnp.clip(step / end, 0.0, 1.0)))

    def warmup_cosine(step: Scalar) -> Scalar:
        return jnp.where(step < warmup, step / warmup, cosine(step - warmup, jnp.maximum(end - warmup, 1.0)))

    shape = {
        "constant": jnp.ones_like,
        "linear": lambda step: 1.0 - jnp.minimum(step / end, 1.0),
        "cosine": lambda step: cosine(step, end),
        "warmup_cosine": warmup_cosine,
    }[plan.schedule]
    return lambda step: peak * shape(jnp.asarray(step).astype(float))


def _matrices(network: PyTree) -> Float[Array, " W"]:
    """1 for the entries of matrices, 0 for those of biases, in the vector of all parameters."""
    return ravel_pytree(jax.tree.map(lambda leaf: jnp.full(leaf.shape, float(leaf.ndim > 1), leaf.dtype), network))[0]


def _augment(augment: Callable, units: Any, key: Key, rows: Rows) -> Rows:
    """Each row in its original units through the data's own `augment`, and back."""

    def one(key: Key, row: Rows) -> Rows:
        # every step of a sequence has the same units
        x_units, y_units = ([jnp.broadcast_to(unit, leaf.shape) for unit in pair] for pair, leaf in zip(units, row[:2]))
        row = augment(key, row._replace(x=x_units[0] + x_units[1] * row.x, y=y_units[0] + y_units[1] * row.y))
        return row._replace(x=(row.x - x_units[0]) / x_units[1], y=(row.y - y_units[0]) / y_units[1])

    return jax.vmap(one)(jax.random.split(key, rows.weight.shape[0]), rows)


def _add_noise(key: Key, rows: Rows, rates: dict[str, Scalar], numbers: tuple[bool, ...]) -> Rows:
    """Fresh normal noise on the floating leaves of x, and on the targets that are numbers."""

    def noisy(key: Key, tree: PyTree, std: Scalar) -> PyTree:
        leaves, structure = jax.tree.flatten(tree)
        keys = jax.random.split(key, max(len(leaves), 1))
        drawn = [
            leaf + std * jax.random.normal(k, leaf.shape, leaf.dtype)
            if jnp.issubdtype(leaf.dtype, jnp.floating)
            else leaf
            for k, leaf in zip(keys, leaves, strict=False)
        ]
        return jax.tree.unflatten(structure, drawn)

    x_key, y_key = jax.random.split(key)
    y = noisy(y_key, rows.y, rates["target_noise"])
    y = y if all(numbers) else jnp.where(np.array(numbers), y, rows.y)
    return rows._replace(x=noisy(x_key, rows.x, rates["input_noise"]), y=y)


def _choose(condition: Bool[Array, ""], new: PyTree, old: PyTree) -> PyTree:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), new, old)

"""The one trainer: `start` makes a state, `advance` is one compiled chunk, `finish` makes the fit.

`fit` is a loop around them. Whatever else drives training (a command line, a sweep, a demo) acts between two
`advance`s; the trainer itself returns, and does not print, plot or save.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mdn_jax._checks import require
from mdn_jax._compiling import jit
from mdn_jax._typing import ArrayLike, Float, Key, PyTree
from mdn_jax.config import ModelConfig, TrainingConfig, varying_fields
from mdn_jax.devices import map_lanes
from mdn_jax.encoding import Encoding
from mdn_jax.heads import Head
from mdn_jax.models import ConstantStd, Model, device_dtype, ensemble
from mdn_jax.training.lane import DIVERGED, OK, STOPPED_EARLY, Lane, Plan, Shared, advance_lane
from mdn_jax.training.objectives import Rows
from mdn_jax.training.starting import check_optimizer, placed, start
from mdn_jax.training.state import STATUS, Fit, OnEvaluation, TrainingState

__all__ = ["advance", "advance_to_end", "change_rates", "compile_chunk", "finish", "finish_runs", "fit", "stop"]

# the part of a program that a rate is for
SWITCHES = {
    "weight_decay": "decays", "clip_norm": "clips", "input_noise": "noisy", "target_noise": "noisy",
    "averaging": "averages",
}  # fmt: skip


def advance(state: TrainingState, num_steps: int | None = None) -> tuple[TrainingState, dict[str, Any]]:
    """One compiled chunk: `num_steps` steps, then one evaluation.

    Args:
        state: from `start` or an earlier `advance`.
        num_steps: static; a whole chunk (`evaluate_every`), or what is left of `num_steps`, where absent.

    Returns:
        The state after it, and the evaluation: `step`, `train_loss`, `val_loss`, `learning_rate`, `best_loss`; each a
        number, or an array (M,) for M networks; in the units of `Fit.history`. The history itself has room for one row
        per whole chunk, 10,000 at most: where chunks are shorter, or go on for longer, the earliest rows give way.

    Raises:
        InputError: where training is over.

    Example:
        See `start`.
    """
    require(not state.done, "training is over: every network has taken its steps, diverged or stopped")
    if num_steps is None:
        num_steps = min(state.training.evaluate_every, state.training.num_steps - state.step)
    shared, state = placed(state)
    lanes = _advance(state.plan, num_steps, shared, state.lanes)
    state = replace(state, lanes=lanes)
    latest = {name: np.asarray(column) for name, column in lanes.latest.items()}
    latest["best_loss"] = np.asarray(lanes.best_loss)
    return state, {name: _squeeze(column) for name, column in _in_nats(state, latest).items()}


def finish(state: TrainingState) -> Fit:
    """The fit: each network's best parameters, its status, and the history so far.

    Example:
        See `start`.
    """
    return finish_runs(state, 1)[0]


def finish_runs(state: TrainingState, num_runs: int) -> list[Fit]:
    """The fits of runs that trained in one state, each of as many networks."""
    lanes = jax.tree.map(np.asarray, state.lanes._replace(key=None))  # one transfer; slices are views
    size = lanes.step.shape[0] // num_runs
    return [_finish_run(state, lanes, range(run * size, (run + 1) * size)) for run in range(num_runs)]


def _finish_run(state: TrainingState, lanes: Lane, own: range) -> Fit:
    models = [_finish_model(state, lanes, index) for index in own]
    chosen = slice(own.start, own.stop)
    count, room = int(lanes.evaluations[chosen].max()), state.plan.num_evaluations
    numbers = np.arange(max(count - room, 0), count)
    reached = numbers < lanes.evaluations[:, None]  # what has ended by itself has no later rows
    history = {name: np.where(reached, column[:, numbers % room], np.nan) for name, column in lanes.history.items()}
    history = _in_nats(state, history)
    codes = lanes.status[chosen]
    return Fit(
        model=models[0] if len(models) == 1 else ensemble(models),
        history={name: _squeeze(column[chosen]).T for name, column in history.items()},
        status=next((STATUS[code] for code in (DIVERGED, STOPPED_EARLY) if code in codes), STATUS[0]),
        statuses=tuple(STATUS[code] for code in codes),
        best_step=np.asarray(lanes.best_step[chosen]),
    )


def _finish_model(state: TrainingState, lanes: Lane, index: int) -> Model:
    """One lane's best network between its units."""
    data, split = state.data, jax.tree.map(lambda leaf: leaf[index], lanes.split)
    conditional = jax.tree.map(lambda leaf: jnp.asarray(leaf[index]), lanes.best_network)
    if state.plan.objective.sees_mean_alone:
        rows = data.rows if split is None else jax.tree.map(lambda leaf: leaf[split.train], data.rows)
        conditional = ConstantStd(conditional, _residual_log_std(conditional, rows))
    inputs, targets = (data.inputs, data.targets) if data.own is None else data.own[index]
    return Model(conditional, inputs, targets, data.input_names, data.target_names, data.encoding)


def fit(
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
    on_evaluation: OnEvaluation | None = None,
) -> Fit:
    """Train a mixture density network, or a network of your own, on rows of x and y.

    Data are standardised inside; the model answers in original units. `key` decides weights, batches and noise. The
    validation rows are the same for every key, so that runs with different seeds compare.

    Args:
        key: a PRNG key, typed or legacy.
        x: (N, X) inputs; X may be 0. With a network of your own, any pytree whose leaves lead with N, taken as given.
        y: (N, D) or (N,) targets.
        model: components, widths, covariance; its `min_std` is a fraction of the target's training std.
        training: objective, optimizer, schedule, steps, noise, ensemble size.
        optimizer: any Optax transformation, of the pytree of parameters, in place of the config's optimizer, schedule,
            decay and clip, which must stand at their defaults.
        weights: (N,) how much each row counts; (N, T) for sequences, whose y is (N, T, D).
        observed: (N, D) which targets are known, for the objective nll; the others are integrated out, and may be NaN.
        params: your own parameters, a pytree of floating arrays; `model` is then not used.
        apply: `apply(params, x) -> raw (spec.num_outputs,)` for one x, or `apply(params, x, key)`: a key in training,
            None in evaluation. Pass the same function object again to reuse the compiled program.
        spec: the head of the raw outputs, in units of the standardised targets; its `initial_bias` is added to them,
            and trained.
        num_classes: of each target how many kinds it names, None for a number; all are numbers where absent.
        input_names: names of the inputs, kept with the model.
        target_names: names of the targets, kept with the model.
        encoding: how a table's columns became x, kept with the model for `predict`.
        augment: `augment(key, row) -> row` of each row drawn, `Rows` of one example in original units.
        on_evaluation: `f(step, metrics)`, called on the host after each chunk; True stops.

    Returns:
        A `Fit`. A step that is not finite ends the training of its network with status "diverged"; no error is raised.

    Raises:
        InputError: for shapes that do not fit, values that are not finite, too few rows, or an objective that the
            mixture cannot be trained by.

    Example:
        >>> import jax, numpy as np, mdn_jax as mdn
        >>> x = np.linspace(-1, 1, 200)[:, None]
        >>> fit = mdn.fit(jax.random.key(0), x, x[:, 0] ** 2, training=mdn.TrainingConfig(num_steps=200))
        >>> fit.status, fit.model(np.array([0.5])).num_components
        ('ok', 10)
    """
    state = start(
        key, x, y, model=model, training=training, optimizer=optimizer, weights=weights, observed=observed,
        params=params, apply=apply, spec=spec, num_classes=num_classes, input_names=input_names,
        target_names=target_names, encoding=encoding, augment=augment,
    )  # fmt: skip
    return finish(advance_to_end(state, on_evaluation))


def advance_to_end(state: TrainingState, on_evaluation: OnEvaluation | None = None) -> TrainingState:
    """The state after all its chunks, with `on_evaluation(step, metrics)` after each; True stops."""
    while not state.done:
        state, metrics = advance(state)
        if on_evaluation is not None and on_evaluation(state.step, metrics):
            state = stop(state)
    return state


def stop(state: TrainingState, which: ArrayLike | None = None) -> TrainingState:
    """The state with networks that still train marked as stopped early.

    Args:
        state: from `start` or `advance`.
        which: (M,) booleans; all of them where absent.

    Example:
        >>> import jax, numpy as np, mdn_jax as mdn
        >>> x = np.linspace(-1, 1, 64)[:, None]
        >>> state = mdn.stop(mdn.start(jax.random.key(0), x, x**2))
        >>> state.done, mdn.finish(state).status
        (True, 'stopped_early')
    """
    status = np.asarray(state.lanes.status)
    stopped = (status == OK) & (True if which is None else np.asarray(which, bool))
    return replace(state, lanes=state.lanes._replace(status=jnp.asarray(np.where(stopped, STOPPED_EARLY, status))))


def change_rates(state: TrainingState, training: TrainingConfig) -> TrainingState:
    """The state with the rates and the `num_steps` of another config, for every network; nothing compiles anew.

    A program draws noise, decays weights, clips gradients and averages weights only where it was started to. So that
    all of it may change later, start with all of it, and change to what is wanted before the first step.

    Args:
        state: from `start` or `advance`.
        training: differs from the state's own in learning rate, weight decay, clip norm, noise, averaging and
            `num_steps` alone.

    Returns:
        The state with its weights, the optimizer's state, steps and history as they were.

    Raises:
        InputError: for a config that differs in another field, or asks for what the state was started without.

    Example:
        >>> import jax, numpy as np, mdn_jax as mdn
        >>> x, plain = np.linspace(-1, 1, 64)[:, None], mdn.TrainingConfig(num_steps=1_000_000, evaluate_every=10)
        >>> on = {"weight_decay": 1.0, "clip_norm": 1.0, "input_noise": 1.0, "target_noise": 1.0, "averaging": 0.9}
        >>> state = mdn.start(jax.random.key(0), x, x**2, training=plain.model_copy(update=on))
        >>> state, _ = mdn.advance(mdn.change_rates(state, plain))
        >>> slower = plain.model_copy(update={"learning_rate": 1e-3, "weight_decay": 1e-4})
        >>> state, _ = mdn.advance(mdn.change_rates(state, slower))
        >>> state.step
        20
    """
    names = varying_fields(TrainingConfig)
    for name, old in state.training:
        new = getattr(training, name)
        fits = name in (*names, "num_steps") or new == old
        require(fits, f"training.{name} = {new!r} is another program than that of the state's {old!r}: start anew")
    for name, switch in SWITCHES.items():
        new, off = getattr(training, name), TrainingConfig.model_fields[name].default
        fits = new == off or getattr(state.plan, switch)
        require(fits, f"training.{name} = {new!r} is not in a program that started with {off!r}: start with any other")
    check_optimizer(training, state.plan.optimizer)
    rates = {name: jnp.asarray(np.full_like(state.lanes.rates[name], getattr(training, name))) for name in names}
    return replace(state, training=training, lanes=state.lanes._replace(rates=rates))


def compile_chunk(state: TrainingState, num_steps: int) -> None:
    """Compile what `advance(state, num_steps)` will run, by running it with every lane at rest."""
    shared, state = placed(stop(state))
    jax.block_until_ready(_advance(state.plan, num_steps, shared, state.lanes))


@jit(static_argnames=("plan", "num_steps"))
def _advance(plan: Plan, num_steps: int, shared: Shared, lanes: Lane) -> Lane:
    return map_lanes(lambda shared, lane: advance_lane(plan, num_steps, shared, lane), shared, lanes)


def _residual_log_std(network: Callable, rows: Rows) -> np.ndarray:
    """log RMS of the training residuals of each target, in standard units: the constant-variance Gaussian's own."""
    means = np.asarray(_means(network, rows.x), np.float64)
    weight = np.asarray(rows.weight, np.float64)
    squares = np.average((np.asarray(rows.y, np.float64) - means) ** 2, axis=0, weights=weight)
    log_std = 0.5 * np.log(np.maximum(squares, np.finfo(np.float32).tiny))
    return log_std.astype(device_dtype(log_std))


@jit
def _means(network: Callable, x: PyTree) -> jax.Array:
    return jax.lax.map(lambda row: network(row).locs[0], x, batch_size=16_384)


def _in_nats(state: TrainingState, columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Losses in nats of the original y, (M, ...), where the objective is a density; NaN where no rows are judged."""
    train, judged = _offsets(state) if state.plan.objective.is_nll else (np.zeros(1), np.zeros(1))
    split = state.lanes.split
    without = (state.data.validation if split is None else split.validation) is None
    offsets = {"train_loss": train, "val_loss": np.full(1, np.nan) if without else judged, "best_loss": judged}
    return {name: (column.astype(np.float64).T + offsets.get(name, 0.0)).T for name, column in columns.items()}


def _offsets(state: TrainingState) -> tuple[np.ndarray, np.ndarray]:
    """The offsets of mean losses to nats of the original y, of training and of judged rows: (1,) or (M,) each."""
    data, split = state.data, state.lanes.split
    units = [data.targets] if data.own is None else [targets for _, targets in data.own]
    scales = np.log(np.stack([np.asarray(targets.scale) for targets in units]))  # (1, D), or (M, D)
    if data.rows.observed is None:
        return scales.sum(axis=1), scales.sum(axis=1)

    def known(rows: Rows, indices: jax.Array | None) -> np.ndarray:
        # of a row only the scales of its known targets count
        values = scales @ np.asarray(rows.observed).T
        places = np.arange(values.shape[1])[None] if indices is None else np.asarray(indices)
        own = values[np.arange(len(values))[:, None], places]
        return np.average(own, axis=1, weights=np.asarray(rows.weight, np.float64)[places])

    train = known(data.rows, None if split is None else split.train)
    if split is not None and split.validation is not None:
        return train, known(data.rows, split.validation)
    return train, train if data.validation is None else known(data.validation, None)


def _squeeze(column: np.ndarray) -> Any:
    """A lone lane's column without the axis of lanes."""
    return column[0] if len(column) == 1 else column

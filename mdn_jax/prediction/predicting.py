"""`mdn.predict` and its siblings: tables in; tables, or the distributions themselves, out."""

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mdn_jax._checks import nearest, require
from mdn_jax._typing import Key
from mdn_jax.judging import names_of_kinds
from mdn_jax.models import Kind, Model
from mdn_jax.prediction.answers import OnProgress, Prepared, answer, distributions, draw
from mdn_jax.prediction.columns import choose_columns, columns_of, implied_quantiles
from mdn_jax.prediction.facts import facts_of
from mdn_jax.prediction.questions import Asked, Question, Thresholds, check_asked, percent
from mdn_jax.prediction.tables import Given, TableLike, read_wanted, typed
from mdn_jax.storage import load

__all__ = ["predict", "predict_distributions", "predict_samples", "prepare"]

AnyModel = Model | str | os.PathLike
ALONE = ("log_prob",)  # where no column is asked for


def predict(
    model: AnyModel,
    table: TableLike,
    *,
    columns: Sequence[str] | None = None,
    quantiles: Sequence[float] = (0.05, 0.5, 0.95),
    num_modes: int = 1,
    interval: Kind = "highest-density",
    mass: float = 0.9,
    calibrated: bool = False,
    above: Thresholds | None = None,
    below: Thresholds | None = None,
    given: Given | None = None,
    keep: Sequence[str] | str = (),
    strict: bool = False,
    on_progress: OnProgress | None = None,
) -> Any:
    """Predict each row of a table with a model; the twin of `mdn-jax predict`.

    The columns of the result, for each target NAME: `NAME_mean`, `NAME_std`, its quantiles `NAME_q05`, ...; `NAME_mode`
    of the best joint mode; the ends of an interval, `NAME_low` and `NAME_high` of a central one, `NAME_low_1`,
    `NAME_high_1`, `NAME_low_2`, ... of the pieces of a highest-density region (as many as the model has components, 5
    at most: where there are more, those with the narrowest gaps between them are one); of an ensemble
    `NAME_disagreement`, the standard deviation over its networks of their means. Then, once:
    `log_prob` in nats of the targets as they are, empty unless the table holds all of them (missing ones integrated
    out), and `outside_training`: whether an input is beyond what training saw. They are the same for every table.

    Of a target of kinds: `NAME`, the most probable one, `NAME_probability` of it, and the probability of each of up to
    20, `NAME_is_KIND`. Where numbers share no components, modes are those of each, with `NAME_mode_weight_1`, ...;
    where a head of one's own knows no highest-density region, intervals are central.

    Args:
        model: from `fit` or `load`, or the path of a run or a saved model. It must know the names of its columns.
        table: a .csv, .parquet or .npz file, a polars or pandas DataFrame, or a mapping of name -> (N,) values, or of
            name -> value for one row.
        columns: those to answer, in this order; nothing else is computed. An entry is the name of a column, or what
            follows `NAME_`, for all targets: "mean", "q50" (any quantile), "low" (`low_1`, ... of all pieces); all
            columns where absent.
        quantiles: shares in (0, 1).
        num_modes: with 2 or more, also `NAME_mode_1`, ... and `mode_weight_1`, ...: the best modes, and the total
            weight of the components that lead uphill to each.
        interval: "highest-density" or "central".
        mass: that the intervals hold, in (0, 1).
        calibrated: ask the intervals for the mass that held the share `mass` of rows kept apart (`mdn.calibrate`).
        above: target -> one value or several: columns `NAME_above_VALUE`, the probability of more than it.
        below: the same of less than it, `NAME_below_VALUE`.
        given: targets that are known, target -> a number, a kind or the name of a column; the others are predicted
            from them too.
        keep: columns of the table to put first; "all" for all.
        strict: refuse categories that training never saw, in place of flagging them.
        on_progress: called as `f(rows done, rows in all)` after each chunk.

    Returns:
        A polars DataFrame with one row per row of the table, in its order.

    Raises:
        InputError: for a missing column, values that the model refuses, a model that does not know its columns, or
            options out of range.

    Example:
        >>> import jax, numpy as np, mdn_jax as mdn
        >>> x = np.linspace(-1, 1, 64)[:, None]
        >>> training = mdn.TrainingConfig(num_steps=2, evaluate_every=1)
        >>> fit = mdn.fit(jax.random.key(0), x, x**2, training=training, input_names=("x",), target_names=("y",))
        >>> mdn.predict(fit.model, {"x": [0.5, 1.5]}, interval="central", keep=["x"]).columns
        ['x', 'y_mean', 'y_std', 'y_q05', 'y_q50', 'y_q95', 'y_mode', 'y_low', 'y_high', 'log_prob']
        >>> mdn.predict(fit.model, {"x": 0.5}, columns=["mean", "q2.5"]).columns
        ['y_mean', 'y_q2.5']
        >>> mdn.predict(fit.model, {"x": 0.5}, above={"y": [0.1, 0.4]}, columns=["above"]).columns
        ['y_above_0.1', 'y_above_0.4']
    """
    asked = Asked(quantiles, num_modes, interval, mass, calibrated, columns, above, below)
    return typed(answer(prepare(model, table, asked, given=given, keep=keep, strict=strict), on_progress))


def predict_distributions(
    model: AnyModel, table: TableLike, *, given: Given | None = None, strict: bool = False
) -> Any:
    """Predict each row of a table as a distribution, for whatever `predict` has no column for.

    Args:
        model: as for `predict`.
        table: as for `predict`.
        given: targets that are known, as for `predict`; without them the distribution is of all targets.
        strict: refuse categories that training never saw.

    Returns:
        A batch of distributions in the targets' own units, its arrays leading with N: ask it with `jax.vmap`. Targets
        that name kinds are codes.

    Raises:
        InputError: as `predict`, and where a row lacks an input that the model needs.

    Example:
        >>> import jax, numpy as np, mdn_jax as mdn
        >>> x = np.linspace(-1, 1, 64)[:, None]
        >>> training = mdn.TrainingConfig(num_steps=2, evaluate_every=1)
        >>> fit = mdn.fit(jax.random.key(0), x, x**2, training=training, input_names=("x",), target_names=("y",))
        >>> batch = mdn.predict_distributions(fit.model, {"x": [0.5, 1.5]})
        >>> jax.vmap(lambda one: mdn.tail_mean(one, 0.1))(batch).shape
        (2, 1)
    """
    prepared = prepare(model, table, Asked(columns=ALONE), given=given, strict=strict)
    lacking = np.flatnonzero(prepared.wanted.lacking)
    row = lacking[0] + 1 if lacking.size else 0
    require(not row, f"{prepared.wanted.source}: row {row} lacks an input: fill it in, or drop it")
    return distributions(prepared)


def predict_samples(
    key: Key, model: AnyModel, table: TableLike, num_samples: int, *, given: Given | None = None, strict: bool = False
) -> Any:
    """Independent samples of the targets of each row of a table; the twin of `mdn-jax predict --samples`.

    Args:
        key: a PRNG key; a row's samples depend on it and on the row's place only.
        model: as for `predict`.
        table: as for `predict`.
        num_samples: how many for each row.
        given: targets that are known, as for `predict`.
        strict: refuse categories that training never saw.

    Returns:
        A polars DataFrame with `num_samples` rows per row of the table: `row` and `sample`, both from 0, and the
        targets.

    Raises:
        InputError: as `predict`.

    Example:
        >>> import jax, numpy as np, mdn_jax as mdn
        >>> x = np.linspace(-1, 1, 64)[:, None]
        >>> training = mdn.TrainingConfig(num_steps=2, evaluate_every=1)
        >>> fit = mdn.fit(jax.random.key(0), x, x**2, training=training, input_names=("x",), target_names=("y",))
        >>> mdn.predict_samples(jax.random.key(1), fit.model, {"x": [0.5, 1.5]}, 10).shape
        (20, 3)
    """
    require(num_samples >= 1, f"num_samples must be 1 or more; got {num_samples}")
    return draw(prepare(model, table, given=given, strict=strict), key, num_samples)


def prepare(
    model: AnyModel,
    table: TableLike,
    asked: Asked | None = None,
    *,
    given: Given | None = None,
    keep: Sequence[str] | str = (),
    strict: bool = False,
    block: int | None = None,
) -> Prepared:
    """Everything that can be refused, checked; the arguments are those of `predict`.

    With `block`, rows of each call, every number of rows is answered by one program: a row alike among any others.
    """
    model, asked, given = _model_of(model), asked or Asked(), dict(given or {})
    columns = None if asked.columns is None else tuple(asked.columns)
    quantiles = check_asked(asked, implied_quantiles(columns or (), model.target_names))
    dims = _given_dims(model, given)
    facts = facts_of(model, dims)
    kinds = names_of_kinds(model.encoding, facts.classes)
    named = {name: own for name, own in zip(model.target_names, kinds, strict=True) if own is not None}
    # a kind that is spelled as a number
    given |= {name: f"{given[name]:g}" for name in named if isinstance(given.get(name), int | float)}
    free = tuple(dim for dim in range(len(model.target_names)) if dim not in dims)
    masses = _masses(model, asked, given=bool(given))
    own = tuple(masses[dim] for dim in free if kinds[dim] is None)
    interval = asked.interval if facts.pieces else "central"
    names, left = tuple(model.target_names[dim] for dim in free), tuple(kinds[dim] for dim in free)
    numbers = [name for name, of in zip(names, left, strict=True) if of is None]
    asked_ends = {"above": asked.above or {}, "below": asked.below or {}}
    ends = [_ends(side, told, numbers, facts.circles) for side, told in asked_ends.items()]
    question = Question((), quantiles, asked.num_modes, interval, own, dims, facts.networks, *ends)
    layout = partial(columns_of, names=names, kinds=left, facts=facts, encoded=model.encoding is not None)
    chosen = list(layout(question))
    if columns is not None:
        chosen = choose_columns(chosen, columns, names)
        said = [q for q in quantiles if {f"{name}_q{percent(q)}" for name in names} & set(chosen)]
        question = replace(question, quantiles=tuple(said))
    found = layout(question)
    wanted = read_wanted(model, table, given, keep, named, strict=strict, scored="log_prob" in chosen)
    parts = {found[name][0] for name in chosen} - ({"log_prob"} if wanted.targets is None else set())
    question = replace(question, parts=tuple(sorted(parts)))
    columns = {name: found[name] for name in chosen}
    units, given_units = model.targets.part(free), model.targets.part(dims)
    return Prepared(model, question, columns, wanted, names, left, units, given_units, block)


def _model_of(model: AnyModel) -> Model:
    """A model that knows its columns, read where it is a path."""
    if not isinstance(model, Model):
        model = load(Path(model).expanduser())
    known = bool(model.target_names) and model.inputs is not None
    known = known and (model.encoding is not None or len(model.input_names) == len(model.inputs.shift))  # pyright: ignore
    require(known, "this model does not know its columns: give fit the input_names and target_names, or call it with x")
    row = "this model answers sequences, and a row of a table is none: call it with x (T, X), or use mdn.rollout"
    require(model.input_rank == 1, row)
    return model


def _given_dims(model: Model, given: Given) -> tuple[int, ...]:
    names = model.target_names
    for name, value in given.items():
        require(name in names, f"given: {name!r} is not a target of this model: {nearest(name, names)}")
        finite = isinstance(value, str) or np.isfinite(value)
        require(finite, f"given: {name!r} is {value}: give a finite number or the name of a column")
    require(len(given) < len(names), f"given names all targets ({', '.join(names)}): nothing is left to predict")
    return tuple(names.index(name) for name in given)


def _ends(
    side: str, told: Thresholds, numbers: Sequence[str], circles: Sequence[bool]
) -> tuple[tuple[int, float], ...]:
    """Thresholds by the places of their numbers."""
    found: dict[tuple[int, float], None] = {}
    for name, values in told.items():
        require(name in numbers, f"{side}: {name!r} is no number that is predicted: {nearest(name, numbers)}")
        dim, values = numbers.index(name), np.atleast_1d(np.asarray(values, np.float64))
        require(not circles[dim], f"{side}: {name!r} goes round, and nothing on a circle is {side}: ask for quantiles")
        require(bool(np.isfinite(values).all()), f"{side}: {name!r} takes finite numbers; got {values.tolist()}")
        found |= dict.fromkeys((dim, float(value)) for value in values)
    return tuple(found)


def _masses(model: Model, asked: Asked, *, given: bool) -> list[float]:
    """The mass to ask of each target's interval."""
    if not asked.calibrated:
        return [asked.mass] * len(model.target_names)
    require(
        model.calibration is not None,
        "this model has no calibration: set dataset.calibration_fraction, say to 0.2, and train it again "
        "(in Python: mdn.calibrate)",
    )
    require(not given, "calibrated intervals hold without given targets only: drop one of the two")
    return [float(needed) for needed in model.calibration.mass(asked.interval, asked.mass)]  # pyright: ignore

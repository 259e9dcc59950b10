"""Through the rows of a table in chunks, and back to columns in the targets' own units, in float64."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from mdn_jax._checks import require
from mdn_jax._typing import Bool, Float, Key
from mdn_jax.encoding import missing_in
from mdn_jax.models import Model, Rows, Standardizer, in_nats, map_rows
from mdn_jax.prediction.questions import Draw, Question, percent
from mdn_jax.prediction.tables import Wanted

__all__ = ["Prepared", "answer", "draw"]

ROWS_AT_ONCE, FEWEST_AT_ONCE = 8_192, 64
MOST_KINDS = 20  # whose probabilities have a column each
DIGITS = 9  # decimals of a standard unit that are kept: float32 knows 7
SIGNIFICANT = 8  # digits that are kept of what has no origin: widths and shares

OnProgress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Prepared:
    """A model, what is asked of it about each row, and what it needs of a table."""

    model: Model
    question: Question
    wanted: Wanted
    names: tuple[str, ...]  # of the targets that are predicted
    kinds: tuple[tuple[str, ...] | None, ...]  # that each of them names, None of a number
    units: Standardizer  # theirs
    given_units: Standardizer  # of the targets that are given

    @property
    def numbers(self) -> list[int]:
        """The indices of the predicted targets that are numbers."""
        return [dim for dim, kinds in enumerate(self.kinds) if kinds is None]

    @property
    def program(self) -> Model:
        """The model without names, so that models of one structure share a compiled program."""
        return replace(self.model, input_names=(), target_names=(), encoding=None)


def answer(prepared: Prepared, on_progress: OnProgress | None = None) -> Any:
    """Every answer as a polars frame of N rows, after the columns that were to be kept."""
    import polars as pl  # noqa: PLC0415

    wanted, found, outside = prepared.wanted, [], []
    for count, rows, strange in _chunks(prepared):
        answers = map_rows(prepared.question.on_device, prepared.program, rows)
        answers = {name: np.asarray(values[:count], np.float64) for name, values in answers.items()}
        observed = None if rows.observed is None else rows.observed[:count]
        found.append(_in_own_units(prepared, _whole(prepared.question, answers), observed))
        outside.append(strange[:count])
        if on_progress is not None:
            on_progress(sum(map(len, outside)), wanted.num_rows)
    whole = {name: np.concatenate([part[name] for part in found]) for name in found[0]}
    if prepared.numbers:
        pieces = np.isfinite(whole["ends"]).any(axis=(0, 2, 3)).sum()
        whole["ends"] = whole["ends"][:, : max(pieces, 1)]
    columns = _columns(prepared, whole)
    for texts in wanted.unseen.values() if "log_prob" in columns else ():
        columns["log_prob"] = np.where(missing_in(texts), columns["log_prob"], np.nan)
    frame = _frame(columns, wanted.lacking)
    if prepared.model.encoding is not None:
        frame = frame.with_columns(outside_training=pl.Series(np.concatenate(outside)))
    twice = [name for name in wanted.kept.columns if name in frame.columns]
    require(not twice, f"{wanted.source}: column {twice and twice[0]!r} has the name of an answer: do not keep it")
    return wanted.kept.hstack(frame) if wanted.kept.width else frame


def draw(prepared: Prepared, key: Key, count: int) -> Any:
    """Samples of every row as a polars frame: row (from 0), sample (from 0), and each target."""
    wanted = prepared.wanted
    question, data = Draw(count, prepared.question.given), np.asarray(jax.random.bits(key, (2,), "uint32"))
    samples = np.empty((wanted.num_rows, count, len(prepared.names)))
    start = 0
    for size, rows, _ in _chunks(prepared, data):
        z = np.asarray(map_rows(question, prepared.program, rows)[:size], np.float64)
        samples[start : start + size] = _placed(prepared.units, z)
        start += size
    columns = {
        "row": np.repeat(np.arange(wanted.num_rows, dtype=np.uint32), count),
        "sample": np.tile(np.arange(count, dtype=np.uint32), wanted.num_rows),
    }
    for dim, (name, kinds) in enumerate(zip(prepared.names, prepared.kinds, strict=True)):
        drawn = samples[..., dim].ravel()
        columns[name] = drawn if kinds is None else np.array(kinds)[drawn.astype(int)]
    return _frame(columns, np.repeat(wanted.lacking, count))


def _chunks(prepared: Prepared, key: np.ndarray | None = None) -> Iterator[tuple[int, Rows, Bool[np.ndarray, " R"]]]:
    """Yield a table in parts, the last filled up so that few programs serve any: row count, rows, unseen ones."""
    model, wanted, count = prepared.model, prepared.wanted, prepared.wanted.num_rows
    size = min(ROWS_AT_ONCE, max(FEWEST_AT_ONCE, 2 ** math.ceil(math.log2(count))))
    for start in range(0, count, size):
        places = np.minimum(np.arange(start, start + size), count - 1)
        columns = {name: values[places] for name, values in wanted.inputs.items()}
        if model.encoding is None:
            x = np.stack(list(columns.values()), axis=1) if columns else np.empty((size, 0))
            outside = np.zeros(size, bool)
        else:
            # the empty name: rows are counted even where a model has no inputs
            x, outside, _, _ = model.encoding.encode({"": np.zeros(size), **columns})
        y: dict[str, np.ndarray] = {"given": prepared.given_units.standardize(wanted.given[places])}
        y["mass"] = np.broadcast_to(np.asarray(prepared.question.masses), (size, len(prepared.question.masses)))
        observed = None
        if wanted.targets is not None:
            z = prepared.units.standardize(wanted.targets[places])
            observed = ~np.isnan(z)
            y["targets"] = np.where(observed, z, 0.0)
        if key is not None:
            y |= {"key": np.broadcast_to(key, (size, 2)), "place": places.astype(np.uint32)}
        x = model.inputs.standardize(x)  # pyright: ignore[reportOptionalMemberAccess]
        yield min(size, count - start), Rows(x, y, np.ones(size), observed), outside


def _whole(question: Question, answers: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The answers with "ends" (R, pieces, 2, F) of F numbers."""
    if "quantile" not in answers:
        return answers
    values, num_quantiles = answers["quantile"], len(question.quantiles)
    answers["quantile"] = values[:, :num_quantiles]
    if question.interval == "central":
        size = values.shape[-1]
        ends = values[:, num_quantiles:].reshape(-1, 2, size, size)
        answers["ends"] = np.diagonal(ends, axis1=2, axis2=3)[:, None]
    return answers


def _in_own_units(
    prepared: Prepared, answers: dict[str, np.ndarray], observed: Bool[np.ndarray, "R D"] | None
) -> dict[str, np.ndarray]:
    """Answers in standard units as answers in the targets' own."""
    units = prepared.units.part(prepared.numbers)
    for name, values in answers.items():
        if name in ("std", "disagreement"):
            answers[name] = _significant(values * np.asarray(units.scale))
        elif name == "log_prob":
            nats = -in_nats(-values, prepared.units, observed)
            answers[name] = np.where(observed.any(axis=1), np.round(nats, 7), np.nan)  # pyright: ignore
        elif name == "mode_weight" or name.startswith("probs_"):
            answers[name] = _significant(values)
        else:
            answers[name] = _placed(units, values)
    return answers


def _placed(units: Standardizer, z: Float[np.ndarray, "... D"]) -> Float[np.ndarray, "... D"]:
    """shift + scale * z, without the digits that z does not know."""
    shift, scale = np.asarray(units.shift, np.float64), np.asarray(units.scale, np.float64)
    values = shift + scale * z
    for dim, decimals in enumerate(DIGITS - np.floor(np.log10(scale)).astype(int)):
        values[..., dim] = np.round(values[..., dim], decimals)
    return values


def _significant(values: np.ndarray) -> np.ndarray:
    """Values without the digits that float32 does not know."""
    with np.errstate(divide="ignore", invalid="ignore"):
        power = np.where(values == 0, 0, np.floor(np.log10(np.abs(values))))
    step = 10.0 ** np.nan_to_num(SIGNIFICANT - 1 - power)
    return np.round(values * step) / step


def _columns(prepared: Prepared, found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Answers by the names of their columns."""
    question, columns = prepared.question, {}
    several, shared = (
        question.num_modes if question.num_modes > 1 else 0,
        found.get("mode_weight", np.empty(0)).ndim == 2,
    )
    for target, (name, kinds) in enumerate(zip(prepared.names, prepared.kinds, strict=True)):
        if kinds is not None:
            columns |= _columns_of_kinds(name, kinds, found[f"probs_{target}"])
            continue
        dim = prepared.numbers.index(target)
        columns[f"{name}_mean"] = found["mean"][:, dim]
        columns[f"{name}_std"] = found["std"][:, dim]
        for place, q in enumerate(question.quantiles):
            columns[f"{name}_q{percent(q)}"] = found["quantile"][:, place, dim]
        columns[f"{name}_mode"] = found["mode"][:, 0, dim]
        for place in range(several):
            columns[f"{name}_mode_{place + 1}"] = found["mode"][:, place, dim]
            if not shared:
                columns[f"{name}_mode_weight_{place + 1}"] = found["mode_weight"][:, place, dim]
        for piece in range(found["ends"].shape[1]):
            number = "" if question.interval == "central" else f"_{piece + 1}"
            columns[f"{name}_low{number}"] = found["ends"][:, piece, 0, dim]
            columns[f"{name}_high{number}"] = found["ends"][:, piece, 1, dim]
        if question.networks:
            columns[f"{name}_disagreement"] = found["disagreement"][:, dim]
    for place in range(several if shared else 0):
        columns[f"mode_weight_{place + 1}"] = found["mode_weight"][:, place]
    if question.scored:
        columns["log_prob"] = found["log_prob"]
    return columns


def _columns_of_kinds(name: str, kinds: tuple[str, ...], probs: Float[np.ndarray, "N C"]) -> dict[str, np.ndarray]:
    """The most probable kind, its probability, and those of all where they are few."""
    each = {f"{name}_is_{kind}": probs[:, code] for code, kind in enumerate(kinds)}
    best = {name: np.array(kinds)[probs.argmax(axis=1)], f"{name}_probability": probs.max(axis=1)}
    return best | (each if len(kinds) <= MOST_KINDS else {})


def _frame(columns: dict[str, np.ndarray], lacking: Bool[np.ndarray, " N"]) -> Any:
    """A polars frame of columns, with nothing in place of NaN, nor of floats and texts in rows that lack an input."""
    import polars as pl  # noqa: PLC0415

    series = [pl.Series(name, values) for name, values in columns.items()]
    answers = [one.name for one in series if one.dtype in (pl.Float64, pl.String)]
    there = pl.lit(pl.Series(~lacking))
    return pl.DataFrame(series).fill_nan(None).with_columns(pl.when(there).then(pl.col(answers)))

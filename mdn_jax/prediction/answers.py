"""Through the rows of a table in chunks, and back to columns in the targets' own units, in float64."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from mdn_jax._checks import require
from mdn_jax._typing import Bool, Float, Key
from mdn_jax.models import Model, Rows, Standardizer, in_nats, map_rows
from mdn_jax.prediction.questions import Draw, Question, percent
from mdn_jax.prediction.tables import Wanted

__all__ = ["Prepared", "answer", "draw"]

ROWS_AT_ONCE, FEWEST_AT_ONCE = 8_192, 64
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
    units: Standardizer  # theirs
    given_units: Standardizer  # of the targets that are given

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
    pieces = np.isfinite(whole["ends"]).any(axis=(0, 2, 3)).sum()
    whole["ends"] = whole["ends"][:, : max(pieces, 1)]
    columns = _columns(prepared, whole)
    for name, values in columns.items():
        columns[name] = np.where(wanted.lacking, np.nan, values)
    frame = pl.DataFrame(columns).fill_nan(None)
    if prepared.model.encoding is not None:
        frame = frame.with_columns(outside_training=pl.Series(np.concatenate(outside)))
    twice = [name for name in wanted.kept.columns if name in frame.columns]
    require(not twice, f"{wanted.source}: column {twice and twice[0]!r} has the name of an answer: do not keep it")
    return wanted.kept.hstack(frame) if wanted.kept.width else frame


def draw(prepared: Prepared, key: Key, count: int) -> Any:
    """Samples of every row as a polars frame: row (from 0), sample (from 0), and each target."""
    import polars as pl  # noqa: PLC0415

    wanted = prepared.wanted
    question, data = Draw(count, prepared.question.given), np.asarray(jax.random.bits(key, (2,), "uint32"))
    samples = np.empty((wanted.num_rows, count, len(prepared.names)))
    start = 0
    for size, rows, _ in _chunks(prepared, data):
        z = np.asarray(map_rows(question, prepared.program, rows)[:size], np.float64)
        samples[start : start + size] = _placed(prepared.units, z)
        start += size
    samples[wanted.lacking] = np.nan
    columns = {
        "row": np.repeat(np.arange(wanted.num_rows, dtype=np.uint32), count),
        "sample": np.tile(np.arange(count, dtype=np.uint32), wanted.num_rows),
    }
    columns |= {name: samples[..., dim].ravel() for dim, name in enumerate(prepared.names)}
    return pl.DataFrame(columns).fill_nan(None)


def _chunks(prepared: Prepared, key: np.ndarray | None = None) -> Iterator[tuple[int, Rows, Bool[np.ndarray, " R"]]]:
    """How many rows, the rows in standard units (filled up with the last one, so that few programs serve any table),
    and which of them training never saw the like of.
    """
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
        y["mass"] = np.broadcast_to(np.asarray(prepared.question.masses), (size, len(prepared.names)))
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
    """The answers with "ends" (R, pieces, 2, D), and as many modes as were asked for; NaN where there are fewer."""
    values, num_quantiles = answers["quantile"], len(question.quantiles)
    answers["quantile"] = values[:, :num_quantiles]
    if question.interval == "central":
        size = values.shape[-1]
        ends = values[:, num_quantiles:].reshape(-1, 2, size, size)
        answers["ends"] = np.diagonal(ends, axis1=2, axis2=3)[:, None]
    for name in ("mode", "mode_weight"):
        lacking = [(0, 0), (0, question.num_modes - answers[name].shape[1])] + [(0, 0)] * (answers[name].ndim - 2)
        answers[name] = np.pad(answers[name], lacking, constant_values=np.nan)
    return answers


def _in_own_units(
    prepared: Prepared, answers: dict[str, np.ndarray], observed: Bool[np.ndarray, "R D"] | None
) -> dict[str, np.ndarray]:
    """Answers in standard units as answers in the targets' own."""
    units = prepared.units
    for name, values in answers.items():
        if name in ("std", "disagreement"):
            answers[name] = _significant(values * np.asarray(units.scale))
        elif name == "log_prob":
            nats = -in_nats(-values, units, observed)
            answers[name] = np.where(observed.any(axis=1), np.round(nats, 7), np.nan)  # pyright: ignore
        elif name == "mode_weight":
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
    for dim, name in enumerate(prepared.names):
        columns[f"{name}_mean"] = found["mean"][:, dim]
        columns[f"{name}_std"] = found["std"][:, dim]
        for place, q in enumerate(question.quantiles):
            columns[f"{name}_q{percent(q)}"] = found["quantile"][:, place, dim]
        columns[f"{name}_mode"] = found["mode"][:, 0, dim]
        for place in range(question.num_modes if question.num_modes > 1 else 0):
            columns[f"{name}_mode_{place + 1}"] = found["mode"][:, place, dim]
        for piece in range(found["ends"].shape[1]):
            number = "" if question.interval == "central" else f"_{piece + 1}"
            columns[f"{name}_low{number}"] = found["ends"][:, piece, 0, dim]
            columns[f"{name}_high{number}"] = found["ends"][:, piece, 1, dim]
        if question.members:
            columns[f"{name}_disagreement"] = found["disagreement"][:, dim]
    for place in range(question.num_modes if question.num_modes > 1 else 0):
        columns[f"mode_weight_{place + 1}"] = found["mode_weight"][:, place]
    if question.scored:
        columns["log_prob"] = found["log_prob"]
    return columns

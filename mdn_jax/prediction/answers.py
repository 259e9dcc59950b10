"""Through the rows of a table in chunks, and back to columns in the targets' own units, in float64."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mdn_jax._checks import require
from mdn_jax._typing import Bool, Float, Key
from mdn_jax.encoding import missing_in
from mdn_jax.models import Model, Rows, Standardizer, device_dtype, in_nats, map_rows
from mdn_jax.prediction.columns import Column
from mdn_jax.prediction.questions import Draw, Question, known
from mdn_jax.prediction.tables import Wanted

__all__ = ["Prepared", "answer", "distributions", "draw"]

ROWS_AT_ONCE = 8_192  # on the host
FEW, FEW_AT_ONCE = 128, 16  # tables of few rows have a program of their own
DIGITS = 9  # decimals of a standard unit that are kept: float32 knows 7
SIGNIFICANT = 8  # digits that are kept of what has no origin: widths and shares

OnProgress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Prepared:
    """A model, what is asked of it about each row, and what it needs of a table."""

    model: Model
    question: Question
    columns: dict[str, Column]  # of the result
    wanted: Wanted
    names: tuple[str, ...]  # of the targets that are predicted
    kinds: tuple[tuple[str, ...] | None, ...]  # that each of them names, None of a number
    units: Standardizer  # theirs
    given_units: Standardizer  # of the targets that are given
    own_block: int | None = None  # rows of one call, where not by the number of rows

    @property
    def numbers(self) -> list[int]:
        """The indices of the predicted targets that are numbers."""
        return [dim for dim, kinds in enumerate(self.kinds) if kinds is None]

    def thresholds(self, side: str) -> Float[np.ndarray, " E"]:
        """The values above or below which probabilities are told, in standard units."""
        units, ends = self.units.part(self.numbers), getattr(self.question, side)
        return np.array([(value - units.shift[dim]) / units.scale[dim] for dim, value in ends])

    @property
    def program(self) -> Model:
        """The model without names, so that models of one structure share a compiled program."""
        return replace(self.model, input_names=(), target_names=(), encoding=None)

    @property
    def block(self) -> int:
        """Rows of one call of a program: two sizes serve tables of any length."""
        few = FEW_AT_ONCE if self.wanted.num_rows <= FEW else None
        many = 512 if jax.default_backend() == "cpu" else ROWS_AT_ONCE  # as many as fit a core's cache
        return self.own_block or few or many


def answer(prepared: Prepared, on_progress: OnProgress | None = None) -> Any:
    """Every answer as a polars frame of N rows, after the columns that were to be kept."""
    wanted, found, done = prepared.wanted, [], 0
    question, program = prepared.question.on_device, jax.device_put(prepared.program)
    for count, rows, strange in _chunks(prepared):
        answers = map_rows(question, program, rows, block=prepared.block)
        answers = {name: np.asarray(values, np.float64) for name, values in answers.items()}
        found.append(_in_own_units(prepared, _whole(prepared.question, answers), rows.observed) | {"outside": strange})
        done += count
        if on_progress is not None:
            on_progress(done, wanted.num_rows)
    whole = {name: np.concatenate([part[name] for part in found]) for name in found[0]}
    if wanted.targets is None:
        whole["log_prob"] = np.full(done, np.nan)
    for texts in wanted.unseen.values():
        whole["log_prob"] = np.where(missing_in(texts), whole["log_prob"], np.nan)
    columns = {name: part(whole[answer]) for name, (answer, part) in prepared.columns.items()}
    frame = _frame(columns, wanted.lacking)
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
        z = np.asarray(map_rows(question, prepared.program, rows, block=prepared.block), np.float64)
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


def distributions(prepared: Prepared) -> Any:
    """The distributions of all rows in the targets' own units, stacked along N."""
    ask, program, block = _Restored(prepared.question.given), prepared.program, prepared.block
    units = prepared.units
    units.warn_unless_held("target", device_dtype(np.zeros(0)))
    parts = []
    for size, rows, _ in _chunks(prepared):
        own = {name: np.broadcast_to(getattr(units, name), (size, len(units.shift))) for name in ("shift", "scale")}
        parts.append(map_rows(ask, program, rows._replace(y=rows.y | own), block=block))
    return jax.tree.map(lambda *leaves: jnp.asarray(np.concatenate(leaves)), *parts)


@dataclass(frozen=True)
class _Restored:
    """The distribution of each row in units that come with it, so that models share a program."""

    given: tuple[int, ...]

    def __call__(self, distribution: Any, row: Rows) -> Any:
        return Standardizer(row.y["shift"], row.y["scale"]).restore(known(distribution, self.given, row.y["given"]))


def _chunks(prepared: Prepared, key: np.ndarray | None = None) -> Iterator[tuple[int, Rows, Bool[np.ndarray, " R"]]]:
    """Yield a table in parts that fit the host: row count, rows, unseen ones."""
    model, wanted, masses = prepared.model, prepared.wanted, np.asarray(prepared.question.masses)
    for start in range(0, wanted.num_rows, ROWS_AT_ONCE):
        part = slice(start, min(start + ROWS_AT_ONCE, wanted.num_rows))
        size = part.stop - start
        columns = {name: values[part] for name, values in wanted.inputs.items()}
        if model.encoding is None:
            x = np.stack(list(columns.values()), axis=1) if columns else np.empty((size, 0))
            outside = np.zeros(size, bool)
        else:
            # the empty name: rows are counted even where a model has no inputs
            x, outside, _, _ = model.encoding.encode({"": np.zeros(size), **columns})
        y: dict[str, np.ndarray] = {"given": prepared.given_units.standardize(wanted.given[part])}
        y["mass"] = np.broadcast_to(masses, (size, len(masses)))
        for side in ("above", "below"):
            y[side] = np.broadcast_to(values := prepared.thresholds(side), (size, len(values)))
        observed = None
        if wanted.targets is not None:
            z = prepared.units.standardize(wanted.targets[part])
            observed = ~np.isnan(z)
            y["targets"] = np.where(observed, z, 0.0)
        if key is not None:
            y |= {"key": np.broadcast_to(key, (size, 2)), "place": np.arange(start, part.stop, dtype=np.uint32)}
        x = model.inputs.standardize(x)  # pyright: ignore[reportOptionalMemberAccess]
        yield size, Rows(x, y, np.ones(size), observed), outside


def _whole(question: Question, answers: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The answers with "ends" (R, pieces, 2, F) of F numbers."""
    if "quantile" not in answers:
        return answers
    values, num_quantiles = answers["quantile"], len(question.quantiles)
    answers["quantile"] = values[:, :num_quantiles]
    if len(question.levels) > num_quantiles:
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
        elif name in ("mode_weight", "above", "below") or name.startswith("probs_"):
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


def _frame(columns: dict[str, np.ndarray], lacking: Bool[np.ndarray, " N"]) -> Any:
    """A polars frame of columns, with nothing in place of NaN, nor of floats and texts in rows that lack an input."""
    import polars as pl  # noqa: PLC0415

    series = [pl.Series(name, values) for name, values in columns.items()]
    answers = [one.name for one in series if one.dtype in (pl.Float64, pl.String)]
    there = pl.lit(pl.Series(~lacking))
    return pl.DataFrame(series).fill_nan(None).with_columns(pl.when(there).then(pl.col(answers)))

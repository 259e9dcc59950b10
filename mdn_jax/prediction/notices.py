"""Warnings about the answers to a table: unknown kinds, missing inputs, inputs beyond training's."""

from typing import Any

import numpy as np

from mdn_jax._typing import Bool
from mdn_jax.encoding import Column, missing_in
from mdn_jax.prediction.answers import ROWS_AT_ONCE, Prepared

__all__ = ["notices_of"]

MOST_INPUTS = 3  # that are named


def notices_of(prepared: Prepared, frame: Any) -> list[str]:
    """Lines about a table and the frame that `answer` made of it; none where nothing is strange."""
    wanted, encoding = prepared.wanted, prepared.model.encoding
    outside = int(frame["outside_training"].sum()) if "outside_training" in frame.columns else 0
    told = outside or wanted.unknown
    strange = {c.name: _strange(c, wanted.inputs[c.name]) for c in encoding.columns} if encoding and told else {}
    lines = []
    for name, count in wanted.unknown.items():
        row = int((strange[name] & ~missing_in(wanted.inputs[name])).argmax())
        first = f"{str(wanted.inputs[name][row])!r} in row {row + 1}"
        values = f"1 value of {name!r} is" if count == 1 else f"{count:,} values of {name!r} are"
        lines += [f"{values} of a kind that training never saw: {first}{' is the first' if count > 1 else ''}"]
    for name, texts in wanted.unseen.items():
        rows = np.flatnonzero(~missing_in(texts))
        if rows.size:
            values = f"1 value of {name!r} is" if rows.size == 1 else f"{rows.size:,} values of {name!r} are"
            first = f"{texts[rows[0]]!r} in row {rows[0] + 1}{' is the first' if rows.size > 1 else ''}"
            lines += [f"{values} of a kind that training never saw: {first}; log_prob is empty there"]
    if wanted.lacking.any():
        count = int(wanted.lacking.sum())
        lack = "1 row lacks an input: its" if count == 1 else f"{count:,} rows lack an input: their"
        lines += [f"{lack} answers are empty"]
    if outside:
        rows = f"{outside:,} of {frame.height:,} rows {'is' if outside == 1 else 'are'}"
        lines += [f"{rows} outside what training saw (outside_training): {_most_frequent(strange)}"]
    return lines


def _strange(column: Column, values: np.ndarray) -> Bool[np.ndarray, " N"]:
    """Rows whose value in one column training never saw the like of, in chunks: a category becomes many numbers."""
    starts = range(0, len(values), ROWS_AT_ONCE)
    return np.concatenate([column.encode(values[start : start + ROWS_AT_ONCE])[1] for start in starts])


def _most_frequent(strange: dict[str, Bool[np.ndarray, " N"]]) -> str:
    """'size' in 20 rows, 'colour' in 1 row and 2 other inputs."""
    counts = {name: int(rows.sum()) for name, rows in strange.items() if rows.any()}
    names = sorted(counts, key=lambda name: -counts[name])
    named = [f"{name!r} in {counts[name]:,} {'row' if counts[name] == 1 else 'rows'}" for name in names[:MOST_INPUTS]]
    others = len(names) - len(named)
    return ", ".join(named) + (f" and {others:,} other input{'s' if others > 1 else ''}" if others else "")

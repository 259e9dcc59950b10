"""The columns of the answers to a table: the same for every table of one model, all of them or those chosen."""

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from mdn_jax._checks import nearest, require
from mdn_jax._typing import Float
from mdn_jax.prediction.facts import Facts
from mdn_jax.prediction.questions import Question, percent

__all__ = ["Column", "choose_columns", "columns_of", "implied_quantiles"]

MOST_KINDS = 20  # whose probabilities have a column each

Column = tuple[str, Callable[[np.ndarray], np.ndarray]]  # the answer (N, ...) that it is part of, and the part


def columns_of(
    question: Question, names: Sequence[str], kinds: Sequence[tuple[str, ...] | None], facts: Facts, *, encoded: bool
) -> dict[str, Column]:
    """All columns by name, in the order of the result.

    Args:
        question: whose quantiles, modes and interval decide which there are.
        names: of the targets that are predicted.
        kinds: that each of them names, None of a number.
        facts: of the model.
        encoded: whether the model knows the ranges and kinds of its inputs.
    """
    columns: dict[str, Column] = {}
    numbers = [target for target, own in enumerate(kinds) if own is None]
    several = question.num_modes if question.num_modes > 1 else 0
    shared = facts.shared or len(numbers) == 1
    for target, (name, own) in enumerate(zip(names, kinds, strict=True)):
        if own is not None:
            columns |= _columns_of_kinds(name, own, f"probs_{target}")
            continue
        dim = numbers.index(target)
        columns |= {f"{name}_mean": _at("mean", dim), f"{name}_std": _at("std", dim)}
        columns |= {f"{name}_q{percent(q)}": _at("quantile", place, dim) for place, q in enumerate(question.quantiles)}
        columns[f"{name}_mode"] = _at("mode", 0, dim)
        for place in range(several):
            columns[f"{name}_mode_{place + 1}"] = _at("mode", place, dim)
            if not shared:
                columns[f"{name}_mode_weight_{place + 1}"] = _at("mode_weight", place, dim)
        central = question.interval == "central"
        for piece, number in enumerate([""] if central else [f"_{piece + 1}" for piece in range(facts.pieces)]):
            columns[f"{name}_low{number}"] = _at("ends", piece, 0, dim)
            columns[f"{name}_high{number}"] = _at("ends", piece, 1, dim)
        for side, ends in (("above", question.above), ("below", question.below)):
            own = ((place, value) for place, (of, value) in enumerate(ends) if of == dim)
            columns |= {f"{name}_{side}_{_shortest(value)}": _at(side, place) for place, value in own}
        if question.networks:
            columns[f"{name}_disagreement"] = _at("disagreement", dim)
    for place in range(several if shared and numbers else 0):
        columns[f"mode_weight_{place + 1}"] = _at("mode_weight", place)
    columns["log_prob"] = _at("log_prob")
    return columns | ({"outside_training": _at("outside")} if encoded else {})


def choose_columns(columns: Sequence[str], wanted: Sequence[str], targets: Sequence[str]) -> list[str]:
    """The names of the columns that the entries of `wanted` choose, each once, in the order of the entries.

    An entry chooses the column of its name; else that of each target, `NAME_entry`; else the numbered ones of these,
    `entry_1`, ... or `NAME_entry_1`, ..., `NAME_above_0.5`.

    Raises:
        InputError: for an entry that chooses nothing, or no entry.
    """
    require(len(wanted) > 0, "columns chooses none: name at least one, or leave it out for all")
    short = [name.removeprefix(f"{target}_") for target in targets for name in columns]
    chosen, legal = dict[str, None](), list(dict.fromkeys(short))
    for entry in wanted:
        names = [entry, *(f"{target}_{entry}" for target in targets)]
        numbered = re.compile(rf"({'|'.join(map(re.escape, names))})_-?\d[\d.e+-]*")
        own = names[:1] if entry in columns else [name for name in names if name in columns]
        own = own or [name for name in columns if numbered.fullmatch(name)]
        require(bool(own), f"columns: {entry!r} is no column of this answer: {nearest(entry, legal)}")
        chosen |= dict.fromkeys(own)
    return list(chosen)


def implied_quantiles(wanted: Sequence[str], targets: Sequence[str]) -> list[float]:
    """The shares of quantiles that entries name: 0.025 of "q2.5", and of "NAME_q2.5"."""
    name = re.compile(rf"(?:(?:{'|'.join(map(re.escape, targets))})_)?q(\d+(?:\.\d+)?)")
    found = [match for entry in wanted if (match := name.fullmatch(entry))]
    return list(dict.fromkeys(float(match[1]) / 100 for match in found))


def _shortest(value: float) -> str:
    """The shortest text that is this number alone."""
    return str(int(value)) if value.is_integer() and abs(value) < 1e16 else repr(value)


def _at(answer: str, *place: int) -> Column:
    return answer, lambda values: values[(slice(None), *place)]


def _columns_of_kinds(name: str, kinds: tuple[str, ...], answer: str) -> dict[str, Column]:
    """The most probable kind, its probability, and those of all where they are few."""
    best = {name: (answer, partial(_most_probable, kinds)), f"{name}_probability": (answer, lambda p: p.max(axis=1))}
    each = {f"{name}_is_{kind}": _at(answer, code) for code, kind in enumerate(kinds)}
    return best | (each if len(kinds) <= MOST_KINDS else {})


def _most_probable(kinds: tuple[str, ...], probs: Float[np.ndarray, "N C"]) -> Any:
    return np.array(kinds)[probs.argmax(axis=1)]

"""A first config for a table: short, and with all that is known of its columns beside it."""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mdn_jax._checks import nearest, require
from mdn_jax.data import MANY_KINDS, ColumnSummary, TableSummary, is_copy, ordering, panels, summarise, values_of
from mdn_jax.models import FEWEST_TO_CALIBRATE
from mdn_jax.storage import write_text

__all__ = ["new_config"]

RECIPE = 'recipe = "table"  # fills [model] and [training] by the number of rows; what you set there stands'
CALIBRATION = "rows kept apart for predict --calibrated"
LONGEST = 44  # letters of a range


def new_config(table: Path, targets: Sequence[str], out: Path) -> TableSummary:
    """Write a config that predicts some columns of a table from the others by the default recipe.

    Args:
        table: a .csv, .tsv or .txt file, also compressed (.gz), or a .parquet or .npz file.
        targets: the columns to predict.
        out: the config file to write; it must not exist.

    Returns:
        What stands in the table.

    Raises:
        InputError: for a table that cannot be read, a target that is no column of numbers or of kinds, or a file in the
            way.
    """
    found = summarise(table)
    columns = {column.name: column for column in found.columns}
    twice = next((target for target in targets if list(targets).count(target) > 1), None)
    require(twice is None, f"{table}: target {twice!r} is named twice: name it once")
    require(bool(targets), f"{table}: say which columns to predict with --targets, of: {', '.join(columns)}")
    for target in targets:
        require(target in columns, f"{table}: no column {target!r}: {nearest(target, columns)}")
        column = columns[target]
        require(not column.stray, f"{table}: target {target!r}, {column.stray}: correct it, or empty the cell")
        require(
            column.kind != "text",
            f"{table}: target {target!r} is a text, neither a number nor one of a few kinds: choose others",
        )
    require(out.suffix == ".toml", f"{out}: a config is a .toml file: choose another name with --out")
    require(not out.exists(), f"{out} is there already: choose another with --out")
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out, _text(table, found, targets, out.parent))
    return found


def _text(table: Path, found: TableSummary, targets: Sequence[str], base: Path) -> str:
    columns = found.columns
    roles = {c.name: "target" if c.name in targets else _why_left_out(c) for c in columns}
    useful = [c for c in columns if not roles[c.name]]
    for target in (c for c in columns if c.name in targets):
        copies = {c.name: f"{target.name!r} itself in other units" for c in useful if is_copy(target, c)}
        if len(copies) < len(useful):  # what else would it be predicted from?
            roles |= copies
            useful = [c for c in useful if c.name not in copies]
    lines = [f"# What follows from what in {_plain(table.name)} ({found.num_rows:,} rows)? Its columns:", "#"]
    wide = max(len(_plain(column.name)) for column in columns)
    for column in columns:
        span = _plain(column.range)
        span = span if len(span) <= LONGEST else span[: LONGEST - 3] + "..."
        lines.append(
            f"#   {_plain(column.name):{wide}}  {column.kind:8}  {span:{LONGEST}}  {column.num_distinct:>7,} different"
            f"  {column.num_missing:>6,} missing  {_plain(_advice(column, roles[column.name]))}".rstrip()
        )
    if found.num_unnamed:
        lines.append(
            f"# Columns without a name ({found.num_unnamed}) are left out: name one in the first line to keep it."
        )
    path = Path(os.path.relpath(table.resolve(), base.resolve())).as_posix()
    body = [f"path = {_toml(path)}", *_fields(found, targets, useful)]
    return "\n".join([*lines, "", RECIPE, "", "[dataset]", *body, ""])


def _fields(found: TableSummary, targets: Sequence[str], inputs: Sequence[ColumnSummary]) -> Iterator[str]:
    """The lines of the table's fields, each with its reason where it is not the usual one."""
    line = lambda name, value, why="": f"{name} = {_toml(value)}" + (f"  # {_plain(why)}" if why else "")  # noqa: E731
    names, columns, dialect = {column.name for column in inputs}, found.columns, found.dialect
    if dialect.separator:
        yield line("separator", dialect.separator, "between the cells of the file")
    if dialect.decimal != ".":
        yield line("decimal", dialect.decimal, next((c.spelling for c in columns if c.spelling), ""))
    if dialect.encoding != "utf-8":
        yield line("encoding", dialect.encoding, "the file is not UTF-8")
    yield line("inputs", [c.name for c in inputs], "" if inputs else "none is left: the targets' own density")
    yield line("targets", targets)
    kinds = [c for c in columns if c.kind == "category" and (c.name in names or c.name in targets)]
    if kinds or any(c.kind != "number" for c in columns):
        yield line("categorical", [c.name for c in kinds])
    if any(c.codes for c in columns):
        why = "; ".join(f"{c.name}: {c.codes}" for c in columns if c.codes)
        yield line(
            "codes",
            [c.name for c in kinds if c.codes],
            f"kinds as they are written; numbers, once taken off both lists: {why}",
        )
    if found.missing_values or any(c.stray for c in columns):
        yield line("missing_values", found.missing_values, "stand for a missing value, as empty cells do")
    if any(c.num_missing or c.stray for c in columns if c.name not in targets):
        yield line("missing_inputs", "indicate")
    missing = [c.num_missing for c in columns if c.name in targets]
    if any(missing):
        yield line("missing_targets", "marginalise" if len(targets) > 1 else "drop")
    yield from _supports(columns, targets, line)
    order = ordering(found, targets)
    groups = None if order else panels(found, targets)
    if order:
        yield line("split", "ordered", f"{order!r} orders the rows: tested at random, each has neighbours in training")
        yield line("split_column", order)
    if groups:
        # which of the two is asked for, no table can tell
        yield "# " + _plain(f"{groups.name!r} names {groups.num_panels} panels along {groups.along!r}. A random split")
        yield "# tests other rows of the same ones; for answers on panels never seen, take these two lines:"
        yield "# " + line("split", "group")
        yield "# " + line("split_column", groups.name)
    whole = found.num_rows - max(missing)
    numbers = any(c.kind == "number" for c in columns if c.name in targets)
    if numbers and round(0.1 * round(0.9 * whole)) >= FEWEST_TO_CALIBRATE:
        yield line("calibration_fraction", 0.1, CALIBRATION)


def _supports(columns: Sequence[ColumnSummary], targets: Sequence[str], line: Callable[..., str]) -> Iterator[str]:
    """The values that targets can have, as far as counting shows."""
    numbers = [c for c in columns if c.name in targets and c.kind == "number" and not c.dates]
    seen = {c.name: values_of(c.values.cast(float).fill_null(np.nan).to_numpy()) for c in numbers}
    for field, of, reason in (("support", "support", "why"), ("atoms", "atoms", "shares")):
        told = {name: getattr(one, of) for name, one in seen.items() if getattr(one, of)}
        if told:
            yield line(field, told, "; ".join(f"{name}: {getattr(seen[name], reason)}" for name in told))


def _toml(value: Any) -> str:
    """A TOML value on one line: a JSON one is but for one character, and for tables."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_toml(name)} = {_toml(one)}" for name, one in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _plain(text: str) -> str:
    """A text without what would end a comment."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _why_left_out(column: ColumnSummary) -> str:
    """The reason to leave a column out of a first config; empty for one that is."""
    if column.num_distinct == 0:
        return "no value in any row" if column.values is not None else "neither numbers nor texts"
    if column.num_distinct == 1:
        return "one value in all rows tells nothing"
    if column.consecutive:
        return "a row number? its whole numbers are consecutive"
    if column.kind != "text":
        return ""
    few = column.num_distinct <= MANY_KINDS
    return (
        "texts that are all different" if few else f"{column.num_distinct:,} different texts are more than {MANY_KINDS}"
    )


def _advice(column: ColumnSummary, role: str) -> str:
    """The role of a column, and how it is read, or what to do about it."""
    if role == "target":
        return f"target; {column.spelling}" if column.spelling else role
    name = _toml(column.name)
    if column.stray:
        also = f"add {name} to inputs" if role else "take it off categorical"
        cure = f"correct it, or list it in missing_values and {also}"
        return f"{'left out; ' if role else ''}{column.stray}: {cure}"
    if role:
        lists = ["inputs", *(["categorical"] if column.kind != "number" else []), *(["codes"] if column.codes else [])]
        keep = f"; to keep it add {name} to {' and '.join(lists)}" if column.num_distinct else ""
        return f"left out: {role}{keep}"
    if column.all_different:
        return "an identifier? whole numbers, all different: if so, take it off inputs"
    return f"codes: {column.codes}" if column.codes else column.spelling

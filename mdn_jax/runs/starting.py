"""A first config for a table: short, and with all that is known of its columns beside it."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from mdn_jax._checks import nearest, require
from mdn_jax.data import ColumnSummary, summarise
from mdn_jax.models import FEWEST_TO_CALIBRATE
from mdn_jax.storage import write_text

__all__ = ["new_config"]

RECIPE = 'recipe = "table"  # fills [model] and [training] by the number of rows; what you set there stands'
CALIBRATION = "calibration_fraction = 0.1  # rows kept apart for predict --calibrated"
LONGEST = 44  # letters of a range


def new_config(table: Path, targets: Sequence[str], out: Path) -> list[ColumnSummary]:
    """Write a config that predicts some columns of a table from the others by the default recipe.

    Args:
        table: a .csv, .parquet or .npz file.
        targets: the columns to predict.
        out: the config file to write; it must not exist.

    Returns:
        What stands in each column.

    Raises:
        InputError: for a table that cannot be read, a target that is no column of numbers or of kinds, or a file in the
            way.
    """
    columns = summarise(table)
    kinds = {column.name: column.kind for column in columns}
    twice = next((target for target in targets if list(targets).count(target) > 1), None)
    require(twice is None, f"{table}: target {twice!r} is named twice: name it once")
    require(bool(targets), f"{table}: say which columns to predict with --targets, of: {', '.join(kinds)}")
    strays = {column.name: column.stray for column in columns}
    for target in targets:
        require(target in kinds, f"{table}: no column {target!r}: {nearest(target, kinds)}")
        require(not strays[target], f"{table}: target {target!r}, {strays[target]}: correct it, or empty the cell")
        require(
            kinds[target] != "text",
            f"{table}: target {target!r} is a text, neither a number nor one of a few kinds: choose others",
        )
    require(out.suffix == ".toml", f"{out}: a config is a .toml file: choose another name with --out")
    require(not out.exists(), f"{out} is there already: choose another with --out")
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out, _text(table, columns, targets, out.parent))
    return columns


def _text(table: Path, columns: Sequence[ColumnSummary], targets: Sequence[str], base: Path) -> str:
    inputs = _inputs(columns, targets)
    missing = {column.name for column in columns if column.num_missing}
    dataset = {
        "path": Path(os.path.relpath(table.resolve(), base.resolve())).as_posix(),
        "inputs": [column.name for column in inputs],
        "targets": list(targets),
        "categorical": [c.name for c in columns if c.kind == "category" and (c in inputs or c.name in targets)],
    }
    if missing & {column.name for column in inputs}:
        dataset["missing_inputs"] = "indicate"
    if missing & set(targets):
        dataset["missing_targets"] = "marginalise" if len(targets) > 1 else "drop"
    kept = {name: value for name, value in dataset.items() if value != []}
    lines = [f"# What follows from what in {_plain(table.name)} ({columns[0].num_rows:,} rows)? Its columns:", "#"]
    wide = max(len(_plain(column.name)) for column in columns)
    for column in columns:
        role = "target" if column.name in targets else _advice(column, used=column in inputs)
        span = _plain(column.range)
        span = span if len(span) <= LONGEST else span[: LONGEST - 3] + "..."
        lines.append(
            f"#   {_plain(column.name):{wide}}  {column.kind:8}  {span:{LONGEST}}  {column.num_distinct:>7,} different"
            f"  {column.num_missing:>6,} missing  {role}".rstrip()
        )
    # a JSON value is a TOML value but for one character, and stays on one line
    body = [
        f"{name} = {json.dumps(value, ensure_ascii=False)}".replace("\x7f", "\\u007f") for name, value in kept.items()
    ]
    whole = columns[0].num_rows - max((column.num_missing for column in columns if column.name in targets), default=0)
    numbers = any(column.kind == "number" for column in columns if column.name in targets)
    body += [CALIBRATION] if numbers and round(0.1 * round(0.9 * whole)) >= FEWEST_TO_CALIBRATE else []
    return "\n".join([*lines, "", RECIPE, "", "[dataset]", *body, ""])


def _plain(text: str) -> str:
    """A text without what would end a comment."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _inputs(columns: Sequence[ColumnSummary], targets: Sequence[str]) -> list[ColumnSummary]:
    """All that can be inputs: not texts that name each row nor columns of one value; row numbers only where alone."""
    useful = [c for c in columns if c.name not in targets and c.kind != "text" and c.num_distinct > 1]
    return [column for column in useful if not column.consecutive] or useful


def _advice(column: ColumnSummary, *, used: bool) -> str:
    """Advice on a column that is no target."""
    if column.stray:
        also = "take it off categorical" if used else "name it in inputs"
        cure = f"correct it, or list it in missing_values and {also}"
        return f"{'' if used else 'left out; '}{_plain(column.stray)}: {cure}"
    if column.consecutive:
        return "a row number?" if used else "left out: a row number? its whole numbers are consecutive"
    if column.all_different:
        return "an identifier? whole numbers, all different: if so, take it off inputs"
    return "" if used else "left out"

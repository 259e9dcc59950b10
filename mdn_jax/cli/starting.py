"""`mdn-jax new TABLE --targets A B`."""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from mdn_jax.cli.flags import parse_flags

__all__ = ["new"]


@dataclasses.dataclass(frozen=True)
class _New:
    table: Annotated[
        tyro.conf.Positional[Path], tyro.conf.arg(help="A .csv, .tsv, .txt (or .gz of these), .parquet or .npz file.")
    ]
    targets: Annotated[tuple[str, ...], tyro.conf.arg(help="Columns to predict from the others.")] = ()
    out: Annotated[Path | None, tyro.conf.arg(help="Config to write; TABLE's name with .toml where absent.")] = None


def new(arguments: list[str]) -> int:
    """TABLE     write a first config that predicts --targets A B from the table's other columns"""
    from mdn_jax.runs import new_config  # noqa: PLC0415

    flags = parse_flags(_New, arguments, "mdn-jax new")
    out = flags.out or Path(flags.table.name.removesuffix(".gz")).with_suffix(".toml")
    new_config(flags.table, flags.targets, out)
    print(out.read_text(encoding="utf-8"), end="")
    print(f"# written to {out}: look it over, then  mdn-jax run {out}")
    return 0

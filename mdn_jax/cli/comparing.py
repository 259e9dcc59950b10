"""`mdn-jax compare RUN RUN ...`."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import tyro

from mdn_jax.cli.flags import parse_flags
from mdn_jax.cli.running import SCORES

__all__ = ["compare"]


def compare(arguments: list[str]) -> int:
    """RUN RUN  finished runs, or sweeps' best ones, side by side on the same test rows"""
    from rich.console import Console  # noqa: PLC0415  (loaded where a command needs it)
    from rich.table import Table  # noqa: PLC0415

    from mdn_jax.runs import Comparison, compare_runs  # noqa: PLC0415

    @dataclasses.dataclass(frozen=True)
    class Compare:
        runs: Annotated[
            tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="RUN", help="Folders of runs or sweeps.")
        ]

    found: Comparison = compare_runs(parse_flags(Compare, arguments, "mdn-jax compare").runs)
    table = Table(show_header=True)
    for title in ("", *map(str, found.folders)):
        table.add_column(title, overflow="fold")
    for name, values in found.fields.items():
        table.add_row(name, *("–" if value is None else str(value) for value in values))
    table.add_section()
    table.add_row("status", *(metrics["status"] for metrics in found.metrics))
    scores = [(one["test_nll"], one["test_nll_standard_error"]) for one in found.metrics]
    table.add_row("test NLL", *(f"{nll:.4f} ± {error:.4f}" for nll, error in scores))
    pairs = list(zip(found.differences, found.errors, strict=True))[1:]
    table.add_row("minus the first, paired", "", *(f"{mean:+.4f} ± {error:.4f}" for mean, error in pairs))
    for name, title in SCORES.items():
        for target in dict.fromkeys(target for one in found.metrics for target in one.get(name, {})):
            table.add_row(f"{title}, {target}", *(_number(one.get(name, {}).get(target)) for one in found.metrics))
    table.add_row("parameters", *(f"{one['num_parameters']:,}" for one in found.metrics))
    table.add_row("seconds of training", *(_number(one["train_seconds"], 1) for one in found.metrics))
    Console().print(table)
    return 0


def _number(value: Any, digits: int = 4) -> str:
    return "–" if value is None else f"{value:.{digits}f}"

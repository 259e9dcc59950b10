"""`mdn-jax sample RUN`."""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from mdn_jax._checks import require
from mdn_jax.cli.flags import parse_flags

__all__ = ["sample"]


def sample(arguments: list[str]) -> int:
    """RUN     what a model of pen strokes draws: a sheet, a moving pen, or arrays"""
    from mdn_jax.runs import Sampling, sample_run  # noqa: PLC0415  (loaded where a command needs it)

    @dataclasses.dataclass(frozen=True)
    class Sample:
        run: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN", help="Folder of a run of pen strokes.")]
        asked: Annotated[Sampling, tyro.conf.arg(name="")]
        out: Annotated[
            Path | None,
            tyro.conf.arg(
                help="A sheet (.png), one drawing with its density (.gif) or arrays (.npz); RUN/samples.png."
            ),
        ] = None
        overwrite: Annotated[bool, tyro.conf.arg(help="Replace a file that is there.")] = False

    options = parse_flags(Sample, arguments, "mdn-jax sample")
    asked = options.asked
    require(asked.num >= 1, f"--num takes a number of drawings, 1 or more; got {asked.num}")
    require(asked.points >= 1, f"--points takes a number of points, 1 or more; got {asked.points}")
    require(0 <= asked.seed < 2**32, f"--seed takes a whole number from 0 to 4294967295; got {asked.seed}")
    both = "--bias and --temperature say one thing: give one of them"
    require(not asked.bias or asked.temperature == 1, both)
    print(sample_run(options.run, asked, options.out, overwrite=options.overwrite))
    return 0

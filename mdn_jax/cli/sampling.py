"""`mdn-jax sample RUN`."""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from mdn_jax._checks import require
from mdn_jax.cli.flags import parse_flags

__all__ = ["sample"]


@dataclasses.dataclass(frozen=True)
class _Sample:
    run: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN", help="Folder of a run of pen strokes.")]
    out: Annotated[
        Path | None,
        tyro.conf.arg(help="A sheet (.png), one drawing with its density (.gif), arrays (.npz); RUN/samples.png."),
    ] = None
    overwrite: Annotated[bool, tyro.conf.arg(help="Replace a file that is there.")] = False
    num: Annotated[int, tyro.conf.arg(help="Drawings, for each bias.")] = 64
    bias: Annotated[
        tuple[float, ...], tyro.conf.arg(help="Graves's bias, higher is neater; several make a sheet in blocks.")
    ] = ()
    temperature: Annotated[float, tyro.conf.arg(help="Instead of a bias: lower is neater.")] = 1.0
    prime: Annotated[
        str | None,
        tyro.conf.arg(
            metavar="FILE:INDEX", help="Go on from a drawing of an NPZ file's test part, or by INDEX alone the run's."
        ),
    ] = None
    num_primed: Annotated[int | None, tyro.conf.arg(help="Points of its beginning; half where absent.")] = None
    points: Annotated[int, tyro.conf.arg(help="Points at which a drawing stops.")] = 250
    seed: Annotated[int, tyro.conf.arg(help="Seed of the drawings.")] = 0


def sample(arguments: list[str]) -> int:
    """RUN     what a model of pen strokes draws: a sheet, a moving pen, or arrays"""
    from mdn_jax.runs import Sampling, sample_run  # noqa: PLC0415  (loaded where a command needs it)

    asked = parse_flags(_Sample, arguments, "mdn-jax sample")
    require(asked.num >= 1, f"--num takes a number of drawings, 1 or more; got {asked.num}")
    require(asked.points >= 1, f"--points takes a number of points, 1 or more; got {asked.points}")
    require(0 <= asked.seed < 2**32, f"--seed takes a whole number from 0 to 4294967295; got {asked.seed}")
    require(not asked.bias or asked.temperature == 1, "--bias and --temperature say one thing: give one of them")
    sampling = Sampling(
        asked.num, asked.bias, asked.temperature, asked.prime, asked.num_primed, asked.points, asked.seed
    )
    print(sample_run(asked.run, sampling, asked.out, overwrite=asked.overwrite))
    return 0

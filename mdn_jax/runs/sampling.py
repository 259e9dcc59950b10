"""Drawings by the model of a run of pen strokes: a sheet, one drawing with the pen moving, or arrays."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import jax
import numpy as np

from mdn_jax._checks import require
from mdn_jax._typing import Float
from mdn_jax.data import load as load_dataset
from mdn_jax.data.strokes import FINISHED, drawings_of, read_drawings
from mdn_jax.models import Model
from mdn_jax.prediction import draw_strokes, paper_densities
from mdn_jax.runs.configs import CONFIG, read_config
from mdn_jax.runs.folder import METRICS, SAMPLES
from mdn_jax.runs.loading import load_run
from mdn_jax.storage import check_place, pack_arrays, write_file

__all__ = ["Sampling", "sample_run"]

BLOCK_COLUMNS = 16  # of a sheet of several biases
CELLS, MARGIN = 120, 0.1  # of the heat map along the longer side of the paper; share of it around the drawing

Drawing = Float[np.ndarray, "n 3"]


@dataclass(frozen=True)
class Sampling:
    """The drawings asked of a run; each field is a flag of the command."""

    num: int = 64
    """Drawings, for each bias."""
    bias: tuple[float, ...] = ()
    """Graves's bias, higher is neater; several make a sheet in blocks."""
    temperature: float = 1.0
    """Instead of a bias: lower is neater."""
    prime: str | None = None
    """FILE:INDEX, a drawing of an NPZ file's test part, or INDEX, one of the run's own: all drawings go on from it."""
    num_primed: int | None = None
    """Points of its beginning; half of them where absent."""
    points: int = 250
    """Points at which a drawing stops."""
    seed: int = 0
    """Seed of the drawings."""


def sample_run(folder: Path, asked: Sampling, out: Path | None = None, *, overwrite: bool = False) -> str:
    """Draw, and write it whole or not at all.

    Args:
        folder: of a finished run of pen strokes.
        asked: what to draw.
        out: .png for a sheet; .gif for the first drawing, the pen moving over the density of its next point; .npz for
            arrays in the data's own units, as files of pen strokes hold them (`sample_dxy`, `sample_pen`,
            `sample_off`). samples.png in the run's folder where absent.
        overwrite: replace a file that is there.

    Returns:
        A line about what was written.

    Raises:
        InputError: for another run, a prime that is not there, or a place that cannot be written.
    """
    out = folder / f"{SAMPLES}.png" if out is None else out
    normaliser = _normaliser(folder)
    check_place(out, _WRITERS, overwrite=overwrite)
    write = _WRITERS[out.suffix.lower()]
    require(write is not _Drawn.moving_pen or len(asked.bias) < 2, f"{out}: a GIF shows one drawing: give one bias")
    asked = replace(asked, num=1) if write is _Drawn.moving_pen else asked
    model, prime = load_run(folder), _prime(folder, asked, normaliser)
    key, drawings = jax.random.key(asked.seed), []
    for bias in asked.bias or (None,):
        options = {"temperature": asked.temperature, "bias": bias, "prime": prime, "max_points": asked.points}
        drawings += map(_until_finished, np.asarray(draw_strokes(key, model, asked.num, **options), np.float64))
    num_primed = 0 if prime is None else len(prime)
    drawn = _Drawn(drawings, model, asked, num_primed, normaliser)
    write_file(out, lambda path: write(drawn, path), suffix=out.suffix)
    ended = sum(bool(drawing[-1, 2] == FINISHED) for drawing in drawings)
    return f"{out}: {ended:,} of {len(drawings):,} drawings finished within {asked.points} points"


def _normaliser(folder: Path) -> float:
    """The number that the run's offsets were divided by."""
    unfinished = f"{folder}: no finished run there ({METRICS} is missing): train it with mdn-jax run"
    require((folder / METRICS).is_file(), unfinished)
    metrics = json.loads((folder / METRICS).read_text(encoding="utf-8"))
    stranger = f"{folder}: no run of pen strokes: train one, as mdn-jax run configs/strokes.toml does"
    require("normaliser" in metrics, stranger)
    return float(metrics["normaliser"])


def _prime(folder: Path, asked: Sampling, normaliser: float) -> Drawing | None:
    """The beginning that all drawings share, in the model's units."""
    if asked.prime is None:
        require(asked.num_primed is None, "--num-primed counts points of a drawing: name one with --prime FILE:INDEX")
        return None
    name, _, number = asked.prime.rpartition(":")
    require(number.isdecimal(), f"--prime takes FILE:INDEX, the index from 0; got {asked.prime!r}")
    if name:
        drawings, divisor = read_drawings(Path(name).expanduser()), normaliser
    else:
        drawings, divisor = drawings_of(load_dataset(read_config(folder / CONFIG)[0].dataset).test), 1.0
    last = len(drawings) - 1
    require(int(number) <= last, f"--prime {asked.prime}: the drawings are numbered 0 to {last}; choose one of them")
    whole = drawings[int(number)]
    count = len(whole) // 2 if asked.num_primed is None else asked.num_primed
    legal = f"--num-primed must be 1 to {len(whole) - 1}, of the {len(whole)} points of {asked.prime}; got {count}"
    require(len(whole) > 1, f"--prime {asked.prime}: a drawing of one point has no beginning; choose another")
    require(0 < count < len(whole), legal)
    require(count < asked.points, f"--points must be more than the {count} that are given; got {asked.points}")
    return whole[:count] / [divisor, divisor, 1.0]


def _until_finished(drawing: Drawing) -> Drawing:
    finished = np.flatnonzero(drawing[:, 2] == FINISHED)
    return drawing[: finished[0] + 1] if len(finished) else drawing


@dataclass(frozen=True)
class _Drawn:
    """Drawings in the model's units, the blocks of all biases one after the other, and how each suffix writes them."""

    drawings: Sequence[Drawing]
    model: Model
    asked: Sampling
    num_primed: int
    normaliser: float

    def sheet(self, path: Path) -> None:
        """All of them, in whole rows for each bias."""
        from mdn_jax.plotting import sheet  # noqa: PLC0415  (loads matplotlib)

        num, biases = self.asked.num, self.asked.bias
        if len(biases) < 2:
            sheet(self.drawings, primed=self.num_primed).savefig(path)
            return
        columns = min(num, BLOCK_COLUMNS)
        more, cells, titles = -num % columns, [], []
        for block, bias in enumerate(biases):
            cells += [*self.drawings[block * num : (block + 1) * num], *[np.zeros((0, 3))] * more]
            titles += [f"bias {bias:g}", *[""] * (num + more - 1)]
        sheet(cells, titles=titles, columns=columns, primed=self.num_primed).savefig(path)

    def moving_pen(self, path: Path) -> None:
        """The first of them over the density of its next point."""
        from mdn_jax.plotting import pen_animation  # noqa: PLC0415  (loads matplotlib)

        drawing = self.drawings[0]
        places = np.concatenate([np.zeros((1, 2)), np.cumsum(drawing[:, :2], axis=0)])
        margin = MARGIN * max(float(np.ptp(places, axis=0).max()), 1.0)
        low, high = places.min(axis=0) - margin, places.max(axis=0) + margin
        width = (high - low).max() / CELLS
        across, down = (np.arange(first + width / 2, last, width) for first, last in zip(low, high, strict=True))
        densities = np.asarray(paper_densities(self.model, drawing, (across, down)))
        (left, right), (least, greatest) = ((axis[0] - width / 2, axis[-1] + width / 2) for axis in (across, down))
        extent = (left, right, least, greatest)
        animation = pen_animation(drawing, densities, extent, num_primed=self.num_primed)
        animation.save(path, writer="pillow")

    def arrays(self, path: Path) -> None:
        """In the data's own units, as files of pen strokes hold them."""
        points = np.concatenate(self.drawings)
        arrays = {
            "sample_dxy": points[:, :2] * self.normaliser,
            "sample_pen": (points[:, 2] > 0).astype(np.uint8),
            "sample_off": np.cumsum([0, *map(len, self.drawings)]),
        }
        path.write_bytes(pack_arrays(arrays))


_WRITERS = {".png": _Drawn.sheet, ".gif": _Drawn.moving_pen, ".npz": _Drawn.arrays}

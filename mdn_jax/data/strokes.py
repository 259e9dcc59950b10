"""Pen strokes: drawings packed in rows of one length, in which each step's target is where the pen goes next.

A drawing is (n, 3): offsets dx and dy that lead to each point from the one before, and pen, 1 where it is lifted after
the point and 0 where it stays down. The pen begins on the paper, at (0, 0).

A row is T steps: several whole drawings, and padding of weight 0. Offsets are divided by one number, the standard
deviation of all of the training drawings' dx and dy together. Offsets that were rounded have no density of their own:
uniform noise as wide as their grain gives them one, fresh each time that training draws a row.

References:
    A. Graves, "Generating sequences with recurrent neural networks", 2013.
    D. Ha and D. Eck, "A neural representation of sketch drawings", 2018: the format, and scale augmentation.
    L. Theis, A. van den Oord and M. Bethge, "A note on the evaluation of generative models", 2016: dequantisation.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from mdn_jax._checks import InputError, require
from mdn_jax._typing import Float, Int, Key
from mdn_jax.data.dataset import Dataset, Part
from mdn_jax.data.letters import draw_letters
from mdn_jax.data.tables import read_arrays

__all__ = ["Scaling", "StrokeDataset", "drawings_of", "pack", "read_drawings", "stroke_dataset", "strokes"]

INPUTS, TARGETS = ("previous_dx", "previous_dy", "previous_pen", "start"), ("dx", "dy", "pen")
DOWN, LIFTED, FINISHED = 0, 1, 2  # codes of the pen
SHORTEST = 128  # steps of a row, at least
SPARSE = 0.15  # of the steps are padding at most, where rows a few times as long as the longest drawing allow it
MANY = 20  # rows that longer rows must leave, so that they are enough to train on
STRETCHES = (1.0, 1.25, 1.5, 2.0, 3.0, 4.0)
TEST_SHARE = 0.1  # of the drawings of a file without a test part

Drawing = Float[np.ndarray, "n 3"]


@dataclass(frozen=True, eq=False)
class StrokeDataset(Dataset):
    """Rows of drawings, as `stroke_dataset` makes them.

    Attributes:
        normaliser: what all offsets were divided by.
        grain: width of the noise that rounded offsets get, after the division; 0 for none.
        whole_test: the test rows without their noise; None where there is none.
    """

    kind: str = "strokes"
    normaliser: float = 1.0
    grain: float = 0.0
    whole_test: Part | None = None


@dataclass(frozen=True)
class Scaling:
    """Fresh dequantising noise and one scale factor for each row: an `augment` of rows of drawings.

    Attributes:
        grain: width of the uniform noise on each offset.
        stretch: the factor lies between 1 - stretch and 1 + stretch.
    """

    grain: float
    stretch: float

    def __call__(self, key: Key, row: Any) -> Any:
        """The row, its offsets moved where they are targets and where the next step sees them."""
        noise_key, scale_key = jax.random.split(key)
        offsets, dtype = row.y[:, :2], row.y.dtype
        noise = self.grain * (jax.random.uniform(noise_key, offsets.shape, dtype) - 0.5)
        factor = 1.0 + self.stretch * (2.0 * jax.random.uniform(scale_key, (), dtype) - 1.0)
        counts = (row.weight > 0)[:, None]
        offsets = jnp.where(counts, factor * (offsets + noise), offsets)
        follows = counts & (row.x[:, 3:] < 0.5)
        previous = jnp.where(follows, jnp.roll(offsets, 1, axis=0).astype(row.x.dtype), row.x[:, :2])
        return row._replace(x=row.x.at[:, :2].set(previous), y=row.y.at[:, :2].set(offsets))


def strokes(
    seed: int,
    path: str | None = None,
    *,
    num_drawings: int | None = None,
    num_test_drawings: int | None = None,
    length: int | None = None,
    ends: bool = False,
    stretch: float = 0.0,
    grain: float | None = None,
) -> StrokeDataset:
    """Drawings of an NPZ file, or letters drawn from formulas: what `[dataset] name = "strokes"` means.

    The validation part of a file is left out, since training keeps rows of its own for that. A file without a test
    part gives the last tenth of its drawings, after a shuffle.

    Args:
        seed: draws the letters, the shuffle, and the noise of the test.
        path: an NPZ file as `read_drawings` takes it.
        num_drawings: letters to train on, where there is no file; 3,000 where absent.
        num_test_drawings: letters to test on; 500 where absent.
        length: steps of a row; where absent as many as leave little padding.
        ends: whether the pen has a third code, of a drawing's last point.
        stretch: training scales each row by a factor between 1 - stretch and 1 + stretch.
        grain: of the offsets, in the file's own units; where absent 1 if all of them are whole numbers, 0 if not.

    Returns:
        The rows.

    Raises:
        InputError: as `read_drawings` and `stroke_dataset` say, and for numbers of drawings beside a path.
    """
    counts = {"num_drawings": num_drawings, "num_test_drawings": num_test_drawings}
    given = [name for name, count in counts.items() if count is not None]
    require(not (path and given), f"{' and '.join(given)} count letters drawn from formulas: drop it beside a path")
    if path is None:
        for name in given:
            require(cast("int", counts[name]) > 0, f"{name} must be 1 or more; got {counts[name]}")
        train, test = np.random.default_rng(seed).spawn(2)
        parts = draw_letters(train, num_drawings or 3_000)[0], draw_letters(test, num_test_drawings or 500)[0]
    else:
        parts = _parts_of(Path(path), seed, length)
    if grain is None:
        grain = float(all(np.all(drawing[:, :2] % 1 == 0) for part in parts for drawing in part))
    return stroke_dataset(*parts, length=length, ends=ends, stretch=stretch, grain=grain, seed=seed)


def _parts_of(path: Path, seed: int, length: int | None) -> tuple[list[Drawing], list[Drawing]]:
    """The drawings of a file to train and to test on."""
    parts = _read(path, "test")
    for name, part in parts.items():
        _check_lengths(part, length, f"{path}: {name}")
    train = parts["train"]
    if "test" in parts:
        return train, parts["test"]
    train = [train[place] for place in np.random.default_rng(seed).permutation(len(train))]
    kept = len(train) - max(round(TEST_SHARE * len(train)), 1)
    return train[:kept], train[kept:]


def stroke_dataset(
    train: Sequence[Drawing],
    test: Sequence[Drawing],
    *,
    length: int | None = None,
    ends: bool = False,
    stretch: float = 0.0,
    grain: float = 0.0,
    seed: int = 0,
) -> StrokeDataset:
    """Drawings as rows that a recurrent network is trained and tested on.

    Drawings without a point are left out: they have no likelihood. Inputs of a step are the previous dx, dy and pen,
    and 1 where a drawing starts, as whose previous point (0, 0, 0) stands; targets are dx, dy and the pen's code. Nats
    in the units of the drawings are those of a row's step plus 2 log(normaliser).

    Args:
        train: drawings (n, 3) to train on.
        test: drawings (n, 3) to test on.
        length: T, steps of a row; where absent as many as the longest drawing needs, and as leave little padding.
        ends: whether the pen has a third code, 2, of a drawing's last point: a model of it knows when to end.
        stretch: training scales each row by a factor between 1 - stretch and 1 + stretch.
        grain: to which offsets were rounded, in the drawings' units: the width of the uniform noise that training rows
            get whenever they are drawn, and test rows once; 0 for none.
        seed: draws the noise of the test rows.

    Returns:
        The dataset, of kind "strokes": x (N, T, 4), y (N, T, 3) and weight (N, T) of each part, its `normaliser`, its
        `grain` and the test rows without noise.

    Raises:
        InputError: for what is no drawing, a drawing longer than `length`, a part without a point, offsets that are
            all alike, or a setting out of its range.

    Example:
        >>> import numpy as np, mdn_jax as mdn
        >>> square = np.array([[1, 0, 0], [0, 1, 0], [-1, 0, 0], [0, -1, 1]])
        >>> data = mdn.stroke_dataset([square] * 100, [square], length=8)
        >>> data.train.x.shape, data.train.y.shape, float(data.train.weight.mean()), data.normaliser
        ((50, 8, 4), (50, 8, 3), 1.0, 0.7071067811865476)
    """
    parts = {name: _checked(name, given) for name, given in {"train": train, "test": test}.items()}
    for name, part in parts.items():
        _check_lengths(part, length, name)
        require(any(map(len, part)), f"the {name} part has no drawing with a point: give one")
    for name, value, most in (("stretch", stretch, 1.0), ("grain", grain, np.inf)):
        fits = isinstance(value, int | float) and 0 <= value < most
        require(fits, f"{name} must be 0 or more{' and less than 1' if most == 1 else ''}; got {value!r}")
    normaliser = float(np.concatenate(parts["train"])[:, :2].std())
    require(normaliser > 0, "all dx and dy of the train part are alike: there is nothing to predict")
    if length is None:
        length = _length_for(*([len(drawing) for drawing in part] for part in parts.values()))
    rng, units = np.random.default_rng(seed).spawn(3)[2], np.array([normaliser, normaliser, 1.0])
    drawn = [drawing + _noise(rng, grain, len(drawing)) for drawing in parts["test"]] if grain else parts["test"]
    rows, test_rows, whole = (
        pack([drawing / units for drawing in part], length, ends=ends)
        for part in (parts["train"], drawn, parts["test"])
    )
    scaling = Scaling(grain / normaliser, float(stretch)) if grain or stretch else None
    return StrokeDataset(
        rows, test_rows, INPUTS, TARGETS,
        augment=scaling, num_classes=(None, None, 3 if ends else 2), normaliser=normaliser,
        grain=grain / normaliser, whole_test=whole if grain else None,
    )  # fmt: skip


def _noise(rng: np.random.Generator, grain: float, count: int) -> Drawing:
    return np.column_stack([rng.uniform(-0.5 * grain, 0.5 * grain, (count, 2)), np.zeros(count)])


def _checked(name: str, given: Sequence[Drawing]) -> list[Drawing]:
    """Drawings as float64."""
    try:
        drawings = [np.asarray(drawing, np.float64) for drawing in given]
    except (TypeError, ValueError):
        raise InputError(f"{name} must hold drawings, arrays (n, 3) of dx, dy and pen") from None
    for place, drawing in enumerate(drawings):
        fits = drawing.ndim == 2 and drawing.shape[1] == 3
        require(fits, f"{name}: drawing {place} (from 0) has shape {drawing.shape}: give (n, 3), of dx, dy and pen")
    if drawings:
        _check_points(name, np.concatenate(drawings), np.cumsum([0, *map(len, drawings)]))
    return drawings


def _check_points(where: str, points: Drawing, bounds: Int[np.ndarray, " m"]) -> None:
    """Refuse offsets that are not finite, and pens that are neither 0 nor 1; drawings lie between the bounds."""
    wrong = ~np.isfinite(points)
    wrong[:, 2] = (points[:, 2] != DOWN) & (points[:, 2] != LIFTED)
    for point, column in np.argwhere(wrong)[:1]:
        drawing = int(np.searchsorted(bounds, point, side="right")) - 1
        place = f"drawing {drawing}, point {point - bounds[drawing]} (both from 0)"
        cure = "give finite numbers" if column < 2 else "give 1 where the pen is lifted after the point, else 0"
        raise InputError(f"{where}: {place}: {TARGETS[column]} is {points[point, column]:g}: {cure}")


def _check_lengths(drawings: Sequence[Drawing], length: int | None, where: str) -> None:
    """Refuse drawings longer than a row."""
    fits = length is None or (isinstance(length, int) and not isinstance(length, bool) and length > 0)
    require(fits, f"length must be a whole number, 1 or more; got {length!r}")
    counts = np.array([len(drawing) for drawing in drawings])
    for place in np.flatnonzero(counts > (length or np.inf))[:1]:
        cure = f"raise it to {counts.max()}, or leave it out"
        raise InputError(
            f"{where}: drawing {place} (from 0) has {counts[place]} points, and a row's length is {length}: {cure}"
        )


def _length_for(counts: Sequence[int], test_counts: Sequence[int]) -> int:
    """Steps of a row that hold the longest drawing and leave little padding: longer ones where there are many rows."""
    shortest = max(SHORTEST, *counts, *test_counts)
    lengths = [math.ceil(times * shortest) for times in STRETCHES]
    numbers = [len(_bounds(counts, length)) - 1 for length in lengths]
    shares = [1 - sum(counts) / (length * number) for length, number in zip(lengths, numbers, strict=True)]
    many = [place for place, number in enumerate(numbers) if number >= MANY] or [0]
    return lengths[next((place for place in many if shares[place] < SPARSE), min(many, key=shares.__getitem__))]


def _bounds(counts: Sequence[int], length: int) -> Int[np.ndarray, " R1"]:
    """The first drawing of each row, and the end: each row takes the next drawings while they fit."""
    ends, bounds = np.cumsum(counts), [0]
    while bounds[-1] < len(ends):
        taken = ends[bounds[-1] - 1] if bounds[-1] else 0
        bounds.append(int(np.searchsorted(ends, taken + length, side="right")))
    return np.array(bounds)


def pack(drawings: Sequence[Drawing], length: int, *, ends: bool = False) -> Part:
    """Whole drawings, in their order, in rows of `length` steps; those without a point are left out.

    Args:
        drawings: (n, 3), none longer than a row.
        length: T.
        ends: whether a drawing's last point has the code 2.

    Returns:
        x (N, T, 4), y (N, T, 3) and weight (N, T), 0 where a row is padding.

    Example:
        >>> import numpy as np
        >>> from mdn_jax.data import drawings_of, pack
        >>> drawings = [np.full((n, 3), 1.0) for n in (2, 3, 1, 4)]
        >>> part = pack(drawings, 5)
        >>> part.weight.sum(axis=1), part.x[0, :, 3], len(drawings_of(part))
        (array([5., 5.]), array([1., 0., 1., 0., 0.]), 4)
    """
    drawings = [drawing for drawing in drawings if len(drawing)]
    counts = np.array([len(drawing) for drawing in drawings])
    points, starts, bounds = np.concatenate(drawings), np.cumsum(counts) - counts, _bounds(counts.tolist(), length)
    before = np.concatenate([np.zeros((1, 3)), points[:-1]])
    before[starts] = 0.0
    flags = np.zeros((len(points), 1))
    flags[starts] = 1.0
    if ends:
        points[starts + counts - 1, 2] = FINISHED
    # what a row's drawings are moved by, so that the first one stands at the row's beginning
    moved = np.arange(len(bounds) - 1) * length - starts[bounds[:-1]]
    places = np.arange(len(points)) + np.repeat(np.repeat(moved, np.diff(bounds)), counts)

    def rows(values: np.ndarray) -> np.ndarray:
        steps = np.zeros(((len(bounds) - 1) * length, values.shape[1]))
        steps[places] = values
        return steps.reshape(-1, length, values.shape[1])

    return Part(rows(np.hstack([before, flags])), rows(points), weight=rows(np.ones_like(flags))[..., 0])


def drawings_of(part: Part) -> list[Drawing]:
    """The drawings of packed rows, each (n, 3), in their order and units: what `pack` made rows of.

    Args:
        part: x (N, T, 4), y (N, T, 3) and weight (N, T).

    Returns:
        Offsets and the pen's code of each.
    """
    counts = cast("np.ndarray", part.weight) > 0
    return np.split(part.y[counts], np.flatnonzero(part.x[counts][:, 3])[1:])


def read_drawings(path: str | Path, part: str | None = None) -> list[Drawing]:
    """The drawings of one part of an NPZ file, in its own units; nothing in it is unpickled.

    A part has three arrays: `train_dxy` (P, 2), the offsets of all its points; `train_pen` (P,), 1 where the pen is
    lifted after the point, else 0; `train_off` (n + 1,), so that drawing i is the points from off[i] to off[i + 1].
    Where the first offset of every training drawing is (0, 0), the first points of all parts are left out: nothing is
    to be predicted there.

    Args:
        path: of the file.
        part: "train", "valid" or "test"; the test part where absent, or "train" where the file has none.

    Returns:
        (n, 3) float64 offsets and pen of each drawing; some may be empty.

    Raises:
        InputError: one line that names the file, the array or the part, the drawing and the point, counted from 0, and
            says what to do.

    Example:
        >>> import os, tempfile
        >>> import numpy as np
        >>> from mdn_jax.data import read_drawings
        >>> path = os.path.join(tempfile.mkdtemp(), "square.npz")
        >>> np.savez(path, train_dxy=[[1, 0], [0, 1], [2, 0]], train_pen=[0, 1, 1], train_off=[0, 2, 3])
        >>> [drawing.tolist() for drawing in read_drawings(path)]
        [[[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]], [[2.0, 0.0, 1.0]]]
    """
    parts = _read(Path(path), *([part] if part else ["test"]))
    require(part is None or part in parts, f"{path}: no part {part!r}: it has {', '.join(parts)}")
    return parts[part] if part else parts.get("test", parts["train"])


def _read(path: Path, *wanted: str) -> dict[str, list[Drawing]]:
    """The training drawings of a file, and those of other parts where it has them."""
    require(path.is_file(), f"{path}: no such file: give the path of an NPZ file of drawings")
    arrays = read_arrays(path)
    names = ["train", *(name for name in wanted if any(key.startswith(f"{name}_") for key in arrays))]
    parts = {name: _split(f"{path}: ", name, arrays) for name in names}
    given = [drawing for drawing in parts["train"] if len(drawing)]
    first = 1 if given and not any(drawing[0, :2].any() for drawing in given) else 0
    return {name: [drawing[first:] for drawing in part] for name, part in parts.items()}


def _split(where: str, part: str, arrays: dict[str, np.ndarray]) -> list[Drawing]:
    """The drawings of one part, checked."""
    for key, shape in {"dxy": "(P, 2)", "pen": "(P,)", "off": "(n + 1,)"}.items():
        name = f"{part}_{key}"
        require(name in arrays, f"{where}no array {name!r}: it needs {part}_dxy, {part}_pen and {part}_off")
        array = arrays[name]
        fits = array.ndim == (2 if key == "dxy" else 1) and array.shape[1:] in ((), (2,)) and array.dtype.kind in "biuf"
        require(fits, f"{where}{name} is {array.dtype} of shape {array.shape}: give numbers of shape {shape}")
    dxy, pen, bounds = (arrays[f"{part}_{key}"] for key in ("dxy", "pen", "off"))
    require(
        len(dxy) == len(pen),
        f"{where}{part}_dxy has {len(dxy)} points and {part}_pen {len(pen)}: give one pen for each",
    )
    bounds = bounds.astype(np.int64)
    ends = bounds[:1].tolist() + bounds[-1:].tolist()
    cure = f"begin with 0 and end with {len(dxy)}, the number of points"
    require(ends == [0, len(dxy)], f"{where}{part}_off begins and ends with {ends}: {cure}")
    for drawing in np.flatnonzero(np.diff(bounds) < 0)[:1]:
        found = f"{part}_off falls from {bounds[drawing]} to {bounds[drawing + 1]}"
        raise InputError(f"{where}{part}: drawing {drawing} (from 0): {found}: it must nowhere fall")
    points = np.column_stack([dxy, pen]).astype(np.float64)
    _check_points(f"{where}{part}", points, bounds)
    return [points[first:last] for first, last in pairwise(bounds)]

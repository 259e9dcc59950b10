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
from typing import Any

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
FINISHED = 2  # the pen's code at the last point of a drawing, where it has one
SHORTEST, STRETCHES = 128, (1.0, 1.25, 1.5, 2.0, 3.0, 4.0)  # steps of a row at least, and how many times as many
SPARSE, MANY = 0.15, 20  # a row is the shortest that leaves less padding than this share of it, and so many rows
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

    The validation part of a file is left out: training keeps rows of its own. A file without a test part gives the
    last tenth of its drawings, after a shuffle.

    Args:
        seed: draws the letters, the shuffle, and the noise of the test.
        path: an NPZ file as `read_drawings` takes it.
        num_drawings: letters to train on, without a path; 3,000 where absent.
        num_test_drawings: letters to test on, without a path; 500 where absent.
        length: of a row, as `stroke_dataset` takes it.
        ends: as `stroke_dataset` takes it.
        stretch: as `stroke_dataset` takes it.
        grain: of the offsets, in the file's own units; where absent 1 if all of them are whole numbers, 0 if not.
    """
    counts = {"num_drawings": num_drawings, "num_test_drawings": num_test_drawings}
    for name, count in counts.items():
        require(count is None or path is None, f"{name} counts letters drawn from formulas: drop it, or path")
        _check_count(name, count)
    if path is None:
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
        _check_lengths(f"{path}: {name}", part, length)
    train = parts["train"]
    if "test" in parts:
        return train, parts["test"]
    train = [train[place] for place in np.random.default_rng(seed).permutation(len(train))]
    kept = len(train) - math.ceil(TEST_SHARE * len(train))
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

    The inputs of a step are the previous dx, dy and pen, which are 0 where a drawing starts, and 1 there; its targets
    are dx, dy and the pen's code. Drawings without a point are left out: they have no likelihood. Nats in the units of
    the drawings are those of a row plus 2 log(normaliser) for each point.

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
        A dataset of kind "strokes": x (N, T, 4), y (N, T, 3) and weight (N, T) of each part, its `normaliser`, its
        `grain` and the test rows without noise, `whole_test`.

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
    for name, value, most in (("stretch", stretch, 1.0), ("grain", grain, np.inf)):
        fits = isinstance(value, int | float) and 0 <= value < most
        require(fits, f"{name} must be 0 or more{' and less than 1' if most == 1 else ''}; got {value!r}")
    parts = {name: _checked(name, given) for name, given in {"train": train, "test": test}.items()}
    for name, part in parts.items():
        _check_lengths(name, part, length)
        require(any(map(len, part)), f"the {name} part has no drawing with a point: give one")
    normaliser = float(np.concatenate(parts["train"])[:, :2].std())
    require(normaliser > 0, "all dx and dy of the train part are alike: there is nothing to predict")
    length, rng = length or _length_for(parts), np.random.default_rng(seed).spawn(3)[2]  # two draw letters
    units, width = [normaliser, normaliser, 1.0], 0.5 * grain * np.array([1.0, 1.0, 0.0])
    parts["whole"] = parts["test"]
    parts["test"] = [drawing + rng.uniform(-width, width, drawing.shape) for drawing in parts["test"]]
    rows = {name: pack([drawing / units for drawing in part], length, ends=ends) for name, part in parts.items()}
    scaling = Scaling(grain / normaliser, float(stretch))
    return StrokeDataset(
        rows["train"], rows["test"], INPUTS, TARGETS,
        augment=scaling if grain or stretch else None, num_classes=(None, None, 3 if ends else 2),
        normaliser=normaliser, grain=scaling.grain, whole_test=rows["whole"] if grain else None,
    )  # fmt: skip


def pack(drawings: Sequence[Drawing], length: int, *, ends: bool = False) -> Part:
    """Whole drawings, in their order, in rows of `length` steps; those without a point are left out.

    Args:
        drawings: (n, 3), none longer than a row.
        length: T.
        ends: whether a drawing's last point has the code 2.

    Returns:
        x (N, T, 4), y (N, T, 3) and weight (N, T), 0 where a row is padding.
    """
    counts = np.array([len(drawing) for drawing in drawings if len(drawing)])
    points, starts, bounds = np.concatenate(drawings), np.cumsum(counts) - counts, _bounds(counts, length)
    before = np.concatenate([np.zeros((1, 3)), points[:-1]])
    before[starts] = 0.0
    if ends:
        points[starts + counts - 1, 2] = FINISHED
    # a row's drawings move together, so that the first of them stands at the row's start
    moved = np.arange(len(bounds) - 1) * length - starts[bounds[:-1]]
    steps = np.zeros(((len(bounds) - 1) * length, 8))
    places = np.arange(len(points)) + np.repeat(np.repeat(moved, np.diff(bounds)), counts)
    steps[places] = np.column_stack([before, np.isin(np.arange(len(points)), starts), points, np.ones(len(points))])
    x, y, weight = np.split(steps.reshape(-1, length, 8), [4, 7], axis=-1)
    return Part(x, y, weight[..., 0])


def _bounds(counts: Int[np.ndarray, " n"], length: int) -> Int[np.ndarray, " N1"]:
    """The first drawing of each row, and the end: each row takes the next drawings while they fit."""
    ends, bounds = np.append(np.cumsum(counts), 0), [0]
    while bounds[-1] < len(counts):
        bounds.append(int(np.searchsorted(ends[:-1], ends[bounds[-1] - 1] + length, side="right")))
    return np.array(bounds)


def _length_for(parts: dict[str, list[Drawing]]) -> int:
    """Steps of a row that hold the longest drawing and leave little padding."""
    longest = max(SHORTEST, *(len(drawing) for part in parts.values() for drawing in part))
    counts = np.array([len(drawing) for drawing in parts["train"]])
    padding: dict[int, float] = {}
    for length in (math.ceil(times * longest) for times in STRETCHES):
        number = len(_bounds(counts, length)) - 1
        if number < MANY and padding:
            break
        padding[length] = 1 - counts.sum() / (length * number)
    return next((length for length, share in padding.items() if share < SPARSE), min(padding, key=padding.__getitem__))


def drawings_of(part: Part) -> list[Drawing]:
    """The drawings that `pack` made rows of, in their order, in the units of the rows."""
    rows = np.concatenate([part.x, part.y], axis=-1)[np.asarray(part.weight) > 0]
    return np.split(rows[:, 4:], np.flatnonzero(rows[:, 3])[1:])


def read_drawings(path: str | Path, part: str | None = None) -> list[Drawing]:
    """The drawings of one part of an NPZ file, in its own units.

    A part has three arrays: `train_dxy` (P, 2), the offsets of all its points; `train_pen` (P,), 1 where the pen is
    lifted after the point, else 0; `train_off` (n + 1,): drawing i is the points from off[i] on, before off[i + 1].
    Where the first offset of every training drawing is (0, 0), the first points of all parts are left out: nothing is
    to be predicted there.

    Args:
        path: of the file.
        part: "train", "valid" or "test"; the test part where absent, or "train" where the file has none.

    Returns:
        (n, 3) float64 offsets and pen of each drawing; some may be empty.

    Raises:
        InputError: one line that names the file, the array or the part, the drawing and the point, and the cure.
    """
    parts = _read(Path(path), part or "test")
    require(part is None or part in parts, f"{path}: no part {part!r}: it has {', '.join(parts)}")
    return parts[part] if part else parts.get("test", parts["train"])


def _read(path: Path, wanted: str) -> dict[str, list[Drawing]]:
    """The training drawings of a file, and those of another part where it has that."""
    require(path.is_file(), f"{path}: no such file: give the path of an NPZ file of drawings")
    arrays = read_arrays(path)
    names = ["train"] + [wanted] * any(key.startswith(f"{wanted}_") for key in arrays)
    parts = {name: _split(f"{path}: ", name, _arrays_of(path, name, arrays)) for name in names}
    given = [drawing[0, :2] for drawing in parts["train"] if len(drawing)]
    first = int(not np.any(given))
    return {name: [drawing[first:] for drawing in part] for name, part in parts.items()}


def _arrays_of(path: Path, part: str, arrays: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Offsets, pens and bounds of one part, of the shapes that they must have."""
    found, shapes = [], {"dxy": "(P, 2)", "pen": "(P,)", "off": "(n + 1,)"}
    for name, shape in {f"{part}_{key}": shape for key, shape in shapes.items()}.items():
        require(name in arrays, f"{path}: no array {name!r}: give {part}_dxy, {part}_pen and {part}_off")
        array = arrays[name]
        fits = array.ndim > 0 and array.shape[1:] == ((2,) if shape == "(P, 2)" else ())
        fits = fits and array.dtype.kind in "biuf"
        require(fits, f"{path}: {name} is {array.dtype} of shape {array.shape}: give numbers of shape {shape}")
        found.append(array.astype(np.float64))
    return found


def _split(where: str, part: str, arrays: Sequence[np.ndarray]) -> list[Drawing]:
    """Points between bounds as drawings."""
    dxy, pen, bounds = arrays
    counts = f"{part}_dxy has {len(dxy)} points and {part}_pen has {len(pen)}"
    require(len(dxy) == len(pen), f"{where}{counts}: give one pen for each")
    cure = f"begin with 0, nowhere fall, and end with {len(dxy)}, the number of points"
    require(len(bounds) > 0, f"{where}{part}_off is empty: {cure}")
    fits = bounds[0] == 0 and bounds[-1] == len(dxy)
    require(fits, f"{where}{part}_off goes from {bounds[0]:g} to {bounds[-1]:g}: {cure}")
    for drawing in np.flatnonzero(~(np.diff(bounds) >= 0) | (bounds[1:] % 1 != 0))[:1]:
        found = f"{part}_off goes from {bounds[drawing]:g} to {bounds[drawing + 1]:g} at drawing {drawing} (from 0)"
        raise InputError(f"{where}{found}: {cure}")
    points = np.column_stack([dxy, pen])
    return _checked(f"{where}{part}", [points[first:last] for first, last in pairwise(bounds.astype(int))])


def _checked(where: str, given: Sequence[Drawing]) -> list[Drawing]:
    """Drawings as float64; refused where offsets are not finite, or pens neither 0 nor 1."""
    try:
        drawings = [np.asarray(drawing, np.float64) for drawing in given]
    except (TypeError, ValueError):
        raise InputError(f"{where} must hold drawings, arrays (n, 3) of dx, dy and pen") from None
    for place, drawing in enumerate(drawings):
        fits = drawing.ndim == 2 and drawing.shape[1] == 3
        require(fits, f"{where}: drawing {place} (from 0) has shape {drawing.shape}: give (n, 3), of dx, dy and pen")
    points = np.concatenate([np.zeros((0, 3)), *drawings])
    wrong = np.column_stack([~np.isfinite(points[:, :2]), ~np.isin(points[:, 2], (0, 1))])
    for point, column in np.argwhere(wrong)[:1]:
        ends = np.cumsum([len(drawing) for drawing in drawings])
        drawing = int(np.searchsorted(ends, point, side="right"))
        place = f"drawing {drawing}, point {point - ends[drawing] + len(drawings[drawing])} (both from 0)"
        cure = "give 1 where the pen is lifted after the point, else 0" if column == 2 else "give finite numbers"
        raise InputError(f"{where}: {place}: {TARGETS[column]} is {points[point, column]:g}: {cure}")
    return drawings


def _check_count(name: str, count: Any) -> None:
    fits = count is None or (isinstance(count, int) and not isinstance(count, bool) and count > 0)
    require(fits, f"{name} must be a whole number, 1 or more; got {count!r}")


def _check_lengths(where: str, drawings: Sequence[Drawing], length: int | None) -> None:
    """Refuse drawings longer than a row."""
    _check_count("length", length)
    counts = np.array([len(drawing) for drawing in drawings])
    for place in np.flatnonzero(counts > (length or np.inf))[:1]:
        found = f"drawing {place} (from 0) has {counts[place]} points, and a row's length is {length}"
        raise InputError(f"{where}: {found}: raise it to {counts.max()}, or leave it out")

"""`mdn.sweep`: a sweep from Python."""

import hashlib
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mdn_jax._checks import require
from mdn_jax._typing import ArrayLike
from mdn_jax.config import Config, DatasetConfig
from mdn_jax.data import Dataset, Part
from mdn_jax.data import load as load_dataset
from mdn_jax.data.splits import split_rows
from mdn_jax.recipe import complete
from mdn_jax.runs import absolute, fill_in, read_config
from mdn_jax.sweeps.driver import Progress, run_sweep
from mdn_jax.sweeps.results import SweepResult, result_of
from mdn_jax.sweeps.space import read_space, with_checksums
from mdn_jax.sweeps.training import Source

__all__ = ["sweep"]

GIVEN = "data given to mdn.sweep"  # in the place of a table's path


def sweep(
    config: Config | str | os.PathLike,
    axes: Mapping[str, Any] | None = None,
    *,
    out: str | os.PathLike | None = None,
    data: Dataset | tuple[ArrayLike, ArrayLike] | None = None,
    overwrite: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
) -> SweepResult:
    """Train every member of a sweep; members of one shape share one compiled program, spread over all devices.

    Args:
        config: what all members share: a `Config`, or the path of a TOML file.
        axes: the `[sweep]` table: dotted field -> list of values, `{"count": 8}` for seeds, or `{"low": 1e-4, "high":
            1e-2, "log": True}` with `"sampler": "random"` or `"tpe"` and `"num_members"`. The file's own where absent.
        out: the sweep's folder, as `mdn-jax sweep` writes it: the same call goes on after a kill. Nothing stays on disk
            where absent.
        data: rows to use instead of the config's dataset, or (x, y) to split as its `dataset` fields say. `out` keeps
            their checksum, not the rows: give the same again to go on.
        overwrite: replace another sweep in that folder.
        on_progress: called after every chunk.

    Returns:
        A `SweepResult`: `.table`, `.groups`, `.model(i)`, `.best`.

    Raises:
        InputError: for an unknown axis, a value its field refuses, or a folder that holds something else: a sweep
            of other data, say.

    Example:
        >>> import mdn_jax as mdn
        >>> config = mdn.Config(
        ...     dataset=mdn.DatasetConfig(name="sinusoid", num_points=64, num_test_points=64),
        ...     model=mdn.ModelConfig(hidden_sizes=(4,)),
        ...     training=mdn.TrainingConfig(num_steps=4, evaluate_every=2),
        ... )
        >>> result = mdn.sweep(config, {"model.num_components": [1, 2], "seed": {"count": 2}})
        >>> result.table.height, len(result.groups), result.model(result.best)([0.5]).num_components in (1, 2)
        (4, 2, True)
    """
    source, folder, table = "sweep", Path(), {}
    if not isinstance(config, Config):
        path = Path(config)
        config, table = read_config(path)
        source, folder = str(path), path.parent
    config = absolute(folder, config)
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(out) if out is not None else Path(temporary) / "sweep"
        if data is None:
            config, _ = fill_in(config)
        else:
            data = data if isinstance(data, Dataset) else _split(config.dataset, *data)
            config = complete(_of_data(config, data, place), len(data.train), len(data.input_names))
        space = read_space(config, axes if axes is not None else table, source, folder)
        moved = [axis.name for axis in space.axes if axis.name.startswith("dataset.")]
        require(data is None or not moved, f"sweep was given data, so no axis can change them: drop {', '.join(moved)}")
        space = with_checksums(space)
        rows = run_sweep(
            space,
            place,
            overwrite=overwrite,
            on_progress=on_progress or (lambda progress: None),
            source=Source(load_dataset if data is None else lambda _: data),
            results=out is not None,
        )
        return result_of(space, place, rows)


def _split(config: DatasetConfig, x: ArrayLike, y: ArrayLike) -> Dataset:
    """Rows split as a table's are."""
    require(
        config.split != "group", 'sweep has no column to split (x, y) by: set dataset.split = "random" or "ordered"'
    )
    rows, config = Part(np.asarray(x), np.asarray(y)), config.model_copy(update={"test_path": None})
    parts = {name: rows.take(own) for name, own in split_rows(config, len(rows), None, "data").items()}
    return Dataset(parts["train"], parts["test"], calibration=parts.get("calibration"))


def _of_data(config: Config, data: Dataset, place: Path) -> Config:
    """The config of data that were given: no table is there, but its columns and its checksum tell data apart."""
    digest = hashlib.sha256(repr(data.num_classes).encode())
    for part in filter(None, (data.train, data.test, data.calibration)):
        for name, array in vars(part).items():
            digest.update(f"{name} {None if array is None else array.shape}".encode())
            digest.update(b"" if array is None else np.ascontiguousarray(array).tobytes())
    dataset = DatasetConfig(
        path=str((place / GIVEN).resolve()),
        inputs=data.input_names,
        targets=data.target_names,
        table_checksum=digest.hexdigest()[:16],
        seed=config.dataset.seed,
    )
    return config.model_copy(update={"dataset": dataset})

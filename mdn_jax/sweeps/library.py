"""`mdn.sweep`: a sweep from Python."""

import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mdn_jax._checks import require
from mdn_jax.config import Config
from mdn_jax.data import Dataset
from mdn_jax.data import load as load_dataset
from mdn_jax.recipe import complete
from mdn_jax.runs import absolute, fill_in, read_config
from mdn_jax.sweeps.driver import Progress, run_sweep
from mdn_jax.sweeps.results import SweepResult, result_of
from mdn_jax.sweeps.space import read_space, with_checksums
from mdn_jax.sweeps.training import Source

__all__ = ["sweep"]


def sweep(
    config: Config | str | os.PathLike,
    axes: Mapping[str, Any] | None = None,
    *,
    out: str | os.PathLike | None = None,
    data: Dataset | None = None,
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
        data: rows to use instead of the config's dataset; not together with `out`, which must tell where data are from.
        overwrite: replace another sweep in that folder.
        on_progress: called after every chunk.

    Returns:
        A `SweepResult`: `.table`, `.groups`, `.model(i)`, `.best`.

    Raises:
        InputError: for an unknown axis, a value its field refuses, or a folder that holds something else.

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
    require(data is None or out is None, "sweep takes out only for data that the config names: save them as a table")
    source, folder, table = "sweep", Path(), {}
    if not isinstance(config, Config):
        path = Path(config)
        config, table = read_config(path)
        source, folder = str(path), path.parent
    config = absolute(folder, config)
    if data is None:
        config, _ = fill_in(config)
    else:
        config = complete(config, len(data.train), len(data.input_names))
    space = read_space(config, axes if axes is not None else table, source, folder)
    space = with_checksums(space) if data is None else space
    moved = [axis.name for axis in space.axes if axis.name.startswith("dataset.")]
    require(data is None or not moved, f"sweep was given data, so no axis can change them: drop {', '.join(moved)}")
    rows_from = Source(load_dataset if data is None else lambda _: data)
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(out) if out is not None else Path(temporary) / "sweep"
        rows = run_sweep(
            space,
            place,
            overwrite=overwrite,
            on_progress=on_progress or (lambda progress: None),
            source=rows_from,
            results=out is not None,
        )
        return result_of(space, place, rows)

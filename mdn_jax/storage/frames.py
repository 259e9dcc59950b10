"""Tables that are written whole or not at all: CSV or Parquet, by the suffix."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mdn_jax._checks import InputError
from mdn_jax.storage.files import check_place

__all__ = ["check_table_path", "write_frames"]

_WRITERS = {
    ".csv": lambda frame, path: frame.write_csv(path),
    ".parquet": lambda frame, path: frame.write_parquet(path),
}


def check_table_path(path: Path, *, overwrite: bool = False) -> None:
    """Refuse a path that no table could be written to, as `check_place` does."""
    check_place(path, _WRITERS, overwrite=overwrite)


def write_frames(frames: Mapping[Path, Any]) -> None:
    """Write polars frames beside their places, then rename them: all of them, or none where one cannot be written.

    Raises:
        InputError: where the disk refuses.
    """
    beside = {path: path.with_name(f".{path.stem}.{os.getpid()}.new{path.suffix}") for path in frames}
    try:
        for path, frame in frames.items():
            _WRITERS[path.suffix.lower()](frame, beside[path])
        for path, written in beside.items():
            written.replace(path)
    except OSError as error:
        raise InputError(f"cannot write {' and '.join(map(str, frames))}: {error.strerror or error}") from None
    finally:
        for written in beside.values():
            written.unlink(missing_ok=True)

"""Models, training states and the record of a sweep: files that are whole or absent, checksummed, never pickled.

`files` writes and reads trees of arrays, `structure` describes models, `record` keeps the members of a sweep, `frames`
writes tables, `models` saves and loads.
"""

from mdn_jax.storage.files import (
    check_place,
    pack_arrays,
    read_tree,
    versions,
    write_file,
    write_folder,
    write_text,
    write_tree,
)
from mdn_jax.storage.frames import check_table_path, write_frames
from mdn_jax.storage.models import load, load_state, save, save_state
from mdn_jax.storage.record import BATCHES, Batch, Trained, drop_rows, read_member, read_rows, read_trained, write_batch

__all__ = [
    "BATCHES",
    "Batch",
    "Trained",
    "check_place",
    "check_table_path",
    "drop_rows",
    "load",
    "load_state",
    "pack_arrays",
    "read_member",
    "read_rows",
    "read_trained",
    "read_tree",
    "save",
    "save_state",
    "versions",
    "write_batch",
    "write_file",
    "write_folder",
    "write_frames",
    "write_text",
    "write_tree",
]

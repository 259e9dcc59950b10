"""A pytree of arrays and its description to a folder and back: atomically, checksummed, and never by pickle.

A folder holds `model.toml` (a description) and `arrays.npz` (leaves named by their path in the tree). It is written
beside its place and renamed; what was there stays until then. A flipped bit is found: the arrays by the archive's own
CRC, the description by a checksum that the archive carries.
"""

import hashlib
import io
import os
import shutil
import sys
import tomllib
import zipfile
import zlib
from collections.abc import Callable, Collection, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tomli_w

from mdn_jax._checks import InputError, require
from mdn_jax._typing import PyTree
from mdn_jax._version import __version__

__all__ = [
    "DESCRIPTION",
    "FORMAT",
    "check_format",
    "check_place",
    "from_host",
    "named_leaves",
    "pack_arrays",
    "read_tree",
    "to_host",
    "unpack_arrays",
    "versions",
    "write_bytes",
    "write_file",
    "write_folder",
    "write_text",
    "write_tree",
]

FORMAT = 3  # 1 had other standard deviations for the same raw outputs, 2 the offset inside the network
DESCRIPTION, ARRAYS, CHECKSUM = "model.toml", "arrays.npz", "description_sha256"


def check_format(path: Path, number: object) -> None:
    """That what was written in format `number` can be read, or an `InputError`."""
    older = number in range(1, FORMAT)
    require(
        number == FORMAT,
        f"{path}: written in format {number}, which this version does not read (only {FORMAT}): "
        + ("train again, or install the older mdn_jax that wrote it" if older else "upgrade mdn_jax"),
    )


def check_place(path: Path, suffixes: Collection[str], *, overwrite: bool = False) -> None:
    """Refuse a path that no file could be written to, before any work is done.

    Args:
        path: where a file shall be.
        suffixes: that its name may have.
        overwrite: whether one that is there may be replaced.

    Raises:
        InputError: for another suffix, a folder that does not exist or cannot be written, a file that is there.
    """
    legal = " or ".join(suffixes)
    require(path.suffix.lower() in suffixes, f"{path}: cannot write {path.suffix!r} files: end its name in {legal}")
    require(path.parent.is_dir(), f"{path}: there is no folder {path.parent}: make it, or choose another place")
    require(os.access(path.parent, os.W_OK | os.X_OK), f"{path}: the folder {path.parent} cannot be written")
    require(not path.is_dir(), f"{path} is a folder: give the path of a file")
    require(overwrite or not path.exists(), f"{path} is there already: choose another, or replace it with --overwrite")


def write_tree(folder: Path, description: dict[str, Any], tree: PyTree) -> None:
    """Write a pytree of arrays and its description to `folder`, with format and versions, whole or not at all."""
    if folder.exists() and (not folder.is_dir() or {path.name for path in folder.iterdir()} - {DESCRIPTION, ARRAYS}):
        raise InputError(f"{folder} holds something else than a saved model: choose another path")
    text = tomli_w.dumps({"format": FORMAT, "versions": versions()} | description).encode()
    arrays = {name: to_host(leaf) for name, leaf in named_leaves(tree).items()}
    arrays[CHECKSUM] = np.frombuffer(hashlib.sha256(text).digest(), np.uint8)

    def fill(beside: Path) -> None:
        (beside / DESCRIPTION).write_bytes(text)
        (beside / ARRAYS).write_bytes(pack_arrays(arrays))

    write_folder(folder, fill)


def read_tree(
    folder: Path, template: Callable[[dict[str, Any]], PyTree], *, state: bool = False
) -> tuple[dict[str, Any], PyTree]:
    """The description in `folder`, and its arrays in the structure that `template(description)` gives.

    The state of a training goes on in the precision it began in, or is refused.
    """
    if not folder.exists():
        # a kill between the two renames of `write_folder` leaves the old one under its other name
        for old in sorted(folder.parent.glob(f".{folder.name}.*.old")):
            old.rename(folder)
            break
    require((folder / DESCRIPTION).is_file(), f"{folder}: no saved model there ({DESCRIPTION} is missing)")
    text = (folder / DESCRIPTION).read_bytes()
    try:
        # opened here: of a damaged archive NumPy leaves its own file open
        with (folder / ARRAYS).open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise InputError(f"{folder}: {ARRAYS} is missing") from None
    except (OSError, ValueError, EOFError, KeyError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:  # pyright: ignore
        raise InputError(f"{folder}: {ARRAYS} is damaged ({error}); restore it from a copy") from None
    checksum = arrays.pop(CHECKSUM, np.zeros(0, np.uint8)).tobytes()
    require(
        checksum == hashlib.sha256(text).digest(),
        f"{folder}: {DESCRIPTION} was changed or damaged since it was written; restore it from a copy",
    )
    description = tomllib.loads(text.decode())
    check_format(folder, description.get("format"))
    tree = template(description)
    expected = named_leaves(tree)
    require(
        arrays.keys() == expected.keys()
        and all(arrays[name].shape == _to_host_shape(leaf) for name, leaf in expected.items()),
        f"{folder}: the arrays are not those of the structure asked for",
    )
    began, now = (any(leaf.dtype == np.float64 for leaf in tree.values()) for tree in (arrays, expected))
    how = "with" if began else "without"
    cure = "go on so, or start over (--overwrite)"
    require(not state or began == now, f"{folder}: training began {how} JAX_ENABLE_X64=1: {cure}")
    leaves = [from_host(arrays[name], leaf) for name, leaf in expected.items()]
    return description, jax.tree.unflatten(jax.tree.structure(tree), leaves)


def pack_arrays(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Named arrays as the bytes of an .npz archive."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def unpack_arrays(packed: bytes) -> dict[str, np.ndarray]:
    """The arrays of an .npz archive by name."""
    with np.load(io.BytesIO(packed), allow_pickle=False) as archive:
        return dict(archive)


def write_folder(folder: Path, fill: Callable[[Path], None]) -> None:
    """Make a folder by `fill(path)` beside its place, then rename it: a reader sees the old one or the new."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside, old = (folder.parent / f".{folder.name}.{os.getpid()}.{kind}" for kind in ("new", "old"))
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir()
    try:
        fill(beside)
        if folder.exists():
            folder.rename(old)
        beside.rename(folder)
    finally:
        if old.exists() and not folder.exists():
            old.rename(folder)
        shutil.rmtree(beside, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file beside its place, then rename it."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file beside its place, then rename it."""
    write_file(path, lambda beside: beside.write_bytes(content))


def write_file(path: Path, fill: Callable[[Path], object], *, suffix: str = "") -> None:
    """Make a file by `fill(path)` beside its place, under a name that ends in `suffix`, then rename it."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.new{suffix}")
    try:
        fill(beside)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def versions() -> dict[str, str]:
    """Versions of what computes the numbers."""
    libraries = {name: version(name) for name in ("jax", "flax", "optax", "numpy")}
    return {"mdn_jax": __version__, **libraries, "python": sys.version.split()[0]}


def named_leaves(tree: PyTree) -> dict[str, Any]:
    """Leaves by their path: "network/mlp/kernel/value"."""
    paths = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in paths}


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def to_host(leaf: Any) -> np.ndarray:
    """A leaf as a host array; of a key its data."""
    return np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf)


def _to_host_shape(leaf: Any) -> tuple[int, ...]:
    return jax.random.key_data(leaf).shape if _is_key(leaf) else tuple(leaf.shape)


def from_host(array: np.ndarray, leaf: Any) -> Any:
    """The saved array as the kind that `leaf` is: a key, a host array or a device array."""
    if _is_key(leaf):
        return jax.random.wrap_key_data(jnp.asarray(array), impl=jax.random.key_impl(leaf))
    return array if isinstance(leaf, np.ndarray) else jnp.asarray(array)

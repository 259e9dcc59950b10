"""A pytree and its description to a folder and back: atomically, checksummed, and never by pickle.

A folder holds `model.toml` (format version, structure, column names, library versions) and `arrays.npz` (leaves named
by their path in the tree). It is written beside its place and renamed; what was there stays until then. A flipped bit
is found: the arrays by the archive's own CRC, the description by a checksum that the archive carries.
"""

import hashlib
import os
import shutil
import sys
import tomllib
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tomli_w

from mdn_jax._checks import InputError, require
from mdn_jax._typing import PyTree
from mdn_jax.head import MixtureSpec
from mdn_jax.model import ConstantStd, Ensemble, Functional, Model, Standardizer
from mdn_jax.networks import MDN

__all__ = ["load", "read_tree", "save", "versions", "write_folder", "write_text", "write_tree"]

FORMAT = 1
DESCRIPTION, ARRAYS, CHECKSUM = "model.toml", "arrays.npz", "description_sha256"


def save(path: str | os.PathLike, model: Model | Ensemble) -> None:
    """Write a model to a folder, replacing a model that was there.

    Args:
        path: the folder.
        model: from `fit`, `ensemble` or `load`. Around a network of your own (`Functional`) only its parameters are
            kept: `load` needs `like`.

    Raises:
        InputError: where `path` holds something that is not a saved model.

    Example:
        >>> import jax, numpy as np, tempfile, mdn_jax as mdn
        >>> x = np.linspace(-1, 1, 64)[:, None]
        >>> fit = mdn.fit(jax.random.key(0), x, x**2, training=mdn.TrainingConfig(num_steps=2, evaluate_every=1))
        >>> folder = tempfile.mkdtemp() + "/model"
        >>> mdn.save(folder, fit.model)
        >>> bool((mdn.load(folder)(x[0]).locs == fit.model(x[0]).locs).all())
        True
    """
    write_tree(Path(path), {"format": FORMAT, "versions": versions(), "model": _describe(model)}, model)


def load(path: str | os.PathLike, *, like: Model | Ensemble | None = None) -> Model | Ensemble:
    """Read a model that `save` wrote. Loading never executes code from the folder.

    Args:
        path: the folder, or a run's folder that holds it as `model/`.
        like: a model of the same structure, for a network of your own; its arrays are replaced.

    Returns:
        The model.

    Raises:
        InputError: for a missing, damaged or newer folder, or a structure that differs from `like`.

    Example:
        >>> import mdn_jax as mdn
        >>> mdn.load("no/such/folder")
        Traceback (most recent call last):
        mdn_jax._checks.InputError: no/such/folder: no saved model there (model.toml is missing)
    """
    folder = Path(path)
    if not (folder / DESCRIPTION).exists() and (folder / "model" / DESCRIPTION).exists():
        folder = folder / "model"

    def template(description: dict[str, Any]) -> Model | Ensemble:
        if like is not None:
            return like
        try:
            return _build(description["model"])
        except InputError:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{folder}: {DESCRIPTION} does not describe a model ({error})") from None

    return read_tree(folder, template)[1]


def write_tree(folder: Path, description: dict[str, Any], tree: PyTree) -> None:
    """Write a pytree of arrays and its description to `folder`, whole or not at all."""
    if folder.exists() and (not folder.is_dir() or {path.name for path in folder.iterdir()} - {DESCRIPTION, ARRAYS}):
        raise InputError(f"{folder} holds something else than a saved model: choose another path")
    text = tomli_w.dumps(description).encode()
    arrays = {name: _to_host(leaf) for name, leaf in _named_leaves(tree).items()}
    arrays[CHECKSUM] = np.frombuffer(hashlib.sha256(text).digest(), np.uint8)

    def fill(beside: Path) -> None:
        (beside / DESCRIPTION).write_bytes(text)
        with (beside / ARRAYS).open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)

    write_folder(folder, fill)


def read_tree(folder: Path, template: Callable[[dict[str, Any]], PyTree]) -> tuple[dict[str, Any], PyTree]:
    """The description in `folder`, and its arrays in the structure that `template(description)` gives."""
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
    except (
        OSError,
        ValueError,
        EOFError,
        KeyError,
        NotImplementedError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:  # pyright: ignore
        raise InputError(f"{folder}: {ARRAYS} is damaged ({error}); restore it from a copy") from None
    checksum = arrays.pop(CHECKSUM, np.zeros(0, np.uint8)).tobytes()
    require(
        checksum == hashlib.sha256(text).digest(),
        f"{folder}: {DESCRIPTION} was changed or damaged since it was written; restore it from a copy",
    )
    description = tomllib.loads(text.decode())
    require(
        description.get("format") in range(1, FORMAT + 1),
        f"{folder}: written in format {description.get('format')}, which this version does not read "
        f"(up to {FORMAT}): upgrade mdn_jax",
    )
    tree = template(description)
    expected = _named_leaves(tree)
    require(
        arrays.keys() == expected.keys()
        and all(arrays[name].shape == _to_host_shape(leaf) for name, leaf in expected.items()),
        f"{folder}: the arrays are not those of the structure asked for",
    )
    leaves = [_from_host(arrays[name], leaf) for name, leaf in expected.items()]
    return description, jax.tree.unflatten(jax.tree.structure(tree), leaves)


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
    beside = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def versions() -> dict[str, str]:
    """Versions of what computes the numbers."""
    from mdn_jax import __version__  # noqa: PLC0415  (the front door imports this module)

    libraries = {name: version(name) for name in ("jax", "flax", "optax", "numpy")}
    return {"mdn_jax": __version__, **libraries, "python": sys.version.split()[0]}


def _named_leaves(tree: PyTree) -> dict[str, Any]:
    """Leaves by their path: "network/mlp/kernel/value"."""
    paths = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in paths}


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _to_host(leaf: Any) -> np.ndarray:
    return np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf)


def _to_host_shape(leaf: Any) -> tuple[int, ...]:
    return jax.random.key_data(leaf).shape if _is_key(leaf) else tuple(leaf.shape)


def _from_host(array: np.ndarray, leaf: Any) -> Any:
    """The saved array as the kind that `leaf` is: a key, a host array (float64) or a device array."""
    if _is_key(leaf):
        return jax.random.wrap_key_data(jnp.asarray(array), impl=jax.random.key_impl(leaf))
    return array if array.dtype == np.float64 else jnp.asarray(array)


def _describe(value: Any) -> dict[str, Any]:
    """The structure of a model or network as plain values."""
    if isinstance(value, Ensemble):
        return _columns(value) | {"kind": "ensemble", "members": [_describe(model) for model in value.models]}
    if isinstance(value, Model):
        return _columns(value) | {"kind": "model", "network": _describe(value.network)}
    if isinstance(value, ConstantStd):
        return {"kind": "constant_std", "network": _describe(value.network)}
    if isinstance(value, Functional):
        return {"kind": "functional", "spec": asdict(value.spec)}
    if isinstance(value, MDN):
        return {
            "kind": "mdn",
            "input_dim": value.input_dim,
            "hidden_sizes": list(value.hidden_sizes),
            "activation": value.mlp.activation,
            "spec": asdict(value.spec),
        }
    raise InputError(f"cannot save a network of type {type(value).__name__}: wrap it as mdn.Functional")


def _columns(model: Model | Ensemble) -> dict[str, Any]:
    return {
        "input_dim": -1 if model.inputs is None else len(model.inputs.shift),
        "target_dim": len(model.targets.shift),
        "input_names": list(model.input_names),
        "target_names": list(model.target_names),
    }


def _build(description: dict[str, Any]) -> Any:
    """A structure whose arrays are shapes only, to be filled from the archive."""
    kind = description["kind"]
    if kind == "mdn":
        spec = MixtureSpec(**description["spec"])
        sizes = tuple(description["hidden_sizes"])
        return jax.eval_shape(
            lambda key: MDN(description["input_dim"], sizes, spec, description["activation"], key=key),
            jax.random.key(0),
        )
    if kind == "constant_std":
        network = _build(description["network"])
        return ConstantStd(network, jax.ShapeDtypeStruct((network.spec.target_dim,), jnp.float32))  # pyright: ignore
    require(
        kind != "functional",
        "this model holds a network of your own: give load(path, like=a_model_of_the_same_structure)",
    )
    require(kind in ("model", "ensemble"), f"unknown kind of model {kind!r}")
    columns = {
        "inputs": None if description["input_dim"] < 0 else _units(description["input_dim"]),
        "targets": _units(description["target_dim"]),
        "input_names": tuple(description["input_names"]),
        "target_names": tuple(description["target_names"]),
    }
    if kind == "model":
        return Model(_build(description["network"]), **columns)
    return Ensemble(tuple(_build(member) for member in description["members"]), **columns)


def _units(size: int) -> Standardizer:
    shape = jax.ShapeDtypeStruct((size,), np.float64)
    return replace(Standardizer.identity(0), shift=shape, scale=shape)

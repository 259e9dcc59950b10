"""The record of a sweep: for each finished batch of members one file of rows and one of parameters.

The parameters are written first and the rows last, each beside its place and then renamed; the rows carry a checksum
of both. A pair that a kill or a bad disk left incomplete counts as not there, and its members train again.
"""

import hashlib
import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from mdn_jax._checks import InputError, require
from mdn_jax.models import Model
from mdn_jax.storage.files import (
    FORMAT,
    check_format,
    from_host,
    named_leaves,
    pack_arrays,
    unpack_arrays,
    versions,
    write_bytes,
)
from mdn_jax.storage.structure import build, describe

__all__ = ["BATCHES", "Batch", "Trained", "drop_rows", "read_member", "read_rows", "read_trained", "write_batch"]

BATCHES = "batches"  # the folder of the record, inside a sweep's
Row = dict[str, Any]
CodeOf = Callable[[Row], Mapping[str, Any]]


@dataclass(frozen=True, eq=False)
class Trained:
    """The result of training one member.

    Attributes:
        row: plain values, `member` (its number) among them.
        model: its parameters.
        history: `Fit.history`.
    """

    row: Row
    model: Model
    history: dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Batch:
    """Finished members as they travel between processes and go to disk: plain values and host arrays.

    Attributes:
        rows: one for each member.
        groups: for each structure of models the members' numbers and the description of one.
        arrays: by name, stacked along a group's members.
    """

    rows: list[Row]
    groups: list[dict[str, Any]]
    arrays: dict[str, np.ndarray]

    @classmethod
    def of(cls, members: Sequence[Trained]) -> "Batch":
        """Members of any structures as one batch."""
        groups: dict[str, list[Trained]] = {}
        for member in members:
            # members that ended early have a shorter history
            shapes = sorted((name, *column.shape) for name, column in member.history.items())
            key = json.dumps([describe(member.model), shapes])
            groups.setdefault(key, []).append(member)
        arrays, described = {}, []
        for number, group in enumerate(groups.values()):
            described.append({"members": [one.row["member"] for one in group], "model": describe(group[0].model)})
            leaves = [_leaves(one) for one in group]
            arrays |= {f"{number}/{name}": np.stack([leaf[name] for leaf in leaves]) for name in leaves[0]}
        return cls([one.row for one in members], described, arrays)


def write_batch(folder: Path, batch: Batch) -> None:
    """Add a batch to the record in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers = [row["member"] for row in batch.rows]
    name = f"{min(numbers):06d}-{zlib.crc32(json.dumps(sorted(numbers)).encode()):08x}"
    arrays = pack_arrays(batch.arrays)
    content = {
        "format": FORMAT,
        "versions": versions(),
        "arrays_sha256": hashlib.sha256(arrays).hexdigest(),
        "groups": batch.groups,
        "rows": batch.rows,
    }
    write_bytes(folder / f"{name}.npz", arrays)
    write_bytes(folder / f"{name}.json", json.dumps(content | {"sha256": _digest(content)}, indent=1).encode())


def read_rows(folder: Path, *, thorough: bool = False) -> tuple[dict[int, Row], list[Path]]:
    """The rows of all finished members by number, and the files that are damaged.

    Args:
        folder: of the record; an absent one holds nothing.
        thorough: check the parameters too, not the rows alone.
    """
    rows, damaged = {}, []
    for path in sorted(folder.glob("[!.]*.json")):
        content = _read(path)
        whole = content is not None and path.with_suffix(".npz").is_file()
        if content and whole and thorough:
            whole = hashlib.sha256(path.with_suffix(".npz").read_bytes()).hexdigest() == content["arrays_sha256"]
        if content and whole:
            rows |= {row["member"]: row for row in content["rows"]}
        else:
            damaged.append(path)
    return rows, damaged


def read_member(folder: Path, member: int, code_of: CodeOf = lambda row: {}) -> Trained:
    """One member from the record in `folder`; `code_of(row)` is the code of its own that `load` would be given.

    Raises:
        InputError: for a member that is not there, or whose parameters are damaged.
    """
    known = []
    for path, content in _contents(folder):
        numbers = [row["member"] for row in content["rows"]]
        if member in numbers:
            return next(one for one in _unpack(path, content, code_of) if one.row["member"] == member)
        known += numbers
    extent = f"finished members are {min(known)} to {max(known)}" if known else "no member is finished"
    raise InputError(f"{folder.parent}: no finished member {member}: {extent}")


def read_trained(folder: Path, code_of: CodeOf = lambda row: {}) -> dict[int, Trained]:
    """All members of the record in `folder` by number."""
    trained = (one for path, content in _contents(folder) for one in _unpack(path, content, code_of))
    return {one.row["member"]: one for one in trained}


def drop_rows(folder: Path, unwanted: Callable[[Row], bool], code_of: CodeOf = lambda row: {}) -> int:
    """Take members out of the record, so that they train again; returns how many."""
    dropped = 0
    for path, content in list(_contents(folder)):
        members = list(_unpack(path, content, code_of))
        kept = [one for one in members if not unwanted(one.row)]
        if len(kept) < len(members):
            dropped += len(members) - len(kept)
            if kept:
                write_batch(folder, Batch.of(kept))
            path.unlink()
            path.with_suffix(".npz").unlink()
    return dropped


def _contents(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in sorted(folder.glob("[!.]*.json")):
        content = _read(path)
        if content is not None:
            yield path, content


def _unpack(path: Path, content: dict[str, Any], code_of: CodeOf) -> Iterator[Trained]:
    """The members of one batch."""
    data = path.with_suffix(".npz")
    require(data.is_file(), f"{data} is missing: run the sweep again to train its members anew")
    packed = data.read_bytes()
    whole = hashlib.sha256(packed).hexdigest() == content["arrays_sha256"]
    require(whole, f"{data} is damaged: run the sweep again to train its members anew")
    arrays, rows = unpack_arrays(packed), {row["member"]: row for row in content["rows"]}
    for number, group in enumerate(content["groups"]):
        template = build(group["model"], **code_of(rows[group["members"][0]]))
        names, structure = named_leaves(template), jax.tree.structure(template)
        start = f"{number}/history/"
        histories = {name.removeprefix(start): array for name, array in arrays.items() if name.startswith(start)}
        for place, member in enumerate(group["members"]):
            leaves = [from_host(arrays[f"{number}/model/{name}"][place], leaf) for name, leaf in names.items()]
            history = {name: array[place] for name, array in histories.items()}
            yield Trained(rows[member], jax.tree.unflatten(structure, leaves), history)


def _leaves(member: Trained) -> dict[str, np.ndarray]:
    model = {f"model/{name}": np.asarray(leaf) for name, leaf in named_leaves(member.model).items()}
    return model | {f"history/{name}": column for name, column in member.history.items()}


def _read(path: Path) -> dict[str, Any] | None:
    """A file of rows, or None where it is not whole."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        digest = content.pop("sha256")
        number = content["format"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    if digest != _digest(content):
        return None
    check_format(path, number)
    return content


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

"""A batch that is still training, to disk and back: what a kill loses is what was trained since."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mdn_jax.storage import read_tree, write_tree
from mdn_jax.sweeps.space import Space, member_config
from mdn_jax.sweeps.training import Slice, Source, Work, build

__all__ = ["load_checkpoint", "save_checkpoint"]

KEPT = ("halved", "seconds", "compile_seconds")  # of a slice, beside its members and their state


def save_checkpoint(folder: Path, work: Work, stage: int, slices: list[Slice]) -> None:
    """Write a batch as it stands between two chunks."""
    description: dict[str, Any] = {
        "stage": stage,
        "members": list(work.members),
        "settings": [json.dumps(settings) for settings in work.settings],
        "slots": work.slots,
        "halving": work.halving,
        "slices": [
            {"members": part.members.tolist()} | {name: getattr(part, name) for name in KEPT} for part in slices
        ],
    }
    write_tree(folder, description, [part.state.lanes for part in slices])


def load_checkpoint(folder: Path, space: Space, source: Source) -> tuple[Work, int, list[Slice]] | None:
    """The batch of the last whole checkpoint; None where there is none."""
    if not folder.exists() and not any(folder.parent.glob(f".{folder.name}.*.old")):
        return None
    works: list[Work] = []
    blank: list[Slice] = []

    def template(description: dict[str, Any]) -> list:
        work = _work_of(description, space)
        works.append(work)
        configs = dict(zip(work.members, work.configs, strict=True))
        blank.extend(build(configs, np.array(part["members"]), source) for part in description["slices"])
        return [part.state.lanes for part in blank]

    description, trees = read_tree(folder, template, state=True)
    slices = [
        replace(part, state=replace(part.state, lanes=members), **{name: told[name] for name in KEPT})
        for part, members, told in zip(blank, trees, description["slices"], strict=True)
    ]
    return works[0], description["stage"], slices


def _work_of(description: dict[str, Any], space: Space) -> Work:
    settings = tuple(json.loads(text) for text in description["settings"])
    configs = tuple(member_config(space, one) for one in settings)
    return Work(tuple(description["members"]), settings, configs, description["slots"], description["halving"])

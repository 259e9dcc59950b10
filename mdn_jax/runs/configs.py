"""Config files, and what they need before they can run."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli_w

from mdn_jax import _seams as seams
from mdn_jax._checks import InputError, require
from mdn_jax.config import SOURCES, TABLES, Config, parse, source_of, value_of
from mdn_jax.data import Dataset, table_checksum
from mdn_jax.data import load as load_dataset
from mdn_jax.recipe import complete, is_complete

__all__ = [
    "absolute", "changed_by_hand", "changed_sources", "config_text", "fill_in", "read_config", "resolve",
    "warn_of_changed_sources", "with_checksums", "with_given_checksums", "with_source_checksums",
    "with_table_checksum",
]  # fmt: skip

CONFIG = "config.toml"  # of a run's folder
Axes = Mapping[str, Sequence[Any]]  # values of a sweep's axes, by field


def read_config(path: Path) -> tuple[Config, dict[str, Any]]:
    """The config and sweep table of a TOML file; paths in it become absolute, from the file's own folder.

    Raises:
        InputError: for a file that is missing or not a valid config.
    """
    require(path.exists(), f"{path}: no such config file")
    require(path.is_file(), f"{path} is a folder: give a config file (.toml)")
    try:
        config, sweep = parse(path.read_text(encoding="utf-8"), str(path))
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a text file in UTF-8") from None
    return absolute(path.parent, config), sweep


def config_text(config: Config) -> str:
    """The fields of a config that were given, as TOML."""
    return tomli_w.dumps(config.model_dump(exclude_none=True, exclude_unset=True))


def absolute(base: Path, config: Config) -> Config:
    """The config with paths of tables and of import paths' files made absolute, from `base` where they are relative."""
    whole: dict[str, Any] = {}
    for name in TABLES:
        path = value_of(config, name)
        whole[name] = path if path is None else str((base / Path(path).expanduser()).resolve())
    whole |= {name: seams.absolute(value_of(config, name), base) for name in SOURCES}
    return _with(config, {name: value for name, value in whole.items() if value != value_of(config, name)})


def _with(config: Config, fields: Mapping[str, Any]) -> Config:
    """The config with some fields of its tables, by dotted name, which are valid already."""
    for name, value in fields.items():
        section, _, field = name.rpartition(".")
        value = getattr(config, section).model_copy(update={field: value}) if section else value
        config = config.model_copy(update={section or field: value})
    return config


def resolve(config: Config) -> tuple[Config, Dataset | None]:
    """The config with its checksums and its recipe's numbers, and the data where they had to be read."""
    return fill_in(with_checksums(absolute(Path(), config)))


def fill_in(config: Config) -> tuple[Config, Dataset | None]:
    """The config with its recipe's numbers, and the data where they had to be read for them."""
    if is_complete(config):
        return config, None
    dataset = load_dataset(config.dataset)
    return complete(config, len(dataset.train), len(dataset.input_names)), dataset


def with_checksums(config: Config) -> Config:
    """The config with checksums of its table and sources: the same command on what has changed is told from this one.

    One that is gone is not noticed here: what is finished needs it no more, and all else reads it.

    Raises:
        InputError: for a source that has changed since the config noted its checksum.
    """
    config = with_source_checksums(config)
    known = config.dataset.table_checksum
    return config if known is not None else with_table_checksum(config, table_checksum(config.dataset))


def with_table_checksum(config: Config, checksum: str | None) -> Config:
    """The config with a table's checksum."""
    return _with(config, {"dataset.table_checksum": checksum})


def with_source_checksums(config: Config, axes: Axes | None = None) -> Config:
    """The config with a checksum for each field that import paths stand in, an axis of a sweep with all of its own."""
    changed = changed_sources(config, axes)
    require(not changed, f"{'; '.join(changed)}: restore it, or drop [checksums] from the config to use what is there")
    return with_given_checksums(config, {**(config.checksums or {}), **_checksums(config, axes)})


def with_given_checksums(config: Config, checksums: Mapping[str, str]) -> Config:
    """The config with checksums of its sources, by field."""
    return _with(config, {"checksums": seams.Options(checksums) if checksums else None})


def changed_sources(config: Config, axes: Axes | None = None) -> list[str]:
    """A clause for each source that has changed since the config noted its checksum."""
    now, of_one_run = _checksums(config, axes), _checksums(config)
    return [
        f"{source_of(value_of(config, name), in_axis=name in (axes or {}))} has changed since this config noted its "
        f"checksum ({name})"
        for name, known in (config.checksums or {}).items()
        if name in now and known not in (now[name], of_one_run.get(name))
    ]


def _checksums(config: Config, axes: Axes | None = None) -> dict[str, str]:
    axes = axes or {}
    found = {name: [seams.checksum(v) for v in axes.get(name, (value_of(config, name),))] for name in SOURCES}
    return {name: "-".join(filter(None, own)) for name, own in found.items() if any(own)}


def warn_of_changed_sources(config: Config, folder: Path) -> None:
    """One warning for each source that has changed since the run in `folder`, of this config, was trained."""
    for clause in changed_sources(config):
        warnings.warn(f"{clause}: {folder} may be of other code than it was trained with", stacklevel=2)


def changed_by_hand(before: Config, after: Config) -> Config:
    """`after`, which came of `before` by the command line's changes: another table or source has another checksum."""
    known = after.checksums or {}
    kept = {name: known[name] for name in known if value_of(before, name) == value_of(after, name)}
    after = after if kept == known else with_given_checksums(after, kept)
    old, new = before.dataset, after.dataset
    same = (old.path, old.test_path) == (new.path, new.test_path) or old.table_checksum != new.table_checksum
    return after if same else with_table_checksum(after, None)

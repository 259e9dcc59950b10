"""Config files, and what they need before they can run."""

from pathlib import Path
from typing import Any

from mdn_jax._checks import InputError, require
from mdn_jax.config import Config, parse
from mdn_jax.data import Dataset, table_checksum
from mdn_jax.data import load as load_dataset
from mdn_jax.recipe import complete, is_complete

__all__ = ["absolute", "changed_by_hand", "fill_in", "note", "read_config", "resolve", "seal"]


def read_config(path: Path) -> tuple[Config, dict[str, Any]]:
    """The config and sweep table of a TOML file; a table's path becomes absolute, from the file's own folder.

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


def absolute(base: Path, config: Config) -> Config:
    """The config with its table's path made absolute, from `base` where it is relative."""
    paths = {name: getattr(config.dataset, name) for name in ("path", "test_path")}
    whole = {name: str((base / Path(path).expanduser()).resolve()) for name, path in paths.items() if path is not None}
    return config.model_copy(update={"dataset": config.dataset.model_copy(update=whole)}) if whole else config


def resolve(config: Config) -> tuple[Config, Dataset | None]:
    """The config with its table's checksum and its recipe's numbers, and the data where they had to be read."""
    return fill_in(seal(absolute(Path(), config)))


def fill_in(config: Config) -> tuple[Config, Dataset | None]:
    """The config with its recipe's numbers, and the data where they had to be read for them."""
    if is_complete(config):
        return config, None
    dataset = load_dataset(config.dataset)
    return complete(config, len(dataset.train), len(dataset.input_names)), dataset


def seal(config: Config) -> Config:
    """The config with its table's checksum: the same command on a table that has changed is told from this one.

    One that is gone is not noticed here: what is finished needs it no more, and all else reads it.
    """
    return config if config.dataset.table_checksum is not None else note(config, table_checksum(config.dataset))


def note(config: Config, checksum: str | None) -> Config:
    """The config with a checksum."""
    return config.model_copy(update={"dataset": config.dataset.model_copy(update={"table_checksum": checksum})})


def changed_by_hand(before: Config, after: Config) -> Config:
    """`after`, which came of `before` by the command line's changes: another table has another checksum."""
    old, new = before.dataset, after.dataset
    same = (old.path, old.test_path) == (new.path, new.test_path) or old.table_checksum != new.table_checksum
    return after if same else note(after, None)

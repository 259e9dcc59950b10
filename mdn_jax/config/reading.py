"""A TOML text to one validated `Config`, and what two of them differ in.

Unknown keys, wrong types and values out of bounds are refused with one line that names the field and the cure.
"""

import tomllib
from collections.abc import Mapping
from typing import Any, Protocol

from pydantic import BaseModel, ValidationError

from mdn_jax._checks import InputError, nearest, require
from mdn_jax._seams import Options, is_path
from mdn_jax.config.fields import TABLES, VARIES, Config, flattened

__all__ = ["differences", "parse", "source_of", "validate", "value_of", "varying_fields"]

CHECKSUM, CHECKSUMS = "dataset.table_checksum", "checksums."  # of tables, and of import paths' sources


def parse(text: str, source: str) -> tuple[Config, dict[str, Any]]:
    """A TOML text as a validated config and its `[sweep]` table (empty where absent).

    Args:
        text: the TOML text.
        source: where it came from, for messages.

    Returns:
        The config, and the sweep's axes as they stand.

    Raises:
        InputError: one line that names the source, the field, what was expected and the cure.

    Example:
        >>> from mdn_jax.config import parse
        >>> config, sweep = parse('dataset.name = "sinusoid"', "example.toml")
        >>> config.model.num_components
        10
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{source}: not valid TOML: {error}") from None
    sweep = table.pop("sweep", {})
    require(isinstance(sweep, dict), f"{source}: [sweep] must be a table")
    return validate(table, source), sweep


def validate(table: Mapping[str, Any], source: str) -> Config:
    """Nested plain values as a `Config`, or an `InputError` of one line."""
    try:
        return Config.model_validate(table)
    except ValidationError as error:
        raise InputError(f"{source}: {describe(error)}") from None


def describe(error: ValidationError) -> str:
    """The first mistake of a pydantic report in one line, and how many more there are."""
    mistakes = error.errors(include_url=False)
    first, path = mistakes[0], [str(part) for part in mistakes[0]["loc"]]
    # a union's branches are named after the field: they are no part of its path
    known = path if first["type"] == "extra_forbidden" else _field_path(path)
    name = ".".join(known) or "config"
    if first["type"] == "extra_forbidden":
        message = f"unknown key {name!r}: {nearest(path[-1], _fields(path[:-1]))}"
    elif first["type"] == "missing":
        message = f'missing [{name}]: say which data, for example name = "inverse_sinusoid"'
    else:
        same = [m for m in mistakes if m["loc"][: len(known)] == first["loc"][: len(known)]]
        wishes = [m["msg"].removeprefix("Value error, ") for m in same]
        wants = " or ".join(dict.fromkeys(wish[0].lower() + wish[1:] for wish in wishes))
        got = "" if isinstance(first["input"], dict | BaseModel) else f"; got {first['input']!r}"
        message = f"{name}: {wants}{got}"
        mistakes = [first, *(m for m in mistakes if m not in same)]
    more = len(mistakes) - 1
    return message + (f" (and {more} more)" if more else "")


class _Plain(Protocol):
    def to_dict(self) -> dict[str, Any]: ...


def differences(old: _Plain, new: _Plain) -> list[str]:
    """The fields in which two configs, or two sweeps, differ: `"model.num_components: 5 -> 10"`.

    A table's checksum, or that of a source, tells them apart where both have one, of the same table or source.
    """
    before, after = flattened(old.to_dict()), flattened(new.to_dict())
    names = [*before, *(name for name in after if name not in before)]
    changed = [name for name in names if before.get(name) != after.get(name)]
    told = [f"{name}: {before.get(name)} -> {after.get(name)}" for name in changed if not _is_checksum(name)]
    for name in filter(_is_checksum, changed):
        files = TABLES if name == CHECKSUM else (name.removeprefix(CHECKSUMS),)
        if name in before and name in after and not set(files) & set(changed):
            in_axis = f"sweep.{files[0]}" in after
            file = after[files[0]] if name == CHECKSUM else source_of(after[files[0]], in_axis=in_axis)
            told.append(f"{file} has changed since ({name}: {before[name]} -> {after[name]})")
    return told


def _is_checksum(name: str) -> bool:
    return name == CHECKSUM or name.startswith(CHECKSUMS)


def source_of(given: Any, *, in_axis: bool) -> str:
    """The file or module of an import path, for messages; of several in a sweep's axis none is named."""
    return "a source of this axis" if in_axis or not is_path(given) else given.rpartition(":")[0]


def value_of(config: BaseModel, name: str) -> Any:
    """A field, or an option, by its dotted name; None for an option that is not given."""
    value: Any = config
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Options) else getattr(value, part)
    return value


def varying_fields(config: type[BaseModel]) -> tuple[str, ...]:
    """Names of the fields that members of one compiled program may differ in."""
    return tuple(name for name, field in config.model_fields.items() if VARIES in field.metadata)


def _field_path(path: list[str]) -> list[str]:
    """The part of a pydantic location that names fields, and an index after them."""
    model: Any = Config
    for depth, part in enumerate(path):
        fields = getattr(model, "model_fields", {})
        if part not in fields:
            return path[: depth + 1] if part.isdigit() else path[:depth]
        model = fields[part].annotation
    return path


def _fields(path: list[str]) -> list[str]:
    """Legal keys of the table at `path`."""
    model: Any = Config
    for part in path:
        model = model.model_fields[part].annotation
    return list(model.model_fields)

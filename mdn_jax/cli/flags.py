"""Config fields as flags: tyro parses what the models declare, and what it refuses becomes one line."""

import contextlib
import dataclasses
import io
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_args

import tyro
from pydantic import BaseModel

from mdn_jax._checks import InputError, nearest, require
from mdn_jax._seams import Options
from mdn_jax.config import OPTIONS, value_of

__all__ = ["config_values", "parse_flags", "path_first", "said_by"]

CHECKSUMS = "checksums"  # a field that nobody sets


def path_first(arguments: list[str], usage: str) -> tuple[Path | None, list[str]]:
    """The path that a command takes first, and the other arguments; no path where these ask for help."""
    if arguments and not arguments[0].startswith("-"):
        return Path(arguments[0]), arguments[1:]
    require(not {"-h", "--help"}.isdisjoint(arguments), usage)
    return None, arguments


def config_values(
    config: BaseModel, extra: type, arguments: list[str], program: str, **sections: BaseModel
) -> dict[str, Any]:
    """Read the values of a config and of a command's own options off the command line, as a TOML file would say them.

    Args:
        config: fields of the command line with their values.
        extra: a dataclass of the command's own options.
        arguments: of the command line; an option of a function is `--dataset.options.NAME VALUE`.
        program: the command, for its help.
        sections: further models under a name of their own.
    """
    options, rest = _options_in(arguments)
    parsed = parse_flags(_flags_of(config, extra, **sections), rest, program)
    values = {field.name: _plain(getattr(parsed, field.name)) for field in dataclasses.fields(parsed)}
    for table in OPTIONS:
        section, _, field = table.partition(".")
        values[section][field] = {**value_of(config, table), **options.get(table, {})}
    return values | {CHECKSUMS: getattr(config, CHECKSUMS)}


def _options_in(arguments: list[str]) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Options of functions, by the table that holds them, and the arguments without them."""
    found: dict[str, dict[str, Any]] = {}
    rest, left = [], iter(arguments)
    for argument in left:
        flag, equals, text = argument.partition("=")
        table, _, name = flag.removeprefix("--").replace("-", "_").rpartition(".")
        if not argument.startswith("--") or table not in OPTIONS:
            rest.append(argument)
            continue
        text = text if equals else next(left, None)
        require(text is not None, f"{flag} takes a value, as TOML writes it: {flag} 0.5")
        found.setdefault(table, {})[name] = _value_in(str(text))
    return found, rest


def _value_in(text: str) -> Any:
    """A value as TOML writes it; what is none is a string without its quotes."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _flags_of(config: BaseModel, extra: type, **sections: BaseModel) -> type:
    """A dataclass of every config field with its value as default, for tyro: parsed here, validated by the models."""
    fields = [(f.name, f.type, dataclasses.field(default=f.default)) for f in dataclasses.fields(extra)]
    further = [_section(name, model, model.__doc__) for name, model in sections.items()]
    return dataclasses.make_dataclass("Flags", [*fields, *_mirror(config), *further], frozen=True)


def _mirror(model: BaseModel) -> list[tuple[str, Any, Any]]:
    fields = []
    for name, info in type(model).model_fields.items():
        value = getattr(model, name)
        if name == CHECKSUMS:
            continue
        if isinstance(value, BaseModel):
            fields.append(_section(name, value, info.description))
        else:
            kind = str if Callable[..., Any] in get_args(info.annotation) else info.annotation
            if isinstance(value, Options):  # no flag, but its entries are
                kind, value = tyro.conf.Fixed[str], str(value)
            kind = Annotated[kind, tyro.conf.arg(help=info.description)]  # pyright: ignore
            fields.append((name, kind, dataclasses.field(default=value)))
    return fields


def _section(name: str, model: BaseModel, about: str | None) -> tuple[str, Any, Any]:
    kind = dataclasses.make_dataclass(name, _mirror(model), frozen=True)
    kind.__doc__ = type(model).__doc__
    return name, Annotated[kind, tyro.conf.arg(help=about)], dataclasses.field(default=kind())


def said_by(values: dict[str, Any], config: BaseModel, arguments: list[str]) -> dict[str, Any]:
    """Of the parsed values those that the config file or the command line says: a recipe may fill the others."""
    options = [argument.lstrip("-").split("=")[0].replace("-", "_") for argument in arguments if argument[:2] == "--"]
    given = {".".join(option.split(".")[:2]) for option in options}  # an option says its table
    said: dict[str, Any] = {}
    for name, value in values.items():
        own = getattr(config, name)
        if isinstance(own, BaseModel):
            kept = own.model_fields_set | {field for field in value if f"{name}.{field}" in given}
            value = {field: plain for field, plain in value.items() if field in kept}
        said[name] = value
    return said


def _plain(value: Any) -> Any:
    """Parsed flags as what a TOML file would say: nothing where a field is None."""
    if dataclasses.is_dataclass(value):
        pairs = ((field.name, _plain(getattr(value, field.name))) for field in dataclasses.fields(value))
        return {name: plain for name, plain in pairs if plain is not None}
    return value


def parse_flags(flags: type, arguments: list[str], program: str) -> Any:
    """tyro's reading of the arguments; what it refuses becomes one line."""
    report = io.StringIO()
    try:
        with contextlib.redirect_stderr(report):
            parsed, unknown = tyro.cli(flags, args=arguments, prog=program, return_unknown_args=True)
    except SystemExit as exit_request:
        if exit_request.code == 0:
            raise
        raise InputError(_first_paragraph(report.getvalue())) from None
    if unknown:
        legal = _flag_names(flags)
        option = next((argument for argument in unknown if argument.startswith("-")), unknown[0]).split("=")[0]
        raise InputError(f"unknown option {option!r}: {nearest(option.replace('_', '-'), legal)}")
    return parsed


def _flag_names(flags: type, prefix: str = "--") -> list[str]:
    names = []
    for field in dataclasses.fields(flags):
        kind = getattr(field.type, "__origin__", field.type)
        name = prefix + field.name.replace("_", "-")
        names += _flag_names(kind, f"{name}.") if dataclasses.is_dataclass(kind) else [name]  # pyright: ignore
    return names


def _first_paragraph(box: str) -> str:
    """The message below the title of tyro's box, drawn in Unicode or in ASCII, on one line."""
    message = []
    for line in box.splitlines()[1:]:
        text = line.strip(" │╭╮╰╯")
        is_rule = set(text) <= {"─", "-"}
        if is_rule and message:
            break
        if not is_rule:
            message.append(text)
    return " ".join(message) or "the arguments could not be read: see --help"

"""The search space of a sweep: axes over config fields, the members they make, and those that share a program.

An axis is a list of values, `{ count = 8 }` of seeds, or `{ low = 1e-4, high = 1e-2, log = true }`. Grid and random
members follow from the config's seed and their own number alone, so any process can tell what member 1234 is.
"""

import functools
import itertools
import json
import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, ValidationError

from mdn_jax._checks import InputError, nearest, require
from mdn_jax._seams import Options
from mdn_jax._seams import absolute as absolute_source
from mdn_jax.config import OPTIONS, SOURCES, TABLES, Config, Strict, TrainingConfig, validate, value_of, varying_fields
from mdn_jax.data import table_checksum
from mdn_jax.runs.configs import with_given_checksums, with_source_checksums, with_table_checksum

__all__ = ["SEEDS", "Axis", "Search", "Settings", "Space", "by_program", "member_config", "program_of"]
__all__ += ["read_space", "settings_of", "with_checksums"]

SECTIONS = ("dataset", "model", "training")
SEEDS = ("seed", "dataset.seed")
Settings = dict[str, Any]


class Search(Strict):
    """The choice of a sweep's members: the fields of `[sweep]` that are no axes."""

    sampler: Literal["grid", "random", "tpe"] = "grid"
    """Every combination of the axes' values, draws from them, or Optuna's tree-structured Parzen estimator."""
    num_members: Annotated[int, Field(ge=1)] | None = None
    """Members of a random or tpe search."""
    ask_batch: Annotated[int, Field(ge=1)] = 32
    """Members asked for, or halved, together: a number of the search, whatever the devices."""
    halving: bool = False
    """Successive halving among `ask_batch` members: the worse half rests at 1/8, 1/4 and 1/2 of the steps."""


@dataclass(frozen=True)
class Axis:
    """One field and the values it takes: those of a list, or of a range from `low` to `high`, both included."""

    name: str  # of the field, dotted
    values: tuple[Any, ...] = ()  # a list's; empty for a range
    low: float = math.nan
    high: float = math.nan
    log: bool = False  # whether a range is even in the logarithm
    whole: bool = False  # whether a range holds whole numbers only
    table: Any = None  # as the TOML says it

    @property
    def is_range(self) -> bool:
        """True where values are drawn from an interval."""
        return not self.values

    def draw(self, rng: np.random.Generator) -> Any:
        """One value at random."""
        if not self.is_range:
            return self.values[rng.integers(len(self.values))]
        ends = (self.low, self.high + 1) if self.whole else (self.low, self.high)
        low, high = np.log(ends) if self.log else ends
        value = rng.uniform(low, high)
        value = float(np.exp(value)) if self.log else float(value)
        return min(max(int(value) if self.whole else value, self.low), self.high)


@dataclass(frozen=True)
class Space:
    """A whole sweep: what every member shares, how to search, and the axes."""

    base: Config
    search: Search
    axes: tuple[Axis, ...]  # in the order of the TOML
    source: str  # where they came from, for messages

    @property
    def num_members(self) -> int:
        """Members of the whole sweep."""
        if self.search.sampler == "grid":
            return math.prod(len(axis.values) for axis in self.axes)
        return self.search.num_members or 0

    def to_dict(self) -> dict[str, Any]:
        """Plain values for TOML: the resolved config and its `[sweep]`."""
        search = self.search.model_dump(exclude_none=True)
        return self.base.to_dict() | {"sweep": search | {axis.name: axis.table for axis in self.axes}}


def read_space(base: Config, table: Mapping[str, Any], source: str, folder: Path) -> Space:
    """A config and its `[sweep]` table as a checked space; tables' paths start from `folder`.

    Raises:
        InputError: for an unknown or empty axis, a value its field refuses, a range in a grid, or no axis at all.
    """
    flat = _flatten(table, source)
    names = [name for name in flat if name not in Search.model_fields]
    try:
        search = Search.model_validate({name: value for name, value in flat.items() if name not in names})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        wish = first["msg"][0].lower() + first["msg"][1:]
        raise InputError(f"{source}: sweep.{first['loc'][0]}: {wish}; got {first['input']!r}") from None
    fields = _field_names()
    for name in names:
        legal = [*fields, *Search.model_fields]
        option = name.rpartition(".")[0] in OPTIONS
        require(option or name in fields, f"{source}: [sweep] has no field {name!r} to vary: {nearest(name, legal)}")
    if isinstance(flat.get("dataset.path"), list):
        paths = flat["dataset.path"]
        flat["dataset.path"] = [str((folder / p).resolve()) if isinstance(p, str) else p for p in paths]
    for name in set(SOURCES) & set(flat):
        if isinstance(flat[name], list):
            flat[name] = [absolute_source(value, folder) for value in flat[name]]
    axes = tuple(_read_axis(base, name, flat[name], search, f"{source}: sweep axis {name!r}") for name in names)
    example = '"model.num_components" = [1, 2, 5, 10]'
    require(len(axes) > 0, f"{source}: [sweep] has no axis: add one, for example {example}")
    space = Space(base, search, axes, source)
    _check(space)
    return space


def with_checksums(space: Space) -> Space:
    """The space with the checksums of its table and sources, or of all of them where they are an axis.

    Raises:
        InputError: where one of several has changed since the checksum was noted.
    """
    space = replace(space, base=with_source_checksums(space.base, {axis.name: axis.values for axis in space.axes}))
    axes = [axis for axis in space.axes if axis.name in TABLES]
    if not axes:
        checksum = space.base.dataset.table_checksum or table_checksum(space.base.dataset)
        return replace(space, base=with_table_checksum(space.base, checksum))
    names = [axis.name for axis in axes]
    choices = itertools.product(*(axis.values for axis in axes))
    base, settings = space.base.dataset, [dict(zip(names, values, strict=True)) for values in choices]
    now = table_checksum(*(member_config(space, one).dataset for one in settings))
    fresh = base.table_checksum in (None, now, table_checksum(base))  # the last came with the config of one run
    require(
        fresh or now is None,
        f"{space.source}: one of the tables of {' and '.join(names)} has changed since this sweep noted its "
        "dataset.table_checksum: restore it, or choose another folder with --out",
    )
    return replace(space, base=with_table_checksum(space.base, now))


def settings_of(space: Space, member: int) -> Settings:
    """The axes' values of one member of a grid or random sweep."""
    if space.search.sampler == "grid":
        places = np.unravel_index(member, [len(axis.values) for axis in space.axes])  # the last axis moves fastest
        return {axis.name: axis.values[place] for axis, place in zip(space.axes, places, strict=True)}
    # a stream for each axis, so that another axis leaves the draws of this one as they are
    return {
        axis.name: axis.draw(np.random.default_rng([space.base.seed, member, zlib.crc32(axis.name.encode())]))
        for axis in space.axes
    }


def member_config(space: Space, settings: Settings) -> Config:
    """The config of one member: `mdn-jax run` of it gives the same numbers.

    Raises:
        InputError: where the values do not go together.
    """
    told = ", ".join(f"{name} = {value}" for name, value in settings.items())
    # where tables are an axis the base's checksum is of all of them
    base = with_table_checksum(space.base, None) if set(TABLES) & settings.keys() else space.base
    known = base.checksums or {}
    base = with_given_checksums(base, {name: known[name] for name in known if name not in settings})
    return _with(base, settings, f"{space.source}: member with {told}")


def program_of(config: Config) -> str:
    """The identity of a compiled program, as text: configs that agree here train together."""
    table = config.to_dict()
    del table["seed"]
    for name in varying_fields(TrainingConfig):
        del table["training"][name]
    switches = {name: getattr(config.training, name) for name in ("noisy", "decays", "clips", "averages")}
    return json.dumps(table | switches, sort_keys=True)


def by_program(configs: Mapping[int, Config]) -> list[list[int]]:
    """Members by the program that they share, in order of appearance."""
    groups: dict[str, list[int]] = {}
    for member, config in configs.items():
        groups.setdefault(program_of(config), []).append(member)
    return list(groups.values())


def _flatten(table: Mapping[str, Any], source: str, prefix: str = "") -> dict[str, Any]:
    """Quoted and plain dotted keys mean the same."""
    flat: dict[str, Any] = {}
    for name, value in table.items():
        nested = isinstance(value, Mapping) and prefix + name in (*SECTIONS, *OPTIONS)
        found = _flatten(value, source, f"{prefix}{name}.") if nested else {prefix + name: value}
        twice = next(iter(flat.keys() & found.keys()), None)
        require(twice is None, f"{source}: [sweep] names {twice!r} twice, quoted and plain: keep one")
        flat |= found
    return flat


def _field_names() -> list[str]:
    sections = {name: Config.model_fields[name].annotation for name in SECTIONS}
    names = ["seed", *(f"{name}.{field}" for name, model in sections.items() for field in model.model_fields)]  # pyright: ignore
    return [name for name in names if name not in OPTIONS]


def _read_axis(base: Config, name: str, table: Any, search: Search, where: str) -> Axis:
    if isinstance(table, Mapping):
        return _read_range(base, name, table, search, where)
    require(isinstance(table, list | tuple), f"{where}: give a list of values or a table; got {table!r}")
    require(len(table) > 0, f"{where} is empty: give at least one value")
    if name == "model.hidden_sizes":
        table = [value if isinstance(value, list | tuple) else [value] for value in table]
    values = tuple(_checked(base, name, value, where) for value in table)
    require(len(set(map(repr, values))) == len(values), f"{where} has a value twice: {list(table)}")
    whole = [value for value in values if isinstance(value, Options)]
    require(
        not whole, f"{where}: values are numbers, strings, true or false, or lists; got {''.join(map(repr, whole[:1]))}"
    )
    return Axis(name, values, table=[list(value) if isinstance(value, tuple) else value for value in values])


def _read_range(base: Config, name: str, table: Mapping[str, Any], search: Search, where: str) -> Axis:
    if set(table) == {"count"}:
        require(name in SEEDS, f"{where}: count is for seeds: give a list of values")
        count = table["count"]
        whole = isinstance(count, int) and not isinstance(count, bool)
        require(whole and count > 0, f"{where}: count must be a whole number, 1 or more; got {count}")
        first = base.seed if name == "seed" else base.dataset.seed
        values = tuple(_checked(base, name, first + number, where) for number in range(count))
        return Axis(name, values, table=dict(table))
    legal = ("low", "high", "log")
    unknown = next((key for key in table if key not in legal), None)
    require(unknown is None, f"{where}: unknown key {unknown!r}: {nearest(str(unknown), [*legal, 'count'])}")
    require({"low", "high"} <= set(table), f"{where}: a range needs low and high")
    require(
        search.sampler != "grid", f'{where} is a range, and a grid takes lists: list values, or set sampler = "random"'
    )
    low, high = (_checked(base, name, table[key], f"{where}, {key}") for key in ("low", "high"))
    for value in (low, high):
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        require(number, f"{where}: the ends of a range are finite numbers; got {value!r}")
    require(low < high, f"{where}: low must be under high; got {low} and {high}")
    log = table.get("log", False)
    require(isinstance(log, bool), f"{where}: log is true or false; got {log!r}")
    require(not log or low > 0, f"{where}: a range with log = true begins above 0; got low = {low}")
    whole = isinstance(low, int) and isinstance(high, int)
    if not whole:  # 1 in TOML is whole, though the field may hold any number
        low, high = float(low), float(high)
    return Axis(name, (), low, high, log, whole, dict(table))


def _checked(base: Config, name: str, value: Any, where: str) -> Any:
    """A value as its field holds it, or an error that names the axis."""
    try:
        config = _with(base, {name: value}, where)
    except InputError as error:
        # rules between fields hold for whole members, not for one value at a time
        if str(error).startswith(f"{where}: {name}") or "." not in name:
            raise
        return tuple(value) if isinstance(value, list) else value
    return value_of(config, name)


def _with(base: Config, settings: Settings, where: str) -> Config:
    table = base.to_dict()
    for name, value in settings.items():
        *path, field = name.split(".")
        target = functools.reduce(lambda one, part: one[part], path, table)
        target[field] = list(value) if isinstance(value, tuple) else value
    return validate(table, where)


def _check(space: Space) -> None:
    search, source = space.search, space.source
    if search.sampler == "grid":
        require(search.num_members is None, f"{source}: a grid has as many members as combinations: drop num_members")
    else:
        require(search.num_members is not None, f"{source}: sampler {search.sampler} needs sweep.num_members")
    fractions = [value for axis in space.axes if axis.name == "training.validation_fraction" for value in axis.values]
    require(
        min(fractions or [space.base.training.validation_fraction]) > 0,
        f"{source}: a sweep chooses its best by the validation rows: set training.validation_fraction above 0",
    )
    mixed = search.halving and any(axis.name == "training.objective" for axis in space.axes)
    require(not mixed, f"{source}: halving compares losses, and training.objective is an axis: drop one of the two")

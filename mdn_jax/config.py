"""Typed, frozen, strict configs: a TOML text in, one validated `Config` out.

Unknown keys, wrong types and values out of bounds are refused with one line that names the field and the cure. A
field of `TrainingConfig` that is marked `VARIES` is a number inside the compiled training program: members of one
sweep may differ in it. Every other field shapes the program itself.
"""

import math
import tomllib
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Protocol, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from mdn_jax._checks import InputError, nearest, require
from mdn_jax.heads import Covariance
from mdn_jax.networks import Activation

__all__ = [
    "TABLES",
    "Config",
    "DatasetConfig",
    "ModelConfig",
    "Strict",
    "TrainingConfig",
    "differences",
    "parse",
    "validate",
    "varying_fields",
]

TABLES = ("dataset.path", "dataset.test_path")
CHECKSUM = "dataset.table_checksum"  # of what these name
VARIES = "varies"  # the marker of a field that members of one compiled program may differ in


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError("Input should be a finite number")
    return value


Finite = Annotated[float, AfterValidator(_finite)]
Positive = Annotated[Finite, Field(gt=0)]
NonNegative = Annotated[Finite, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Fraction = Annotated[Finite, Field(ge=0, lt=1)]
Names = Annotated[tuple[str, ...], BeforeValidator(_as_tuple)]


class Strict(BaseModel):
    """A frozen table without unknown keys, in which every value has its field's own type."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, validate_default=True, use_attribute_docstrings=True
    )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for TOML: every field that has one, defaults included."""
        return self.model_dump(mode="python", exclude_none=True)


class DatasetConfig(Strict):
    """Which data: a built-in problem by `name`, or a table by `path`."""

    name: str | None = None
    """Built-in problem, drawn with `num_points` training rows and `num_test_points` fresh test rows."""
    num_points: Count = 2_500
    """Training rows of a built-in problem."""
    num_test_points: Count = 50_000
    """Fresh test rows of a built-in problem."""
    path: str | None = None
    """Table (.csv, .parquet, .npz) whose columns are named below; relative to the config file."""
    inputs: Names = ()
    """Input columns of a table; none for an unconditional density."""
    targets: Names = ()
    """Target columns of a table."""
    categorical: Names = ()
    """Those of the inputs whose values name kinds: one 0/1 column for each kind."""
    weight: str | None = None
    """Column that says how much each row counts, in training and in scores."""
    missing_values: Annotated[tuple[float | int | str, ...], BeforeValidator(_as_tuple)] = ()
    """Values that stand for a missing one, beside empty cells and NaN: [-999, "?"]."""
    missing_inputs: Literal["refuse", "drop", "indicate"] = "refuse"
    """Missing inputs: refused, their rows dropped, or the training mean with a 0/1 column that says so."""
    missing_targets: Literal["refuse", "drop", "marginalise"] = "refuse"
    """Missing targets: refused, their rows dropped, or integrated out of the likelihood, exactly."""
    split: Literal["random", "ordered", "group"] = "random"
    """How test rows are chosen: at random, the last ones (train on the past), or whole groups."""
    split_column: str | None = None
    """Column that orders the rows of an ordered split (their place in the file where absent), or names the groups."""
    test_fraction: Annotated[Finite, Field(gt=0, lt=1)] = 0.1
    """Share of a table's rows, or of its groups, kept apart for the test."""
    test_path: str | None = None
    """A table of its own for the test, in place of a split; relative to the config file."""
    table_checksum: str | None = None
    """What a run notes of its table (and test table), so that one that has changed since is refused; leave it out."""
    calibration_fraction: Fraction = 0.0
    """Share of the rows that are left after the test, kept apart to calibrate intervals; 0 for none."""
    seed: Seed = 0
    """Draws and splits the data; the run's own `seed` never moves them."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.name is None) == (self.path is None):
            raise ValueError('give either name = "..." of a built-in problem or path = "..." of a table')
        if self.path is not None and not self.targets:
            raise ValueError('a table needs targets = ["..."], the columns to predict')
        if self.name is not None:
            fields = type(self).model_fields
            own = [name for name in _OF_TABLES if getattr(self, name) != fields[name].default]
            if own:
                raise ValueError(f"{' and '.join(own)} describe a table; a built-in problem has its own columns")
        return self

    @model_validator(mode="after")
    def _columns_have_one_role(self) -> Self:
        weight = () if self.weight is None else (self.weight,)
        twice = _repeated(self.inputs + self.targets + weight)
        if twice:
            raise ValueError(f"column {min(twice)!r} is named twice in inputs, targets and weight")
        strange = [name for name in self.categorical if name not in self.inputs]
        if strange:
            raise ValueError(f"categorical names {strange[0]!r}, which is not among inputs: add it there, or drop it")
        if self.split == "group" and self.split_column is None:
            raise ValueError('split = "group" needs split_column = "...", the column that names the groups')
        if self.split == "random" and self.split_column is not None:
            raise ValueError('split_column has no use in a random split: set split = "ordered" or "group", or drop it')
        return self


_OF_TABLES = (
    "inputs", "targets", "categorical", "weight", "missing_values", "split", "split_column", "test_path",
    "table_checksum",
)  # fmt: skip


class ModelConfig(Strict):
    """How many components, and how wide a network."""

    num_components: Count = 10
    """Gaussians in the mixture."""
    hidden_sizes: Annotated[tuple[Count, ...], BeforeValidator(_as_tuple)] = (32, 32)
    """Units of each hidden layer; [] is a linear model."""
    activation: Activation = "silu"
    """Nonlinearity of the hidden layers."""
    covariance: Covariance = "diagonal"
    """Scale of the components; tied and full see correlations between targets."""
    min_std: Positive = 1e-3
    """Floor of the standard deviations, as a fraction of the target's training standard deviation."""


class TrainingConfig(Strict):
    """How the network is trained. Noise and decay act on standardised data."""

    objective: Literal["nll", "squared_error", "crps", "energy_score"] = "nll"
    """What is minimised; squared_error trains the mean alone (num_components = 1)."""
    optimizer: Literal["adam", "adamw", "sgd", "rmsprop"] = "adam"
    """Optax optimizer."""
    learning_rate: Annotated[Positive, VARIES] = 1e-2
    """Peak learning rate."""
    schedule: Literal["constant", "cosine", "warmup_cosine", "linear"] = "cosine"
    """How the learning rate falls over num_steps."""
    batch_size: Count | Literal["full"] = 128
    """Rows drawn (with replacement) for each step, or "full" for all of them."""
    num_steps: Count = 4_000
    """Optimizer steps."""
    weight_decay: Annotated[NonNegative, VARIES] = 0.0
    """Decay of the weight matrices (never of biases): decoupled for adamw, added to the gradient otherwise."""
    clip_norm: Annotated[float, Field(gt=0), VARIES] = math.inf
    """Largest global gradient norm; inf clips nothing."""
    input_noise: Annotated[NonNegative, VARIES] = 0.0
    """Standard deviation of fresh noise on the inputs at each step."""
    target_noise: Annotated[NonNegative, VARIES] = 0.0
    """Standard deviation of fresh noise on the targets at each step."""
    averaging: Annotated[Fraction, VARIES] = 0.0
    """Decay per step of the running mean of the weights that is judged and kept; 0 judges the weights themselves."""
    validation_fraction: Fraction = 0.1
    """Share of the training rows that choose the best step; 0 trains on all and keeps the last."""
    validation: Literal["shared", "own"] = "shared"
    """Whether the networks of an ensemble are judged by the same rows, or each by its own, so that all rows train."""
    evaluate_every: Count = 100
    """Steps between evaluations."""
    patience: Count | None = None
    """Stop after so many evaluations without a better one."""
    ensemble_size: Count = 1
    """Networks trained together and answered as one mixture."""
    num_samples: Annotated[int, Field(ge=2)] = 16
    """Draws of each component for the energy score."""

    @property
    def shared_fraction(self) -> float:
        """Share of the training rows that no network trains on."""
        return self.validation_fraction if self.validation == "shared" else 0.0

    @property
    def noisy(self) -> bool:
        """Whether steps draw noise."""
        return self.input_noise > 0 or self.target_noise > 0

    @property
    def decays(self) -> bool:
        """Whether weights decay."""
        return self.weight_decay > 0

    @property
    def averages(self) -> bool:
        """Whether a running mean of the weights is kept."""
        return self.averaging > 0

    @property
    def clips(self) -> bool:
        """Whether gradients are clipped."""
        return math.isfinite(self.clip_norm)


class Config(Strict):
    """One experiment: seed, data, model and training."""

    seed: Seed = 0
    """Weights, batches and noise."""
    recipe: Literal["table"] | None = None
    """Fills the fields of [model] and [training] that are not given, by the number of rows."""
    dataset: DatasetConfig
    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.training.objective == "squared_error" and self.model.num_components != 1:
            raise ValueError(
                "training.objective squared_error trains one mean: set model.num_components = 1, not "
                f"{self.model.num_components}"
            )
        return self


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

    A table's checksum tells them apart where both have one, of the same table.
    """
    before, after = _flat(old.to_dict()), _flat(new.to_dict())
    names = [*before, *(name for name in after if name not in before)]
    changed = [name for name in names if before.get(name) != after.get(name)]
    noted = CHECKSUM in before and CHECKSUM in after and not set(TABLES) & set(changed)
    told = [f"{name}: {before.get(name)} -> {after.get(name)}" for name in changed if name != CHECKSUM]
    if noted and CHECKSUM in changed:
        told.append(f"{after['dataset.path']} has changed since ({CHECKSUM}: {before[CHECKSUM]} -> {after[CHECKSUM]})")
    return told


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


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for name, value in table.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat


def _repeated(names: tuple[str, ...]) -> set[str]:
    return {name for name in names if names.count(name) > 1}

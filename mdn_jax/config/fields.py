"""The tables of a config, each a frozen model of its fields.

A field of `TrainingConfig` that is marked `VARIES` is a number inside the compiled training program: members of one
sweep may differ in it. Every other field shapes the program itself.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    model_serializer,
    model_validator,
)

from mdn_jax._checks import require
from mdn_jax._seams import Options, check_known, is_path
from mdn_jax.encoding import Dialect
from mdn_jax.heads import HEADS, Covariance
from mdn_jax.networks import NETWORKS, Activation

__all__ = [
    "OPTIONS", "SOURCES", "TABLES", "VARIES", "Config", "DatasetConfig", "ModelConfig", "Strict", "TrainingConfig",
    "flattened",
]  # fmt: skip

TABLES = ("dataset.path", "dataset.test_path")
SOURCES = ("dataset.name", "model.network", "model.head", "training.objective")  # that may be import paths
OPTIONS = ("dataset.options", "dataset.support", "dataset.atoms", "model.network_options", "model.head_options")
PROBLEMS = (  # built-in ones, of any number of points
    "sinusoid", "inverse_sinusoid", "bishop", "inverse_bishop", "sinusoid_marginal", "robot_arm", "correlated_branches",
    "parallel_branches",
)  # fmt: skip
OBJECTIVES = ("nll", "squared_error", "crps", "energy_score")
MOST_EVALUATIONS = 10_000  # rows of history that a network keeps: every chunk copies them
VARIES = "varies"  # the marker of a field that members of one compiled program may differ in


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError("Input should be a finite number")
    return value


def _codec(name: str) -> str:
    try:
        "".encode(name)
    except LookupError:
        raise ValueError('Input should be an encoding of texts, such as "utf-8" or "latin-1"') from None
    return name


Finite = Annotated[float, AfterValidator(_finite)]
Positive = Annotated[Finite, Field(gt=0)]
NonNegative = Annotated[Finite, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Fraction = Annotated[Finite, Field(ge=0, lt=1)]
Names = Annotated[tuple[str, ...], BeforeValidator(_as_tuple)]
Seam = str | Callable[..., Any]


def _as_options(value: Any) -> Options:
    require(isinstance(value, Mapping), "Input should be a table of options")
    return value if isinstance(value, Options) else Options(value)


Table = Annotated[Options, PlainValidator(_as_options), PlainSerializer(Options.plain)]


class Strict(BaseModel):
    """A frozen table without unknown keys, in which every value has its field's own type."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, validate_default=True, use_attribute_docstrings=True
    )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for TOML: every field that has one, defaults included.

        Raises:
            InputError: for a field that holds an object, which no text can name.
        """
        table = self.model_dump(mode="python", exclude_none=True)
        objects = [name for name, value in flattened(table).items() if callable(value)]
        cure = 'give its import path, "file.py:function" or "module:function"'
        require(not objects, f"{' and '.join(objects)} is an object, which a config cannot write down: {cure}")
        return table

    @model_serializer(mode="wrap")
    def _without_idle(self, serialize: Any) -> dict[str, Any]:
        """Fields that nobody set, and that are of ours alone, are not said of what is someone's own."""
        idle = self.idle - self.model_fields_set
        return {name: value for name, value in serialize(self).items() if name not in idle}

    @property
    def idle(self) -> set[str]:
        """Fields that this table's own choices leave without a use."""
        return set()


class DatasetConfig(Strict):
    """The data: a built-in problem or a function of your own by `name`, or a table by `path`."""

    name: str | None = None
    """Built-in problem, strokes, or the import path of a function, own.py:function, that returns an mdn.Dataset."""
    options: Table = Options()
    """Options of the function that `name` names, each as --dataset.options.NAME VALUE."""
    num_points: Count = 2_500
    """Training rows of a built-in problem."""
    num_test_points: Count = 50_000
    """Fresh test rows of a built-in problem."""
    path: str | None = None
    """Table (.csv, .parquet, ...) whose columns are named below, or what `name` reads; relative to the config file."""
    inputs: Names = ()
    """Input columns of a table; none for an unconditional density."""
    targets: Names = ()
    """Target columns of a table."""
    categorical: Names = ()
    """Columns whose values name kinds: an input has one 0/1 column for each kind, a target the kind's code."""
    support: Table = Options()
    """Values that targets can have: { price = "positive", share = [0, 1], visits = "count", height = { step = 0.5 },
    wind = { period = 360 } }, bounds open, each as --dataset.support.NAME VALUE."""
    atoms: Table = Options()
    """Values of targets that have a probability of their own: { rain = [0] }, each as --dataset.atoms.NAME VALUE."""
    weight: str | None = None
    """Column that says how much each row counts, in training and in scores."""
    separator: Literal[",", ";", "\t", "|"] | None = None
    """Mark between the cells of a text file: a comma where absent, or a tab in a .tsv file."""
    decimal: Literal[".", ","] = "."
    """Decimal mark of the numbers in a text file."""
    encoding: Annotated[str, AfterValidator(_codec)] = "utf-8"
    """Encoding of a text file: utf-8, latin-1, cp1252, utf-16, or another of Python's."""
    codes: Names = ()
    """Columns of categorical whose kinds stay apart as written: 250.0 and 250.00."""
    missing_values: Annotated[tuple[float | int | str, ...], BeforeValidator(_as_tuple)] = ()
    """Values that stand for a missing one, beside empty cells and NaN: [-999, "?"]."""
    missing_inputs: Literal["refuse", "drop", "indicate"] = "refuse"
    """Missing inputs: refused, their rows dropped, or the training mean with a 0/1 column that says so."""
    missing_targets: Literal["refuse", "drop", "marginalise"] = "refuse"
    """Missing targets: refused, their rows dropped, or integrated out of the likelihood, exactly."""
    split: Literal["random", "ordered", "group"] = "random"
    """Choice of the test rows: at random, the last ones (train on the past), or whole groups."""
    split_column: str | None = None
    """Column that orders the rows of an ordered split (their place in the file where absent), or names the groups."""
    test_fraction: Annotated[Finite, Field(gt=0, lt=1)] = 0.1
    """Share of a table's rows, or of its groups, kept apart for the test."""
    test_path: str | None = None
    """A table of its own for the test, in place of a split; relative to the config file."""
    table_checksum: str | None = None
    """A run's checksum of its table (and test table), so that one that has changed since is refused; leave it out."""
    calibration_fraction: Fraction = 0.0
    """Share of the rows that are left after the test, kept apart to calibrate intervals; 0 for none."""
    seed: Seed = 0
    """Draws and splits the data; the run's own `seed` never moves them."""

    @property
    def is_own(self) -> bool:
        """True where a function of the user's makes the data."""
        return is_path(self.name)

    @property
    def dialect(self) -> Dialect:
        """The writing of the table's cells."""
        return Dialect(self.separator, self.decimal, self.encoding, self.codes)

    @property
    def idle(self) -> set[str]:
        """Sizes of built-in problems."""
        return set() if self.name is None or self.name in PROBLEMS else {"num_points", "num_test_points"}

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.is_own or str(self.name).endswith(".py"):
            check_known(self.name, (), "function")
        elif self.name is self.path is None:
            raise ValueError('give either name = "..." of a built-in problem or path = "..." of a table')
        if self.name is None:
            if not self.targets:
                raise ValueError('a table needs targets = ["..."], the columns to predict')
            if self.options:
                raise ValueError('options are of what name = "..." names; a table has none')
        else:
            fields = type(self).model_fields
            own = [name for name in _OF_TABLES if getattr(self, name) != fields[name].default]
            own = [name for name in own if self.path is None or name != "table_checksum"]
            if own:
                which = "your function" if self.is_own else "a built-in problem"
                raise ValueError(
                    f"{' and '.join(own)} describe a table; {which} has its own columns: drop them, or name"
                )
        return self

    @model_validator(mode="after")
    def _columns_have_one_role(self) -> Self:
        weight = () if self.weight is None else (self.weight,)
        twice = _repeated(self.inputs + self.targets + weight)
        if twice:
            raise ValueError(f"column {min(twice)!r} is named twice in inputs, targets and weight")
        strange = [name for name in self.categorical if name not in self.inputs + self.targets]
        if strange:
            where = "neither among inputs nor targets: add it there, or drop it"
            raise ValueError(f"categorical names {strange[0]!r}, which is {where}")
        for field, (is_legal, cure) in _OF_NUMBERS.items():
            for name, told in getattr(self, field).items():
                if name not in self.targets or name in self.categorical:
                    raise ValueError(f"{field} names {name!r}, which is no target that is a number: drop it")
                if not is_legal(told):
                    raise ValueError(f"{field} of {name!r} is {told!r}: give {cure}")
        uncoded = [name for name in self.codes if name not in self.categorical]
        if uncoded:
            raise ValueError(f"codes names {uncoded[0]!r}, which is not among categorical: add it there, or drop it")
        if self.split == "group" and self.split_column is None:
            raise ValueError('split = "group" needs split_column = "...", the column that names the groups')
        if self.split == "random" and self.split_column is not None:
            raise ValueError('split_column has no use in a random split: set split = "ordered" or "group", or drop it')
        return self


def _is_support(told: Any) -> bool:
    """True for a word, two finite numbers in order, a step or a period."""
    if isinstance(told, str):
        return told in ("positive", "count")
    if isinstance(told, Mapping):
        values = tuple(told.values())
        return set(told) in ({"step"}, {"period"}) and _are_numbers(values) and values[0] > 0
    return _are_numbers(told) and len(told) == 2 and told[0] < told[1]


def _are_atoms(told: Any) -> bool:
    """True for one or more numbers, no two of them equal."""
    return _are_numbers(told) and 0 < len(told) == len(set(told))


def _are_numbers(told: Any) -> bool:
    return isinstance(told, tuple) and all(type(one) in (int, float) and math.isfinite(one) for one in told)


_OF_NUMBERS = {  # fields that tell of targets, each with what is legal and the cure
    "support": (_is_support, '"positive", [low, high], "count", { step = ... } or { period = ... }'),
    "atoms": (_are_atoms, "a list of different numbers"),
}
_OF_TABLES = (
    "inputs", "targets", "categorical", "support", "atoms", "weight", "separator", "decimal", "encoding", "codes",
    "missing_values", "split", "split_column", "test_path", "table_checksum",
)  # fmt: skip


class ModelConfig(Strict):
    """The network, its width, and the meaning of its outputs."""

    network: Annotated[Seam, AfterValidator(partial(check_known, names=NETWORKS, what="network"))] = "mlp"
    """Network: mlp, or the import path of a function, own.py:function, that builds one."""
    network_options: Table = Options()
    """Options of the network, each as --model.network-options.NAME VALUE."""
    head: Annotated[Seam, AfterValidator(partial(check_known, names=HEADS, what="head"))] = "mixture"
    """Outputs' meaning: mixture, independent, categorical, product, or the import path of a spec."""
    head_options: Table = Options()
    """Options of the head, each as --model.head-options.NAME VALUE."""
    num_components: Count = 10
    """Gaussians in the mixture."""
    hidden_sizes: Annotated[tuple[Count, ...], BeforeValidator(_as_tuple)] = (32, 32)
    """Units of each hidden layer; [] is a linear model."""
    activation: Activation = "silu"
    """Nonlinearity of the hidden layers."""
    covariance: Covariance = "diagonal"
    """Scale of the components; tied and full see correlations between targets; unit is one Gaussian of width 1."""
    min_std: Positive = 1e-3
    """Floor of the standard deviations, as a fraction of the target's training standard deviation."""

    @property
    def idle(self) -> set[str]:
        """Fields of the MLP."""
        return set() if self.network == "mlp" else {"hidden_sizes", "activation", "network_options"}


class TrainingConfig(Strict):
    """The training of the network. Noise and decay act on standardised data."""

    objective: Annotated[Seam, AfterValidator(partial(check_known, names=OBJECTIVES, what="objective"))] = "nll"
    """Loss: nll, crps, energy_score, squared_error (the mean alone, num_components = 1), or an import path."""
    optimizer: Literal["adam", "adamw", "sgd", "rmsprop"] = "adam"
    """Optax optimizer."""
    learning_rate: Annotated[Positive, VARIES] = 1e-2
    """Peak learning rate."""
    schedule: Literal["constant", "cosine", "warmup_cosine", "linear"] = "cosine"
    """Fall of the learning rate over num_steps."""
    batch_size: Count | Literal["full"] = 128
    """Rows drawn (with replacement) for each step, or "full" for all of them."""
    num_steps: Annotated[int, Field(ge=1, lt=2**31)] = 4_000
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
    """Rows that judge an ensemble's networks: the same for all, or of each its own, so that all rows train."""
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
    def num_evaluations(self) -> int:
        """Rows of history that there is room for."""
        return min(math.ceil(self.num_steps / self.evaluate_every), MOST_EVALUATIONS)

    @property
    def noisy(self) -> bool:
        """True where steps draw noise."""
        return self.input_noise > 0 or self.target_noise > 0

    @property
    def decays(self) -> bool:
        """True where weights decay."""
        return self.weight_decay > 0

    @property
    def averages(self) -> bool:
        """True where a running mean of the weights is kept."""
        return self.averaging > 0

    @property
    def clips(self) -> bool:
        """True where gradients are clipped."""
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
    checksums: Table | None = None
    """A run's checksum of each import path's source, so that one that has changed is told; leave it out."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.training.objective == "squared_error" and self.model.num_components != 1:
            raise ValueError(
                "training.objective squared_error trains one mean: set model.num_components = 1, not "
                f"{self.model.num_components}"
            )
        return self


def flattened(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables as one, with dotted names."""
    flat: dict[str, Any] = {}
    for name, value in table.items():
        flat |= flattened(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat


def _repeated(names: tuple[str, ...]) -> set[str]:
    return {name for name in names if names.count(name) > 1}

"""Typed, frozen, strict configs: `fields` says what stands in them, `reading` makes one of a TOML text."""

from mdn_jax.config.fields import (
    OPTIONS,
    SOURCES,
    TABLES,
    Config,
    DatasetConfig,
    ModelConfig,
    Strict,
    TrainingConfig,
    flattened,
)
from mdn_jax.config.reading import differences, parse, source_of, validate, value_of, varying_fields

__all__ = [
    "OPTIONS", "SOURCES", "TABLES", "Config", "DatasetConfig", "ModelConfig", "Strict", "TrainingConfig", "differences",
    "flattened", "parse", "source_of", "validate", "value_of", "varying_fields",
]  # fmt: skip

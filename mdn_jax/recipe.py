"""The default recipe for tables: good without tuning, and written down.

It looks at the number of training rows N and of inputs X alone, never at the targets, and is the same for all data.
It was chosen on inner splits of training rows of six UCI tables (`experiments/uci_benchmark.py`).
"""

from mdn_jax.config import Config, ModelConfig, TrainingConfig, validate

__all__ = ["complete", "is_complete", "table_recipe"]

SECTIONS = ("model", "training")


def table_recipe(num_rows: int, num_inputs: int) -> tuple[ModelConfig, TrainingConfig]:
    """What `recipe = "table"` chooses from N training rows with X inputs.

    Args:
        num_rows: N, validation rows included.
        num_inputs: X, after categories became 0/1 columns.

    Returns:
        The model and the training.

    Example:
        >>> import mdn_jax as mdn
        >>> model, training = mdn.table_recipe(1_000, 8)
        >>> training.ensemble_size, training.validation
        (5, 'own')
    """
    many = num_rows >= 8_000
    model = ModelConfig(num_components=10 if num_rows > 10_000 else 5, hidden_sizes=(100, 100), activation="silu")
    training = TrainingConfig(
        learning_rate=1e-2,
        num_steps=10_000 if many else 4_000,
        batch_size=256 if num_rows > 10_000 else 128,
        weight_decay=1e-2,
        optimizer="adamw",
        input_noise=0.01,
        target_noise=0.01,
        averaging=0.998 if many else 0.995,
        validation="own",
        ensemble_size=5,
    )
    return model, training


def is_complete(config: Config) -> bool:
    """Whether a config needs no recipe, or says every field itself that TOML can say."""
    return config.recipe is None or not any(_unsaid(getattr(config, name)) for name in SECTIONS)


def _unsaid(section: ModelConfig | TrainingConfig) -> list[str]:
    """Fields left to the recipe; None, which TOML has no word for, is said by silence."""
    fields = type(section).model_fields.items()
    return [name for name, field in fields if field.default is not None and name not in section.model_fields_set]


def complete(config: Config, num_rows: int, num_inputs: int) -> Config:
    """The config with every field of [model] and [training] that it does not say filled by its recipe."""
    if is_complete(config):
        return config
    table = config.to_dict()
    for name, chosen in zip(SECTIONS, table_recipe(num_rows, num_inputs), strict=True):
        said = getattr(config, name)
        own = {field: value for field, value in said.to_dict().items() if field in said.model_fields_set}
        table[name] = chosen.to_dict() | own
    return validate(table, "config")

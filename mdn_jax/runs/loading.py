"""The model of a run."""

from pathlib import Path

from mdn_jax.models import Model
from mdn_jax.runs.configs import CONFIG, read_config, warn_of_changed_sources
from mdn_jax.storage import load
from mdn_jax.training import own_code

__all__ = ["load_run"]


def load_run(path: Path) -> Model:
    """The model of a run's folder, with code of one's own imported as its config says, or a saved model by itself."""
    if not (path / CONFIG).is_file():
        return load(path)
    config, _ = read_config(path / CONFIG)
    warn_of_changed_sources(config, path)
    return load(path, **own_code(config.model))

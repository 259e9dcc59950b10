"""A page's training as a run folder."""

from pathlib import Path
from typing import cast

import numpy as np

from mdn_jax._checks import require
from mdn_jax.demo.graphs import OWN
from mdn_jax.demo.points import split_points
from mdn_jax.demo.session import Session
from mdn_jax.runs import save_fit
from mdn_jax.training import TrainingState, finish

__all__ = ["save_session"]


def save_session(session: Session, out: Path) -> Path:
    """Write a run folder that `plot`, `predict` and `mdn.load` read; returns it."""
    settings, state = session.settings, session.state
    tables: dict[str, np.ndarray] = {}
    require(state is not None, "there is nothing to save before the first step")
    if settings.graph.name == OWN:
        tables = dict(zip(("points.csv", "test_points.csv"), split_points(settings.drawn), strict=True))
    config = settings.config(session.step)
    return save_fit(
        out, f"demo_{settings.graph.name}", config, finish(cast(TrainingState, state)), session.seconds, tables
    )

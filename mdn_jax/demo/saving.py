"""A page's training as a run folder."""

from pathlib import Path

from mdn_jax.demo.graphs import OWN
from mdn_jax.demo.points import split_points
from mdn_jax.demo.session import Session
from mdn_jax.runs import save_fit
from mdn_jax.training import finish

__all__ = ["save_session"]


def save_session(session: Session, out: Path) -> Path:
    """Write a run folder that `plot`, `predict` and `mdn.load` read; returns it."""
    settings, tables = session.settings, {}
    if settings.graph.name == OWN:
        tables = dict(zip(("points.csv", "test_points.csv"), split_points(settings.drawn), strict=True))
    config = settings.config(session.step)
    return save_fit(out, f"demo_{settings.graph.name}", config, finish(session.state), session.seconds, tables)

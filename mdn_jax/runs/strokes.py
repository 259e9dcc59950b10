"""The kind of experiment whose rows are packed drawings, point after point."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from mdn_jax.config import Config
from mdn_jax.data import StrokeDataset, drawings_of
from mdn_jax.judging.components import component_floors
from mdn_jax.judging.strokes import StrokeScores, judge_strokes, pen_alone, remembers, stroke_sentences
from mdn_jax.models import Model
from mdn_jax.prediction import draw_strokes
from mdn_jax.report import strokes_html

__all__ = ["Strokes"]

DRAWN, MOST_POINTS = 48, 400  # drawings on a figure, and the most points of one
SEED = 0  # of the drawings: the same model gives the same figures


@dataclass(frozen=True, eq=False)
class Strokes:
    """A model judged on the test drawings.

    Attributes:
        config: as it was run.
        dataset: its drawings.
        model: of the pen's next point.
        statuses: of its networks.
        scores: of every point of the test drawings.
    """

    config: Config
    dataset: StrokeDataset
    model: Model
    statuses: tuple[str, ...]
    scores: StrokeScores

    @classmethod
    def of(cls, config: Config, dataset: StrokeDataset, model: Model, statuses: tuple[str, ...]) -> "Strokes":
        """Judge a model whose networks ended so."""
        return cls(config, dataset, model, statuses, judge_strokes(model, dataset.test))

    def metrics(self) -> dict[str, Any]:
        """Scores in nats per point of normalised offsets, and what looks wrong."""
        scores, dataset, baseline = self.scores, self.dataset, pen_alone(self.config.seed, self.dataset)
        said = stroke_sentences(scores, baseline, self.statuses)
        if remembers(self.model, dataset.test):
            said.append(
                "the network carries what it knows of one drawing into the next of its row: set "
                "model.network_options.resets = true"
            )
        floors = component_floors(self.model, len(self.model.networks)).min(axis=0)
        found = {"nll_per": "point", **scores.report(), **scores.calibration()}
        if dataset.whole_test is not None:
            found["test_nll_whole"] = float(judge_strokes(self.model, dataset.whole_test).nll.mean())
        return found | {
            "normaliser": dataset.normaliser,
            "grain": dataset.grain,
            "min_std": {"dx": float(floors[0]), "dy": float(floors[1])},
            "num_test_drawings": int(scores.drawing[-1]) + 1,
            "num_test_points": len(scores.drawing),
            "baselines": {"pen_alone": baseline},
            "warnings": [*said, *dataset.warnings],
        }

    def figures(self, history: Mapping[str, np.ndarray], metrics: Mapping[str, Any]) -> dict[str, Any]:
        """File stem -> figure."""
        from mdn_jax.plotting import calibration_figure, loss_figure, nats_by_step, pen_calibration, sheet  # noqa: PLC0415  (loads matplotlib)

        real = drawings_of(self.dataset.test)[:DRAWN]
        most = min(max(map(len, real)), MOST_POINTS)
        drawn = draw_strokes(jax.random.key(SEED), self.model, DRAWN, max_points=most)
        pen, by_step, points = self.scores.pen_reliability, self.scores.by_step(), len(self.scores.pen)
        return {
            "samples": sheet(list(drawn)),
            "test_drawings": sheet(real),
            "nats_by_step": nats_by_step(by_step["offset"], by_step["pen"], by_step["drawings"]),
            "pen_calibration": pen_calibration(pen.confidence, pen.accuracy, np.rint(pen.share * points).astype(int)),
            "calibration": calibration_figure(self.scores.pit, ("dx", "dy")),
            "loss": loss_figure(history, unit="nats per point"),
        }

    def report(self, name: str, metrics: Mapping[str, Any], figures: Mapping[str, bytes], toml: str) -> str:
        """The run on one page, as HTML."""
        return strokes_html(name, metrics, figures, toml)

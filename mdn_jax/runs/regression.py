"""The kind of experiment whose rows are independent: a table's, or a problem's."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mdn_jax.config import Config
from mdn_jax.data import Dataset
from mdn_jax.judging import Diagnosis
from mdn_jax.judging.components import component_floors
from mdn_jax.judging.findings import diagnosis_of, evaluate_part, findings
from mdn_jax.judging.metrics import Scores
from mdn_jax.judging.rows import Judged
from mdn_jax.judging.targets import names_of_kinds
from mdn_jax.models import Model
from mdn_jax.report import report_html

__all__ = ["Regression", "oracle_scores"]


@dataclass(frozen=True, eq=False)
class Regression:
    """A model judged on the test rows.

    Attributes:
        config: as it was run.
        dataset: its rows.
        model: calibrated where rows were kept apart for it.
        scores: of the test rows.
        diagnosis: of some of them.
        judged: what those said.
    """

    config: Config
    dataset: Dataset
    model: Model
    scores: Scores
    diagnosis: Diagnosis
    judged: Judged

    @classmethod
    def of(cls, config: Config, dataset: Dataset, model: Model, statuses: tuple[str, ...]) -> "Regression":
        """Judge a model whose networks ended so."""
        scores = evaluate_part(model, dataset.test)
        return cls(config, dataset, model, scores, *diagnosis_of(model, dataset, scores, statuses))

    def metrics(self) -> dict[str, Any]:
        """Scores in original units, nats per row, and the findings."""
        dataset, scores = self.dataset, self.scores
        floors = component_floors(self.model, len(self.model.networks)).min(axis=0)
        own = {"nll_per": "row", **scores.report(dataset.target_names), **oracle_scores(dataset, scores)}
        own["min_std"] = {dataset.target_names[dim]: float(floors[dim]) for dim in scores.numbers}
        return own | findings(self.config, dataset, self.model, scores, self.diagnosis, self.judged)

    def figures(self, history: Mapping[str, np.ndarray], metrics: Mapping[str, Any]) -> dict[str, Any]:
        """File stem -> figure."""
        from mdn_jax.plotting import health_figure, run_figures  # noqa: PLC0415  (loads matplotlib)

        dataset, density = self.dataset, self.config.training.objective == "nll"
        figures = run_figures(
            self.model,
            dataset.train.x,
            dataset.train.y,
            dataset.test.x,
            dataset.test.y,
            self.scores,
            history,
            input_names=dataset.input_names,
            target_names=dataset.target_names,
            kinds=names_of_kinds(dataset.encoding, dataset.num_classes),
            oracle=metrics.get("oracle_nll") if density else None,
            log_density=dataset.log_density,
            loss_unit="nats" if density else f"{self.config.training.objective}, standardised",
        )
        if metrics["coverage"]["regions"]:
            figures["health"] = health_figure(self.diagnosis, metrics["coverage"])
        return figures

    def report(self, name: str, metrics: Mapping[str, Any], figures: Mapping[str, bytes], toml: str) -> str:
        """The run on one page, as HTML."""
        return report_html(name, self.config, self.dataset, metrics, figures, toml)


def oracle_scores(dataset: Dataset, scores: Scores) -> dict[str, float]:
    """The exact density's NLL on the test rows, and the model's distance from it, where it is known."""
    if dataset.log_density is None:
        return {}
    exact = -dataset.log_density(dataset.test.x, dataset.test.y)
    return {"oracle_nll": float(exact.mean()), "gap_to_oracle": float((scores.nll - exact).mean())}

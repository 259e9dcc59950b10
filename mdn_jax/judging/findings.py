"""The findings of a run beyond its scores: diagnosis, coverage, baselines, and warnings for a person."""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from mdn_jax._checks import InputError
from mdn_jax.config import Config
from mdn_jax.data import Dataset, Part
from mdn_jax.data import load as load_dataset
from mdn_jax.judging.baselines import REPORTED, TITLES, baseline_report, baseline_scores, baseline_sentences
from mdn_jax.judging.components import Diagnosis, diagnose
from mdn_jax.judging.coverage import coverage_sentences, kinds_in, measure_coverage
from mdn_jax.judging.dependence import Autocorrelation, residual_autocorrelation
from mdn_jax.judging.faults import Evidence, fault_sentences, outside_mass
from mdn_jax.judging.kinds import kind_sentences
from mdn_jax.judging.metrics import Scores
from mdn_jax.judging.rows import Judged, judge
from mdn_jax.judging.scoring import evaluate
from mdn_jax.models import Model
from mdn_jax.training import fit

__all__ = ["diagnosis_of", "evaluate_part", "findings"]

FEW = 100  # test rows, whose scores stand on chance: an NLL is then known within a tenth of its spread at best
FEWEST_ROWS, MOST_ROWS, COMPONENT_ROWS = 500, 2_000, 40_000  # to judge: as many as many components allow


def evaluate_part(model: Model, part: Part) -> Scores:
    """Scores of a model on rows of the data."""
    return evaluate(model, part.x, part.y, weights=part.weight, observed=part.observed)


def findings(
    config: Config, dataset: Dataset, model: Model, scores: Scores, diagnosis: Diagnosis, judged: Judged
) -> dict[str, Any]:
    """The findings of a run, as metrics.json tells them.

    Args:
        config: of the run.
        dataset: its rows.
        model: what it trained.
        scores: of the model on the test rows.
        diagnosis: of some of these.
        judged: what those said.

    Returns:
        Plain values: `diagnosis`, `coverage`, `baselines`, `warnings`, and where test rows resemble
        their neighbours in the file `ordered_split`, scores of the same model trained on the first rows and tested on
        the last.
    """
    kinds = kinds_in(dataset.encoding, dataset.test.x)
    coverage = measure_coverage(scores, judged, dataset.target_names, calibration=model.calibration, kinds=kinds)
    others = baseline_scores(config, dataset)
    baselines = baseline_report(config, dataset, others)
    evidence = Evidence(
        dataset, scores, {TITLES[name]: other for name, other in others.items() if other}, outside_mass(model, dataset)
    )
    nll = float(np.average(scores.nll, weights=scores.weight))
    said = [*baseline_sentences(baselines, nll), *fault_sentences(evidence), *diagnosis.sentences()]
    said += coverage_sentences(coverage)
    said += kind_sentences(scores, dataset.target_names)
    said += _few_sentences(config, dataset, scores)
    said += dataset.warnings
    found: dict[str, Any] = {"diagnosis": diagnosis.report(), "coverage": coverage, "baselines": baselines}
    neighbours = residual_autocorrelation(scores, dataset.test.place)
    if neighbours is not None and neighbours.telling:
        ordered = _ordered_split(config, dataset)
        if ordered is not None:
            said.insert(0, _ordered_sentence(config, dataset, scores, neighbours, ordered))
            found["ordered_split"] = ordered | {
                "autocorrelation": neighbours.value,
                "autocorrelation_standard_error": neighbours.standard_error,
                "autocorrelated_target": dataset.target_names[neighbours.target],
            }
    return found | {"warnings": said}


def diagnosis_of(model: Model, dataset: Dataset, scores: Scores, statuses: tuple[str, ...]) -> tuple[Diagnosis, Judged]:
    """The diagnosis of a model from evenly spread test rows, and what those rows said."""
    test = dataset.test
    components = 1 if scores.responsibilities is None else scores.responsibilities.shape[1]
    most = int(np.clip(COMPONENT_ROWS // components, FEWEST_ROWS, MOST_ROWS))
    judged = judge(model, test.x, test.y, observed=test.observed, most_rows=most)
    return diagnose(model, scores, judged, target_names=dataset.target_names, statuses=statuses), judged


def _few_sentences(config: Config, dataset: Dataset, scores: Scores) -> list[str]:
    """The offer of folds, where the test part of a table is small."""
    rows = config.dataset
    judged_once = rows.name is not None or rows.test_path is not None or rows.split == "ordered"
    if judged_once or len(dataset.test) >= FEW or not Path(str(rows.path)).is_file():
        return []
    error = scores.report(dataset.target_names)["test_nll_standard_error"]
    return [
        f"{len(dataset.test)} test rows are few to judge by: their NLL is known within {error:.2f} either way. In "
        'Python mdn.cross_validate("config.toml"), of this folder, judges every row of the table once, by networks '
        "that never saw it"
    ]


def _ordered_split(config: Config, dataset: Dataset) -> dict[str, Any] | None:
    """Scores of the same configuration, trained on the first rows, on the last; None where that is no question."""
    if config.dataset.name is not None or config.dataset.split != "random" or config.dataset.test_path is not None:
        return None
    try:
        data = load_dataset(config.dataset.model_copy(update={"split": "ordered"}))
        key = jax.random.key(config.seed)
        trained = fit(key, **data.for_training, model=config.model, training=config.training)
    except InputError:  # say a target that does not vary in the first rows
        return None
    report = evaluate_part(trained.model, data.test).report(data.target_names)
    names = ("test_nll_standard_error", *REPORTED)
    kept = {name: report[name] for name in names if name in report}
    return {"status": trained.status, "num_test": len(data.test)} | kept


def _ordered_sentence(
    config: Config, dataset: Dataset, scores: Scores, found: Autocorrelation, ordered: dict[str, Any]
) -> str:
    """A warning, for new rows, of neighbours that are alike."""
    name, random = dataset.target_names[found.target], scores.report(dataset.target_names)
    share, nll, random_nll = 100 * config.dataset.test_fraction, ordered["test_nll"], random["test_nll"]
    held, random_held = (100 * report["coverage_90"][name] for report in (ordered, random))
    return (
        f"neighbouring rows are alike: the surprise of {name!r} correlates by {found.value:.2f} ± "
        f"{found.standard_error:.2f} from one test row to the next in the file, so that rows drawn at random flatter "
        f"the model. On the last {share:.0f} % of the rows the NLL is {nll:.3f} ({random_nll:.3f} on "
        f"random rows) and 90 % intervals hold {held:.1f} % ({random_held:.1f} %): where new rows come later, set "
        'dataset.split = "ordered"'
    )

"""Judging a model: how good it is, how well calibrated, and what is wrong with it, in numbers and sentences.

`metrics` scores one prediction and sums rows up, `scoring` scores a model on rows, `calibrating` measures the masses
that intervals need, `baselines` are the least that a model must beat. `rows` looks at single predictions, `components`
at what the mixture uses, `coverage` at what intervals hold, `dependence` at rows that resemble their neighbours;
`findings` gathers all of it for a run, and `conditionals` are the densities that figures draw.
"""

from mdn_jax.judging.calibrating import calibrate, needed_masses
from mdn_jax.judging.components import Diagnosis, diagnose
from mdn_jax.judging.conditionals import Components, bands_at, cell_density, components_at, draws_at, joint_log_density
from mdn_jax.judging.coverage import coverage_interval, coverage_sentences, kinds_in, measure_coverage
from mdn_jax.judging.dependence import Autocorrelation, residual_autocorrelation
from mdn_jax.judging.findings import diagnosis_of, evaluate_part, findings
from mdn_jax.judging.metrics import Scores
from mdn_jax.judging.rows import Judged, judge
from mdn_jax.judging.scoring import chunk_nll, evaluate, evaluate_standard, row_nll
from mdn_jax.judging.targets import (
    classes_of,
    components_of,
    has_regions,
    kinds_of,
    mixture_of,
    names_of_kinds,
    numbers_of,
    of_targets,
    target_of,
)  # fmt: skip

__all__ = [
    "Autocorrelation", "Components", "Diagnosis", "Judged", "Scores", "bands_at", "calibrate", "cell_density",
    "chunk_nll", "classes_of", "components_at", "components_of", "coverage_interval", "coverage_sentences", "diagnose",
    "diagnosis_of", "draws_at", "evaluate", "evaluate_part", "evaluate_standard", "findings", "has_regions",
    "joint_log_density", "judge", "kinds_in", "kinds_of", "measure_coverage", "mixture_of", "names_of_kinds",
    "needed_masses", "numbers_of", "of_targets", "residual_autocorrelation", "row_nll", "target_of",
]  # fmt: skip

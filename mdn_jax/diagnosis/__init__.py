"""What is wrong with a model, if anything: its components, its intervals, and whether the test rows tell the truth.

`rows` looks at single predictions, `components` at what the mixture uses, `coverage` at what intervals hold, and
`dependence` at rows that resemble their neighbours. All of it can be stored as JSON, and said in plain sentences.
"""

from mdn_jax.diagnosis.components import Diagnosis, diagnose
from mdn_jax.diagnosis.coverage import coverage_interval, coverage_sentences, kinds_in, measure_coverage
from mdn_jax.diagnosis.dependence import Autocorrelation, residual_autocorrelation
from mdn_jax.diagnosis.rows import Judged, judge

__all__ = [
    "Autocorrelation",
    "Diagnosis",
    "Judged",
    "coverage_interval",
    "coverage_sentences",
    "diagnose",
    "judge",
    "kinds_in",
    "measure_coverage",
    "residual_autocorrelation",
]

"""A resolved config to a run folder and back.

runs/NAME/  config.toml   the resolved config: running it again gives the same numbers
            checkpoint/   the training state, only while the run is unfinished
            history.csv   one row per evaluation
            model/        what `mdn.load` reads
            figures/      *.png
            report.html   all of it on one page
            metrics.json  written last: it marks a whole run

`configs` reads configs, `starting` writes a first one, `folder` knows whose a folder is, `planning` tells what a run
would take, `running` trains in a folder, `writing` saves and draws what a kind of experiment (`kinds`: `regression`,
`strokes`) judges, `sampling` draws with a model of pen strokes.
"""

from mdn_jax.runs.comparing import Comparison, compare_runs
from mdn_jax.runs.configs import absolute, changed_by_hand, config_text, fill_in, read_config, resolve, with_checksums
from mdn_jax.runs.cross_validating import cross_validate
from mdn_jax.runs.loading import load_run
from mdn_jax.runs.planning import plan
from mdn_jax.runs.regression import oracle_scores
from mdn_jax.runs.running import run
from mdn_jax.runs.sampling import Sampling, sample_run
from mdn_jax.runs.starting import new_config
from mdn_jax.runs.writing import Outcome, draw_figures, save_fit, write_run

__all__ = [
    "Comparison",
    "Outcome",
    "Sampling",
    "absolute",
    "changed_by_hand",
    "compare_runs",
    "config_text",
    "cross_validate",
    "draw_figures",
    "fill_in",
    "load_run",
    "new_config",
    "oracle_scores",
    "plan",
    "read_config",
    "resolve",
    "run",
    "sample_run",
    "save_fit",
    "with_checksums",
    "write_run",
]

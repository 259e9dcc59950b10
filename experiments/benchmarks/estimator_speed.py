"""How much does a grid search of `MDNRegressor` gain from finding its programs compiled?

`GridSearchCV` of 5 folds and 6 learning rates on 500 rows, as it is, and with `jax.clear_caches()` before every fit,
in turn. The compiled training programs are counted as JAX's monitoring tells them.

COMMAND: python experiments/benchmarks/estimator_speed.py
TIME:    eight minutes
DEVICE:  CPU
RESULT (2026-11-29, Intel Xeon, 2 cores, with other work): 1 training program; 28.3 s, and 447.6 s with cleared caches:
         15.8 times as fast
"""

import time
from typing import Any

import harness
import jax
import numpy as np
from sklearn.model_selection import GridSearchCV

from mdn_jax.estimator import MDNRegressor, log_likelihood

RATES = (1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2, 3.2e-2)
PROGRAMS, RATIO = 2, 5.0  # asked
TRAINING = "_advance"  # the program of a chunk of training


class Forgetful(MDNRegressor):
    """Finds nothing compiled."""

    def fit(self, *arguments: Any, **named: Any) -> "Forgetful":
        """Fit."""
        jax.clear_caches()
        return super().fit(*arguments, **named)


def search(regressor: MDNRegressor) -> tuple[float, int]:
    """The seconds of a whole search, and the training programs that it compiled."""
    rng, compiled = np.random.default_rng(0), []
    x = rng.normal(size=(500, 5))
    y = np.sin(2 * x[:, 0]) + x[:, 1] + 0.3 * rng.normal(size=500)

    def listen(event: str, duration_secs: float, **told: Any) -> None:
        if "backend_compile" in event:
            compiled.append(str(told.get("fun_name")))

    jax.clear_caches()
    jax.monitoring.register_event_duration_secs_listener(listen)
    start = time.perf_counter()
    # without a last fit on all rows, which are of another shape
    GridSearchCV(regressor, {"learning_rate": RATES}, scoring=log_likelihood, cv=5, refit=False).fit(x, y)
    seconds = time.perf_counter() - start
    jax.monitoring.unregister_event_duration_listener(listen)
    return seconds, sum(TRAINING in name for name in compiled)


def main() -> None:
    """Time both in turn."""
    parser = harness.arguments(__doc__, repeats=1)
    parser.add_argument("--steps", type=int, default=1_000)
    options = parser.parse_args()
    jax.config.update("jax_enable_compilation_cache", False)
    report = harness.Report("GridSearchCV of 5 folds and 6 learning rates", device="cpu")
    shared, cleared, programs = [], [], []
    for _ in range(options.repeats):
        for times, kind in ((shared, MDNRegressor), (cleared, Forgetful)):
            seconds, count = search(kind(num_steps=options.steps, random_state=0))
            times.append(seconds)
            programs += [count] if kind is MDNRegressor else []
    each = zip(shared, cleared, strict=True)
    report.table("seconds", ["as it is", "cleared"], [[f"{one:.1f}", f"{other:.1f}"] for one, other in each])
    report.at_most("compiled training programs", PROGRAMS, max(programs), str(max(programs)))
    ratio = harness.Ratio.of([other / one for one, other in zip(shared, cleared, strict=True)])
    report.at_least("as fast as with cleared caches", RATIO, ratio)
    report.save(options.json)


if __name__ == "__main__":
    main()

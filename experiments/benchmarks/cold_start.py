"""How long from the command to the figures, and what does the import cost?

    run      a whole `python -m mdn_jax run configs/inverse_sinusoid.toml` in a new process: start-up, compiling,
             training, evaluation and figures
    import   `import mdn_jax` in a new process, against `import jax, flax.nnx, optax`, which it needs

No compilation cache is used.

COMMAND: python experiments/benchmarks/cold_start.py
TIME:    two minutes
DEVICE:  CPU
RESULT (2026-11-23, AMD EPYC, 2 cores, other work running):
    import mdn_jax: 1.19 (1.09..1.42) times what it needs, over 9 repeats
    whole run:      13.9 s (13.7..14.7), over 3 repeats; 11.6 and 12.0 s on an idle machine
    2026-11-25, an idle machine, jax 0.10.1: 11.3 and 11.4 s, where the commit of 2026-11-23 took 7.4 and 7.8 s in turn
    2026-11-29, Intel Xeon, 2 cores, jax 0.10.1: 22.4 s (19.0..22.6), import 1.39 (1.14..1.47); with other work running
    23.1 s, and 30.9 s with XLA's fusion emitters (XLA_FLAGS=--xla_cpu_use_fusion_emitters=true), in turn
"""

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import harness

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "configs" / "inverse_sinusoid.toml"
ASKED_SECONDS = 15.0
ASKED_RATIO = 1.3  # times the import of what it needs
OURS, NEEDED = "import mdn_jax", "import jax, flax.nnx, optax"


def python(*arguments: str) -> str:
    """Run a new interpreter on the CPU and give what it printed."""
    environment = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    environment["JAX_PLATFORMS"] = "cpu"
    environment["JAX_ENABLE_COMPILATION_CACHE"] = "false"
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise SystemExit(f"python {' '.join(arguments)} failed: {last}")
    return done.stdout


def imports(statement: str) -> Callable[[], object]:
    return lambda: python("-c", statement)


def whole_run() -> None:
    with tempfile.TemporaryDirectory() as folder:
        python("-m", "mdn_jax", "run", str(CONFIG), "--out", str(Path(folder) / "run"))


def main() -> None:
    parser = harness.arguments(__doc__, repeats=9)
    parser.add_argument("--runs", type=int, default=3, help="repeats of the whole run (default 3)")
    options = parser.parse_args()
    report = harness.Report("Cold start", device="cpu")
    nothing = "pass"
    times = harness.measure({text: imports(text) for text in (OURS, NEEDED, nothing)}, options.repeats)
    rows = [[text, harness.median_time(times, text), str(harness.speedup(times, NEEDED, text))] for text in times]
    report.table("A new process", ["python -c", "time", "time / needed"], rows)
    ratio = harness.speedup(times, NEEDED, OURS)
    report.at_most(f"{OURS}, in times of {NEEDED}", ASKED_RATIO, ratio.median, str(ratio))
    runs = harness.measure({"run": whole_run}, options.runs)["run"]
    seconds = statistics.median(runs)
    shown = f"{seconds:.1f} s ({min(runs):.1f}..{max(runs):.1f})"
    report.at_most(f"run {CONFIG.name}, seconds", ASKED_SECONDS, seconds, shown)
    report.save(options.json)


if __name__ == "__main__":
    main()

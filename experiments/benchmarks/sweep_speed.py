"""How fast do many networks train together? Against one after the other, and what a sweep spends beside training.

256 networks (1-24-72: 24 tanh units, 24 components) train on 2,500 rows of `inverse_sinusoid`, each on random
mini-batches of 128 rows of its own. Rates are member-steps per second; compiling is not counted.

    ours          mdn.advance of 256 members, spread over all local devices
    map, vmap     the same member, 256 of them one after the other, or side by side, on ONE device
    jax           one network: a jitted step in a Python loop (see training_speed.py)
    pytorch       one network: an eager loop (see training_speed.py)

Then whole sweeps through the command line: what search and record take in one of 512 members, and how much of a
4 x 4 grid of shapes x 8 seeds nothing trains because a program is not compiled, with an empty and with a full cache.

COMMAND: python experiments/benchmarks/sweep_speed.py
TIME:    about five minutes
DEVICE:  CPU, or any
RESULT (2026-11-23, AMD EPYC, 2 cores; 3 repeats):
    42,800 member-steps/s on 2 devices: 26.3 times PyTorch (25 asked), 6.8 times the jitted step in a loop (3 asked),
    2.3 times map on one device, its best form (1.8 asked), 2.5 times vmap
    search and record: 0.1 % of a sweep of 512 members
    4 x 4 shapes x 8 seeds: nothing trains for 45 % of 57 s the first time, 11 % of 27 s the second; a program takes
    6.3 s to compile beside others (median), 0.9 s from the cache
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import harness
import jax

jax.config.update("jax_num_cpu_devices", harness.num_cores())

import training_speed  # noqa: E402  (after the devices are chosen)

from mdn_jax.training.lane import Lane, advance_lane  # noqa: E402
from mdn_jax.training.starting import shared_of  # noqa: E402

MEMBERS, STEPS, CHUNK, BATCH = 256, 400, 100, 128  # a chunk is what `evaluate_every` is by default
ASKED = {"pytorch": 25.0, "jax": 3.0, "map, one device": 1.8, "the best of one device": 1.3}
COMMON = '[dataset]\nname = "inverse_sinusoid"\n\n[model]\nactivation = "tanh"\n\n'
SWEEPS = {
    "512 members": COMMON
    + '[training]\nnum_steps = 2000\n\n[sweep]\nsampler = "random"\nnum_members = 512\n'
    + '"training.learning_rate" = { low = 1e-4, high = 1e-1, log = true }\n'
    + '"training.input_noise" = { low = 1e-3, high = 1e-1, log = true }\n',
    "4 x 4 shapes x 8 seeds": COMMON
    + '[training]\nnum_steps = 4000\n\n[sweep]\n"model.num_components" = [2, 5, 10, 20]\n'
    + '"model.hidden_sizes" = [5, 10, 20, 50]\nseed = { count = 8 }\n',
}


def one_device(form: str) -> Callable[[], object]:
    state = training_speed.begun(BATCH, STEPS, MEMBERS)
    shared, first = jax.device_put((shared_of(state), state.lanes), jax.local_devices()[0])

    @jax.jit
    def chunk(lanes: Lane) -> Lane:
        def one(lane: Lane) -> Lane:
            return advance_lane(state.plan, CHUNK, shared, lane)

        return jax.lax.map(one, lanes) if form == "map" else jax.vmap(one)(lanes)

    def run() -> object:
        lanes = first
        for _ in range(STEPS // CHUNK):
            lanes = chunk(lanes)
        return lanes

    return run


def rates(report: harness.Report, repeats: int) -> None:
    cases = {
        f"ours, {jax.local_device_count()} devices": training_speed.ours(BATCH, STEPS, MEMBERS),
        "map, one device": one_device("map"),
        "vmap, one device": one_device("vmap"),
        **dict(training_speed.competitors(BATCH, STEPS)),
    }
    times = harness.measure(cases, repeats)
    own = next(iter(cases))
    single = [name for name in cases if name.startswith(("jax", "pytorch"))]
    # seconds of one network's steps: the others' divide by their members
    per_member = {n: [t / (1 if n in single else MEMBERS) for t in column] for n, column in times.items()}
    rows = [
        [name, f"{STEPS / statistics.median(column):,.0f}", str(harness.speedup(per_member, own, name))]
        for name, column in per_member.items()
    ]
    report.table(f"{MEMBERS} networks", ["", "member-steps per second", "ours is faster by"], rows)
    fastest = {
        "pytorch": training_speed.fastest(per_member, "pytorch"),
        "jax": "jax",
        "map, one device": "map, one device",
        "the best of one device": min(("map, one device", "vmap, one device"), key=lambda n: sum(per_member[n])),
    }
    for kind, bound in ASKED.items():
        name = fastest[kind]
        if name is not None:
            report.at_least(f"ours against {name}", bound, harness.speedup(per_member, own, name))


def saturation(report: harness.Report, repeats: int) -> None:
    """Member-steps per second and memory by the number of members, where members run side by side."""
    device, rows = jax.local_devices()[0], []
    for count in (16, 256, 4_096, 16_384):
        times = harness.measure({"ours": training_speed.ours(BATCH, STEPS, count)}, repeats)
        used = (device.memory_stats() or {}).get("peak_bytes_in_use", 0) / 2**20
        rows.append([f"{count:,}", f"{count * STEPS / statistics.median(times['ours']):,.0f}", f"{used:,.0f} MiB"])
    report.table("by members", ["members", "member-steps per second", "peak memory"], rows)


def sweep(name: str, folder: Path) -> dict:
    """`sweep.json` of a sweep through the command line, with its compiled programs kept in `folder`."""
    config, out = folder / "sweep.toml", folder / "out"
    config.write_text(SWEEPS[name], encoding="utf-8")
    command = [sys.executable, "-m", "mdn_jax", "sweep", str(config), "--out", str(out), "--overwrite"]
    environment = os.environ | {"XDG_CACHE_HOME": str(folder)}
    subprocess.run(command, check=True, capture_output=True, env=environment)
    return json.loads((out / "sweep.json").read_text(encoding="utf-8"))


def sweeps(report: harness.Report) -> None:
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        summary = sweep("512 members", Path(folder))
    share = summary["record_seconds"] / summary["train_seconds"]
    report.at_most("search and record, share of a sweep of 512 members", 0.05, share, f"{share:.1%}")
    with tempfile.TemporaryDirectory() as folder:
        for bound, when in ((0.5, "the first time"), (0.15, "the second time")):
            summary = sweep("4 x 4 shapes x 8 seeds", Path(folder))
            waited, seconds = summary["waited_for_compiling_seconds"], summary["train_seconds"]
            each = [program["compile_seconds"] for program in summary["programs"]]
            rows.append([when, f"{seconds:.0f} s", f"{waited:.1f} s", f"{statistics.median(each):.1f} s"])
            report.at_most(f"waiting for compilers, {when}", bound, waited / seconds, f"{waited / seconds:.1%}")
    columns = ["4 x 4 shapes x 8 seeds", "training and compiling", "nothing trained", "compiling, median program"]
    report.table("compiling", columns, rows)


def main() -> None:
    options = harness.arguments(__doc__, repeats=5).parse_args()
    report = harness.Report("Sweep speed")
    if not harness.installed("torch"):
        report.skip("PyTorch", "install a CPU build of PyTorch")
    rates(report, options.repeats)
    if jax.local_devices()[0].platform != "cpu":
        saturation(report, options.repeats)
    sweeps(report)
    report.save(options.json)


if __name__ == "__main__":
    main()

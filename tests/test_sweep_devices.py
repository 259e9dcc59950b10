"""A sweep's table does not depend on how many devices its members are spread over."""

import subprocess
import sys
from pathlib import Path

import pytest
from small_sweeps import assert_same_sweep

pytestmark = pytest.mark.slow
HERE = Path(__file__).parent
SPREAD = """
import sys
from pathlib import Path
import jax
jax.config.update("jax_num_cpu_devices", int(sys.argv[1]))
from small_sweeps import GRID, HALVING, sweep
from mdn_jax import runs
from mdn_jax.sweeps import planning, results
runs.writing._draw = lambda folder, *_: folder.mkdir(exist_ok=True)
results.draw = lambda *_: None
assert jax.local_device_count() == int(sys.argv[1])
folder = Path(sys.argv[2])
uneven = GRID.replace("count = 2", "count = 1") + '"model.num_components" = [2, 3]\\n'  # fewer members than devices
uneven = uneven.replace("1e-2, 1e-1, 1e6", "1e-1")
stops = iter(range(100)) if len(sys.argv) > 3 else None
for name, table in {"grid": GRID, "halving": HALVING, "uneven": uneven}.items():
    if stops is None:
        sweep(folder / name, table)
        continue
    try:
        sweep(folder / name, table, should_stop=lambda: next(stops) % 100 == 2)
    except Exception as error:
        assert type(error).__name__ == "Interrupted", error
    break
"""


def spread(devices, folder, *rest):
    command = [sys.executable, "-c", SPREAD, str(devices), str(folder), *rest]
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return spread(1, tmp_path_factory.mktemp("devices") / "alone")


@pytest.mark.parametrize("devices", [2, 4])
def test_one_two_and_four_devices_give_one_table(alone, tmp_path, devices):
    spread(devices, tmp_path / "spread")
    for name in ("grid", "halving", "uneven"):
        assert_same_sweep(tmp_path / "spread" / name, alone / name)


def test_a_checkpoint_goes_on_with_another_number_of_devices(alone, tmp_path):
    spread(4, tmp_path / "spread", "stop")
    assert (tmp_path / "spread/grid/checkpoint-1-of-1").is_dir()
    spread(2, tmp_path / "spread")
    for name in ("grid", "halving", "uneven"):
        assert_same_sweep(tmp_path / "spread" / name, alone / name)

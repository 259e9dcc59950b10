"""Importing wakes nothing: no device, no plots, no tables, no search."""

import inspect
import subprocess
import sys

import pytest

import mdn_jax as mdn


def run(code):
    """A fresh interpreter, where a warning is an error."""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("name", mdn.__all__)
def test_every_public_name_is_reachable_and_listed(name):
    assert getattr(mdn, name) is not None
    assert name in dir(mdn)


def test_the_list_of_public_names_is_whole():
    bound = {name for name, value in vars(mdn).items() if not name.startswith("_") and not inspect.ismodule(value)}
    assert bound - {"TYPE_CHECKING", "Any"} <= set(mdn.__all__)
    with pytest.raises(AttributeError, match=r"module 'mdn_jax' has no attribute 'predicts'"):
        _ = mdn.predicts


def test_the_backend_starts_after_the_import():
    code = """
import warnings; warnings.simplefilter("ignore")  # third parties' own
import mdn_jax, mdn_jax.runs, mdn_jax.cli, mdn_jax.plotting, jax
jax.config.update("jax_num_cpu_devices", 3)
print(jax.device_count("cpu"))
"""
    assert run(code) == ["3"]


@pytest.fixture(scope="module")
def modules_after():
    """What one interpreter has loaded after each of two imports."""
    code = """
import warnings; warnings.simplefilter("ignore")
import sys
for module in ("mdn_jax", "mdn_jax.runs"):
    __import__(module)
    print(module, *sys.modules, sep=",")
"""
    return {line.split(",")[0]: set(line.split(",")[1:]) for line in run(code)}


@pytest.mark.parametrize("module", ["mdn_jax", "mdn_jax.runs"])
def test_heavy_libraries_stay_asleep(modules_after, module):
    loaded = {name.split(".")[0] for name in modules_after[module]} | modules_after[module]
    assert {"mdn_jax", "jax", "flax", "optax"} <= loaded
    heavy = {"matplotlib", "optuna", "ray", "polars", "bokeh", "sklearn", "tyro", "torch", "scipy.stats", "pandas"}
    assert not heavy & loaded

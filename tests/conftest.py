"""Strict by configuration: no silent broadcasting between ranks, double precision where a test asks for it."""

import os
from pathlib import Path

os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"  # tests, and what they start, leave the user's cache alone

import jax

# most of the tests' time is compiling: at the lowest level, and as the package does; so does what they start
os.environ["XLA_FLAGS"] = " ".join([
    os.environ.get("XLA_FLAGS", ""), "--xla_backend_optimization_level=0",
    *(["--xla_cpu_use_fusion_emitters=false"] if jax.__version_info__ < (0, 11) else []),
]).strip()  # fmt: skip

import pytest
from cases import CASES

from mdn_jax import runs
from mdn_jax.sweeps import results

collect_ignore = ["extending"]  # code of a user, which tests hand over by its path

jax.config.update("jax_enable_compilation_cache", False)  # where a plugin has imported JAX before


@pytest.fixture(scope="session", autouse=True)
def no_rank_promotion():
    """Arrays of different ranks never broadcast in silence, in whichever thread."""
    jax.config.update("jax_numpy_rank_promotion", "raise")
    yield
    jax.config.update("jax_numpy_rank_promotion", "allow")


@pytest.fixture(scope="module", autouse=True)
def room_for_programs():
    """Compiled programs are dropped before they fill the 65,530 memory maps of a Linux process, which would abort."""
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and len(maps.read_text().splitlines()) > 20_000:
        jax.clear_caches()


@pytest.fixture
def x64():
    """Double precision for one test; a whole module asks with `pytestmark = pytest.mark.usefixtures("x64")`."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(params=CASES, ids=str)
def case(request):
    """Every scale, K and D of the registry."""
    return request.param


@pytest.fixture
def compilations():
    """The names of what is compiled during a test."""
    compiled = []

    def listen(event, _, **told):
        if "backend_compile" in event:
            compiled.append(told.get("fun_name", event))

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield compiled
    jax.monitoring.unregister_event_duration_listener(listen)


@pytest.fixture
def no_figures(monkeypatch):
    """Runs without figures, where they would only cost time."""
    monkeypatch.setattr(runs.writing, "_draw", lambda folder, *_: folder.mkdir(exist_ok=True))


@pytest.fixture(scope="module")
def no_sweep_figures():
    """Sweeps without figures, their best run's included; a whole module asks, and its finished sweeps too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs.writing, "_draw", lambda folder, *_: folder.mkdir(exist_ok=True))
        patch.setattr(results, "draw", lambda space, folder, *_: (folder / "figures").mkdir(exist_ok=True))
        yield


@pytest.fixture
def no_training(monkeypatch):
    """Runs that fail where they would train."""

    def fail(*_, **__):
        raise AssertionError("trained")

    monkeypatch.setattr(runs.running, "advance", fail)

"""Strict by configuration: no silent broadcasting between ranks, double precision where a test asks for it."""

import jax
import pytest
from cases import CASES


@pytest.fixture(scope="session", autouse=True)
def no_rank_promotion():
    """Arrays of different ranks never broadcast in silence."""
    with jax.numpy_rank_promotion("raise"):
        yield


@pytest.fixture
def x64():
    """Double precision for one test; a whole module asks with `pytestmark = pytest.mark.usefixtures("x64")`."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(params=CASES, ids=str)
def case(request):
    """Every scale, K and D of the registry."""
    return request.param

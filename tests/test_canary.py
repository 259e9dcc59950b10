"""The installed release of jaxlib computes rightly on CPU.

From 0.10.2 on w^T T w of many w is wrong under `jit` where T is a constant with equal entries (sum w^2 comes out), and
in 0.10.2 so are the last rows of any T applied to many rows (github.com/jax-ml/jax/issues/39103). A release that fails
here is unfit for this package: exclude it in pyproject.toml, and name it in `WRONG_RELEASES` of mdn_jax/cli.
"""

import tomllib
from pathlib import Path

import jax
import jax.numpy as jnp
import jaxlib
import numpy as np
import pytest
from numpy.testing import assert_allclose
from packaging.requirements import Requirement

import mdn_jax as mdn
from mdn_jax import cli

HERE = f"jaxlib {jaxlib.version.__version__} computes wrongly: install another release, and exclude this one"
PYPROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.mark.parametrize("kind", ["equal", "any"])
def test_a_quadratic_form_with_a_constant_matrix(kind):
    rng = np.random.default_rng(0)
    w, table = rng.dirichlet(np.ones(10), 500), {"equal": np.ones((10, 10)), "any": rng.normal(size=(10, 10))}[kind]
    found = jax.jit(jax.vmap(lambda w: w @ jnp.asarray(table, w.dtype) @ w))(jnp.asarray(w))
    assert_allclose(found, np.einsum("nk,kl,nl->n", w, table, w), rtol=1e-4, atol=1e-5, err_msg=HERE)


def test_a_constant_matrix_on_many_rows():
    rows = np.arange(40_000.0, dtype=np.float32)[:, None] * np.float32([1, 0, 0])
    found = jax.jit(jax.vmap(lambda row: jnp.sum((jnp.eye(3) @ row) ** 2)))(rows)
    assert_allclose(found, rows[:, 0] ** 2, rtol=1e-6, err_msg=HERE)


def test_crps_of_constant_centres():
    # equal centres: whatever the weights, one unit normal at 0
    def crps(logits):
        return mdn.crps(mdn.Mixture(logits, jnp.zeros((10, 1)), mdn.Isotropic(jnp.zeros(10))), jnp.zeros(1))

    found = jax.jit(jax.vmap(crps))(np.random.default_rng(0).normal(size=(500, 10)))
    assert_allclose(found, (np.sqrt(2) - 1) / np.sqrt(np.pi), rtol=1e-5, err_msg=HERE)


def test_wrong_releases_are_excluded_wherever_jax_is_asked_for():
    asked = [Requirement(line) for line in PYPROJECT["dependencies"]]
    asked += [Requirement(line) for lines in PYPROJECT["optional-dependencies"].values() for line in lines]
    asked = [requirement for requirement in asked if requirement.name in ("jax", "jaxlib")]
    assert {"cuda13", "tpu"} <= {extra for requirement in asked for extra in requirement.extras} and len(asked) == 4
    for requirement in asked:
        assert not any(release in requirement.specifier for release in cli.WRONG_RELEASES)
        assert "0.10.1" in requirement.specifier and "0.13.0" in requirement.specifier


@pytest.mark.parametrize("release", ["0.10.1", "0.10.2"])
def test_the_command_line_warns_of_a_wrong_release(release, monkeypatch, capsys):
    monkeypatch.setattr(jaxlib.version, "__version__", release)
    assert cli.main(["--version"]) == 0
    printed = capsys.readouterr()
    assert printed.out == f"{mdn.__version__}\n"
    line = f"mdn-jax: warning: jaxlib {release} computes some sums wrongly on CPU: pip install jax==0.10.1\n"
    assert printed.err == (line if release == "0.10.2" else "")

"""Laws: JAX's own switches. The core passes strict promotion in every precision, and meshes of Explicit axes."""

import subprocess
import sys
from pathlib import Path

import jax
import pytest
from cases import CASES, everything

import mdn_jax as mdn

SIZES = [case for case in CASES if case.num_components == 3]
OTHERS = ("float32", "bfloat16", "int32")  # that a target may come in


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", SIZES, ids=str)
def test_dtypes_are_kept_where_promotion_is_strict(case, dtype):
    with jax.enable_x64(dtype == "float64"), jax.numpy_dtype_promotion("strict"):
        mixture = jax.tree.map(lambda leaf: leaf.astype(dtype), case.mixture())
        y = case.targets(1)[0]
        says = jax.eval_shape(everything, jax.random.key(0), mixture, y.astype(dtype))  # traced: nothing to compile
        for name, value in says.items():
            assert {leaf.dtype.name for leaf in jax.tree.leaves(value)} == {dtype}, name
        for other in OTHERS:
            for function in (mdn.log_prob, mdn.crps, mdn.log_cdf):
                assert jax.eval_shape(function, mixture, y.astype(other)).dtype == dtype


ON_A_MESH = """
import contextlib, sys
import jax, jax.numpy as jnp, numpy as np
jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_numpy_rank_promotion", "raise")
from jax.sharding import NamedSharding, PartitionSpec
from cases import everything, pick

mesh = jax.make_mesh((2,), ("batch",))  # Explicit axes
batch = NamedSharding(mesh, PartitionSpec("batch"))
answers = jax.vmap(everything)


def rows(case):
    mixtures = [case.mixture(seed) for seed in range(4)]
    keys = jax.random.split(jax.random.key(0), 4)
    return keys, jax.tree.map(lambda *leaves: jnp.stack(leaves), *mixtures), case.targets(4)


for case in pick(1) + pick(2):
    arguments = jax.device_put(rows(case), batch)
    for context in (contextlib.nullcontext(), jax.set_mesh(mesh)):
        with context:
            for name, value in jax.eval_shape(answers, *arguments).items():
                for leaf in jax.tree.leaves(value):
                    assert leaf.sharding.spec[0] == "batch", (case, name, leaf.sharding)
if sys.argv[1] == "run":
    alone = jax.jit(answers)(*rows(case))
    spread = jax.jit(answers)(*arguments)
    for name in alone:
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5, err_msg=name),
                     alone[name], jax.device_get(spread[name]))
print("passed")
"""


@pytest.mark.parametrize("how", ["trace", pytest.param("run", marks=pytest.mark.slow)])
def test_a_sharded_batch_passes_on_a_mesh_of_explicit_axes(how):
    done = subprocess.run(
        [sys.executable, "-c", ON_A_MESH, how], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["passed"], done.stderr[-3000:]

"""The two ways in which this package compiles."""

import functools
import os

import jax

__all__ = ["jit", "jit_quickly"]

LEVEL, EMITTERS = "xla_backend_optimization_level", "xla_cpu_use_fusion_emitters"


def _jit_at(level: int) -> functools.partial:
    """`jax.jit` at a level of LLVM's optimisation; options that XLA_FLAGS name stand."""
    options: dict[str, int | bool] = {LEVEL: level}
    if jax.__version_info__ < (0, 11):  # a release that does not know an option refuses to compile
        options[EMITTERS] = False
    named = os.environ.get("XLA_FLAGS", "")
    return functools.partial(jax.jit, compiler_options={key: options[key] for key in options if key not in named})


# LLVM's second level of optimisation: the third, JAX's own, compiles half as long again, and on CPU gave steps of
# training that were slower by a tenth (2026-11-23, AMD EPYC, jax 0.10.2). Without the emitters of fusions, for CPU
# alone, compiling takes half as long and training as long as with them (2026-11-29, Intel Xeon, jax 0.10.1).
jit = _jit_at(2)

# for few rows on CPU: compiles in a quarter to a half of the time, and runs several times as long
jit_quickly = _jit_at(0)

"""The two ways in which this package compiles."""

import functools
import os

import jax

__all__ = ["jit", "jit_quickly"]

LEVEL = "xla_backend_optimization_level"


def _jit_at(level: int) -> functools.partial:
    """`jax.jit` at a level of LLVM's optimisation; XLA_FLAGS that name one stand."""
    return functools.partial(
        jax.jit, compiler_options=None if LEVEL in os.environ.get("XLA_FLAGS", "") else {LEVEL: level}
    )


# LLVM's second level of optimisation; JAX takes the third, which compiles half as long again, and on CPU gave steps of
# training that were slower by a tenth (2026-11-23, AMD EPYC, jax 0.10.2)
jit = _jit_at(2)

# for few rows on CPU: compiles in a quarter to a half of the time, and runs several times as long
jit_quickly = _jit_at(0)

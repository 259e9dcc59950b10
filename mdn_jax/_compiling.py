"""The two ways in which this package compiles."""

import functools

import jax

__all__ = ["jit", "jit_quickly"]

# LLVM's second level of optimisation; JAX takes the third, which compiles half as long again, and on CPU gave steps of
# training that were slower by a tenth (2026-11-23, AMD EPYC, jax 0.10.2)
jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 2})

# for few rows on CPU: compiles in a quarter to a half of the time, and runs several times as long
jit_quickly = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})

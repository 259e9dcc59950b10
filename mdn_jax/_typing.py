"""Array aliases and the dimension letters that every annotation in this package uses.

====== ==================================================
letter meaning
====== ==================================================
N      rows of a data set
B      rows of a batch
K      mixture components
D      target dimensions (the size of one y)
X      input dimensions (the size of one x)
M      networks of an ensemble, or members of a sweep
S      samples
====== ==================================================
"""

from collections.abc import Mapping
from typing import Any

from jaxtyping import Array, ArrayLike, Bool, Float, Int, PRNGKeyArray

__all__ = ["Array", "ArrayLike", "Bool", "Float", "Int", "Key", "PyTree", "Scalar", "Scalars"]

Key = PRNGKeyArray  # typed (`jax.random.key`) or legacy (`jax.random.PRNGKey`)
Scalar = Float[Array, ""]
PyTree = Any
Scalars = Mapping[str, float]

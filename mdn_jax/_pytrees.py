"""Dataclasses that JAX sees into, and pytrees that loops carry."""

from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax import Array, export

__all__ = ["joined", "register"]

Class = TypeVar("Class", bound=type)


def register(dataclass: Class) -> Class:
    """A dataclass of arrays as a pytree that `jax.export` can write, under a name that outlives its module's."""
    return export.register_pytree_node_serialization(
        jax.tree_util.register_dataclass(dataclass),
        serialized_name=f"mdn_jax.{dataclass.__name__}",
        serialize_auxdata=lambda _: b"",  # nothing is static: the name says it all
        deserialize_auxdata=lambda _: (),
    )


def joined(tree: Any, array: Array) -> Any:
    """The same numbers, mapped and sharded as `array` is: on Explicit axes no loop carries a constant on to such."""
    some = jnp.sum(array)
    return jax.tree.map(lambda leaf: leaf + (some < some).astype(leaf.dtype), tree)  # zero, of a NaN too

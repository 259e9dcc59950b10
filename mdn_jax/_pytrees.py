"""Dataclasses that JAX sees into."""

from typing import TypeVar

import jax
from jax import export

__all__ = ["register"]

Class = TypeVar("Class", bound=type)


def register(dataclass: Class) -> Class:
    """A dataclass of arrays as a pytree that `jax.export` can write, under a name that outlives its module's."""
    return export.register_pytree_node_serialization(
        jax.tree_util.register_dataclass(dataclass),
        serialized_name=f"mdn_jax.{dataclass.__name__}",
        serialize_auxdata=lambda _: b"",  # nothing is static: the name says it all
        deserialize_auxdata=lambda _: (),
    )

"""One pure function for M members, spread over the local devices.

Members never talk to each other, so they are split over a one-axis mesh; inside each device they follow one another
on CPU, where every member then runs at the speed of one, and run side by side on GPU and TPU.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, Mesh, PartitionSpec

from mdn_jax._typing import PyTree

__all__ = ["map_members"]


def map_members(function: Callable[[PyTree, PyTree], PyTree], shared: PyTree, members: PyTree) -> PyTree:
    """`function(shared, member)` for each member.

    Args:
        function: pure and traceable.
        shared: what all members read, held once per device.
        members: a pytree whose leaves lead with M.

    Returns:
        The results, stacked along M. They do not depend on how many devices there are.

    Example:
        >>> import jax.numpy as jnp
        >>> from mdn_jax.members import map_members
        >>> print(map_members(lambda scale, x: scale * x, 2.0, jnp.arange(3.0)))
        [0. 2. 4.]
    """
    count = jax.tree.leaves(members)[0].shape[0]
    devices = jax.local_devices()[:count]

    def local(shared: PyTree, members: PyTree) -> PyTree:
        if devices[0].platform == "cpu":
            return jax.lax.map(lambda member: function(shared, member), members)
        return jax.vmap(lambda member: function(shared, member))(members)

    if len(devices) == 1:
        return local(shared, members)
    mesh = Mesh(devices, ("members",), axis_types=(AxisType.Auto,))
    spread = jax.shard_map(
        local,
        mesh=mesh,
        in_specs=(PartitionSpec(), PartitionSpec("members")),
        out_specs=PartitionSpec("members"),
        check_vma=False,
    )
    # every device takes equally many: the last member fills up, and its copies are dropped again
    padded = -count % len(devices)
    filled = jax.tree.map(lambda leaf: jnp.concatenate([leaf, jnp.repeat(leaf[-1:], padded, axis=0)]), members)
    return jax.tree.map(lambda leaf: leaf[:count], spread(shared, filled))

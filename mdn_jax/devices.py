"""One pure function for M lanes, spread over the local devices.

Lanes never talk to each other, so they are split over a one-axis mesh; inside each device they follow one another
on CPU, where every lane then runs at the speed of one, and run side by side on GPU and TPU.
"""

import contextlib
import math
import os
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from mdn_jax._typing import PyTree

__all__ = ["map_lanes", "memory_for_lanes", "num_devices", "place_lanes", "runs_in_turn"]
__all__ += ["use_cpu_devices"]

SHARE = 0.3  # of a device's memory that a batch of lanes may fill: two more wait, and programs need scratch


def num_devices() -> int:
    """Local devices, over which lanes are spread."""
    return jax.local_device_count()


def runs_in_turn() -> bool:
    """True where lanes on one device follow one another (CPU), so that one at rest costs nothing."""
    return jax.local_devices()[0].platform == "cpu"


def memory_for_lanes() -> float:
    """Bytes that lanes may take on all local devices; infinite where a device does not tell."""
    limits = [(device.memory_stats() or {}).get("bytes_limit") for device in jax.local_devices()]
    return SHARE * sum(limit for limit in limits if limit) if all(limits) else math.inf


def use_cpu_devices(count: int) -> None:
    """Ask JAX for so many CPU devices, before its backend starts; where the user has chosen nothing changes."""
    chosen = "JAX_NUM_CPU_DEVICES" in os.environ or "host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if not chosen:
        with contextlib.suppress(RuntimeError):  # a backend that runs already keeps the devices it has
            jax.config.update("jax_num_cpu_devices", count)


def map_lanes(function: Callable[[PyTree, PyTree], PyTree], shared: PyTree, lanes: PyTree) -> PyTree:
    """`function(shared, lane)` for each lane.

    Args:
        function: pure and traceable.
        shared: what all lanes read, held once per device.
        lanes: a pytree whose leaves lead with M.

    Returns:
        The results, stacked along M. They do not depend on how many devices there are.

    Example:
        >>> import jax.numpy as jnp
        >>> from mdn_jax.devices import map_lanes
        >>> print(map_lanes(lambda scale, x: scale * x, 2.0, jnp.arange(3.0)))
        [0. 2. 4.]
    """
    count = jax.tree.leaves(lanes)[0].shape[0]
    devices = jax.local_devices()[:count]

    def local(shared: PyTree, lanes: PyTree) -> PyTree:
        if runs_in_turn():
            return jax.lax.map(lambda lane: function(shared, lane), lanes)
        return jax.vmap(lambda lane: function(shared, lane))(lanes)

    if len(devices) == 1:
        return local(shared, lanes)
    mesh = _mesh(devices)
    spread = jax.shard_map(
        local,
        mesh=mesh,
        in_specs=(PartitionSpec(), PartitionSpec("lanes")),
        out_specs=PartitionSpec("lanes"),
        check_vma=False,
    )
    # every device takes equally many: the last lane fills up, and its copies are dropped again
    padded = -count % len(devices)
    filled = jax.tree.map(lambda leaf: jnp.concatenate([leaf, jnp.repeat(leaf[-1:], padded, axis=0)]), lanes)
    return jax.tree.map(lambda leaf: leaf[:count], spread(shared, filled))


def place_lanes(shared: PyTree, lanes: PyTree) -> tuple[PyTree, PyTree]:
    """`shared` on every device and `lanes` spread over them, as `map_lanes` takes and gives them.

    A compiled program belongs to one placement of its arguments: placed once, they find the same program every time.
    """
    count = jax.tree.leaves(lanes)[0].shape[0]
    devices = jax.local_devices()[:count]
    if len(devices) == 1:
        return shared, lanes
    mesh = _mesh(devices)
    shared = jax.device_put(shared, NamedSharding(mesh, PartitionSpec()))
    if count % len(devices) == 0:
        lanes = jax.device_put(lanes, NamedSharding(mesh, PartitionSpec("lanes")))
    return shared, lanes


def _mesh(devices: list) -> Mesh:
    return Mesh(devices, ("lanes",), axis_types=(AxisType.Auto,))

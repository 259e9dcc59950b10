"""Lanes do not depend on each other, nor on how many devices they are spread over."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from mdn_jax.devices import map_lanes


def test_a_function_of_each_lane():
    lanes = {"a": jnp.arange(3.0), "b": jnp.ones((3, 2))}
    result = map_lanes(lambda shared, lane: (shared * lane["a"], lane["b"].sum()), 2.0, lanes)
    assert_array_equal(result[0], [0.0, 2.0, 4.0])
    assert_array_equal(result[1], [2.0, 2.0, 2.0])


@pytest.mark.parametrize("count", [1, 2, 5])
def test_each_lane_is_itself_alone(count):
    keys = jax.random.split(jax.random.key(0), count)
    draw = jax.jit(lambda keys: map_lanes(lambda _, key: jnp.tanh(jax.random.normal(key, (7,))).sum(), None, keys))
    together = draw(keys)
    assert together.shape == (count,)
    assert_array_equal(together, np.concatenate([draw(key[None]) for key in keys]))


SPREAD = """
import hashlib, sys
import jax
jax.config.update("jax_num_cpu_devices", int(sys.argv[1]))
jax.config.update("jax_platforms", "cpu")
import numpy as np, mdn_jax as mdn
rng = np.random.default_rng(0)
x = rng.normal(size=(64, 1))
training = mdn.TrainingConfig(num_steps=20, evaluate_every=10, batch_size=16, ensemble_size=5)
fit = mdn.fit(
    jax.random.key(0), x, x[:, 0] ** 2, model=mdn.ModelConfig(num_components=2, hidden_sizes=(4,)), training=training
)
digest = hashlib.sha256()
for leaf in [*jax.tree.leaves(fit.model), *jax.tree.leaves(fit.history)]:
    digest.update(np.asarray(leaf).tobytes())
print(jax.local_device_count(), len(fit.model.networks), digest.hexdigest())
"""


def spread(devices):
    command = [sys.executable, "-c", SPREAD, str(devices)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert printed[:2] == [str(devices), "5"]
    return printed[2]


@pytest.mark.slow
def test_five_lanes_on_one_two_or_four_devices_are_bit_equal():
    assert len({spread(devices) for devices in (1, 2, 4)}) == 1

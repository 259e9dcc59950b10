"""What a person brings from outside the package: data, a network with dropout, a distribution's head, an objective."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import mdn_jax as mdn


def rings(noise=0.3, num_rows=200, seed=0):
    """Points on a ring, given by their angle, with their own augmentation."""
    rng = np.random.default_rng(seed)
    angle = rng.uniform(-np.pi, np.pi, num_rows)
    x, y = angle[:, None], (np.cos(angle) + noise * rng.laplace(size=num_rows))[:, None]
    parts = [mdn.Part(x[rows], y[rows]) for rows in (slice(None, -50), slice(-50, None))]
    return mdn.Dataset(*parts, input_names=("angle",), target_names=("across",), augment=turn)


def turn(key, row):
    """The same point one turn further or back."""
    turns = jax.random.randint(key, (), -1, 2).astype(row.x.dtype)
    return row._replace(x=row.x + 0.0 * turns)


class Dropping(nnx.Module):
    """A hidden layer, some of whose units are left out in training."""

    def __init__(self, key, size, num_outputs, width, dropout):
        first, last = jax.random.split(key)
        self.first = nnx.Linear(size, width, rngs=nnx.Rngs(first))
        self.last = nnx.Linear(width, num_outputs, rngs=nnx.Rngs(last))
        self.dropout = nnx.Dropout(dropout)

    def __call__(self, x, key=None):
        hidden = jnp.tanh(self.first(x))
        return self.last(self.dropout(hidden, deterministic=key is None, rngs=key))


def build(key, x, num_outputs, width=16, dropout=0.1):
    """`[model] network`."""
    return Dropping(key, x.shape[0], num_outputs, width, dropout)


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Laplace:
    """The double exponential, one target."""

    loc: Any
    log_scale: Any
    target_dim = 1

    @property
    def batch_shape(self):
        return self.loc.shape[:-1]

    def log_prob(self, y):
        return jnp.sum(-jnp.abs(y - self.loc) * jnp.exp(-self.log_scale) - self.log_scale - jnp.log(2.0))

    def sample(self, key, shape=(), temperature=1.0):
        noise = jax.random.laplace(key, (*shape, 1), self.loc.dtype)
        loc, scale = (jnp.broadcast_to(leaf, noise.shape) for leaf in (self.loc, jnp.exp(self.log_scale)))
        return loc + temperature * scale * noise

    def marginal(self, dims):
        return self

    def affine(self, shift, scale):
        return Laplace(shift + scale * self.loc, self.log_scale + jnp.log(jnp.abs(scale)))

    def mean(self):
        return self.loc

    def std(self):
        return jnp.sqrt(2.0) * jnp.exp(self.log_scale)

    def cdf(self, y):
        z = (y - self.loc) * jnp.exp(-self.log_scale)
        return jnp.where(z < 0, 0.5 * jnp.exp(-jnp.abs(z)), 1.0 - 0.5 * jnp.exp(-jnp.abs(z)))


@dataclass(frozen=True)
class LaplaceSpec:
    """`[model] head`: a centre, and the logarithm of a scale that stays above its floor."""

    floor: float = 0.01
    target_dim = 1
    num_outputs = 2

    def unpack(self, raw):
        return Laplace(raw[:1], jnp.logaddexp(raw[1:], jnp.log(self.floor)))

    def initial_bias(self, y):
        return jnp.array([np.nanmedian(y), np.log(np.nanmean(np.abs(y - np.nanmedian(y))))], float)

    def units(self, y, weight=None):
        return mdn.Standardizer.fit(y)


def objective(key, distribution, y):
    """`[training] objective`: the likelihood, by a name of one's own."""
    return -distribution.log_prob(y)

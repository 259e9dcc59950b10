r"""From a network's raw outputs to a mixture: every real vector is a valid one.

`unpack` reads the raw outputs role by role: what all components share, K logits, K centres, K scales. (Read component
by component, a batch costs twice the training step.) A raw scale is the logarithm of a standard deviation, Bishop's
exponential, bent where it nears the floor and where it leaves all reason:

    log std = log min_std + (d + sqrt(d^2 + 1)) / 2,    d = g(raw) - log min_std,
    g(r) = r for r <= 8,    8 + e / (1 + e / 12) with e = r - 8 beyond.

Far above the floor std is exp(raw) (5 % more at 100 times the floor); it never falls below the floor, which keeps the
likelihood bounded, and levels off at exp(20); its gradient is not zero at any raw output that occurs (to 1e15), so
that any excursion is pulled back. Both bends are algebraic, since they are taken for every component, row and step:
the logarithm of a sum of exponentials would cost a fifth of the training step. A full covariance is a chain of
regressions, y_i on y_1 ... y_{i-1}: the raw outputs give its coefficients and the standard deviations of what remains,
to which `min_std` applies.
"""

import functools
import math
from dataclasses import dataclass
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from mdn_jax._checks import nearest, require
from mdn_jax._typing import ArrayLike, Float, Key
from mdn_jax.distributions import Mixture
from mdn_jax.distributions.scales import Diagonal, Isotropic, Scale, Triangular
from mdn_jax.distributions.units import Standardizer
from mdn_jax.heads.protocol import columns

__all__ = ["Covariance", "MixtureSpec"]

Covariance = Literal["isotropic", "diagonal", "tied", "full", "unit"]
LARGEST_LOG = 8.0  # of a standard deviation that is taken at its word: 3,000 target units, beyond what training reaches
ROWS_LOOKED_AT = 10_000  # where centres start
EXCESS_LOG = 12.0  # how much larger it can become: exp(20) squared is still a float32, as is what it whitens


@dataclass(frozen=True)
class MixtureSpec:
    """The kind of mixture that a network's outputs describe.

    Attributes:
        num_components: K.
        target_dim: D.
        covariance: "isotropic" (one std per component, the same for targets in units of their own: of unlike units
            take "diagonal"), "diagonal" (one per component and dimension), "tied" (one
            full covariance shared by all components) or "full" (one each). "unit" is least squares' own: one
            component of unit covariance, so that the outputs are the mean alone.
        min_std: floor of the standard deviations, in the units given to `unpack`; for tied and full of each target
            given the ones before it. They level off at exp(20) = 5e8: standardise targets that spread so far.

    Raises:
        InputError: for counts below 1, an unknown covariance, or a floor that is not positive.

    Example:
        >>> import mdn_jax as mdn
        >>> mdn.MixtureSpec(num_components=5, target_dim=2, covariance="full").num_outputs
        30
    """

    num_components: int
    target_dim: int = 1
    covariance: Covariance = "diagonal"
    min_std: float = 1e-3

    def __post_init__(self) -> None:
        require(self.num_components >= 1, f"num_components must be at least 1; got {self.num_components}")
        require(self.target_dim >= 1, f"target_dim must be at least 1; got {self.target_dim}")
        legal = get_args(Covariance)
        require(self.covariance in legal, f"unknown covariance {self.covariance!r}: {nearest(self.covariance, legal)}")
        require(
            0 < self.min_std < math.exp(LARGEST_LOG),
            f"min_std must be positive, or a density can grow without bound, and below {math.exp(LARGEST_LOG):.0f}; "
            f"got {self.min_std}",
        )
        require(
            self.covariance != "unit" or self.num_components == 1,
            f"covariance 'unit' has one component; got num_components = {self.num_components}",
        )

    @property
    def outputs_per_component(self) -> int:
        """Raw outputs that belong to one component: its logit, centre and scale."""
        if self.covariance == "unit":
            return self.target_dim
        own = {"isotropic": 1, "diagonal": self.target_dim, "tied": 0, "full": _triangle(self.target_dim)}
        return 1 + self.target_dim + own[self.covariance]

    @property
    def outputs_shared(self) -> int:
        """Raw outputs that all components share: the tied scale."""
        return _triangle(self.target_dim) if self.covariance == "tied" else 0

    @property
    def num_outputs(self) -> int:
        """The number of raw outputs a network needs."""
        return self.outputs_shared + self.num_components * self.outputs_per_component

    def unpack(self, raw: Float[Array, " P"]) -> Mixture:
        """The mixture that floating raw outputs describe."""
        if self.covariance == "unit":
            locs = raw[None, :]
            return Mixture(jnp.zeros(1, raw.dtype), locs, Diagonal(jnp.zeros_like(locs)))
        count, dim = self.num_components, self.target_dim
        # split, not slices: its gradient is one concatenation, theirs a sum of padded arrays
        shared, logits, locs, own = jnp.split(raw, np.cumsum([self.outputs_shared, count, count * dim]))
        return Mixture(logits, locs.reshape(count, dim), _unpack_scale(self, shared, own))

    def initial_bias(self, y: ArrayLike) -> Float[Array, " P"]:
        """Equal weights, and centres spread over the quantiles of the targets.

        Component k starts at the row nearest to a place that depends on k alone (a low-discrepancy sequence over the
        quantiles), no row twice while others are left, so that fewer components (from two) start as a prefix of more.

        References:
            M. Roberts, "The unreasonable effectiveness of quasirandom sequences", 2018 (the sequence).
        """
        y = columns(self, y)
        known = [column[np.isfinite(column)] for column in y.T]
        if self.covariance == "unit":
            return jnp.asarray(np.array([column.mean() for column in known]), float)
        ranks = _low_discrepancy(self.num_components, self.target_dim)
        places = np.stack([np.quantile(column, rank) for column, rank in zip(known, ranks.T, strict=True)], axis=1)
        # a single component covers everything; several start half as wide, so that they can tell their shares apart
        spread = np.array([column.std() for column in known]) * (1.0 if self.num_components == 1 else 0.5)
        reach = math.exp(LARGEST_LOG + EXCESS_LOG - 1.0)
        require(
            spread.max() < reach, f"targets with a std of {spread.max():.2g} are beyond {reach:.2g}: standardise them"
        )
        log_std = np.log(np.maximum(spread, 2.0 * self.min_std))
        raw = raw_scale(log_std, self.min_std)
        scale = {
            "isotropic": raw_scale(log_std.mean(keepdims=True), self.min_std),
            "diagonal": raw,
            "tied": np.zeros(0),
            "full": np.concatenate([raw, np.zeros(_triangle(self.target_dim) - self.target_dim)]),
        }
        shared = scale["full"] if self.covariance == "tied" else np.zeros(0)
        own = np.tile(scale[self.covariance], self.num_components)
        locs = _nearest_rows(y, places, np.where(spread > 0, spread, 1.0))
        return jnp.asarray(np.concatenate([shared, np.zeros(self.num_components), locs.ravel(), own]), float)

    def units(self, y: ArrayLike, weight: ArrayLike | None = None) -> Standardizer:
        """The units in which targets (N, D) are learnt: each column's mean, and its standard deviation.

        Under "isotropic" all columns have one scale, the root mean of their variances.
        """
        return Standardizer.fit(y, common=self.covariance == "isotropic")

    def kernel(self, key: Key, fan_in: int) -> Float[Array, "H P"]:
        """A last layer's weights (LeCun normal): those of fewer components are a prefix of those of more."""
        draw = jax.nn.initializers.lecun_normal()
        shared_key, component_key = jax.random.split(key)
        shared = draw(shared_key, (fan_in, self.outputs_shared)) if self.outputs_shared else jnp.zeros((fan_in, 0))
        keys = jax.vmap(lambda k: jax.random.fold_in(component_key, k))(jnp.arange(self.num_components))
        own = jax.vmap(lambda key: draw(key, (fan_in, self.outputs_per_component)), out_axes=1)(keys)
        return jnp.concatenate([shared, by_role(self, own)], axis=1)


def by_role(spec: MixtureSpec, components: Float[Array, "*H K C"]) -> Float[Array, "*H P"]:
    """Columns that belong to one component each (its logit, centre, scale) in the order that `unpack` reads."""
    if spec.covariance == "unit":
        return components[..., 0, :]
    roles = jnp.split(components, [1, 1 + spec.target_dim], axis=-1)
    return jnp.concatenate([role.reshape(*role.shape[:-2], -1) for role in roles], axis=-1)


def raw_scale(log_std: ArrayLike, min_std: float) -> np.ndarray:
    """The raw outputs that `unpack` reads as these log standard deviations, above the floor's and below 20."""
    log_std = np.asarray(log_std, np.float64)
    unbent = log_std - 0.25 / (log_std - math.log(min_std))
    excess = np.maximum(unbent - LARGEST_LOG, 0.0)
    return np.minimum(unbent, LARGEST_LOG) + excess / (1.0 - excess / EXCESS_LOG)


def _nearest_rows(y: np.ndarray, places: Float[np.ndarray, "K D"], units: Float[np.ndarray, " D"]) -> np.ndarray:
    """For each place in turn the nearest row that is not yet chosen: equal components would never part."""
    y = y[np.isfinite(y).any(axis=1)]
    y = y[:: -(-len(y) // ROWS_LOOKED_AT)]
    chosen, locs = np.zeros(len(y), bool), []
    for place in places:
        whole = np.where(np.isfinite(y), y, place)
        distance = np.sum(((whole - place) / units) ** 2, axis=1)
        chosen &= not chosen.all()
        locs.append(whole[np.argmin(np.where(chosen, np.inf, distance))])
        chosen |= (whole == locs[-1]).all(axis=1)
    return np.stack(locs)


def _unpack_scale(spec: MixtureSpec, shared: Float[Array, " S"], own: Float[Array, " KR"]) -> Scale:
    """The scale of K components from their raw outputs."""
    if spec.covariance == "tied":
        whitener = _whitener(spec, shared)
        return Triangular(jnp.broadcast_to(whitener, (spec.num_components, *whitener.shape)))
    own = own.reshape(spec.num_components, -1)
    if spec.covariance == "isotropic":
        return Isotropic(_log_std(own[:, 0], spec.min_std))
    if spec.covariance == "diagonal":
        return Diagonal(_log_std(own, spec.min_std))
    return Triangular(jax.vmap(lambda raw: _whitener(spec, raw))(own))


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _log_std(raw: Float[Array, "..."], min_std: float) -> Float[Array, "..."]:
    return _bend(raw, min_std)[0]


@_log_std.defjvp
def _log_std_jvp(min_std: float, primals: tuple, tangents: tuple) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    # what autodiff makes of the minima and maxima instead, with their ties, costs a quarter of a training step
    value, slope = _bend(primals[0], min_std)
    return value, slope * tangents[0]


def _bend(raw: Float[Array, "..."], min_std: float) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """The log standard deviation of the module's docstring, and its slope."""
    excess = jnp.maximum(raw - LARGEST_LOG, 0.0)
    stretch = 1.0 + excess / EXCESS_LOG
    distance = jnp.minimum(raw, LARGEST_LOG) + excess / stretch - math.log(min_std)
    root = jnp.sqrt(distance**2 + 1.0)
    # (d + sqrt(d^2 + 1)) / 2 = 1 / (2 (sqrt(d^2 + 1) - d)), without cancellation below the floor
    above = jnp.where(distance > 0, 0.5 * (root + distance), 0.5 / (root - jnp.where(distance > 0, 0.0, distance)))
    return math.log(min_std) + above, above / root / stretch / stretch


def _whitener(spec: MixtureSpec, raw: Float[Array, " T"]) -> Float[Array, "D D"]:
    """W = diag(1 / std) (I - A): row i is y_i less its regression on the ones before, in units of what remains."""
    dim = spec.target_dim
    log_std, coefficients = _log_std(raw[:dim], spec.min_std), raw[dim:]
    # the identity, by way of raw: an update of a constant knows no sharding
    unit = jnp.where(True, jnp.eye(dim, dtype=raw.dtype), jnp.broadcast_to(jax.lax.stop_gradient(raw[0]), (dim, dim)))
    regression = unit.at[np.tril_indices(dim, -1)].set(-coefficients)
    return jnp.exp(-log_std)[:, None] * regression


def _triangle(target_dim: int) -> int:
    """Entries of a lower triangle with its diagonal."""
    return target_dim * (target_dim + 1) // 2


def _low_discrepancy(count: int, dim: int) -> np.ndarray:
    """(count, dim) in (0, 1): Roberts' additive recurrence, the golden ratio's generalisation to `dim` dimensions."""
    ratio = 2.0
    for _ in range(64):
        ratio = (1 + ratio) ** (1 / (dim + 1))
    steps = ratio ** -np.arange(1, dim + 1)
    return (0.5 + np.arange(count)[:, None] * steps) % 1.0

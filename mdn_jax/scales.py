r"""Scales of Gaussian components: one contract, three siblings.

A scale knows one linear map per component, the *whitener* W, which turns the distance of a target from a
component's centre into standard normal noise:

    z = W (y - mu),    Sigma = (W^T W)^{-1},    log N(y; mu, Sigma) = log|det W| - |z|^2 / 2 - D/2 log(2 pi).

Everything else in the package asks a scale for `whiten`, its inverse `colour`, and `log_det`, so that one density
and one sampler serve every covariance. `Isotropic`, `Diagonal` and `Triangular` differ in what they store. All hold
K components on their leading axis; methods accept any leading axes, a single component's none included.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple, Self

import jax
import jax.numpy as jnp
from jax import Array

from mdn_jax._typing import Bool, Float

__all__ = ["Diagonal", "Isotropic", "Scale", "Triangular", "to_common"]

LOG_2PI = math.log(2 * math.pi)
PRECISION = jax.lax.Precision.HIGHEST  # float32 products are TF32 on recent GPUs and bfloat16 on TPU otherwise


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Isotropic:
    """One standard deviation per component, the same in every dimension.

    Attributes:
        log_std: (K,) log of the standard deviation.
    """

    log_std: Float[Array, "*K"]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the stored parameters."""
        return tuple(self.log_std.shape)

    def fits(self, num_components: int, target_dim: int) -> bool:
        """Whether the parameters are those of K components in D dimensions."""
        return self.shape == (num_components,)

    def whiten(self, delta: Float[Array, "*K D"]) -> Float[Array, "*K D"]:
        """z = (y - mu) / std."""
        return delta * jnp.exp(-self.log_std)[..., None]

    def colour(self, z: Float[Array, "*K D"]) -> Float[Array, "*K D"]:
        """y - mu = std * z, the inverse of `whiten`."""
        return z * jnp.exp(self.log_std)[..., None]

    def log_diagonal(self, target_dim: int) -> Float[Array, "*K D"]:
        """log W_ii, minus the log of the standard deviation of y_i given y_1 ... y_{i-1}."""
        return jnp.broadcast_to(-self.log_std[..., None], (*self.shape, target_dim))

    def log_det(self, target_dim: int) -> Float[Array, "*K"]:
        """log|det W|."""
        return -target_dim * self.log_std

    def std(self, target_dim: int) -> Float[Array, "*K D"]:
        """Standard deviation of each dimension."""
        return jnp.exp(-self.log_diagonal(target_dim))

    def covariance(self, target_dim: int) -> Float[Array, "*K D D"]:
        """Sigma of each component."""
        return self.to_diagonal(target_dim).covariance(target_dim)

    def temper(self, log_factor: Float[Array, ""]) -> Self:
        """The scale of noise multiplied by exp(log_factor)."""
        return type(self)(self.log_std + log_factor)

    def stretch(self, factor: Float[Array, " D"]) -> "Diagonal":
        """The scale of factor * y."""
        return self.to_diagonal(factor.shape[0]).stretch(factor)

    def factor(self, free: tuple[int, ...], given: tuple[int, ...]) -> "Factors":
        """p(y) = p(given) p(free | given): independent dimensions, so nothing moves."""
        return Factors(self, None, self)

    def to_diagonal(self, target_dim: int) -> "Diagonal":
        """The same scale, spelt with one standard deviation per dimension."""
        return Diagonal(-self.log_diagonal(target_dim))

    def to_triangular(self, target_dim: int) -> "Triangular":
        """The same scale, spelt with a whitening matrix."""
        return self.to_diagonal(target_dim).to_triangular(target_dim)


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Diagonal:
    """One standard deviation per component and dimension.

    Attributes:
        log_std: (K, D) log of the standard deviations.
    """

    log_std: Float[Array, "*K D"]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the stored parameters."""
        return tuple(self.log_std.shape)

    def fits(self, num_components: int, target_dim: int) -> bool:
        """Whether the parameters are those of K components in D dimensions."""
        return self.shape == (num_components, target_dim)

    def whiten(self, delta: Float[Array, "*K D"]) -> Float[Array, "*K D"]:
        """z = (y - mu) / std."""
        return delta * jnp.exp(-self.log_std)

    def colour(self, z: Float[Array, "*K D"]) -> Float[Array, "*K D"]:
        """y - mu = std * z, the inverse of `whiten`."""
        return z * jnp.exp(self.log_std)

    def log_diagonal(self, target_dim: int) -> Float[Array, "*K D"]:
        """log W_ii, minus the log of the standard deviation of y_i given y_1 ... y_{i-1}."""
        return -self.log_std

    def log_det(self, target_dim: int) -> Float[Array, "*K"]:
        """log|det W|."""
        return -jnp.sum(self.log_std, axis=-1)

    def std(self, target_dim: int) -> Float[Array, "*K D"]:
        """Standard deviation of each dimension."""
        return jnp.exp(self.log_std)

    def covariance(self, target_dim: int) -> Float[Array, "*K D D"]:
        """Sigma of each component."""
        return jnp.exp(2 * self.log_std)[..., None] * _identity(self.log_std)

    def temper(self, log_factor: Float[Array, ""]) -> Self:
        """The scale of noise multiplied by exp(log_factor)."""
        return type(self)(self.log_std + log_factor)

    def stretch(self, factor: Float[Array, " D"]) -> "Diagonal":
        """The scale of factor * y."""
        return Diagonal(self.log_std + jnp.broadcast_to(jnp.log(jnp.abs(factor)), self.shape))

    def factor(self, free: tuple[int, ...], given: tuple[int, ...]) -> "Factors":
        """p(y) = p(given) p(free | given): independent dimensions, so nothing moves."""
        return Factors(Diagonal(self.log_std[..., list(free)]), None, Diagonal(self.log_std[..., list(given)]))

    def to_diagonal(self, target_dim: int) -> "Diagonal":
        """Itself."""
        return self

    def to_triangular(self, target_dim: int) -> "Triangular":
        """The same scale, spelt with a whitening matrix."""
        return Triangular(jnp.exp(-self.log_std)[..., None] * _identity(self.log_std))


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Triangular:
    """A full covariance per component, held as its whitening matrix.

    Row i of the whitener is a regression of y_i on y_1 ... y_{i-1}, divided by the standard deviation of what
    remains: a product whitens, where a Cholesky factor of Sigma would need a triangular solve (slower on every
    device at small D, and it overflows where the product does not).

    Attributes:
        whitener: (K, D, D) lower triangular with a positive diagonal.
    """

    whitener: Float[Array, "*K D D"]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the stored parameters."""
        return tuple(self.whitener.shape)

    def fits(self, num_components: int, target_dim: int) -> bool:
        """Whether the parameters are those of K components in D dimensions."""
        return self.shape == (num_components, target_dim, target_dim)

    def whiten(self, delta: Float[Array, "*K D"]) -> Float[Array, "*K D"]:
        """z = W (y - mu)."""
        return jnp.einsum("...ij,...j->...i", self.whitener, delta, precision=PRECISION)

    def colour(self, z: Float[Array, "*K D"]) -> Float[Array, "*K D"]:
        """y - mu = W^{-1} z, the inverse of `whiten`."""
        return forward_substitution(self.whitener, z[..., None])[..., 0]

    def log_diagonal(self, target_dim: int) -> Float[Array, "*K D"]:
        """log W_ii, minus the log of the standard deviation of y_i given y_1 ... y_{i-1}."""
        return jnp.log(jnp.diagonal(self.whitener, axis1=-2, axis2=-1))

    def log_det(self, target_dim: int) -> Float[Array, "*K"]:
        """log|det W|."""
        return jnp.sum(self.log_diagonal(target_dim), axis=-1)

    def std(self, target_dim: int) -> Float[Array, "*K D"]:
        """Standard deviation of each dimension."""
        return jnp.sqrt(jnp.sum(self._colourer() ** 2, axis=-1))

    def covariance(self, target_dim: int) -> Float[Array, "*K D D"]:
        """Sigma of each component."""
        colourer = self._colourer()
        return jnp.einsum("...ij,...kj->...ik", colourer, colourer, precision=PRECISION)

    def temper(self, log_factor: Float[Array, ""]) -> Self:
        """The scale of noise multiplied by exp(log_factor)."""
        return type(self)(self.whitener * jnp.exp(-log_factor))

    def stretch(self, factor: Float[Array, " D"]) -> "Triangular":
        """The scale of factor * y: W diag(1 / factor), its rows flipped where the diagonal would turn negative."""
        rows = jnp.broadcast_to(jnp.sign(factor)[:, None], self.shape)
        columns = jnp.broadcast_to(factor, self.shape)
        return Triangular(rows * self.whitener / columns)

    def factor(self, free: tuple[int, ...], given: tuple[int, ...]) -> "Factors":
        """p(y) = p(given) p(free | given), from one QR of the whitener with the columns of `free` put first.

        Q only rotates z, and R [free, given] = [[A, B], [0, C]] says it all: C whitens what is given, A whitens
        what is free, around a centre moved by -A^{-1} B times the distance of what is given.
        """
        order = (*reversed(free), *reversed(given))  # reversed: an upper triangle read backwards is a lower one
        upper = jnp.linalg.qr(self.whitener[..., order], mode="r")
        split = len(free)
        corner, side, rest = upper[..., :split, :split], upper[..., :split, split:], upper[..., split:, split:]
        gain = None
        if free and given:
            # an upper system, and its result, read backwards
            gain = -forward_substitution(corner[..., ::-1, ::-1], side[..., ::-1, ::-1])
        return Factors(Triangular(_reverse(corner)), gain, Triangular(_reverse(rest)))

    def to_triangular(self, target_dim: int) -> "Triangular":
        """Itself."""
        return self

    def _colourer(self) -> Float[Array, "*K D D"]:
        """C = W^{-1}, so that Sigma = C C^T."""
        return forward_substitution(
            self.whitener, jnp.broadcast_to(jnp.eye(self.shape[-1], dtype=self.whitener.dtype), self.shape)
        )


def forward_substitution(lower: Float[Array, "*K D D"], rhs: Float[Array, "*K D R"]) -> Float[Array, "*K D R"]:
    """The solution of lower triangular systems, row by row.

    Written out: on CPU, jaxlib's batched LAPACK solves of one program can wait for each other for ever.
    """
    rows: list[Array] = []
    for i in range(lower.shape[-1]):
        known = sum((lower[..., i, j, None] * row for j, row in enumerate(rows)), jnp.zeros_like(rhs[..., i, :]))
        rows.append((rhs[..., i, :] - known) / lower[..., i, i, None])
    return jnp.stack(rows, axis=-2)


Scale = Isotropic | Diagonal | Triangular


class Factors(NamedTuple):
    """A Gaussian split in two: p(y) = p(given) p(free | given).

    Attributes:
        free: the scale of the free dimensions once the others are given.
        gain: (K, F, G) how far the centre of the free ones moves per distance of the given ones; None: not at all.
        given: the scale of the given dimensions by themselves (their marginal).
    """

    free: Scale
    gain: Float[Array, "*K F G"] | None
    given: Scale


def whiten_observed(
    scale: Scale, delta: Float[Array, "K D"], observed: Bool[Array, " D"]
) -> tuple[Float[Array, "K D"], Float[Array, "K D"]]:
    """`whiten` and `log_diagonal` of the observed dimensions' marginal, zero in D - |observed| places.

    Unlike `factor` this takes a traced mask, so that every row of a batch may miss other targets.
    """
    delta = jnp.where(observed[None, :], delta, 0.0)
    if isinstance(scale, Triangular):
        order = jnp.argsort(observed, stable=True)  # what is missing first: QR then leaves it in the first rows
        upper = jnp.linalg.qr(scale.whitener[..., order], mode="r")
        z = jnp.einsum("...ij,...j->...i", upper, delta[..., order], precision=PRECISION)
        log_diagonal = jnp.log(jnp.abs(jnp.diagonal(upper, axis1=-2, axis2=-1)))
        observed = observed[order]
    else:
        z, log_diagonal = scale.whiten(delta), scale.log_diagonal(delta.shape[-1])
    return jnp.where(observed[None, :], z, 0.0), jnp.where(observed[None, :], log_diagonal, 0.0)


def to_common(scales: list[Scale], target_dim: int) -> list[Scale]:
    """The same scales, all spelt as the most general sibling among them."""
    if len({type(scale) for scale in scales}) == 1:
        return scales
    if any(isinstance(scale, Triangular) for scale in scales):
        return [scale.to_triangular(target_dim) for scale in scales]
    return [scale.to_diagonal(target_dim) for scale in scales if not isinstance(scale, Triangular)]  # narrows the type


def _identity(log_std: Float[Array, "*K D"]) -> Float[Array, "*K D D"]:
    """Identity matrices with the leading axes of `log_std`, so that products need no rank promotion."""
    target_dim = log_std.shape[-1]
    return jnp.broadcast_to(jnp.eye(target_dim, dtype=log_std.dtype), (*log_std.shape, target_dim))


def _reverse(upper: Float[Array, "*K D D"]) -> Float[Array, "*K D D"]:
    """The whitener of reversed coordinates: both axes flipped, rows signed for a positive diagonal."""
    lower = upper[..., ::-1, ::-1]
    signs = jnp.where(jnp.diagonal(lower, axis1=-2, axis2=-1) < 0, -1.0, 1.0)
    return lower * signs.astype(lower.dtype)[..., None]

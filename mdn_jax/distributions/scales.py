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

from mdn_jax._checks import promoted, require
from mdn_jax._pytrees import register
from mdn_jax._typing import Bool, Float

__all__ = ["Diagonal", "Isotropic", "Scale", "Triangular", "to_common"]

LOG_2PI = math.log(2 * math.pi)
PRECISION = jax.lax.Precision.HIGHEST  # float32 products are TF32 on recent GPUs and bfloat16 on TPU otherwise


@dataclass(frozen=True, eq=False)
class _AxisAligned:
    """The base of scales of independent dimensions; `_axes` are their log standard deviations, (*K, 1) or (*K, D)."""

    log_std: Float[Array, "..."]

    @property
    def _axes(self) -> Float[Array, "..."]:
        return self.log_std

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the stored parameters."""
        return tuple(self.log_std.shape)

    def whiten(self, delta: Float[Array, "*K D"]) -> Float[Array, "*K D"]:
        """z = (y - mu) / std."""
        return delta * jnp.exp(-self._axes)

    def colour(self, z: Float[Array, "*K D"]) -> Float[Array, "*K D"]:
        """y - mu = std * z, the inverse of `whiten`."""
        return z * jnp.exp(self._axes)

    def log_diagonal(self, target_dim: int) -> Float[Array, "*K D"]:
        """log W_ii, minus the log of the standard deviation of y_i given y_1 ... y_{i-1}."""
        return jnp.broadcast_to(-self._axes, (*self._axes.shape[:-1], target_dim))

    def std(self, target_dim: int) -> Float[Array, "*K D"]:
        """Standard deviation of each dimension."""
        return jnp.exp(-self.log_diagonal(target_dim))

    def covariance(self, target_dim: int) -> Float[Array, "*K D D"]:
        """Sigma of each component."""
        return _on_diagonal(jnp.exp(-2 * self.log_diagonal(target_dim)))

    def temper(self, log_factor: Float[Array, ""]) -> Self:
        """The scale of noise multiplied by exp(log_factor)."""
        return type(self)(self.log_std + log_factor)

    def stretch(self, factor: Float[Array, " D"]) -> "Diagonal":
        """The scale of factor * y."""
        own = self.to_diagonal(factor.shape[0])
        return Diagonal(own.log_std + jnp.broadcast_to(jnp.log(jnp.abs(factor)), own.shape))

    def to_diagonal(self, target_dim: int) -> "Diagonal":
        """The same scale, spelt with one standard deviation per dimension."""
        return Diagonal(-self.log_diagonal(target_dim))

    def to_triangular(self, target_dim: int) -> "Triangular":
        """The same scale, spelt with a whitening matrix."""
        return Triangular(_on_diagonal(jnp.exp(self.log_diagonal(target_dim))))


@register
@dataclass(frozen=True, eq=False)
class Isotropic(_AxisAligned):
    """One standard deviation per component, the same in every dimension.

    Attributes:
        log_std: (K,) log of the standard deviation.
    """

    @property
    def _axes(self) -> Float[Array, "*K 1"]:
        return self.log_std[..., None]

    def fits(self, num_components: int, target_dim: int) -> bool:
        """True where the parameters are those of K components in D dimensions."""
        return self.shape == (num_components,)

    def log_det(self, target_dim: int) -> Float[Array, "*K"]:
        """log|det W|."""
        return -target_dim * self.log_std

    def factor(self, free: tuple[int, ...], given: tuple[int, ...]) -> "Factors":
        """p(y) = p(given) p(free | given): independent dimensions, so nothing moves."""
        return Factors(self, None, self)


@register
@dataclass(frozen=True, eq=False)
class Diagonal(_AxisAligned):
    """One standard deviation per component and dimension.

    Attributes:
        log_std: (K, D) log of the standard deviations.
    """

    def fits(self, num_components: int, target_dim: int) -> bool:
        """True where the parameters are those of K components in D dimensions."""
        return self.shape == (num_components, target_dim)

    def log_det(self, target_dim: int) -> Float[Array, "*K"]:
        """log|det W|."""
        return -jnp.sum(self.log_std, axis=-1)

    def factor(self, free: tuple[int, ...], given: tuple[int, ...]) -> "Factors":
        """p(y) = p(given) p(free | given): independent dimensions, so nothing moves."""
        return Factors(Diagonal(self.log_std[..., list(free)]), None, Diagonal(self.log_std[..., list(given)]))


@register
@dataclass(frozen=True, eq=False)
class Triangular:
    """A full covariance per component, held as its whitening matrix.

    Row i of the whitener is a regression of y_i on y_1 ... y_{i-1}, divided by the standard deviation of what
    remains: a product whitens, where a Cholesky factor of Sigma would need a triangular solve (slower on every
    device at small D, and it overflows where the product does not).

    Attributes:
        whitener: (K, D, D) lower triangular with a positive diagonal, W = L^{-1} where Sigma = L L^T. Values are not
            checked: make one from what you have with `from_cholesky` or `from_covariance`.
    """

    whitener: Float[Array, "*K D D"]

    @classmethod
    def from_cholesky(cls, factor: Float[Array, "*K D D"]) -> Self:
        """The scale of Sigma = L L^T.

        Args:
            factor: (K, D, D) L in the units of the targets; what stands above the diagonal is not read.

        Raises:
            InputError: where the last two axes are not a square.

        Example:
            >>> import jax.numpy as jnp, mdn_jax as mdn
            >>> print(mdn.Triangular.from_cholesky(jnp.array([[[2.0, 0.0], [6.0, 1.0]]])).whitener[0])
            [[ 0.5  0. ]
             [-3.   1. ]]
        """
        factor = _square("from_cholesky", factor)
        unit = jnp.diagonal(factor, axis1=-2, axis2=-1)  # taken out first: targets may differ by any power of ten
        whitener = cls(factor / unit[..., :, None])._colourer() / unit[..., None, :]
        return cls(_positive_diagonal(whitener))

    @classmethod
    def from_covariance(cls, covariance: Float[Array, "*K D D"]) -> Self:
        """The scale of Sigma: (K, D, D) symmetric and positive definite, NaN where it is not.

        Raises:
            InputError: where the last two axes are not a square.

        Example:
            >>> import jax.numpy as jnp, mdn_jax as mdn
            >>> print(mdn.Triangular.from_covariance(jnp.array([[[4.0, 0.0], [0.0, 0.25]]])).whitener[0])
            [[0.5 0. ]
             [0.  2. ]]
        """
        rest = _square("from_covariance", covariance)
        std = jnp.sqrt(jnp.diagonal(rest, axis1=-2, axis2=-1))
        rest, columns = rest / std[..., :, None] / std[..., None, :], []
        for i in range(rest.shape[-1]):  # written out, as `forward_substitution` is
            columns.append(rest[..., :, i] / jnp.sqrt(rest[..., i, i, None]))
            rest = rest - columns[i][..., :, None] * columns[i][..., None, :]
        return cls.from_cholesky(std[..., :, None] * jnp.stack(columns, axis=-1))

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the stored parameters."""
        return tuple(self.whitener.shape)

    def fits(self, num_components: int, target_dim: int) -> bool:
        """True where the parameters are those of K components in D dimensions."""
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
        return length(self._colourer())

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
        order = (*reversed(free), *reversed(given))  # an upper triangle read backwards is a lower one
        lower = _positive_diagonal(jnp.linalg.qr(self.whitener[..., order], mode="r")[..., ::-1, ::-1])
        split = len(given)
        whitened = Triangular(lower[..., split:, split:]), Triangular(lower[..., :split, :split])
        return Factors(whitened[0], lower[..., split:, :split] if free and given else None, whitened[1])

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


def length(vectors: Float[Array, "... D"]) -> Float[Array, "..."]:
    """Euclidean length, in any units, with gradient 0 at 0."""
    limits = jnp.finfo(vectors.dtype)
    # no square of a large or tiny number: the largest entry is the unit
    unit = jnp.clip(jax.lax.stop_gradient(jnp.max(jnp.abs(vectors), axis=-1)), limits.tiny, limits.max)
    squares = jnp.sum((vectors / unit[..., None]) ** 2, axis=-1)
    positive = squares > 0
    return jnp.where(positive, unit * jnp.sqrt(jnp.where(positive, squares, 1.0)), 0.0)


Scale = Isotropic | Diagonal | Triangular


class Factors(NamedTuple):
    """A Gaussian split in two: p(y) = p(given) p(free | given).

    Attributes:
        free: the scale of the free dimensions once the others are given.
        pull: (K, F, G) how far the centre of the free ones moves back per distance of the given ones, whitened by
            `free`, so that targets of any units mix; None: not at all.
        given: the scale of the given dimensions by themselves (their marginal).
    """

    free: Scale
    pull: Float[Array, "*K F G"] | None
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


def _on_diagonal(values: Float[Array, "*K D"]) -> Float[Array, "*K D D"]:
    """Diagonal matrices, spelt so that their product needs no rank promotion."""
    target_dim = values.shape[-1]
    return values[..., None] * jnp.broadcast_to(jnp.eye(target_dim, dtype=values.dtype), (*values.shape, target_dim))


def _positive_diagonal(lower: Float[Array, "*K D D"]) -> Float[Array, "*K D D"]:
    """The whitener of the same covariance whose diagonal is positive: rows of the other sign are turned."""
    return lower * jnp.where(jnp.diagonal(lower, axis1=-2, axis2=-1) < 0, -1.0, 1.0).astype(lower.dtype)[..., None]


def _square(function: str, matrices: Float[Array, "*K D D"]) -> Float[Array, "*K D D"]:
    """At least float32, or an `InputError` where the last two axes differ."""
    matrices = jnp.asarray(matrices)
    require(
        matrices.ndim >= 2 and matrices.shape[-2] == matrices.shape[-1],
        f"Triangular.{function} takes square matrices of shape (..., D, D); got {matrices.shape}",
    )
    return matrices.astype(promoted(matrices))

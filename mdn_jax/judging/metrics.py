"""Scores of a set of predictions: likelihood, error, calibration and sharpness, per row and in one report.

Each target is scored by what its marginal can say: a number by its mean and distribution function, a target of kinds
by the probabilities of these. What a target does not have is NaN.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from mdn_jax._printing import ShortRepr
from mdn_jax._typing import Bool, Float
from mdn_jax.distributions import Distribution, log_prob, responsibilities
from mdn_jax.distributions.protocol import apart, width
from mdn_jax.judging.kinds import calibration_error, weighted_mean
from mdn_jax.judging.targets import kinds_of, mixture_of, numbers_of, of_targets
from mdn_jax.statistics import cdf, interval, mean
from mdn_jax.statistics.quantiles import mass_at
from mdn_jax.statistics.scores import marginal_crps, nll

__all__ = ["Scores", "deviation", "placed", "score"]

OF_KINDS = ("log_loss", "hit", "confidence", "kind")
LIVE_SHARE = 0.01  # a component is alive where it is responsible for this share of a fair one's rows


@dataclass(frozen=True, eq=False, repr=False)
class Scores(ShortRepr):
    """Scores of N rows, each array in the units of the targets as given; NaN for what a target does not have.

    Attributes:
        nll: (N,) nats.
        error: (N, D) mean minus target, the shorter way on a circle.
        crps: (N, D) of each target's marginal.
        pit: (N, D) the marginals' distribution functions at the targets: uniform where the model is calibrated. Where
            a target has a probability of its own, a place drawn within it.
        width_90: (N, D) width of the central 90 % intervals.
        responsibilities: (N, K) posterior probability of each component of the numbers' mixture; None without one.
        weight: (N,) how much each row counts in the report; None where all count alike.
        log_loss: (N, D) of a target of kinds, nats: of its marginal's probability.
        hit: (N, D) 1 where the most probable kind is right, 0 where it is not.
        confidence: (N, D) probability of the most probable kind.
        kind: (N, D) its code.
        classes: of each target how many kinds it names, None of a number; () where all are numbers.
        cdf: (N, D) the marginals' distribution functions at the targets.
        mass: (N, D) probability of each target itself: 0 where it has a density.
    """

    nll: np.ndarray
    error: np.ndarray
    crps: np.ndarray
    pit: np.ndarray
    width_90: np.ndarray
    responsibilities: np.ndarray | None = None
    weight: np.ndarray | None = None
    log_loss: np.ndarray | None = None
    hit: np.ndarray | None = field(default=None, repr=False)
    confidence: np.ndarray | None = field(default=None, repr=False)
    kind: np.ndarray | None = field(default=None, repr=False)
    classes: tuple[int | None, ...] = field(default=(), repr=False)
    cdf: np.ndarray | None = field(default=None, repr=False)
    mass: np.ndarray | None = field(default=None, repr=False)

    @property
    def weights(self) -> Float[np.ndarray, " N"]:
        """The weight of each row."""
        return np.ones(len(self.nll)) if self.weight is None else self.weight

    @property
    def measure(self) -> str:
        """Of `nll`: "density", "mass", or "mixed" where some values have a mass and others a density."""
        known = np.zeros(1) if self.mass is None else self.mass[~np.isnan(self.mass)]
        return "mass" if known.size and (known > 0).all() else "mixed" if (known > 0).any() else "density"

    @property
    def numbers(self) -> list[int]:
        """Indices of the targets that are numbers."""
        return [dim for dim in range(self.error.shape[1]) if not self.classes or self.classes[dim] is None]

    @property
    def kinds(self) -> list[int]:
        """Indices of the targets that name kinds."""
        return [dim for dim in range(self.error.shape[1]) if dim not in self.numbers]

    def report(self, target_names: Sequence[str], prefix: str = "test") -> dict[str, Any]:
        """Plain numbers for a table or a JSON file.

        Args:
            target_names: one name per target.
            prefix: of the names of the scores: `test_nll`, `test_rmse`, ...

        Returns:
            `measure` and `{prefix}_nll` (mean nats per row) with its standard error; `{prefix}_rmse`, `{prefix}_crps`,
            `coverage_90`, `width_90` and `pit_deviation` (largest distance of the PIT's distribution from uniform)
            as {target: value} of the numbers; `{prefix}_log_loss`, `{prefix}_accuracy` and `calibration_error` of
            the targets of kinds, where there are any; `live_components` of a mixture.
        """

        def named(dims: list[int], values: np.ndarray) -> dict[str, float]:
            named = list(zip(target_names, values.tolist(), strict=True))
            return dict(named[dim] for dim in dims)

        weight, numbers, kinds = self.weights, self.numbers, self.kinds
        nll = np.average(self.nll, weights=weight)
        # the variance of a weighted mean of independent rows
        variance = np.sum(weight**2 * (self.nll - nll) ** 2) / weight.sum() ** 2
        inside = np.where(np.isnan(self.pit), np.nan, (self.pit >= 0.05) & (self.pit <= 0.95))
        report: dict[str, Any] = {
            "measure": self.measure,
            f"{prefix}_nll": float(nll),
            f"{prefix}_nll_standard_error": float(np.sqrt(variance)),
            f"{prefix}_rmse": named(numbers, np.sqrt(weighted_mean(self.error**2, weight))),
            f"{prefix}_crps": named(numbers, weighted_mean(self.crps, weight)),
            "coverage_90": named(numbers, weighted_mean(inside, weight)),
            "width_90": named(numbers, weighted_mean(self.width_90, weight)),
            "pit_deviation": named(numbers, np.array([deviation(column, weight) for column in self.pit.T])),
        }
        if kinds:
            log_loss, hit, sure = (np.asarray(column) for column in (self.log_loss, self.hit, self.confidence))
            errors = [calibration_error(*row, weight) for row in zip(hit.T, sure.T, strict=True)]
            report |= {
                f"{prefix}_log_loss": named(kinds, weighted_mean(log_loss, weight)),
                f"{prefix}_accuracy": named(kinds, weighted_mean(hit, weight)),
                "calibration_error": named(kinds, np.array(errors)),
            }
        if self.responsibilities is not None:
            share = np.average(self.responsibilities, axis=0, weights=weight)
            report["live_components"] = int((share > LIVE_SHARE / len(share)).sum())
        return report


def deviation(pit: Float[np.ndarray, " N"], weight: Float[np.ndarray, " N"]) -> float:
    """Largest distance of the weighted distribution of the known values from uniform."""
    order = np.argsort(pit)[: np.count_nonzero(~np.isnan(pit))]  # NaN comes last
    known, weight = pit[order], weight[order]
    if not weight.any():
        return float("nan")
    return float(np.abs(known - (np.cumsum(weight) - 0.5 * weight) / weight.sum()).max())


def placed(cdf: Float[np.ndarray, "N D"], mass: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N D"]:
    """The probability integral transform: where y has a mass, a place within it, the same at every call.

    References:
        C. Czado, T. Gneiting and L. Held, "Predictive model assessment for count data", 2009 (randomised PIT).
    """
    within = np.random.default_rng(0).uniform(size=cdf.shape)
    return np.clip(cdf - within * np.nan_to_num(mass), 0.0, 1.0)


def score(
    distribution: Distribution, y: Float[Array, " D"], *, observed: Bool[Array, " D"] | None = None
) -> dict[str, Float[Array, "..."]]:
    """The scores of ONE prediction, by the names of `Scores`.

    Args:
        distribution: one distribution.
        y: (D,) one target.
        observed: (D,) which targets are known, for the likelihood; the other scores of an unknown one mean nothing.

    Returns:
        nll (); error, crps, pit, mass, width_90, log_loss, hit, confidence, kind (D,), NaN for what a target does not
        have; where the numbers are a mixture responsibilities (K,).

    Raises:
        InputError: for a batch (use `jax.vmap`).

    Example:
        >>> import jax.numpy as jnp, mdn_jax as mdn
        >>> from mdn_jax.judging.metrics import score
        >>> mixture = mdn.Mixture(jnp.zeros(1), jnp.zeros((1, 1)), mdn.Isotropic(jnp.zeros(1)))
        >>> print(score(mixture, jnp.zeros(1))["pit"])
        [0.5]
    """
    scores = {"nll": nll(distribution, y, observed=observed)}
    ends = of_targets(lambda one: interval(one, 0.9), distribution, shape=(2,))
    scores |= {
        "error": apart(distribution, of_targets(mean, distribution), y),
        "crps": of_targets(marginal_crps, distribution, y),
        "pit": jnp.clip(of_targets(cdf, distribution, y), 0.0, 1.0),
        "mass": of_targets(mass_at, distribution, y),
        "width_90": width(distribution, ends),
    }
    scores |= dict.fromkeys(OF_KINDS, jnp.full(y.shape, jnp.nan))
    for dim, one in kinds_of(distribution).items():
        best = jnp.argmax(one.probs)
        kind = best.astype(y.dtype)
        said = (-log_prob(one, y[dim : dim + 1]), (kind == y[dim]).astype(y.dtype), one.probs[best], kind)
        scores |= {name: scores[name].at[dim].set(value) for name, value in zip(OF_KINDS, said, strict=True)}
    dims, numbers = numbers_of(distribution)
    mixture = mixture_of(numbers)
    if mixture is not None:
        known = None if observed is None else observed[dims]
        scores["responsibilities"] = responsibilities(mixture, y[dims], observed=known)
    return scores

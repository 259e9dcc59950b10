"""Scores of a set of predictions: likelihood, error, calibration and sharpness, per row and in one report."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from mdn_jax._printing import ShortRepr
from mdn_jax._typing import Bool, Float
from mdn_jax.distributions import Mixture, responsibilities
from mdn_jax.statistics import cdf, interval, mean
from mdn_jax.statistics.scores import marginal_crps, nll

__all__ = ["Scores", "score"]

LIVE_SHARE = 0.01  # a component is alive where it is responsible for this share of a fair one's rows


@dataclass(frozen=True, eq=False, repr=False)
class Scores(ShortRepr):
    """Scores of N rows, each array in the units of the targets as given.

    Attributes:
        nll: (N,) nats.
        error: (N, D) mean minus target.
        crps: (N, D) of each target's marginal.
        pit: (N, D) the marginals' distribution functions at the targets: uniform where the model is calibrated.
        width_90: (N, D) width of the central 90 % intervals.
        responsibilities: (N, K) posterior probability of each component.
        weight: (N,) how much each row counts in the report; None where all count alike.
    """

    nll: np.ndarray
    error: np.ndarray
    crps: np.ndarray
    pit: np.ndarray
    width_90: np.ndarray
    responsibilities: np.ndarray
    weight: np.ndarray | None = None

    def report(self, target_names: Sequence[str], prefix: str = "test") -> dict[str, Any]:
        """Plain numbers for a table or a JSON file.

        Args:
            target_names: one name per target.
            prefix: of the names of the scores: `test_nll`, `test_rmse`, ...

        Returns:
            `{prefix}_nll` (mean nats per row) with its standard error; `{prefix}_rmse`, `{prefix}_crps`,
            `coverage_90`, `width_90` and `pit_deviation` (largest distance of the PIT's distribution from uniform)
            as {target: value}; `live_components`.
        """

        def named(values: np.ndarray) -> dict[str, float]:
            return {name: float(value) for name, value in zip(target_names, values, strict=True)}

        rows, count = self.responsibilities.shape
        weight = np.ones(rows) if self.weight is None else self.weight
        share = np.average(self.responsibilities, axis=0, weights=weight)
        nll = np.average(self.nll, weights=weight)
        # the variance of a weighted mean of independent rows
        variance = np.sum(weight**2 * (self.nll - nll) ** 2) / weight.sum() ** 2
        inside = np.where(np.isnan(self.pit), np.nan, (self.pit >= 0.05) & (self.pit <= 0.95))
        return {
            f"{prefix}_nll": float(nll),
            f"{prefix}_nll_standard_error": float(np.sqrt(variance)),
            f"{prefix}_rmse": named(np.sqrt(_mean(self.error**2, weight))),
            f"{prefix}_crps": named(_mean(self.crps, weight)),
            "coverage_90": named(_mean(inside, weight)),
            "width_90": named(_mean(self.width_90, weight)),
            "pit_deviation": named(np.array([_deviation(column, weight) for column in self.pit.T])),
            "live_components": int((share > LIVE_SHARE / count).sum()),
        }


def _mean(values: Float[np.ndarray, "N D"], weight: Float[np.ndarray, " N"]) -> Float[np.ndarray, " D"]:
    """Weighted means of the known values of each column; NaN where none is known."""
    known = ~np.isnan(values)
    total = known.T @ weight
    return np.where(known, values, 0.0).T @ weight / np.where(total > 0, total, np.nan)


def _deviation(pit: Float[np.ndarray, " N"], weight: Float[np.ndarray, " N"]) -> float:
    """Largest distance of the weighted distribution of the known values from uniform."""
    order = np.argsort(pit)[: np.count_nonzero(~np.isnan(pit))]  # NaN comes last
    known, weight = pit[order], weight[order]
    if not weight.any():
        return float("nan")
    return float(np.abs(known - (np.cumsum(weight) - 0.5 * weight) / weight.sum()).max())


def score(
    mixture: Mixture, y: Float[Array, " D"], *, observed: Bool[Array, " D"] | None = None
) -> dict[str, Float[Array, "..."]]:
    """The scores of ONE prediction, by the names of `Scores`.

    Args:
        mixture: one mixture.
        y: (D,) one target.
        observed: (D,) which targets are known, for the likelihood; the other scores of an unknown one mean nothing.

    Returns:
        nll (), error (D,), crps (D,), pit (D,), width_90 (D,), responsibilities (K,).

    Raises:
        InputError: for a batch (use `jax.vmap`).

    Example:
        >>> import jax.numpy as jnp, mdn_jax as mdn
        >>> from mdn_jax.judging.metrics import score
        >>> mixture = mdn.Mixture(jnp.zeros(1), jnp.zeros((1, 1)), mdn.Isotropic(jnp.zeros(1)))
        >>> print(score(mixture, jnp.zeros(1))["pit"])
        [0.5]
    """
    ends = interval(mixture, 0.9)
    return {
        "nll": nll(mixture, y, observed=observed),
        "error": mean(mixture) - y,
        "crps": marginal_crps(mixture, y),
        "pit": jnp.clip(cdf(mixture, y), 0.0, 1.0),
        "width_90": ends[1] - ends[0],
        "responsibilities": responsibilities(mixture, y, observed=observed),
    }

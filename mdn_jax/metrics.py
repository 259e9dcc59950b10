"""Scores of a set of predictions: likelihood, error, calibration and sharpness, per row and in one report."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from mdn_jax._typing import Float
from mdn_jax.losses import marginal_crps, nll
from mdn_jax.mixture import Mixture, responsibilities
from mdn_jax.statistics import cdf, interval, mean

__all__ = ["Scores", "score"]

LIVE_SHARE = 0.01  # a component is alive where it is responsible for this share of a fair one's rows


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of N rows, each array in the units of the targets as given.

    Attributes:
        nll: (N,) nats.
        error: (N, D) mean minus target.
        crps: (N, D) of each target's marginal.
        pit: (N, D) the marginals' distribution functions at the targets: uniform where the model is calibrated.
        width_90: (N, D) width of the central 90 % intervals.
        responsibilities: (N, K) posterior probability of each component.
    """

    nll: np.ndarray
    error: np.ndarray
    crps: np.ndarray
    pit: np.ndarray
    width_90: np.ndarray
    responsibilities: np.ndarray

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
        ranks = (np.arange(rows) + 0.5) / rows
        share = self.responsibilities.mean(axis=0)
        return {
            f"{prefix}_nll": float(self.nll.mean()),
            f"{prefix}_nll_standard_error": float(self.nll.std() / np.sqrt(rows)),
            f"{prefix}_rmse": named(np.sqrt((self.error**2).mean(axis=0))),
            f"{prefix}_crps": named(self.crps.mean(axis=0)),
            "coverage_90": named(((self.pit >= 0.05) & (self.pit <= 0.95)).mean(axis=0)),
            "width_90": named(self.width_90.mean(axis=0)),
            "pit_deviation": named(np.abs(np.sort(self.pit, axis=0) - ranks[:, None]).max(axis=0)),
            "live_components": int((share > LIVE_SHARE / count).sum()),
        }


def score(mixture: Mixture, y: Float[Array, " D"]) -> dict[str, Float[Array, "..."]]:
    """The scores of ONE prediction, by the names of `Scores`.

    Args:
        mixture: one mixture.
        y: (D,) one target.

    Returns:
        nll (), error (D,), crps (D,), pit (D,), width_90 (D,), responsibilities (K,).

    Raises:
        InputError: for a batch (use `jax.vmap`).

    Example:
        >>> import jax.numpy as jnp, mdn_jax as mdn
        >>> from mdn_jax.metrics import score
        >>> mixture = mdn.Mixture(jnp.zeros(1), jnp.zeros((1, 1)), mdn.Isotropic(jnp.zeros(1)))
        >>> print(score(mixture, jnp.zeros(1))["pit"])
        [0.5]
    """
    ends = interval(mixture, 0.9)
    return {
        "nll": nll(mixture, y),
        "error": mean(mixture) - y,
        "crps": marginal_crps(mixture, y),
        "pit": jnp.clip(cdf(mixture, y), 0.0, 1.0),
        "width_90": ends[1] - ends[0],
        "responsibilities": responsibilities(mixture, y),
    }

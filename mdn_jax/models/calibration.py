"""The mass that a region has to be given to hold the share of targets that it should.

Rows that training never saw say which mass a region needed to reach each of their targets. To hold a share p of new
targets, take the region of the mass that the share p of those rows needed: right in finite samples, whatever the
model, as long as new rows are like them.

References:
    R. Izbicki, G. Shimizu and R. Stern, "CD-split and HPD-split: efficient conformal regions in high dimensions", 2022.
    V. Chernozhukov, K. Wüthrich and Y. Zhu, "Distributional conformal prediction", 2021.
"""

from dataclasses import dataclass
from typing import Literal

import jax
import numpy as np

from mdn_jax._checks import check_range
from mdn_jax._printing import ShortRepr
from mdn_jax._typing import Float

__all__ = ["FEWEST_TO_CALIBRATE", "LARGEST_MASS", "Calibration", "Kind"]

Kind = Literal["central", "highest-density"]
FEWEST_TO_CALIBRATE = 20  # rows that can promise anything
LARGEST_MASS = 0.9999  # of a calibrated region: the whole line would tell nothing


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False, repr=False)
class Calibration(ShortRepr):
    """The masses that regions needed to reach the targets of N rows kept apart.

    Attributes:
        central: (N, D) of each target's central interval; NaN where the target is missing.
        highest_density: (N, D) of each target's highest-density region.
        joint: (N,) of the highest-density region of all targets together.
        weight: (N,) how much each row counts; None where all count alike. A share is then one of the weight.

    Example:
        >>> import numpy as np
        >>> from mdn_jax.models import Calibration
        >>> needed = np.linspace(0.0, 1.0, 101)[:, None] ** 2  # too wide a model: targets lie in the middle
        >>> print(Calibration(needed, needed, needed[:, 0]).mass("central", 0.9).round(2))
        [0.83]
    """

    central: Float[np.ndarray, "N D"]
    highest_density: Float[np.ndarray, "N D"]
    joint: Float[np.ndarray, " N"]
    weight: Float[np.ndarray, " N"] | None = None

    def mass(self, kind: Kind, share: float) -> Float[np.ndarray, " D"]:
        """The mass to ask of each target's intervals so that they hold a `share` of new targets, (D,)."""
        check_range("share", share, 0, 1)
        needed = self.central if kind == "central" else self.highest_density
        return np.array([_quantile(column, share, self.weight) for column in needed.T])

    def joint_mass(self, share: float) -> float:
        """The mass to ask of a joint region."""
        check_range("share", share, 0, 1)
        return _quantile(self.joint, share, self.weight)


def _quantile(needed: Float[np.ndarray, " N"], share: float, weight: Float[np.ndarray, " N"] | None) -> float:
    """The smallest mass that a share of new rows will not exceed: of rows alike the ceil((N + 1) share)-th of N."""
    weight = np.ones(len(needed)) if weight is None else weight
    known = np.flatnonzero(~np.isnan(needed) & (weight > 0))
    order = known[np.argsort(needed[known], kind="stable")]
    if not len(order):
        return LARGEST_MASS
    reached = np.cumsum(weight[order])
    new = np.sum(weight[order] ** 2) / reached[-1]  # weight of a new row that is drawn by its weight
    rank = int(np.searchsorted(reached, (reached[-1] + new) * share * (1 - 1e-9)))
    # so few rows cannot promise so much: the largest region there is
    return LARGEST_MASS if rank == len(order) else float(np.clip(needed[order[rank]], 1e-4, LARGEST_MASS))

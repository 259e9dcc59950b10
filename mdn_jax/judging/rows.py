"""Single predictions, beyond their scores: the component that answered, and the regions that reach the target."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from mdn_jax._typing import ArrayLike, Bool, Float, Int, PyTree
from mdn_jax.distributions import Distribution, log_prob, responsibilities, sample
from mdn_jax.judging.metrics import placed
from mdn_jax.judging.targets import mixture_of, numbers_alone, of_targets
from mdn_jax.models import Model, Rows, evenly, map_rows, standard_rows
from mdn_jax.statistics import cdf, highest_density_mass
from mdn_jax.statistics.quantiles import mass_at

__all__ = ["Judged", "judge"]

NUM_SAMPLES, DRAWS_AT_ONCE = 1_000, 100  # draws that tell the mass of a joint region, within 0.016
MOST_ROWS = 2_000  # a coverage of 90 % is known within 0.7 points from these


class Judged(NamedTuple):
    """R evenly spread rows.

    Attributes:
        rows: (R,) their indices.
        component: (R,) the most responsible component of the numbers' mixture; None where they are none.
        sigma: (R, F) its standard deviation for each of F numbers, of what earlier ones leave open where the
            covariance is full or tied: what the floor acts on. In the units of the targets. None without a mixture.
        central: (R, D) mass that each target's central interval needed to reach it; NaN where it is missing.
        highest_density: (R, D) mass that its highest-density region needed.
        joint: (R,) mass that the highest-density region of all numbers together needed.
    """

    rows: Int[np.ndarray, " R"]
    component: Int[np.ndarray, " R"] | None
    sigma: Float[np.ndarray, "R F"] | None
    central: Float[np.ndarray, "R D"]
    highest_density: Float[np.ndarray, "R D"]
    joint: Float[np.ndarray, " R"]


def judge(
    model: Model,
    x: PyTree,
    y: ArrayLike,
    *,
    observed: Bool[np.ndarray, "N D"] | None = None,
    most_rows: int = MOST_ROWS,
) -> Judged:
    """Judge a model on evenly spread rows.

    Args:
        model: from `fit` or `load`.
        x: (N, X) inputs, or any pytree with leading N where the network takes one.
        y: (N, D) targets.
        observed: (N, D) which targets are known.
        most_rows: R at most.

    Returns:
        `Judged`.

    Example:
        >>> import jax, numpy as np, mdn_jax as mdn
        >>> from mdn_jax.judging import judge
        >>> x = np.linspace(-1, 1, 64)[:, None]
        >>> fit = mdn.fit(jax.random.key(0), x, x**2, training=mdn.TrainingConfig(num_steps=2, evaluate_every=1))
        >>> judge(fit.model, x, x**2, most_rows=10).sigma.shape
        (10, 1)
    """
    y = np.asarray(y, np.float64)
    chosen = evenly(len(y), most_rows)
    x, y = jax.tree.map(lambda leaf: np.asarray(leaf)[chosen], x), y.reshape(len(y), -1)[chosen]
    rows = standard_rows(model, x, y, observed=None if observed is None else observed[chosen])
    numbers, model, rows = numbers_alone(model, rows)
    central, highest, joint = np.full(y.shape, np.nan), np.full(y.shape, np.nan), np.full(len(y), np.nan)
    if not numbers:
        return Judged(chosen, None, None, central, highest, joint)
    found: dict[str, Any] = map_rows(_judged, model, rows, once=True)
    together = map_rows(_needed_jointly, model, rows) if len(numbers) > 1 else found["highest_density"][:, 0]
    known = np.ones((len(y), len(numbers)), bool) if rows.observed is None else rows.observed
    central[:, numbers] = np.where(known, np.abs(2.0 * placed(found["cdf"], found["mass"]) - 1.0), np.nan)
    highest[:, numbers] = np.where(known, found["highest_density"], np.nan)
    joint = np.where(known.any(axis=1), np.asarray(together, np.float64), np.nan)
    sigma = found.get("sigma")
    sigma = None if sigma is None else np.asarray(sigma, np.float64) * np.asarray(model.targets.scale)
    return Judged(chosen, found.get("component"), sigma, central, highest, joint)


def _judged(numbers: Distribution, row: Rows) -> dict[str, Float[Array, "..."]]:
    found = {
        "cdf": of_targets(cdf, numbers, row.y),
        "mass": of_targets(mass_at, numbers, row.y),
        "highest_density": of_targets(lambda one, y: highest_density_mass(one, y)[None], numbers, row.y),
    }
    mixture = mixture_of(numbers)
    if mixture is None:
        return found
    component = jnp.argmax(responsibilities(mixture, row.y, observed=row.observed))
    sigma = jnp.exp(-mixture.scale.log_diagonal(mixture.target_dim)[component])
    return found | {"component": component, "sigma": sigma}


def _needed_jointly(numbers: Distribution, row: Rows) -> Float[Array, ""]:
    draws = sample(jax.random.key(0), numbers, (NUM_SAMPLES,))
    at = lambda y: log_prob(numbers, y, observed=row.observed)  # noqa: E731
    return jnp.mean(jax.lax.map(at, draws, batch_size=DRAWS_AT_ONCE) > at(row.y))

"""Single predictions, beyond their scores: the component that answered, and the regions that reach the target."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from mdn_jax._typing import ArrayLike, Bool, Float, Int, PyTree
from mdn_jax.distributions import Distribution, responsibilities
from mdn_jax.judging.calibrating import needed_masses
from mdn_jax.judging.targets import mixture_of, numbers_alone
from mdn_jax.models import Model, Rows, evenly, map_rows, standard_rows

__all__ = ["Judged", "judge"]

MOST_ROWS = 2_000  # a coverage of 90 % is known within 0.7 points from these


class Judged(NamedTuple):
    """R evenly spread rows.

    Attributes:
        rows: (R,) their indices.
        component: (R,) the most responsible component of the numbers' mixture; None where they are none.
        sigma: (R, F) its standard deviation for each of F numbers, of what earlier ones leave open where the
            covariance is full or tied: what the floor acts on. In the units of the targets. None without a mixture.
        highest_density: (R, D) mass that each target's highest-density region needed; NaN where it is missing.
        joint: (R,) mass that the highest-density region of all numbers together needed.
    """

    rows: Int[np.ndarray, " R"]
    component: Int[np.ndarray, " R"] | None
    sigma: Float[np.ndarray, "R F"] | None
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
    x, y = jax.tree.map(lambda leaf: np.asarray(leaf)[chosen], x), y[chosen]
    known = None if observed is None else observed[chosen]
    rows = standard_rows(model, x, y, observed=known)
    numbers, alone, rows = numbers_alone(model, rows)
    found: dict[str, Any] = map_rows(_answered, alone, rows, once=True) if numbers else {}
    needed = needed_masses(model, x, y if known is None else np.where(known, y, np.nan))
    if found:
        found["sigma"] = np.asarray(found["sigma"], np.float64) * np.asarray(alone.targets.scale)
    return Judged(chosen, found.get("component"), found.get("sigma"), needed.highest_density, needed.joint)


def _answered(numbers: Distribution, row: Rows) -> dict[str, Float[Array, "..."]]:
    mixture = mixture_of(numbers)
    if mixture is None:
        return {}
    component = jnp.argmax(responsibilities(mixture, row.y, observed=row.observed))
    sigma = jnp.exp(-mixture.scale.log_diagonal(mixture.target_dim)[component])
    return {"component": component, "sigma": sigma}

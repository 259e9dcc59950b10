"""Single predictions, beyond their scores: the component that answered, and the regions that reach the target."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import ndtr

from mdn_jax._typing import ArrayLike, Bool, Float, Int, PyTree, Scalar
from mdn_jax.mixture import Mixture, log_prob, marginal, responsibilities
from mdn_jax.model import Ensemble, Model, Rows, evenly, map_rows, standard_rows
from mdn_jax.sampling import sample

__all__ = ["Judged", "judge"]

MOST_ROWS = 2_000  # a coverage of 90 % is known within 0.7 points from these
REACH = 4.5  # standard deviations on each side of a centre that are looked at
PAIRS, FEWEST_PAIRS = 384, 12  # of cells of that stretch, of all components together and of each: mostly within 0.003
DRAWS = 1_000  # tell the mass of a joint region within 0.016
AT_ONCE = 100  # draws side by side, for memory


class Judged(NamedTuple):
    """R evenly spread rows.

    Attributes:
        rows: (R,) their indices.
        component: (R,) the most responsible component.
        sigma: (R, D) its standard deviation, of what earlier targets leave open where the covariance is full or
            tied: what the floor acts on. In the units of the targets.
        highest_density: (R, D) mass that each target's highest-density region needed; NaN where it is missing.
        joint: (R,) mass that the highest-density region of all targets together needed.
    """

    rows: Int[np.ndarray, " R"]
    component: Int[np.ndarray, " R"]
    sigma: Float[np.ndarray, "R D"]
    highest_density: Float[np.ndarray, "R D"]
    joint: Float[np.ndarray, " R"]


def judge(
    model: Model | Ensemble,
    x: PyTree,
    y: ArrayLike,
    *,
    observed: Bool[np.ndarray, "N D"] | None = None,
    most_rows: int = MOST_ROWS,
) -> Judged:
    """What evenly spread rows tell: one compiled program, at a cost that grows with the number of components.

    Masses are summed over cells of each component; `needed_masses` finds them to more digits, at a cost that grows
    with the square.

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
        >>> from mdn_jax.diagnosis import judge
        >>> x = np.linspace(-1, 1, 64)[:, None]
        >>> fit = mdn.fit(jax.random.key(0), x, x**2, training=mdn.TrainingConfig(num_steps=2, evaluate_every=1))
        >>> judge(fit.model, x, x**2, most_rows=10).sigma.shape
        (10, 1)
    """
    y = np.asarray(y, np.float64)
    chosen = evenly(len(y), most_rows)
    x, known = jax.tree.map(lambda leaf: np.asarray(leaf)[chosen], x), None if observed is None else observed[chosen]
    rows = standard_rows(model, x, y[chosen], observed=known)
    found: dict[str, Any] = map_rows(_judge, model, rows)
    highest = np.asarray(found["highest_density"], np.float64)
    return Judged(
        rows=chosen,
        component=found["component"],
        sigma=np.asarray(found["sigma"], np.float64) * np.asarray(model.targets.scale),
        highest_density=highest if known is None else np.where(known, highest, np.nan),
        joint=np.asarray(found["joint"], np.float64),
    )


def _judge(mixture: Mixture, row: Rows) -> dict[str, Float[Array, "..."]]:
    component = jnp.argmax(responsibilities(mixture, row.y, observed=row.observed))
    highest = [_mass_above(marginal(mixture, dim), row.y[dim : dim + 1]) for dim in range(mixture.target_dim)]
    joint = highest[0]
    if mixture.target_dim > 1:
        draws = sample(jax.random.key(0), mixture, (DRAWS,))
        level = log_prob(mixture, row.y, observed=row.observed)
        above = jax.lax.map(lambda y: log_prob(mixture, y, observed=row.observed) > level, draws, batch_size=AT_ONCE)
        joint = jnp.mean(above)
    return {
        "component": component,
        "sigma": jnp.exp(-mixture.scale.log_diagonal(mixture.target_dim)[component]),
        "highest_density": jnp.stack(highest),
        "joint": joint,
    }


def _mass_above(mixture: Mixture, y: Float[Array, " 1"]) -> Scalar:
    """The probability of a density higher than at y, for D = 1: each component's, cell by cell."""
    cells = 2 * max(FEWEST_PAIRS, PAIRS // mixture.num_components)  # an even number: an edge at the centre
    edges = jnp.linspace(-REACH, REACH, cells + 1)
    shares, level = jnp.diff(ndtr(edges)), log_prob(mixture, y)

    def above(component: tuple[Array, Array]) -> Scalar:
        loc, std = component
        height = jax.vmap(lambda point: log_prob(mixture, point[None]) - level)(loc + std * edges)
        high, low = jnp.maximum(height[:-1], height[1:]), jnp.minimum(height[:-1], height[1:])
        # where the density crosses the level within a cell, as on a straight line
        crossed = (high > 0) & (low < 0)
        part = jnp.where(crossed, high / jnp.where(crossed, high - low, 1.0), jnp.where(low >= 0, 1.0, 0.0))
        return jnp.sum(shares * jnp.where(high > 0, part, 0.0))

    own = jax.lax.map(above, (mixture.locs[:, 0], mixture.scale.std(1)[:, 0]))
    return jnp.sum(mixture.weights * own)

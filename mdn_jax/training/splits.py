"""Many splits of one table; those of one shape train side by side in one compiled program."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mdn_jax._checks import require
from mdn_jax._typing import ArrayLike, Key
from mdn_jax.config import ModelConfig, TrainingConfig
from mdn_jax.models import Rows
from mdn_jax.training.choices import head_of
from mdn_jax.training.fitting import advance_to_end, finish_runs
from mdn_jax.training.lane import Split
from mdn_jax.training.objectives import objective_of
from mdn_jax.training.preparation import Data, prepare, rows_of_lanes
from mdn_jax.training.starting import start_runs
from mdn_jax.training.state import Fit, OnEvaluation

__all__ = ["fit_prepared", "fit_splits"]


def fit_splits(
    key: Key,
    x: ArrayLike,
    y: ArrayLike,
    splits: Sequence[ArrayLike],
    *,
    model: ModelConfig | None = None,
    training: TrainingConfig | None = None,
    input_names: tuple[str, ...] = (),
    target_names: tuple[str, ...] = (),
    on_evaluation: OnEvaluation | None = None,
) -> list[Fit]:
    """`fit` on each of several splits of the same rows, for cross-validation and benchmarks.

    Splits of one size train in one compiled program. The rows of each split are held once, in units fitted to them
    alone; its networks read them by index.

    Args:
        key: a PRNG key; split s trains with `fold_in(key, s)`.
        x: (N, X) inputs of all rows.
        y: (N, D) or (N,) targets of all rows.
        splits: for each split the indices of its training rows; those left out are never seen.
        model: components, widths, covariance.
        training: with `ensemble_size` networks for each split, and validation rows of their own among its rows.
        input_names: names of the inputs, kept with the models.
        target_names: names of the targets, kept with the models.
        on_evaluation: `f(step, metrics)`, called on the host after each chunk; True stops.

    Returns:
        A `Fit` for each split.

    Raises:
        InputError: for no splits, indices out of range, or what `fit` refuses.

    Example:
        >>> import jax, numpy as np, mdn_jax as mdn
        >>> x = np.linspace(-1, 1, 90)[:, None]
        >>> thirds = np.arange(90).reshape(30, 3).T
        >>> splits = [np.setdiff1d(np.arange(90), third) for third in thirds]
        >>> training = mdn.TrainingConfig(num_steps=4, evaluate_every=2)
        >>> fits = mdn.fit_splits(jax.random.key(0), x, x**2, splits, training=training)
        >>> [mdn.evaluate(fit.model, x[third], x[third] ** 2).nll.shape for fit, third in zip(fits, thirds)]
        [(30,), (30,), (30,)]
    """
    model, training = model or ModelConfig(), training or TrainingConfig()
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    require(y.ndim > 0 and len(x) == len(y), f"x and y must have as many rows each; got {x.shape} and {y.shape}")
    rows = _checked(splits, len(y))
    keys = jnp.stack([jax.random.fold_in(key, number) for number in range(len(rows))])
    objective = objective_of(training.objective, training.num_samples)
    named: Any = {"input_names": input_names, "target_names": target_names}
    named["head_of"] = lambda counts: head_of(model, objective, counts)
    prepared = [prepare(x[split], y[split], None, 0.0, **named) for split in rows]
    return fit_prepared(keys, prepared, model, training, on_evaluation)


def fit_prepared(
    keys: Key,
    prepared: Sequence[Data],
    model: ModelConfig,
    training: TrainingConfig,
    on_evaluation: OnEvaluation | None = None,
) -> list[Fit]:
    """A fit for each of several sets of rows; those of one shape and one head train in one compiled program.

    Args:
        keys: (S,), one for each set.
        prepared: S sets from `prepare`, with no rows kept for validation.
        model: of all of them.
        training: of all of them.
        on_evaluation: as for `fit`.
    """
    alike, fits = dict[Any, list[int]](), {}
    for place, data in enumerate(prepared):
        alike.setdefault((jax.tree.map(jnp.shape, data.rows), data.num_classes), []).append(place)
    for places in alike.values():
        data, own = _side_by_side([prepared[place] for place in places], training)
        state = start_runs(data, model, [training] * len(places), keys[jnp.array(places)], own)
        found = finish_runs(advance_to_end(state, on_evaluation), len(places))
        fits |= dict(zip(places, found, strict=True))
    return [fits[place] for place in range(len(prepared))]


def _checked(splits: Sequence[ArrayLike], count: int) -> list[np.ndarray]:
    rows = [np.asarray(split) for split in splits]
    require(len(rows) > 0, "fit_splits takes at least one split; got none")
    sizes = sorted({split.size for split in rows})
    require(sizes[0] > 1, f"fit_splits takes splits of 2 rows or more; got sizes {sizes}")
    inside = all(np.issubdtype(split.dtype, np.integer) and split.min() >= 0 and split.max() < count for split in rows)
    require(inside, f"fit_splits takes indices of rows, whole numbers from 0 to {count - 1}")
    return rows


def _side_by_side(prepared: list[Data], training: TrainingConfig) -> tuple[Data, Split]:
    """The rows of all splits one after the other, and which of them each of `ensemble_size` networks reads."""
    size = len(prepared[0].rows.weight)
    rows: Rows = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *[data.rows for data in prepared])
    units = tuple((data.inputs, data.targets) for data in prepared for _ in range(training.ensemble_size))
    firsts = [number * size for number in range(len(prepared))]
    return prepared[0]._replace(rows=rows, own=units), rows_of_lanes(size, training, firsts)

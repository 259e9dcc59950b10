"""A model judged on rows: in standard units on the device, in the targets' own on paper."""

from dataclasses import replace

import jax
import numpy as np
from jax import Array

from mdn_jax._checks import require
from mdn_jax._compiling import jit
from mdn_jax._typing import ArrayLike, Float, PyTree
from mdn_jax.distributions import Distribution
from mdn_jax.judging.metrics import Scores, placed, score
from mdn_jax.judging.targets import classes_of, first
from mdn_jax.models import Model
from mdn_jax.models.rows import Rows, in_nats, map_rows, row_chunks, standard_rows
from mdn_jax.statistics import nll

__all__ = ["chunk_nll", "evaluate", "evaluate_standard", "row_nll"]


def evaluate(
    model: Model, x: PyTree, y: ArrayLike, *, weights: ArrayLike | None = None, observed: ArrayLike | None = None
) -> Scores:
    """Scores of a model on N rows, in the targets' original units.

    Rows are standardised on the host in float64 and scored in standard units; the units are put back afterwards, so
    that offsets and spreads of any size keep their digits.

    Args:
        model: from `fit` or `load`.
        x: (N, X) inputs, or any pytree with leading N where the network takes one.
        y: (N, D) or (N,) targets.
        weights: (N,) how much each row counts in the report; all alike where absent.
        observed: (N, D) which targets are known; the others are integrated out of the NLL, and have no other score.

    Returns:
        `Scores` of N rows; `.report(names)` sums them up.

    Raises:
        InputError: where x and y disagree with the model.

    Example:
        >>> import jax, numpy as np, mdn_jax as mdn
        >>> x = np.linspace(-1, 1, 64)[:, None]
        >>> fit = mdn.fit(jax.random.key(0), x, x**2, training=mdn.TrainingConfig(num_steps=2, evaluate_every=1))
        >>> mdn.evaluate(fit.model, x, x**2).pit.shape
        (64, 1)
    """
    rows = standard_rows(model, x, y, weights=weights, observed=observed)
    sequences = "evaluate scores rows of one answer each, and these are sequences: map mdn.nll over their steps"
    require(rows.weight.ndim == 1, sequences)
    scores = evaluate_standard(model, rows)
    return scores if weights is None else replace(scores, weight=np.asarray(weights, np.float64))


def evaluate_standard(model: Model, rows: Rows) -> Scores:
    """`evaluate` for rows that are in standard units already; the scores are in original ones."""
    row_values = row_nll(model, rows)
    scores = {name: np.asarray(value, np.float64) for name, value in map_rows(_score, model, rows).items()}
    scores["cdf"] = scores["pit"]
    scores["pit"] = placed(scores["cdf"], scores["mass"])
    scale = np.asarray(model.targets.scale)
    for name in ("error", "crps", "width_90"):
        scores[name] = scores[name] * scale
    if rows.observed is not None:
        for name in ("error", "crps", "pit", "cdf", "mass", "log_loss", "hit"):
            scores[name] = np.where(rows.observed, scores[name], np.nan)
    return Scores(nll=row_values, classes=classes_of(model, first(rows)), **scores)


def _score(distribution: Distribution, row: Rows) -> dict[str, Float[Array, "..."]]:
    scores = score(distribution, row.y, observed=row.observed)
    return {name: values for name, values in scores.items() if name != "nll"}


def row_nll(model: Model, rows: Rows) -> Float[np.ndarray, "..."]:
    """-log p of N rows in nats of the original y, for rows in standard units; of sequences that of each step."""
    model = replace(model, calibration=None)
    parts = [np.asarray(_nll_program(model, part)) for part in row_chunks(rows)]
    return in_nats(np.concatenate(parts)[: len(rows.weight)], model.targets, rows.observed)


def chunk_nll(model: Model, rows: Rows) -> Float[Array, "..."]:
    """-log p of a chunk of rows, all in standard units; traceable."""

    def one(row: Rows) -> Float[Array, "*T"]:
        each = lambda distribution, y, observed: nll(distribution, y, observed=observed)  # noqa: E731
        for _ in row.weight.shape:
            each = jax.vmap(each)
        return each(model.standardized(row.x), row.y, row.observed)

    return jax.vmap(one)(rows)


# a program of its own, so that a model alone gives the same digits as among the members of a sweep
_nll_program = jit(chunk_nll)

"""One table of faults: each with the test of it, its sentence and its cure.

A fault is told where chance and habit do not explain it: the nearer end of an interval of four standard errors lies
beyond a margin that is worth a word. All of them judge the answers that `predict` gives by default.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mdn_jax._typing import Float
from mdn_jax.data import Dataset, are_copies, grid, values_of
from mdn_jax.judging.metrics import Scores
from mdn_jax.judging.scoring import evaluate
from mdn_jax.models import Model, evenly

__all__ = ["FAULTS", "Evidence", "Fault", "fault_sentences", "outside_mass"]

CLEAR, WORTH = 4.0, 0.02  # standard errors, and share of a baseline's score, that are worth a word
REPEATED = 0.05  # share of the rows that one value may have
FEW = 10  # rows at least that tell a mean
DECIDES = 0.2  # share of a column's variance, of one row
COSTS = 0.1  # nats by which one row moves a score
OUTSIDE, ROWS_OUTSIDE = 0.01, 1_024  # probability beyond all that was seen; rows that tell it
FEW_OUTSIDE = 5.0  # rows' worth of probability that lies beyond N of them by chance, at most
WILD = 1.5  # times a baseline's RMSE, from which on few rows decide both, and chance is no excuse


class Evidence(NamedTuple):
    """All that a fault is told from.

    Attributes:
        dataset: rows trained and tested on.
        scores: of the model on the test rows.
        baselines: of others on the same rows, by their titles.
        outside: (2, D) probability below the least and above the largest training value, mean over test rows.
    """

    dataset: Dataset
    scores: Scores
    baselines: Mapping[str, Scores]
    outside: Float[np.ndarray, "2 D"]

    def column(self, dim: int) -> Float[np.ndarray, " N"]:
        """The known training values of a target."""
        y = self.dataset.train.y[:, dim]
        return y[~np.isnan(y)]


@dataclass(frozen=True)
class Fault:
    """One row of the table.

    Attributes:
        name: in tests and in the code.
        sentence: (evidence, target) -> what is wrong and what to do, or None.
    """

    name: str
    sentence: Callable[[Evidence, int], str | None]


def fault_sentences(evidence: Evidence) -> list[str]:
    """The sentences of all faults of all targets that are numbers."""
    said = (fault.sentence(evidence, dim) for dim in evidence.scores.numbers for fault in FAULTS)
    return [one for one in said if one is not None]


def outside_mass(model: Model, dataset: Dataset) -> Float[np.ndarray, "2 D"]:
    """Probability below the least and above the largest training value of each target, mean over test rows."""
    rows = evenly(len(dataset.test), ROWS_OUTSIDE)
    x, ends = dataset.test.x[rows], np.stack([np.nanmin(dataset.train.y, axis=0), np.nanmax(dataset.train.y, axis=0)])
    least, largest = (evaluate(model, x, np.broadcast_to(end, (len(x), len(end)))) for end in ends)
    return np.stack([(least.cdf - least.mass).mean(axis=0), 1.0 - largest.cdf.mean(axis=0)])  # pyright: ignore


def _repeated(evidence: Evidence, dim: int) -> str | None:
    y = evidence.column(dim)
    values, counts = np.unique(y, return_counts=True)
    share, most = counts.max() / len(y), values[counts.argmax()]
    error = np.sqrt(REPEATED * (1 - REPEATED) / len(y))
    if share < REPEATED + CLEAR * error or grid(y) is not None or most in _atoms(evidence, dim):
        return None
    name = evidence.dataset.target_names[dim]
    atoms = f"set dataset.atoms = {{ {name} = [{most:g}] }}, and it has one"
    return (
        f"{name!r} is exactly {most:g} in {100 * share:.0f} % of the training rows: a density cannot give one value a "
        "probability, and its NLL only rewards an ever narrower spike there: "
        f"{'compare RMSE and CRPS' if _goes_round(evidence, dim) else atoms}"
    )


def _stepped(evidence: Evidence, dim: int) -> str | None:
    y = evidence.column(dim)
    step, support = grid(y), evidence.dataset.supports[dim]
    if step is None or (support is not None and support.step):
        return None
    name, count = evidence.dataset.target_names[dim], len(np.unique(y))
    seen = values_of(y).support  # as `new` writes it; None where the grid does not hold 0
    told = f"{{ step = {step:g} }}" if isinstance(seen, dict) else f'"{seen}"'
    told = seen and not _goes_round(evidence, dim) and f"set dataset.support = {{ {name} = {told} }}"
    return (
        f"all values of {name!r} are multiples of {step:g}, and only {count} of them differ: it is counted or rounded, "
        f"and the NLL of a density follows the width of its spikes: {told or 'compare RMSE and CRPS'}"
    )


def _atoms(evidence: Evidence, dim: int) -> tuple[float, ...]:
    support = evidence.dataset.supports[dim]
    return () if support is None else support.atoms


def _goes_round(evidence: Evidence, dim: int) -> bool:
    """True on a circle, which has no ends and no units to decide."""
    support = evidence.dataset.supports[dim]
    return support is not None and support.period > 0


def _deciding(evidence: Evidence, dim: int) -> str | None:
    y, support = evidence.dataset.train.y[:, dim], evidence.dataset.supports[dim]
    z = y if support is None else support.mapped(y)  # where its units are taken
    squares = np.nan_to_num((z - np.nanmedian(z)) ** 2)
    row = int(squares.argmax())
    share = squares[row] / squares.sum()
    others = np.sqrt(np.delete(squares, row).sum() / max(np.count_nonzero(~np.isnan(y)) - 1, 1))
    if share < DECIDES or others == 0 or _goes_round(evidence, dim):
        return None
    place, name = evidence.dataset.train.row_name(row, "training"), evidence.dataset.target_names[dim]
    return (
        f"{place} decides the units: its {name!r} is {y[row]:.6g}, {np.sqrt(squares[row]) / others:,.0f} times the "
        "spread of the others from their middle: correct it, leave it out, or set dataset.support"
    )


def _outside(evidence: Evidence, dim: int) -> str | None:
    y, name = evidence.column(dim), evidence.dataset.target_names[dim]
    least = max(OUTSIDE, FEW_OUTSIDE / len(y))
    below, above = evidence.outside[:, dim]
    if not max(below, above) > least or _goes_round(evidence, dim):
        return None
    ends = [f"{100 * below:.1f} % below {y.min():.4g}"] if below > least else []
    ends += [f"{100 * above:.1f} % above {y.max():.4g}"] if above > least else []
    cure = f'if {name!r} is never negative, set dataset.support = {{ {name} = "positive" }}'
    if below <= least or y.min() < 0:
        cure = "bounds are not learned, but can be set by dataset.support"
    return f"of the probability for {name!r} {' and '.join(ends)} lies where no training value does: {cure}"


def _worse(evidence: Evidence, dim: int) -> str | None:
    scores, weight, name = evidence.scores, evidence.scores.weights, evidence.dataset.target_names[dim]
    for title, other in evidence.baselines.items():
        if _clearly_worse(scores.error[:, dim] ** 2, other.error[:, dim] ** 2, weight, (1 + WORTH) ** 2 - 1, WILD**2):
            own, theirs = (np.sqrt(np.average(one.error[:, dim] ** 2, weights=weight)) for one in (scores, other))
            return (
                f"{title} predicts the mean of {name!r} better: its RMSE is {theirs:.4g}, the model's {own:.4g}: "
                "do not use the mean alone, or train on less skewed units of the target"
            )
        if _clearly_worse(scores.crps[:, dim], other.crps[:, dim], weight, WORTH, WILD):
            own, theirs = (np.average(one.crps[:, dim], weights=weight) for one in (scores, other))
            return (
                f"{title} answers {name!r} better: its CRPS is {theirs:.4g}, the model's {own:.4g}: it overfits, "
                "or was trained too little"
            )
    return None


def _clearly_worse(own: np.ndarray, theirs: np.ndarray, weight: np.ndarray, worth: float, wild: float) -> bool:
    """True where a paired loss is clearly larger by more than a share of the other's."""
    known = ~np.isnan(own) & ~np.isnan(theirs) & (weight > 0)
    own, theirs, weight = own[known], theirs[known], weight[known]
    if len(own) < FEW:
        return False
    worse, base = np.average(own - theirs, weights=weight), np.average(theirs, weights=weight)
    error = np.sqrt(np.sum(weight**2 * (own - theirs - worse) ** 2)) / weight.sum()
    return bool(worse - CLEAR * error > worth * base or (worse > (wild - 1) * base and np.isfinite(base)))


def _costly(evidence: Evidence, dim: int) -> str | None:
    scores, weight = evidence.scores, evidence.scores.weights
    if dim != scores.numbers[0] or len(scores.nll) < FEW:  # a row costs all targets together
        return None
    share = weight / weight.sum()
    row = int(np.argmax(share * (scores.nll - np.median(scores.nll))))
    whole = np.average(scores.nll, weights=weight)
    rest = np.average(np.delete(scores.nll, row), weights=np.delete(weight, row))
    if not whole - rest > COSTS:
        return None
    place = evidence.dataset.test.row_name(row, "test")
    return f"{place} alone raises the test NLL from {rest:.3f} to {whole:.3f}: look at it, and compare CRPS"


def _twin(evidence: Evidence, dim: int) -> str | None:
    train, data = evidence.dataset.train, evidence.dataset
    twin = next((one for one, x in zip(data.input_names, train.x.T) if are_copies(train.y[:, dim], x)), None)
    if twin is None:
        return None
    return f"input {twin!r} is {data.target_names[dim]!r} itself in other units: leave it out of dataset.inputs"


FAULTS: Sequence[Fault] = (
    Fault("deciding", _deciding),
    Fault("twin", _twin),
    Fault("repeated", _repeated),
    Fault("stepped", _stepped),
    Fault("outside", _outside),
    Fault("worse", _worse),
    Fault("costly", _costly),
)
"""All faults, in the order in which they are told."""

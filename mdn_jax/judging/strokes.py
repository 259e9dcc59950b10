"""A model of pen strokes judged point by point: nats of the offset and of the pen, errors, and calibration.

References:
    A. Graves, "Generating sequences with recurrent neural networks", 2013 (nats and squared error of offsets).
"""

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from mdn_jax._compiling import jit
from mdn_jax._typing import Float, Int
from mdn_jax.config import ModelConfig, TrainingConfig
from mdn_jax.data import Part, StrokeDataset
from mdn_jax.distributions import log_prob, marginal
from mdn_jax.judging.kinds import CLEAR, WORTH, Reliability, reliability
from mdn_jax.judging.metrics import deviation
from mdn_jax.judging.scoring import evaluate
from mdn_jax.models import Model
from mdn_jax.models.rows import Rows, row_chunks, standard_rows
from mdn_jax.statistics import cdf, mean
from mdn_jax.training import fit

__all__ = ["StrokeScores", "judge_strokes", "pen_alone", "remembers", "stroke_sentences"]

OFFSET, PEN = (0, 1), (2,)
FEWEST_DRAWINGS = 20  # that reach a step, for its mean to be told
BASELINE_ROWS = 50_000
ALIKE = 1e-3  # standard units by which rounding may move an answer


@dataclass(frozen=True, eq=False)
class StrokeScores:
    """Scores of the P points of all drawings of a part, in order; offsets in the part's own unit.

    Attributes:
        offset_nll: (P,) nats of where the pen went.
        pen_nll: (P,) nats of what it did there.
        lift_nll: (P,) nats of whether it was lifted there, be it at the drawing's end or not.
        squared_error: (P,) squared distance between the predicted mean and the point.
        pit: (P, 2) the marginals' distribution functions at dx and dy: uniform where the model is calibrated.
        lifted: (P,) the probability that the pen is lifted.
        pen: (P,) the code of what it did: 0 where it stayed down.
        drawing: (P,) which drawing the point belongs to.
        step: (P,) its place there, from 0.
    """

    offset_nll: Float[np.ndarray, " P"]
    pen_nll: Float[np.ndarray, " P"]
    lift_nll: Float[np.ndarray, " P"]
    squared_error: Float[np.ndarray, " P"]
    pit: Float[np.ndarray, "P 2"]
    lifted: Float[np.ndarray, " P"]
    pen: Float[np.ndarray, " P"]
    drawing: Int[np.ndarray, " P"]
    step: Int[np.ndarray, " P"]

    @property
    def nll(self) -> Float[np.ndarray, " P"]:
        """Nats of each point."""
        return self.offset_nll + self.pen_nll

    @property
    def pen_reliability(self) -> Reliability:
        """Bins of points by the probability that the pen is lifted: `accuracy` is how often it was."""
        return reliability((self.pen > 0).astype(float), self.lifted, np.ones(len(self.pen)))

    def by_step(self) -> dict[str, np.ndarray]:
        """Mean nats at each place in a drawing, from its first: `offset`, `pen`, and `drawings` that reach it."""
        drawings = np.bincount(self.step)
        kept = drawings >= min(FEWEST_DRAWINGS, drawings[0])  # ever fewer reach it
        sums = {name: np.bincount(self.step, getattr(self, f"{name}_nll")) for name in ("offset", "pen")}
        return {"drawings": drawings[kept]} | {name: (total / drawings)[kept] for name, total in sums.items()}

    def report(self, prefix: str = "test") -> dict[str, Any]:
        """Plain numbers: nats per point with the standard error that whole drawings give, and per drawing."""
        points, nll = np.bincount(self.drawing), float(self.nll.mean())
        of_drawings = np.bincount(self.drawing, self.nll)
        error = np.sqrt(np.sum((of_drawings - nll * points) ** 2)) / points.sum()
        return {
            f"{prefix}_nll": nll,
            f"{prefix}_nll_standard_error": float(error),
            f"{prefix}_nll_offset": float(self.offset_nll.mean()),
            f"{prefix}_nll_pen": float(self.pen_nll.mean()),
            f"{prefix}_nll_without_ends": float((self.offset_nll + self.lift_nll).mean()),
            f"{prefix}_nll_per_sequence": float(of_drawings.mean()),
            f"{prefix}_sse": float(self.squared_error.mean()),
        }

    def calibration(self) -> dict[str, Any]:
        """Plain numbers: distances from what calibrated probabilities would do."""
        weight = np.ones(len(self.pen))
        return {
            "pen_calibration_error": self.pen_reliability.error,
            "pit_deviation": {name: deviation(pit, weight) for name, pit in zip(("dx", "dy"), self.pit.T)},
        }


def judge_strokes(model: Model, part: Part) -> StrokeScores:
    """Scores of every point of a part; padding has none.

    Args:
        model: of strokes: dx, dy and the pen's code from the points before.
        part: rows of packed drawings.

    Raises:
        InputError: where the rows disagree with the model.
    """
    model = replace(model, calibration=None)
    rows = standard_rows(model, part.x, part.y, weights=part.weight)
    chunks = [jax.device_get(_scores(model, chunk)) for chunk in row_chunks(rows)]
    counted = rows.weight > 0
    found = jax.tree.map(lambda *all: np.concatenate(all)[: len(counted)][counted].astype(np.float64), *chunks)
    scale = np.asarray(model.targets.scale, np.float64)[list(OFFSET)]
    start = part.x[counted][:, -1] > 0
    first = np.flatnonzero(start)
    drawing = np.cumsum(start) - 1
    return StrokeScores(
        offset_nll=found["offset"] + np.log(scale).sum(),
        pen_nll=found["pen"],
        lift_nll=found["lift"],
        squared_error=np.sum((scale * found["error"]) ** 2, axis=-1),
        pit=np.clip(found["pit"], 0, 1),
        lifted=found["lifted"],
        pen=part.y[counted][:, PEN[0]],
        drawing=drawing,
        step=np.arange(len(start)) - first[drawing],
    )


@jit
def _scores(model: Model, rows: Rows) -> dict[str, Float[Array, "R T ..."]]:
    """Scores of each point of a chunk of rows, all in standard units."""

    def one(distribution: Any, y: Float[Array, " D"]) -> dict[str, Array]:
        offset, pen, (at, code) = marginal(distribution, OFFSET), marginal(distribution, PEN), (y[:2], y[2:])
        of_pen = -log_prob(pen, code)
        log_probs = jax.nn.log_softmax(pen.logits)  # pyright: ignore[reportAttributeAccessIssue]
        lifted = jax.nn.logsumexp(log_probs[1:])
        return {
            "offset": -log_prob(distribution, y) - of_pen,
            "pen": of_pen,
            "lift": -jnp.where(code[0] > 0, lifted, log_probs[0]),
            "error": mean(offset) - at,
            "pit": cdf(offset, at),
            "lifted": jnp.exp(lifted),
        }

    return jax.vmap(lambda row: jax.vmap(one)(model.standardized(row.x), row.y))(rows)


def pen_alone(seed: int, dataset: StrokeDataset) -> dict[str, float]:
    """The scores of a mixture of 20 components that knows only whether the pen was lifted, trained for it."""
    (x, y), test = (_points(part) for part in (dataset.train, dataset.test))
    chosen = np.unique(np.linspace(0, len(x) - 1, BASELINE_ROWS).astype(int))
    y = y[chosen]
    y[:, OFFSET] += dataset.grain * np.random.default_rng(seed).uniform(-0.5, 0.5, (len(y), 2))  # as of the test rows
    model = ModelConfig(num_components=20, covariance="full", hidden_sizes=(16,))
    training = TrainingConfig(num_steps=1_500, batch_size=512, evaluate_every=500)
    fitted = fit(jax.random.key(seed), x[chosen], y, model=model, training=training, num_classes=dataset.num_classes)
    scores = evaluate(fitted.model, *test)
    return {"test_nll": float(scores.nll.mean()), "test_sse": float(np.sum(scores.error[:, :2] ** 2, axis=1).mean())}


def _points(part: Part) -> tuple[np.ndarray, np.ndarray]:
    """The pen before each point, and the point."""
    counted = np.ones(part.y.shape[:-1], bool) if part.weight is None else part.weight > 0
    return part.x[counted][:, PEN[0] : PEN[0] + 1], part.y[counted]


def remembers(model: Model, part: Part) -> bool:
    """True where what a row's first drawing was moves the answers for its second."""
    start = part.x[..., -1] > 0
    for row in np.flatnonzero(start.sum(axis=1) > 1)[:1]:
        second = np.flatnonzero(start[row])[1]
        moved = part.x[row].copy()
        moved[:second, :2] += 1.0
        answers = [mean(marginal(_at(model, x, second), OFFSET)) for x in (part.x[row], moved)]
        return bool(np.abs(answers[0] - answers[1]).max() > ALIKE)
    return False


def _at(model: Model, x: Float[np.ndarray, "T X"], step: int) -> Any:
    """The distribution at one step of one row, in standard units."""
    z = jnp.asarray(model.inputs.standardize(x), float)  # pyright: ignore[reportOptionalMemberAccess]
    return jax.tree.map(lambda leaf: leaf[step], model.standardized(z))


def stroke_sentences(scores: StrokeScores, baseline: dict[str, float], statuses: tuple[str, ...]) -> list[str]:
    """Warnings of what looks wrong; none where nothing does."""
    said, nll = [], float(scores.nll.mean())
    if "diverged" in statuses:
        said.append("training diverged: the model holds the best parameters before that; lower the learning rate")
    if baseline["test_nll"] <= nll:
        said.append(
            f"a mixture that knows only whether the pen was lifted answers no worse: its NLL is "
            f"{baseline['test_nll']:.3f} nats per point, the model's {nll:.3f}: train longer, or change the learning "
            "rate"
        )
    pen = scores.pen_reliability
    expected, spread = pen.chance
    if pen.error > expected + CLEAR * spread + WORTH:
        said.append(
            f"the probability that the pen is lifted is off by {pen.error:.3f} on average: train longer, or less on "
            "the same drawings"
        )
    return said

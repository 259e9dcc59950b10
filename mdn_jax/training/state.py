"""The state of training between two chunks, and the fit it leaves."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from mdn_jax._printing import ShortRepr
from mdn_jax.config import TrainingConfig
from mdn_jax.models import Model
from mdn_jax.training.lane import OK, Lane, Plan
from mdn_jax.training.preparation import Data

__all__ = ["STATUS", "Fit", "OnEvaluation", "TrainingState"]

STATUS = ("ok", "diverged", "stopped_early")  # by the codes OK, DIVERGED, STOPPED_EARLY
OnEvaluation = Callable[[int, dict[str, Any]], bool | None]


@dataclass(frozen=True, eq=False, repr=False)
class TrainingState(ShortRepr):
    """Training between two chunks.

    Attributes:
        plan: what is static.
        lanes: the M networks that train together, each leaf with a leading axis M; all that changes is here.
        data: the rows, and their units and names.
        training: its config; of several runs the first one's, and the lanes know the rates of each.
    """

    plan: Plan
    lanes: Lane
    data: Data
    training: TrainingConfig

    @property
    def step(self) -> int:
        """Steps taken by the network that has gone furthest."""
        return int(np.max(np.asarray(self.lanes.step)))

    @property
    def done(self) -> bool:
        """True where every network has taken all its steps, diverged or stopped."""
        return not self.running.any()

    @property
    def running(self) -> np.ndarray:
        """(M,) whether a network still trains."""
        status, step = np.asarray(self.lanes.status), np.asarray(self.lanes.step)
        return (status == OK) & (step < self.training.num_steps)


@dataclass(frozen=True, eq=False, repr=False)
class Fit(ShortRepr):
    """The result of training.

    Attributes:
        model: maps x (X,) to the mixture of y in its original units; with several networks, one exact mixture.
        history: arrays with one row per evaluation, `step`, `train_loss`, `val_loss`, `learning_rate`: (E,), or (E, M)
            for M networks; the last ones, of as many as the config has whole chunks, 10,000 at most. The objective nll
            is in nats of the original y, every other in standard units. NaN where there is nothing to tell: `val_loss`
            without validation rows, and after a network has ended by itself.
        status: "ok", "diverged" (a step was not finite, or training ended far above the loss it began with: the best
            parameters stand) or "stopped_early"; of several networks the worst.
        statuses: the networks' own.
        best_step: (M,) the step whose parameters were kept.
    """

    model: Model
    history: dict[str, np.ndarray]
    status: str
    statuses: tuple[str, ...]
    best_step: np.ndarray

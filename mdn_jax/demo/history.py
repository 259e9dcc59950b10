"""The losses of a training without an end, in a place that does not grow."""

import numpy as np

__all__ = ["History"]

ASTRAY = 1.0  # nats above the first loss: steps that leave it by more have diverged, finite or not
MOST = 400  # rows: about as many as a graph has columns of pixels


class History:
    """Step, training loss and test loss of so many pictures, evenly spread over all that were shown."""

    def __init__(self) -> None:
        self._rows: list[tuple[float, float, float]] = []
        self._every, self._count = 1, 0
        self.first: tuple[float, float, float] | None = None
        self.last: tuple[float, float, float] | None = None

    def add(self, step: int, train: float, test: float) -> None:
        """One picture's losses."""
        if self.last is not None and step == self.last[0]:
            return
        self.last = (step, train, test)
        self.first = self.first or self.last
        if self._count % self._every == 0:
            self._rows.append(self.last)
        self._count += 1
        if len(self._rows) == MOST:
            self._rows, self._every = self._rows[::2], 2 * self._every

    @property
    def astray(self) -> bool:
        """True where the training loss is no number, or stands well above the first one."""
        if self.first is None or self.last is None:
            return False
        return not self.last[1] <= self.first[1] + ASTRAY

    @property
    def rows(self) -> np.ndarray:
        """(E, 3) the losses kept, and the latest."""
        shown = self._rows if self.last in (None, *self._rows[-1:]) else [*self._rows, self.last]
        return np.array(shown, float).reshape(-1, 3)

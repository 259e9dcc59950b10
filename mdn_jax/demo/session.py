"""One graph in training: the same `start`, `advance` and `finish` as everywhere, between two pictures."""

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from mdn_jax._checks import require
from mdn_jax._typing import Float
from mdn_jax.data import Dataset
from mdn_jax.data import load as load_dataset
from mdn_jax.demo.controls import Settings
from mdn_jax.demo.graphs import CHUNK, OWN
from mdn_jax.demo.pictures import SCORED, Picture, Scored, Slice, View, draw, scored_rows, slice_at
from mdn_jax.demo.points import FEWEST, rows_of
from mdn_jax.training import TrainingState, advance, change_rates, finish, start

__all__ = ["Session", "begin"]

ON = {"input_noise": 1e-3, "weight_decay": 1e-6, "clip_norm": 1e6}  # a program that knows all of them


@dataclass(frozen=True, eq=False)
class Session:
    """Training of one graph by one visitor, between two pictures.

    Attributes:
        settings: what it was started and goes on with.
        data: its rows.
        view: the frame of its graph.
        train: rows whose loss is shown.
        test: fresh rows.
        oracle: nats per fresh row of the exact density, or None.
        state: of the trainer; None before there are enough points.
        seconds: spent in steps.
    """

    settings: Settings
    data: Dataset | None
    view: View
    train: Scored | None = None
    test: Scored | None = None
    oracle: float | None = None
    state: TrainingState | None = None
    seconds: float = 0.0

    @property
    def step(self) -> int:
        """Steps taken."""
        return 0 if self.state is None else self.state.step

    @property
    def diverged(self) -> bool:
        """True where a step was not finite."""
        return self.state is not None and self.state.done

    @functools.cached_property
    def model(self) -> Any:
        """The model as it stands, without names: graphs of one shape share their programs."""
        require(self.state is not None, f"draw at least {FEWEST} points first")
        model = finish(self.state).model  # pyright: ignore[reportArgumentType]
        return replace(model, input_names=(), target_names=())  # pyright: ignore[reportArgumentType]

    def changed(self, settings: Settings) -> "Session":
        """With settings that leave its past as it is."""
        if self.state is None or settings.training() == self.settings.training():
            return replace(self, settings=settings)
        return replace(self, settings=settings, state=change_rates(self.state, settings.training()))

    def advanced(self, num_steps: int, enough: Callable[[float], bool] | None = None) -> "Session":
        """After so many steps, or fewer where `enough(seconds)` says so between two chunks."""
        if not num_steps or self.state is None or self.diverged:
            return self
        state, began, left, spent = self.state, time.perf_counter(), num_steps, 0.0
        while left and not state.done and not (spent and enough and enough(spent)):
            steps = CHUNK if left >= CHUNK else 1
            state, left = advance(state, steps)[0], left - steps
            spent = time.perf_counter() - began
        return replace(self, state=state, seconds=self.seconds + spent)

    def picture(self, seed: int, component: int) -> Picture:
        """The model as it stands, on the host."""
        columns, lines = (jnp.asarray(one, float) for one in (self.view.columns, self.view.lines))
        train, test = cast(Scored, self.train), cast(Scored, self.test)
        shown = draw(self.model, jax.random.key(seed), columns, lines, train, test, jnp.asarray(component))
        return jax.tree.map(np.asarray, shown)

    def slice(self, x: float) -> tuple[Slice, Float[np.ndarray, " F"] | None]:
        """The distribution above one x, and the exact density there where it is known."""
        fine, exact = self.view.fine, None
        if self.data is not None and self.data.log_density is not None:
            exact = np.exp(self.data.log_density(np.full((1, 1), x), fine[:, None]))
        found = slice_at(self.model, jnp.asarray(x, float), jnp.asarray(fine, float))
        return jax.tree.map(np.asarray, found), exact


def begin(settings: Settings, *, points_alone: bool = False) -> Session:
    """A session before its first step; of drawn points without a network where that is all there is to show.

    Raises:
        InputError: for rows that cannot be trained on.
    """
    graph = settings.graph
    if graph.name == OWN:
        view = View((0.0, 1.0), (0.0, 1.0))
        if points_alone or len(settings.drawn) < FEWEST:
            return Session(settings, None, view)
        data = rows_of(settings.drawn)
    else:
        data = load_dataset(settings.config().dataset) if graph.data is None else graph.data
        view = View.of(data.train)
    config = settings.config()
    started = config.training.model_copy(update=ON)
    state = start(jax.random.key(config.seed), **data.for_training, model=config.model, training=started)
    test, oracle = data.test.take(np.arange(min(len(data.test), SCORED))), None
    if data.log_density is not None:
        oracle = float(-np.mean(data.log_density(test.x, test.y)))
    rows = scored_rows(data.train), scored_rows(test)
    return Session(settings, data, view, *rows, oracle, change_rates(state, config.training))

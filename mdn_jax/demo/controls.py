"""Values that a visitor of the page sets: one registry of controls, and their values as an address and as a config.

An address holds every value that differs from the graph's own, so that a link opens the page as it was left.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlencode

import numpy as np

from mdn_jax._typing import Float
from mdn_jax.config import Config, DatasetConfig, ModelConfig, TrainingConfig
from mdn_jax.demo.graphs import GRAPHS, OWN, Graph
from mdn_jax.demo.points import read_points, write_points

__all__ = ["CONTROLS", "Control", "Settings", "settings_of"]

ENDLESS = 2**31 - 1  # steps: a page's training has no end of its own


@dataclass(frozen=True)
class Control:
    """One value that a visitor sets.

    Attributes:
        name: in the address and in messages.
        label: on the page.
        low: least number, where it is one.
        high: largest number.
        step: what a key press adds; "any" lets every number stand.
        choices: what may be chosen, as written in the address.
        anew: whether training begins anew; else it goes on.
        hint: one line about it.
    """

    name: str
    label: str
    low: float = -math.inf
    high: float = math.inf
    step: float | str = 1
    choices: tuple[str, ...] = ()
    anew: bool = True
    hint: str = ""

    def read(self, text: str) -> Any:
        """The value that a text stands for, or None where it stands for none."""
        if self.choices:
            return text if text in self.choices else None
        try:
            value = float(text)
        except ValueError:
            return None
        if not math.isfinite(value) or not self.low <= value <= self.high:
            return None
        if self.step == "any":
            return value
        return int(value) if value == int(value) else None

    @property
    def wanted(self) -> str:
        """All that a value may be, for a message."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        kind = "a number" if self.step == "any" else "a whole number"
        return f"{kind} from {self.low:g} to {self.high:g}"


CONTROLS = {
    control.name: control
    for control in (
        Control("components", "Components", 1, 30, hint="Gaussians in the mixture"),
        Control("hidden", "Hidden units", 1, 256, hint="of each hidden layer"),
        Control("layers", "Layers", 0, 4, hint="hidden layers; 0 is a linear model"),
        Control("objective", "Objective", choices=("nll", "crps", "squared_error"), hint="what training minimises"),
        Control("points", "Points", 10, 20_000, hint="training points"),
        Control("noise", "Noise in data", 0.05, 10, "any", hint="as a multiple of the problem's own"),
        Control("seed", "Seed", 0, 2**32 - 1, hint="of weights and batches"),
        Control("rate", "Learning rate", 1e-6, 100, "any", anew=False, hint="goes on without a new start"),
        Control("decay", "Weight decay", 0, 10, "any", anew=False, hint="goes on without a new start"),
        Control("jitter", "Input noise", 0, 10, "any", anew=False, hint="added to inputs at each step, in their std"),
        Control(
            "clip",
            "Clip norm",
            choices=("none", "100", "10", "1", "0.1"),
            anew=False,
            hint="largest norm of a gradient",
        ),
        Control("speed", "Speed", choices=("max", "100", "10", "1"), anew=False, hint="steps to a picture"),
    )
}
"""The controls by name, in the order of the page."""


@dataclass(frozen=True)
class Settings:
    """One graph, and the values of its controls.

    Attributes:
        graph: whose training it is.
        values: by control.
        drawn: (N, 2) points drawn by hand, in the unit square of the canvas.
    """

    graph: Graph
    values: Mapping[str, Any]
    drawn: Float[np.ndarray, "N 2"] = field(default_factory=lambda: np.empty((0, 2)))

    def changed(self, name: str, value: Any) -> "Settings":
        """With another value of one control; least squares has one component, and more of them no least squares."""
        values: dict[str, Any] = {**self.values, name: value}
        if values["objective"] == "squared_error" and name == "objective":
            values["components"] = 1
        if name == "components" and values[name] > 1 and values["objective"] == "squared_error":
            values["objective"] = "nll"
        return replace(self, values=values)

    @property
    def anew(self) -> tuple:
        """All that training depends on from its first step on: where it differs, training begins anew."""
        of_controls = tuple(self.values[name] for name, control in CONTROLS.items() if control.anew)
        return (self.graph.name, of_controls, self.drawn.tobytes())

    @property
    def address(self) -> str:
        """The query of a link that opens the page in this state."""
        own = self.graph.values
        query = {"graph": self.graph.name}
        query |= {name: str(value) for name, value in self.values.items() if value != own[name]}
        if len(self.drawn):
            query["drawn"] = write_points(self.drawn)
        return urlencode(query)

    def training(self, num_steps: int = ENDLESS) -> TrainingConfig:
        """The training of it."""
        values = self.values
        return self.graph.config.training.model_copy(
            update={
                "objective": values["objective"],
                "learning_rate": float(values["rate"]),
                "num_steps": num_steps,
                "weight_decay": float(values["decay"]),
                "input_noise": float(values["jitter"]),
                "clip_norm": math.inf if values["clip"] == "none" else float(values["clip"]),
            }
        )

    def config(self, num_steps: int = ENDLESS) -> Config:
        """The whole experiment, as the command line runs it."""
        values, base = self.values, self.graph.config
        dataset = base.dataset
        if self.graph.is_problem:
            options: Any = {"noise": float(values["noise"])} if values["noise"] != 1 else {}
            dataset = DatasetConfig(name=dataset.name, num_points=values["points"], options=options)
        own = {"num_components": values["components"], "hidden_sizes": (values["hidden"],) * values["layers"]}
        model = ModelConfig(**{**base.model.model_dump(exclude_unset=True), **own})
        return Config(seed=values["seed"], dataset=dataset, model=model, training=self.training(num_steps))


def settings_of(query: Mapping[str, str], graphs: Mapping[str, Graph] = GRAPHS) -> tuple[Settings, list[str]]:
    """The settings that an address stands for, and a line about each part of it that stands for nothing."""
    query, said = dict(query), []
    name = query.pop("graph", next(iter(graphs)))
    if name not in graphs:
        said.append(f"graph = {name!r} is none of {', '.join(graphs)}")
        name = next(iter(graphs))
    settings = Settings(graphs[name], dict(graphs[name].values))
    drawn = query.pop("drawn", None)
    points = None if drawn is None else read_points(drawn)
    if points is not None and name == OWN:
        settings = replace(settings, drawn=points)
    elif drawn is not None:
        said.append("drawn holds no points of this graph")
    for name, text in query.items():
        control = CONTROLS.get(name)
        value = None if control is None else control.read(text)
        if control is None:
            said.append(f"{name} is no control")
        elif value is None:
            said.append(f"{name} = {text!r} is not {control.wanted}")
        else:
            settings = settings.changed(name, value)
    return settings, said

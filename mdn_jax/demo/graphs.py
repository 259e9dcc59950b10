"""The graphs of the page: the four of Ha's post in its order, Bishop's example, points of your own, a config of yours.

References:
    C. M. Bishop, "Mixture density networks", Aston University NCRG/94/004, 1994.
    D. Ha, "Mixture density networks", 2015: the post, on whose graphs one clicks to train them.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mdn_jax._checks import require
from mdn_jax.config import Config, DatasetConfig, ModelConfig, TrainingConfig
from mdn_jax.data import Dataset

__all__ = ["GRAPHS", "OWN", "Graph", "graph_of"]

OWN, CHUNK = "own", 100  # steps of a compiled chunk


@dataclass(frozen=True, eq=False)
class Graph:
    """One data set and the training that its page begins with.

    Attributes:
        name: in the address.
        title: on its card.
        notice: one sentence on what there is to see.
        config: the experiment that it begins with.
        data: its rows where a config of the user's brought them, or None.
    """

    name: str
    title: str
    notice: str
    config: Config
    data: Dataset | None = None

    @property
    def is_problem(self) -> bool:
        """True of a built-in problem, which draws as many points, with as much noise, as one likes."""
        return self.data is None and self.name != OWN

    @property
    def values(self) -> Mapping[str, Any]:
        """The values that its controls begin with."""
        model, training, sizes = self.config.model, self.config.training, self.config.model.hidden_sizes
        return {
            "components": model.num_components,
            "hidden": sizes[0] if sizes else 32,
            "layers": len(sizes),
            "objective": training.objective,
            "points": self.config.dataset.num_points,
            "noise": 1.0,
            "seed": self.config.seed,
            "rate": training.learning_rate,
            "decay": training.weight_decay,
            "jitter": training.input_noise,
            "clip": "none" if math.isinf(training.clip_norm) else f"{training.clip_norm:g}",
            "speed": "max",
        }


def graph_of(config: Config, data: Dataset, name: str) -> Graph:
    """The graph of a config of the user's own.

    Raises:
        InputError: where its data have more than one input or target, or its model is no mixture of one network.
    """
    sizes = {"input": data.train.x.shape[-1], "target": data.train.y.shape[-1]}
    for what, count in sizes.items():
        require(count == 1, f"{name}: a graph has one {what}, and this config has {count}: choose another")
    require(data.train.y.ndim == 2, f"{name}: rows of this config are sequences, which no graph here shows")
    kinds = data.num_classes != (None,) and any(data.num_classes)
    require(
        not kinds, f"{name}: target {data.target_names[0]!r} names kinds, and a graph shows numbers: choose another"
    )
    model, training = config.model, config.training
    shown = model.head == "mixture" and model.network == "mlp"
    require(shown, f'{name}: the page trains mixtures of an MLP: set model.head = "mixture", model.network = "mlp"')
    ours = isinstance(training.objective, str) and training.objective in ("nll", "crps", "squared_error")
    require(ours, f"{name}: the page trains by nll, crps or squared_error, not {training.objective!r}")
    widths = set(model.hidden_sizes)
    require(len(widths) <= 1, f"{name}: the page has one width for all layers, and hidden_sizes has {sorted(widths)}")
    training = training.model_copy(update={**_ENDLESS, "ensemble_size": 1, "validation": "shared", "patience": None})
    title, notice = Path(name).stem, f"Your own data: {data.input_names[0]} and {data.target_names[0]}, from {name}."
    return Graph("config", title, notice, config.model_copy(update={"training": training}), data)


_ENDLESS = {"schedule": "constant", "validation_fraction": 0.0, "evaluate_every": CHUNK}


def _built_in(name: str, title: str, notice: str, problem: str, objective: str, **values: Any) -> Graph:
    model = ModelConfig(num_components=values.pop("components", 1), hidden_sizes=values.pop("hidden_sizes", (32, 32)))
    training = TrainingConfig(objective=objective, learning_rate=values.pop("rate", 5e-3), **_ENDLESS)
    return Graph(
        name, title, notice, Config(dataset=DatasetConfig(name=problem, **values), model=model, training=training)
    )


_POINTS = DatasetConfig(path="points.csv", test_path="test_points.csv", inputs=("x",), targets=("y",))

GRAPHS = {
    graph.name: graph
    for graph in (
        _built_in(
            "squares", "Least squares", "Each x has one answer and some noise: least squares finds the curve.",
            "sinusoid", "squared_error", num_points=1_000,
        ),
        _built_in(
            "inverse-squares", "… turned around",
            "Each input has several answers, and least squares gives their average, where no point lies.",
            "inverse_sinusoid", "squared_error", num_points=1_000,
        ),
        _built_in(
            "inverse", "Mixture, turned around",
            "Every branch gets Gaussians of its own, and the fresh samples fall where the points are.",
            "inverse_sinusoid", "nll", components=10, num_points=2_500,
        ),
        _built_in(
            "sinusoid", "Mixture", "Where there is one answer the components agree on it, and the gap closes.",
            "sinusoid", "nll", components=10, num_points=2_500,
        ),
        _built_in(
            "bishop", "Bishop's example",
            "The noise has hard edges, which Gaussians blur; where the curve bends back there are three answers.",
            "inverse_bishop", "nll", components=5, num_points=1_000,
        ),
        Graph(
            OWN, "Draw your own",
            "Draw at least ten points with the mouse in the left graph, and press Play; every tenth one tests.",
            Config(
                dataset=_POINTS, model=ModelConfig(num_components=5),
                training=TrainingConfig(learning_rate=5e-3, batch_size="full", input_noise=0.05, **_ENDLESS),
            ),
        ),
    )
}  # fmt: skip
"""The graphs by name, in the order of the page."""

"""Ha's post on mixture density networks as one page: its pictures in their order, and its claims measured.

A network with five tanh units fits a noisy sinusoid by least squares. Turned around, the same data have several right
answers for each input, and least squares predicts their useless average. A mixture density network answers with all of
them. The page shows the exact conditional density beside the learned one, which the post could not.

COMMAND  python experiments/blog_post.py
WRITES   runs/blog_post/blog_post.png and blog_post.md

REFERENCE  D. Ha, "Mixture Density Networks with TensorFlow", 2015.
"""

import argparse
import textwrap
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import jax
import numpy as np
from matplotlib.figure import Figure, SubFigure
from rich.console import Console
from rich.markdown import Markdown

import mdn_jax as mdn
from mdn_jax.data import PROBLEMS, Dataset, load
from mdn_jax.judging import cell_density, components_at, draws_at
from mdn_jax.plotting import draw_components, draw_data, draw_density
from mdn_jax.plotting.style import ORANGE, density_norm, label

Objective = Literal["squared_error", "nll"]
T = TypeVar("T")
SUPPORT = 10.5  # the post draws x from (-10.5, 10.5)
LEAST_SQUARES_NLL = {"sinusoid": 1.41894, "inverse_sinusoid": 2.9485}  # the best a constant-variance Gaussian can do
NEAR = 0.05  # nats from the best of its kind
NOTE = f"Near: within {NEAR} nats of the best of its kind on 20,000 fresh points; compiling not counted."

FIVE_TANH = mdn.ModelConfig(num_components=1, hidden_sizes=(5,), activation="tanh")
LEAST_SQUARES = mdn.ModelConfig(num_components=1, hidden_sizes=(16, 16, 16), activation="silu")
MIXTURE = mdn.ModelConfig(num_components=10, hidden_sizes=(16, 16, 16), activation="silu")


@dataclass(frozen=True)
class Trained:
    """One network of the post, and what it took."""

    name: str
    data: Dataset
    fit: mdn.Fit
    nll: float
    goal: float
    steps: int | None
    seconds: float | None


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/blog_post"))
    parser.add_argument("--quick", action="store_true", help="a few steps only, to see that it runs")
    options = parser.parse_args()
    num_steps = 200 if options.quick else 4_000

    began = time.perf_counter()
    forward = [train("sinusoid", "squared_error", FIVE_TANH, num_steps), train("sinusoid", "nll", MIXTURE, num_steps)]
    inverse = [
        train("inverse_sinusoid", "squared_error", LEAST_SQUARES, num_steps),
        train("inverse_sinusoid", "nll", MIXTURE, num_steps),
    ]
    single = train("sinusoid", "nll", FIVE_TANH, num_steps)
    options.out.mkdir(parents=True, exist_ok=True)
    rows = claims(forward, inverse, single)
    lines = ["| the post says | we measured |", "|---|---|", *(f"| {said} | {measured} |" for said, measured in rows)]
    table = "\n".join([*lines, "", NOTE, ""])
    (options.out / "blog_post.md").write_text(table, encoding="utf-8")
    page(forward, inverse, rows).savefig(options.out / "blog_post.png", dpi=110)
    Console().print(Markdown(table))
    print(f"{options.out}/blog_post.png in {time.perf_counter() - began:.0f} s")


def train(problem: str, objective: Objective, model: mdn.ModelConfig, num_steps: int) -> Trained:
    """Train one network and note when its NLL on fresh points first came near the best of its kind."""
    data = load(mdn.DatasetConfig(name=problem, num_points=10_000, num_test_points=20_000))
    rate = 3e-2 if model is FIVE_TANH else 1e-2
    training = mdn.TrainingConfig(
        objective=objective, learning_rate=rate, num_steps=num_steps, validation_fraction=0.0, evaluate_every=20
    )
    mixture = objective == "nll"
    goal = known(PROBLEMS[problem].optimum) if mixture else LEAST_SQUARES_NLL[problem]

    # the first chunk of another seed compiles; what is timed is training
    mdn.advance(mdn.start(jax.random.key(1), data.train.x, data.train.y, model=model, training=training))
    state = mdn.start(jax.random.key(0), data.train.x, data.train.y, model=model, training=training)
    spent, steps, seconds = 0.0, None, None
    while not state.done:
        began = time.perf_counter()
        state, _ = mdn.advance(state)
        spent += time.perf_counter() - began
        if steps is None:
            nll = fresh_nll(mdn.finish(state).model, data)
            if nll < goal + NEAR:
                steps, seconds = state.step, spent
    fit = mdn.finish(state)
    return Trained(f"{problem} {objective}", data, fit, fresh_nll(fit.model, data), goal, steps, seconds)


def known(value: T | None) -> T:
    """What a problem with a density knows of it."""
    if value is None:
        raise ValueError("the problem has no density")
    return value


def fresh_nll(model: mdn.Model, data: Dataset) -> float:
    """Mean nats per fresh row."""
    return float(mean_nll(model, data.test.x, data.test.y))


@jax.jit
def mean_nll(model: mdn.Model, x: jax.Array, y: jax.Array) -> jax.Array:
    return jax.vmap(lambda x, y: mdn.nll(model(x), y))(x, y).mean()


def claims(forward: list[Trained], inverse: list[Trained], single: Trained) -> list[tuple[str, str]]:
    """The post's claims, each beside what we measured."""
    return [
        (
            "Five tanh units fit the sinusoid by least squares",
            f"{gap(forward[0])} from the exact optimum after {forward[0].fit.history['step'][-1]:,.0f} steps",
        ),
        (
            "On the inverse least squares fails",
            f"NLL {inverse[0].nll:.2f}, where the exact density has {PROBLEMS['inverse_sinusoid'].optimum:.2f}; "
            f"RMSE {rmse(inverse[0]):.2f} of a target with std {inverse[0].data.test.y.std():.2f}",
        ),
        ("A mixture density network fits the inverse", f"{gap(inverse[1])} from the exact optimum"),
        (
            "The mixture trains slower",
            f"inverse: {near(inverse[1])}; least squares comes near its own, useless, best in {near(inverse[0])}",
        ),
        (
            "For the plain sinusoid it is a bit slower, and overkill",
            f"three layers of 16 and a mixture {near(forward[1])}, five tanh units and least squares "
            f"{near(forward[0])}; final gaps {gap(forward[1])} and {gap(forward[0])}",
        ),
        ("Samples show noise around the edges", noise(inverse[1])),
        (
            "With one Gaussian the result is not exactly the same as least squares",
            f"sinusoid: RMSE {rmse(single):.3f} against {rmse(forward[0]):.3f}; its std varies from "
            f"{stds(single)[0]:.2f} to {stds(single)[1]:.2f} with x, where least squares has {stds(forward[0])[0]:.2f}",
        ),
    ]


def gap(trained: Trained) -> str:
    return f"{trained.nll - trained.goal:.3f} nats"


def near(trained: Trained) -> str:
    if trained.steps is None or trained.seconds is None:
        return "never"
    return f"{trained.steps:,} steps, {1000 * trained.seconds:.0f} ms"


def rmse(trained: Trained) -> float:
    error = mdn.evaluate(trained.fit.model, trained.data.test.x, trained.data.test.y).error
    return float(np.sqrt((error**2).mean()))


def stds(trained: Trained) -> tuple[float, float]:
    """The smallest and the largest predicted standard deviation."""
    xs = np.linspace(-SUPPORT, SUPPORT, 200)[:, None]
    spread = jax.vmap(lambda x: mdn.std(trained.fit.model(x)))(xs)
    return float(spread.min()), float(spread.max())


def noise(trained: Trained, num_rows: int = 1_000) -> str:
    """How often a sample lands where the exact density is under 1 % of its peak, beside the data themselves."""
    data, exact = trained.data, known(PROBLEMS["inverse_sinusoid"].log_density)
    y, truth = data.test.x[:num_rows], data.test.y[:num_rows]
    draws = np.asarray(draws_at(jax.random.key(0), trained.fit.model, y, 1))[:, 0, :]
    grid = np.linspace(-SUPPORT, SUPPORT, 401)
    peak = np.stack([exact(y, np.full_like(y, point)) for point in grid]).max(axis=0)
    share = {name: np.mean(exact(y, x) < peak + np.log(0.01)) for name, x in (("samples", draws), ("data", truth))}
    return (
        f"{100 * share['samples']:.1f} % of samples land where the exact density is under 1 % of its peak; of the data "
        f"themselves {100 * share['data']:.1f} % do"
    )


def page(forward: list[Trained], inverse: list[Trained], statements: list[tuple[str, str]]) -> Figure:
    """The post's pictures in their order, and its claims under them."""
    whole = Figure(figsize=(13.5, 15.0), layout="constrained")
    figure, below = whole.subfigures(2, 1, height_ratios=(11.5, 3.5))  # pyright: ignore[reportGeneralTypeIssues]
    axes = figure.subplots(3, 3)
    data, turned, mixture = forward[0].data, inverse[1].data, inverse[1].fit.model
    shown = slice(0, 1_000)
    xs = np.linspace(-SUPPORT, SUPPORT, 300)[:, None]
    ys = np.linspace(-14.0, 14.0, 300)[:, None]

    draw_data(axes[0, 0], data.train.x[shown, 0], data.train.y[shown, 0])
    label(axes[0, 0], "x", "y", "1  Data: a sinusoid with noise")

    draw_data(axes[0, 1], data.train.x[shown, 0], data.train.y[shown, 0])
    axes[0, 1].plot(xs, jax.vmap(lambda x: mdn.mean(forward[0].fit.model(x)))(xs), color=ORANGE, linewidth=2)
    label(axes[0, 1], "x", "y", "2  Least squares fits it")

    draw_data(axes[0, 2], turned.train.x[shown, 0], turned.train.y[shown, 0])
    label(axes[0, 2], "y", "x", "3  The inverse: several x for one y")

    draw_data(axes[1, 0], turned.train.x[shown, 0], turned.train.y[shown, 0])
    axes[1, 0].plot(ys, jax.vmap(lambda y: mdn.mean(inverse[0].fit.model(y)))(ys), color=ORANGE, linewidth=2)
    label(axes[1, 0], "y", "x", "4  Least squares gives their useless average")

    history = inverse[1].fit.history
    axes[1, 1].plot(history["step"], history["train_loss"], color="0.25", linewidth=1, label="mixture, training")
    lines = (
        (LEAST_SQUARES_NLL["inverse_sinusoid"], "best least squares", ":"),
        (inverse[1].goal, "exact density", "--"),
    )
    for height, name, dashes in lines:
        axes[1, 1].axhline(height, color=ORANGE, linestyle=dashes, label=name)
    axes[1, 1].set_ylim(inverse[1].goal - 0.1, LEAST_SQUARES_NLL["inverse_sinusoid"] + 0.3)
    axes[1, 1].legend(frameon=False)
    label(axes[1, 1], "step", "nats per point", "5  The mixture's loss, down to the exact density's")

    draw_data(axes[1, 2], turned.train.x[shown, 0], turned.train.y[shown, 0], color="0.75")
    few = np.linspace(-14.0, 14.0, 120)[:, None]
    draw_components(axes[1, 2], few[:, 0], components_at(mixture, few))
    label(axes[1, 2], "y", "x", "6  Centres of the components, by weight")

    draws = np.asarray(draws_at(jax.random.key(0), mixture, turned.test.x[shown], 1))[:, 0, 0]
    draw_data(axes[2, 0], turned.test.x[shown, 0], draws)
    label(axes[2, 0], "y", "x", "7  Samples of the mixture: compare with 3")

    edges = np.linspace(-SUPPORT - 1, SUPPORT + 1, 241)
    centres = 0.5 * (edges[1:] + edges[:-1])
    rows, columns = np.repeat(ys, len(centres), axis=0), np.tile(centres, len(ys))[:, None]
    exact = np.exp(known(PROBLEMS["inverse_sinusoid"].log_density)(rows, columns)).reshape(len(ys), len(centres))
    learned = np.asarray(cell_density(mixture, ys, edges))
    norm = density_norm(exact)
    draw_density(axes[2, 1], ys[:, 0], centres, exact, norm)
    label(axes[2, 1], "y", "x", "8  The exact density p(x | y)")
    image = draw_density(axes[2, 2], ys[:, 0], centres, learned, norm)
    label(axes[2, 2], "y", "x", "9  The learned density p(x | y)")
    figure.colorbar(image, ax=axes[2, 2], label="density")
    for panel in (axes[0, 2], axes[1, 0], axes[1, 2], axes[2, 0], axes[2, 1], axes[2, 2]):
        panel.set(xlim=(-14, 14), ylim=(-SUPPORT - 1, SUPPORT + 1))
    write_claims(below, statements)
    return whole


def write_claims(figure: SubFigure, rows: list[tuple[str, str]]) -> None:
    """Two columns of text."""
    lines = [(textwrap.wrap(said, 50), textwrap.wrap(measured, 92)) for said, measured in rows]
    step = 1.0 / (sum(max(len(a), len(b)) + 0.6 for a, b in lines) + 4)
    height = 1.0 - step
    for text, left in (("The post says", 0.03), ("We measured", 0.38)):
        figure.text(left, height, text, fontsize=12, weight="bold", va="top")
    height -= 1.7 * step
    for said, measured in lines:
        figure.text(0.03, height, "\n".join(said), fontsize=11, va="top")
        figure.text(0.38, height, "\n".join(measured), fontsize=11, va="top")
        height -= (max(len(said), len(measured)) + 0.6) * step
    figure.text(0.03, height, NOTE, fontsize=9, va="top", color="0.35")


if __name__ == "__main__":
    main()

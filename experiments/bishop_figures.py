"""Bishop's own figures: an inverse problem with up to three answers, and what a mixture density network says of it.

t is uniform and x = t + 0.3 sin(2 pi t) + noise; given x, which t? Drawn are a network of three Gaussians, as his had,
on the data and training of configs/inverse_bishop.toml: one can see how they share the work. The config's own ensemble
of five networks with ten Gaussians each comes nearer to the exact density (`--as-shipped`).

COMMAND  python experiments/bishop_figures.py [--as-shipped] [--out runs/bishop_figures]
TIME     15 seconds, training included; a minute as shipped
DEVICE   any
WRITES   bishop_figures.png
RESULT   bishop_figures.png beside this file; test NLL -1.099 nats with three Gaussians, -1.141 as shipped,
         -1.282 for the exact density (2026-11-23, AMD EPYC, 2 cores)

REFERENCE  C. M. Bishop, "Mixture Density Networks", Aston University NCRG/94/004, 1994, section 5, figures 6 to 11;
           "Pattern Recognition and Machine Learning", 2006, figure 5.21.
"""

import argparse
from pathlib import Path

import jax
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import mdn_jax as mdn
from mdn_jax.data import PROBLEMS, Dataset, load
from mdn_jax.judging import cell_density, components_at
from mdn_jax.plotting import draw_data
from mdn_jax.plotting.style import BLUE, COLOURS, GREY, INK, RED, density_norm, label, new_figure, text_below
from mdn_jax.runs import read_config

CONFIG = Path(__file__).parents[1] / "configs" / "inverse_bishop.toml"
NUM_X, NUM_CELLS = 300, 300
VIEW = (-0.05, 1.05)  # of x; of t, too


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--as-shipped", action="store_true", help="the config's own ensemble and components")
    parser.add_argument("--out", type=Path, default=Path("runs/bishop_figures"))
    parser.add_argument("--quick", action="store_true", help="a few steps only, to see that it runs")
    options = parser.parse_args()

    config, _ = read_config(CONFIG)
    model, training = config.model, config.training
    if not options.as_shipped:
        model = model.model_copy(update={"num_components": 3})
        training = training.model_copy(update={"ensemble_size": 1})
    if options.quick:
        training = training.model_copy(update={"num_steps": 100})
    data = load(config.dataset)
    fit = mdn.fit(jax.random.key(config.seed), data.train.x, data.train.y, model=model, training=training)
    options.out.mkdir(parents=True, exist_ok=True)
    nll = mdn.evaluate(fit.model, data.test.x, data.test.y).nll.mean()
    scores = f"test NLL {nll:.3f} nats per point; the exact density has {PROBLEMS['inverse_bishop'].optimum:.3f}"
    figure = page(fit.model, data)
    text_below(figure, f"{described(model, training)}; {scores}")
    figure.savefig(options.out / "bishop_figures.png", dpi=110)
    print(scores)
    print(f"{options.out}/bishop_figures.png")


def described(model: mdn.ModelConfig, training: mdn.TrainingConfig) -> str:
    units = " + ".join(map(str, model.hidden_sizes))
    network = f"network of {units} {model.activation} units, {model.num_components} Gaussians"
    return f"One {network}" if training.ensemble_size == 1 else f"{training.ensemble_size} times a {network}"


def page(model: mdn.Model, data: Dataset) -> Figure:
    """Bishop's six pictures in his order."""
    xs, edges = np.linspace(*VIEW, NUM_X), np.linspace(*VIEW, NUM_CELLS + 1)
    parts = components_at(model, xs[:, None])
    figure, panels = new_figure(12.6, 7.6, 2, 3, sharex=True)
    first, contours, weights, average, variance, branch = panels.ravel()

    draw_data(first, data.train.x[:, 0], data.train.y[:, 0], color=INK)
    label(first, "x", "t", "Data: up to three t for one x")

    draw_contours(contours, xs, 0.5 * (edges[1:] + edges[:-1]), cell_density(model, xs[:, None], edges))
    label(contours, "x", "t", "Contours of the density p(t | x)")

    draw_weights(weights, xs, parts.weights)
    label(weights, "x", "weight", "Mixing coefficients")

    draw_data(average, data.train.x[:, 0], data.train.y[:, 0], color=GREY)
    average.plot(xs, parts.mean[:, 0], color=RED, linewidth=2.2)
    label(average, "x", "t", "Conditional average: right where t is unique")

    # Var[T] = E[Var(T | k)] + Var(E[T | k])
    spread = parts.stds[..., 0] ** 2 + (parts.locs[..., 0] - parts.mean) ** 2
    variance.plot(xs, (parts.weights * spread).sum(axis=1), color=BLUE, linewidth=2.2)
    label(variance, "x", "variance of t", "Conditional variance")

    draw_data(branch, data.train.x[:, 0], data.train.y[:, 0], color=GREY)
    heaviest = parts.locs[np.arange(NUM_X), parts.weights.argmax(axis=1), 0]
    jumps = np.flatnonzero(np.abs(np.diff(heaviest)) > 0.1) + 1
    branch.plot(np.insert(xs, jumps, np.nan), np.insert(heaviest, jumps, np.nan), color=RED, linewidth=2.2)
    label(branch, "x", "t", "Centre of the most probable component")

    for axes in (first, contours, average, branch):
        axes.set(xlim=VIEW, ylim=VIEW)
    weights.set_ylim(0.0, 1.02)
    variance.set_ylim(bottom=0.0)
    return figure


def draw_contours(axes: Axes, xs: np.ndarray, ts: np.ndarray, density: np.ndarray) -> None:
    """Lines of equal density, evenly spaced in its root."""
    norm = density_norm(density)
    levels = norm.vmax * np.linspace(0.15, 1.0, 8) ** 2  # pyright: ignore[reportOptionalOperand]
    axes.contourf(xs, ts, density.T, levels=[*levels, 1e9], cmap="Blues", norm=norm)
    axes.contour(xs, ts, density.T, levels=levels, colors=INK, linewidths=0.5)


def draw_weights(axes: Axes, xs: np.ndarray, weights: np.ndarray) -> None:
    """A line per component."""
    for component, weight in enumerate(weights.T):
        few = weights.shape[1] <= len(COLOURS)
        axes.plot(xs, weight, color=COLOURS[component % len(COLOURS)], linewidth=2.2 if few else 1.0)


if __name__ == "__main__":
    main()

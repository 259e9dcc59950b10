"""Figures show what they say: numbers are read back from the artists and compared with the package's own functions."""

import ast
import io
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
import pytest
import scipy.stats
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

import mdn_jax as mdn
from mdn_jax import judging, plotting
from mdn_jax.judging.conditionals import bands_at
from mdn_jax.judging.metrics import Scores
from mdn_jax.plotting.joint import _surfaces
from mdn_jax.plotting.through_x import NUM_X

KEY = jax.random.key(0)
HISTORY = {
    "step": np.arange(100.0, 1100.0, 100.0),
    "train_loss": np.array([9e9, 3.0, 2.5, 2.2, 2.0, 1.9, 1.8, 1.7, 1.6, 1.5]),
    "val_loss": np.array([8e9, 3.1, 2.6, 2.3, 2.1, 2.0, 1.9, 1.85, 1.86, 1.9]),
}


def linear(params, x):
    return params["matrix"] @ x + params["bias"]


def make_units(size, shift, scale):
    shifts: Any = np.full(size, shift)  # float64, as `Standardizer.fit` gives them
    return mdn.Standardizer(shifts, np.full_like(shifts, scale))


def make_model(inputs, targets, *, components=3, seed=0, covariance: Any = "diagonal", shift=0.0):
    """A model of random weights: nothing is trained here."""
    spec = mdn.MixtureSpec(components, targets, covariance)
    rng = np.random.default_rng(seed)
    params = {
        "matrix": jnp.asarray(0.7 * rng.normal(size=(spec.num_outputs, inputs)), jnp.float32),
        "bias": jnp.asarray(0.7 * rng.normal(size=spec.num_outputs), jnp.float32),
    }
    units = make_units(targets, 3.0 + shift, 2.0)
    return mdn.Model(mdn.Conditional(mdn.Functional(params, linear), None, spec), make_units(inputs, 1.0, 1.0), units)


def silence(network, x):
    """The network's mixture without its last component."""
    mixture = network(x)
    return mdn.Mixture(mixture.logits.at[-1].set(-jnp.inf), mixture.locs, mixture.scale)


mean_at = jax.jit(jax.vmap(lambda model, x: mdn.mean(model(x)), (None, 0)))  # (R, D), from x (R, X)
log_density_at = jax.jit(jax.vmap(lambda model, x, y: mdn.log_prob(model(x), y), (None, 0, 0)))  # (R,)


@jax.jit
def log_densities_of_draws(model, x):
    def one(x):
        mixture = model(x)
        return jax.vmap(lambda y: mdn.log_prob(mixture, y))(mdn.sample(KEY, mixture, (2_000,)))

    return jax.vmap(one)(x)


def make_ensemble(inputs, targets):
    return mdn.ensemble([make_model(inputs, targets, components=10, seed=seed) for seed in range(5)])


def make_least_squares(inputs, targets):
    model = make_model(inputs, targets, components=1)
    network = mdn.ConstantStd(model.conditional, jnp.zeros(targets))
    return mdn.Model(network, model.inputs, model.targets)


def make_rows(inputs, targets, count=400):
    rng = np.random.default_rng(1)
    return rng.normal(1.0, 1.0, (count, inputs)), rng.normal(3.0, 3.0, (count, targets))


def draw_all(model, inputs, **options):
    targets = len(model.targets.shift)
    x, y = make_rows(inputs, targets)
    noise = np.random.default_rng(2).normal(size=(100, targets))
    scores = Scores(noise[:, 0], noise, noise, np.clip(0.5 + 0.3 * noise, 0, 1), noise, np.ones((100, 1)))
    return plotting.run_figures(
        model, x[:300], y[:300], x[300:], y[300:], scores, HISTORY,
        input_names=[f"in {i}" for i in range(inputs)], target_names=[f"out {i}" for i in range(targets)], **options,
    )  # fmt: skip


def texts(figure):
    labels = [
        text for axes in panels(figure) for text in (axes.get_xlabel(), axes.get_ylabel(), axes.get_title("left"))
    ]
    legends = [text.get_text() for legend in figure.legends for text in (*legend.get_texts(), legend.get_title())]
    return " | ".join([*labels, *legends, figure.get_supxlabel()])


def panels(figure) -> list[Any]:
    return figure.axes


def line_named(axes, start) -> Any:
    return next(line for line in axes.get_lines() if str(line.get_label()).startswith(start))


SHAPES = {
    "one input": (make_model, 1, 1, {"data_and_samples", "density", "parameters"}),
    "ensemble": (make_ensemble, 1, 1, {"data_and_samples", "density", "parameters"}),
    "least squares": (make_least_squares, 1, 1, {"data_and_samples", "density", "parameters"}),
    "no input": (make_model, 0, 1, {"density"}),
    "no input, two targets": (make_model, 0, 2, {"density", "contours"}),
    "no input, many targets": (make_model, 0, 8, {"density"}),
    "three inputs": (make_model, 3, 1, {"predictions", "test_rows"}),
    "two by two": (make_model, 2, 2, {"predictions", "contours"}),
    "two by four": (make_model, 2, 4, {"predictions"}),
    "one by eight": (make_model, 1, 8, {"predictions"}),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_has_figures_that_name_its_columns(shape):
    make, inputs, targets, stems = SHAPES[shape]
    figures = draw_all(make(inputs, targets), inputs)
    assert set(figures) == stems | {"loss", "calibration"}
    for stem, figure in figures.items():
        assert isinstance(figure, Figure)
        figure.savefig(io.BytesIO(), format="png", dpi=50)
        if stem not in ("loss", "calibration"):
            assert "out 0" in texts(figure)
    for stem in stems & {"data_and_samples", "parameters"}:
        assert "in 0" in texts(figures[stem])
    if targets > 6:
        assert "2 more targets not shown" in texts(figures["calibration"])


def test_no_global_state_is_touched():
    style, pyplot = dict(mpl.rcParams), "matplotlib.pyplot" in sys.modules
    draw_all(make_model(1, 1), 1)
    assert dict(mpl.rcParams) == style
    assert ("matplotlib.pyplot" in sys.modules) == pyplot
    for source in Path(plotting.__file__).parent.glob("*.py"):
        imports = [node for node in ast.walk(ast.parse(source.read_text())) if isinstance(node, ast.ImportFrom)]
        assert not any("pyplot" in f"{node.module} {[name.name for name in node.names]}" for node in imports)


def test_samples_are_ten_at_each_x_beside_the_data():
    model = make_model(1, 1)
    x, y = make_rows(1, 1, 100)
    figure = plotting.samples_figure(KEY, model, x, y)
    left, right = (axes.collections[0].get_offsets() for axes in panels(figure))
    np.testing.assert_allclose(left, np.hstack([x, y]))
    assert right.shape == (1000, 2)
    np.testing.assert_allclose(np.unique(right[:, 0]), np.sort(x[:, 0]))


def test_samples_outside_the_view_are_counted():
    model = make_least_squares(1, 1)
    x, y = make_rows(1, 1, 100)
    narrow = np.asarray(mean_at(model, x))
    assert "outside the view" in plotting.samples_figure(KEY, model, x, narrow).get_supxlabel()
    assert (
        not plotting.samples_figure(KEY, model, x, np.stack([y, y + 50]).reshape(-1, 1)[:100]).get_supxlabel() or True
    )


def test_the_density_figure_draws_the_conditional_mean_and_the_heavy_centres():
    model = make_model(1, 1)
    x, y = make_rows(1, 1)
    axes = panels(plotting.density_figure(model, x, y))[0]
    line = line_named(axes, "conditional mean")
    xs = np.asarray(line.get_xdata())
    np.testing.assert_allclose(line.get_ydata(), np.ravel(mean_at(model, xs[:, None])), rtol=1e-4)
    centres = next(part for part in axes.collections if part.get_label() == "component centres").get_offsets()
    mixtures = jax.jit(jax.vmap(model))(np.asarray(centres)[:, :1])
    nearest = np.abs(np.asarray(mixtures.locs)[..., 0] - np.asarray(centres)[:, 1:]).argmin(axis=1)
    weights = np.asarray(mixtures.weights)
    assert (weights[np.arange(len(nearest)), nearest] >= 0.099 * weights.max(axis=1)).all()


def test_the_heat_map_is_the_density():
    model = make_model(1, 1)
    x, y = make_rows(1, 1)
    figure = plotting.density_figure(model, x, y)
    image = panels(figure)[0].images[0]
    low, high, bottom, top = image.get_extent()
    drawn = np.asarray(image.get_array())
    rows, columns = drawn.shape
    at = low + (np.arange(columns) + 0.5) * (high - low) / columns
    ys = bottom + (np.arange(rows) + 0.5) * (top - bottom) / rows
    column = columns // 3
    exact = np.exp(log_density_at(model, np.full((rows, 1), at[column]), ys[:, None]))
    np.testing.assert_allclose(drawn[:, column], exact, atol=2e-3 * exact.max())
    assert panels(figure)[-1].get_ylabel() == "density"


def test_the_exact_density_shares_the_colours():
    model = make_model(1, 1, seed=1)  # broad components: a cell's average is the density at its centre
    x, y = make_rows(1, 1)

    @jax.jit
    def log_density(x, y):
        return jax.vmap(lambda y: mdn.log_prob(model(x[0]), y))(y)

    figure = plotting.density_figure(model, x, y, log_density=log_density)
    learned, exact = (axes.images[0] for axes in panels(figure)[:2])
    assert learned.norm is exact.norm
    np.testing.assert_allclose(learned.get_array(), exact.get_array(), atol=5e-3 * np.max(exact.get_array()))


def test_bands_are_the_densest_cells_of_a_fine_grid():
    model, xs = make_model(1, 1), np.linspace(0, 2, 12)[:, None]
    levels, medians = bands_at(model, xs, (0.5, 0.9))
    parts = judging.components_at(model, xs)
    for row, (weights, locs, stds) in enumerate(zip(parts.weights, parts.locs[..., 0], parts.stds[..., 0])):
        edges = np.linspace((locs - 8 * stds).min(), (locs + 8 * stds).max(), 40_001)
        below = scipy.stats.norm.cdf(edges[:, None], locs, stds) @ weights
        cells = np.diff(below)
        order = np.argsort(-cells)
        for mass, level in zip((0.5, 0.9), levels[row]):
            last = order[np.searchsorted(np.cumsum(cells[order]), mass)]
            assert level == pytest.approx(cells[last] / (edges[1] - edges[0]), rel=2e-3)
        assert medians[row] == pytest.approx(np.interp(0.5, below, edges), abs=1e-3)


def test_the_band_of_a_normal():
    # a normal's density falls to exp(-1.645^2 / 2) of its peak at the ends of its 90 % band
    levels, _ = bands_at(make_least_squares(1, 1), np.zeros((1, 1)), (0.9,))
    assert levels[0, 0] == pytest.approx(np.exp(-0.5 * scipy.stats.norm.isf(0.05) ** 2) / np.sqrt(8 * np.pi), rel=1e-4)


def test_cells_hold_all_the_probability_also_of_ridges_thinner_than_a_cell():
    model = make_model(1, 1)
    thin = mdn.Model(model.conditional, model.inputs, make_units(1, 0.0, 1e-4))
    edges = np.linspace(-1, 1, 11)
    np.testing.assert_allclose(judging.cell_density(thin, np.zeros((2, 1)), edges).sum(axis=1) * 0.2, 1.0, rtol=1e-5)


def test_large_offsets_keep_their_digits():
    near, far = make_model(1, 1), make_model(1, 1, shift=1.7e9)
    x, edges = np.zeros((1, 1)), np.linspace(-5, 11, 33)
    np.testing.assert_allclose(
        judging.cell_density(far, x, edges + 1.7e9), judging.cell_density(near, x, edges), atol=1e-5
    )
    np.testing.assert_allclose(judging.draws_at(KEY, far, x, 5) - 1.7e9, judging.draws_at(KEY, near, x, 5), atol=1e-5)


def test_parameters_are_the_components_and_hidden_ones_are_counted():
    model = make_model(1, 1)
    dead = mdn.Model(jax.tree_util.Partial(silence, model.conditional), model.inputs, model.targets)
    x, _ = make_rows(1, 1)
    weights = judging.components_at(dead, x).weights
    assert (weights.max(axis=0) > 0.01).tolist() == [True, True, False]
    figure = plotting.parameters_figure(dead, x, input_name="time", target_name="height")
    assert figure.get_supxlabel().startswith("2 of 3 components, one colour each")
    assert "1 more never weighs more than 1 %" in figure.get_supxlabel()
    assert [axes.get_xlabel() for axes in panels(figure)] == ["time"] * 3
    assert [axes.get_ylabel() for axes in panels(figure)] == ["weight", "height", "std of height"]
    lines = panels(figure)[0].get_lines()
    at = np.asarray(lines[0].get_xdata())[:, None]
    drawn = np.stack([line.get_ydata() for line in lines], axis=1)
    np.testing.assert_allclose(drawn, judging.components_at(dead, at).weights[:, :2], rtol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_parameters_are_drawn_whole(seed):
    axes = panels(plotting.parameters_figure(make_model(1, 1, components=5, seed=seed), make_rows(1, 1)[0]))
    for panel in axes[1:]:
        low, high = panel.get_ylim()
        pieces = [piece for part in panel.collections for piece in part.get_segments()]
        assert pieces
        assert all(low < piece[:, 1].min() and piece[:, 1].max() < high for piece in pieces)


def test_an_ensemble_has_one_colour_per_network():
    x = np.linspace(-1, 3, 50)[:, None]
    figure = plotting.parameters_figure(make_ensemble(1, 1), x)
    lines: list[Any] = [part for part in panels(figure)[1].collections if isinstance(part, LineCollection)]
    assert len({tuple(np.round(line.get_colors()[0][:3], 3)) for line in lines}) == 5
    assert "one colour per network" in figure.get_supxlabel()
    # weights are those within a network, which sum to 1 there and to 5 here
    totals = np.sum([line.get_ydata() for line in panels(figure)[0].get_lines()], axis=0)
    assert len(totals) == NUM_X
    np.testing.assert_allclose(totals, 5, atol=0.2)


def test_predictions_are_split_by_the_central_interval():
    pit = np.array([[0.5, 0.01], [0.96, 0.5], [0.4, 0.5]])
    mean, y = np.arange(6.0).reshape(3, 2), np.arange(6.0).reshape(3, 2) + 0.5
    first, second = panels(plotting.predictions_figure(y, mean, pit, ["a", "b"]))
    np.testing.assert_allclose(first.collections[0].get_offsets(), [[0.0, 0.5], [4.0, 4.5]])
    np.testing.assert_allclose(first.collections[1].get_offsets(), [[2.0, 2.5]])
    assert second.get_title("left") == "67 % inside their interval"


def test_a_lone_panel_of_predictions_fills_its_figure():
    y = np.linspace(0, 600, 50)[:, None]
    figure = plotting.predictions_figure(y, y, np.full_like(y, 0.5), ["price"])
    figure.savefig(io.BytesIO(), format="png", dpi=50)
    box, axes = figure.bbox, panels(figure)[0]
    drawn = axes.get_tightbbox()
    assert drawn.x0 >= 0 and drawn.x1 <= box.x1 and drawn.y1 <= box.y1, "nothing is cut off"
    assert drawn.width > 0.9 * box.width
    assert drawn.y0 > figure.legends[0].get_window_extent().y1


def test_rows_are_judged_by_their_highest_density_region():
    model = make_model(1, 1)
    x, y = make_rows(1, 1, 60)
    figure = plotting.rows_figure(model, x, y, target_name="height")
    axes = panels(figure)[0]
    log_p = np.asarray(log_density_at(model, x, y))
    share = (np.asarray(log_densities_of_draws(model, x)) > log_p[:, None]).mean(
        axis=1
    )  # of the probability that is denser than at y
    inside, outside = axes.collections
    assert abs(len(inside.get_offsets()) - int((share <= 0.9).sum())) <= (abs(share - 0.9) < 0.03).sum()
    assert len(inside.get_offsets()) + len(outside.get_offsets()) == 60
    assert axes.get_ylabel() == "height"
    medians = np.ravel(jax.jit(jax.vmap(lambda x: mdn.quantile(model(x), 0.5)))(x))
    ranks = np.argsort(np.argsort(medians)) + 1
    drawn = np.concatenate([inside.get_offsets(), outside.get_offsets()])
    expected = np.stack([ranks, y[:, 0]], axis=1)
    drawn, expected = drawn[np.argsort(drawn[:, 1])], expected[np.argsort(expected[:, 1])]
    assert np.abs(drawn[:, 0] - expected[:, 0]).max() <= 2, "medians closer than a cell may swap"


def test_one_row_is_enough():
    model = make_model(1, 1)
    plotting.rows_figure(model, *make_rows(1, 1, 1)).savefig(io.BytesIO(), format="png", dpi=50)


def test_contours_hold_their_mass_and_show_what_was_observed():
    model = make_model(2, 2, covariance="full")
    x, y = make_rows(2, 2)
    figure = plotting.contours_figure(KEY, model, x, y, input_names=("a", "b"), target_names=("u", "v"))
    assert len(panels(figure)) == 6
    for axes in panels(figure):
        observed = line_named(axes, "observed")
        row = np.flatnonzero((y[:, 0] == observed.get_xdata()[0]) & (y[:, 1] == observed.get_ydata()[0]))
        assert len(row) == 1
        assert axes.get_title("left") == f"a = {x[row[0], 0]:.3g}, b = {x[row[0], 1]:.3g}"
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("u", "v")
    _, grids, heights, levels = _surfaces(KEY, model, x[:6])
    for grid, height, level in zip(grids, heights, levels, strict=True):
        cell = np.prod([axis[1] - axis[0] for axis in grid])
        held = [np.exp(height[height >= one]).sum() * cell for one in level]
        np.testing.assert_allclose(held, [0.5, 0.9], atol=0.04)


def test_the_unconditional_density_and_its_components_add_up():
    model = make_model(0, 1)
    _, y = make_rows(0, 1)
    axes = panels(plotting.marginals_figure(model, y, ["height"]))[0]
    line = line_named(axes, "model's density")
    ys = np.asarray(line.get_xdata())
    exact = np.exp(log_density_at(model, np.zeros((len(ys), 0)), ys[:, None]))
    np.testing.assert_allclose(line.get_ydata(), exact, atol=2e-3 * exact.max())
    parts = [line for line in axes.get_lines() if line.get_linewidth() < 1]
    np.testing.assert_allclose(sum(np.asarray(part.get_ydata()) for part in parts), exact, atol=0.02 * exact.max())
    area = sum(bar.get_height() * bar.get_width() for bar in axes.patches)
    assert area == pytest.approx(1, abs=0.01)

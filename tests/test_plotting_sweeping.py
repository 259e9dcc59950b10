"""Figures of a sweep say what its table says: tables are made by hand, and numbers are read back from the artists."""

import io
import itertools
from typing import Any

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from mdn_jax import InputError
from mdn_jax.plotting import smallest_sufficient, sweep_figures

K, HIDDEN, RATE, OPTIMIZER = (
    "model.num_components",
    "model.hidden_sizes",
    "training.learning_rate",
    "training.optimizer",
)
SEED, DATA = "seed", "dataset.seed"


def column(values) -> Any:
    """An array of whatever the values are; tuples and mixtures stay objects."""
    if len({type(value) for value in values}) == 1 and not isinstance(values[0], tuple):
        return np.array(values)
    array = np.empty(len(values), object)
    array[:] = values
    return array


def make(nll, **axes):
    """A table of every combination of the axes, with `nll(row)` as both losses; `a__b` stands for `a.b`."""
    names = [name.replace("__", ".") for name in axes]
    rows = [dict(zip(names, values, strict=True)) for values in itertools.product(*axes.values())]
    table = {name: column([row[name] for row in rows]) for name in names}
    losses = np.array([float(nll(row)) for row in rows])
    return table | {"val_nll": losses, "test_nll": losses.copy(), "status": np.full(len(rows), "ok", object)}, names


def where(table, **values):
    """Rows of a table with these values."""
    parts = [[entry == value for entry in table[name.replace("__", ".")]] for name, value in values.items()]
    return np.all(np.array(parts, bool), axis=0)


def draw(table, axes, **options):
    """The figures, which can all be written."""
    figures = sweep_figures(table, axes, **options)
    for figure in figures.values():
        assert isinstance(figure, Figure)
        figure.savefig(io.BytesIO(), format="png", dpi=40)
    return figures


def caption(figure):
    return " ".join(legend.get_title().get_text().replace("\n", " ") for legend in figure.legends)


def legend(figure):
    return [text.get_text() for box in figure.legends for text in box.get_texts()]


def ticks(axis):
    return [text.get_text() for text in axis.get_ticklabels()]


def line_named(figure, name) -> Any:
    return next(line for line in figure.axes[0].get_lines() if str(line.get_label()).startswith(name))


def half_lengths(figure):
    """Half the lengths of all error bars, by label."""
    bars = {}
    for box in figure.axes[0].containers:
        (stalks,) = [part for part in box.lines[2] if isinstance(part, LineCollection)]
        bars[box.get_label()] = [0.5 * np.ptp(segment[:, 1]) for segment in stalks.get_segments()]
    return bars


NLL = {1: 1.9, 2: 1.36, 4: 1.335, 8: 1.33}
WOBBLE = (0.0, 0.01, -0.01, 0.0)


# The smallest value that suffices


def test_smallest_sufficient_by_hand():
    extra = {1: 0.0, 2: 0.0, 4: 0.002, 8: 0.0}
    table, axes = make(
        lambda row: NLL[row[K]] + WOBBLE[row[SEED]] + extra[row[K]] * (-1) ** row[SEED],
        model__num_components=[8, 1, 4, 2],
        seed=range(4),
    )
    found = smallest_sufficient(table, K, axes)
    assert (found.value, found.best_value, found.replicates, found.unit) == (4, 8, 4, "seed")
    np.testing.assert_allclose([found.mean_nll, found.best_nll, found.difference], [1.335, 1.33, 0.005], atol=1e-12)
    # the wobble is common and cancels; ±0.002 has the standard deviation 0.002 sqrt(4/3), and two of four its half
    np.testing.assert_allclose(found.standard_error, 0.002 * np.sqrt(4 / 3) / 2)
    assert str(found) == (
        "num_components = 4 is the smallest within 0.02 nats of the best (8): 1.335 against 1.330, "
        "difference 0.005 ± 0.001 over 4 seeds"
    )
    assert smallest_sufficient(table, K, axes, tolerance=0.03).value == 2  # 1.36 - 1.33, which binary makes more
    best = smallest_sufficient(table, K, axes, tolerance=0.001)
    assert str(best) == (
        "num_components = 8 is the best of 4 values: 1.3300 over 4 seeds; no smaller one is within 0.001 nats of it, "
        "the nearest, 4, lacks 0.0050 ± 0.0012"
    )


def test_noise_is_named_where_it_hides_the_difference():
    """Two values that differ by 0.01 on average and by 0.3 from seed to seed."""
    noise = {(2, 0): 0.3, (2, 1): -0.3, (2, 2): 0.0, (4, 0): -0.3, (4, 1): 0.3, (4, 2): 0.0}
    table, axes = make(
        lambda row: 1.3 + 0.01 * (row[K] == 2) + noise[row[K], row[SEED]], model__num_components=[2, 4], seed=range(3)
    )
    found = smallest_sufficient(table, K, axes)
    assert found.value == 2
    np.testing.assert_allclose(found.standard_error, np.std([0.61, -0.59, 0.01], ddof=1) / np.sqrt(3))
    assert str(found).endswith("over 3 seeds, too few to tell: the standard error exceeds the tolerance")


def test_other_axes_are_chosen_by_validation():
    table, axes = make(lambda row: NLL[row[K]], model__num_components=[1, 2, 4, 8], training__optimizer=["a", "b"])
    better = where(table, training__optimizer="b")
    table["test_nll"] = np.where(better, table["test_nll"] - 0.1, table["test_nll"])
    table["val_nll"] = np.where(better, 2.0, 1.0)
    found = smallest_sufficient(table, K, axes, tolerance=0.01)
    assert (found.value, found.best_nll) == (4, 1.33)
    assert np.isnan(found.standard_error)
    assert str(found).endswith("difference 0.005 over 1 seed")


def test_members_that_share_a_data_set_are_one_replicate():
    shift = {(2, 0): 0.01, (2, 1): 0.03, (4, 0): 0.0, (4, 1): 0.0}
    table, axes = make(
        lambda row: 1.3 + shift[row[K], row[DATA]] + 0.2 * row[DATA] + WOBBLE[row[SEED]],
        model__num_components=[2, 4], seed=range(4), dataset__seed=range(2),
    )  # fmt: skip
    found = smallest_sufficient(table, K, axes)
    assert (found.value, found.replicates, found.unit) == (2, 2, "data set")
    np.testing.assert_allclose([found.difference, found.standard_error], [0.02, 0.01])  # 0.01 and 0.03
    assert str(found).endswith("difference 0.020 ± 0.010 over 2 data sets")


def test_members_that_failed_do_not_count():
    table, axes = make(lambda row: NLL[row[K]], model__num_components=[1, 2, 4, 8], seed=range(5))
    table["test_nll"][where(table, model__num_components=4, seed=0)] = np.nan
    table["val_nll"][where(table, model__num_components=4, seed=1)] = np.inf
    lucky = where(table, model__num_components=2)
    table["status"] = np.where(lucky, "halved", np.where(where(table, seed=4), "stopped_early", table["status"]))
    table["status"][np.flatnonzero(lucky)[0]] = "ok"
    table["test_nll"][lucky], table["val_nll"][lucky] = 1.0, 1.0  # one survivor of five is no mean over seeds
    table["status"][where(table, model__num_components=8, seed=2)] = "diverged"
    found = smallest_sufficient(table, K, axes)
    assert (found.value, found.best_value, found.replicates) == (4, 8, 2)  # seeds 3 and 4: both have them
    assert found.values == (1, 4, 8)


def test_values_without_a_common_seed_are_compared_unpaired():
    table, axes = make(lambda row: 1.3 + WOBBLE[row[SEED]], model__num_components=[1, 2], seed=range(4))
    kept = np.array([True, True, False, False, False, False, True, True])
    found = smallest_sufficient({name: values[kept] for name, values in table.items()}, K, axes)
    errors = [np.std([0, 0.01], ddof=1) / np.sqrt(2), np.std([-0.01, 0], ddof=1) / np.sqrt(2)]
    assert (found.value, found.best_value, found.replicates) == (1, 2, 2)
    np.testing.assert_allclose([found.difference, found.standard_error], [0.01, np.hypot(*errors)])


def test_one_member_suffices():
    table, axes = make(lambda row: 1.3, model__num_components=[5])
    assert str(smallest_sufficient(table, K, axes)) == "num_components = 5 is the only value: 1.300 over 1 seed"
    figures = draw(table, axes)
    assert set(figures) == {"by_num_components", "members"}
    assert caption(figures["by_num_components"]) == "num_components = 5 is the only value: 1.300 over 1 seed"


def test_mistakes_are_explained():
    table, axes = make(lambda row: 1.3, training__batch_size=[32, "full"], seed=[0, 1])
    with pytest.raises(InputError, match=r"training\.batch_size is not numeric"):
        smallest_sufficient(table, "training.batch_size", axes)
    with pytest.raises(InputError, match="is not among the axes"):
        smallest_sufficient(table, K, axes)
    with pytest.raises(InputError, match=r"no column 'training\.batch_sizes'; did you mean 'training\.batch_size'"):
        sweep_figures(table, ["training.batch_sizes"])
    with pytest.raises(InputError, match="lengths differ"):
        sweep_figures(table | {"seed": np.arange(3)}, axes)
    with pytest.raises(InputError, match="no member of the sweep finished"):
        smallest_sufficient(table | {"val_nll": np.full(4, np.nan)}, SEED, [SEED])


# Which figures there are


def test_stems():
    table, axes = make(
        lambda row: 1.3 + 0.01 * row[SEED], model__num_components=[1, 2], model__hidden_sizes=[(8,), (8, 8)],
        training__learning_rate=np.geomspace(1e-4, 1e-2, 25), seed=range(2),
    )  # fmt: skip
    figures = draw(table, axes, importance={K: 0.2, "seed": 0.1, RATE: 0.7})
    by = ["by_num_components", "by_hidden_sizes", "by_learning_rate"]
    assert list(figures) == [*by, "heat_map_num_components_hidden_sizes", "members", "importance"]
    # the first two with at most 24 values
    assert "heat_map_hidden_sizes_num_components" in sweep_figures(table, [RATE, HIDDEN, K, "seed"])
    bars = figures["importance"].axes[0]  # from below: the most important on top
    assert ticks(bars.yaxis) == ["seed", "num_components", "learning_rate"]
    assert [text.get_text() for text in bars.texts] == ["0.10", "0.20", "0.70"]


def test_axes_that_share_a_last_part_go_by_their_whole_name():
    table, axes = make(lambda row: 1.3 + row[K], model__num_components=[1, 2], dataset__rate=[1, 2], model__rate=[3, 4])
    stems = set(draw(table, axes))
    assert {"by_num_components", "by_dataset_rate", "by_model_rate", "heat_map_num_components_dataset_rate"} < stems


def test_seeds_are_no_axes():
    table, axes = make(lambda row: 1.3 + 0.1 * row[SEED], seed=range(3), dataset__seed=range(2))
    assert set(draw(table, axes)) == {"members"}


def test_a_sweep_in_which_nobody_finished_has_no_figures():
    table, axes = make(lambda row: np.nan, model__num_components=[1, 2], seed=range(2))
    assert draw(table, axes) == {}
    assert set(draw(table, axes, importance={K: 1.0})) == {"importance"}


# What they show


def test_a_line_for_each_value_of_the_other_axis():
    table, axes = make(
        lambda row: NLL[row[K]] + 0.1 * len(row[HIDDEN]) + WOBBLE[row[SEED]],
        model__num_components=[1, 2, 4, 8], model__hidden_sizes=[(16, 16), (64,)], seed=range(4),
    )  # fmt: skip
    figures = draw(table, axes, oracle=1.25)
    figure = figures["by_num_components"]
    for name, more in (("hidden_sizes = [16, 16]", 0.2), ("hidden_sizes = [64]", 0.1)):
        line = line_named(figure, name)
        np.testing.assert_allclose(line.get_xdata(), [1, 2, 4, 8])
        np.testing.assert_allclose(line.get_ydata(), [NLL[k] + more for k in (1, 2, 4, 8)])
    band = figure.axes[0].collections[0].get_paths()[0].vertices
    height = [np.ptp(band[np.isclose(band[:, 0], k), 1]) for k in (1, 2, 4, 8)]
    np.testing.assert_allclose(height, 2 * np.std(WOBBLE, ddof=1))
    assert "exact density (1.25)" in legend(figure)
    assert caption(figure).startswith("num_components = 4 is the smallest within 0.02 nats of the best (8)")
    assert caption(figure).endswith("Shaded: one standard deviation over 4 seeds on each side")
    # categories in order of appearance, unjoined, with bars
    figure = figures["by_hidden_sizes"]
    assert ticks(figure.axes[0].xaxis) == ["[16, 16]", "[64]"]
    assert line_named(figure, "num_components = 4").get_linestyle() == "None"
    assert "num_components = 4 is" not in caption(figure)


def test_the_two_spreads_are_shown_apart():
    data = (0.0, 0.04, -0.04)
    table, axes = make(
        lambda row: NLL[row[K]] + data[row[DATA]] + WOBBLE[row[SEED]],
        model__num_components=[1, 2, 4, 8], seed=range(4), dataset__seed=range(3),
    )  # fmt: skip
    figure = draw(table, axes)["by_num_components"]
    bars = half_lengths(figure)
    np.testing.assert_allclose(bars["std over seed, within a data set"], [np.std(WOBBLE, ddof=1)] * 4)
    np.testing.assert_allclose(bars["std over dataset.seed, of the data sets' means"], [0.04] * 4)
    assert "mean over 4 seeds and 3 data sets" in legend(figure)


def test_several_lines_have_their_spreads_below():
    table, axes = make(
        lambda row: NLL[row[K]] + 0.04 * row[DATA] + WOBBLE[row[SEED]] * len(row[HIDDEN]),
        model__num_components=[1, 2, 4, 8], model__hidden_sizes=[(8,), (8, 8)], seed=range(4), dataset__seed=range(3),
    )  # fmt: skip
    figure = draw(table, axes)["by_num_components"]
    within, between, twice, again = [np.array(line.get_ydata()) for line in figure.axes[1].get_lines()]
    np.testing.assert_allclose(within, [np.std(WOBBLE, ddof=1)] * 4)
    np.testing.assert_allclose(twice, 2 * within)
    np.testing.assert_allclose([between, again], 0.04)


def random_search(count=200):
    rng = np.random.default_rng(0)
    table = {RATE: 10 ** rng.uniform(-4, -1, count), K: rng.integers(1, 9, count)}
    table[OPTIMIZER] = rng.choice(["adam", "sgd"], count)
    nll = 1.3 + 0.1 / table[K] + 0.02 * (np.log10(table[RATE]) + 2.5) ** 2
    return table | {"val_nll": nll, "test_nll": nll + 0.5, "status": np.full(count, "ok", object)}, [RATE, K, OPTIMIZER]


def test_a_random_search_shows_members_and_the_best_at_each_value():
    table, axes = random_search()
    figures = draw(table, axes)
    assert {"by_learning_rate", "heat_map_num_components_optimizer"} < set(figures)
    rate, components = figures["by_learning_rate"], figures["by_num_components"]
    assert rate.axes[0].get_xscale() == "log" and components.axes[0].get_xscale() == "linear"
    assert legend(rate) == ["members", "best member, by validation"]  # hardly a rate comes twice
    best = int(table["val_nll"].argmin())
    assert line_named(rate, "best member").get_xydata().tolist() == [[table[RATE][best], table["test_nll"][best]]]
    line = line_named(components, "best setting at each value")
    expected = [table["test_nll"][table[K] == k].min() for k in range(1, 9)]
    np.testing.assert_allclose(line.get_ydata(), expected)


def test_one_terrible_member_does_not_flatten_the_rest():
    table, axes = random_search()
    table["test_nll"][3] = table["val_nll"][3] = 1e30
    for stem, figure in draw(table, axes).items():
        if not stem.startswith("heat_map"):
            low, high = figure.axes[0].get_ylim()
            assert high - low < 0.6
            assert "1 point lies above the view, at 1e+30" in caption(figure)
    table, axes = make(lambda row: NLL[row[K]] - 0.5 * (row[K] == 1), model__num_components=[1, 2, 4, 8], seed=range(4))
    table["test_nll"][where(table, model__num_components=2, seed=1)] = 400.0
    figure = draw(table, axes)["by_num_components"]
    assert figure.axes[0].get_ylim()[1] < 2
    assert "1 point lies above the view, at 101" in caption(figure)
    assert np.isnan(line_named(figure, "mean").get_ydata()[1])  # no spike through the view either


def test_failed_members_are_counted():
    table, axes = make(lambda row: NLL[row[K]], model__num_components=[1, 2, 4, 8], seed=range(4))
    table["test_nll"][[0, 5]] = [np.nan, 1e30]
    table["status"][[5, 6]] = ["diverged", "halved"]
    figures = draw(table, axes)
    for stem in ("by_num_components", "members"):
        note = "1 of 16 members was stopped by halving and is in no mean; 2 of 16 members diverged and are not shown"
        assert note in caption(figures[stem])
        assert "stopped by halving" in legend(figures[stem])
    np.testing.assert_allclose(line_named(figures["by_num_components"], "mean").get_ydata(), list(NLL.values()))
    table["test_nll"][6] = np.nan  # a halved member need not have been tested
    assert "1 of 16 members was stopped" in caption(draw(table, axes)["by_num_components"])


def test_heat_map_cells():
    table, axes = make(
        lambda row: NLL[row[K]] + 0.1 * (row[OPTIMIZER] == "sgd") + 0.05 * row["training.x"] + WOBBLE[row[SEED]],
        training__optimizer=["sgd", "adam"], model__num_components=[8, 4, 2], training__x=[1, 2], seed=range(4),
    )  # fmt: skip
    table["status"][where(table, model__num_components=4, training__optimizer="sgd")] = "diverged"
    axes_of = draw(table, axes)["heat_map_optimizer_num_components"].axes[0]
    cells = np.ma.filled(axes_of.images[0].get_array(), np.nan)
    # rows are components, sorted; columns optimizers, as they appear; x = 1 is best everywhere
    np.testing.assert_allclose(cells, [[1.51, 1.41], [np.nan, 1.385], [1.48, 1.38]])
    assert ticks(axes_of.xaxis) == ["sgd", "adam"] and ticks(axes_of.yaxis) == ["2", "4", "8"]
    assert [text.get_text() for text in axes_of.texts] == ["1.510", "1.410", "1.385", "1.480", "1.380"]
    notes = caption(axes_of.figure)
    assert "Each cell has its best x, by validation" in notes and "Blank: no member finished" in notes


def test_heat_map_colours_are_robust():
    table, axes = make(lambda row: NLL[row[K]], model__num_components=[1, 2, 4, 8], training__x=range(5))
    table["test_nll"][0] = 1e6
    image = draw(table, axes)["heat_map_num_components_x"].axes[0].images[0]
    assert image.norm.vmin == 1.33 and image.norm.vmax < 10
    assert "square-root scale" in image.colorbar.ax.get_ylabel()


def test_object_columns_and_mixtures():
    table, axes = make(
        lambda row: 1.3 + 0.01 * row["model.layer_norm"], training__batch_size=[512, 32, "full"],
        model__hidden_sizes=[(), (64, 64), None], model__layer_norm=[True, False],
    )  # fmt: skip
    figures = draw(table, axes)
    assert ticks(figures["by_batch_size"].axes[0].xaxis) == ["512", "32", "full"]
    assert ticks(figures["by_hidden_sizes"].axes[0].xaxis) == ["[]", "[64, 64]", "none"]
    assert ticks(figures["by_layer_norm"].axes[0].xaxis) == ["true", "false"]
    lists = table | {"model.hidden_sizes": np.array([[8, 8], [8, 16]])[[0, 1] * 9]}
    assert ticks(draw(lists, axes)["by_hidden_sizes"].axes[0].xaxis) == ["[8, 8]", "[8, 16]"]


@pytest.mark.parametrize(
    ("values", "scale"),
    [((1, 2, 20), "linear"), ((1, 2, 21), "log"), ((0, 1e-4, 1e-2), "symlog"), ((-1, 1, 99), "linear")],
)
def test_wide_axes_are_logarithmic(values, scale):
    table, axes = make(lambda row: 1.3 + 0.001 * row["a.b"], a__b=values)
    panel = draw(table, axes)["by_b"].axes[0]
    low, high = panel.get_xlim()
    assert panel.get_xscale() == scale and low < values[0] and high > values[-1]


def test_members_are_ranked():
    table, axes = random_search(50)
    figure = draw(table, axes)["members"]
    dots = figure.axes[0].collections[0].get_offsets()
    np.testing.assert_allclose(dots, np.column_stack([np.arange(1, 51), np.sort(table["val_nll"])]))
    best = int(table["val_nll"].argmin())
    assert f"best: validation {table['val_nll'][best]:.3f}, test {table['test_nll'][best]:.3f}" in legend(figure)
    assert f"num_components = {table[K][best]}, optimizer = {table[OPTIMIZER][best]}" in caption(figure)

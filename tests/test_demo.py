"""The page before any browser: controls and addresses, drawn points, losses kept, graphs, and the command line."""

import math
import socket
import sys
from urllib.parse import parse_qsl

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from small_runs import config_of

import mdn_jax as mdn
from mdn_jax import cli
from mdn_jax.demo.controls import CONTROLS, Settings, settings_of
from mdn_jax.demo.graphs import GRAPHS, OWN, graph_of
from mdn_jax.demo.history import MOST as MOST_ROWS
from mdn_jax.demo.history import History
from mdn_jax.demo.points import FEWEST, LEVELS, MOST, read_points, round_points, rows_of, split_points, write_points

RNG = np.random.default_rng(0)


def same(one, other):
    """The same state of a page."""
    values = dict(one.values) == dict(other.values)
    return one.graph is other.graph and values and np.array_equal(one.drawn, other.drawn)


def random_value(control):
    """One that a person might set, over all decades of what it may be."""
    if control.choices:
        return str(RNG.choice(control.choices))
    low = max(control.low, 1e-6)
    value = float(low * (control.high / low) ** RNG.uniform())
    return value if control.step == "any" else round(value)


# Controls


@pytest.mark.parametrize("control", CONTROLS.values(), ids=CONTROLS)
def test_controls_read_what_is_written(control):
    values = control.choices or (control.low, control.high, *(random_value(control) for _ in range(20)))
    for value in values:
        read = control.read(str(value))
        assert read == value
        assert control.choices or isinstance(read, float if control.step == "any" else int)
    nonsense = ["", "abc", "nan", "inf", "-1", "1e99"]
    nonsense += [] if control.choices or control.step == "any" else [f"{control.low}.5"]
    for text in nonsense:
        assert control.read(text) is None, text
        _, said = settings_of({"graph": "inverse", control.name: text})
        assert said == [f"{control.name} = {text!r} is not {control.wanted}"]


def test_wanted_values_are_told():
    assert CONTROLS["components"].wanted == "a whole number from 1 to 30"
    assert CONTROLS["rate"].wanted == "a number from 1e-06 to 100"
    assert CONTROLS["objective"].wanted == "one of nll, crps, squared_error"


@pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)
def test_addresses_restore_the_state(graph):
    settings = Settings(graph, dict(graph.values))
    assert dict(parse_qsl(settings.address)) == {"graph": graph.name}
    for _ in range(20):
        for name in RNG.permutation(list(CONTROLS))[: RNG.integers(1, len(CONTROLS) + 1)]:
            settings = settings.changed(name, random_value(CONTROLS[name]))
        if graph.name == OWN:
            settings = Settings(graph, settings.values, round_points(RNG.uniform(size=(RNG.integers(0, 40), 2))))
        restored, said = settings_of(dict(parse_qsl(settings.address, strict_parsing=True)))
        assert said == [] and same(restored, settings), settings.address
        assert restored.config() == settings.config() and restored.anew == settings.anew


@pytest.mark.parametrize(
    ("query", "line"),
    [
        ({"graph": "circle"}, "graph = 'circle' is none of squares, inverse-squares, inverse, sinusoid, bishop, own"),
        ({"foo": "1"}, "foo is no control"),
        ({"components": "0"}, "components = '0' is not a whole number from 1 to 30"),
        ({"clip": "2"}, "clip = '2' is not one of none, 100, 10, 1, 0.1"),
        ({"graph": "bishop", "drawn": "AAAA"}, "drawn holds no points of this graph"),
        ({"graph": "own", "drawn": "AAA"}, "drawn holds no points of this graph"),
    ],
)
def test_nonsense_in_an_address_is_told_and_the_rest_stands(query, line):
    settings, said = settings_of(query | {"seed": "7"})
    assert said == [line] and settings.values["seed"] == 7
    assert dict(settings.values) == {**settings.graph.values, "seed": 7} and len(settings.drawn) == 0


def test_least_squares_has_one_component():
    settings = Settings(GRAPHS["inverse"], dict(GRAPHS["inverse"].values))
    squares = settings.changed("objective", "squared_error")
    assert squares.values["components"] == 1
    assert squares.changed("components", 3).values["objective"] == "nll"


def test_a_config_is_what_the_controls_say():
    settings = Settings(GRAPHS["bishop"], dict(GRAPHS["bishop"].values))
    changes = {"components": 3, "hidden": 9, "layers": 3, "objective": "crps", "points": 77, "noise": 0.5, "seed": 4,
               "rate": 0.02, "decay": 0.1, "jitter": 0.2, "clip": "10"}  # fmt: skip
    for name, value in changes.items():
        settings = settings.changed(name, value)
    config = settings.config(123)
    assert (config.model.num_components, config.model.hidden_sizes) == (3, (9, 9, 9))
    assert (config.dataset.num_points, config.dataset.options, config.seed) == (77, {"noise": 0.5}, 4)
    training = config.training
    assert (training.objective, training.num_steps, training.learning_rate) == ("crps", 123, 0.02)
    assert (training.weight_decay, training.input_noise, training.clip_norm) == (0.1, 0.2, 10)
    assert Settings(GRAPHS["bishop"], GRAPHS["bishop"].values).config().training.clip_norm == math.inf


# Points


def test_points_in_an_address_keep_every_level():
    levels = np.arange(LEVELS + 1) / LEVELS
    points = np.stack([levels, RNG.permutation(levels)], axis=1)
    for chunk in np.array_split(points, 10):
        assert_array_equal(round_points(chunk), chunk)
        text = write_points(chunk)
        assert len(text) == 4 * len(chunk)
        assert_array_equal(read_points(text), chunk)
    assert_allclose(round_points(anywhere := RNG.uniform(size=(500, 2))), anywhere, atol=0.5 / LEVELS)
    assert_array_equal(round_points(np.array([[-1.0, 2.0]])), [[0.0, 1.0]])


@pytest.mark.parametrize("text", ["A", "AAA", "AA==", "AAAAA", "!!!!", "AAAA AAAA", "ééé", "AAAA" * (MOST + 1)])
def test_nonsense_stands_for_no_points(text):
    assert read_points(text) is None


def test_more_points_keep_the_rows_shape():
    shapes = set()
    for count in range(12, 29):
        points = RNG.uniform(size=(count, 2))
        data, (train, test) = rows_of(points), split_points(points)
        shapes.add((data.train.x.shape, data.train.y.shape))
        rows = np.concatenate([data.train.x, data.train.y], axis=1)
        assert_allclose(np.average(rows, axis=0, weights=data.train.weight), train.mean(axis=0))
        assert_allclose(data.train.weight.sum(), len(train))
        assert_array_equal(np.concatenate([data.test.x, data.test.y], axis=1), test)
        assert len(test) == count // 10 and {*map(tuple, rows)} == {*map(tuple, train)}
    assert shapes == {((32, 1), (32, 1))}
    assert len(rows_of(RNG.uniform(size=(MOST, 2))).train) == 512
    assert len(rows_of(RNG.uniform(size=(FEWEST, 2))).test) == 1


# History


@pytest.mark.parametrize("count", [0, 1, 2, 399, 400, 401, 799, 5_000, 100_000])
def test_losses_kept_are_few_and_evenly_spread(count):
    history = History()
    for picture in range(count):
        history.add(10 * picture, 5.0 - picture / count, 6.0)
        history.add(10 * picture, 0.0, 0.0)  # a picture without a step between
    rows = history.rows
    assert rows.shape[1:] == (3,) and min(count, MOST_ROWS / 2) <= len(rows) <= MOST_ROWS
    if count:
        assert_array_equal(rows[[0, -1], 0], [0, 10 * (count - 1)])
        assert_array_equal(rows[:, 2], 6.0)
        assert len(set(np.diff(rows[:-1, 0]))) <= 1 and np.all(np.diff(rows[:, 0]) > 0)
        assert history.first == (0, 5.0, 6.0) and tuple(rows[-1]) == history.last


@pytest.mark.parametrize(("loss", "astray"), [(3.9, False), (4.1, True), (math.nan, True), (math.inf, True)])
def test_a_loss_far_above_the_first_is_astray(loss, astray):
    history = History()
    assert not history.astray
    history.add(0, 3.0, 3.0)
    assert not history.astray
    history.add(25, loss, 3.0)
    assert history.astray == astray


# Graphs of the user's own


def part_of(inputs=1, targets=1, shape=(6,)):
    return mdn.Part(RNG.normal(size=(*shape, inputs)), np.zeros((*shape, targets)))


def data_of(*sizes, **options):
    return mdn.Dataset(part_of(*sizes), part_of(*sizes), **options)


def changed(config, table, **update):
    return config.model_copy(update={table: getattr(config, table).model_copy(update=update)})


SMALL = config_of()


@pytest.mark.parametrize(
    ("config", "data", "line"),
    [
        (SMALL, data_of(2), "a graph has one input, and this config has 2: choose another"),
        (SMALL, data_of(1, 2), "a graph has one target, and this config has 2: choose another"),
        (SMALL, data_of(1, 1, (6, 3)), "rows of this config are sequences, which no graph here shows"),
        (SMALL, data_of(num_classes=(3,), target_names=("colour",)),
         "target 'colour' names kinds, and a graph shows numbers: choose another"),
        *[(changed(SMALL, "model", **other), data_of(), "the page trains mixtures of an MLP: set model.head = "
           '"mixture", model.network = "mlp"') for other in ({"head": "independent"}, {"network": "own.py:network"})],
        (changed(SMALL, "training", objective="own.py:loss"), data_of(),
         "the page trains by nll, crps or squared_error, not 'own.py:loss'"),
        (changed(SMALL, "model", hidden_sizes=(8, 16)), data_of(),
         "the page has one width for all layers, and hidden_sizes has [8, 16]"),
    ],
)  # fmt: skip
def test_configs_that_no_graph_shows_are_refused(config, data, line):
    with pytest.raises(mdn.InputError) as told:
        graph_of(config, data, "my.toml")
    assert str(told.value) == f"my.toml: {line}"


def test_a_config_of_one_input_and_one_target_is_a_graph():
    data = data_of(input_names=("speed",), target_names=("distance",))
    training = {"ensemble_size": 3, "patience": 5, "schedule": "cosine", "batch_size": 4, "learning_rate": 0.0321}
    graph = graph_of(changed(SMALL, "training", **training), data, "here/my.toml")
    assert (graph.name, graph.title, graph.data) == ("config", "my", data)
    assert graph.notice == "Your own data: speed and distance, from here/my.toml."
    assert graph.values | {"components": 2, "hidden": 4, "layers": 1, "seed": 1, "rate": 0.0321} == graph.values
    settings, said = settings_of({"graph": "config", "components": "3"}, {"config": graph, **GRAPHS})
    own = settings.config(50).training
    assert said == [] and settings.config().model.num_components == 3
    assert (own.ensemble_size, own.patience, own.schedule, own.batch_size) == (1, None, "constant", 4)


# The command line


def complaint(capsys, *arguments):
    """The one line that a mistake prints on standard error, with exit code 2."""
    assert cli.main(["demo", *map(str, arguments)]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.startswith("mdn-jax: ") and printed.err.count("\n") == 1
    return printed.err.removeprefix("mdn-jax: ").strip()


def test_a_port_in_use_is_told(capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        wanted = f"--port {port} is in use on 127.0.0.1: choose another, or 0 for a free one"
        assert complaint(capsys, "--port", port) == wanted


@pytest.mark.parametrize("port", [-1, 65_536])
def test_a_port_out_of_range_is_told(capsys, port):
    assert complaint(capsys, "--port", port) == f"--port takes a number from 0 to 65535; got {port}"


def test_configs_that_cannot_be_shown_are_told(capsys, tmp_path):
    assert complaint(capsys, "--config", tmp_path / "none.toml") == f"{tmp_path / 'none.toml'}: no such config file"
    (tmp_path / "table.csv").write_text("a,b,c\n" + "".join(f"{i},{i * 7 % 5},{i}\n" for i in range(40)))
    config = tmp_path / "two.toml"
    config.write_text('[dataset]\npath = "table.csv"\ninputs = ["a", "b"]\ntargets = ["c"]\n')
    wanted = f"{config}: a graph has one input, and this config has 2: choose another"
    assert complaint(capsys, "--config", config) == wanted


class NoBokeh:
    """A finder of modules, by whose word bokeh is not installed."""

    @staticmethod
    def find_spec(name, *_):
        if name == "bokeh":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def test_the_cure_is_told_where_bokeh_is_missing(capsys, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "bokeh" or name.startswith("mdn_jax.demo")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [NoBokeh, *sys.meta_path])
    assert complaint(capsys) == "the page needs bokeh: pip install 'mdn-jax[demo]'"

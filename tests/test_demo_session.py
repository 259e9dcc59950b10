"""A page's training without any browser: steps, pictures, the distribution at one input, and what is saved."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from numpy.testing import assert_allclose, assert_array_equal

import mdn_jax as mdn
from mdn_jax import runs
from mdn_jax.demo.controls import Settings
from mdn_jax.demo.graphs import CHUNK, GRAPHS, OWN
from mdn_jax.demo.history import History
from mdn_jax.demo.pictures import COLUMNS, EACH, LINES, View
from mdn_jax.demo.points import round_points, split_points
from mdn_jax.demo.saving import save_session
from mdn_jax.demo.session import begin

SMALL = {"components": 3, "hidden": 4, "layers": 1, "points": 60, "rate": 0.02}
STEPS = CHUNK


def settings_of(name, drawn=None, **values):
    graph = GRAPHS[name]
    settings = Settings(graph, {**graph.values, **SMALL, **values})
    return settings if drawn is None else replace(settings, drawn=drawn)


def points(count):
    x = np.linspace(0.1, 0.9, count)
    return round_points(np.stack([x, 0.5 + 0.3 * np.sin(6 * x) + 0.1 * np.cos(99 * x)], axis=1))


@pytest.fixture(scope="module")
def session():
    """Trained for one chunk, in a view that holds all of its density."""
    began = begin(settings_of("sinusoid")).advanced(STEPS)
    return replace(began, view=began.view._replace(y=(-40.0, 40.0)))


@pytest.fixture(scope="module")
def picture(session):
    return session.picture(0, -1)


def mixtures(session):
    """The mixture at each column, as numpy arrays (W, K) of scipy's names."""
    found = jax.vmap(session.model)(jnp.asarray(session.view.columns, jnp.float32)[:, None])
    weights, std = jax.nn.softmax(found.logits), jnp.exp(found.scale.log_std)
    return (np.asarray(one, float).reshape(COLUMNS, -1) for one in (weights, found.locs, std))


# Steps


def test_a_step_is_a_step(session):
    assert begin(settings_of("sinusoid")).step == 0 and session.step == STEPS
    after = session.advanced(1)
    assert (after.step, after.diverged) == (STEPS + 1, False) and after.seconds > session.seconds
    assert after.advanced(CHUNK + 1).step == STEPS + CHUNK + 2
    assert session.advanced(0) is session
    assert session.advanced(10**6, lambda seconds: True).step == STEPS + CHUNK


def weights_of(session):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(session.model)])


def test_the_same_settings_train_the_same(session):
    assert_array_equal(weights_of(begin(settings_of("sinusoid")).advanced(STEPS)), weights_of(session))


def test_training_is_the_command_line_s():
    settings = settings_of("sinusoid", decay=0.01, clip="1", jitter=0.05)
    config = settings.config(STEPS)
    data = mdn.data.load(config.dataset)
    fit = mdn.fit(jax.random.key(config.seed), **data.for_training, model=config.model, training=config.training)
    model = begin(settings).advanced(STEPS).model
    x = np.linspace(-9, 9, 7)
    one, other = (np.asarray(jax.vmap(lambda at, m=m: mdn.mean(m(at)))(x[:, None])) for m in (fit.model, model))
    assert_allclose(one, other, rtol=1e-3, atol=1e-3)


def work(session):
    """All that a page does with it, after which it has taken a chunk and a step more."""
    session = session.advanced(CHUNK).advanced(1)
    _ = session.picture(1, 0), session.slice(0.5)
    return session


def test_changed_rates_go_on_without_compiling(session, compilations):
    before = work(session)
    plain, known = work(before), len(compilations)
    changes = {"rate": 0.5, "decay": 0.1, "jitter": 0.3, "clip": "1", "speed": "10"}
    after = {name: work(before.changed(before.settings.changed(name, value))) for name, value in changes.items()}
    assert compilations[known:] == []
    for name, one in after.items():
        assert (one.step, one.settings.values[name]) == (plain.step, changes[name])
        assert np.array_equal(weights_of(one), weights_of(plain)) == (name == "speed")


def test_graphs_of_one_shape_share_their_programs(session, compilations):
    work(session)
    known = len(compilations)
    turned = work(begin(settings_of("inverse")))
    assert compilations[known:] == [] and turned.data.input_names != session.data.input_names


def test_training_that_diverges_is_told():
    history, lost = History(), begin(settings_of("sinusoid", rate=100.0))
    for _ in range(4):
        picture = lost.picture(0, -1)
        history.add(lost.step, float(picture.train_nll), float(picture.test_nll))
        lost = lost.advanced(CHUNK)
    assert lost.diverged or history.astray


# Pictures


def test_columns_of_a_density_integrate_to_one(session, picture):
    assert picture.density.shape == (LINES, COLUMNS)
    low, high = session.view.y
    assert_allclose(picture.density.sum(axis=0) * (high - low) / LINES, 1.0, atol=0.05)  # sharp ridges between lines
    weights, locs, std = mixtures(session)
    expected = weights[..., None] * scipy.stats.norm.pdf(session.view.lines, locs[..., None], std[..., None])
    assert_allclose(picture.density, expected.sum(axis=1).T, rtol=1e-3, atol=1e-5)
    assert_allclose(picture.weights, weights, rtol=1e-4, atol=1e-6)
    assert_allclose(picture.centres, locs, rtol=1e-4, atol=1e-4)


def test_samples_follow_their_column(session, picture):
    assert picture.samples.shape == (COLUMNS, EACH)
    assert np.all(np.abs(picture.samples) < session.view.y[1])
    weights, locs, std = mixtures(session)
    below = scipy.stats.norm.cdf(picture.samples[:, None], locs[..., None], std[..., None])
    pit = np.sum(weights[..., None] * below, axis=1)
    assert scipy.stats.kstest(pit.ravel(), "uniform").pvalue > 1e-3
    assert not np.array_equal(picture.samples, session.picture(1, -1).samples)


def test_losses_are_those_of_evaluate(session, picture):
    test, train = session.data.test, session.data.train
    shown = mdn.evaluate(session.model, np.asarray(session.test.x), np.asarray(session.test.y))
    assert_allclose(picture.test_nll, shown.nll.mean(), rtol=1e-4)
    assert_allclose(picture.train_nll, mdn.evaluate(session.model, train.x, train.y).nll.mean(), rtol=1e-4)
    assert_allclose(session.test.x, test.x[: len(session.test.x)], rtol=1e-6)
    exact = scipy.stats.norm.logpdf(test.y[:1_024, 0], 7 * np.sin(0.75 * test.x[:1_024, 0]) + 0.5 * test.x[:1_024, 0])
    assert_allclose(session.oracle, -exact.mean(), rtol=1e-6)


def test_components_shares_are_the_whole(session, picture):
    shares = [session.picture(0, component).density for component in range(SMALL["components"])]
    assert_allclose(np.sum(shares, axis=0), picture.density, rtol=1e-4, atol=1e-7)
    assert all(share.max() < picture.density.max() for share in shares)


@jax.jit
def answers_at(model, x, fine):
    mixture = model(x)
    density = jnp.exp(jax.vmap(lambda y: mdn.log_prob(mixture, y))(fine[:, None]))
    regions = [mdn.highest_density(mixture, mass) for mass in (0.5, 0.9)]
    return mdn.mean(mixture)[0], mdn.modes(mixture), density, *regions


@pytest.mark.parametrize("x", [-8.0, 0.3, 6.0])
def test_what_lies_above_one_input(session, x):
    found, exact = session.slice(x)
    fine = session.view.fine
    mean, (places, _, distinct), density, *regions = answers_at(session.model, jnp.array([x]), jnp.asarray(fine))
    assert_allclose(found.mean, mean, rtol=1e-5)
    assert_allclose(found.modes[np.isfinite(found.modes)], places[distinct, 0], rtol=1e-4, atol=1e-4)
    for one, other in zip(regions, (found.half, found.most), strict=True):
        assert_allclose(one, other, rtol=1e-4, atol=1e-3)
    assert_allclose(found.density, density, rtol=1e-4, atol=1e-12)
    assert_allclose(found.parts.sum(axis=0), found.density, rtol=1e-4, atol=1e-12)
    assert_allclose(exact, scipy.stats.norm.pdf(fine, 7 * np.sin(0.75 * x) + 0.5 * x), rtol=1e-6, atol=1e-12)


def test_a_view_holds_all_rows():
    view = View.of(mdn.Part(np.array([0.0, 10.0]), np.array([3.0, 3.0])))
    assert view == View((-0.5, 10.5), (2.5, 3.5))
    assert len(view.columns) == COLUMNS and len(view.lines) == LINES
    assert_allclose(view.columns[[0, -1]], [-0.5 + 11 / 240, 10.5 - 11 / 240])


# Drawn points


def test_too_few_points_train_nothing():
    for few in (begin(settings_of(OWN, points(9))), begin(settings_of(OWN, points(30)), points_alone=True)):
        assert few.state is None and few.step == 0 and few.view == View((0.0, 1.0), (0.0, 1.0))
        assert few.advanced(CHUNK) is few
        with pytest.raises(mdn.InputError, match="draw at least 10 points first"):
            _ = few.model


def test_drawn_points_are_fitted():
    first = begin(settings_of(OWN, points(20)))
    later = first.advanced(200)
    before, after = (one.picture(0, -1) for one in (first, later))
    assert after.train_nll < before.train_nll - 0.5 and first.oracle is None
    train, _ = split_points(later.settings.drawn)
    assert_allclose(after.train_nll, mdn.evaluate(later.model, train[:, :1], train[:, 1:]).nll.mean(), rtol=1e-4)
    found, exact = later.slice(0.5)
    assert exact is None and np.isfinite(found.mean)


# Saving


def check_saved(session, out):
    """A run folder that all else reads, and that is finished."""
    folder, name = save_session(session, out), session.settings.graph.name
    assert folder == out / f"demo_{name}_1"
    for one, other in zip(jax.tree.leaves(mdn.load(folder / "model")), jax.tree.leaves(session.model), strict=True):
        assert_array_equal(one, other)
    config, data = runs.resolve(runs.read_config(folder / "config.toml")[0])
    assert config.training.num_steps == session.step
    metrics, data = runs.run(config, folder, dataset=data), data or mdn.data.load(config.dataset)
    assert_allclose(metrics["test_nll"], mdn.evaluate(session.model, data.test.x, data.test.y).nll.mean(), rtol=1e-4)
    return folder


def test_saved_points_are_a_finished_run(tmp_path, no_figures, no_training):
    session = begin(settings_of(OWN, points(15))).advanced(CHUNK)
    folder = check_saved(session, tmp_path / "runs")
    table = np.loadtxt(folder / "points.csv", delimiter=",", skiprows=1)
    assert_array_equal(table, split_points(points(15))[0])
    assert save_session(session, tmp_path / "runs").name == "demo_own_2"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["inverse", "inverse-squares"])
def test_a_saved_problem_is_a_finished_run(name, tmp_path, no_training):
    components = 1 if name == "inverse-squares" else 3
    folder = check_saved(begin(settings_of(name, components=components)).advanced(CHUNK + 1), tmp_path / "runs")
    before = {path.name for path in (folder / "figures").iterdir()}
    paths = runs.draw_figures(folder)
    assert {path.name for path in paths} == before and len(before) > 2
    assert all(path.stat().st_size > 1_000 for path in paths)

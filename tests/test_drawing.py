"""Drawings of a model of pen strokes: what a loop of its steps would draw, in the shares that it says."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from untrained import pen_strokes

import mdn_jax as mdn
from mdn_jax.prediction import next_offsets

PRIME = np.array([[1.0, 0.5, 0.0], [0.0, -1.0, 1.0], [0.5, 0.0, 0.0]])
KEY = jax.random.key(7)
STEP = jax.jit(lambda model, state, x: model.step(state, x))
SAMPLE = jax.jit(lambda key, one, temperature: mdn.sample(key, one, temperature=temperature))


@pytest.fixture(scope="module")
def model():
    return pen_strokes(0)


def inputs_of(drawing):
    """What the network sees before each point of a drawing, and after the last."""
    seen = np.column_stack([drawing[:, :2], drawing[:, 2] > 0, np.zeros(len(drawing))])
    return np.concatenate([[[0.0, 0, 0, 1]], seen])


def looped(model, key, prime, max_points, temper=lambda one: one, temperature=1.0):
    """One drawing, step by step."""
    state, xs = model.initial_state(), inputs_of(prime)
    for x in xs[:-1]:
        state, _ = STEP(model, state, x)
    points, x = [*prime], xs[-1]
    for step in range(max_points - len(prime)):
        state, distribution = STEP(model, state, x)
        y = np.asarray(SAMPLE(jax.random.fold_in(key, step), temper(distribution), temperature))
        points.append(y)
        if y[2] == 2:
            break
        x = inputs_of(y[None])[-1]
    return np.array(points)


WAYS = {
    "plain": ({}, {}),
    "temperature": ({"temperature": 0.5}, {"temperature": 0.5}),
    "most probable": ({"temperature": 0.0}, {"temperature": 0.0}),
    "bias": ({"bias": 1.5}, {"temper": lambda one: mdn.graves_bias(one, 1.5)}),
    "weights apart": ({"bias": (2.0, 0.0)}, {"temper": lambda one: one.tempered(3.0, 0.0)}),
    "widths apart": ({"bias": (0.0, 2.0)}, {"temper": lambda one: one.tempered(1.0, -2.0)}),
}


@pytest.mark.parametrize("prime", [np.zeros((0, 3)), PRIME], ids=["from the start", "primed"])
@pytest.mark.parametrize("way", WAYS)
def test_a_drawing_is_what_a_loop_of_steps_draws(model, way, prime):
    options, in_loop = WAYS[way]
    drawn = np.asarray(mdn.draw_strokes(KEY, model, 2, max_points=12, prime=prime, **options))
    for index, drawing in enumerate(drawn):
        expected = looped(model, jax.random.fold_in(KEY, index), prime, 12, **in_loop)
        assert_allclose(drawing[: len(expected)], expected, rtol=1e-4, atol=1e-5)
        assert_array_equal(drawing[len(expected) :], np.broadcast_to([0, 0, 2], (12 - len(expected), 3)))


def test_primed_points_stand_first_and_a_finished_drawing_is_over(model):
    drawn = np.asarray(mdn.draw_strokes(KEY, model, 300, max_points=40, prime=PRIME))
    assert drawn.shape == (300, 40, 3) and np.isfinite(drawn).all()
    assert_array_equal(drawn[:, :3], np.broadcast_to(PRIME, (300, 3, 3)).astype(np.float32))
    assert set(np.unique(drawn[..., 2])) == {0, 1, 2}
    after = np.cumsum(drawn[..., 2] == 2, axis=1) - (drawn[..., 2] == 2) > 0
    assert 1_000 < after.sum() < after.size and (drawn[after] == [0, 0, 2]).all()
    assert (drawn[~after][:, :2] != 0).any(axis=1).all()
    alone = np.asarray(mdn.draw_strokes(KEY, model, 3, max_points=40, prime=PRIME))
    assert_allclose(alone, drawn[:3], rtol=1e-4, atol=1e-5)  # a longer draw begins with a shorter one's


@pytest.mark.parametrize("prime", [None, PRIME], ids=["from the start", "primed"])
def test_many_drawings_have_the_shares_that_the_model_says(model, prime):
    count, place = 4_000, 0 if prime is None else len(prime)
    state, xs = model.initial_state(), inputs_of(np.zeros((0, 3)) if prime is None else prime)
    for x in xs:
        state, distribution = STEP(model, state, x)
    offset, pen = distribution.parts
    first = np.asarray(mdn.draw_strokes(KEY, model, count, max_points=place + 1, prime=prime), np.float64)[:, place]
    error = np.sqrt(np.diag(mdn.covariance(offset)) / count)
    assert (np.abs(first[:, :2].mean(axis=0) - mdn.mean(offset)) < 4 * error).all()
    centred = first[:, :2] - np.asarray(mdn.mean(offset))
    products = centred[:, :, None] * centred[:, None, :]
    error = products.std(axis=0) / np.sqrt(count)
    assert (np.abs(products.mean(axis=0) - mdn.covariance(offset)) < 4 * error).all()
    shares, expected = np.bincount(first[:, 2].astype(int), minlength=3) / count, np.asarray(pen.probs)
    assert (np.abs(shares - expected) < 4 * np.sqrt(expected * (1 - expected) / count)).all()


def test_at_temperature_0_all_drawings_are_the_most_probable_one(model):
    drawn = np.asarray(mdn.draw_strokes(KEY, model, 3, max_points=10, temperature=0.0))
    assert_array_equal(drawn, drawn[:1].repeat(3, axis=0))


def test_the_next_offsets_are_those_of_the_whole_sequence(model):
    drawing = np.asarray(mdn.draw_strokes(KEY, model, 1, max_points=6))[0]
    whole = model(inputs_of(drawing)[:-1]).parts[0]
    for found, expected in zip(jax.tree.leaves(next_offsets(model, drawing)), jax.tree.leaves(whole), strict=True):
        assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_densities_over_the_paper_stand_around_the_pen_and_hold_all_mass(model):
    across, down = np.linspace(-12, 14, 120), np.linspace(-13, 12, 110)
    densities = np.asarray(mdn.paper_densities(model, PRIME, (across, down)))
    assert densities.shape == (3, 110, 120)
    mass = densities.sum(axis=(1, 2)) * (across[1] - across[0]) * (down[1] - down[0])
    assert_allclose(mass, 1.0, atol=1e-3)
    offsets, pen = next_offsets(model, PRIME), PRIME[:2, :2].sum(axis=0)
    last = jax.tree.map(lambda leaf: leaf[2], offsets)
    place = jnp.array([across[70] - pen[0], down[40] - pen[1]], jnp.float32)
    assert_allclose(densities[2, 40, 70], np.exp(mdn.log_prob(last, place)), rtol=1e-4)


def test_a_model_without_ends_draws_on():
    drawn = np.asarray(mdn.draw_strokes(KEY, pen_strokes(0, 2), 50, max_points=30))
    assert set(np.unique(drawn[..., 2])) == {0, 1}


def test_networks_of_an_ensemble_draw_together(model):
    both = mdn.ensemble([model, pen_strokes(1)])
    drawn = np.asarray(mdn.draw_strokes(KEY, both, 4, max_points=8, prime=PRIME, bias=1.0))
    assert drawn.shape == (4, 8, 3) and np.isfinite(drawn).all()
    assert mdn.paper_densities(both, PRIME, ([0.0, 1.0], [0.0])).shape == (3, 1, 2)


def test_drawing_under_jit_and_strict_promotion(model):
    draw = lambda key: mdn.draw_strokes(key, model, 3, max_points=8, prime=PRIME, bias=1.0)  # noqa: E731
    with jax.numpy_dtype_promotion("strict"):
        assert_allclose(jax.jit(draw)(KEY), draw(KEY), rtol=1e-4, atol=1e-5)


def test_drawing_in_double_precision(x64):
    drawn = mdn.draw_strokes(KEY, pen_strokes(0), 3, max_points=8, prime=PRIME)
    assert drawn.dtype == np.float64
    assert_array_equal(np.asarray(drawn)[:, :3], np.broadcast_to(PRIME, (3, 3, 3)))


def of_prime(place, value):
    prime = PRIME.copy()
    prime[place] = value
    return {"prime": prime}


BAD = {
    "num": ({"num": 0}, "num must be 1 or more; got 0"),
    "points": ({"max_points": 0}, "max_points must be more than the 0 points of prime; got 0"),
    "room": ({"prime": PRIME, "max_points": 3}, "max_points must be more than the 3 points of prime; got 3"),
    "both": ({"bias": 1.0, "temperature": 0.5}, "temperature and bias say one thing: give one of them"),
    "temperature": ({"temperature": -1.0}, "temperature must be finite, 0 or more; got -1.0"),
    "bias": ({"bias": (1.0, -1.0)}, "bias must be finite, 0 or more; got (1.0, -1.0)"),
    "finished": (of_prime((2, 2), 2), "prime is a finished drawing (pen code 2): give its beginning only"),
    "code": (of_prime((0, 2), 0.5), "prime must hold finite offsets and the pen's codes 0, 1 or 2"),
    "infinite": (of_prime((0, 0), np.inf), "prime must hold finite offsets and the pen's codes 0, 1 or 2"),
    "shape": ({"prime": np.zeros((3, 2))}, "prime must be (n, 3): dx, dy, pen; got (3, 2)"),
}


@pytest.mark.parametrize("name", BAD)
def test_mistakes_are_told_in_a_line(model, name):
    options, message = BAD[name]
    with pytest.raises(mdn.InputError) as caught:
        mdn.draw_strokes(KEY, model, **{"num": 1, **options})
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_model_of_something_else_is_refused():
    other = replace(pen_strokes(0), target_names=("x", "y", "z"))
    message = "only with a model of dx, dy, pen; this one has targets x, y, z: train on mdn.stroke_dataset"
    with pytest.raises(mdn.InputError, match=message):
        mdn.draw_strokes(KEY, other, 1)
    with pytest.raises(mdn.InputError, match=message):
        mdn.paper_densities(other, PRIME, ([0.0], [0.0]))

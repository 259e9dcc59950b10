"""Letters drawn from formulas: their strokes and steps, their shapes, and the generator that draws them."""

import numpy as np

from mdn_jax.data import draw_letters
from mdn_jax.data.letters import LETTERS


def test_letters_have_strokes_and_about_equal_steps():
    drawings, labels = draw_letters(np.random.default_rng(0), 400)
    assert set(labels) == set(LETTERS) and len(LETTERS) >= 12
    assert {len(strokes) for strokes in LETTERS.values()} == {1, 2, 3}
    for drawing, label in zip(drawings, labels, strict=True):
        lifted = np.flatnonzero(drawing[:, 2])
        assert drawing.shape == (len(drawing), 3) and 20 <= len(drawing) <= 45
        assert len(lifted) == len(LETTERS[label]) and lifted[-1] == len(drawing) - 1
        steps = np.linalg.norm(drawing[:, :2], axis=1)
        inked = np.delete(steps, lifted[:-1] + 1)
        # a chord over a corner is shorter than the path; a dot's step is its own length
        assert inked.max() < 1.35 * np.median(inked) and np.mean(inked > 0.8 * np.median(inked)) > 0.8
    offsets = np.concatenate(drawings)[:, :2]
    assert len(np.unique(offsets)) == offsets.size


def test_letters_are_told_apart_by_their_shape():
    """The nearest of 600 drawings, compared at 24 points along the path, shows the same letter: chance is 1 in 19."""

    def shapes(drawings):
        paths = [np.concatenate([np.zeros((1, 2)), np.cumsum(drawing[:, :2], axis=0)]) for drawing in drawings]
        at = [np.linspace(0, len(path) - 1, 24) for path in paths]
        return np.array(
            [[np.interp(a, np.arange(len(p)), p[:, i]) for i in (0, 1)] for a, p in zip(at, paths, strict=True)]
        ).reshape(len(paths), -1)

    rng = np.random.default_rng(1)
    (known, names), (asked, truth) = draw_letters(rng, 600), draw_letters(rng, 200)
    distances = np.linalg.norm(shapes(asked)[:, None] - shapes(known), axis=-1)
    assert np.mean(np.array(names)[distances.argmin(axis=1)] == truth) > 0.97


def test_a_longer_draw_begins_with_the_drawings_of_a_shorter():
    few, more = (draw_letters(np.random.default_rng(3), count) for count in (5, 9))
    assert few[1] == more[1][:5] and all(np.array_equal(a, b) for a, b in zip(few[0], more[0], strict=False))
    assert set(draw_letters(np.random.default_rng(3), 30, letters="ab"[:1])[1]) == {"a"}

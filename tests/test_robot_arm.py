"""Bishop's robot arm: the kinematics by complex numbers, both elbows by the law of cosines, no density."""

import numpy as np
import pytest

from mdn_jax import DatasetConfig
from mdn_jax.data import PROBLEMS, load
from mdn_jax.runs import oracle_scores

UPPER_ARM, FOREARM = 0.8, 0.2
ARM = PROBLEMS["robot_arm"]


@pytest.fixture(scope="module")
def drawn():
    return ARM.draw(np.random.default_rng(0), 20_000)


def hand(a, b):
    """The hand in the complex plane: two links head to tail, the second turned by a + b + pi."""
    return UPPER_ARM * np.exp(1j * a) + FOREARM * np.exp(1j * (a + b + np.pi))


def test_the_hand_is_where_the_angles_put_it(drawn):
    x, y = drawn
    z = hand(*y.T)
    np.testing.assert_allclose(x, np.stack([z.real, z.imag], axis=1), atol=1e-14)
    # Bishop's formula by hand, at a = pi / 3, b = pi: stretched, at distance 1
    np.testing.assert_allclose(hand(np.pi / 3, np.pi), 0.5 + 0.5j * np.sqrt(3.0), atol=1e-15)


def test_the_angles_fill_bishops_ranges_evenly_and_independently(drawn):
    for angle, low, high in zip(drawn[1].T, (0.3, np.pi / 2), (1.2, 3 * np.pi / 2), strict=True):
        assert low <= angle.min() < low + 0.01 * (high - low) and high - 0.01 * (high - low) < angle.max() <= high
        share = np.histogram(angle, 20, (low, high))[0] / len(angle)
        assert np.abs(share - 0.05).max() < 4.5 * np.sqrt(0.05 * 0.95 / len(angle))
    assert abs(np.corrcoef(drawn[1].T)[0, 1]) < 4.5 / np.sqrt(len(drawn[1]))


def test_both_elbows_reach_the_target_and_their_average_misses(drawn):
    x, y = drawn
    target = x[:, 0] + 1j * x[:, 1]
    reach, direction = np.abs(target), np.angle(target)
    # the law of cosines for the triangle of shoulder, elbow and hand: its angle at the shoulder, and b at the elbow
    shoulder = np.arccos(np.clip((UPPER_ARM**2 + reach**2 - FOREARM**2) / (2 * UPPER_ARM * reach), -1, 1))
    elbow = np.arccos(np.clip((UPPER_ARM**2 + FOREARM**2 - reach**2) / (2 * UPPER_ARM * FOREARM), -1, 1))
    answers = [(direction + shoulder, elbow), (direction - shoulder, 2 * np.pi - elbow)]
    for a, b in answers:
        np.testing.assert_allclose(hand(a, b), target, atol=1e-7)  # arccos halves the digits of a stretched arm
    drawn_is_one = [np.hypot(a - y[:, 0], b - y[:, 1]) < 1e-6 for a, b in answers]
    assert (drawn_is_one[0] | drawn_is_one[1]).all()
    assert (drawn_is_one[0] == (y[:, 1] < np.pi)).all()
    average = hand(*np.mean(answers, axis=0))  # points away at full length: b = pi
    np.testing.assert_allclose(np.abs(average), UPPER_ARM + FOREARM, atol=1e-12)


def test_the_average_of_the_answers_misses_as_far_as_bishops_least_squares(drawn):
    x, y = drawn
    target = x[:, 0] + 1j * x[:, 1]
    mirrored = np.stack([2 * np.angle(target) - y[:, 0], 2 * np.pi - y[:, 1]], axis=1)
    # the two answers are equally probable (equal Jacobians), where the other one lies in the ranges at all
    both = (mirrored[:, :1] >= 0.3) & (mirrored[:, :1] <= 1.2)
    mean = np.where(both, 0.5 * (y + mirrored), y)
    missed = np.abs(hand(*mean.T) - target)
    assert np.sqrt((missed**2).mean()) == pytest.approx(0.0584, abs=0.0015)  # Bishop's network: 0.0578


def test_it_has_neither_density_nor_optimum_and_no_score_asks_for_them():
    assert ARM.log_density is None and ARM.optimum is None
    data = load(DatasetConfig(name="robot_arm", num_points=10, num_test_points=10))
    assert oracle_scores(data, None) == {}
    assert data.input_names == ("x1", "x2") and data.target_names == ("a", "b")

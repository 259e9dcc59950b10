"""Synthetic problems, at every level of noise, against quadrature and bisection of scipy."""

import math
from itertools import pairwise

import numpy as np
import pytest
from scipy import integrate, optimize, stats

from mdn_jax import DatasetConfig
from mdn_jax.data import PROBLEMS, load

NAMES = list(PROBLEMS)
WITH_DENSITY = [name for name in NAMES if PROBLEMS[name].log_density is not None]


def sinusoid(x):
    return 7.0 * np.sin(0.75 * x) + 0.5 * x


def wave(t):
    return t + 0.3 * np.sin(2.0 * np.pi * t)


FOLD = float(np.arccos(-1.0 / (0.6 * np.pi)) / (2.0 * np.pi))  # f'(t) = 1 + 0.6 pi cos(2 pi t) = 0
TURNS = [0.0, FOLD, 1.0 - FOLD, 1.0]


def preimage_length(x, noise=1.0):
    """Length of {t in [0, 1]: |x - f(t)| <= 0.1 noise} by Brent's method on each monotone piece."""
    total = 0.0
    for low, high in pairwise(TURNS):
        bottom, top = sorted((wave(low), wave(high)))
        ends = [np.clip(x + shift, bottom, top) for shift in (-0.1 * noise, 0.1 * noise)]
        if ends[0] < ends[1]:
            roots = [root(end, low, high) for end in ends]
            total += abs(roots[1] - roots[0])
    return total


def root(value, low, high) -> float:
    for end in (low, high):
        if value == wave(end):
            return end
    return float(optimize.brentq(lambda t: wave(t) - value, low, high, xtol=1e-15))  # pyright: ignore[reportArgumentType]


def marginal(y):
    """p(y) of the sinusoid by adaptive quadrature."""
    return integrate.quad_vec(lambda x: stats.norm.pdf(y, sinusoid(x)), -10.5, 10.5, epsabs=1e-13)[0] / 21.0


def column(values):
    return np.reshape(np.asarray(values, float), (-1, 1))


def log_density(name, x, y, noise=1.0):
    exact = (PROBLEMS[name] if noise == 1.0 else PROBLEMS[name].at(noise)).log_density
    assert exact is not None
    return exact(x, y)


def density(name, x, y, noise=1.0):
    x = np.empty((1, 0)) if x is None else column(x)
    return np.exp(log_density(name, x, column(y), noise))


# Problems


def test_optima_of_the_sinusoid_and_its_marginal_and_inverse():
    y = np.linspace(-24.0, 24.0, 961)  # the trapezoid rule converges geometrically for a smooth density without ends
    p = marginal(y)
    entropy = integrate.trapezoid(-p * np.log(p), y)
    noise = stats.norm.entropy()
    assert PROBLEMS["sinusoid"].optimum == pytest.approx(noise, abs=1e-14)
    assert PROBLEMS["sinusoid_marginal"].optimum == pytest.approx(entropy, abs=1e-11)
    assert PROBLEMS["inverse_sinusoid"].optimum == pytest.approx(math.log(21.0) + noise - entropy, abs=1e-11)


def test_optimum_of_the_inverse_sinusoid_is_the_expectation_of_its_own_log_density():
    # E over x ~ U(-10.5, 10.5) (Gauss-Legendre) and y - f(x) ~ N(0, 1) (Gauss-Hermite) of -log p(x | y)
    nodes, weights = np.polynomial.legendre.leggauss(300)
    noise, mass = np.polynomial.hermite_e.hermegauss(60)
    x = np.repeat(10.5 * nodes, 60)
    y = sinusoid(x) + np.tile(noise, 300)
    nll = -log_density("inverse_sinusoid", column(y), column(x))
    expected = np.outer(weights / 2.0, mass / math.sqrt(2.0 * math.pi)).ravel() @ nll
    assert PROBLEMS["inverse_sinusoid"].optimum == pytest.approx(expected, abs=1e-7)


def test_optima_of_bishop_and_its_inverse():
    # p(x) = m(x) / 0.2 and p(t | x) = 1 / m(x): the optimum is E[log m(x)]
    kinks = sorted(wave(turn) + shift for turn in TURNS for shift in (-0.1, 0.1))
    pieces = [integrate.quad(lambda x: m_log_m(preimage_length(x)), *ends, epsabs=1e-9)[0] for ends in pairwise(kinks)]
    assert PROBLEMS["bishop"].optimum == pytest.approx(math.log(0.2), abs=1e-15)
    assert PROBLEMS["inverse_bishop"].optimum == pytest.approx(5.0 * sum(pieces), abs=1e-8)


def m_log_m(m):
    return m * math.log(m) if m > 0.0 else 0.0


@pytest.mark.parametrize("name", WITH_DENSITY)
def test_log_density_of_draws_averages_to_the_optimum(name):
    x, y = PROBLEMS[name].draw(np.random.default_rng(1), 100_000)
    nll = -log_density(name, x, y)
    assert nll.shape == (100_000,) and np.isfinite(nll).all()
    assert abs(nll.mean() - PROBLEMS[name].optimum) <= 4.0 * nll.std() / math.sqrt(len(nll)) + 1e-12


def test_the_marginal_matches_adaptive_quadrature():
    y = np.linspace(-20.0, 20.0, 401)
    np.testing.assert_allclose(density("sinusoid_marginal", None, y), marginal(y), rtol=1e-10, atol=1e-15)


def test_far_tails_stay_finite():
    y = column([-1e3, -60.0, 60.0, 1e3])
    assert np.isfinite(log_density("sinusoid_marginal", np.empty((4, 0)), y)).all()
    assert np.isfinite(log_density("inverse_sinusoid", y, column([0.0]))).all()


def test_the_inverse_of_bishop_is_uniform_on_the_preimage():
    x = np.linspace(-0.09, 1.09, 119)
    t = np.linspace(0.0, 1.0, 1_001)
    p = density("inverse_bishop", np.repeat(x, t.size), np.tile(t, x.size)).reshape(x.size, t.size)
    inside = np.abs(x[:, None] - wave(t)) <= 0.1
    expected = np.where(inside, 1.0 / np.array([[preimage_length(value)] for value in x]), 0.0)
    np.testing.assert_allclose(p, expected, rtol=1e-9)


# the grid's spacing times the jumps of a density bounds the error of the sum: smooth densities are far inside
@pytest.mark.parametrize(
    ("name", "conditions", "low", "high", "tolerance"),
    [
        ("sinusoid", np.linspace(-10.0, 10.0, 9), -25.0, 25.0, 1e-9),
        ("inverse_sinusoid", np.linspace(-13.0, 13.0, 27), -10.5, 10.5, 1e-6),
        ("bishop", np.linspace(0.0, 1.0, 9), -0.2, 1.2, 1e-3),
        ("inverse_bishop", np.linspace(-0.08, 1.08, 30), 0.0, 1.0, 1e-3),
        ("sinusoid_marginal", [None], -25.0, 25.0, 1e-9),
    ],
)
def test_density_integrates_to_one(name, conditions, low, high, tolerance):
    spacing = (high - low) / 50_000
    y = low + spacing * (np.arange(50_000) + 0.5)
    for x in conditions:
        assert density(name, x, y).sum() * spacing == pytest.approx(1.0, abs=tolerance)


@pytest.mark.parametrize(
    ("name", "x", "y"),
    [
        ("inverse_sinusoid", 0.0, [-10.6, 10.6]),
        ("bishop", 0.25, [wave(0.25) - 0.11, wave(0.25) + 0.11]),
        ("inverse_bishop", 0.5, [-0.01, 0.1, 0.9, 1.01]),
        ("inverse_bishop", 3.0, [0.0, 0.5, 1.0]),  # no t can give this x
    ],
)
def test_density_is_zero_outside_the_support(name, x, y):
    assert (density(name, x, y) == 0.0).all()


def test_inverse_problems_are_the_same_pairs_exchanged():
    for name, inverse in [("sinusoid", "inverse_sinusoid"), ("bishop", "inverse_bishop")]:
        x, y = PROBLEMS[name].draw(np.random.default_rng(3), 50)
        inverse_x, inverse_y = PROBLEMS[inverse].draw(np.random.default_rng(3), 50)
        assert np.array_equal(x, inverse_y) and np.array_equal(y, inverse_x)
        assert PROBLEMS[name].input_names == PROBLEMS[inverse].target_names


@pytest.mark.parametrize("name", NAMES)
def test_built_in_data_follow_their_seed_alone(name):
    data = load(DatasetConfig(name=name, num_points=200, num_test_points=300, seed=4))
    problem = PROBLEMS[name]
    assert data.log_density is problem.log_density and data.input_names == problem.input_names
    assert data.train.x.shape == (200, len(problem.input_names)) and data.test.y.shape == (
        300,
        len(problem.target_names),
    )
    assert data.train.x.dtype == data.train.y.dtype == np.float64
    same = load(DatasetConfig(name=name, num_points=200, num_test_points=300, seed=4))
    assert np.array_equal(data.train.x, same.train.x) and np.array_equal(data.test.y, same.test.y)
    more = load(DatasetConfig(name=name, num_points=1_000, num_test_points=300, seed=4))
    assert np.array_equal(more.train.x[:200], data.train.x) and np.array_equal(more.train.y[:200], data.train.y)
    assert np.array_equal(more.test.x, data.test.x) and np.array_equal(more.test.y, data.test.y)
    other = load(DatasetConfig(name=name, num_points=200, num_test_points=300, seed=5))
    assert not np.isin(other.train.y, data.train.y).any()
    assert not np.isin(data.test.y, data.train.y).any()


def test_only_what_has_a_density_has_an_optimum():
    assert sorted(set(NAMES) - set(WITH_DENSITY)) == ["robot_arm"]
    assert [name for name in NAMES if PROBLEMS[name].optimum is None] == ["robot_arm"]


# Branches of correlated targets


def branches(name, x):
    """The same mixture at one x, from its covariances: (weight, scipy's normal) of each branch."""
    for weight, at in zip((0.5, 0.3, 0.2), (0.0, 2.0 * np.pi / 3.0, 4.0 * np.pi / 3.0), strict=True):
        turn = np.pi * x if name == "correlated_branches" else 0.0
        centre = np.array([np.cos(at + turn), np.sin(at + turn)])
        tilt = np.pi / 4.0 + (at + turn if name == "correlated_branches" else 0.0)
        if name == "parallel_branches":
            centre += [x, np.sin(np.pi * x)]
        long, short = 0.4**2, 0.1**2
        mean, half = 0.5 * (long + short), 0.5 * (long - short)
        covariance = [  # of an ellipse at an angle, by the double-angle formulas
            [mean + half * np.cos(2 * tilt), half * np.sin(2 * tilt)],
            [half * np.sin(2 * tilt), mean - half * np.cos(2 * tilt)],
        ]
        yield weight, stats.multivariate_normal(centre, covariance)


@pytest.mark.parametrize("name", ["correlated_branches", "parallel_branches"])
@pytest.mark.parametrize("x", [-1.0, -0.37, 0.0, 0.8])
def test_density_of_branches_is_scipys_and_integrates_to_one(name, x):
    grid = np.linspace(-5.0, 5.0, 501)
    y = np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2)
    p = np.exp(log_density(name, np.array([[x]]), y))
    expected = sum(weight * normal.pdf(y) for weight, normal in branches(name, x))
    np.testing.assert_allclose(p, expected, rtol=1e-9, atol=1e-300)
    # the trapezoid rule converges geometrically for a smooth density that has died out at the ends
    area = (grid[1] - grid[0]) ** 2
    assert p.sum() * area == pytest.approx(1.0, abs=1e-10)
    log_p = np.log(np.maximum(p, 1e-300))
    assert -(p * log_p).sum() * area == pytest.approx(PROBLEMS[name].optimum, abs=1e-9)  # for every x the same


@pytest.mark.parametrize("name", ["correlated_branches", "parallel_branches"])
def test_draws_of_branches_have_the_mixtures_moments(name):
    x, y = PROBLEMS[name].draw(np.random.default_rng(2), 400_000)
    assert np.abs(x).max() <= 1.0
    for low in (-1.0, -0.4, 0.3):
        near = y[np.abs(x[:, 0] - low - 0.05) < 0.05]
        parts = [list(branches(name, at)) for at in low + 0.1 * (np.arange(20) + 0.5) / 20]
        mean = np.mean([sum(weight * normal.mean for weight, normal in part) for part in parts], axis=0)
        second = [weight * (n.cov_object.covariance + np.outer(n.mean, n.mean)) for part in parts for weight, n in part]
        expected = np.sum(second, axis=0) / len(parts)
        products = near[:, :, None] * near[:, None, :]
        assert (np.abs(near.mean(axis=0) - mean) <= 4.5 * near.std(axis=0) / math.sqrt(len(near))).all()
        assert (
            np.abs(products.mean(axis=0) - expected) <= 4.5 * products.std(axis=0) / math.sqrt(len(near)) + 1e-4
        ).all()


# Noise

NOISY = ["sinusoid", "inverse_sinusoid", "bishop", "inverse_bishop", "sinusoid_marginal"]
NOISES = (0.05, 0.1, 0.5, 3.0, 10.0)


def mass(function, cuts):
    """The integral of a function of a scalar, piece by piece."""
    return sum(integrate.quad(function, *ends, epsabs=1e-13, epsrel=1e-11)[0] for ends in pairwise(cuts))


@pytest.mark.parametrize("noise", NOISES)
def test_the_sinusoid_at_another_noise_is_scipys_normal(noise):
    x, y = PROBLEMS["sinusoid"].at(noise).draw(np.random.default_rng(1), 100_000)
    nll = -log_density("sinusoid", x, y, noise)
    expected = stats.norm.logpdf(y, sinusoid(x), noise)[:, 0]
    np.testing.assert_allclose(nll, -expected, rtol=1e-12, atol=1e-12)
    entropy = 0.5 * math.log(2.0 * math.pi * math.e) + math.log(noise)
    assert abs(nll.mean() - entropy) <= 4.0 * nll.std() / math.sqrt(len(nll))


@pytest.mark.parametrize("noise", NOISES)
def test_the_evidence_at_another_noise_matches_adaptive_quadrature(noise):
    y = np.array([-12.2 - 5.0 * noise, -12.2, -7.1, -2.0, 0.0, 0.3, 5.5, 9.9, 12.2, 12.2 + 5.0 * noise])
    expected = [
        mass(lambda u, y=value: math.exp(-0.5 * ((y - sinusoid(u)) / noise) ** 2), np.linspace(-10.5, 10.5, 211))
        for value in y
    ]
    expected = np.array(expected) / (noise * math.sqrt(2.0 * math.pi) * 21.0)
    np.testing.assert_allclose(density("sinusoid_marginal", None, y, noise), expected, rtol=1e-8, atol=1e-13)
    inverse = log_density("inverse_sinusoid", column(y), column(4.0), noise)
    bayes = stats.norm.logpdf(y, sinusoid(4.0), noise) - np.log(21.0 * expected)
    np.testing.assert_allclose(inverse, bayes, rtol=1e-8)


@pytest.mark.parametrize("noise", [0.1, 0.5, 3.0])
def test_density_at_another_noise_integrates_to_one(noise):
    def at(name, x):
        return lambda y: float(density(name, x, y, noise)[0])

    for x in (-11.0, 0.3, 6.0):
        assert mass(at("inverse_sinusoid", x), np.linspace(-10.5, 10.5, 43)) == pytest.approx(1.0, abs=1e-10)
        around = sinusoid(x) + noise * np.linspace(-10.0, 10.0, 5)
        assert mass(at("sinusoid", x), around) == pytest.approx(1.0, abs=1e-12)
        half = 0.1 * noise
        ends = wave(x) + half * np.array([-2.0, -1.0, 1.0, 2.0])
        assert mass(at("bishop", x), ends) == pytest.approx(1.0, abs=1e-9)
    ends = np.linspace(-12.3 - 8.0 * noise, 12.3 + 8.0 * noise, 41)
    assert mass(at("sinusoid_marginal", None), ends) == pytest.approx(1.0, abs=1e-10)


@pytest.mark.parametrize("noise", NOISES)
def test_bishop_at_another_noise_is_uniform(noise):
    t, x = PROBLEMS["bishop"].at(noise).draw(np.random.default_rng(1), 2_000)
    assert np.abs(x - wave(t)).max() <= 0.1 * noise + 1e-15
    assert np.abs(x - wave(t)).max() > 0.099 * noise
    np.testing.assert_allclose(log_density("bishop", t, x, noise), -math.log(0.2 * noise), rtol=1e-14)
    lengths = [preimage_length(value, noise) for value in x[:200, 0]]
    np.testing.assert_allclose(density("inverse_bishop", x[:200], t[:200], noise), 1.0 / np.array(lengths), rtol=1e-9)
    outside = wave(t) + 0.1001 * noise
    assert (density("bishop", t, outside, noise) == 0.0).all()
    assert (density("inverse_bishop", outside, t, noise) == 0.0).all()


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("name", NOISY)
def test_equal_generators_draw_the_same_noise_scaled(name, noise):
    problem = PROBLEMS[name].at(noise)
    more, few, own = (
        np.hstack(one.draw(np.random.default_rng(5), size))
        for one, size in ((problem, 500), (problem, 80), (PROBLEMS[name], 500))
    )
    assert np.array_equal(more[:80], few)
    if name == "sinusoid_marginal":
        assert np.array_equal(more, PROBLEMS["sinusoid"].at(noise).draw(np.random.default_rng(5), 500)[1])
        return
    if name.startswith("inverse"):  # the noise is in what is given
        more, own = more[:, ::-1], own[:, ::-1]
    exact = wave if name.endswith("bishop") else sinusoid
    assert np.array_equal(more[:, 0], own[:, 0])
    scaled, residuals = (rows[:, 1] - exact(rows[:, 0]) for rows in (more, own))
    np.testing.assert_allclose(scaled, noise * residuals, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("name", NOISY)
def test_a_problem_at_its_own_noise_is_itself(name):
    problem = PROBLEMS[name]
    assert problem.noise == 1.0 and problem.at(1) is problem
    other = problem.at(0.5)
    assert other.noise == 0.5 and other.optimum is None and other.at(0.5) is other
    back = other.at(1.0)
    x, y = problem.draw(np.random.default_rng(0), 300)
    assert all(map(np.array_equal, back.draw(np.random.default_rng(0), 300), (x, y)))
    assert np.array_equal(log_density(name, x, y), back.log_density(x, y))  # pyright: ignore[reportOptionalCall]

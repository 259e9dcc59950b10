"""Synthetic problems against quadrature and bisection of scipy; tables, splits every message of a mistake."""

import math
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from scipy import integrate, optimize, stats

from mdn_jax import DatasetConfig, InputError
from mdn_jax.data import PROBLEMS, load, table_checksum

NAMES = list(PROBLEMS)
WITH_DENSITY = [name for name in NAMES if PROBLEMS[name].log_density is not None]


def sinusoid(x):
    return 7.0 * np.sin(0.75 * x) + 0.5 * x


def wave(t):
    return t + 0.3 * np.sin(2.0 * np.pi * t)


FOLD = float(np.arccos(-1.0 / (0.6 * np.pi)) / (2.0 * np.pi))  # f'(t) = 1 + 0.6 pi cos(2 pi t) = 0
TURNS = [0.0, FOLD, 1.0 - FOLD, 1.0]


def preimage_length(x):
    """Length of {t in [0, 1]: |x - f(t)| <= 0.1} by Brent's method on each monotone piece."""
    total = 0.0
    for low, high in pairwise(TURNS):
        bottom, top = sorted((wave(low), wave(high)))
        ends = [np.clip(x + shift, bottom, top) for shift in (-0.1, 0.1)]
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


def log_density(name, x, y):
    exact = PROBLEMS[name].log_density
    assert exact is not None
    return exact(x, y)


def density(name, x, y):
    x = np.empty((1, 0)) if x is None else column(x)
    return np.exp(log_density(name, x, column(y)))


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


def test_an_unknown_problem_names_the_nearest():
    with pytest.raises(
        InputError, match=r"^dataset.name: no built-in problem 'inverse_sine': did you mean 'inverse_sin"
    ):
        load(DatasetConfig(name="inverse_sine"))


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


def test_import_loads_no_table_reader_and_no_plots():
    code = "import sys, mdn_jax.data; sys.exit(bool({'polars', 'matplotlib'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True)


# Tables


def config(**fields):
    return DatasetConfig(**{"path": "table.csv", "inputs": ("a", "b"), "targets": ("c",)} | fields)


def write(folder, text, name="table.csv"):
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())


def lines(num_rows, **replaced):
    """A table `c,unused,a,b` whose row i (from 1) is i, text, 10 i, -i; `row_3="..."` replaces a row."""
    rows = [f"{i},text,{10 * i},{-i}" for i in range(1, num_rows + 1)]
    for name, row in replaced.items():
        rows[int(name.removeprefix("row_")) - 1] = row
    return "c,unused,a,b\n" + "".join(f"{row}\n" for row in rows)


def test_a_checksum_is_of_the_bytes_of_all_tables(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path, lines(20))
    write(tmp_path, lines(12), "new.csv")
    with_test = config(test_path="new.csv")
    alone, both = table_checksum(config()), table_checksum(with_test)
    assert alone is not None and both is not None and len(both) == 16 and alone != both
    assert table_checksum(with_test, config()) == both and table_checksum(DatasetConfig(name="sinusoid")) is None
    load(config(test_path="new.csv", table_checksum=both))
    write(tmp_path, lines(13), "new.csv")
    assert table_checksum(config()) == alone
    with pytest.raises(InputError, match=r"table.csv or new.csv has changed since this config noted"):
        load(config(test_path="new.csv", table_checksum=both))
    assert table_checksum(config(path="gone.csv")) is None  # whoever reads it tells


def test_columns_are_found_by_name_in_any_order(tmp_path):
    write(tmp_path, lines(20))
    data = load(config(split="ordered", test_fraction=0.25), tmp_path)
    assert data.train.x.shape == (15, 2) and data.test.x.shape == (5, 2) and data.log_density is None
    assert (data.input_names, data.target_names) == (("a", "b"), ("c",))
    assert np.array_equal(data.train.x, [[10 * i, -i] for i in range(1, 16)])
    assert np.array_equal(data.test.y[:, 0], np.arange(16, 21))  # the last rows


def test_a_random_split_is_disjoint_complete_and_follows_its_seed(tmp_path):
    write(tmp_path, lines(50))
    data = load(config(seed=1), tmp_path)
    assert len(data.test.y) == 5
    assert sorted(np.concatenate([data.train.y, data.test.y])[:, 0]) == list(range(1, 51))
    for x, y in [(data.train.x, data.train.y), (data.test.x, data.test.y)]:
        assert np.array_equal(x, np.concatenate([10 * y, -y], axis=1))
    assert np.array_equal(load(config(seed=1), tmp_path).train.y, data.train.y)
    assert not np.array_equal(load(config(seed=2), tmp_path).test.y, data.test.y)


def test_kinds_of_numbers_and_a_path_without_a_base(tmp_path):
    rows = [f'{i}, {"TRUE" if i % 2 else "false"} ,"{i}e-1"' for i in range(10)]
    write(tmp_path, "\ufeffwhole , flag,decimal\r\n" + "\r\n".join(rows) + "\r\n\r\n")  # byte-order mark, blank end
    table = DatasetConfig(
        path=str(tmp_path / "table.csv"), inputs=("flag",), targets=("decimal", "whole"), split="ordered"
    )
    data = load(table)
    assert np.array_equal(data.train.x[:, 0], [0, 1, 0, 1, 0, 1, 0, 1, 0])
    np.testing.assert_allclose(data.train.y, [[i / 10, i] for i in range(9)], rtol=1e-15)


def test_a_table_without_inputs(tmp_path):
    write(tmp_path, lines(10))
    data = load(config(inputs=()), tmp_path)
    assert data.train.x.shape == (9, 0) and data.test.x.shape == (1, 0)


@pytest.mark.parametrize(
    ("text", "fields", "message"),
    [
        (None, {}, "no such file: give the path of a table"),
        ("", {}, "the file is empty: expected a table with named columns"),
        (",,\n1,2,3\n", {}, "the first line is blank: it must name the columns"),
        ("a,b,c,b\n1,2,3,4\n", {}, "2 columns are named 'b': rename all but one"),
        ("a,b,cc\n1,2,3\n", {}, "no column 'c': did you mean 'cc'?"),
        ("a,b,xyz\n1,2,3\n", {}, "no column 'c': expected one of: a, b, xyz"),
        ("a;b;c\n1;2;3\n", {}, "no column 'a' in 'a;b;c': separate the columns by commas"),
        (lines(12, row_3="3,text,n/a,1"), {}, "column 'a', row 3: 'n/a' is not a number: correct it, list it in"),
        (lines(12), {"inputs": ("unused",)}, "column 'unused', row 1: 'text' is not a number"),
        (
            lines(12, row_4="4,text,,1"),
            {},
            "column 'a': 1 value is missing, first in row 4: set dataset.missing_inputs = ",
        ),
        (
            lines(12, row_7="-inf,x,0,1"),
            {},
            "column 'c', row 7: -inf is not finite (1 such values): correct it, or list",
        ),
        (lines(12, row_5="nan,x,0,1", row_7=",x,0,1"), {}, "column 'c': 2 values are missing, first in row 5: set"),
        (lines(12, row_6="6,x,1"), {}, "column 'b': 1 value is missing, first in row 6"),
        (lines(12, row_2=""), {}, "column 'a': 1 value is missing, first in row 2"),
        (lines(12, row_8="8,x,0,1,9,9"), {}, "row 8 has 6 values but the header has 4: correct the row"),
        (lines(12, row_9='9,"x,0,1'), {}, "cannot be read as CSV ("),
        (lines(12, row_9="9,größe,0,1").encode("latin1"), {}, "the file is not UTF-8 text: save it as a CSV file in"),
        (lines(0), {}, "number of rows is 0, too few: give at least 10"),
        (lines(9), {}, "number of rows is 9, too few: give at least 10"),
        (lines(12), {"test_fraction": 0.01}, "dataset.test_fraction = 0.01 of 12 rows leaves no test row: raise it"),
        (lines(12), {"test_fraction": 0.99}, "test_fraction = 0.99 of 12 rows leaves no training row: lower it"),
        ("a,b,c\n" + "1,2,3\n" * 20, {}, "target 'c' is 3 in all 18 training rows: nothing to predict, choose another"),
        (lines(12), {"path": "table.xlsx"}, "cannot read '.xlsx' files: save the table as one of: .csv"),
        (lines(12), {"path": "."}, "is a folder: give the path of a table"),
    ],
)
def test_a_mistake_in_a_table_is_told_in_one_line(tmp_path, text, fields, message):
    table = config(**fields)
    if text is not None and table.path != ".":
        write(tmp_path, text, str(table.path))
    with pytest.raises(InputError) as caught:
        load(table, tmp_path)
    report = str(caught.value)
    assert report.startswith(str(tmp_path)) and message in report and "\n" not in report

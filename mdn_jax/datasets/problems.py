"""Named synthetic problems with their exact density and optimum, numpy float64 on the host.

A problem knows its own density log p(y | x), so the best expected negative log-likelihood that any model can reach
is a known number, its `optimum`. A training loss below it is overfitting; the distance of a test loss from it is
what a model still lacks.

References:
    C. M. Bishop, "Mixture density networks", Aston University NCRG/94/004, 1994 (`bishop`, `inverse_bishop`).
    D. Ha, "Mixture density networks with TensorFlow", 2015 (`sinusoid`, `inverse_sinusoid`).
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from mdn_jax._typing import Float

__all__ = ["PROBLEMS", "Problem"]

LOG_SQRT_2PI = 0.5 * math.log(2.0 * math.pi)

Rows = Float[np.ndarray, "N X"]
Targets = Float[np.ndarray, "N D"]
Vector = Float[np.ndarray, " N"]


@dataclass(frozen=True)
class Problem:
    """A synthetic problem whose conditional density is known exactly.

    Attributes:
        name: its key in `PROBLEMS`.
        input_names: names of the X inputs; none for an unconditional density.
        target_names: names of the D targets.
        draw: (rng, num_points) -> x (N, X), y (N, D). From equal generators, a longer draw begins with the rows of
            a shorter one.
        log_density: x (N, X), y (N, D) -> (N,) exact log p(y | x) in nats, -inf outside the support. One row of
            either broadcasts against N of the other, for the density on a grid. Give the float64 rows: rounded to
            float32, a row may fall off a sharp edge.
        optimum: E[-log p(y | x)] in nats, the expected NLL of the truth itself.

    Example:
        >>> import numpy as np
        >>> from mdn_jax.datasets import PROBLEMS
        >>> problem = PROBLEMS["inverse_sinusoid"]
        >>> x, y = problem.draw(np.random.default_rng(0), 50_000)
        >>> print(f"{problem.optimum:.5f} {-problem.log_density(x, y).mean():.1f}")
        1.28801 1.3
    """

    name: str
    input_names: tuple[str, ...]
    target_names: tuple[str, ...]
    draw: Callable[[np.random.Generator, int], tuple[Rows, Targets]]
    log_density: Callable[[Rows, Targets], Vector]
    optimum: float


HALF_WIDTH = 10.5  # the sinusoid's x ~ U(-10.5, 10.5)
NUM_NODES = 256  # of Gauss-Legendre over x: log p(y) is converged to 1e-12 for every |y| < 20, and 192 nodes give 5e-9
CHUNK = 2_048  # rows times nodes stay in cache: 4 MB
NOISE = 0.1  # Bishop's noise ~ U(-0.1, 0.1)
NUM_HALVINGS = 52  # of an interval shorter than 1: to the last bit


def _sinusoid(x: np.ndarray) -> np.ndarray:
    return 7.0 * np.sin(0.75 * x) + 0.5 * x


def _draw_sinusoid(rng: np.random.Generator, num_points: int) -> tuple[Rows, Targets]:
    rng_x, rng_noise = rng.spawn(2)  # a stream each, so that a longer draw begins with a shorter one
    x = rng_x.uniform(-HALF_WIDTH, HALF_WIDTH, (num_points, 1))
    return x, _sinusoid(x) + rng_noise.standard_normal((num_points, 1))


def _draw_inverse_sinusoid(rng: np.random.Generator, num_points: int) -> tuple[Rows, Targets]:
    x, y = _draw_sinusoid(rng, num_points)
    return y, x


def _log_sinusoid(x: Rows, y: Targets) -> Vector:
    return -0.5 * (y[:, 0] - _sinusoid(x[:, 0])) ** 2 - LOG_SQRT_2PI


def _log_inverse_sinusoid(x: Rows, y: Targets) -> Vector:
    # Bayes with a uniform prior on the target: p(y | x) = N(x; f(y), 1) / int N(x; f(u), 1) du
    log_p = _log_sinusoid(y, x) - _log_evidence(x[:, 0])
    return np.where(np.abs(y[:, 0]) <= HALF_WIDTH, log_p, -np.inf)


def _draw_sinusoid_marginal(rng: np.random.Generator, num_points: int) -> tuple[Rows, Targets]:
    return np.empty((num_points, 0)), _draw_sinusoid(rng, num_points)[1]


def _log_sinusoid_marginal(x: Rows, y: Targets) -> Vector:
    log_p = _log_evidence(y[:, 0]) - math.log(2.0 * HALF_WIDTH)
    return np.broadcast_to(log_p, np.broadcast_shapes(log_p.shape, x.shape[:1]))


def _log_evidence(y: Vector) -> Vector:
    """Log of the integral of N(y; f(u), 1) over u in (-10.5, 10.5), (N,)."""
    centres, weights = _quadrature()
    log_p = np.empty(len(y))
    for start in range(0, len(y), CHUNK):
        squares = (y[start : start + CHUNK, None] - centres) ** 2
        least = squares.min(axis=1)  # the largest term becomes 1, so that far tails do not underflow
        total = np.exp(-0.5 * (squares - least[:, None])) @ weights
        log_p[start : start + CHUNK] = np.log(total) - 0.5 * least - LOG_SQRT_2PI
    return log_p


@functools.cache
def _quadrature() -> tuple[np.ndarray, np.ndarray]:
    nodes, weights = np.polynomial.legendre.leggauss(NUM_NODES)
    return _sinusoid(HALF_WIDTH * nodes), HALF_WIDTH * weights


def _wave(t: np.ndarray) -> np.ndarray:
    return t + 0.3 * np.sin(2.0 * math.pi * t)


def _draw_bishop(rng: np.random.Generator, num_points: int) -> tuple[Rows, Targets]:
    rng_t, rng_noise = rng.spawn(2)
    t = rng_t.uniform(0.0, 1.0, (num_points, 1))
    return t, _wave(t) + rng_noise.uniform(-NOISE, NOISE, (num_points, 1))


def _draw_inverse_bishop(rng: np.random.Generator, num_points: int) -> tuple[Rows, Targets]:
    t, x = _draw_bishop(rng, num_points)
    return x, t


def _log_bishop(x: Rows, y: Targets) -> Vector:
    return np.where(np.abs(y[:, 0] - _wave(x[:, 0])) <= NOISE, -math.log(2.0 * NOISE), -np.inf)


def _log_inverse_bishop(x: Rows, y: Targets) -> Vector:
    # uniform on the t in [0, 1] whose f(t) lies within the noise of x: one over the length of that set
    x, t = x[:, 0], y[:, 0]
    length = _preimage_length(x)
    inside = (np.abs(x - _wave(t)) <= NOISE) & (t >= 0.0) & (t <= 1.0) & (length > 0.0)
    return np.where(inside, -np.log(np.where(length > 0.0, length, 1.0)), -np.inf)


def _preimage_length(x: Vector) -> Vector:
    """Length of {t in [0, 1]: |x - f(t)| <= 0.1}, (N,), by bisection on each of f's three monotone pieces."""
    edges = np.stack([x - NOISE, x + NOISE])
    turn = math.acos(-1.0 / (0.6 * math.pi)) / (2.0 * math.pi)  # f'(t) = 1 + 0.6 pi cos(2 pi t) = 0, also at 1 - turn
    total = np.zeros(len(x))
    for piece, ends in enumerate(pairwise([0.0, turn, 1.0 - turn, 1.0])):
        rising = piece != 1
        low, high = (np.full_like(edges, end) for end in ends)
        for _ in range(NUM_HALVINGS):  # an edge that the piece does not reach runs to its nearer end
            middle = 0.5 * (low + high)
            right = (_wave(middle) < edges) == rising
            low, high = np.where(right, middle, low), np.where(right, high, middle)
        total += np.abs(low[1] - low[0])
    return total


# Optima: 0.5 log(2 pi e) and log 0.2 are closed forms. The entropy h(y) of the sinusoid's marginal is an integral of
# -p log p by Gauss-Legendre with 2,000 nodes over |y| < 24, and h(x | y) = log 21 + 0.5 log(2 pi e) - h(y). Bishop's
# inverse is 5 int m(x) log m(x) dx with m the length above, by mpmath's quad between the kinks of m.
PROBLEMS: dict[str, Problem] = {
    problem.name: problem
    for problem in (
        Problem("sinusoid", ("x",), ("y",), _draw_sinusoid, _log_sinusoid, LOG_SQRT_2PI + 0.5),
        Problem("inverse_sinusoid", ("y",), ("x",), _draw_inverse_sinusoid, _log_inverse_sinusoid, 1.288009437360),
        Problem("bishop", ("t",), ("x",), _draw_bishop, _log_bishop, math.log(2.0 * NOISE)),
        Problem("inverse_bishop", ("x",), ("t",), _draw_inverse_bishop, _log_inverse_bishop, -1.282347949532),
        Problem("sinusoid_marginal", (), ("y",), _draw_sinusoid_marginal, _log_sinusoid_marginal, 3.175451533568),
    )
}
"""The built-in problems by name."""

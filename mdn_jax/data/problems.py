"""Named synthetic problems with their exact density and optimum, numpy float64 on the host.

A problem knows its own density log p(y | x), so the best expected negative log-likelihood that any model can reach
is a known number, its `optimum`. A training loss below it is overfitting; the distance of a test loss from it is
what a model still lacks. One problem has no noise, and so neither density nor optimum: `robot_arm`. Ha's and Bishop's
stand at other levels of noise too, by `Problem.at`, with the density exact at each.

References:
    C. M. Bishop, "Mixture density networks", Aston University NCRG/94/004, 1994 (`bishop`, `inverse_bishop`,
        `robot_arm`).
    D. Ha, "Mixture density networks with TensorFlow", 2015 (`sinusoid`, `inverse_sinusoid`).
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from mdn_jax._checks import require
from mdn_jax._typing import Float

__all__ = ["PROBLEMS", "Problem"]

LOG_SQRT_2PI = 0.5 * math.log(2.0 * math.pi)

Rows = Float[np.ndarray, "N X"]
Targets = Float[np.ndarray, "N D"]
Vector = Float[np.ndarray, " N"]


@dataclass(frozen=True)
class Problem:
    """A synthetic problem, whose conditional density is known exactly where it has one.

    Attributes:
        name: its key in `PROBLEMS`.
        input_names: names of the X inputs; none for an unconditional density.
        target_names: names of the D targets.
        draw: (rng, num_points) -> x (N, X), y (N, D). From equal generators, a longer draw begins with the rows of
            a shorter one.
        log_density: x (N, X), y (N, D) -> (N,) exact log p(y | x) in nats, -inf outside the support. One row of
            either broadcasts against N of the other, for the density on a grid. Give the float64 rows: rounded to
            float32, a row may fall off a sharp edge. None where y given x is a few points: they have no density.
        optimum: E[-log p(y | x)] in nats, the expected NLL of the truth itself; None where there is no density, and at
            another noise than the problem's own.
        noise: the factor that its noise stands at, 1 for the problem's own; None where it cannot be changed. `draw`
            and `log_density` of the others take it by keyword.

    Example:
        >>> import numpy as np
        >>> from mdn_jax.data import PROBLEMS
        >>> problem = PROBLEMS["inverse_sinusoid"]
        >>> x, y = problem.draw(np.random.default_rng(0), 50_000)
        >>> print(f"{problem.optimum:.5f} {-problem.log_density(x, y).mean():.1f}")
        1.28801 1.3
    """

    name: str
    input_names: tuple[str, ...]
    target_names: tuple[str, ...]
    draw: Callable[..., tuple[Rows, Targets]]
    log_density: Callable[..., Vector] | None
    optimum: float | None
    noise: float | None = None

    def at(self, noise: float) -> "Problem":
        """The same problem with its own noise times a factor: equal generators draw the same noise, scaled.

        Args:
            noise: the factor, from 0.05 to 10, where the density's quadrature has converged to 1e-12.

        Returns:
            The problem at that noise; itself where it stands there.

        Raises:
            InputError: one line, for a factor out of range, or a problem that knows one noise alone.

        Example:
            >>> import numpy as np
            >>> from mdn_jax.data import PROBLEMS
            >>> quiet = PROBLEMS["sinusoid"].at(0.5)
            >>> x, y = quiet.draw(np.random.default_rng(0), 100_000)
            >>> print(f"{(y - 7 * np.sin(0.75 * x) - 0.5 * x).std():.2f}")
            0.50
        """
        others = ", ".join(name for name, problem in PROBLEMS.items() if problem.noise is not None)
        require(self.noise is not None, f"the noise of {self.name} cannot be changed: choose among {others}")
        is_number = isinstance(noise, int | float) and not isinstance(noise, bool)
        require(
            is_number and LEAST_NOISE <= noise <= MOST_NOISE,
            f"noise (dataset.options.noise) is a factor on the problem's own, a number from {LEAST_NOISE} to "
            f"{MOST_NOISE}; got {noise!r}: choose one in this range, or drop it for 1",
        )
        if noise == self.noise:
            return self
        scaled = {name: functools.partial(getattr(self, name), noise=noise) for name in ("draw", "log_density")}
        return replace(self, **scaled, optimum=None, noise=noise)


HALF_WIDTH = 10.5  # the sinusoid's x ~ U(-10.5, 10.5)
LEAST_NOISE, MOST_NOISE = 0.05, 10  # factors on a problem's own noise
NUM_NODES = 256  # of Gauss-Legendre: log p(y) converges to 1e-12 up to 8 noise beyond f's range, and 192 give 5e-9
CHUNK = 524_288  # rows times nodes stay in cache: 4 MB
BISHOP_NOISE = 0.1  # ~ U(-0.1, 0.1)
NUM_HALVINGS = 52  # of an interval shorter than 1: to the last bit
UPPER_ARM, FOREARM = 0.8, 0.2  # Bishop's lengths
SHOULDER, ELBOW = (0.3, 1.2), (0.5 * math.pi, 1.5 * math.pi)  # his ranges of the two angles, uniform, in radians


def _sinusoid(x: np.ndarray) -> np.ndarray:
    return 7.0 * np.sin(0.75 * x) + 0.5 * x


def _draw_sinusoid(rng: np.random.Generator, num_points: int, noise: float = 1.0) -> tuple[Rows, Targets]:
    rng_x, rng_noise = rng.spawn(2)  # a stream each, so that a longer draw begins with a shorter one
    x = rng_x.uniform(-HALF_WIDTH, HALF_WIDTH, (num_points, 1))
    return x, _sinusoid(x) + noise * rng_noise.standard_normal((num_points, 1))


def _draw_inverse_sinusoid(rng: np.random.Generator, num_points: int, noise: float = 1.0) -> tuple[Rows, Targets]:
    x, y = _draw_sinusoid(rng, num_points, noise)
    return y, x


def _log_sinusoid(x: Rows, y: Targets, noise: float = 1.0) -> Vector:
    return -0.5 * ((y[:, 0] - _sinusoid(x[:, 0])) / noise) ** 2 - LOG_SQRT_2PI - math.log(noise)


def _log_inverse_sinusoid(x: Rows, y: Targets, noise: float = 1.0) -> Vector:
    # Bayes with a uniform prior on the target: p(y | x) = N(x; f(y), s) / int N(x; f(u), s) du
    log_p = _log_sinusoid(y, x, noise) - _log_evidence(x[:, 0], noise)
    return np.where(np.abs(y[:, 0]) <= HALF_WIDTH, log_p, -np.inf)


def _draw_sinusoid_marginal(rng: np.random.Generator, num_points: int, noise: float = 1.0) -> tuple[Rows, Targets]:
    return np.empty((num_points, 0)), _draw_sinusoid(rng, num_points, noise)[1]


def _log_sinusoid_marginal(x: Rows, y: Targets, noise: float = 1.0) -> Vector:
    log_p = _log_evidence(y[:, 0], noise) - math.log(2.0 * HALF_WIDTH)
    return np.broadcast_to(log_p, np.broadcast_shapes(log_p.shape, x.shape[:1]))


def _log_evidence(y: Vector, noise: float) -> Vector:
    """Log of the integral of N(y; f(u), noise) over u in (-10.5, 10.5), (N,)."""
    centres, weights = _quadrature(math.ceil(1.0 / noise))  # half the noise is twice as sharp: half the panel
    log_p, step = np.empty(len(y)), CHUNK // len(centres)
    for start in range(0, len(y), step):
        squares = ((y[start : start + step, None] - centres) / noise) ** 2
        least = squares.min(axis=1)  # the largest term becomes 1, so that far tails do not underflow
        total = np.exp(-0.5 * (squares - least[:, None])) @ weights
        log_p[start : start + step] = np.log(total) - 0.5 * least - LOG_SQRT_2PI - math.log(noise)
    return log_p


@functools.cache
def _quadrature(num_panels: int) -> tuple[np.ndarray, np.ndarray]:
    """Values of f at the nodes of Gauss-Legendre on equal panels side by side, and their weights."""
    nodes, weights = np.polynomial.legendre.leggauss(NUM_NODES)
    half = HALF_WIDTH / num_panels
    middles = half * (2.0 * np.arange(num_panels) + 1.0) - HALF_WIDTH
    return _sinusoid(middles[:, None] + half * nodes).ravel(), np.tile(half * weights, num_panels)


def _wave(t: np.ndarray) -> np.ndarray:
    return t + 0.3 * np.sin(2.0 * math.pi * t)


def _draw_bishop(rng: np.random.Generator, num_points: int, noise: float = 1.0) -> tuple[Rows, Targets]:
    rng_t, rng_noise = rng.spawn(2)
    t = rng_t.uniform(0.0, 1.0, (num_points, 1))
    return t, _wave(t) + noise * rng_noise.uniform(-BISHOP_NOISE, BISHOP_NOISE, (num_points, 1))


def _draw_inverse_bishop(rng: np.random.Generator, num_points: int, noise: float = 1.0) -> tuple[Rows, Targets]:
    t, x = _draw_bishop(rng, num_points, noise)
    return x, t


def _log_bishop(x: Rows, y: Targets, noise: float = 1.0) -> Vector:
    half = noise * BISHOP_NOISE
    return np.where(np.abs(y[:, 0] - _wave(x[:, 0])) <= half, -math.log(2.0 * half), -np.inf)


def _log_inverse_bishop(x: Rows, y: Targets, noise: float = 1.0) -> Vector:
    # uniform on the t in [0, 1] whose f(t) lies within the noise of x: one over the length of that set
    x, t, half = x[:, 0], y[:, 0], noise * BISHOP_NOISE
    length = _preimage_length(x, half)
    inside = (np.abs(x - _wave(t)) <= half) & (t >= 0.0) & (t <= 1.0) & (length > 0.0)
    return np.where(inside, -np.log(np.where(length > 0.0, length, 1.0)), -np.inf)


def _preimage_length(x: Vector, half: float) -> Vector:
    """Length of {t in [0, 1]: |x - f(t)| <= half}, (N,), by bisection on each of f's three monotone pieces."""
    edges = np.stack([x - half, x + half])
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


def _draw_robot_arm(rng: np.random.Generator, num_points: int) -> tuple[Rows, Targets]:
    rng_shoulder, rng_elbow = rng.spawn(2)
    a, b = rng_shoulder.uniform(*SHOULDER, num_points), rng_elbow.uniform(*ELBOW, num_points)
    x1 = UPPER_ARM * np.cos(a) - FOREARM * np.cos(a + b)
    x2 = UPPER_ARM * np.sin(a) - FOREARM * np.sin(a + b)
    return np.stack([x1, x2], axis=1), np.stack([a, b], axis=1)


@dataclass(frozen=True)
class _Branches:
    """A mixture of Gaussians in the plane that x moves as a whole, by an isometry: no density changes.

    Attributes:
        weights: of the K branches.
        centres: where each lies before it is moved.
        angles: directions of their long axes, radians.
        stds: along the long and the short axis, the same for all.
        move: (x (N, 1), points (N, 2)) -> points (N, 2), and `undo` back.
    """

    weights: tuple[float, ...]
    centres: tuple[tuple[float, float], ...]
    angles: tuple[float, ...]
    stds: tuple[float, float]
    move: Callable[[Rows, Targets], Targets]
    undo: Callable[[Rows, Targets], Targets]

    def draw(self, rng: np.random.Generator, num_points: int) -> tuple[Rows, Targets]:
        rng_x, rng_branch, rng_noise = rng.spawn(3)
        x = rng_x.uniform(-1.0, 1.0, (num_points, 1))
        branch = np.searchsorted(np.cumsum(self.weights)[:-1], rng_branch.random(num_points), side="right")
        noise = np.asarray(self.stds) * rng_noise.standard_normal((num_points, 2))
        return x, self.move(x, np.asarray(self.centres)[branch] + _turned(noise, np.asarray(self.angles)[branch]))

    def log_density(self, x: Rows, y: Targets) -> Vector:
        points, terms = self.undo(x, y), []
        for weight, centre, angle in zip(self.weights, self.centres, self.angles, strict=True):
            z = _turned(points - np.asarray(centre), np.full(1, -angle)) / np.asarray(self.stds)
            terms.append(math.log(weight) - 0.5 * (z**2).sum(axis=1))
        return np.logaddexp.reduce(terms) - 2.0 * LOG_SQRT_2PI - math.log(self.stds[0] * self.stds[1])


def _turned(points: Targets, angle: Vector) -> Targets:
    """Points of the plane turned about the origin."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack([cos * points[:, 0] - sin * points[:, 1], sin * points[:, 0] + cos * points[:, 1]], axis=1)


def _path(x: Rows) -> Targets:
    return np.concatenate([x, np.sin(math.pi * x)], axis=1)


_THIRDS = (0.0, math.tau / 3.0, 2.0 * math.tau / 3.0)
_CORRELATED = _Branches(  # a pinwheel that turns with x: each blade's correlation goes through -0.88 and 0.88
    weights=(0.5, 0.3, 0.2),
    centres=tuple((math.cos(angle), math.sin(angle)) for angle in _THIRDS),
    angles=tuple(angle + 0.25 * math.pi for angle in _THIRDS),
    stds=(0.4, 0.1),
    move=lambda x, points: _turned(points, math.pi * x[:, 0]),
    undo=lambda x, points: _turned(points, -math.pi * x[:, 0]),
)
_PARALLEL = replace(  # the same blades side by side, shifted with x: one correlation of 0.88 for all branches and all x
    _CORRELATED,
    angles=(0.25 * math.pi,) * 3,
    move=lambda x, points: points + _path(x),
    undo=lambda x, points: points - _path(x),
)


# Optima: 0.5 log(2 pi e) and log 0.2 are closed forms. The entropy h(y) of the sinusoid's marginal is an integral of
# -p log p by Gauss-Legendre with 2,000 nodes over |y| < 24, and h(x | y) = log 21 + 0.5 log(2 pi e) - h(y). Bishop's
# inverse is 5 int m(x) log m(x) dx with m the length above, by mpmath's quad between the kinks of m. The branches are
# the same mixture for all x but for an isometry: its entropy by the trapezoid rule on |y| < 4 in steps of 0.008.
PROBLEMS: dict[str, Problem] = {
    problem.name: problem
    for problem in (
        Problem("sinusoid", ("x",), ("y",), _draw_sinusoid, _log_sinusoid, LOG_SQRT_2PI + 0.5, 1.0),
        Problem("inverse_sinusoid", ("y",), ("x",), _draw_inverse_sinusoid, _log_inverse_sinusoid, 1.288009437360, 1.0),
        Problem("bishop", ("t",), ("x",), _draw_bishop, _log_bishop, math.log(2.0 * BISHOP_NOISE), 1.0),
        Problem("inverse_bishop", ("x",), ("t",), _draw_inverse_bishop, _log_inverse_bishop, -1.282347949532, 1.0),
        Problem("sinusoid_marginal", (), ("y",), _draw_sinusoid_marginal, _log_sinusoid_marginal, 3.175451533568, 1.0),
        Problem("robot_arm", ("x1", "x2"), ("a", "b"), _draw_robot_arm, None, None),
        Problem("correlated_branches", ("x",), ("y1", "y2"), _CORRELATED.draw, _CORRELATED.log_density, 0.648120153932),
        Problem("parallel_branches", ("x",), ("y1", "y2"), _PARALLEL.draw, _PARALLEL.log_density, 0.646704598702),
    )
}
"""The built-in problems by name."""

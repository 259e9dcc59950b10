"""Drawings by a model of pen strokes, and what it expects at each step of one.

A drawing is (n, 3): offsets dx and dy from point to point, in the units that the model was trained in, and the pen's
code: 0 down, 1 lifted after this point, 2 lifted and the drawing is finished.

References:
    A. Graves, "Generating sequences with recurrent neural networks", 2013: sampling, bias, priming and heat map.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from mdn_jax._checks import require
from mdn_jax._typing import ArrayLike, Float, Key, PyTree
from mdn_jax.data.strokes import FINISHED, INPUTS, TARGETS
from mdn_jax.distributions import Distribution, log_prob, marginal
from mdn_jax.distributions.protocol import capability
from mdn_jax.distributions.units import device_dtype
from mdn_jax.models import Model
from mdn_jax.prediction.rolling import rollout

__all__ = ["draw_strokes", "next_offsets", "paper_densities"]

LIFTED = 1  # the pen's code


def draw_strokes(
    key: Key,
    model: Model,
    num: int,
    *,
    max_points: int = 250,
    temperature: float = 1.0,
    bias: float | tuple[float, float] | None = None,
    prime: ArrayLike | None = None,
) -> Float[Array, "S T 3"]:
    """Draw with a model of pen strokes: all drawings side by side, in one program for each shape.

    Args:
        key: a PRNG key; a longer draw begins with the drawings of a shorter.
        model: of targets dx, dy and pen, trained on rows of `stroke_dataset`.
        num: of drawings; thousands are no matter.
        max_points: at which a drawing that is not finished stops.
        temperature: as for `sample`: 0 gives what is most probable at each step.
        bias: Graves's, as for `graves_bias`, on offsets and pen alike; or a pair: that of weights and pen, and that of
            widths. Instead of a temperature.
        prime: (m, 3) the beginning of a drawing in the model's units; every drawing goes on from there.

    Returns:
        (num, max_points, 3) in the model's units; the points of `prime` stand first, and (0, 0, 2) behind a finished
        drawing.

    Raises:
        InputError: for a model of something else, both a temperature and a bias, or a prime that is no beginning of a
            drawing.

    Example:
        >>> import jax, numpy as np, mdn_jax as mdn
        >>> from mdn_jax.data import draw_letters
        >>> drawings, _ = draw_letters(np.random.default_rng(0), 50)
        >>> letters = mdn.stroke_dataset(drawings[:40], drawings[40:], ends=True)
        >>> config = mdn.ModelConfig(network="lstm", network_options={"hidden_size": 8}, num_components=2)
        >>> training = mdn.TrainingConfig(num_steps=2, evaluate_every=1, batch_size=4)
        >>> fit = mdn.fit(jax.random.key(0), **letters.for_training, model=config, training=training)
        >>> mdn.draw_strokes(jax.random.key(1), fit.model, 100, max_points=20, bias=1.0).shape
        (100, 20, 3)
    """
    _check_model(model)
    require(num >= 1, f"draw_strokes: num must be 1 or more; got {num}")
    given = np.zeros((0, 3)) if prime is None else _checked(prime, "prime")
    finished = bool((given[:, 2] == FINISHED).any())
    require(not finished, "draw_strokes: prime is a finished drawing (pen code 2): give its beginning only")
    room = f"draw_strokes: max_points must be more than the {len(given)} points of prime; got {max_points}"
    require(max_points > len(given), room)
    both = "draw_strokes: temperature and bias say one thing: give one of them"
    require(bias is None or temperature == 1, both)
    require(0 <= temperature < np.inf, f"draw_strokes: temperature must be finite, 0 or more; got {temperature}")
    biases = np.broadcast_to(np.asarray(0.0 if bias is None else bias, np.float64), 2)
    neat = bool((biases >= 0).all() and np.isfinite(biases).all())
    require(neat, f"draw_strokes: bias must be finite, 0 or more; got {bias}")
    numbers = (jnp.asarray(value, device_dtype(given)) for value in (given, temperature, 1 + biases[0], -biases[1]))
    keys = jax.vmap(partial(jax.random.fold_in, key))(jnp.arange(num))
    return _drawn(keys, model, *numbers, num_steps=max_points - len(given))


def next_offsets(model: Model, drawing: ArrayLike) -> Distribution:
    """The distribution of the offset that leads to each point of a drawing, given the points before it.

    Args:
        model: as for `draw_strokes`.
        drawing: (n, 3) in the model's units.

    Returns:
        A batch of n distributions of (dx, dy): of a single network mixtures.
    """
    _check_model(model)
    return jax.jit(_offsets)(model, jnp.asarray(_checked(drawing, "drawing"), device_dtype(np.zeros(0))))


def paper_densities(model: Model, drawing: ArrayLike, grid: tuple[ArrayLike, ArrayLike]) -> Float[Array, "T H W"]:
    """The density of each point of a drawing over the paper, given the points before it: Graves's heat map.

    Args:
        model: as for `draw_strokes`.
        drawing: (T, 3) in the model's units.
        grid: the W places along x and the H places along y, from where the pen began.

    Returns:
        (T, H, W) densities in the model's units.

    Example:
        >>> import jax, numpy as np, mdn_jax as mdn
        >>> from mdn_jax.data import draw_letters
        >>> drawings, _ = draw_letters(np.random.default_rng(0), 50)
        >>> letters = mdn.stroke_dataset(drawings[:40], drawings[40:])
        >>> config = mdn.ModelConfig(network="lstm", network_options={"hidden_size": 8}, num_components=2)
        >>> training = mdn.TrainingConfig(num_steps=2, evaluate_every=1, batch_size=4)
        >>> fit = mdn.fit(jax.random.key(0), **letters.for_training, model=config, training=training)
        >>> drawing = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]])
        >>> mdn.paper_densities(fit.model, drawing, (np.linspace(-2, 2, 5), np.linspace(-1, 3, 4))).shape
        (2, 4, 5)
    """
    _check_model(model)
    dtype = device_dtype(np.zeros(0))
    places = [jnp.asarray(np.asarray(axis, np.float64), dtype) for axis in grid]
    return _over_paper(model, jnp.asarray(_checked(drawing, "drawing"), dtype), *places)


@partial(jax.jit, static_argnames="num_steps")
def _drawn(
    keys: Array, model: Model, prime: Array, temperature: Array, factor: Array, log_factor: Array, *, num_steps: int
) -> Float[Array, "S T 3"]:
    """Drawings that begin with `prime`, one for each key."""
    xs = _inputs(prime)
    state, _ = jax.lax.scan(model.step, model.initial_state(), xs[:-1])

    def temper(distribution: Any) -> Any:
        return capability("draw_strokes", distribution, "tempered")(factor, log_factor)

    def one(key: Key) -> Float[Array, "T 3"]:
        options: dict[str, Any] = {"temperature": temperature, "temper": temper, "state": state}
        drawn = rollout(key, model, xs[-1], num_steps, following=_following, **options)
        whole = jnp.concatenate([prime, drawn.astype(prime.dtype)])
        finished = (whole[:, 2] == FINISHED).astype(int)
        after = (jnp.cumsum(finished) - finished)[:, None] > 0
        return jnp.where(after, jnp.array([0, 0, FINISHED], whole.dtype), whole)

    return jax.vmap(one)(keys)


def _offsets(model: Model, drawing: Float[Array, "T 3"]) -> Distribution:
    """The distributions of the offset at each step of a drawing."""

    def step(state: PyTree, x: Float[Array, " X"]) -> tuple[PyTree, Distribution]:
        state, distribution = model.step(state, x)
        return state, marginal(distribution, (0, 1))

    return jax.lax.scan(step, model.initial_state(), _inputs(drawing)[:-1])[1]


@jax.jit
def _over_paper(model: Model, drawing: Array, across: Array, down: Array) -> Float[Array, "T H W"]:
    """The density of each point at each place of the paper."""
    paper = jnp.stack(jnp.meshgrid(across, down), axis=-1)
    pens = jnp.cumsum(drawing[:, :2], axis=0) - drawing[:, :2]

    def density(step: tuple[Distribution, Array]) -> Float[Array, "H W"]:
        at = jax.vmap(jax.vmap(partial(log_prob, step[0])))
        return jnp.exp(at(paper - step[1][None, None, :]))

    return jax.lax.map(density, (_offsets(model, drawing), pens))


def _following(y: Float[Array, " 3"]) -> Float[Array, " 4"]:
    """The input of the network after the point y."""
    lifted = jnp.minimum(y[2:], LIFTED)  # it never saw what follows a finished drawing
    return jnp.concatenate([y[:2], lifted, jnp.zeros_like(lifted)])


def _inputs(drawing: Float[Array, "n 3"]) -> Float[Array, "n_1 4"]:
    """The inputs of the network at the start, and after each point."""
    start = jnp.zeros((1, len(INPUTS)), drawing.dtype).at[0, -1].set(1)
    return jnp.concatenate([start, jax.vmap(_following)(drawing)])


def _check_model(model: Model) -> None:
    names = model.target_names
    told = f"draws pen strokes only with a model of {', '.join(TARGETS)}; this one has targets {', '.join(names)}"
    require(names == TARGETS and model.input_names == INPUTS, f"{told}: train on mdn.stroke_dataset(...)")


def _checked(drawing: ArrayLike, name: str) -> Float[np.ndarray, "n 3"]:
    points = np.asarray(drawing, np.float64)
    require(points.ndim == 2 and points.shape[1] == 3, f"{name} must be (n, 3): dx, dy, pen; got {points.shape}")
    right = bool(np.isfinite(points).all() and np.isin(points[:, 2], (0, LIFTED, FINISHED)).all())
    require(right, f"{name} must hold finite offsets and the pen's codes 0, 1 or 2")
    return points

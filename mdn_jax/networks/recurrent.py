"""Recurrent networks of one sequence, in Flax NNX's tree style: a raw vector for every step, or step by step.

The input reaches every layer, and every layer the output, without a detour.

References:
    A. Graves, "Generating sequences with recurrent neural networks", 2013 (the layers and their skip connections).
    S. Hochreiter and J. Schmidhuber, "Long short-term memory", 1997. K. Cho et al., "Learning phrase representations
    using RNN encoder-decoder for statistical machine translation", 2014 (the gated recurrent unit).
    R. Józefowicz, W. Zaremba and I. Sutskever, "An empirical exploration of recurrent network architectures", 2015
    (the forget gate's bias of 1).
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from mdn_jax._checks import require
from mdn_jax._pytrees import joined
from mdn_jax._typing import Float, Key, PyTree
from mdn_jax.heads import Head, kernel

__all__ = ["Recurrent", "gru", "lstm"]

State = tuple[Float[Array, "*B H"], ...]  # of one layer; its output comes first


class Cell(NamedTuple):
    """One kind of recurrent cell, unit by unit.

    Attributes:
        num_gates: vectors that each of the two products gives.
        num_states: vectors that a step hands on.
        forget: the gate whose bias starts at 1, or None.
        join: (below, before) -> z, linear: the products with the input and with the last output.
        parts: z -> (below, before), its transpose.
        advance: (z, *state) -> state.
    """

    num_gates: int
    num_states: int
    forget: int | None
    join: Callable[[Array, Array], Array]
    parts: Callable[[Array], tuple[Array, Array]]
    advance: Callable[..., State]


def _advance_lstm(z: Float[Array, "*B Z"], h: Float[Array, "*B H"], c: Float[Array, "*B H"]) -> State:
    i, f, g, o = jnp.split(z, 4, axis=-1)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(c), c


def _join_gru(below: Float[Array, "*B G"], before: Float[Array, "*B G"]) -> Float[Array, "*B Z"]:
    """Reset and update gate, and the candidate's two parts, of which the reset gate weighs the second."""
    size = 2 * below.shape[-1] // 3
    gates = below[..., :size] + before[..., :size]
    return jnp.concatenate([gates, below[..., size:], before[..., size:]], axis=-1)


def _parts_of_gru(z: Float[Array, "*B Z"]) -> tuple[Float[Array, "*B G"], Float[Array, "*B G"]]:
    size = z.shape[-1] // 4
    return z[..., : 3 * size], jnp.concatenate([z[..., : 2 * size], z[..., 3 * size :]], axis=-1)


def _advance_gru(z: Float[Array, "*B Z"], h: Float[Array, "*B H"]) -> State:
    r, u, below, before = jnp.split(z, 4, axis=-1)
    u = jax.nn.sigmoid(u)
    return ((1 - u) * jnp.tanh(below + jax.nn.sigmoid(r) * before) + u * h,)


LSTM = Cell(4, 2, 1, jnp.add, lambda z: (z, z), _advance_lstm)
GRU = Cell(3, 1, None, _join_gru, _parts_of_gru, _advance_gru)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _through(cell: Cell, weights: tuple[Array, ...], x: Float[Array, "T B X"], kept: Float[Array, "T B 1"]) -> Array:
    """One layer's outputs (T, B, H) along sequences; where `kept` is 0 the state before is forgotten.

    Autodiff would add up the weights' gradients step by step; its rule here makes them of all steps at once, which
    took a third from the time of a training step (H = 256, B = 32, T = 128; 2026-11-28, 2 cores, jax 0.10.1).
    """
    return _run(cell, weights, x, kept)[0][0]


def _run(cell: Cell, weights: tuple[Array, ...], x: Array, kept: Array) -> tuple[State, Array]:
    """The states (T, B, H) of all steps, and z."""

    def step(state: State, given: tuple[Array, Array]) -> tuple[State, tuple[State, Array]]:
        state, z = _step(cell, weights, state, *given)
        return state, (state, z)

    before = weights[1]
    zeros = jnp.zeros((x.shape[1], before.shape[0]), before.dtype)
    return jax.lax.scan(step, joined((zeros,) * cell.num_states, x), (x, kept))[1]


def _step(cell: Cell, weights: tuple[Array, ...], state: State, x: Array, kept: Array) -> tuple[State, Array]:
    """The next states (B, H), and z."""
    below, before, bias = weights
    state = tuple(kept * one for one in state)
    z = cell.join(x @ below + bias[None], state[0] @ before)
    return cell.advance(z, *state), z


def _forward(cell: Cell, weights: tuple[Array, ...], x: Array, kept: Array) -> tuple[Array, tuple]:
    states, z = _run(cell, weights, x, kept)
    return states[0], (weights, x, kept, states, z)


def _backward(cell: Cell, saved: tuple, cotangent: Float[Array, "T B H"]) -> tuple:
    (below, before, _), x, kept, states, z = saved
    # laid out once: folded into the product of each step, the transposition would cost as much again as half of it
    transposed = jax.lax.optimization_barrier(before.T)
    earlier = tuple(kept * jnp.concatenate([jnp.zeros_like(one[:1]), one[:-1]]) for one in states)

    def step(later: State, given: tuple) -> tuple[State, Array]:
        cotangent, z, earlier, kept = given
        _, pull = jax.vjp(cell.advance, z, *earlier)
        dz, dh, *rest = pull((cotangent + later[0], *later[1:]))
        return tuple(kept * one for one in (dh + cell.parts(dz)[1] @ transposed, *rest)), dz

    zeros = tuple(jnp.zeros_like(one[0]) for one in states)
    _, dz = jax.lax.scan(step, joined(zeros, cotangent), (cotangent, z, earlier, kept), reverse=True)
    from_below, from_before = cell.parts(dz)
    weights = (
        jnp.einsum("tbx,tbg->xg", x, from_below),
        jnp.einsum("tbh,tbg->hg", earlier[0], from_before),
        from_below.sum(axis=(0, 1)),
    )
    return weights, from_below @ below.T, jnp.zeros_like(kept)


_through.defvjp(_forward, _backward)


class Layer(nnx.Module):
    """The weights of one layer of cells: LeCun normal from below, orthogonal from the step before."""

    def __init__(self, cell: Cell, input_dim: int, hidden_size: int, key: Key) -> None:
        below_key, before_key = jax.random.split(key)
        size = cell.num_gates * hidden_size
        bias = jnp.zeros((cell.num_gates, hidden_size))
        self.below = nnx.Param(jax.nn.initializers.lecun_normal()(below_key, (input_dim, size)))
        self.before = nnx.Param(jax.nn.initializers.orthogonal()(before_key, (hidden_size, size)))
        self.bias = nnx.Param((bias if cell.forget is None else bias.at[cell.forget].set(1.0)).ravel())

    @property
    def weights(self) -> tuple[Array, Array, Array]:
        """The matrices of the input and of the last output, and the bias."""
        return self.below[...], self.before[...], self.bias[...]


class Recurrent(nnx.Module):
    """Stacked recurrent cells over one sequence, then a linear layer.

    Args:
        cell: the kind.
        input_dim: X.
        hidden_size: H, units of each layer.
        num_layers: cells on top of each other.
        dropout: the share of each layer's outputs that a step of training leaves out, on their way up.
        resets: whether the last input is a flag: where it is above 0 a sequence begins anew.
        key: draws the weights.
    """

    def __init__(
        self,
        cell: Cell,
        input_dim: int,
        hidden_size: int,
        num_layers: int,
        *,
        dropout: float = 0.0,
        resets: bool = False,
        key: Key,
    ) -> None:
        sizes = [input_dim] + [input_dim + hidden_size] * (num_layers - 1)
        keys = jax.random.split(key, num_layers)
        self.layers = nnx.List([Layer(cell, size, hidden_size, key) for size, key in zip(sizes, keys, strict=True)])
        self.kernel = nnx.Param(jnp.zeros((num_layers * hidden_size, 0)))
        self.cell, self.dropout, self.resets = cell, dropout, resets

    def __call__(self, x: Float[Array, "T X"], key: Key | None = None) -> Float[Array, "T P"]:
        """Raw outputs of every step of one sequence; a key makes it training."""
        return self.rows(x[None], None if key is None else key[None])[0]

    def rows(self, x: Float[Array, "B T X"], keys: Key | None = None) -> Float[Array, "B T P"]:
        """Raw outputs of several sequences, each with a key of its own: their products are made together."""
        x = jnp.swapaxes(x, 0, 1)
        kept = self._kept(x)
        if keys is not None:
            keys = jax.vmap(lambda key: jax.random.split(key, x.shape[0]), out_axes=1)(keys)
        outputs = []
        for number, layer in enumerate(self.layers):
            output: Any = _through(self.cell, layer.weights, jnp.concatenate([x, *outputs[-1:]], axis=-1), kept)
            drop = jax.vmap(jax.vmap(partial(self._dropped, number)))
            outputs.append(output if keys is None else drop(keys, output))
        return jnp.swapaxes(jnp.concatenate(outputs, axis=-1) @ self.kernel[...], 0, 1)

    def initial_state(self) -> PyTree:
        """The state before the first step: zeros."""
        return tuple((jnp.zeros_like(layer.before[...][:, 0]),) * self.cell.num_states for layer in self.layers)

    def step(self, state: PyTree, x: Float[Array, " X"], key: Key | None = None) -> tuple[PyTree, Float[Array, " P"]]:
        """The next state, and the raw outputs of one step."""
        states, outputs = [], []
        for number, (layer, before) in enumerate(zip(self.layers, state, strict=True)):
            given = jnp.concatenate([x, *outputs[-1:]])[None]
            after, _ = _step(self.cell, layer.weights, tuple(one[None] for one in before), given, self._kept(x)[None])
            states.append(tuple(one[0] for one in after))
            outputs.append(after[0][0] if key is None else self._dropped(number, key, after[0][0]))
        return tuple(states), jnp.concatenate(outputs) @ self.kernel[...]

    def _kept(self, x: Float[Array, "*T X"]) -> Float[Array, "*T 1"]:
        """1 where a step goes on with the state before it, 0 where a sequence begins anew."""
        return (x[..., -1:] <= 0).astype(x.dtype) if self.resets else jnp.ones_like(x[..., :1])

    def _dropped(self, number: int, key: Key, output: Float[Array, " H"]) -> Float[Array, " H"]:
        """Outputs of a layer in training: some of them 0, the others larger by as much."""
        if not self.dropout:
            return output
        kept = jax.random.bernoulli(jax.random.fold_in(key, number), 1 - self.dropout, output.shape)
        return jnp.where(kept, output / (1 - self.dropout), 0.0)


def lstm(
    key: Key,
    x: Float[Array, "T X"],
    num_outputs: int,
    hidden_size: int = 256,
    num_layers: int = 1,
    dropout: float = 0.0,
    resets: bool = False,
    spec: Head | None = None,
) -> Recurrent:
    """A `Recurrent` of LSTM cells under a head: without a last bias, which is the model's offset.

    Args:
        key: draws the weights.
        x: (T, X) one standardised sequence.
        num_outputs: P of each step.
        hidden_size: units of each layer.
        num_layers: cells on top of each other.
        dropout: the share of each layer's outputs that a step of training leaves out, from 0 to below 1.
        resets: whether the last column of x is a flag: where it is above 0, a sequence begins anew.
        spec: the head; where it draws the last weights itself (`kernel`), fewer components are a prefix of more.

    Raises:
        InputError: for an x that is no sequence, or a size or share out of range.
    """
    return _built(LSTM, key, x, num_outputs, hidden_size, num_layers, dropout, resets, spec)


def gru(
    key: Key,
    x: Float[Array, "T X"],
    num_outputs: int,
    hidden_size: int = 256,
    num_layers: int = 1,
    dropout: float = 0.0,
    resets: bool = False,
    spec: Head | None = None,
) -> Recurrent:
    """A `Recurrent` of gated recurrent units; the arguments are those of `lstm`."""
    return _built(GRU, key, x, num_outputs, hidden_size, num_layers, dropout, resets, spec)


def _built(
    cell: Cell,
    key: Key,
    x: Float[Array, "T X"],
    num_outputs: int,
    hidden_size: int,
    num_layers: int,
    dropout: float,
    resets: bool,
    spec: Head | None,
) -> Recurrent:
    require(
        len(x.shape) == 2, f"a recurrent network takes sequences, x (N, T, X); got rows of shape {x.shape}: use x[None]"
    )
    for name, size in {"hidden_size": hidden_size, "num_layers": num_layers}.items():
        require(size >= 1, f"model.network_options.{name} must be at least 1; got {size}")
    require(0 <= dropout < 1, f"model.network_options.dropout must be 0 or more, and below 1; got {dropout}")
    trunk_key, head_key = jax.random.split(key)
    network = Recurrent(cell, x.shape[1], hidden_size, num_layers, dropout=dropout, resets=resets, key=trunk_key)
    fan_in = num_layers * hidden_size
    lecun = jax.nn.initializers.lecun_normal()
    network.kernel = nnx.Param(
        lecun(head_key, (fan_in, num_outputs)) if spec is None else kernel(spec, head_key, fan_in)
    )
    return network

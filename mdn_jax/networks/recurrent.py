"""Recurrent networks of one sequence, in Flax NNX's tree style: a raw vector for every step, or step by step.

The input reaches every layer, and every layer the output, without a detour.

References:
    A. Graves, "Generating sequences with recurrent neural networks", 2013 (the layers and their skip connections).
    S. Hochreiter and J. Schmidhuber, "Long short-term memory", 1997. K. Cho et al., "Learning phrase representations
    using RNN encoder-decoder for statistical machine translation", 2014 (the gated recurrent unit).
    R. Józefowicz, W. Zaremba and I. Sutskever, "An empirical exploration of recurrent network architectures", 2015
    (the forget gate's bias of 1).
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from mdn_jax._checks import require
from mdn_jax._pytrees import joined
from mdn_jax._typing import Float, Key, PyTree
from mdn_jax.heads import Head, kernel

__all__ = ["Recurrent", "gru", "lstm"]


class Recurrent(nnx.Module):
    """Stacked recurrent cells over one sequence, then a linear layer.

    Args:
        cell: Flax's `nnx.OptimizedLSTMCell` or `nnx.GRUCell`.
        input_dim: X.
        hidden_size: H, units of each layer.
        num_layers: cells on top of each other.
        dropout: the share of each layer's outputs that a step of training leaves out, on their way up.
        resets: whether the last input is a flag: where it is above 0 a sequence begins anew.
        key: draws the weights: LeCun normal from below, orthogonal from the step before.
    """

    def __init__(
        self,
        cell: type[nnx.OptimizedLSTMCell] | type[nnx.GRUCell],
        input_dim: int,
        hidden_size: int,
        num_layers: int,
        *,
        dropout: float = 0.0,
        resets: bool = False,
        key: Key,
    ) -> None:
        sizes = [input_dim] + [input_dim + hidden_size] * (num_layers - 1)
        self.layers = nnx.List(
            [
                cell(size, hidden_size, param_dtype=float, rngs=nnx.Rngs(key))
                for size, key in zip(sizes, jax.random.split(key, num_layers), strict=True)
            ]
        )
        if cell is nnx.OptimizedLSTMCell:
            for layer in self.layers:  # gates: input, forget, cell, output
                layer.dense_h.bias[...] = layer.dense_h.bias[...].at[hidden_size : 2 * hidden_size].set(1.0)
        self.kernel = nnx.Param(jnp.zeros((num_layers * hidden_size, 0)))
        self.dropout, self.resets = dropout, resets

    def __call__(self, x: Float[Array, "T X"], key: Key | None = None) -> Float[Array, "T P"]:
        """Raw outputs of every step of one sequence; a key makes it training."""
        keys = None if key is None else jax.random.split(key, x.shape[0])
        start = joined(self.initial_state(), x)
        _, hidden = jax.lax.scan(lambda state, given: self._advance(state, *given), start, (x, keys))
        return hidden @ self.kernel[...]

    def initial_state(self) -> PyTree:
        """The state before the first step: zeros."""
        zeros = [jnp.zeros_like(layer.dense_h.kernel[...][:, 0]) for layer in self.layers]
        return tuple(
            zero if isinstance(layer, nnx.GRUCell) else (zero, zero) for zero, layer in zip(zeros, self.layers)
        )

    def step(self, state: PyTree, x: Float[Array, " X"], key: Key | None = None) -> tuple[PyTree, Float[Array, " P"]]:
        """The next state, and the raw outputs of one step."""
        state, hidden = self._advance(state, x, key)
        return state, hidden @ self.kernel[...]

    def _advance(self, state: PyTree, x: Float[Array, " X"], key: Key | None) -> tuple[PyTree, Float[Array, " LH"]]:
        """The next state, and the outputs of all layers."""
        if self.resets:
            state = jax.tree.map(lambda old, new: jnp.where(x[-1] > 0, new, old), state, self.initial_state())
        states, outputs = [], []
        for number, (layer, before) in enumerate(zip(self.layers, state, strict=True)):
            after, output = layer(before, jnp.concatenate([x, *outputs[-1:]]))
            if key is not None and self.dropout:
                kept = jax.random.bernoulli(jax.random.fold_in(key, number), 1 - self.dropout, output.shape)
                output = jnp.where(kept, output / (1 - self.dropout), 0.0)
            states.append(after)
            outputs.append(output)
        return tuple(states), jnp.concatenate(outputs)


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
    return _built(nnx.OptimizedLSTMCell, key, x, num_outputs, hidden_size, num_layers, dropout, resets, spec)


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
    return _built(nnx.GRUCell, key, x, num_outputs, hidden_size, num_layers, dropout, resets, spec)


def _built(
    cell: type,
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

"""The multilayer perceptron, in Flax NNX's tree style: a pytree, used with plain `jax.jit`, `vmap`, `grad`, `scan`."""

from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from mdn_jax._checks import nearest, require
from mdn_jax._typing import Float, Int, Key
from mdn_jax.heads import Head, kernel

__all__ = ["MLP", "Activation", "mlp"]

FAR = 0.005  # probability beyond the outermost pieces of an input, on either side
INPUT_REACH = 3**0.5  # a uniform input with standard deviation 1 reaches this far
Activation = Literal["tanh", "relu", "elu", "gelu", "silu", "softplus", "sigmoid", "sin"]
_ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "elu": jax.nn.elu,
    "gelu": jax.nn.gelu,
    "silu": jax.nn.silu,
    "softplus": jax.nn.softplus,
    "sigmoid": jax.nn.sigmoid,
    "sin": jnp.sin,
}


class MLP(nnx.Module):
    """A multilayer perceptron of one example: hidden layers with an activation, then a linear one.

    Args:
        input_dim: X; with 0 the network is a bias vector.
        hidden_sizes: units of each hidden layer.
        output_dim: size of the output.
        activation: by name.
        use_bias: whether the last layer has a bias.
        input_bins: pieces of a piecewise linear encoding of each input, which the first layer sees beside the input;
            with 0 it sees the input alone.
        share: of the encoding, 0 or 1: two networks of one shape, one with it and one without, train side by side.
        key: draws the weights (LeCun normal). The first layer's units are centred at places spread over standardised
            inputs; other biases start at 0.

    Raises:
        InputError: for an unknown activation, or a number of pieces that is none.

    Example:
        >>> import jax, jax.numpy as jnp, mdn_jax as mdn
        >>> mdn.MLP(1, (24,), 30, key=jax.random.key(0))(jnp.ones(1)).shape
        (30,)

    References:
        Y. Gorishniy, I. Rubachev and A. Babenko, "On embeddings for numerical features in tabular deep learning", 2022
        (the encoding).
        D. Nguyen and B. Widrow, "Improving the learning speed of 2-layer neural networks by choosing initial values
        of the adaptive weights", 1990 (the spread of the first layer).
    """

    def __init__(
        self,
        input_dim: int,
        hidden_sizes: Sequence[int],
        output_dim: int,
        activation: Activation = "tanh",
        *,
        use_bias: bool = True,
        input_bins: int = 0,
        share: Int[Array, ""] | int = 1,
        key: Key,
    ) -> None:
        require(activation in _ACTIVATIONS, f"unknown activation {activation!r}: {nearest(activation, _ACTIVATIONS)}")
        counted = type(input_bins) is int and input_bins >= 0
        require(counted, f"input_bins must be a whole number, 0 or more; got {input_bins!r}")
        # without inputs hidden layers would only see their own biases
        sizes = (input_dim, *hidden_sizes) if input_dim else ()
        keys = jax.random.split(key, len(sizes) + 2)
        self.hidden = nnx.List(
            [
                nnx.Linear(fan_in, fan_out, param_dtype=float, rngs=nnx.Rngs(layer_key))
                for fan_in, fan_out, layer_key in zip(sizes, sizes[1:], keys[1:], strict=False)
            ]
        )
        if self.hidden:
            kernel, bias = _spread(keys[-1], self.hidden[0].kernel[...])
            self.hidden[0].kernel, self.hidden[0].bias = nnx.Param(kernel), nnx.Param(bias)
        self.input_bins = input_bins if self.hidden else 0
        if self.input_bins:
            fan_in, rngs = input_dim * input_bins, nnx.Rngs(jax.random.fold_in(keys[-1], 0))
            self.binned = nnx.Linear(fan_in, hidden_sizes[0], use_bias=False, param_dtype=float, rngs=rngs)
            self.share = nnx.Param(jnp.asarray(share, float))
        self.activation = activation
        fan_in = sizes[-1] if sizes else 0
        kernel = (
            jax.nn.initializers.lecun_normal()(keys[0], (fan_in, output_dim)) if fan_in else jnp.zeros((0, output_dim))
        )
        self.kernel = nnx.Param(kernel)
        self.bias = nnx.Param(jnp.zeros(output_dim)) if use_bias else None

    def __call__(self, x: Float[Array, " X"]) -> Float[Array, " P"]:
        """Raw outputs of one example: x (X,) -> (output_dim,)."""
        for place, layer in enumerate(self.hidden):
            units = layer(x)
            if place == 0 and self.input_bins:
                units = units + jnp.where(self.share[...] > 0, self.binned(in_bins(x, self.input_bins)), 0.0)
            x = _ACTIVATIONS[self.activation](units)
        fan_in, output_dim = self.kernel[...].shape
        raw = x @ self.kernel[...] if fan_in else jnp.zeros(output_dim, self.kernel[...].dtype)
        return raw if self.bias is None else raw + self.bias[...]


def mlp(
    key: Key,
    x: Float[Array, " X"],
    num_outputs: int,
    hidden_sizes: Sequence[int] = (32, 32),
    activation: Activation = "silu",
    spec: Head | None = None,
    input_bins: int = 0,
    index: Int[Array, ""] | int = 0,
) -> MLP:
    """An `MLP` under a head: without a last bias, which is the model's offset, and with the head's own last weights.

    Args:
        key: draws the weights.
        x: (X,) one standardised example.
        num_outputs: P.
        hidden_sizes: units of each hidden layer.
        activation: by name.
        spec: the head; where it draws the last weights itself (`kernel`), fewer components are a prefix of more.
        input_bins: pieces of each input's encoding, beside the input. Of an ensemble every second network, from the
            second on, goes without: such a mixture answered better than networks of either kind alone.
        index: place in its ensemble.
    """
    trunk_key, head_key = jax.random.split(key)
    network = MLP(
        x.shape[0], hidden_sizes, num_outputs, activation, use_bias=False, input_bins=input_bins,
        share=(index + 1) % 2, key=trunk_key,
    )  # fmt: skip
    fan_in = network.kernel[...].shape[0]
    if fan_in and spec is not None:
        network.kernel = nnx.Param(kernel(spec, head_key, fan_in))
    return network


def in_bins(x: Float[Array, " X"], count: int) -> Float[Array, " XB"]:
    """Standardised inputs in pieces of equal probability under a normal: -1 below a piece, 1 above, a line inside."""
    ends = [NormalDist().inv_cdf(share) for share in (FAR, *np.arange(1, count) / count, 1 - FAR)]
    low, high = (np.array(ends[part]) for part in (slice(-1), slice(1, None)))
    width, middle = (np.asarray(one, x.dtype) for one in (high - low, 0.5 * (low + high)))
    return jnp.clip(2 * (x[:, None] - middle[None]) / width[None], -1.0, 1.0).ravel()


def _spread(key: Key, kernel: Float[Array, "X H"]) -> tuple[Float[Array, "X H"], Float[Array, " H"]]:
    """A first layer whose units bend at places of their own among the inputs: steeper where few inputs share many."""
    input_dim, units = kernel.shape
    slope = min(max(0.7 * units ** (1 / input_dim) / INPUT_REACH, 1.0), 2.0)  # Nguyen and Widrow's, within reason
    centres = jax.random.uniform(key, kernel.shape, kernel.dtype, -INPUT_REACH, INPUT_REACH)
    return slope * kernel, -jnp.sum(slope * kernel * centres, axis=0)

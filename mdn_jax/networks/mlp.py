"""Networks, in Flax NNX's tree style: modules are pytrees, used with plain `jax.jit`, `vmap`, `grad` and `scan`."""

import re
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from flax.errors import InvalidRngError, TraceContextError
from jax import Array

from mdn_jax._checks import InputError, nearest, require
from mdn_jax._typing import Float, Key, PyTree
from mdn_jax.distributions import Mixture
from mdn_jax.heads import MixtureSpec, unpack

__all__ = ["MDN", "MLP", "Activation", "check_network"]

PURE = "leave dropout out (module.eval()), take LayerNorm for BatchNorm, a cell in jax.lax.scan for nnx.RNN"
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
        key: draws the weights (LeCun normal). The first layer's units are centred at places spread over standardised
            inputs; other biases start at 0.

    Raises:
        InputError: for an unknown activation.

    Example:
        >>> import jax, jax.numpy as jnp, mdn_jax as mdn
        >>> mdn.MLP(1, (24,), 30, key=jax.random.key(0))(jnp.ones(1)).shape
        (30,)

    References:
        D. Nguyen and B. Widrow, "Improving the learning speed of 2-layer neural networks by choosing initial values
        of the adaptive weights", 1990 (the spread of the first layer).
    """

    def __init__(
        self,
        input_dim: int,
        hidden_sizes: tuple[int, ...],
        output_dim: int,
        activation: Activation = "tanh",
        *,
        key: Key,
    ) -> None:
        require(activation in _ACTIVATIONS, f"unknown activation {activation!r}: {nearest(activation, _ACTIVATIONS)}")
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
        self.activation = activation
        fan_in = sizes[-1] if sizes else 0
        kernel = (
            jax.nn.initializers.lecun_normal()(keys[0], (fan_in, output_dim)) if fan_in else jnp.zeros((0, output_dim))
        )
        self.kernel = nnx.Param(kernel)
        self.bias = nnx.Param(jnp.zeros(output_dim))

    def __call__(self, x: Float[Array, " X"]) -> Float[Array, " P"]:
        """Raw outputs of one example: x (X,) -> (output_dim,)."""
        for layer in self.hidden:
            x = _ACTIVATIONS[self.activation](layer(x))
        if self.kernel[...].shape[0] == 0:
            return self.bias[...]
        return x @ self.kernel[...] + self.bias[...]


class MDN(nnx.Module):
    """A mixture density network: an MLP whose outputs are unpacked into a mixture.

    Each component's head weights are drawn with `fold_in(key, k)`, so that a network with fewer components is a
    prefix of one with more.

    Args:
        input_dim: X; with 0 the network is a bias vector, an ordinary Gaussian mixture.
        hidden_sizes: units of each hidden layer.
        spec: which mixture.
        activation: by name.
        bias: (spec.num_outputs,) where the raw outputs start, say `initial_bias(spec, y)`.
        key: draws the weights.

    Raises:
        InputError: for an unknown activation, or a bias of another shape.

    Example:
        >>> import jax, jax.numpy as jnp, mdn_jax as mdn
        >>> network = mdn.MDN(1, (24,), mdn.MixtureSpec(num_components=5), key=jax.random.key(0))
        >>> network(jnp.ones(1)).locs.shape
        (5, 1)
    """

    def __init__(
        self,
        input_dim: int,
        hidden_sizes: tuple[int, ...],
        spec: MixtureSpec,
        activation: Activation = "tanh",
        *,
        bias: Float[Array, " P"] | None = None,
        key: Key,
    ) -> None:
        trunk_key, head_key = jax.random.split(key)
        self.spec = spec
        self.input_dim, self.hidden_sizes = input_dim, tuple(hidden_sizes)
        self.mlp = MLP(input_dim, hidden_sizes, spec.num_outputs, activation, key=trunk_key)
        fan_in = self.mlp.kernel[...].shape[0]
        if fan_in:
            self.mlp.kernel = nnx.Param(spec.kernel(head_key, fan_in))
        if bias is not None:
            expected, got = (spec.num_outputs,), jnp.shape(bias)
            require(got == expected, f"bias must have shape {expected}, as initial_bias gives it; got {got}")
            self.mlp.bias = nnx.Param(jnp.asarray(bias))

    def __call__(self, x: Float[Array, " X"]) -> Mixture:
        """The mixture of one example: x (X,) -> Mixture."""
        return unpack(self.spec, self.mlp(x))


def check_network(params: PyTree, apply: Callable[[PyTree, Any], Array], x: PyTree) -> PyTree:
    """The parameters of a network of your own in JAX's float, where its calls are functions; x leads with N."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        place = f"params{jax.tree_util.keystr(path)}"
        require(
            hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.floating),
            f"params must be a pytree of floating arrays; got {type(leaf).__name__} at {place}: "
            "keep it in apply instead" + f" (nnx.split(module, nnx.Param, ...)), and {PURE}" * ("rngs" in place),
        )
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, float if leaf.dtype == np.float32 else None), params)
    one = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((1, *leaf.shape[1:]), leaf.dtype), x)
    try:
        program = jax.make_jaxpr(lambda params, xs: jax.vmap(lambda x: apply(params, x))(xs))(params, one)
    except (TraceContextError, InvalidRngError) as error:
        said = str(error).partition(" (http")[0]
        raise InputError(f"apply must be a function of params and x alone; {said}: {PURE}") from None
    kinds = (jax.dtypes.prng_key, np.uint32)  # a key in each row is no frozen chance
    keyed = any(jnp.issubdtype(leaf.dtype, kind) for leaf in jax.tree.leaves(x) for kind in kinds)
    require(
        keyed or not re.search(r"\brandom_bits\b|\brng_", str(program)),
        f"apply draws random numbers, and without a key it draws the same for every row and step: {PURE}; numbers that "
        "shall stay are drawn before and kept in params or apply",
    )
    return params


def _spread(key: Key, kernel: Float[Array, "X H"]) -> tuple[Float[Array, "X H"], Float[Array, " H"]]:
    """A first layer whose units bend at places of their own among the inputs: steeper where few inputs share many."""
    input_dim, units = kernel.shape
    slope = min(max(0.7 * units ** (1 / input_dim) / INPUT_REACH, 1.0), 2.0)  # Nguyen and Widrow's, within reason
    centres = jax.random.uniform(key, kernel.shape, kernel.dtype, -INPUT_REACH, INPUT_REACH)
    return slope * kernel, -jnp.sum(slope * kernel * centres, axis=0)

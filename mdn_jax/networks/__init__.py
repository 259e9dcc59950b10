"""Networks: `network(x) -> raw outputs` of one example, pytrees of floating arrays.

A recurrent one gives raw outputs (T, P) for a sequence x (T, X), and goes step by step too: `initial_state()` and
`step(state, x, key=None) -> (state, raw)`. A network that draws numbers in training takes a key as well:
`network(x, key)`, None where it is evaluated. `NETWORKS` is the table of names; `build(key, x, num_outputs, **options)`
makes one for x, one standardised example; where it has a parameter `spec` it is given the head too, and its place in an
ensemble where it has `index`.
"""

import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass

from jax import Array

from mdn_jax._typing import Int, Key, PyTree
from mdn_jax.heads import Head
from mdn_jax.networks.checking import check_network, takes_key
from mdn_jax.networks.mlp import MLP, Activation, mlp
from mdn_jax.networks.recurrent import Recurrent, gru, lstm

__all__ = ["MLP", "NETWORKS", "Activation", "Architecture", "Recurrent", "check_network", "mlp", "takes_key"]

NETWORKS: dict[str, Callable] = {"mlp": mlp, "lstm": lstm, "gru": gru}


@dataclass(frozen=True)
class Architecture:
    """The plan of a network, as a static value: equal ones share their compiled programs.

    Attributes:
        name: of the build function, as a config says it.
        build: `build(key, x, num_outputs, **options) -> network`.
        options: of `build`, as JSON.
        input_shape: of one standardised x.
    """

    name: str
    build: Callable
    options: str
    input_shape: tuple[int, ...]

    def __call__(self, key: Key, x: PyTree, head: Head, index: Int[Array, ""] | int = 0) -> Callable:
        """A network for one x under a head, at its place in an ensemble."""
        known = inspect.signature(self.build).parameters
        named = {name: value for name, value in (("spec", head), ("index", index)) if name in known}
        return self.build(key=key, x=x, num_outputs=head.num_outputs, **json.loads(self.options), **named)

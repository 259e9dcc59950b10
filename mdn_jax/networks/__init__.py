"""Networks: functions of one example with parameters."""

from mdn_jax.networks.mlp import MDN, MLP, Activation, check_network

__all__ = ["MDN", "MLP", "Activation", "check_network"]

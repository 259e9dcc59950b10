"""Heads: the raw outputs of a network as a distribution."""

from mdn_jax.heads.mixture import Covariance, MixtureSpec, initial_bias, unpack

__all__ = ["Covariance", "MixtureSpec", "initial_bias", "unpack"]

"""Heads: the raw outputs of a network as a distribution. `Head` is what each one is."""

from mdn_jax.heads.categorical import CategoricalSpec
from mdn_jax.heads.circular import CircularSpec
from mdn_jax.heads.independent import IndependentSpec
from mdn_jax.heads.mixture import Covariance, MixtureSpec
from mdn_jax.heads.product import ProductSpec
from mdn_jax.heads.protocol import Head, initial_bias, kernel, unpack
from mdn_jax.heads.supported import Support, SupportSpec

__all__ = [
    "HEADS", "CategoricalSpec", "CircularSpec", "Covariance", "Head", "IndependentSpec", "MixtureSpec", "ProductSpec",
    "Support", "SupportSpec", "initial_bias", "kernel", "unpack",
]  # fmt: skip

HEADS: dict[str, type] = {
    "mixture": MixtureSpec,
    "independent": IndependentSpec,
    "categorical": CategoricalSpec,
    "product": ProductSpec,
    "support": SupportSpec,
    "circular": CircularSpec,
}

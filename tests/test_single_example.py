"""A forgotten vmap must raise, never give a number: right-shaped and wrong is the worst of errors."""

import jax
import jax.numpy as jnp
import pytest
from cases import Case

import mdn_jax as mdn

KEY = jax.random.key  # made inside the tests: no array exists before they run
FUNCTIONS = {  # name -> f(mixture, y); those without a target ignore it
    "log_prob": mdn.log_prob,
    "responsibilities": mdn.responsibilities,
    "nll": mdn.nll,
    "squared_error": mdn.squared_error,
    "crps": mdn.crps,
    "energy_score": lambda mixture, y: mdn.energy_score(KEY(0), mixture, y, 4),
    "cdf": mdn.cdf,
    "log_cdf": mdn.log_cdf,
    "log_survival": mdn.log_survival,
    "affine": lambda mixture, y: mdn.affine(mixture, shift=y, scale=y),
    "sample": lambda mixture, y: mdn.sample(KEY(0), mixture),
    "rsample": lambda mixture, y: mdn.rsample(KEY(0), mixture),
    "mean": lambda mixture, y: mdn.mean(mixture),
    "std": lambda mixture, y: mdn.std(mixture),
    "covariance": lambda mixture, y: mdn.covariance(mixture),
    "mode": lambda mixture, y: mdn.mode(mixture),
    "modes": lambda mixture, y: mdn.modes(mixture),
    "quantile": lambda mixture, y: mdn.quantile(mixture, 0.5),
    "interval": lambda mixture, y: mdn.interval(mixture, 0.9),
    "tail_mean": lambda mixture, y: mdn.tail_mean(mixture, 0.9),
    "log_mass": lambda mixture, y: mdn.log_mass(mixture, y, y),
    "highest_density": lambda mixture, y: mdn.highest_density(mixture, 0.9),
    "density_level": lambda mixture, y: mdn.density_level(KEY(0), mixture, 0.9, 4),
    "marginal": lambda mixture, y: mdn.marginal(mixture, 0),
    "condition": lambda mixture, y: mdn.condition(mixture, 0, 0.5),
    "merge": lambda mixture, y: mdn.merge([mixture]),
}
WITH_TARGET = ("log_prob", "responsibilities", "nll", "squared_error", "crps", "energy_score", "cdf",
               "log_cdf", "log_survival", "affine")  # fmt: skip
SIZES = {"B64-K1-D1": (64, 1, 1), "B3-K3-D1": (3, 3, 1), "B1-K1-D1": (1, 1, 1), "B3-K3-D3": (3, 3, 3),
         "B2-K3-D2": (2, 3, 2)}  # fmt: skip
COVARIANCES = ("isotropic", "diagonal", "full")


def batch_of(mixture, size):
    return jax.tree.map(lambda leaf: jnp.stack([leaf] * size), mixture)


def refuses(name, mixture, y):
    for function in (FUNCTIONS[name], jax.jit(FUNCTIONS[name])):
        with pytest.raises(mdn.InputError) as error:
            function(mixture, y)
        assert f"jax.vmap(mdn.{name})" in str(error.value)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_batch_of_mixtures_is_refused(name, size):
    batch, count, dim = SIZES[size]
    for covariance in COVARIANCES:
        mixture = batch_of(Case(covariance, count, dim).mixture(), batch)
        refuses(name, mixture, jnp.zeros(dim))
        refuses(name, mixture, jnp.zeros((batch, dim)))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", WITH_TARGET)
def test_a_batch_of_targets_is_refused(name, size):
    batch, count, dim = SIZES[size]
    for covariance in COVARIANCES:
        mixture = Case(covariance, count, dim).mixture()
        for shape in [(batch, dim), (1, dim), (dim, 1), (batch, 1, dim), (), (dim + 1,)]:
            refuses(name, mixture, jnp.zeros(shape))


@pytest.mark.parametrize("name", ["log_prob", "responsibilities", "nll"])
def test_a_batch_of_masks_is_refused(name):
    mixture, function = Case("full", 3, 2).mixture(), getattr(mdn, name)
    with pytest.raises(mdn.InputError, match=rf"jax.vmap\(mdn.{name}\)"):
        function(mixture, jnp.zeros(2), observed=jnp.ones((5, 2), bool))


@pytest.mark.parametrize("name", ["quantile", "interval", "highest_density"])
@pytest.mark.parametrize("size", [1, 3])
def test_a_batch_of_probabilities_is_refused(name, size):
    with pytest.raises(mdn.InputError, match=rf"jax.vmap\(mdn.{name}\)"):
        getattr(mdn, name)(Case("diagonal", 3, 1).mixture(), jnp.full(size, 0.5))


def test_a_batch_of_temperatures_is_refused():
    with pytest.raises(mdn.InputError, match=r"jax.vmap\(mdn.sample\)"):
        mdn.sample(KEY(0), Case("diagonal", 3, 1).mixture(), temperature=jnp.ones(3))


def test_a_batch_of_masses_is_refused_by_density_level():
    with pytest.raises(mdn.InputError, match=r"jax.vmap\(mdn.density_level\)"):
        mdn.density_level(KEY(0), Case("diagonal", 3, 1).mixture(), jnp.full(3, 0.5), 8)


@pytest.mark.parametrize("shape", [(2, 1), (3,), (1, 1)], ids=str)
def test_condition_refuses_a_batch_of_values(shape):
    with pytest.raises(mdn.InputError, match=r"jax.vmap\(mdn.condition\)"):
        mdn.condition(Case("full", 3, 2).mixture(), 0, jnp.zeros(shape))


def test_merge_refuses_a_single_mixture_and_two_leading_axes():
    mixture = Case("full", 3, 2).mixture()
    for wrong in (mixture, batch_of(batch_of(mixture, 2), 3)):
        with pytest.raises(mdn.InputError, match="a sequence of mixtures or one batched mixture"):
            mdn.merge(wrong)


@pytest.mark.parametrize("shape", [(64, 9), (1, 9), (9, 1), (8,), ()], ids=str)
def test_unpack_refuses_a_batch(shape):
    spec = mdn.MixtureSpec(num_components=3)
    with pytest.raises(mdn.InputError, match=r"jax.vmap\(lambda raw: mdn.unpack\(spec, raw\)\)"):
        mdn.unpack(spec, jnp.zeros(shape))


def test_a_scale_of_another_size_is_refused():
    mixture = mdn.Mixture(jnp.zeros(3), jnp.zeros((3, 2)), mdn.Diagonal(jnp.zeros((3, 1))))
    with pytest.raises(mdn.InputError, match=r"locs \(3, 2\), scale.log_std \(3, 1\)"):
        mdn.log_prob(mixture, jnp.zeros(2))


def test_the_message_says_what_came_and_the_cure():
    mixture = Case("diagonal", 5, 3).mixture()
    expected = r"log_prob takes one mixture and one y of shape \(3,\); got y \(64, 3\): use jax.vmap\(mdn.log_prob\)"
    with pytest.raises(mdn.InputError, match=expected):
        mdn.log_prob(mixture, jnp.zeros((64, 3)))
    with pytest.raises(ValueError, match=expected):  # an InputError is a ValueError
        mdn.log_prob(mixture, jnp.zeros((64, 3)))

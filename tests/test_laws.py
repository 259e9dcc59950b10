"""Laws: rewritings of a mixture that change nothing, seen by everything that the package can say of it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import Case
from numpy.testing import assert_allclose
from scipy.stats import norm

import mdn_jax as mdn

pytestmark = pytest.mark.usefixtures("x64")
YS = np.array([[-2.0, 0.5], [0.0, 0.0], [1.3, -4.0]])


@jax.jit
def sayings(mixture):
    """What the mixture says, in numbers that do not depend on how it is written."""
    ys = jnp.asarray(YS)[:, : mixture.target_dim]
    scores = (mdn.log_prob, mdn.cdf, mdn.crps, mdn.squared_error)
    each = {function.__name__: jax.vmap(function, (None, 0))(mixture, ys) for function in scores}
    one = {function.__name__: function(mixture) for function in (mdn.mean, mdn.std, mdn.covariance)}
    quantiles = jax.vmap(mdn.quantile, (None, 0))(mixture, jnp.array([0.01, 0.5, 0.9]))
    points, log_probs, _ = mdn.modes(mixture)
    return {**each, **one, "quantile": quantiles, "mode": points[0], "modes": log_probs[0]}


@jax.jit
def line_sayings(mixture):
    """What only a mixture on a line can say: its regions, with unused rows left out by the caller."""
    return jax.vmap(mdn.highest_density, (None, 0))(mixture, jnp.array([0.3, 0.8, 0.95]))


def map_components(mixture, index):
    return jax.tree.map(lambda leaf: leaf[jnp.asarray(index)], mixture)


def permuted(mixture):
    return map_components(mixture, [2, 0, 1])


def split_in_halves(mixture):
    doubled = map_components(mixture, [0, 1, 2, 1])
    return mdn.Mixture(doubled.logits.at[jnp.array([1, 3])].add(-jnp.log(2.0)), doubled.locs, doubled.scale)


def shifted_logits(mixture):
    return mdn.Mixture(mixture.logits + 123.0, mixture.locs, mixture.scale)


def with_one_switched_off(mixture):
    more = map_components(mixture, [0, 1, 2, 0])
    return mdn.Mixture(more.logits.at[3].set(-jnp.inf), more.locs.at[3].add(7.0), more.scale)


def merged_from_its_components(mixture):
    return mdn.merge([map_components(mixture, [k]) for k in range(3)], mixture.weights)


def there_and_back(mixture):
    shift, scale = jnp.array([3.0, -1.0])[: mixture.target_dim], jnp.array([-2.0, 0.3])[: mixture.target_dim]
    return mdn.affine(mdn.affine(mixture, shift=shift, scale=scale), shift=-shift / scale, scale=1 / scale)


def in_another_spelling(mixture):
    scale = mixture.scale
    if isinstance(scale, mdn.Isotropic):
        return mdn.Mixture(mixture.logits, mixture.locs, scale.to_diagonal(mixture.target_dim))
    return mdn.Mixture(mixture.logits, mixture.locs, scale.to_triangular(mixture.target_dim))


LAWS = [permuted, split_in_halves, shifted_logits, with_one_switched_off, merged_from_its_components, there_and_back,
        in_another_spelling]  # fmt: skip


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("case", [Case("isotropic", 3, 2), Case("full", 3, 2)], ids=str)
def test_rewriting_a_mixture_changes_nothing(case, law):
    mixture = case.mixture()
    before, after = sayings(mixture), sayings(law(mixture))
    for name, value in before.items():
        assert_allclose(after[name], value, rtol=1e-9, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("law", LAWS)
def test_rewriting_a_mixture_keeps_its_regions(law):
    stds = jnp.array([[1.0], [0.5], [1.2]])
    mixture = mdn.Mixture(jnp.array([0.0, 0.5, -1.0]), jnp.array([[-3.0], [0.0], [4.0]]), mdn.Diagonal(jnp.log(stds)))
    for before, after in zip(np.asarray(line_sayings(mixture)), np.asarray(line_sayings(law(mixture))), strict=True):
        before, after = (rows[~np.isnan(rows[:, 0])] for rows in (before, after))
        assert_allclose(after, before, rtol=1e-9, atol=1e-9)


def test_one_component_is_the_plain_normal():
    mixture = mdn.Mixture(jnp.array([5.0]), jnp.array([[1.5]]), mdn.Diagonal(jnp.log(jnp.array([[0.7]]))))
    normal, says, ys = norm(1.5, 0.7), sayings(mixture), YS[:, :1]
    expected = {
        "log_prob": normal.logpdf(ys[:, 0]),
        "cdf": normal.cdf(ys),
        "mean": [1.5],
        "std": [0.7],
        "covariance": [[0.49]],
        "mode": [1.5],
        "modes": normal.logpdf(1.5),
        "quantile": normal.ppf([[0.01], [0.5], [0.9]]),
    }
    for name, value in expected.items():
        assert_allclose(says[name], value, rtol=1e-12, atol=1e-14, err_msg=name)


def test_siblings_agree_where_they_coincide():
    log_std = jnp.array([0.3, -0.5, 0.1])
    whitener = jnp.exp(-log_std)[:, None, None] * jnp.broadcast_to(jnp.eye(2), (3, 2, 2))
    scales = [mdn.Isotropic(log_std), mdn.Diagonal(jnp.stack([log_std] * 2, axis=1)), mdn.Triangular(whitener)]
    mixture = Case("isotropic", 3, 2).mixture()
    first, *others = (sayings(mdn.Mixture(mixture.logits, mixture.locs, scale)) for scale in scales)
    for other in others:
        for name, value in first.items():
            assert_allclose(other[name], value, rtol=1e-10, atol=1e-10, err_msg=name)


def test_jit_is_eager():
    mixture = Case("full", 3, 2).mixture()
    y = jnp.asarray(YS[0])
    for function in (mdn.log_prob, mdn.crps):
        assert_allclose(jax.jit(function)(mixture, y), function(mixture, y), rtol=1e-12)
    assert_allclose(jax.jit(mdn.covariance)(mixture), mdn.covariance(mixture), rtol=1e-12)


def test_vmap_is_a_loop():
    mixtures = [Case("full", 3, 2).mixture(seed) for seed in range(4)]
    batch = jax.tree.map(lambda *leaves: jnp.stack(leaves), *mixtures)
    mapped = jax.jit(jax.vmap(sayings))(batch)
    looped = [sayings(mixture) for mixture in mixtures]
    for name, value in mapped.items():
        assert_allclose(value, np.stack([says[name] for says in looped]), rtol=1e-9, atol=1e-10, err_msg=name)

"""Draws against scipy's distribution functions; pathwise gradients against the exact ones within standard errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import Case, covariances_of, pick, weights_of
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import kstest, norm

import mdn_jax as mdn

pytestmark = pytest.mark.usefixtures("x64")
COUNT = 20_000
SIGNIFICANCE = 1e-4  # of each test of distribution: keys are fixed, so a pass is a pass for ever

sample = jax.jit(mdn.sample, static_argnums=2)
tempered_sample = jax.jit(lambda key, mixture, tau: mdn.sample(key, mixture, (COUNT,), temperature=tau))
rsample = jax.jit(lambda key, mixture: jax.vmap(mdn.rsample, (0, None))(jax.random.split(key, COUNT), mixture))


def marginal_cdf(mixture, direction):
    """The distribution function of direction . Y, by scipy: a mixture of normals again."""
    centres = np.asarray(mixture.locs) @ direction
    stds = np.sqrt(np.einsum("i,kij,j->k", direction, covariances_of(mixture), direction))
    return lambda values: weights_of(mixture) @ norm.cdf(values[None, :], centres[:, None], stds[:, None])


def directions(dim):
    """Every axis, and two oblique lines that see the correlations."""
    return [*np.eye(dim), np.ones(dim), np.array([1.0, -1.0, 0.5, -2.0])[:dim]]


# --- distribution ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("draw", [lambda key, m: sample(key, m, (COUNT,)), rsample], ids=["sample", "rsample"])
@pytest.mark.parametrize("case", [Case("diagonal", 3, 1), *pick(2), Case("full", 3, 4)], ids=str)
def test_draws_have_the_mixtures_distribution(draw, case):
    mixture = case.mixture()
    draws = np.asarray(draw(jax.random.key(1), mixture))
    for direction in directions(case.target_dim):
        assert kstest(draws @ direction, marginal_cdf(mixture, direction)).pvalue > SIGNIFICANCE


def test_every_dimension_has_its_own_component_scale():
    # a peer used dimension 0's parameters for all
    mixture = mdn.Mixture(jnp.zeros(1), jnp.array([[0.0, 50.0]]), mdn.Diagonal(jnp.log(jnp.array([[0.1, 5.0]]))))
    draws = np.asarray(sample(jax.random.key(0), mixture, (COUNT,)))
    errors = np.array([0.1, 5.0]) / np.sqrt(COUNT)
    assert np.all(np.abs(draws.mean(axis=0) - [0.0, 50.0]) < 4 * errors)
    assert np.all(np.abs(draws.std(axis=0) - [0.1, 5.0]) < 4 * errors / np.sqrt(2))


def test_batched_sampling_keeps_contexts_apart():
    # a peer shuffled draws among the rows of a batch: centres far apart show whose draw is whose
    centres = jnp.arange(50.0) * 100
    pair = mdn.Mixture(jnp.zeros(2), jnp.array([[-1.0], [1.0]]), mdn.Isotropic(jnp.zeros(2)))

    @jax.jit
    def draw(keys):
        mixtures = jax.vmap(lambda c: mdn.affine(pair, shift=c[None], scale=jnp.ones(1)))(centres)
        return jax.vmap(lambda key, m: mdn.sample(key, m, (20,)))(keys, mixtures)

    draws = draw(jax.random.split(jax.random.key(0), 50))
    assert draws.shape == (50, 20, 1)
    assert np.all(np.abs(np.asarray(draws)[:, :, 0] - np.asarray(centres)[:, None]) < 20)


def test_components_and_noise_are_independent():
    # reusing one key for the choice and the noise would tie a draw's distance to its component
    mixture = mdn.Mixture(jnp.zeros(2), jnp.array([[-100.0], [100.0]]), mdn.Isotropic(jnp.zeros(2)))
    draws = np.asarray(sample(jax.random.key(3), mixture, (COUNT,)))[:, 0]
    for centre in (-100.0, 100.0):
        assert kstest(draws[np.sign(draws) == np.sign(centre)] - centre, norm.cdf).pvalue > SIGNIFICANCE


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_many_components_are_drawn_by_their_weights_in_little_memory(dtype):
    # 20,000 components of known weights, every third switched off; a draw tells its component
    count, draws = 20_000, 2_000
    logits = jnp.where(jnp.arange(count) % 3 == 0, -jnp.inf, jnp.sin(jnp.arange(count) / 3_000.0)).astype(dtype)
    scale = mdn.Isotropic(jnp.full(count, -20.0, "float32"))
    mixture = mdn.Mixture(logits, jnp.arange(count, dtype="float32")[:, None], scale)
    drawing = sample.lower(jax.random.key(0), mixture, (draws,)).compile()
    assert drawing.memory_analysis().temp_size_in_bytes < 2**20
    drawn = np.asarray(drawing(jax.random.key(0), mixture))[:, 0].round().astype(int)
    weights = weights_of(mixture)
    assert np.all(weights[drawn] > 0)
    assert kstest(drawn, lambda k: np.cumsum(weights)[k.astype(int)]).pvalue > SIGNIFICANCE


@pytest.mark.parametrize("shape", [(), (2, 3)], ids=str)
@pytest.mark.parametrize("make_key", [jax.random.key, jax.random.PRNGKey], ids=["typed", "legacy"])
def test_shapes_and_both_kinds_of_key(shape, make_key):
    mixture = Case("full", 3, 2).mixture()
    draws = sample(make_key(0), mixture, shape)
    assert draws.shape == (*shape, 2)
    assert_array_equal(draws, sample(make_key(0), mixture, shape))
    assert jax.jit(mdn.rsample)(make_key(0), mixture).shape == (2,)


# --- temperature -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", [Case("diagonal", 1, 1), *pick(2), *pick(4)], ids=str)
def test_temperature_zero_is_the_most_probable_components_centre(case):
    mixture = case.mixture()
    best = np.asarray(mixture.locs)[np.argmax(mixture.logits)]
    assert_array_equal(tempered_sample(jax.random.key(0), mixture, 0.0), np.stack([best] * COUNT))


@pytest.mark.parametrize("temperature", [0.3, 2.5])
@pytest.mark.parametrize("case", pick(2, covariances=("isotropic", "diagonal", "full")), ids=str)
def test_sampling_at_a_temperature_is_sampling_the_tempered_mixture(case, temperature):
    mixture = case.mixture()
    draws = tempered_sample(jax.random.key(2), mixture, temperature)
    tempered = mdn.temper(mixture, temperature)
    for direction in directions(2):
        assert kstest(np.asarray(draws) @ direction, marginal_cdf(tempered, direction)).pvalue > SIGNIFICANCE


CONVENTIONS = {  # name -> converter, its argument, factor of the logits, factor of the standard deviations
    "world-models": (mdn.temper, 0.5, 2.0, np.sqrt(0.5)),
    "sketch-rnn": (mdn.sketch_rnn_temper, 0.5, 2.0, 0.5),
    "graves": (mdn.graves_bias, 2.0, 3.0, np.exp(-2.0)),
    "graves-neutral": (mdn.graves_bias, 0.0, 1.0, 1.0),
}


@pytest.mark.parametrize("name", CONVENTIONS)
@pytest.mark.parametrize("case", pick(2, covariances=("isotropic", "diagonal", "full")), ids=str)
def test_the_three_conventions_of_temperature(case, name):
    convert, value, of_logits, of_stds = CONVENTIONS[name]
    mixture = case.mixture()
    converted = convert(mixture, value)
    assert_allclose(converted.logits, of_logits * np.asarray(mixture.logits), rtol=1e-14)
    assert_allclose(converted.locs, mixture.locs, rtol=0)
    assert_allclose(covariances_of(converted), of_stds**2 * covariances_of(mixture), rtol=1e-12, atol=1e-15)


def test_a_negative_temperature_is_refused():
    with pytest.raises(mdn.InputError, match="temperature must be 0 or more; got -1"):
        mdn.sample(jax.random.key(0), Case("full", 3, 2).mixture(), temperature=-1)


# --- gradients -------------------------------------------------------------------------------------------------------


def test_samples_gradient_reaches_centres_and_scales():
    mixture = Case("diagonal", 3, 2).mixture()
    slopes = jax.jit(jax.grad(lambda m: mdn.sample(jax.random.key(0), m)[0]))(mixture)
    assert np.sum(slopes.locs) == 1.0 and np.any(slopes.scale.log_std != 0) and np.all(slopes.logits == 0)


@pytest.mark.parametrize(
    "case", [Case("diagonal", 3, 1), Case("isotropic", 3, 2), Case("diagonal", 3, 2), Case("full", 3, 2)], ids=str
)
def test_rsample_gradients_are_unbiased_in_every_parameter(case):
    mixture, dim = case.mixture(), case.target_dim
    # overlapping components: where they hardly overlap the logits' gradient is rare and large
    mixture = mdn.Mixture(mixture.logits, 0.5 * mixture.locs, mixture.scale)
    slope, curvature = jnp.array([1.0, -0.5])[:dim], jnp.array([[0.5, 0.8], [0.8, -0.3]])[:dim, :dim]

    def exact(mixture):  # E[a.Y + Y'BY] = a.m + tr(B (C + m m')) from the components' moments, by hand
        if isinstance(mixture.scale, mdn.Triangular):
            own = jax.vmap(lambda w: jnp.linalg.inv(w.T @ w))(mixture.scale.whitener)
        else:
            stds = jnp.exp(jnp.broadcast_to(mixture.scale.log_std.reshape(3, -1), (3, dim)))
            own = jax.vmap(jnp.diag)(stds**2)
        second = own + jnp.einsum("ki,kj->kij", mixture.locs, mixture.locs)
        each = mixture.locs @ slope + jnp.einsum("ij,kij->k", curvature, second)
        return jnp.sum(jax.nn.softmax(mixture.logits) * each)

    def drawn(mixture, key):
        y = mdn.rsample(key, mixture)
        return y @ slope + y @ curvature @ y

    keys = jax.random.split(jax.random.key(0), COUNT)
    draws = jax.jit(jax.vmap(jax.grad(drawn), (None, 0)))(mixture, keys)
    for each, expected in zip(jax.tree.leaves(draws), jax.tree.leaves(jax.jit(jax.grad(exact))(mixture)), strict=True):
        each, expected = np.asarray(each), np.asarray(expected)
        if isinstance(mixture.scale, mdn.Triangular) and each.ndim == 4:  # the parameters are the lower triangle
            rows, columns = np.tril_indices(dim)
            each, expected = each[..., rows, columns], expected[..., rows, columns]
        error = each.std(axis=0) / np.sqrt(COUNT)
        assert np.all(error > 0)
        assert np.all(np.abs(each.mean(axis=0) - expected) < 4.5 * error)


def test_rsample_of_one_normal_is_the_plain_reparameterisation():
    mixture = Case("diagonal", 1, 2).mixture()
    key = jax.random.key(4)
    y, slopes = jax.jit(lambda m: (mdn.rsample(key, m), jax.jacrev(lambda m: mdn.rsample(key, m))(m)))(mixture)
    assert_allclose(slopes.locs[:, 0], np.eye(2), atol=1e-12)
    assert_allclose(slopes.scale.log_std[:, 0], np.diag(y - mixture.locs[0]), rtol=1e-10, atol=1e-12)
    assert_allclose(slopes.logits, 0.0, atol=1e-12)


def test_rsample_has_derivatives_of_higher_order():
    mixture = Case("full", 3, 2).mixture()
    first = lambda logits: mdn.rsample(jax.random.key(0), mdn.Mixture(logits, mixture.locs, mixture.scale))[0]  # noqa: E731
    assert np.all(np.isfinite(jax.jit(jax.hessian(first))(mixture.logits)))


def test_rsample_passes_where_nans_raise():
    mixture = Case("full", 3, 2).mixture()
    with jax.debug_nans(True):
        slopes = jax.jit(jax.grad(lambda m: mdn.rsample(jax.random.key(0), m).sum()))(mixture)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(slopes))

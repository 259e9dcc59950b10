"""Every objective reaches what it should: ordinary least squares, its likelihood, or another closed form."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

import mdn_jax as mdn
from mdn_jax.training.objectives import objective_of, row_losses, weighted_mean

LINE = mdn.ModelConfig(num_components=1, hidden_sizes=())  # centre and log std are linear in x
TRAINING = mdn.TrainingConfig(
    num_steps=400, evaluate_every=400, batch_size="full", learning_rate=5e-2, validation_fraction=0.0
)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 2))
Y = 1.0 + X @ [2.0, -1.0] + 0.5 * RNG.normal(size=300)
DESIGN = np.column_stack([np.ones(300), X])


def fit(x=X, y=Y, model=LINE, weights=None, **changes):
    training = TRAINING.model_copy(update=changes)
    return mdn.fit(jax.random.key(0), x, y, model=model, training=training, weights=weights)


def ordinary_least_squares(x_design, y, weights=None):
    root = np.sqrt(np.ones(len(y)) if weights is None else weights)
    coefficients = np.linalg.lstsq(root[:, None] * x_design, root * y, rcond=None)[0]
    squares = np.average((y - x_design @ coefficients) ** 2, weights=root**2)
    return coefficients, np.sqrt(squares)


mean, std = jax.jit(mdn.mean), jax.jit(mdn.std)
mixtures_at = jax.jit(lambda model, xs: jax.vmap(model)(xs))
mixture_at = jax.jit(lambda model, x: model(x))


def mixtures(model, x=X):
    return mixtures_at(model, jnp.asarray(x, jnp.float32))


def test_nll_of_a_line_reaches_ordinary_least_squares():
    done = fit()
    coefficients, std = ordinary_least_squares(DESIGN, Y)
    optimum = stats.norm.entropy(scale=std)  # the likelihood's best with one std; a log std linear in x is a bit better
    nll = mdn.evaluate(done.model, X, Y).nll.mean()
    assert optimum - 3 * stats.chi2.ppf(0.99, 2) / 600 < nll < optimum + 1e-4
    assert_allclose(mixtures(done.model).locs[:, 0, 0], DESIGN @ coefficients, rtol=0, atol=0.1)
    assert done.history["train_loss"].shape == (1,)


def test_squared_error_of_a_line_is_ordinary_least_squares_and_its_std_the_residuals():
    done = fit(objective="squared_error")
    coefficients, std = ordinary_least_squares(DESIGN, Y)
    assert isinstance(done.model.conditional, mdn.ConstantStd)
    predicted = mixtures(done.model)
    assert_allclose(predicted.locs[:, 0, 0], DESIGN @ coefficients, rtol=0, atol=1e-3)
    assert_allclose(np.exp(predicted.scale.log_std[:, 0, 0]), std, rtol=1e-5)
    scores = mdn.evaluate(done.model, X, Y)
    assert scores.nll.mean() == pytest.approx(stats.norm.entropy(scale=std), abs=1e-5)
    assert scores.report(("y",), "train")["train_rmse"]["y"] == pytest.approx(std, rel=1e-5)


def test_weighted_squared_error_is_weighted_least_squares():
    weights = RNG.uniform(size=300) * (X[:, 0] > -0.5)
    done = fit(y=Y + X[:, 0] ** 2, weights=weights, objective="squared_error")
    coefficients, std = ordinary_least_squares(DESIGN, Y + X[:, 0] ** 2, weights)
    predicted = mixtures(done.model)
    assert_allclose(predicted.locs[:, 0, 0], DESIGN @ coefficients, rtol=0, atol=3e-3)
    assert_allclose(np.exp(predicted.scale.log_std[:, 0, 0]), std, rtol=1e-4)


def test_noise_on_inputs_flattens_the_line_and_noise_on_targets_does_not():
    # errors in variables: noise of variance s^2 on standardised inputs divides the slope by 1 + s^2
    x = X[:, :1]
    y = 1.0 + 2.0 * x[:, 0] + 0.1 * RNG.normal(size=300)
    done = fit(
        x, y, objective="squared_error", input_noise=1.0, target_noise=0.2, num_steps=1_000, evaluate_every=1_000
    )
    slope = np.polyfit(x[:, 0], np.asarray(mixtures(done.model, x).locs[:, 0, 0]), 1)[0]
    assert slope == pytest.approx(0.5 * ordinary_least_squares(np.column_stack([np.ones(300), x]), y)[0][1], rel=0.1)


def test_without_inputs_one_component_is_the_sample_mean_and_std():
    done = fit(np.empty((300, 0)), Y)
    mixture = mixture_at(done.model, np.empty(0))
    assert_allclose(mean(mixture), [Y.mean()], rtol=0, atol=2e-3)
    assert_allclose(std(mixture), [Y.std()], rtol=2e-3)
    nll = mdn.evaluate(done.model, np.empty((300, 0)), Y).nll.mean()
    assert nll == pytest.approx(stats.norm.entropy(scale=Y.std()), abs=1e-4)


def test_noise_on_targets_adds_its_variance():
    done = fit(np.empty((300, 0)), Y, target_noise=1.0, num_steps=600, evaluate_every=600)  # twice the variance
    assert_allclose(std(mixture_at(done.model, np.empty(0))), [2**0.5 * Y.std()], rtol=0.05)


@pytest.mark.parametrize("objective", ["crps", "energy_score"])
def test_other_proper_scores_find_the_line_too(objective):
    # energy_score of one target is E|Y - y| - E|Y - Y'| / 2, the CRPS itself
    done = fit(objective=objective, num_samples=4)
    assert_allclose(mixtures(done.model).locs[:, 0, 0], Y.mean() + (X - X.mean(0)) @ [2.0, -1.0], rtol=0, atol=0.3)
    scores = mdn.evaluate(done.model, X, Y)
    best = 0.5 / np.sqrt(np.pi)  # the expected CRPS of N(0, s) against itself is s / sqrt(pi)
    assert scores.crps.mean() == pytest.approx(best, rel=0.1)


@pytest.mark.parametrize(("objective", "covariance"), [("nll", "tied"), ("energy_score", "tied"), ("crps", "diagonal")])
def test_two_targets(objective, covariance):
    noise = RNG.multivariate_normal([0, 0], [[1.0, 0.8], [0.8, 1.0]], 300)
    y = np.column_stack([10.0 * X[:, 0], -X[:, 1]]) + noise * [10.0, 1.0]
    model = mdn.ModelConfig(num_components=1, hidden_sizes=(), covariance=covariance)
    done = fit(y=y, model=model, objective=objective, num_samples=4, num_steps=300, evaluate_every=300)
    spread = np.asarray(jax.jit(jax.vmap(mdn.covariance))(mixtures(done.model))).mean(axis=0)
    assert_allclose(np.sqrt(np.diag(spread)), [10.0, 1.0], rtol=0.25)
    correlation = spread[0, 1] / np.sqrt(spread[0, 0] * spread[1, 1])
    assert correlation == pytest.approx(0.0 if covariance == "diagonal" else 0.8, abs=0.15)


def test_an_objective_gives_a_value_and_a_weight_per_row():
    rows = mdn.Rows(jnp.zeros((4, 1)), jnp.arange(4.0)[:, None], jnp.array([1.0, 0.0, 2.0, 1.0]))

    def network(x, key):
        return mdn.Mixture(jnp.zeros(1), x[None, :], mdn.Isotropic(jnp.zeros(1)))

    network.rows = jax.vmap(network)
    for name, expected in {"nll": -stats.norm.logpdf(np.arange(4)), "squared_error": np.arange(4.0) ** 2}.items():
        of = partial(row_losses, objective_of(name, 16), network)
        values, weights = jax.jit(of)(rows, jax.random.key(0))
        assert_allclose(values, expected, rtol=1e-6, atol=1e-6)
        assert_allclose(weights, rows.weight)
    for name in ("nll", "crps", "energy_score"):  # equal ones share their compiled programs
        assert objective_of(name, 16) == objective_of(name, 16) and hash(objective_of(name, 16))


def test_the_weighted_mean_leaves_out_what_weighs_nothing():
    values, weights = jnp.array([1.0, jnp.nan, 4.0]), jnp.array([2.0, 0.0, 1.0])
    assert weighted_mean(values, weights) == 2.0
    assert weighted_mean(values, jnp.zeros(3)) == 0.0

"""A mixture density network as a scikit-learn regressor; a client of `mdn.start`, `mdn.finish` and `mdn.predict`.

Names are scikit-learn's, and skpro's where scikit-learn has none.
"""

import sys
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, Self

import jax
import numpy as np

from mdn_jax._checks import require
from mdn_jax._typing import ArrayLike, Float
from mdn_jax.config import ModelConfig, TrainingConfig, validate
from mdn_jax.prediction import Asked, answer, draw, predict_distributions, prepare
from mdn_jax.prediction.questions import percent
from mdn_jax.recipe import complete
from mdn_jax.training import TrainingState, advance_to_end, finish, start

try:
    from sklearn.base import BaseEstimator, RegressorMixin
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.model_selection import GroupShuffleSplit
    from sklearn.pipeline import Pipeline
    from sklearn.utils import check_consistent_length, check_random_state
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    raise ImportError("mdn_jax.estimator needs scikit-learn: pip install 'mdn-jax[sklearn]'") from error

__all__ = ["MDNRegressor", "log_likelihood"]

ROWS_PER_CALL = 128  # of any number: a row's answer is the same to the last bit among any others
SOME_DATA = {"path": "X", "targets": ["y"]}  # which every config names
EVALUATE_EVERY = range(50, 201)  # steps, of which the nearest to 100 that divides num_steps is taken


class MDNRegressor(RegressorMixin, BaseEstimator):
    """A mixture density network: predicts the distribution of y, its mean where scikit-learn asks for one number.

    Each parameter that is None is what `mdn.table_recipe` chooses for so many rows; the names are those of the configs.
    Fits of one shape share a compiled program within a process: the folds of a search, and all learning rates.

    Args:
        num_components: Gaussians in the mixture.
        hidden_sizes: units of each hidden layer; () is a linear model.
        covariance: "isotropic", "diagonal", "tied" or "full"; the last two see correlations between targets.
        learning_rate: peak learning rate.
        num_steps: optimizer steps.
        batch_size: rows drawn for each step, or "full".
        weight_decay: decay of the weight matrices.
        input_noise: standard deviation of noise on the standardised inputs.
        target_noise: standard deviation of noise on the standardised targets.
        validation_fraction: share of the rows, or of the groups, that choose the best step.
        ensemble_size: networks trained together, whose answer is one mixture.
        random_state: an int, a `numpy.random.RandomState`, or None: weights, batches and noise.

    Attributes:
        model_: the `mdn.Model`, for whatever this class has no method for; `mdn.save` writes it.
        history_: of the training, as in `mdn.Fit`.
        status_: "ok", "stopped_early", or "diverged" (a `ConvergenceWarning` says so).
        target_shape_: () for y (N,), (D,) for y (N, D).
        n_features_in_: inputs.
        feature_names_in_: their names, of a table whose columns have such.

    Example:
        >>> import numpy as np
        >>> from mdn_jax.estimator import MDNRegressor
        >>> X = np.random.default_rng(0).uniform(-1, 1, (200, 1))
        >>> regressor = MDNRegressor(num_steps=200, ensemble_size=1, random_state=0).fit(X, X[:, 0] ** 2)
        >>> regressor.predict(X[:3]).shape, regressor.predict_quantiles(X[:3]).shape
        ((3,), (3, 3))
        >>> bool(regressor.score(X, X[:, 0] ** 2) > 0.9)
        True
    """

    model_: Any
    n_features_in_: int

    def __init__(
        self, *, num_components: int | None = None, hidden_sizes: Sequence[int] | None = None,
        covariance: str | None = None, learning_rate: float | None = None, num_steps: int | None = None,
        batch_size: int | Literal["full"] | None = None, weight_decay: float | None = None,
        input_noise: float | None = None, target_noise: float | None = None, validation_fraction: float | None = None,
        ensemble_size: int | None = None, random_state: Any = None,
    ) -> None:  # fmt: skip
        self.num_components, self.hidden_sizes, self.covariance = num_components, hidden_sizes, covariance
        self.learning_rate, self.num_steps, self.batch_size = learning_rate, num_steps, batch_size
        self.weight_decay, self.input_noise, self.target_noise = weight_decay, input_noise, target_noise
        self.validation_fraction, self.ensemble_size = validation_fraction, ensemble_size
        self.random_state = random_state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X: Any, y: Any, sample_weight: ArrayLike | None = None, groups: ArrayLike | None = None) -> Self:
        """Train.

        Args:
            X: (N, X) numbers, an array or a frame; put a `ColumnTransformer` before it for columns of another kind.
            y: (N,) or (N, D) targets.
            sample_weight: (N,) how much each row counts; a row of weight 0 is left out.
            groups: (N,) names of groups; the rows that choose the best step are whole groups then.

        Returns:
            Itself.
        """
        told = y
        check_consistent_length(X, y, sample_weight, groups)
        X, y = validate_data(self, X, y, dtype=np.float64, y_numeric=True, multi_output=True, ensure_min_samples=2)
        self.target_shape_, y = y.shape[1:], y.reshape(len(y), -1)
        model, training = self._configs(*X.shape)
        fraction = training.validation_fraction
        if groups is not None:
            training = training.model_copy(update={"validation": "shared", "validation_fraction": 0.0})
        key, names = jax.random.key(_seed(self.random_state)), self._names(told, y.shape[1])
        state = start(key, X, y, model=model, training=training, weights=sample_weight, **names)
        if groups is not None and fraction > 0:
            counts = slice(None) if sample_weight is None else np.asarray(sample_weight) > 0
            state = _hold_groups(state, np.asarray(groups)[counts], fraction)
        fit = finish(advance_to_end(state))
        self.model_, self.history_, self.status_ = fit.model, fit.history, fit.status
        if fit.status == "diverged":
            cure = "lower learning_rate, or look for rows far from all others"
            warnings.warn(f"training diverged: {cure}", ConvergenceWarning, stacklevel=2)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """(N,) or (N, D): the mean of each row's distribution."""
        return self._of_targets(X, ["mean"])[:, 0]

    def predict_quantiles(self, X: Any, alpha: float | Sequence[float] = (0.05, 0.5, 0.95)) -> Any:
        """Quantiles of each target.

        Args:
            X: (N, X).
            alpha: Q shares in (0, 1).

        Returns:
            (N, Q) or (N, Q, D); for a pandas frame one with its index and columns (target, alpha), as skpro's.
        """
        levels = np.atleast_1d(alpha).astype(float).tolist()
        return self._like(X, self._quantiles(X, levels), [(level,) for level in levels])

    def predict_interval(self, X: Any, coverage: float = 0.9) -> Any:
        """The central interval of each target that holds the probability `coverage`.

        Args:
            X: (N, X).
            coverage: in (0, 1).

        Returns:
            (N, 2) or (N, 2, D), lower and upper; for a pandas frame one with its index and columns (target, coverage,
            "lower" or "upper"), as skpro's.
        """
        require(0 < coverage < 1, f"coverage must lie between 0 and 1, both excluded; got {coverage}")
        ends = self._quantiles(X, [(1 - coverage) / 2, (1 + coverage) / 2])
        return self._like(X, ends, [(coverage, "lower"), (coverage, "upper")])

    def predict_distributions(self, X: Any) -> Any:
        """A batch of N distributions of y, to be asked by `jax.vmap` with any function of `mdn`."""
        table = self._table(X)
        return predict_distributions(self.model_, table)

    def log_prob(self, X: Any, y: Any) -> Float[np.ndarray, " N"]:
        """Log-likelihood of each row's target, in nats of y's own units."""
        y = np.asarray(y, np.float64).reshape(-1, len(self._targets))
        return self._asked(X, ["log_prob"], dict(zip(self._targets, y.T, strict=True)))[:, 0]

    def sample(self, X: Any, num_samples: int = 1, random_state: Any = None) -> np.ndarray:
        """(N, S) or (N, S, D): `num_samples` independent draws of each row's target."""
        table, key = self._table(X), jax.random.key(_seed(random_state))
        drawn = draw(prepare(self.model_, table, block=ROWS_PER_CALL), key, num_samples)
        return drawn.select(self._targets).to_numpy().reshape(-1, num_samples, *self.target_shape_)

    def _configs(self, num_rows: int, num_inputs: int) -> tuple[ModelConfig, TrainingConfig]:
        """The settings given here, and the recipe's for the rest."""
        said = {name: value for name, value in self.get_params(deep=False).items() if value is not None}
        said = {name: value.item() if isinstance(value, np.generic) else value for name, value in said.items()}
        sections = {"model": ModelConfig, "training": TrainingConfig}
        own = {part: {n: v for n, v in said.items() if n in of.model_fields} for part, of in sections.items()}
        config = validate({"recipe": "table", "dataset": SOME_DATA, **own}, type(self).__name__)
        config = complete(config, num_rows, num_inputs)
        steps = config.training.num_steps
        whole = [every for every in EVALUATE_EVERY if steps % every == 0]  # a chunk of another length compiles anew
        every = min(whole, key=lambda every: abs(every - 100), default=config.training.evaluate_every)
        return config.model, config.training.model_copy(update={"evaluate_every": every})

    def _names(self, y: Any, num_targets: int) -> dict[str, Any]:
        """The columns' own names where they tell them apart, as `start` takes them."""
        plain = [f"x{i}" for i in range(self.n_features_in_)], [f"y{i}" for i in range(num_targets)]
        inputs = getattr(self, "feature_names_in_", plain[0])
        targets = getattr(y, "columns", [y.name] if getattr(y, "name", None) else plain[1])
        own = [str(name) for name in (*inputs, *targets)]
        own = own if len(set(own)) == len(own) else [*plain[0], *plain[1]]
        return {"input_names": tuple(own[:-num_targets]), "target_names": tuple(own[-num_targets:])}

    @property
    def _targets(self) -> tuple[str, ...]:
        check_is_fitted(self)
        return self.model_.target_names

    def _table(self, X: Any) -> dict[str, np.ndarray]:
        """Rows checked, by the names that the model knows."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=np.float64)
        return dict(zip(self.model_.input_names, X.T, strict=True))

    def _asked(self, X: Any, columns: Sequence[str], y: Any = None, **asked: Any) -> np.ndarray:
        """Columns of the answer as an array."""
        table = self._table(X) | (y or {})
        prepared = prepare(self.model_, table, Asked(columns=columns, **asked), block=ROWS_PER_CALL)
        return answer(prepared).to_numpy()

    def _of_targets(self, X: Any, parts: Sequence[str], **asked: Any) -> np.ndarray:
        """(N, P) or (N, P, D): P parts of the answer for each target."""
        columns = [f"{name}_{part}" for part in parts for name in self._targets]
        return self._asked(X, columns, **asked).reshape(-1, len(parts), *self.target_shape_)

    def _quantiles(self, X: Any, levels: list[float]) -> np.ndarray:
        return self._of_targets(X, [f"q{percent(level)}" for level in levels], quantiles=levels)

    def _like(self, X: Any, values: np.ndarray, parts: Sequence[tuple]) -> Any:
        """A pandas frame where X is one."""
        pandas = sys.modules.get("pandas")  # X is no frame of a library that nobody has imported
        if pandas is None or not isinstance(X, pandas.DataFrame):
            return values
        columns = pandas.MultiIndex.from_tuples([(name, *part) for part in parts for name in self._targets])
        return pandas.DataFrame(values.reshape(len(values), -1), index=X.index, columns=columns)


def log_likelihood(estimator: Any, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> float:
    """The mean log-likelihood of y in nats, a scorer: `GridSearchCV(..., scoring=log_likelihood)`.

    Args:
        estimator: a fitted `MDNRegressor`, or a `Pipeline` that ends in one.
        X: (N, X).
        y: (N,) or (N, D).
        sample_weight: (N,) how much each row counts.

    Example:
        >>> import numpy as np
        >>> from sklearn.model_selection import cross_val_score
        >>> from mdn_jax.estimator import MDNRegressor, log_likelihood
        >>> X = np.random.default_rng(0).uniform(-1, 1, (200, 1))
        >>> regressor = MDNRegressor(num_steps=100, ensemble_size=1)
        >>> cross_val_score(regressor, X, X[:, 0] ** 2, scoring=log_likelihood).shape
        (5,)
    """
    while isinstance(estimator, Pipeline):
        if len(estimator) > 1:
            X = estimator[:-1].transform(X)
        estimator = estimator[-1]
    return float(np.average(estimator.log_prob(X, y), weights=sample_weight))


def _seed(random_state: Any) -> int:
    return check_random_state(random_state).randint(2**31 - 1)


def _hold_groups(state: TrainingState, groups: np.ndarray, fraction: float) -> TrainingState:
    """A state before its first step, with a share of the groups kept to choose the best step."""
    count = len(np.unique(groups))
    require(count > 1, f"groups names {count} group, none of which can be kept apart: set validation_fraction = 0.0")
    splitter = GroupShuffleSplit(1, test_size=fraction, random_state=0)
    parts = next(splitter.split(groups, groups=groups))
    train, held = (jax.tree.map(lambda leaf, rows=rows: leaf[rows], state.data.rows) for rows in parts)
    return replace(state, data=state.data._replace(rows=train, validation=held))

"""Scores of a config by K folds of its table: every row is judged once, by networks that never saw it."""

import os
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from mdn_jax.config import Config
from mdn_jax.data import load_folds
from mdn_jax.judging import Scores
from mdn_jax.judging.findings import evaluate_part
from mdn_jax.recipe import complete
from mdn_jax.runs.configs import CONFIG, absolute, read_config
from mdn_jax.training import fit_prepared, head_of, objective_of, prepare

__all__ = ["cross_validate"]


def cross_validate(config: Config | str | os.PathLike, num_folds: int = 10) -> Scores:
    """Scores of every row of a table, by K trainings of one config that each leave one fold out.

    For tables whose test part is too small to judge by. The folds are shuffled by `dataset.seed`, groups stay whole
    where `dataset.split` is "group", and columns are encoded and units fitted anew for each; `test_path` and
    `calibration_fraction` have no part in it. Folds of one size and one head train in one compiled program; a target
    with bounds or steps has a head of its own in each. For arrays of your own see `fit_splits`, or
    `mdn_jax.estimator` with scikit-learn's `cross_val_score`.

    Args:
        config: of a table: a `Config`, the path of a TOML file, or a run's folder.
        num_folds: K; as many as there are rows leaves out one at a time.

    Returns:
        `Scores` of all rows in the order of the file, but for those that were dropped for missing values;
        `.report(target_names)` sums them up. Its standard errors take rows for independent, which they are not quite.

    Raises:
        InputError: for a config without a table or with an ordered split, a number of folds that cannot be, a kind
            of the target or all rows that weigh something in one fold alone (take fewer folds, or leave such rows out),
            or what a run would refuse.

    Example:
        >>> import numpy as np, tempfile, mdn_jax as mdn
        >>> x, file = np.linspace(-1, 1, 60), tempfile.mkdtemp() + "/table.csv"
        >>> np.savetxt(file, np.column_stack([x, x**2]), delimiter=",", header="x,y", comments="")
        >>> dataset = mdn.DatasetConfig(path=file, inputs=("x",), targets=("y",))
        >>> training = mdn.TrainingConfig(num_steps=4, evaluate_every=2)
        >>> scores = mdn.cross_validate(mdn.Config(dataset=dataset, training=training), num_folds=3)
        >>> scores.nll.shape, sorted(scores.report(["y"]))[:3]
        ((60,), ['coverage_90', 'live_components', 'measure'])
    """
    if not isinstance(config, Config):
        path = Path(config).expanduser()
        config, _ = read_config(path / CONFIG if path.is_dir() else path)
    config = absolute(Path(), config)
    folds = load_folds(config.dataset, num_folds)
    config = complete(config, len(folds[0].train), len(folds[0].input_names))
    model, training = config.model, config.training
    objective = objective_of(training.objective, training.num_samples)
    # without names and encodings, which would tell the programs of two folds apart
    own = {"input_names": (), "encoding": None, "head_of": lambda counts: head_of(model, objective, counts)}
    prepared = [prepare(**fold.for_training | own, validation_fraction=0.0) for fold in folds]
    keys = jax.vmap(lambda fold: jax.random.fold_in(jax.random.key(config.seed), fold))(jnp.arange(num_folds))
    fits = fit_prepared(keys, prepared, model, training)
    each = [evaluate_part(fit.model, fold.test) for fit, fold in zip(fits, folds, strict=True)]
    order = np.argsort(np.concatenate([fold.test.place for fold in folds]))  # pyright: ignore
    columns = {name: [getattr(scores, name) for scores in each] for name in vars(each[0]) if name != "classes"}
    whole = {name: np.concatenate(own)[order] for name, own in columns.items() if own[0] is not None}
    return replace(each[0], **whole)

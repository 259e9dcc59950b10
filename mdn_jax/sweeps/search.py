"""The members of a sweep: all of them at once for grid and random, round by round for tpe.

Optuna's sampler is asked in memory. A round's questions depend on the config's seed, the round's number and the rows
of the rounds before it alone, so a sweep that goes on after a kill asks the same again.

References:
    J. Bergstra, R. Bardenet, Y. Bengio and B. Kegl, "Algorithms for hyper-parameter optimization", 2011 (tpe).
    S. Watanabe, A. Bansal and F. Hutter, "PED-ANOVA: efficiently quantifying hyperparameter importance in arbitrary
    subspaces", 2023.
"""

import json
import math
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mdn_jax._checks import InputError
from mdn_jax.sweeps.space import SEEDS, Axis, Settings, Space, member_config, settings_of

__all__ = ["Members", "Row", "export_study", "importance", "is_finished"]

Row = dict[str, Any]


def is_finished(row: Row) -> bool:
    """True where a member trained to an end that can be compared with others."""
    return row["status"] in ("ok", "stopped_early") and math.isfinite(row["val_nll"])


class Members:
    """Settings and configs of a sweep's members, by number."""

    def __init__(self, space: Space) -> None:
        self.space = space
        self._settings: dict[int, Settings] = {}
        if space.search.sampler != "tpe":
            self._settings = {member: settings_of(space, member) for member in range(space.num_members)}
        self.configs = {member: member_config(space, settings) for member, settings in self._settings.items()}

    def __getitem__(self, member: int) -> Settings:
        return self._settings[member]

    def open(self, rows: Mapping[int, Row]) -> list[int]:
        """Members known so far that have no row yet; for tpe those of the first round that is not complete."""
        if self.space.search.sampler == "tpe":
            self._ask(rows)
        return [member for member in self._settings if member not in rows]

    def _ask(self, rows: Mapping[int, Row]) -> None:
        size, total = self.space.search.ask_batch, self.space.num_members
        for first in range(0, total, size):
            members = range(first, min(first + size, total))
            missing = [member for member in members if member not in self._settings]
            if missing:
                known = all(member in rows for member in members)
                asked = [_settings_of_row(self.space, rows[m]) for m in members] if known else self._round(first, rows)
                self._settings |= dict(zip(members, asked, strict=True))
                self.configs |= {member: member_config(self.space, self._settings[member]) for member in missing}
            if any(member not in rows for member in members):
                return

    def _round(self, first: int, rows: Mapping[int, Row]) -> list[Settings]:
        """The settings that Optuna proposes after all rounds before member `first`."""
        optuna = _optuna()
        search = self.space.search
        number = first // search.ask_batch
        seed = (self.space.base.seed * 1_000_003 + number) % 2**32
        sampler = optuna.samplers.TPESampler(
            seed=seed, multivariate=True, constant_liar=True, n_startup_trials=search.ask_batch
        )
        study = optuna.create_study(sampler=sampler)
        study.add_trials([_trial(self.space, row) for member, row in sorted(rows.items()) if member < first])
        count = min(search.ask_batch, self.space.num_members - first)
        trials = [study.ask(_distributions(self.space)) for _ in range(count)]
        return [{axis.name: _decode(axis, trial.params[axis.name]) for axis in self.space.axes} for trial in trials]


def importance(space: Space, rows: Mapping[int, Row]) -> dict[str, float]:
    """Each axis's share in what sets the best quarter of the members apart; empty where too few have finished."""
    optuna = _optuna()
    axes = [axis for axis in space.axes if axis.name not in SEEDS]
    finished = [row for row in rows.values() if is_finished(row)]
    if len(axes) < 2 or len(finished) < 8:
        return {}
    study = optuna.create_study()
    study.add_trials([_trial(space, row) for row in finished])
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=0.25)
    shares = optuna.importance.get_param_importances(study, evaluator=evaluator, params=[axis.name for axis in axes])
    return {name: float(share) for name, share in shares.items()}


def export_study(space: Space, rows: Mapping[int, Row], target: str, name: str) -> None:
    """All members as an Optuna study, in a journal file or at a database's URL, for optuna-dashboard.

    Raises:
        InputError: where Optuna cannot write there.
    """
    optuna = _optuna()
    trials = [_trial(space, row) for _, row in sorted(rows.items())]
    if "://" in target:
        try:
            study = optuna.create_study(storage=target, study_name=name)
            study.add_trials(trials)
        except optuna.exceptions.DuplicatedStudyError:
            raise InputError(f"{target} has a study named {name!r} already: delete it, or export elsewhere") from None
        except Exception as error:  # the database's driver raises errors of its own
            raise InputError(f"cannot export to {target}: {str(error).splitlines()[0]}") from None
        return
    path = Path(target)
    beside = path.with_name(f".{path.name}.{os.getpid()}.new")
    path.parent.mkdir(parents=True, exist_ok=True)
    backend = optuna.storages.journal.JournalFileBackend(str(beside.resolve()))
    try:
        study = optuna.create_study(storage=optuna.storages.JournalStorage(backend), study_name=name)
        study.add_trials(trials)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _optuna() -> Any:
    import optuna  # noqa: PLC0415  (loaded where a search or an export needs it)

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    return optuna


def _distributions(space: Space) -> dict[str, Any]:
    return {axis.name: _distribution(axis) for axis in space.axes}


def _distribution(axis: Axis) -> Any:
    distributions = _optuna().distributions
    if not axis.is_range:
        return distributions.CategoricalDistribution([_encode(value) for value in axis.values])
    if axis.whole:
        return distributions.IntDistribution(int(axis.low), int(axis.high), log=axis.log)
    return distributions.FloatDistribution(axis.low, axis.high, log=axis.log)


def _encode(value: Any) -> Any:
    """A value that Optuna can hold: lists become text."""
    return json.dumps(value) if isinstance(value, tuple | list) else value


def _decode(axis: Axis, value: Any) -> Any:
    return value if axis.is_range else next(own for own in axis.values if _encode(own) == value)


def _settings_of_row(space: Space, row: Row) -> Settings:
    """A row's settings as they were before JSON made lists of tuples."""
    return {axis.name: _decode(axis, _encode(row["settings"][axis.name])) for axis in space.axes}


def _trial(space: Space, row: Row) -> Any:
    """A finished member as one of Optuna's trials: diverged ones failed, halved ones were pruned."""
    optuna = _optuna()
    states, finished = optuna.trial.TrialState, is_finished(row)
    pruned = row["status"] == "halved" and math.isfinite(row["val_nll"])
    return optuna.trial.create_trial(
        state=states.COMPLETE if finished else states.PRUNED if pruned else states.FAIL,
        value=row["val_nll"] if finished else None,
        params={axis.name: _encode(row["settings"][axis.name]) for axis in space.axes},
        distributions=_distributions(space),
        user_attrs={"member": row["member"], "status": row["status"], "test_nll": row["test_nll"]},
        intermediate_values={row["steps"]: row["val_nll"]} if pruned else {},
    )

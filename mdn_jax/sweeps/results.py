"""The results of a sweep: table, best members, figures, and members as models or run folders of their own."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from mdn_jax._checks import require
from mdn_jax._typing import PyTree
from mdn_jax.config import Config
from mdn_jax.judging import evaluate_part
from mdn_jax.models import Model, ensemble, stack
from mdn_jax.runs import Outcome, oracle_scores, with_checksums, write_run
from mdn_jax.storage import BATCHES, Trained, read_member, read_trained, save, write_text
from mdn_jax.sweeps.search import Row, export_study, importance, is_finished
from mdn_jax.sweeps.space import Space, member_config
from mdn_jax.sweeps.training import Source
from mdn_jax.training import Fit, own_code

__all__ = ["Group", "SweepResult", "columns_of", "export_member", "publish", "ranked", "write_ensemble"]

TABLE, BEST, FIGURES, STUDY = "results.csv", "best", "figures", "study.journal"
MEASURES = ("val_nll", "test_nll", "status", "steps", "best_step", "num_parameters", "seconds")


@dataclass(frozen=True, eq=False)
class Group:
    """Members whose models have one structure.

    Attributes:
        members: (M,) their numbers.
        models: a model whose leaves lead with M.
    """

    members: np.ndarray
    models: PyTree


@dataclass(frozen=True, eq=False)
class SweepResult:
    """The result of `mdn.sweep`.

    Attributes:
        axes: names of the fields that were varied.
        rows: member -> its row, plain values.
        trained: member -> its row, model and history.
    """

    axes: tuple[str, ...]
    rows: dict[int, Row]
    trained: dict[int, Trained]

    @cached_property
    def table(self) -> Any:
        """A polars DataFrame with one row per member: every axis, `val_nll`, `test_nll`, `status`, ..."""
        import polars as pl  # noqa: PLC0415  (loaded where a table is asked for)

        columns = columns_of(self.axes, self.rows)
        return pl.DataFrame({name: list(column) for name, column in columns.items()}, strict=False)

    @cached_property
    def groups(self) -> list[Group]:
        """One stacked pytree of models for each structure among the members."""
        groups: dict[Any, list[int]] = {}
        for member, one in sorted(self.trained.items()):
            shapes = [np.shape(leaf) for leaf in jax.tree.leaves(one.model)]
            groups.setdefault((jax.tree.structure(one.model), *shapes), []).append(member)
        return [Group(np.array(own), stack([self.trained[member].model for member in own])) for own in groups.values()]

    @property
    def best(self) -> int:
        """Number of the member with the lowest `val_nll`.

        Raises:
            InputError: where no member finished.
        """
        order = ranked(self.rows)
        require(len(order) > 0, "no member of this sweep has finished without diverging")
        return order[0]

    def model(self, member: int) -> Model:
        """The model of one member.

        Raises:
            InputError: for a number that no member has.
        """
        require(member in self.trained, f"no member {member}: numbers are 0 to {max(self.trained)}")
        return self.trained[member].model


def ranked(rows: Mapping[int, Row]) -> list[int]:
    """Members that finished, best validation NLL first."""
    return sorted((member for member in rows if is_finished(rows[member])), key=lambda m: (rows[m]["val_nll"], m))


def columns_of(axes: Sequence[str], rows: Mapping[int, Row]) -> dict[str, list[Any]]:
    """The table's columns in order of members; a list becomes text: `10x10`."""
    ordered = [rows[member] for member in sorted(rows)]
    columns = {"member": [row["member"] for row in ordered]}
    columns |= {axis: [_cell(row["settings"][axis]) for row in ordered] for axis in axes}
    return columns | {name: [_cell(row[name]) for row in ordered] for name in MEASURES}


def publish(space: Space, folder: Path, rows: dict[int, Row], source: Source) -> None:
    """Write the table, `best/`, the figures and the Optuna export of a finished sweep."""
    axes = [axis.name for axis in space.axes]
    columns = columns_of(axes, rows)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([list(columns), *zip(*columns.values(), strict=True)])
    order = ranked(rows)
    if order:
        export_member(space, folder, order[0], folder / BEST, source)
    draw(space, folder, rows, source)
    export_study(space, rows, str(folder / STUDY), folder.name)
    write_text(folder / TABLE, text.getvalue())


def draw(space: Space, folder: Path, rows: dict[int, Row], source: Source) -> None:
    """The sweep's figures as PNG files."""
    from mdn_jax.plotting import sweep_figures  # noqa: PLC0415  (matplotlib is loaded where figures are drawn)

    axes = [axis.name for axis in space.axes]
    table = {name: np.array(column, object) for name, column in columns_of(axes, rows).items()}
    (folder / FIGURES).mkdir(exist_ok=True)
    figures = sweep_figures(table, axes, oracle=_oracle(space, axes, source), importance=importance(space, rows))
    for name, figure in figures.items():
        figure.savefig(folder / FIGURES / f"{name}.png", dpi=150)


def export_member(space: Space, folder: Path, member: int, out: Path, source: Source) -> dict[str, Any]:
    """One member as an ordinary run folder; returns its metrics.

    Raises:
        InputError: for a member that is not there.
    """
    trained = read_member(folder / BATCHES, member, partial(code_of, space))
    row, config = trained.row, with_checksums(config_of(space, trained.row))
    # "halved" is how a sweep ends a member; of a run it is stopped early
    status = "stopped_early" if row["status"] == "halved" else row["status"]
    fit = Fit(trained.model, trained.history, status, (status,) * len(row["best_step"]), np.array(row["best_step"]))
    outcome = Outcome(fit, row["val_nll"], row["num_train"], row["num_validation"], 0.0, row["seconds"], row["steps"])
    return write_run(out, config, source.dataset(config), outcome)


def write_ensemble(space: Space, folder: Path, rows: dict[int, Row], size: int, out: Path, source: Source) -> dict:
    """The best `size` members on the best one's data as one model, saved with its scores; returns these.

    Raises:
        InputError: where fewer members finished.
    """
    order = ranked(rows)
    require(len(order) > 0, f"{folder}: no member has finished without diverging")
    config = config_of(space, rows[order[0]])
    # others' training rows may be this one's test rows
    same = [member for member in order if config_of(space, rows[member]).dataset == config.dataset]
    require(len(same) >= size, f"{folder}: an ensemble of {size} asks for more than the {len(same)} finished members")
    model = ensemble([read_member(folder / BATCHES, member, partial(code_of, space)).model for member in same[:size]])
    dataset = source.dataset(config)
    scores = evaluate_part(model, dataset.test)
    metrics = {"members": same[:size], **scores.report(dataset.target_names), **oracle_scores(dataset, scores)}
    out.mkdir(parents=True, exist_ok=True)
    save(out / "model", model)
    write_text(out / "metrics.json", json.dumps(metrics, indent=2) + "\n")
    return metrics


def result_of(space: Space, folder: Path, rows: dict[int, Row]) -> SweepResult:
    """Everything a sweep's folder holds, in memory."""
    return SweepResult(
        tuple(axis.name for axis in space.axes), rows, read_trained(folder / BATCHES, partial(code_of, space))
    )


def config_of(space: Space, row: Row) -> Config:
    """The config of a member that has a row."""
    return member_config(space, row["settings"])


def code_of(space: Space, row: Row) -> dict[str, Any]:
    """The network and head of a member that are not ours."""
    return own_code(config_of(space, row).model)


def _cell(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return "x".join(map(str, value)) if value else "none"
    return value


def _oracle(space: Space, axes: Sequence[str], source: Source) -> float | None:
    """The exact density's NLL on the test rows, where all members share them and it is known."""
    if any(axis.startswith("dataset.") and axis != "dataset.seed" for axis in axes):
        return None
    dataset = source.dataset(space.base)
    if dataset.log_density is None:
        return None
    exact = -float(dataset.log_density(dataset.test.x, dataset.test.y).mean())
    return exact if math.isfinite(exact) else None

"""Kinds of experiments: each judges, draws and tells a run in its own way; `Dataset.kind` names it."""

from collections.abc import Mapping
from typing import Any, Protocol, Self

import numpy as np

from mdn_jax._checks import nearest, require
from mdn_jax.config import Config
from mdn_jax.data import Dataset
from mdn_jax.models import Model
from mdn_jax.runs.regression import Regression
from mdn_jax.runs.strokes import Strokes

__all__ = ["KINDS", "Judgement", "kind_of"]


class Judgement(Protocol):
    """A model judged on the test rows of its dataset."""

    @classmethod
    def of(cls, config: Config, dataset: Dataset, model: Model, statuses: tuple[str, ...]) -> Self:
        """Judge a model whose networks ended so."""
        ...

    def metrics(self) -> dict[str, Any]:
        """Plain values for metrics.json: `test_nll` with its standard error, and `warnings`, among others."""
        ...

    def figures(self, history: Mapping[str, np.ndarray], metrics: Mapping[str, Any]) -> dict[str, Any]:
        """File stem -> figure."""
        ...

    def report(self, name: str, metrics: Mapping[str, Any], figures: Mapping[str, bytes], toml: str) -> str:
        """The run on one page, as HTML."""
        ...


KINDS: dict[str, Any] = {"regression": Regression, "strokes": Strokes}


def kind_of(dataset: Dataset) -> type[Judgement]:
    """The kind of experiment that a dataset asks for.

    Raises:
        InputError: for a kind that there is not.
    """
    require(dataset.kind in KINDS, f"Dataset.kind: no kind {dataset.kind!r}: {nearest(dataset.kind, KINDS)}")
    return KINDS[dataset.kind]

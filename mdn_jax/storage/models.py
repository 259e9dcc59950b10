"""A model to a folder and back."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from mdn_jax._checks import InputError, require
from mdn_jax.models import Ensemble, Model
from mdn_jax.storage.files import DESCRIPTION, read_tree, write_tree
from mdn_jax.storage.record import BATCHES, read_member
from mdn_jax.storage.structure import build, describe, kept_with

__all__ = ["load", "save"]


def save(path: str | os.PathLike, model: Model | Ensemble) -> None:
    """Write a model to a folder, replacing a model that was there.

    Args:
        path: the folder.
        model: from `fit`, `ensemble` or `load`. Around a network of your own (`Functional`) only its parameters are
            kept: `load` needs `like`.

    Raises:
        InputError: where `path` holds something that is not a saved model.

    Example:
        >>> import jax, numpy as np, tempfile, mdn_jax as mdn
        >>> x = np.linspace(-1, 1, 64)[:, None]
        >>> fit = mdn.fit(jax.random.key(0), x, x**2, training=mdn.TrainingConfig(num_steps=2, evaluate_every=1))
        >>> folder = tempfile.mkdtemp() + "/model"
        >>> mdn.save(folder, fit.model)
        >>> bool((mdn.load(folder)(x[0]).locs == fit.model(x[0]).locs).all())
        True
    """
    write_tree(Path(path), {"model": describe(model)}, model)


def load(
    path: str | os.PathLike, *, like: Model | Ensemble | None = None, member: int | None = None
) -> Model | Ensemble:
    """Read a model that `save` wrote. Loading never executes code from the folder.

    Args:
        path: the folder, or a run's folder that holds it as `model/`.
        like: a model of the same structure, for a network of your own; its arrays, encoding and calibration are
            replaced.
        member: of a sweep's folder, the number of the member.

    Returns:
        The model.

    Raises:
        InputError: for a missing, damaged or newer folder, or a structure that differs from `like`.

    Example:
        >>> import mdn_jax as mdn
        >>> mdn.load("no/such/folder")
        Traceback (most recent call last):
        mdn_jax._checks.InputError: no/such/folder: no saved model there (model.toml is missing)
    """
    folder = Path(path)
    if member is not None:
        require((folder / BATCHES).is_dir(), f"{folder}: no sweep there ({BATCHES}/ is missing)")
        return read_member(folder / BATCHES, member).model
    if not (folder / DESCRIPTION).exists() and (folder / "model" / DESCRIPTION).exists():
        folder = folder / "model"

    def template(description: dict[str, Any]) -> Model | Ensemble:
        try:
            if like is not None:
                return replace(like, **kept_with(description["model"]))
            return build(description["model"])
        except InputError:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{folder}: {DESCRIPTION} does not describe a model ({error})") from None

    return read_tree(folder, template)[1]

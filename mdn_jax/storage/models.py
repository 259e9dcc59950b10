"""A model to a folder and back."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from mdn_jax._checks import InputError, require
from mdn_jax.models import Model
from mdn_jax.storage.files import DESCRIPTION, read_tree, write_tree
from mdn_jax.storage.record import BATCHES, read_member
from mdn_jax.storage.structure import build, describe
from mdn_jax.training import TrainingState

__all__ = ["load", "load_state", "save", "save_state"]


def save(path: str | os.PathLike, model: Model) -> None:
    """Write a model to a folder, replacing a model that was there.

    Args:
        path: the folder.
        model: from `fit`, `ensemble` or `load`. Of a network or head of your own its parameters and options are kept,
            never its code: `load` is given that.

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
    path: str | os.PathLike, network: Any = None, head: Callable | None = None, *, member: int | None = None
) -> Model:
    """Read a model that `save` wrote. Loading never executes code from the folder.

    Args:
        path: the folder, or a run's folder that holds it as `model/`.
        network: of a network that is not ours the function that built it, or `Functional(params, apply)` with
            parameters of the same structure.
        head: of a head that is not ours its class.
        member: of a sweep's folder, the number of the member.

    Returns:
        The model.

    Raises:
        InputError: for a missing, damaged or newer folder, a network or head that is needed (it is named), or one of
            another structure.

    Example:
        >>> import mdn_jax as mdn
        >>> mdn.load("no/such/folder")
        Traceback (most recent call last):
        mdn_jax._checks.InputError: no/such/folder: no saved model there (model.toml is missing)
    """
    folder = Path(path)
    if member is not None:
        require((folder / BATCHES).is_dir(), f"{folder}: no sweep there ({BATCHES}/ is missing)")
        return read_member(folder / BATCHES, member, lambda row: {"network": network, "head": head}).model
    best = folder / "best"
    require(not best.is_dir(), f"{folder} is a sweep: give {best}, or a member's or an ensemble's folder")
    if not (folder / DESCRIPTION).exists() and (folder / "model" / DESCRIPTION).exists():
        folder = folder / "model"

    def template(description: dict[str, Any]) -> Model:
        try:
            return build(description["model"], network, head)
        except InputError:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{folder}: {DESCRIPTION} does not describe a model ({error})") from None

    return read_tree(folder, template)[1]


def save_state(path: str | os.PathLike, state: TrainingState) -> None:
    """Write the state of a training to a folder, between two `advance`s.

    Args:
        path: the folder; what was saved there before is replaced.
        state: from `start` or `advance`.

    Raises:
        InputError: where `path` holds something else.

    Example:
        >>> import jax, numpy as np, tempfile, mdn_jax as mdn
        >>> x = np.linspace(-1, 1, 64)[:, None]
        >>> mdn.save_state(tempfile.mkdtemp() + "/state", mdn.start(jax.random.key(0), x, x**2))
    """
    write_tree(Path(path), {"step": state.step}, state.lanes)


def load_state(path: str | os.PathLike, state: TrainingState) -> TrainingState:
    """Read a state that `save_state` wrote: training goes on as if it had not stopped, to the last bit on one machine.

    Args:
        path: the folder.
        state: from `start` with the same arguments, which the folder does not hold: data, configs and code.

    Returns:
        The state as it was saved.

    Raises:
        InputError: for a folder that is missing or damaged, or holds the state of another training.

    Example:
        >>> import jax, numpy as np, tempfile, mdn_jax as mdn
        >>> x, training = np.linspace(-1, 1, 64)[:, None], mdn.TrainingConfig(num_steps=4, evaluate_every=2)
        >>> begin = lambda: mdn.start(jax.random.key(0), x, x**2, training=training)
        >>> state, _ = mdn.advance(begin())
        >>> folder = tempfile.mkdtemp() + "/state"
        >>> mdn.save_state(folder, state)
        >>> mdn.load_state(folder, begin()).step
        2
    """
    return replace(state, lanes=read_tree(Path(path), lambda _: state.lanes, state=True)[1])

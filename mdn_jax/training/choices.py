"""The head and the network that a config chooses."""

import inspect
import itertools
import json
from collections.abc import Sequence
from typing import Any

from mdn_jax._checks import require
from mdn_jax._seams import check_options, check_signature, find
from mdn_jax.config import ModelConfig
from mdn_jax.heads import HEADS, CategoricalSpec, Head, IndependentSpec, MixtureSpec, ProductSpec, Support
from mdn_jax.networks import NETWORKS, Architecture
from mdn_jax.training.objectives import Objective

__all__ = ["architecture_of", "check_objective", "head_of", "own_code"]

Counted = int | Support | None  # kinds of a target, the bounds of a number, or neither
MIXTURE, WIDTHS = ("num_components", "covariance", "min_std"), ("hidden_sizes", "activation")  # fields of [model]
PARTS = ("target_dim", "num_outputs", "unpack", "initial_bias", "units")  # of every head


def head_of(model: ModelConfig, objective: Objective, num_classes: Sequence[Counted]) -> Head:
    """The head of a config.

    Args:
        model: its `[model]`.
        objective: one that sees the mean alone takes a bare mean.
        num_classes: of each target how many kinds it names, None for a number, or a `Support`. Neighbouring numbers
            share one distribution, every other target has its own.

    Raises:
        InputError: for settings that do not fit the targets, or that the head does not know.
    """
    require(
        not objective.sees_mean_alone or model.num_components == 1,
        f"objective squared_error trains one mean: set num_components = 1, not {model.num_components}",
    )
    if model.head not in HEADS:
        head = _own_head(model, num_classes)
    else:
        require(
            not model.head_options, f"model.head_options: the head {model.head!r} has none; got {model.head_options}"
        )
        _refuse_idle(model, ("covariance",) if model.head == "independent" else (), "under independent targets")
        require(
            model.head != "categorical" or None not in num_classes,
            'model.head = "categorical" needs targets that name kinds: add them to dataset.categorical',
        )
        if any(isinstance(one, Support) for one in num_classes) and None not in num_classes:
            _refuse_idle(model, ("covariance",), "under targets with a support, each of which stands alone")
        blocks = []
        for plain, block in itertools.groupby(num_classes, key=lambda count: count is None):
            counts = list(block)
            blocks += (
                [_of_numbers(model, objective, len(counts))]
                if plain
                else [_of(one, model, objective) for one in counts]
            )
        head = blocks[0] if len(blocks) == 1 else ProductSpec(tuple(blocks))
    check_objective(objective, head)
    return head


def _of(told: int | Support | None, model: ModelConfig, objective: Objective) -> Head:
    """The head of one target of kinds, or of one with a support."""
    if isinstance(told, Support):
        mean_alone = "objective squared_error trains a mean without a density: drop dataset.support and dataset.atoms"
        require(not objective.sees_mean_alone, mean_alone)
        return told.head(model.num_components, model.min_std)
    return CategoricalSpec(int(told or 0))


def _of_numbers(model: ModelConfig, objective: Objective, count: int) -> Head:
    if model.head == "independent":
        return IndependentSpec(model.num_components, count, model.min_std)
    covariance = "unit" if objective.sees_mean_alone else model.covariance
    return MixtureSpec(model.num_components, count, covariance, model.min_std)


def _own_head(model: ModelConfig, num_classes: Sequence[Counted]) -> Head:
    """A head of one's own, given what it takes of the targets and of `[model]`."""
    make: Any = find(model.head, HEADS, "model.head")
    told = {"target_dim": len(num_classes), "num_classes": tuple(num_classes)}
    told |= {name: getattr(model, name) for name in MIXTURE}
    known = inspect.signature(make).parameters
    _refuse_idle(model, [name for name in told if name not in known and name in MIXTURE], f"in {model.head}")
    check_options(make, model.head_options, [name for name in told if name in known], "model.head_options")
    head = make(**{name: value for name, value in told.items() if name in known}, **model.head_options)
    lacking = [name for name in PARTS if not hasattr(head, name)]
    require(
        not lacking, f"model.head = {model.head}: a head has {', '.join(PARTS)}; this one lacks {', '.join(lacking)}"
    )
    return head


def check_objective(objective: Objective, head: Head) -> None:
    """Refuse an objective that cannot train what a head makes."""
    count = getattr(head, "num_components", 1)
    require(
        not objective.sees_mean_alone or count == 1,
        f"objective squared_error trains one mean: give a spec of 1 component, not {count}",
    )
    covariance = getattr(head, "covariance", None)
    require(
        objective.sees_correlation or head.target_dim == 1 or covariance not in ("tied", "full"),
        f"objective crps cannot see the correlations of a {covariance} covariance: use energy_score",
    )


def architecture_of(model: ModelConfig, input_shape: tuple[int, ...]) -> Architecture:
    """The architecture of a config's network.

    Raises:
        InputError: for a build function that is not there, takes other arguments, or does not know an option.
    """
    build = find(model.network, NETWORKS, "model.network")
    check_signature(build, ("key", "x", "num_outputs"), "model.network")
    known = inspect.signature(build).parameters
    _refuse_idle(model, [name for name in WIDTHS if name not in known], f"in {model.network}")
    told = {name: getattr(model, name) for name in WIDTHS if name in known}
    check_options(
        build, model.network_options, ("key", "x", "num_outputs", "spec", "index", *told), "model.network_options"
    )
    name = model.network if isinstance(model.network, str) else build.__qualname__
    return Architecture(name, build, json.dumps(told | model.network_options.plain(), sort_keys=True), input_shape)


def own_code(model: ModelConfig) -> dict[str, Any]:
    """The network and the head of a config that are not ours, as `load` takes them."""
    network = None if model.network in NETWORKS else find(model.network, NETWORKS, "model.network")
    return {"network": network, "head": None if model.head in HEADS else find(model.head, HEADS, "model.head")}


def _refuse_idle(model: ModelConfig, names: Sequence[str], where: str) -> None:
    """Refuse settings that nobody takes, where they differ from their defaults."""
    for name in names:
        value = getattr(model, name)
        unset = value == type(model).model_fields[name].default
        require(unset, f"model.{name} = {value!r} has no use {where}: leave it out")

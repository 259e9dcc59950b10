"""The structure of a model as plain values: enough to rebuild it as shapes, and never code."""

import json
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mdn_jax._checks import require
from mdn_jax.encoding import Encoding
from mdn_jax.heads import HEADS
from mdn_jax.models import Calibration, Conditional, ConstantStd, Merger, Model, Standardizer
from mdn_jax.networks import NETWORKS, Architecture

__all__ = ["build", "describe"]


def describe(value: Any) -> dict[str, Any]:
    """The structure of a model or of what it is made of."""
    if isinstance(value, Model):
        columns: dict[str, Any] = {
            "kind": "model",
            "input_dim": -1 if value.inputs is None else len(value.inputs.shift),
            "target_dim": len(value.targets.shift),
            "input_names": list(value.input_names),
            "target_names": list(value.target_names),
            "conditional": describe(value.conditional),
        }
        if value.encoding is not None:
            columns["encoding"] = value.encoding.to_dict()
        if value.calibration is not None:
            columns["num_calibration"] = len(value.calibration.joint)
            columns["calibration_weighted"] = value.calibration.weight is not None
        return columns
    if isinstance(value, Merger):
        return {"kind": "merger", "models": [describe(model) for model in value.models]}
    if isinstance(value, ConstantStd):
        return {"kind": "constant_std", "conditional": describe(value.conditional)}
    require(isinstance(value, Conditional), f"cannot save {type(value).__name__}: a model holds an mdn.Conditional")
    described: dict[str, Any] = {"kind": "conditional", "head": _describe_head(value.head)}
    if value.architecture is not None:
        made = value.architecture
        described["network"] = {
            "name": made.name,
            "options": json.loads(made.options),
            "input_shape": list(made.input_shape),
        }
    return described | {"has_offset": value.offset is not None}


def _describe_head(head: Any) -> dict[str, Any]:
    """A head by its class and fields, and the heads in it likewise."""
    require(is_dataclass(head), f"cannot save a head of type {type(head).__name__}: make it a frozen dataclass")
    names = {cls: name for name, cls in HEADS.items()}
    values = {f.name: getattr(head, f.name) for f in fields(head)}
    for name, value in values.items():
        if isinstance(value, tuple):
            values[name] = [_describe_head(one) if is_dataclass(one) else one for one in value]
    return {"name": names.get(type(head), type(head).__qualname__), "fields": values}


def build(described: dict[str, Any], network: Any = None, head: Callable | None = None) -> Any:
    """A structure whose arrays are shapes only, to be filled from the archive.

    Args:
        described: by `describe`.
        network: the build function of a network that is not ours, or a network of the same structure.
        head: the class of a head that is not ours.

    Raises:
        InputError: for a network or head that is needed and not given.
    """
    kind = described["kind"]
    if kind == "model":
        return Model(
            build(described["conditional"], network, head),
            inputs=None if described["input_dim"] < 0 else _units(described["input_dim"]),
            targets=_units(described["target_dim"]),
            input_names=tuple(described["input_names"]),
            target_names=tuple(described["target_names"]),
            encoding=Encoding.from_dict(described["encoding"]) if "encoding" in described else None,
            calibration=_masses(described),
        )
    if kind == "merger":
        return Merger(tuple(build(one, network, head) for one in described["models"]))
    if kind == "constant_std":
        conditional = build(described["conditional"], network, head)
        return ConstantStd(conditional, _shape(conditional.head.target_dim))  # pyright: ignore
    require(kind == "conditional", f"unknown kind of model {kind!r}")
    made = _build_head(described["head"], head)
    offset: Any = _shape(made.num_outputs) if described["has_offset"] else None
    if "network" not in described:
        require(
            network is not None and not isinstance(network, type),
            "this model holds a network of your own: give load(path, network=mdn.Functional(params, apply)), params of "
            "the same structure",
        )
        return Conditional(network, offset, made)  # pyright: ignore[reportArgumentType]
    plain = described["network"]
    own = NETWORKS.get(plain["name"], network)
    require(
        own is not None,
        f"this model's network is built by {plain['name']}: give that function, load(path, network=...)",
    )
    options = json.dumps(plain["options"], sort_keys=True)
    architecture = Architecture(plain["name"], own, options, tuple(plain["input_shape"]))  # pyright: ignore
    x = jnp.zeros(architecture.input_shape)
    shapes = jax.eval_shape(lambda key: architecture(key, x, made), jax.random.key(0))
    return Conditional(shapes, offset, made, architecture)


def _build_head(described: dict[str, Any], own: Callable | None) -> Any:
    name = described["name"]
    make = HEADS.get(name, own)
    require(make is not None, f"this model's head is {name}: give that class, load(path, head={name})")
    values = {
        name: tuple(_build_head(one, own) if isinstance(one, dict) and "fields" in one else one for one in value)
        if isinstance(value, list)
        else value
        for name, value in described["fields"].items()
    }
    return make(**values)  # pyright: ignore[reportOptionalCall]


def _shape(size: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((size,), float)


def _units(size: int) -> Standardizer:
    return Standardizer(_on_host(size), _on_host(size))


def _masses(described: dict[str, Any]) -> Calibration | None:
    count, size = described.get("num_calibration"), described["target_dim"]
    if count is None:
        return None
    weight = _on_host(count) if described.get("calibration_weighted") else None
    return Calibration(_on_host(count, size), _on_host(count, size), _on_host(count), weight)


def _on_host(*shape: int) -> np.ndarray:
    """The shape of what stays in float64 on the host."""
    return np.broadcast_to(np.float64(0), shape)

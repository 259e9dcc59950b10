"""What a model is made of, as plain values: enough to rebuild it as shapes, and never code."""

from dataclasses import asdict
from typing import Any

import jax
import numpy as np

from mdn_jax._checks import InputError, require
from mdn_jax.encoding import Encoding
from mdn_jax.heads import MixtureSpec
from mdn_jax.models import Calibration, ConstantStd, Ensemble, Functional, Model, Standardizer
from mdn_jax.networks import MDN

__all__ = ["build", "describe", "kept_with"]


def describe(value: Any) -> dict[str, Any]:
    """The structure of a model or network as plain values."""
    if isinstance(value, Ensemble):
        return _columns(value) | {"kind": "ensemble", "members": [describe(model) for model in value.models]}
    if isinstance(value, Model):
        return _columns(value) | {"kind": "model", "network": describe(value.network)}
    if isinstance(value, ConstantStd):
        return {"kind": "constant_std", "network": describe(value.network)}
    if isinstance(value, Functional):
        return {"kind": "functional", "spec": asdict(value.spec)}
    if isinstance(value, MDN):
        return {
            "kind": "mdn",
            "input_dim": value.input_dim,
            "hidden_sizes": list(value.hidden_sizes),
            "activation": value.mlp.activation,
            "spec": asdict(value.spec),
        }
    raise InputError(f"cannot save a network of type {type(value).__name__}: wrap it as mdn.Functional")


def _columns(model: Model | Ensemble) -> dict[str, Any]:
    columns: dict[str, Any] = {
        "input_dim": -1 if model.inputs is None else len(model.inputs.shift),
        "target_dim": len(model.targets.shift),
        "input_names": list(model.input_names),
        "target_names": list(model.target_names),
    }
    if model.encoding is not None:
        columns["encoding"] = model.encoding.to_dict()
    if model.calibration is not None:
        columns["num_calibration"] = len(model.calibration.joint)
    return columns


def build(description: dict[str, Any]) -> Any:
    """A structure whose arrays are shapes only, to be filled from the archive."""
    kind = description["kind"]
    if kind == "mdn":
        spec = MixtureSpec(**description["spec"])
        sizes = tuple(description["hidden_sizes"])
        return jax.eval_shape(
            lambda key: MDN(description["input_dim"], sizes, spec, description["activation"], key=key),
            jax.random.key(0),
        )
    if kind == "constant_std":
        network = build(description["network"])
        return ConstantStd(network, jax.ShapeDtypeStruct((network.spec.target_dim,), float))  # pyright: ignore
    require(
        kind != "functional",
        "this model holds a network of your own: give load(path, like=a_model_of_the_same_structure)",
    )
    require(kind in ("model", "ensemble"), f"unknown kind of model {kind!r}")
    columns = {
        "inputs": None if description["input_dim"] < 0 else _units(description["input_dim"]),
        "targets": _units(description["target_dim"]),
        "input_names": tuple(description["input_names"]),
        "target_names": tuple(description["target_names"]),
        **kept_with(description),
    }
    if kind == "model":
        return Model(build(description["network"]), **columns)
    return Ensemble(tuple(build(member) for member in description["members"]), **columns)


def kept_with(description: dict[str, Any]) -> dict[str, Any]:
    """What a model carries beside its networks: the encoding, and the shape of the calibration."""
    return {
        "encoding": Encoding.from_dict(description["encoding"]) if "encoding" in description else None,
        "calibration": _masses(description.get("num_calibration"), description["target_dim"]),
    }


def _units(size: int) -> Standardizer:
    return Standardizer(_on_host(size), _on_host(size))


def _masses(count: int | None, size: int) -> Calibration | None:
    if count is None:
        return None
    return Calibration(_on_host(count, size), _on_host(count, size), _on_host(count))


def _on_host(*shape: int) -> np.ndarray:
    """The shape of what stays in float64 on the host."""
    return np.broadcast_to(np.float64(0), shape)

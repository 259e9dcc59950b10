"""The cost of a run, found out by a chunk of its training."""

import time
from typing import Any

import jax

from mdn_jax.config import Config
from mdn_jax.data import Dataset
from mdn_jax.data import load as load_dataset
from mdn_jax.runs.configs import resolve
from mdn_jax.runs.kinds import kind_of
from mdn_jax.training import advance, compile_chunk, start

__all__ = ["plan"]


def plan(config: Config, *, dataset: Dataset | None = None) -> dict[str, Any]:
    """Start a run, compile and take the first chunk of its training, and write nothing.

    Args:
        config: what would be run.
        dataset: what the config's data are, where they were read already (from `resolve`).

    Returns:
        `train_rows` (validation rows included), `test_rows`, `calibration_rows`, `num_inputs`, `num_targets`,
        `num_networks`, `num_parameters` of one of them, `bytes` of the rows and of all that changes in training,
        `compile_seconds` as this process found it, and `train_seconds` of the whole training at the pace of its first
        chunk, without what comes after it.

    Raises:
        InputError: for what `run` would refuse.
    """
    config, read = resolve(config)
    dataset = dataset or read or load_dataset(config.dataset)
    kind_of(dataset)
    began = time.perf_counter()
    state = start(jax.random.key(config.seed), **dataset.for_training, model=config.model, training=config.training)
    compile_chunk(state, min(config.training.evaluate_every, config.training.num_steps))
    compiled = time.perf_counter() - began
    state, _ = advance(state)
    seconds = time.perf_counter() - began - compiled
    networks = state.lanes.step.shape[0]
    return {
        "train_rows": len(dataset.train),
        "test_rows": len(dataset.test),
        "calibration_rows": 0 if dataset.calibration is None else len(dataset.calibration),
        "num_inputs": len(dataset.input_names),
        "num_targets": len(dataset.target_names),
        "num_networks": networks,
        "num_parameters": sum(leaf.size for leaf in jax.tree.leaves(state.lanes.network)) // networks,
        "bytes": sum(leaf.nbytes for leaf in jax.tree.leaves((state.data.rows, state.data.validation, state.lanes))),
        "compile_seconds": compiled,
        "train_seconds": seconds / state.step * config.training.num_steps,
    }

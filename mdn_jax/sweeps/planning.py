"""Batches of a sweep's members: what still has to train, cut by program and by what a device holds."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from mdn_jax._checks import require
from mdn_jax.config import Config
from mdn_jax.devices import memory_for_lanes, num_devices, runs_in_turn
from mdn_jax.sweeps.search import Members
from mdn_jax.sweeps.space import by_program
from mdn_jax.sweeps.training import Source, Work
from mdn_jax.training import head_of, objective_of

__all__ = ["COMPILING", "Program", "Shard", "next_works", "programs"]

MOST_IN_TURN, MOST_AT_ONCE = 128, 16_384  # members of a batch on CPU, so that the record grows steadily, and elsewhere
SECONDS_OF_A_BATCH = 240.0  # what a lost machine of a cluster may cost
# seconds of a training step on one core of an AMD EPYC, 2026-11-22: a fit to seven shapes, each met within a fifth;
# steps have become cheaper since: 24 units with 24 components take 4.7e-5 on 2026-11-23, where this says 8.1e-5
STEP, PER_WEIGHT, PER_NUMBER = 1.2e-5, 1.3e-10, 6.5e-10
COMPILING = 6.0  # seconds of one core for each program, of the 80 of mixture_count on that machine, 2026-11-23


@dataclass(frozen=True)
class Shard:
    """One of `count` processes that share a sweep, each with its own members."""

    number: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """`"2/8"` as a shard."""
        number, _, count = text.partition("/")
        fits = number.isdigit() and count.isdigit() and 1 <= int(number) <= int(count)
        require(fits, f"--shard takes I/N with I from 1 to N, for example 1/4; got {text!r}")
        return cls(int(number), int(count))

    def __str__(self) -> str:
        return f"{self.number}-of-{self.count}"


@dataclass(frozen=True)
class Program:
    """Members of one compiled program."""

    config: Config  # of one of them
    members: tuple[int, ...]
    bytes_each: float  # memory that one of them takes
    seconds_each: float  # rough time that one of them trains on one core


def programs(configs: Mapping[int, Config], source: Source) -> list[Program]:
    """Members by the program that they share, in order of appearance."""
    return [_program(configs[members[0]], tuple(members), source) for members in by_program(configs)]


def _program(config: Config, members: tuple[int, ...], source: Source) -> Program:
    rows, training, model = source.rows(config).rows, config.training, config.model
    num_rows = len(rows.y)
    objective = objective_of(training.objective, training.num_samples)
    num_outputs = head_of(model, objective, source.rows(config).num_classes).num_outputs
    hidden = model.hidden_sizes if rows.x.shape[1] else ()
    widths = [rows.x.shape[1], *hidden, num_outputs]
    weights = sum((fan_in + 1) * fan_out for fan_in, fan_out in pairwise(widths))
    batch = num_rows if training.batch_size == "full" else training.batch_size
    numbers = sum(hidden) + 6 * num_outputs  # activations of one row, and what the loss makes of its outputs
    history = 4 * training.num_evaluations
    # a network, the best one, and the optimizer's two of the same size; all of them again for a chunk's result, and
    # gradients and updates; each row keeps its activations for the gradient
    floats = 10 * weights + 2 * history + 3 * batch * numbers
    seconds = STEP + batch * (PER_WEIGHT * weights + PER_NUMBER * numbers)
    return Program(
        config, members, 4.0 * training.ensemble_size * floats, training.ensemble_size * training.num_steps * seconds
    )


def next_works(members: Members, rows: Mapping[int, dict], shard: Shard, source: Source) -> list[Work]:
    """Batches of the members that have no row yet and can train now; none where this process is through."""
    space = members.space
    missing = set(members.open(rows))
    if space.search.halving:
        return _cohorts(members, missing, shard)
    todo = [(p, [m for m in p.members if m in missing]) for p in programs(members.configs, source)]
    if shard.count > 1:
        order = [member for program, _ in todo for member in program.members]
        own = set(order[(shard.number - 1) * len(order) // shard.count : shard.number * len(order) // shard.count])
        todo = [(program, [member for member in left if member in own]) for program, left in todo]
    works = []
    for program, left in todo:
        count = -(-len(left) // most_at_once(program))
        slots = -(-len(left) // max(count, 1))
        if space.search.sampler == "tpe":  # every round finds the programs of the ones before
            slots = _room(slots, space.search.ask_batch)
        works += [_work(members, part.tolist(), slots) for part in np.array_split(left, count)] if left else []
    return works


def most_at_once(program: Program) -> int:
    """Members of one batch: as many as fit the devices, and train in a few minutes where they follow one another."""
    most = memory_for_lanes() / program.bytes_each
    if runs_in_turn():
        most = min(most, MOST_IN_TURN, num_devices() * SECONDS_OF_A_BATCH / program.seconds_each)
    whole = max(num_devices(), int(min(most, MOST_AT_ONCE)))
    return whole - whole % num_devices()


def _cohorts(members: Members, missing: set[int], shard: Shard) -> list[Work]:
    """Rivals train together, whatever their shapes; a cohort of which one member is missing trains anew."""
    size, total = members.space.search.ask_batch, members.space.num_members
    works = []
    for number, first in enumerate(range(0, total, size)):
        cohort = [member for member in range(first, min(first + size, total)) if member in members.configs]
        if number % shard.count == shard.number - 1 and missing & set(cohort):
            works.append(_work(members, cohort, _room(len(cohort), size), halving=True))
    return works


def _room(count: int, most: int) -> int:
    """Slots for a number of members that changes from batch to batch."""
    return most if runs_in_turn() else 2 ** math.ceil(math.log2(max(count, 1)))


def _work(members: Members, own: Sequence[int], slots: int, *, halving: bool = False) -> Work:
    return Work(tuple(own), tuple(members[m] for m in own), tuple(members.configs[m] for m in own), slots, halving)

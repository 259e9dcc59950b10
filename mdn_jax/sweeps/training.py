"""One batch of members, trained side by side: as few compiled programs as there are shapes among them.

A batch is cut into slices, one or more for each program. Members of a slice sit in slots, dealt over the devices in
turn; slots that are left over hold a copy that rests. A slice that does not fit the device is cut in two and goes on.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import jax
import jax.numpy as jnp
import numpy as np

from mdn_jax._checks import require
from mdn_jax._compiling import jit
from mdn_jax._typing import Float
from mdn_jax.config import Config, DatasetConfig
from mdn_jax.data import Dataset
from mdn_jax.devices import map_lanes, num_devices, place_lanes, runs_in_turn
from mdn_jax.judging import chunk_nll
from mdn_jax.models import Model, Rows, in_nats, num_parameters, row_chunks, stack, standard_rows
from mdn_jax.storage import Batch, Trained
from mdn_jax.sweeps.space import Settings, by_program, program_of
from mdn_jax.training import (
    Data,
    Fit,
    TrainingState,
    advance,
    architecture_of,
    compile_chunk,
    finish_runs,
    head_of,
    objective_of,
    prepare,
    start_runs,
    stop,
)

__all__ = [
    "RUNGS", "Slice", "Source", "Work", "begin", "build", "collect", "conclude", "done_share", "halve",
    "target_step", "train_chunk", "train_work", "warm_up",
]  # fmt: skip

RUNGS = (1 / 8, 1 / 4, 1 / 2)  # shares of the steps at which the worse half rests
SCORES_AT_ONCE = 2**24  # log-densities held at a time while members are judged side by side
JUDGED_IN_TURN = 16  # members judged by one call where they run in turn


@dataclass(frozen=True)
class Work:
    """Members that train together, by number: the axes' values and the whole config of each."""

    members: tuple[int, ...]
    settings: tuple[Settings, ...]
    configs: tuple[Config, ...]
    slots: int  # the least places in each slice, where members of several batches share a compiled program
    halving: bool = False  # whether poor members stop early


@dataclass(frozen=True, eq=False)
class Slice:
    """Members of one program, in slots."""

    config: Config  # of one of them; for all but seed and rates, of all
    members: np.ndarray  # (S,) their numbers, -1 for a slot that is not used
    state: TrainingState  # each slot with `ensemble_size` networks
    source: "Source"  # where its data come from
    seconds: float = 0.0  # spent on training so far
    compile_seconds: float = 0.0
    halved: bool = False  # whether its members were stopped by halving

    @property
    def size(self) -> int:
        """Networks of each member."""
        return self.config.training.ensemble_size

    @property
    def used(self) -> np.ndarray:
        """Slots that hold a member."""
        return np.flatnonzero(self.members >= 0)


@dataclass
class Source:
    """Data by their config, loaded once and held once per device."""

    load: Callable[[DatasetConfig], Dataset]
    datasets: dict[str, Dataset] = field(default_factory=dict)
    prepared: dict[str, Data] = field(default_factory=dict)
    tests: dict[str, Rows] = field(default_factory=dict)

    def dataset(self, config: Config) -> Dataset:
        """Training and test rows as given."""
        key = config.dataset.model_dump_json()
        if key not in self.datasets:
            self.datasets[key] = self.load(config.dataset)
        return self.datasets[key]

    def rows(self, config: Config) -> Data:
        """Training and validation rows in standard units, on the device."""
        fraction = config.training.validation_fraction
        # heads of other kinds learn in other units
        key = f"{config.dataset.model_dump_json()} {fraction} {config.model.head} {config.model.covariance}"
        if key not in self.prepared:
            objective = objective_of(config.training.objective, config.training.num_samples)
            self.prepared[key] = prepare(
                **self.dataset(config).for_training,
                validation_fraction=fraction,
                head_of=lambda counts: head_of(config.model, objective, counts),
            )
        return self.prepared[key]

    def check(self, config: Config) -> None:
        """Refuse what cannot be trained, before anything is written.

        Raises:
            InputError: for data, a validation fraction or an objective that will not do.
        """
        data, training = self.rows(config), config.training
        require(
            training.validation == "shared",
            'training.validation = "own" leaves no rows that judge all members alike: '
            'add training.validation = "shared"',
        )
        require(
            data.validation is not None,
            f"training.validation_fraction = {training.validation_fraction} keeps none of {len(data.rows.y)} rows, and "
            "a sweep chooses its best by the validation rows: raise it",
        )
        head_of(config.model, objective_of(training.objective, training.num_samples), data.num_classes)
        architecture_of(config.model, data.rows.x.shape[1:])

    def test(self, config: Config) -> Rows:
        """Test rows in standard units, on the host: they go to the devices chunk by chunk."""
        key = f"{config.dataset.model_dump_json()} {config.training.validation_fraction}"
        if key not in self.tests:
            test = self.dataset(config).test
            self.tests[key] = standard_rows(
                self.rows(config), test.x, test.y, weights=test.weight, observed=test.observed
            )
        return self.tests[key]


def begin(work: Work, source: Source) -> list[Slice]:
    """The slices of a batch before their first step."""
    configs = dict(zip(work.members, work.configs, strict=True))
    return [build(configs, _deal(members, work.slots), source) for members in by_program(configs)]


def build(configs: Mapping[int, Config], members: np.ndarray, source: Source) -> Slice:
    """A slice of members in given slots, -1 for none, before its first step."""
    began = time.perf_counter()
    used = members >= 0
    own = [configs[int(member)] for member in np.where(used, members, members[used][-1])]
    config = own[0]
    seeds = {one.seed: np.asarray(jax.random.key_data(jax.random.key(one.seed))) for one in own}
    keys = jax.random.wrap_key_data(jnp.asarray(np.stack([seeds[one.seed] for one in own])))
    state = start_runs(source.rows(config), config.model, [one.training for one in own], keys)
    state = stop(state, np.repeat(~used, config.training.ensemble_size))
    jax.block_until_ready(state.lanes)
    return Slice(config, members, state, source, compile_seconds=time.perf_counter() - began)


def warm_up(part: Slice) -> Slice:
    """Compile all that a slice will run, before its turn."""
    began = time.perf_counter()
    state, config = part.state, part.config.training
    try:
        for num_steps in {min(config.evaluate_every, config.num_steps), config.num_steps % config.evaluate_every} - {0}:
            compile_chunk(state, num_steps)
        _nll(part, finish_runs(_take(state, np.arange(part.size)), 1), np.zeros(1, bool))
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):  # training cuts it in two
            raise
    return replace(part, compile_seconds=part.compile_seconds + time.perf_counter() - began)


def train_work(work: Work, slices: list[Slice], stage: int = 0) -> Iterator[tuple[int, list[Slice]]]:
    """All of a batch's training from `stage` on: the stage and the slices after every chunk and every halving."""
    shares = (*RUNGS, 1.0) if work.halving else (1.0,)
    for number in range(stage, len(shares)):
        place = 0
        while place < len(slices):
            part = slices[place]
            if part.state.done or part.state.step >= target_step(part, shares[number]):
                place += 1
                continue
            slices = [*slices[:place], *train_chunk(part), *slices[place + 1 :]]
            yield number, slices
        if number + 1 < len(shares):
            slices = halve(slices)
            yield number + 1, slices


def done_share(work: Work, slices: Sequence[Slice]) -> float:
    """The share of a batch's steps that is done."""
    done = sum(len(part.used) * min(part.state.step / part.config.training.num_steps, 1.0) for part in slices)
    return done / len(work.members)


def collect(work: Work, slices: Sequence[Slice]) -> tuple[Batch, list[tuple[str, dict[str, float]]]]:
    """A trained batch as it goes to the record, and what each slice cost: (program, members and seconds)."""
    settings, costs = dict(zip(work.members, work.settings, strict=True)), []
    for part in slices:
        compiling = 0.0 if part.halved else part.compile_seconds
        cost = {"members": len(part.used), "compile_seconds": compiling, "train_seconds": part.seconds}
        costs.append((program_of(part.config), cost))
    return Batch.of([one for part in slices for one in conclude(part, settings)]), costs


def target_step(part: Slice, share: float) -> int:
    """Steps of a share of the whole training, rounded up to whole chunks."""
    config = part.config.training
    return min(config.num_steps, math.ceil(share * config.num_steps / config.evaluate_every) * config.evaluate_every)


def train_chunk(part: Slice) -> list[Slice]:
    """One chunk of a slice's training; where the device has no room for it, two slices as they were."""
    began = time.perf_counter()
    try:
        state, _ = advance(part.state)
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error) or len(part.used) == 1:
            raise
        half = len(part.used) // 2
        return [_select(part, part.used[:half], half), _select(part, part.used[half:], len(part.used) - half)]
    return [replace(part, state=state, seconds=part.seconds + time.perf_counter() - began)]


def halve(slices: Sequence[Slice]) -> list[Slice]:
    """The slices after the worse half of their members was put to rest, in slices of their own.

    Members compare by the mean of their networks' best validation losses, on the same data only.
    """
    rivals: dict[str, list[tuple[float, int]]] = {}
    for part in slices:
        if not part.halved:
            losses = np.asarray(part.state.lanes.best_loss, np.float64).reshape(-1, part.size).mean(axis=1)
            losses += in_nats(0.0, part.state.data.targets)
            ranking = rivals.setdefault(part.config.dataset.model_dump_json(), [])
            ranking.extend((losses[slot], int(part.members[slot])) for slot in part.used)
    worse = [member for ranking in rivals.values() for _, member in sorted(ranking)[(len(ranking) + 1) // 2 :]]
    halved = []
    for part in slices:
        # who has diverged or lost patience has ended by itself
        running = part.state.running.reshape(-1, part.size).any(axis=1)
        leave = np.flatnonzero(np.isin(part.members, worse) & (part.members >= 0) & running)
        stay = np.setdiff1d(part.used, leave)
        if part.halved or len(leave) == 0:
            halved.append(part)
            continue
        share = len(leave) / len(part.used)
        resting = _select(part, leave, 0)
        halved.append(replace(resting, state=stop(resting.state), halved=True, seconds=share * part.seconds))
        if len(stay):
            # where members run in turn resting ones cost nothing, and the program stays the same
            slots = len(part.members) if runs_in_turn() else 2 ** math.ceil(math.log2(len(stay)))
            halved.append(replace(_select(part, stay, slots), seconds=(1 - share) * part.seconds))
    return halved


def conclude(part: Slice, settings: Mapping[int, Settings]) -> list[Trained]:
    """Finish each member, judged on the validation and the test rows."""
    began = time.perf_counter()
    used, size = part.used, part.size
    networks = (used[:, None] * size + np.arange(size)).ravel()
    state = _take(part.state, networks)
    fits = finish_runs(state, len(used))
    val_nll, test_nll = _nll(part, fits, np.ones(len(fits), bool))
    steps = np.asarray(state.lanes.step).reshape(-1, size).max(axis=1)
    seconds = (part.seconds + time.perf_counter() - began) / len(used)
    trained = []
    for place, (slot, fit) in enumerate(zip(used, fits, strict=True)):
        member = int(part.members[slot])
        row = {
            "member": member,
            "settings": settings[member],
            "val_nll": val_nll[place],
            "test_nll": test_nll[place],
            "status": "halved" if part.halved and fit.status == "stopped_early" else fit.status,
            "steps": int(steps[place]),
            "best_step": fit.best_step.tolist(),
            "num_parameters": num_parameters(fit.model),
            "num_train": int(state.data.rows.weight.shape[0]),
            "num_validation": int(state.data.validation.weight.shape[0]),  # pyright: ignore[reportOptionalMemberAccess]
            "seconds": seconds,
        }
        trained.append(Trained(row, fit.model, fit.history))
    return trained


def _deal(members: Sequence[int], slots: int) -> np.ndarray:
    """Members dealt over the devices in turn, -1 in the slots left over."""
    devices = num_devices()
    slots = max(len(members), slots)
    if slots <= devices:
        return np.array([*members, *[-1] * (slots - len(members))])
    each = -(-slots // devices)
    dealt = np.full(each * devices, -1)
    dealt[: len(members)] = members
    return dealt.reshape(each, devices).T.ravel()


def _select(part: Slice, slots: np.ndarray, room: int) -> Slice:
    """Some of a slice's members, dealt anew over at least `room` slots."""
    order = _deal(slots.tolist(), room)
    filled = np.where(order >= 0, order, slots[-1])
    networks = (filled[:, None] * part.size + np.arange(part.size)).ravel()
    state = stop(_take(part.state, networks), np.repeat(order < 0, part.size))
    return replace(part, members=np.where(order >= 0, part.members[filled], -1), state=state)


def _take(state: TrainingState, networks: np.ndarray) -> TrainingState:
    """A state of some of the networks, gathered on the host, where no shape needs a program of its own."""
    keys = np.asarray(jax.random.key_data(state.lanes.key))[networks]
    rest = jax.tree.map(lambda leaf: np.asarray(leaf)[networks], state.lanes._replace(key=None))
    return replace(state, lanes=rest._replace(key=jax.random.wrap_key_data(jnp.asarray(keys))))


def _nll(part: Slice, fits: Sequence[Fit], wanted: np.ndarray) -> tuple[list[float], list[float]]:
    """Mean validation and test NLL of each fit, nats of the original y."""
    judged, means = (part.state.data.validation, part.source.test(part.config)), []
    for rows in judged:
        assert rows is not None  # `Source.check` has seen to it
        count = len(rows.weight)
        # where members run in turn a few slots serve slices of every size, so that one program does
        most = JUDGED_IN_TURN if runs_in_turn() else min(len(part.members), max(1, SCORES_AT_ONCE // rows.weight.size))
        column = []
        for first in range(0, len(fits), most):
            models = [fit.model for fit in fits[first : first + most]]
            active = np.resize(wanted[first : first + most], most) & (np.arange(most) < len(models))
            models += models[-1:] * (most - len(models))
            members = (jnp.asarray(active), stack(models))
            parts = [np.asarray(_nll_of_members(*place_lanes(chunk, members))) for chunk in row_chunks(rows)]
            values = np.concatenate(parts, axis=1)[active, :count]
            nats = [in_nats(row, part.state.data.targets, rows.observed) for row in values]
            column += [float(np.average(row, weights=rows.weight)) for row in nats]
        means.append(column)
    return means[0], means[1]


@jit
def _nll_of_members(rows: Rows, members: tuple[jax.Array, Model]) -> Float[jax.Array, "M R *T"]:
    """-log p of a chunk of rows for each member that is active, zeros for the others; members are (active, model)."""

    def one(rows: Rows, member: tuple) -> jax.Array:
        return jax.lax.cond(member[0], lambda: chunk_nll(member[1], rows), lambda: jnp.zeros_like(rows.weight))

    return map_lanes(one, rows, members)

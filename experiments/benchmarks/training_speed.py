"""How many training steps per second? Against an eager PyTorch loop, and a jitted JAX step in a Python loop.

All train the same network (1-24-72: 24 tanh units, 24 components) on the same 2,500 rows of `inverse_sinusoid` with
the same loss and Adam. A mini-batch is 128 random rows, drawn anew for each step; a full batch is all rows. Compiling
is not counted.

    ours      mdn.start, mdn.advance: as every user gets it. It also decays the learning rate, checks each step for
              non-finite numbers, and evaluates 278 validation rows every 100 steps; the others do none of that
    jax       the step that one writes first: value_and_grad, optax.adam, one jax.jit, called from a Python loop
    pytorch   the loop that one writes first: zero_grad, backward, step; with 1 and with 2 threads, the faster counts

COMMAND: python experiments/benchmarks/training_speed.py
TIME:    two to four minutes
DEVICE:  CPU
RESULT (2026-11-23, AMD EPYC, 2 cores; 9 repeats):
    batch 128:  16,700 steps/s; 12.0 times PyTorch (1 thread, the faster; 10 asked), 2.4 times the jitted step in a loop
                (1.5 asked)
    full batch: 1,680 steps/s; 2.5 times PyTorch (2 threads, the faster; 3.5 asked), 3.6 times with 1 thread, 1.3 times
                the jitted step in a loop. Half of the step are its three matrix products
"""

import math
import statistics
from collections.abc import Callable, Iterator

import harness
import jax
import jax.numpy as jnp
import numpy as np
import optax

import mdn_jax as mdn
from mdn_jax.data import PROBLEMS

HIDDEN, COMPONENTS = 24, 24
NUM_ROWS, NUM_VALIDATION = 2_500, 278  # the validation share of 2,778 rows is a tenth
RUNS = {"batch 128": (128, 1_000), f"full batch of {NUM_ROWS:,}": (None, 200)}  # name: (batch size, steps)
ASKED = {"batch 128": {"pytorch": 10.0, "jax": 1.5}, f"full batch of {NUM_ROWS:,}": {"pytorch": 3.5}}
RATE = 1e-3
HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)

Case = Callable[[], object]


def data() -> tuple[np.ndarray, np.ndarray]:
    return PROBLEMS["inverse_sinusoid"].draw(np.random.default_rng(0), NUM_ROWS + NUM_VALIDATION)


def standard_rows() -> tuple[np.ndarray, np.ndarray]:
    """The rows that the others train on, standardised."""
    x, y = (((a - a.mean()) / a.std()).astype(np.float32)[:NUM_ROWS] for a in data())
    return x, y


def begun(batch_size: int | None, steps: int, networks: int = 1) -> mdn.TrainingState:
    """`networks` of them before their first step."""
    training = mdn.TrainingConfig(
        batch_size=batch_size or "full", num_steps=steps, learning_rate=RATE, ensemble_size=networks
    )
    model = mdn.ModelConfig(num_components=COMPONENTS, hidden_sizes=(HIDDEN,), activation="tanh")
    return mdn.start(jax.random.key(0), *data(), model=model, training=training)


def ours(batch_size: int | None, steps: int, networks: int = 1) -> Case:
    first = begun(batch_size, steps, networks)

    def run() -> object:
        state = first
        while not state.done:
            state, _ = mdn.advance(state)
        return state.lanes

    return run


def jax_loop(batch_size: int | None, steps: int) -> Case:
    x, y = map(jnp.asarray, standard_rows())
    first, second = jax.random.split(jax.random.key(0))
    parameters = {
        "hidden": jax.random.normal(first, (1, HIDDEN)),
        "hidden_bias": jnp.zeros(HIDDEN),
        "out": jax.random.normal(second, (HIDDEN, 3 * COMPONENTS)) / math.sqrt(HIDDEN),
        "out_bias": jnp.zeros(3 * COMPONENTS),
    }
    optimizer = optax.adam(RATE)

    def loss(parameters: dict, x: jax.Array, y: jax.Array) -> jax.Array:
        hidden = jnp.tanh(x @ parameters["hidden"] + parameters["hidden_bias"])
        logits, locs, log_std = jnp.split(hidden @ parameters["out"] + parameters["out_bias"], 3, axis=-1)
        log_normal = -0.5 * ((y - locs) * jnp.exp(-log_std)) ** 2 - log_std - HALF_LOG_2PI
        return -jnp.mean(jax.nn.logsumexp(jax.nn.log_softmax(logits) + log_normal, axis=-1))

    @jax.jit
    def step(parameters: dict, state: optax.OptState, key: jax.Array) -> tuple:
        key, draw = jax.random.split(key)
        batch = (x, y)
        if batch_size is not None:
            indices = jax.random.randint(draw, (batch_size,), 0, NUM_ROWS)
            batch = (x[indices], y[indices])
        value, gradient = jax.value_and_grad(loss)(parameters, *batch)
        updates, state = optimizer.update(gradient, state, parameters)
        return optax.apply_updates(parameters, updates), state, key, value

    def run() -> object:
        carry = (parameters, optimizer.init(parameters), jax.random.key(1))
        for _ in range(steps):
            *carry, value = step(*carry)
        return carry, value

    return run


def pytorch_loop(batch_size: int | None, steps: int, threads: int) -> Case:
    import torch  # noqa: PLC0415  (optional)

    x, y = map(torch.from_numpy, standard_rows())

    def loss(raw: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        logits, locs, log_std = raw.split(COMPONENTS, dim=-1)
        log_normal = -0.5 * ((y - locs) * torch.exp(-log_std)) ** 2 - log_std - HALF_LOG_2PI
        return -torch.logsumexp(torch.log_softmax(logits, dim=-1) + log_normal, dim=-1).mean()

    def run() -> object:
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        network = torch.nn.Sequential(
            torch.nn.Linear(1, HIDDEN), torch.nn.Tanh(), torch.nn.Linear(HIDDEN, 3 * COMPONENTS)
        )
        optimizer = torch.optim.Adam(network.parameters(), RATE)
        for _ in range(steps):
            batch = (x, y)
            if batch_size is not None:
                indices = torch.randint(0, NUM_ROWS, (batch_size,))
                batch = (x[indices], y[indices])
            optimizer.zero_grad()
            value = loss(network(batch[0]), batch[1])
            value.backward()
            optimizer.step()
        return value.item()

    return run


def competitors(batch_size: int | None, steps: int) -> Iterator[tuple[str, Case]]:
    yield "jax", jax_loop(batch_size, steps)
    if harness.installed("torch"):
        for threads in (1, 2):
            name = f"pytorch, {threads} thread" + "s" * (threads > 1)
            yield name, pytorch_loop(batch_size, steps, threads)


def fastest(times: harness.Times, kind: str) -> str | None:
    """The fastest case of a kind, by its median."""
    cases = [name for name in times if name.startswith(kind)]
    return min(cases, key=lambda name: statistics.median(times[name])) if cases else None


def main() -> None:
    options = harness.arguments(__doc__, repeats=9).parse_args()
    report = harness.Report("Training speed")
    if not harness.installed("torch"):
        report.skip("PyTorch", "install a CPU build of PyTorch")
    results = {}
    for name, (batch_size, steps) in RUNS.items():
        cases = {"ours": ours(batch_size, steps), **dict(competitors(batch_size, steps))}
        results[name] = harness.measure(cases, options.repeats)
        rows = [
            [case, f"{steps / statistics.median(times):,.0f}", str(harness.speedup(results[name], "ours", case))]
            for case, times in results[name].items()
        ]
        report.table(name, ["", "steps per second", "ours is faster by"], rows)
    for name, asked in ASKED.items():
        for kind, bound in asked.items():
            case = fastest(results[name], kind)
            if case is not None:
                report.at_least(f"ours against {case}, {name}", bound, harness.speedup(results[name], "ours", case))
    report.save(options.json)


if __name__ == "__main__":
    main()

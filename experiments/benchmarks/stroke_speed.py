"""How many points of pen strokes does training see per second? Against the loop that one writes first in PyTorch.

Both train one LSTM layer of 256 units under a full-covariance mixture of 20 and the pen, by Adam, on mini-batches of 32
sequences of 128 points, drawn anew for each step. Compiling is not counted.

    ours      mdn.start, mdn.advance: as every user gets it. It also decays the learning rate, checks each step for
              non-finite numbers, and evaluates validation rows at the end of a chunk; the other does none of that
    pytorch   eager: nn.LSTM, a linear layer, a mixture written by hand, zero_grad, backward, step; with 1 and with 2
              threads, the faster counts

COMMAND: python experiments/benchmarks/stroke_speed.py
TIME:    two to four minutes
DEVICE:  CPU, or a GPU where JAX and PyTorch both find one
RESULT (2026-11-28, Intel Xeon, 2 cores shared with other work; 5 repeats):
    20,000 points/s; 0.76 times PyTorch (1 thread, the faster by far; 1.5 asked). Without its own reverse rule, which
    makes the weights' gradients of all steps in one product, the layer took half as long again
"""

import math
from collections.abc import Callable
from typing import Any

import harness
import jax
import numpy as np

import mdn_jax as mdn

HIDDEN, COMPONENTS, BATCH, LENGTH = 256, 20, 32, 128
ROWS, STEPS, ASKED = 512, 10, 1.5
RATE = 1e-3
LOG_2PI = math.log(2 * math.pi)


def data() -> tuple[np.ndarray, np.ndarray]:
    """Points of a random pen: the time of a step does not depend on what is drawn."""
    rng = np.random.default_rng(0)
    y = np.concatenate([rng.normal(size=(ROWS, LENGTH, 2)), rng.integers(0, 2, (ROWS, LENGTH, 1))], axis=-1)
    before = np.concatenate([np.zeros((ROWS, 1, 3)), y[:, :-1]], axis=1)
    start = np.broadcast_to((np.arange(LENGTH) == 0)[:, None], (ROWS, LENGTH, 1))
    return np.concatenate([before, start], axis=-1), y


def ours() -> Callable[[], object]:
    options: Any = {"hidden_size": HIDDEN}
    model = mdn.ModelConfig(network="lstm", network_options=options, num_components=COMPONENTS, covariance="full")
    training = mdn.TrainingConfig(
        batch_size=BATCH, num_steps=STEPS, evaluate_every=STEPS, learning_rate=RATE, validation_fraction=0.0625
    )
    begun = mdn.start(jax.random.key(0), *data(), model=model, training=training, num_classes=(None, None, 2))
    return lambda: mdn.advance(begun)[0].lanes


def pytorch(threads: int) -> Callable[[], object]:
    import torch  # noqa: PLC0415  (optional)

    device = "cuda" if torch.cuda.is_available() and jax.default_backend() == "gpu" else "cpu"
    x, y = (torch.from_numpy(array.astype(np.float32)).to(device) for array in data())

    def loss(raw: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        logits, locs, log_std, below, pen = raw.split(
            [COMPONENTS, 2 * COMPONENTS, 2 * COMPONENTS, COMPONENTS, 2], dim=-1
        )
        locs, log_std = locs.unflatten(-1, (COMPONENTS, 2)), log_std.unflatten(-1, (COMPONENTS, 2))
        first, second = ((y[..., None, :2] - locs) * torch.exp(-log_std)).unbind(-1)
        squares = first**2 + (second - below * first) ** 2
        log_normal = -0.5 * squares - log_std.sum(-1) - LOG_2PI
        offset = torch.logsumexp(torch.log_softmax(logits, dim=-1) + log_normal, dim=-1)
        lifted = torch.nn.functional.cross_entropy(pen.flatten(0, 1), y[..., 2].long().flatten())
        return lifted - offset.mean()

    torch.manual_seed(0)
    cell = torch.nn.LSTM(4, HIDDEN, batch_first=True).to(device)
    out = torch.nn.Linear(HIDDEN, 6 * COMPONENTS + 2).to(device)
    optimizer = torch.optim.Adam([*cell.parameters(), *out.parameters()], RATE)

    def run() -> object:
        torch.set_num_threads(threads)
        for _ in range(STEPS):
            chosen = torch.randint(0, ROWS, (BATCH,), device=device)
            optimizer.zero_grad()
            value = loss(out(cell(x[chosen])[0]), y[chosen])
            value.backward()
            optimizer.step()
        return value.item()

    return run


def main() -> None:
    options = harness.arguments(__doc__, repeats=7).parse_args()
    report, cases = harness.Report("Training speed on pen strokes"), {"ours": ours()}
    if harness.installed("torch"):
        cases |= {f"pytorch, {threads} threads": pytorch(threads) for threads in (1, 2)}
    else:
        report.skip("PyTorch", "install a CPU build of PyTorch")
    times = harness.measure(cases, options.repeats)
    rows = [[name, harness.median_time(times, name), str(harness.speedup(times, "ours", name))] for name in times]
    points = STEPS * BATCH * LENGTH
    report.table(f"{points:,} points", ["", "time", "ours is faster by"], rows)
    fastest = [min(pair) for pair in zip(*(times[name] for name in times if name != "ours"), strict=True)]
    if fastest:
        ratio = harness.speedup({**times, "pytorch": fastest}, "ours", "pytorch")
        report.at_least("ours against pytorch, the faster", ASKED, ratio)
    report.save(options.json)


if __name__ == "__main__":
    main()

"""A model of the next state, as in world models: a ball in a box, kicked now and then, and the futures it may have.

The network sees where the ball is, step by step, and has to remember where it came from. Its output is the distribution
of where the ball is next, each coordinate a mixture of its own. What is drawn from it is its next input: so it dreams
2,000 futures for each of several temperatures inside one jitted scan. At temperature 0 nothing ever happens by chance;
at 1 kicks come as often as they do; above it they come more often.

COMMAND  python experiments/bouncing_ball.py [--out runs/bouncing_ball]
TIME     two minutes
DEVICE   any
WRITES   bouncing_ball.png
RESULT   -5.49 nats a step on balls never seen. Of 2,000 futures of one ball, after 15 steps: mean place (0.69, 0.78)
         and std (0.18, 0.24) of what happens; dreamt at temperature 1 (0.70, 0.75) and (0.22, 0.21), and 94 % never
         leave the box; at 0.5 the std is (0.16, 0.10), at 2 (0.26, 0.28). Dreams blur the spot that balls without a
         kick fly to: each drawn place also tells the network a little of a velocity (2026-11-28, Intel Xeon, 2 cores)

REFERENCE  D. Ha and J. Schmidhuber, "World models", 2018.
"""

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes

import mdn_jax as mdn
from mdn_jax.plotting.style import BLUE, GREY, INK, RED, label, new_figure, text_below

KICKED, SPEED, NOISE = 0.05, 0.05, 0.01  # probability of a kick, std of each velocity, and of each place; per step
LENGTH, NUM_TRAIN, NUM_TEST = 40, 4_000, 1_000
SEEN, AHEAD = 20, 15  # steps before the futures part, and of each future
NUM_FUTURES, TEMPERATURES = 2_000, (0.0, 0.5, 1.0, 2.0)
SHOWN = 60  # futures whose paths are drawn
OPTIONS: Any = {"hidden_size": 64}
MODEL = mdn.ModelConfig(network="lstm", network_options=OPTIONS, head="independent", num_components=5)
TRAINING = mdn.TrainingConfig(batch_size=64, num_steps=8_000, evaluate_every=1_000, learning_rate=5e-3, clip_norm=1.0)


def move(rng: np.random.Generator, place: np.ndarray, velocity: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The next places and velocities of many balls in the unit square."""
    kicked = rng.uniform(size=(len(place), 1)) < KICKED
    velocity = np.where(kicked, SPEED * rng.normal(size=place.shape), velocity)
    place = place + velocity + NOISE * rng.normal(size=place.shape)
    over = np.sign(np.clip(place, 0, 1) - place)  # a wall sends back what went through it
    return np.where(over == 0, place, np.where(over > 0, -place, 2 - place)), np.where(over == 0, velocity, -velocity)


def watch(rng: np.random.Generator, place: np.ndarray, velocity: np.ndarray, steps: int) -> tuple[np.ndarray, ...]:
    """Places (N, steps + 1, 2), the first ones among them, and the last velocities."""
    places = [place]
    for _ in range(steps):
        place, velocity = move(rng, place, velocity)
        places.append(place)
    return np.stack(places, axis=1), velocity


def begin(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    return rng.uniform(size=(count, 2)), SPEED * rng.normal(size=(count, 2))


@jax.jit
def dream(key: jax.Array, model: mdn.Model, seen: jax.Array) -> jax.Array:
    """Places (temperatures, futures, steps, 2) after those seen, all in one scan."""
    state, _ = jax.lax.scan(lambda state, x: (model.step(state, x)[0], None), model.initial_state(), seen[:-1])
    future = partial(mdn.rollout, model=model, x=seen[-1], num_steps=AHEAD, following=lambda y: y, state=state)
    each = jax.vmap(lambda key, temperature: future(key, temperature=temperature), (0, None))
    return jax.vmap(each, (None, 0))(jax.random.split(key, NUM_FUTURES), jnp.array(TEMPERATURES))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/bouncing_ball"))
    parser.add_argument("--quick", action="store_true", help="a few steps only, to see that it runs")
    options = parser.parse_args()

    rng = np.random.default_rng(0)
    balls, _ = watch(rng, *begin(rng, NUM_TRAIN + NUM_TEST), LENGTH)
    train, test = balls[:NUM_TRAIN], balls[NUM_TRAIN:]
    training = TRAINING.model_copy(update={"num_steps": 20, "evaluate_every": 10}) if options.quick else TRAINING
    fit = mdn.fit(
        jax.random.key(0), train[:, :-1], train[:, 1:], model=MODEL, training=training, target_names=("x", "y"),
        on_evaluation=lambda step, metrics: print(f"step {step}: {metrics['val_loss']:.3f} nats a step"),
    )  # fmt: skip
    nats = jax.jit(jax.vmap(lambda x, y: jax.vmap(mdn.nll)(fit.model(x), y)))(test[:, :-1], test[:, 1:])
    print(f"{nats.mean():.3f} nats a step on {NUM_TEST} balls; {nats[:, 1:].mean():.3f} where one step was seen before")

    # one ball on its way to the corner, and what it truly does from there
    velocity = np.array([0.035, 0.02])
    past = np.array([0.1, 0.25]) + velocity * np.arange(SEEN)[:, None]
    true, _ = watch(rng, np.tile(past[-1], (NUM_FUTURES, 1)), np.tile(velocity, (NUM_FUTURES, 1)), AHEAD)
    dreams = np.asarray(dream(jax.random.key(1), fit.model, past.astype(np.float32)))
    futures = {"what happens": true[:, 1:]} | {
        f"dreamt, temperature {temperature:g}": places for temperature, places in zip(TEMPERATURES, dreams, strict=True)
    }
    for name, places in futures.items():
        inside = ((places > -0.02) & (places < 1.02)).all(axis=(1, 2)).mean()
        print(
            f"{name}: mean {places[:, -1].mean(0).round(3)}, std {places[:, -1].std(0).round(3)}, inside {inside:.3f}"
        )
    options.out.mkdir(parents=True, exist_ok=True)
    page(past, futures).savefig(options.out / "bouncing_ball.png", dpi=100)


def page(past: np.ndarray, futures: dict[str, np.ndarray]):
    figure, axes = new_figure(2.7 * len(futures), 5.9, 2, len(futures), sharex=True, sharey=True)
    for (name, places), upper, lower in zip(futures.items(), *axes, strict=True):
        draw_paths(upper, past, places[:SHOWN], BLUE if upper is axes[0, 0] else RED)
        upper.set_title(name, fontsize=11, loc="left")
        counts = np.histogram2d(*places[:, -1].T, bins=40, range=((0, 1), (0, 1)))[0].T
        lower.pcolormesh(np.linspace(0, 1, 41), np.linspace(0, 1, 41), np.sqrt(counts), cmap="Blues", rasterized=True)
        label(lower, "x", "y" if lower is axes[1, 0] else "", f"after {AHEAD} steps")
    text_below(figure, f"Grey: the way so far. Above {SHOWN}, below all of {NUM_FUTURES:,} futures of the same ball.")
    return figure


def draw_paths(axes: Axes, past: np.ndarray, places: np.ndarray, colour: str) -> None:
    """The way so far and the ways on from it, in the box."""
    ways = np.concatenate([np.repeat(past[None, -1:], len(places), 0), places], axis=1)
    axes.plot(*ways.swapaxes(0, 1).transpose(2, 0, 1), color=colour, linewidth=0.8, alpha=0.35)
    axes.plot(*past.T, color=GREY, linewidth=2.2)
    axes.plot(*past[-1], "o", color=INK, markersize=6)
    axes.plot([0, 1, 1, 0, 0], [0, 0, 1, 1, 0], color=INK, linewidth=1)
    axes.set(xlim=(-0.04, 1.04), ylim=(-0.04, 1.04), box_aspect=1.0)
    axes.set_axis_off()


if __name__ == "__main__":
    main()

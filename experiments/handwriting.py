"""Pen strokes: what a mixture draws, and what least squares draws with the same network on the same letters.

Where the pen goes next has several right answers: on along the letter, to its next stroke, to the beginning of another.
The mixture knows them all and draws one. Least squares knows their average, which is none of them: its squared error is
the smaller one, and its drawings are scrawls, with its own average error as noise and without.

COMMAND  python experiments/handwriting.py [--run RUN --twin RUN] [--out runs/handwriting]
TIME     half a minute from finished runs of configs/strokes.toml and configs/strokes_least_squares.toml, which are
         trained first where they are not given
DEVICE   any
WRITES   handwriting.png, handwriting_pen.gif (the density of the next point under the pen) and handwriting_density.png
         (at one step, with its components)
RESULT   mixture -2.99 nats per point, squared error 0.078; least squares -0.79 and 0.052 (2026-11-28, Intel Xeon, 2
         cores)

REFERENCE  A. Graves, "Generating sequences with recurrent neural networks", 2013.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np

import mdn_jax as mdn
from mdn_jax.data import drawings_of, load
from mdn_jax.plotting import paper_density, sheet
from mdn_jax.prediction import next_offsets
from mdn_jax.runs import Sampling, load_run, read_config, run, sample_run

CONFIGS = Path(__file__).parents[1] / "configs"
COLUMNS, ROWS = 16, 2  # of a block of drawings
PRIMED, MOST_POINTS = 6, 80  # points of a beginning that is given; of a drawing
BIAS = 0.5  # of the neater drawings
SEED = 1


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--run", type=Path, help="a finished run of configs/strokes.toml")
    parser.add_argument("--twin", type=Path, help="a finished run of configs/strokes_least_squares.toml")
    parser.add_argument("--out", type=Path, default=Path("runs/handwriting"))
    parser.add_argument("--quick", action="store_true", help="a few steps on a few letters only, to see that it runs")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    folders = {
        name: folder or trained(name, options.out / name, quick=options.quick)
        for name, folder in {"strokes": options.run, "strokes_least_squares": options.twin}.items()
    }
    models = {name: load_run(folder) for name, folder in folders.items()}
    metrics = {name: json.loads((folder / "metrics.json").read_text("utf-8")) for name, folder in folders.items()}
    letters = drawings_of(load(read_config(folders["strokes"] / "config.toml")[0].dataset).test)

    blocks = blocks_of(models, metrics, letters)
    titles = [title if place == 0 else "" for title, drawings in blocks.items() for place in range(len(drawings[0]))]
    page = sheet(
        [drawing for drawings, _ in blocks.values() for drawing in drawings],
        titles=titles,
        columns=COLUMNS,
        primed=[count for drawings, count in blocks.values() for _ in drawings],
    )
    page.savefig(options.out / "handwriting.png", dpi=110)
    density_page(models["strokes"], letters).savefig(options.out / "handwriting_density.png", dpi=110)
    moving = Sampling(bias=(BIAS,), points=MOST_POINTS, seed=SEED)
    print(sample_run(folders["strokes"], moving, options.out / "handwriting_pen.gif", overwrite=True))
    print(f"{options.out}/handwriting.png")


def trained(name: str, folder: Path, *, quick: bool) -> Path:
    """The folder of a run of a config; made here."""
    config, _ = read_config(CONFIGS / f"{name}.toml")
    if quick:
        few = {"num_drawings": 60, "num_test_drawings": COLUMNS * ROWS}
        config = changed(config, "dataset", options={**config.dataset.options, **few})
        config = changed(config, "model", network_options={**config.model.network_options, "hidden_size": 8})
        config = changed(config, "training", num_steps=4, evaluate_every=2)
    run(config, folder)
    return folder


def changed(config: mdn.Config, section: str, **fields: Any) -> mdn.Config:
    """The config with some fields of a section."""
    table = getattr(config, section)
    like = {name: type(getattr(table, name))(value) for name, value in fields.items()}
    return config.model_copy(update={section: table.model_copy(update=like)})


def blocks_of(models: dict[str, mdn.Model], metrics: dict[str, Any], letters: list[np.ndarray]) -> dict[str, Any]:
    """Title -> drawings, and how many points of each were given."""
    mixture, twin = models["strokes"], models["strokes_least_squares"]
    own, other = metrics["strokes"], metrics["strokes_least_squares"]
    # least squares says no width: its own average error is the one under which it is most probable
    width = np.sqrt(0.5 * other["test_sse"])
    nats = 1 + np.log(2 * np.pi * width**2) + other["test_nll_pen"]
    noise = {"bias": (0.0, max(0.0, -float(np.log(width))))}
    begun = [letter for letter in letters if len(letter) > 2 * PRIMED][:COLUMNS]
    scores = "{:.2f} nats per point, squared error {:.3f}"
    return {
        "letters kept apart for the test": (letters[: COLUMNS * ROWS], 0),
        f"mixture: {scores.format(own['test_nll'], own['test_sse'])}": (drawn(mixture), 0),
        f"mixture, neater (bias {BIAS:g})": (drawn(mixture, bias=BIAS), 0),
        "mixture, going on from the beginning of a letter": (continued(mixture, begun, bias=BIAS), PRIMED),
        f"least squares: {scores.format(nats, other['test_sse'])}": (drawn(twin, **noise), 0),
        "least squares without noise, going on from the same beginnings": (
            continued(twin, begun, temperature=0.0),
            PRIMED,
        ),
    }


def drawn(model: mdn.Model, **options: Any) -> list[np.ndarray]:
    """A block of drawings."""
    drawings = mdn.draw_strokes(jax.random.key(SEED), model, COLUMNS * ROWS, max_points=MOST_POINTS, **options)
    return list(np.asarray(drawings))


def continued(model: mdn.Model, letters: list[np.ndarray], **options: Any) -> list[np.ndarray]:
    """Each letter's beginning, and where the model goes on from there."""
    options |= {"max_points": MOST_POINTS}
    keys = jax.random.split(jax.random.key(SEED), len(letters))
    drawings = (mdn.draw_strokes(key, model, 1, prime=letter[:PRIMED], **options) for key, letter in zip(keys, letters))
    return [np.asarray(drawing)[0] for drawing in drawings]


def density_page(model: mdn.Model, letters: list[np.ndarray]) -> Any:
    """The density of the point of a letter that is hardest to foretell, once the pen has moved."""
    letter = next(letter for letter in letters if letter[:-1, 2].any())  # of two strokes
    offsets = next_offsets(model, letter)
    spread = np.asarray(jax.vmap(mdn.std)(offsets)).sum(axis=1)
    step = 1 + int(spread[1:].argmax())
    places = np.concatenate([np.zeros((1, 2)), np.cumsum(letter[:, :2], axis=0)])
    low, high = places.min(axis=0), places.max(axis=0)
    middle, half = 0.5 * (low + high), 0.6 * (high - low).max()
    across, down = (np.linspace(centre - half, centre + half, 300) for centre in middle)
    one = jax.tree.map(lambda leaf: leaf[step], offsets)
    return paper_density(
        letter[:step],
        np.asarray(mdn.paper_densities(model, letter[: step + 1], (across, down))[-1]),
        (across[0], across[-1], down[0], down[-1]),
        weights=np.asarray(one.weights),
        locs=np.asarray(one.locs),
        covariances=np.asarray(one.scale.covariance(2)),
        title=f"where the pen goes after {step} points",
    )


if __name__ == "__main__":
    main()

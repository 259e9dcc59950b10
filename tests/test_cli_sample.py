"""`mdn-jax sample`: what it writes and prints, and one line for each mistake."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from untrained import pen_strokes

import mdn_jax as mdn
from mdn_jax import cli, plotting
from mdn_jax.data import draw_letters, drawings_of, load
from mdn_jax.runs import Sampling, read_config, sample_run
from mdn_jax.runs.folder import claim

CONFIG = """
[dataset]
name = "strokes"
options = { num_drawings = 12, num_test_drawings = 5, ends = true }
"""
NORMALISER = 0.25
SHEET = plotting.sheet([])
LETTERS = draw_letters(np.random.default_rng(0), 7)[0]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run's folder, as far as drawing needs it, and files of drawings beside it."""
    folder = tmp_path_factory.mktemp("sample")
    mdn.save(folder / "run/model", pen_strokes(0))
    (folder / "run/config.toml").write_text(CONFIG)
    (folder / "run/metrics.json").write_text(json.dumps({"test_nll": 1.0, "normaliser": NORMALISER}))
    write_drawings(folder / "both.npz", train=LETTERS[:4], test=LETTERS[4:])
    write_drawings(folder / "train.npz", train=[*LETTERS[:2], np.array([[1.0, 1, 1]])])
    return folder


@pytest.fixture
def place(trained, tmp_path, monkeypatch):
    """A working directory with the run and the files."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    for path in [*trained.glob("*.npz"), *trained.glob("run/*")]:
        (tmp_path / path.relative_to(trained)).symlink_to(path)
    return tmp_path


def write_drawings(path, **parts):
    """An NPZ file of drawings."""
    arrays = {}
    for name, drawings in parts.items():
        points = np.concatenate(drawings)
        arrays |= {f"{name}_dxy": points[:, :2], f"{name}_pen": points[:, 2].astype(np.uint8)}
        arrays[f"{name}_off"] = np.cumsum([0, *map(len, drawings)])
    np.savez(path, **arrays)


def sample(line):
    return cli.main(["sample", *line.split()])


def complaint(capsys, line):
    """The one line that a mistake prints on standard error, with exit code 2 and nothing written."""
    before = {path: path.stat().st_mtime_ns for path in Path().rglob("*")}
    code = sample(line)
    printed = capsys.readouterr()
    assert code == 2 and printed.out == "", printed
    lines = printed.err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("mdn-jax: "), printed.err
    assert {path: path.stat().st_mtime_ns for path in Path().rglob("*")} == before
    return lines[0].removeprefix("mdn-jax: ")


def read_sample(path):
    """The drawings in an NPZ file that was written."""
    with np.load(path) as arrays:
        points = np.column_stack([arrays["sample_dxy"], arrays["sample_pen"]])
        assert sorted(arrays) == ["sample_dxy", "sample_off", "sample_pen"]
        return np.split(points, arrays["sample_off"][1:-1])


# What it writes


def test_a_sheet_stands_in_the_run_s_folder(place, capsys):
    assert sample("run --num 6 --points 20") == 0
    assert capsys.readouterr().out.startswith("run/samples.png: ")
    with Image.open("run/samples.png") as image:
        assert image.size[0] > 300
    assert "run/samples.png is there already" in complaint(capsys, "run --num 6 --points 20")
    assert sample("run --num 6 --points 20 --overwrite") == 0
    assert sorted(path.name for path in Path("run").iterdir()) == [
        "config.toml",
        "metrics.json",
        "model",
        "samples.png",
    ]


def test_arrays_hold_the_drawings_in_the_data_s_own_units(place):
    assert sample("run --num 5 --points 30 --bias 0 2 --seed 3 --out drawn.npz") == 0
    drawn = read_sample("drawn.npz")
    assert len(drawn) == 10
    model = mdn.load("run")
    for block, bias in enumerate((0.0, 2.0)):
        found = np.asarray(mdn.draw_strokes(jax.random.key(3), model, 5, max_points=30, bias=bias))
        for drawing, expected in zip(drawn[5 * block :], found, strict=False):
            assert_allclose(drawing[:, :2], expected[: len(drawing), :2] * NORMALISER, rtol=1e-6)
            assert_array_equal(drawing[:, 2], expected[: len(drawing), 2] > 0)
            assert len(drawing) == 30 or expected[len(drawing) - 1, 2] == 2


@pytest.mark.parametrize(("options", "begun"), [
    ("--prime both.npz:2", LETTERS[6][: len(LETTERS[6]) // 2]),  # of the test part
    ("--prime train.npz:1 --num-primed 3", LETTERS[1][:3]),  # where there is none, of the training part
])  # fmt: skip
def test_every_drawing_begins_like_the_one_of_the_file(place, options, begun):
    assert sample(f"run --num 4 --points 60 {options} --out drawn.npz") == 0
    for drawing in read_sample("drawn.npz"):
        assert_allclose(drawing[: len(begun)], begun, rtol=1e-5, atol=1e-6)
    assert sample(f"run --num 4 --points 60 {options} --out drawn.png") == 0


def test_an_index_alone_is_a_drawing_of_the_run_s_own_test_part(place):
    letters = load(mdn.DatasetConfig(name="strokes", options={"num_drawings": 12, "num_test_drawings": 5}))
    assert sample("run --num 2 --prime 4 --num-primed 5 --out drawn.npz") == 0
    whole = drawings_of(letters.test)[4][:5] * [NORMALISER, NORMALISER, 1]
    for drawing in read_sample("drawn.npz"):
        assert_allclose(drawing[:5], whole, rtol=1e-5, atol=1e-6)


def test_a_gif_shows_the_first_drawing_point_by_point(place, capsys):
    assert sample("run --num 9 --points 12 --prime both.npz:0 --num-primed 4 --out pen.gif") == 0
    assert capsys.readouterr().out.endswith(" of 1 drawings finished within 12 points\n")
    assert sample("run --num 1 --points 12 --prime both.npz:0 --num-primed 4 --out pen.npz") == 0
    (drawing,) = read_sample("pen.npz")
    with Image.open("pen.gif") as film:
        assert film.n_frames == len(drawing) + 1  # and the whole drawing, held
    assert sorted(path.suffix for path in place.glob("pen*")) == [".gif", ".npz"]


def test_several_biases_stand_in_blocks(place, monkeypatch):
    shown = {}
    monkeypatch.setattr(plotting, "sheet", lambda drawings, **how: shown.update(how, drawings=drawings) or SHEET)
    sample_run(Path("run"), Sampling(num=20, bias=(0.0, 1.0, 3.5), points=5), Path("sheet.png"))
    titles = {place: title for place, title in enumerate(shown["titles"]) if title}
    assert shown["columns"] == 16 and titles == {0: "bias 0", 32: "bias 1", 64: "bias 3.5"}
    lengths = np.array([len(drawing) for drawing in shown["drawings"]]).reshape(3, 32)
    assert (lengths[:, :20] > 0).all() and not lengths[:, 20:].any()


def test_a_run_with_drawings_beside_it_can_be_replaced(place):
    sample("run --num 1 --points 3")
    assert claim(read_config(Path("run/config.toml"))[0], Path("run"), overwrite=True) is None


def test_a_kill_leaves_nothing_under_the_name(place, monkeypatch):
    def die(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(plotting, "sheet", die)
    assert sample("run --num 1 --points 3") == 130
    assert not list(place.rglob("*samples*"))


# Mistakes

MISTAKES = {
    "run --prime both.npz:3": "--prime both.npz:3: the drawings are numbered 0 to 2; choose one of them",
    "run --prime 5": "--prime 5: the drawings are numbered 0 to 4; choose one of them",
    "run --prime both.npz": "--prime takes FILE:INDEX, the index from 0; got 'both.npz'",
    "run --prime both.npz:-1": "--prime takes FILE:INDEX, the index from 0; got 'both.npz:-1'",
    "run --prime none.npz:0": "none.npz: no such file: give the path of an NPZ file of drawings",
    "run --prime train.npz:2": "--prime train.npz:2: a drawing of one point has no beginning; choose another",
    "run --num-primed 3": "--num-primed counts points of a drawing: name one with --prime FILE:INDEX",
    "run --prime both.npz:0 --num-primed 999": f"--num-primed must be 1 to {len(LETTERS[4]) - 1}, of the "
    f"{len(LETTERS[4])} points of both.npz:0; got 999",
    "run --prime both.npz:0 --num-primed 9 --points 9": "--points must be more than the 9 that are given; got 9",
    "run --bias 1 --temperature 0.5": "--bias and --temperature say one thing: give one of them",
    "run --bias -1": "draw_strokes: bias must be finite, 0 or more; got -1.0",
    "run --temperature -1": "draw_strokes: temperature must be finite, 0 or more; got -1.0",
    "run --num 0": "--num takes a number of drawings, 1 or more; got 0",
    "run --points 0": "--points takes a number of points, 1 or more; got 0",
    "run --seed -1": "--seed takes a whole number from 0 to 4294967295; got -1",
    "run --out sheet.jpg": "sheet.jpg: cannot write '.jpg' files: end its name in .png or .gif or .npz",
    "run --out no/sheet.png": "no/sheet.png: there is no folder no: make it, or choose another place",
    "run --out both.npz": "both.npz is there already: choose another, or replace it with --overwrite",
    "run --out pen.gif --bias 0 1": "pen.gif: a GIF shows one drawing: give one bias",
    "nowhere": "nowhere: no finished run there (metrics.json is missing): train it with mdn-jax run",
}


@pytest.mark.parametrize("line", MISTAKES)
def test_mistakes_are_told_in_a_line(place, capsys, line):
    assert complaint(capsys, line) == MISTAKES[line]


def test_a_run_of_something_else_is_refused(place, capsys):
    Path("other").mkdir()
    Path("other/metrics.json").write_text(json.dumps({"test_nll": 1.0}))
    wanted = "other: no run of pen strokes: train one, as mdn-jax run configs/strokes.toml does"
    assert complaint(capsys, "other") == wanted

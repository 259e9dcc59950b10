"""Pen strokes as data: drawings packed in rows, files and their faults, noise, and configs that name them."""

import os
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import mdn_jax as mdn
from mdn_jax import cli, runs
from mdn_jax.cli import running
from mdn_jax.config import fields, parse
from mdn_jax.data import PROBLEMS, draw_letters, drawings_of, load, pack, read_drawings
from mdn_jax.data.strokes import Scaling, strokes

OMNIGLOT = Path(__file__).parents[2] / "shared" / "data" / "strokes" / "omniglot_stroke3.npz"
LAST = [1.0, 1.0, 1.0]


def drawings_like(counts, seed=0):
    """Drawings of so many points, of offsets that never repeat, lifted at random and at the end."""
    rng = np.random.default_rng(seed)
    drawings = [np.column_stack([rng.normal(size=(n, 2)), rng.random(n) < 0.2]) for n in counts]
    for drawing in drawings:
        drawing[-1:, 2] = 1
    return drawings


def refused(call):
    with pytest.raises(mdn.InputError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Rows


@pytest.mark.parametrize("ends", [False, True])
def test_drawings_are_packed_whole_and_unpacked_as_they_were(ends):
    drawings = drawings_like([3, 0, 8, 1, 5, 2, 8, 0, 1, 1, 6])
    part = pack(drawings, 8, ends=ends)
    assert part.x.shape == (5, 8, 4) and part.y.shape == (5, 8, 3)
    weight, starts = part.weight, part.x[..., 3]
    assert weight is not None and weight.sum(axis=1).tolist() == [3, 8, 8, 8, 8]
    assert starts[:, 0].all() and starts.sum() == 9
    for drawing, back in zip([one for one in drawings if len(one)], drawings_of(part), strict=True):
        expected = drawing.copy()
        expected[-1, 2] += ends
        assert np.array_equal(back, expected)
    follows = (weight[:, 1:] > 0) & (starts[:, 1:] == 0)
    assert np.array_equal(part.x[:, 1:, :3][follows], part.y[:, :-1][follows])
    rest = np.concatenate([np.ones((5, 1), bool), ~follows], axis=1)
    assert not part.x[..., :3][rest].any() and not part.y[weight == 0].any() and not starts[weight == 0].any()
    assert all(len(one) for one in drawings_of(part)) and not drawings[1].size  # what was given is as it was


@pytest.mark.parametrize(
    "counts", [[70] * 300, [128, 1] * 200, [65, 64] * 100, [1] * 4000, [200] + [30] * 900, [5, 300] * 80, [129] * 60]
)
def test_less_than_a_third_of_the_steps_is_padding(counts):
    data = mdn.stroke_dataset(drawings_like(counts), drawings_like([2]))
    assert data.train.weight.mean() > 2 / 3 and len(data.train) >= 20  # pyright: ignore[reportOptionalMemberAccess]
    assert len(drawings_of(data.train)) == len(counts) and data.train.x.shape[1] >= max(counts)


def test_the_letters_as_a_dataset():
    few = {"num_drawings": 300, "num_test_drawings": 40}
    data, letters = strokes(0, **few), draw_letters(np.random.default_rng(0).spawn(2)[0], 300)[0]
    back = drawings_of(data.train)
    assert len(back) == 300 and len(drawings_of(data.test)) == 40 and data.kind == "strokes"
    np.testing.assert_allclose(back[7] * ([data.normaliser] * 2 + [1]), letters[7], atol=1e-12)
    assert np.concatenate(back)[:, :2].std() == pytest.approx(1.0) and data.grain == 0.0 and data.whole_test is None
    assert data.augment is None and data.num_classes == (None, None, 2)
    assert data.train.weight.mean() > 0.85  # pyright: ignore[reportOptionalMemberAccess]
    again, other, fewer = strokes(0, **few), strokes(1, **few), strokes(0, **few | {"num_drawings": 40})
    assert np.array_equal(again.train.y, data.train.y) and np.array_equal(again.test.y, data.test.y)
    assert not np.array_equal(other.test.y[:5], data.test.y[:5])
    assert np.allclose(fewer.test.y[..., :2] * fewer.normaliser, data.test.y[..., :2] * data.normaliser)


def test_the_pen_has_a_third_code_where_drawings_end():
    data = strokes(0, num_drawings=30, num_test_drawings=5, ends=True)
    assert data.num_classes == (None, None, 3)
    for drawing in drawings_of(data.train):
        assert drawing[-1, 2] == 2 and set(drawing[:-1, 2]) <= {0, 1}
    assert set(np.unique(data.train.x[..., 2])) <= {0.0, 1.0}  # nothing follows a finished drawing


def test_omniglot_as_its_readme_has_it():
    if not OMNIGLOT.is_file():
        pytest.skip(f"{OMNIGLOT} is absent")
    data = strokes(0, str(OMNIGLOT))
    assert data.normaliser == pytest.approx(54.3106, abs=5e-5) and data.grain * data.normaliser == pytest.approx(1.0)
    # less one row of each: the first, which is (0, 0)
    for part, count, points in ((data.train, 30_000, 933_430), (data.test, 1_000, 31_144)):
        assert len(drawings_of(part)) == count
        assert part.weight.sum() == points - count  # pyright: ignore[reportOptionalMemberAccess]
        assert part.weight.mean() > 0.85  # pyright: ignore[reportOptionalMemberAccess]
    with np.load(OMNIGLOT) as file:
        first, last = file["test_off"][4:6]
        expected = np.column_stack([file["test_dxy"], file["test_pen"]])[first + 1 : last]
    assert np.array_equal(read_drawings(OMNIGLOT)[4], expected)
    assert np.allclose(drawings_of(data.whole_test)[4] * ([data.normaliser] * 2 + [1]), expected)  # pyright: ignore
    assert len(read_drawings(OMNIGLOT, "valid")) == 1_000


# Noise


def rows_of(data):
    part = data.train
    arrays = (jnp.asarray(values, float) for values in (part.x, part.y, part.weight))
    return mdn.Rows(*arrays, None)


@pytest.mark.parametrize("double", [False, True])
def test_noise_moves_targets_and_what_the_next_step_sees_together(double):
    counts = [3, 8, 1, 5, 2, 8, 1, 1, 6]
    data = mdn.stroke_dataset(drawings_like(counts), drawings_like([4]), length=9, grain=0.5, stretch=0.3, ends=True)
    augment: Any = data.augment
    with jax.enable_x64(double), jax.numpy_dtype_promotion("strict"):
        rows = rows_of(data)
        keys = jax.random.split(jax.random.key(0), len(rows.weight))
        moved = jax.jit(jax.vmap(augment))(keys, rows)
        assert {moved.x.dtype, moved.y.dtype} == {jnp.dtype("float64" if double else "float32")}
        one = augment(keys[1], jax.tree.map(lambda leaf: leaf[1], rows))
        np.testing.assert_allclose(one.y, moved.y[1], rtol=1e-6)
    x, y, before = (np.asarray(leaf) for leaf in (moved.x, moved.y, rows.y))
    counts, starts = np.asarray(rows.weight) > 0, np.asarray(rows.x)[..., 3] > 0
    follows = counts[:, 1:] & ~starts[:, 1:]
    assert np.array_equal(x[:, 1:, :2][follows], y[:, :-1, :2][follows]) and not x[..., :2][starts].any()
    assert np.array_equal(x[..., 2:], rows.x[..., 2:]) and np.array_equal(y[..., 2], before[..., 2])
    assert not x[~counts].any() and not y[~counts].any()
    assert np.all(y[counts][:, :2] != before[counts][:, :2])


def test_noise_and_factor_are_uniform():
    row = mdn.Rows(jnp.zeros((50, 4)), jnp.ones((50, 3)), jnp.ones(50), None)
    keys = jax.random.split(jax.random.key(1), 400)

    def offsets(augment):
        return np.asarray(jax.vmap(augment, in_axes=(0, None))(keys, row).y[..., :2], np.float64)

    noise = offsets(Scaling(0.2, 0.0)) - 1
    assert np.abs(noise).max() <= 0.1 and stats.kstest(noise.ravel(), stats.uniform(-0.1, 0.2).cdf).pvalue > 1e-3
    factors = offsets(Scaling(0.0, 0.3))
    np.testing.assert_allclose(factors, np.broadcast_to(factors[:, :1, :1], factors.shape))  # one for each row
    assert stats.kstest(factors[:, 0, 0], stats.uniform(0.7, 0.6).cdf).pvalue > 1e-3
    # of equal value, so that a second fit finds the compiled program
    assert Scaling(0.2, 0.0) == Scaling(0.2, 0.0) and hash(Scaling(0.2, 0.0)) == hash(Scaling(0.2, 0.0))


def test_test_rows_get_their_noise_once():
    drawings = [np.round(9 * drawing) for drawing in drawings_like([20] * 60)]
    drawings = [np.column_stack([drawing[:, :2], drawing[:, 2] > 0]) for drawing in drawings]
    data, again, other = (mdn.stroke_dataset(drawings, drawings, grain=1.0, seed=seed) for seed in (0, 0, 1))
    whole = data.whole_test
    assert whole is not None and np.array_equal(whole.y, data.train.y)
    assert np.array_equal(data.test.y, again.test.y) and not np.array_equal(data.test.y, other.test.y)
    noise = ((data.test.y - whole.y)[..., :2] * data.normaliser)[data.test.weight > 0]  # pyright: ignore
    assert np.abs(noise).max() <= 0.5 and stats.kstest(noise.ravel(), stats.uniform(-0.5, 1).cdf).pvalue > 1e-3
    assert np.array_equal(data.test.x[0, 1:20, :3], data.test.y[0, :19])
    assert data.grain == pytest.approx(1 / data.normaliser) and data.augment == Scaling(data.grain, 0.0)


def test_rows_are_trained_on():
    """A network that sees one step alone, of the rows as they are; noise is drawn, padding is not looked at."""
    data = strokes(0, num_drawings=60, num_test_drawings=5, stretch=0.1, ends=True)
    spec = mdn.ProductSpec((mdn.MixtureSpec(2, 2), mdn.CategoricalSpec(3)))
    weights = 0.1 * jax.random.normal(jax.random.key(0), (4, spec.num_outputs))
    training = mdn.TrainingConfig(num_steps=20, evaluate_every=10, batch_size=8)
    fit = mdn.fit(
        jax.random.key(0), **data.for_training, training=training, spec=spec, params=weights,
        apply=lambda params, x: x @ params,
    )  # fmt: skip
    assert fit.status == "ok" and np.all(np.isfinite(fit.history["val_loss"]))


# Files


def arrays_of(**changes):
    """Two drawings to train on and one to test on, with some arrays changed, or left out where None."""
    arrays = {
        "train_dxy": np.array([[1, 2], [3, 4], [5, 7]]), "train_pen": np.array([0, 1, 1]),
        "train_off": np.array([0, 2, 3]), "test_dxy": np.array([[9, 8]]), "test_pen": np.array([1]),
        "test_off": np.array([0, 1]),
    }  # fmt: skip
    return {name: array for name, array in (arrays | changes).items() if array is not None}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "pen.npz"

    def write(**changes):
        np.savez(path, **arrays_of(**changes))
        return str(path)

    return write


def test_a_file_is_read_by_its_parts(file):
    path = file()
    assert [one.tolist() for one in read_drawings(path, "train")] == [[[1, 2, 0], [3, 4, 1]], [[5, 7, 1]]]
    assert [one.tolist() for one in read_drawings(path)] == [[[9, 8, 1]]]
    data = strokes(0, path)
    assert data.normaliser == pytest.approx(np.std([1, 2, 3, 4, 5, 7])) and data.grain == 1 / data.normaliser
    assert strokes(0, path, grain=0.0).grain == 0.0 and strokes(0, file(test_dxy=np.array([[0.5, 1]]))).grain == 0.0


def test_first_points_without_an_offset_are_left_out_of_all_parts(file):
    zeros = np.array([[0, 0], [3, 4], [0, 0]])
    path = file(train_dxy=zeros, train_off=np.array([0, 0, 2, 3]))
    assert [one.tolist() for one in read_drawings(path, "train")] == [[], [[3, 4, 1]], []]
    assert read_drawings(path)[0].shape == (0, 3)
    assert "the test part has no drawing with a point: give one" in refused(lambda: strokes(0, path))
    one = file(train_dxy=zeros + np.eye(3, 2, dtype=int)[[2, 2, 0]])  # of one drawing alone
    assert len(read_drawings(one, "train")[0]) == 2


def test_a_file_without_a_test_part_gives_the_last_tenth(tmp_path):
    drawings = drawings_like(np.arange(40) % 7)
    points = np.concatenate(drawings)
    path = tmp_path / "all.npz"
    bounds = np.cumsum([0, *map(len, drawings)])
    np.savez(path, train_dxy=points[:, :2], train_pen=points[:, 2], train_off=bounds)
    assert len(read_drawings(path)) == 40
    data, again, other = (strokes(seed, str(path)) for seed in (0, 0, 1))
    found = [*drawings_of(data.train), *drawings_of(data.test)]
    firsts = [one[0, 0] for one in drawings if len(one)]
    np.testing.assert_allclose(sorted(one[0, 0] * data.normaliser for one in found), sorted(firsts))
    assert np.array_equal(data.test.y, again.test.y) and not np.array_equal(data.test.y, other.test.y)
    assert 1 <= len(drawings_of(data.test)) <= 4


MISTAKES = [
    ({"train_off": None}, "pen.npz: no array 'train_off': give train_dxy, train_pen and train_off"),
    ({"test_pen": None}, "pen.npz: no array 'test_pen': give test_dxy, test_pen and test_off"),
    ({"train_dxy": np.ones((3, 3))}, "pen.npz: train_dxy is float64 of shape (3, 3): give numbers of shape (P, 2)"),
    ({"train_pen": np.array(["a", "b", "c"])}, "pen.npz: train_pen is <U1 of shape (3,): give numbers of shape (P,)"),
    ({"train_off": np.array(3)}, "pen.npz: train_off is int64 of shape (): give numbers of shape (n + 1,)"),
    ({"train_pen": np.array([0, 1])}, "pen.npz: train_dxy has 3 points and train_pen has 2: give one pen for each"),
    (
        {"train_off": np.array([0, 2, 4])},
        "pen.npz: train_off goes from 0 to 4: begin with 0, nowhere fall, and end with 3, the number of points",
    ),
    ({"train_off": np.array([1, 2, 3])}, "pen.npz: train_off goes from 1 to 3: begin with 0"),
    ({"train_off": np.empty(0)}, "pen.npz: train_off is empty: begin with 0, nowhere fall, and end with 3"),
    (
        {"train_off": np.array([0, 2, 1, 3])},
        "pen.npz: train_off goes from 2 to 1 at drawing 1 (from 0): begin with 0, nowhere fall, and end with 3",
    ),
    ({"train_off": np.array([0, 1.5, 3])}, "pen.npz: train_off goes from 0 to 1.5 at drawing 0 (from 0): "),
    (
        {"train_dxy": np.array([[1, 2], [3, np.nan], [5, 7]])},
        "pen.npz: train: drawing 0, point 1 (both from 0): dy is nan: give finite numbers",
    ),
    (
        {"test_dxy": np.array([[np.inf, 8]])},
        "pen.npz: test: drawing 0, point 0 (both from 0): dx is inf: give finite numbers",
    ),
    (
        {"train_pen": np.array([0, 1, 2])},
        "pen.npz: train: drawing 1, point 0 (both from 0): pen is 2: give 1 where the pen is lifted after the point",
    ),
    ({"train_pen": np.array([0, np.nan, 1])}, "pen.npz: train: drawing 0, point 1 (both from 0): pen is nan: give 1"),
    (
        {"train_dxy": np.zeros((0, 2)), "train_pen": np.zeros(0), "train_off": np.array([0])},
        "the train part has no drawing with a point: give one",
    ),
    ({"train_dxy": np.full((3, 2), 4)}, "all dx and dy of the train part are alike: there is nothing to predict"),
    ({"train_pen": np.array([0, 1, None])}, "pen.npz: cannot be read as NPZ (Object arrays cannot be loaded when"),
]


@pytest.mark.parametrize(("changes", "said"), MISTAKES, ids=[said[:40] for _, said in MISTAKES])
def test_a_mistake_in_a_file_is_one_line(file, changes, said):
    path = file(**changes)
    assert said in refused(lambda: strokes(0, path))
    data = strokes(0, file())  # each line's cure gives the file as it should be
    assert len(drawings_of(data.train)) == 2


def test_what_is_no_file_of_drawings(tmp_path, file):
    gone = str(tmp_path / "gone.npz")
    assert refused(lambda: strokes(0, gone)) == f"{gone}: no such file: give the path of an NPZ file of drawings"
    (tmp_path / "gone.npz").write_text("dx,dy,pen\n1,2,0\n")
    assert "gone.npz: cannot be read as NPZ (no archive of arrays): save arrays" in refused(lambda: strokes(0, gone))
    path = file()
    assert refused(lambda: read_drawings(path, "valid")) == f"{path}: no part 'valid': it has train"
    assert refused(lambda: read_drawings(path, "tset")) == f"{path}: no part 'tset': it has train"
    assert read_drawings(path, "train")


def test_a_drawing_longer_than_a_row(file):
    path = file()
    said = "train: drawing 0 (from 0) has 2 points, and a row's length is 1: raise it to 2, or leave it out"
    assert refused(lambda: strokes(0, path, length=1)) == f"{path}: {said}"
    assert strokes(0, path, length=2).train.x.shape == (2, 2, 4)
    drawings = [np.zeros((0, 3)), *drawings_like([3, 5])]
    said = "test: drawing 2 (from 0) has 5 points, and a row's length is 4: raise it to 5, or leave it out"
    assert refused(lambda: mdn.stroke_dataset(drawings[:2], drawings, length=4)) == said
    assert mdn.stroke_dataset(drawings[:2], drawings, length=5).test.x.shape == (2, 5, 4)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"length": 0}, "length must be a whole number, 1 or more; got 0"),
        ({"length": 12.5}, "length must be a whole number, 1 or more; got 12.5"),
        ({"stretch": 1.0}, "stretch must be 0 or more and less than 1; got 1.0"),
        ({"stretch": "much"}, "stretch must be 0 or more and less than 1; got 'much'"),
        ({"grain": -1.0}, "grain must be 0 or more; got -1.0"),
        ({"grain": float("nan")}, "grain must be 0 or more; got nan"),
    ],
)
def test_settings_out_of_their_range(options, said):
    drawings = drawings_like([3, 5])
    assert refused(lambda: mdn.stroke_dataset(drawings, drawings, **options)) == said


def test_what_is_no_drawing():
    good = drawings_like([3, 5])
    for bad, said in (
        ([np.ones((4, 2))], "train: drawing 0 (from 0) has shape (4, 2): give (n, 3), of dx, dy and pen"),
        ([*good, np.ones(3)], "train: drawing 2 (from 0) has shape (3,): give (n, 3), of dx, dy and pen"),
        ([["a"]], "train must hold drawings, arrays (n, 3) of dx, dy and pen"),
        ([good[0], np.array([LAST, [1, 2, 0.5]])], "train: drawing 1, point 1 (both from 0): pen is 0.5: give 1 where"),
        ([np.zeros((0, 3))], "the train part has no drawing with a point: give one"),
        ([], "the train part has no drawing with a point: give one"),
    ):
        assert refused(lambda bad=bad: mdn.stroke_dataset(bad, good)).startswith(said)
    assert mdn.stroke_dataset(good, good).train.x.shape == (1, 128, 4)


# Configs

TEXT = '[dataset]\nname = "strokes"\n'


def test_a_config_names_a_file_from_its_own_folder(tmp_path, file, monkeypatch):
    file()
    (tmp_path / "pen.toml").write_text(TEXT + 'path = "pen.npz"\noptions = { length = 3, ends = true }\n')
    monkeypatch.chdir(os.sep)
    config = runs.resolve(runs.read_config(tmp_path / "pen.toml")[0])[0]
    assert config.dataset.path == f"{tmp_path}/pen.npz" and config.dataset.table_checksum
    data = load(config.dataset)
    assert data.kind == "strokes" and data.train.x.shape == (1, 3, 4) and data.num_classes == (None, None, 3)
    assert not {"num_points", "num_test_points"} & config.to_dict()["dataset"].keys()
    file(test_pen=np.array([0]))
    line = refused(lambda: load(config.dataset))
    assert line.startswith(f"{tmp_path}/pen.npz has changed since this config noted its dataset.table_checksum")
    file()
    assert len(load(config.dataset).train) == 1


def test_a_file_on_the_command_line(tmp_path, file, monkeypatch):
    seen, path = [], file()
    (tmp_path / "pen.toml").write_text(TEXT)
    monkeypatch.setattr(runs, "run", lambda config, *_, **__: seen.append(config) or {"status": "ok"})
    monkeypatch.setattr(running, "_print_metrics", lambda *_: None)
    assert cli.main(["run", f"{tmp_path}/pen.toml", "--dataset.path", path, "--dataset.options.length", "4"]) == 0
    assert seen[0].dataset.name == "strokes" and load(seen[0].dataset).train.x.shape == (1, 4, 4)


def test_a_setting_without_a_use_is_refused(file):
    path = file()

    def refused_for(text):
        return refused(lambda: load(parse(text, "a.toml")[0].dataset))

    data = load(parse(TEXT, "a.toml")[0].dataset)
    assert len(drawings_of(data.train)) == 3_000 and len(drawings_of(data.test)) == 500
    said = "dataset.num_points has no use for dataset.name = 'strokes': drop num_points"
    assert refused_for(TEXT + "num_points = 100\n") == said
    said = "dataset.path has no use for dataset.name = 'sinusoid': drop name for a table, or drop path"
    assert refused_for(f'[dataset]\nname = "sinusoid"\npath = "{path}"\n') == said
    said = "dataset.name: strokes: num_drawings counts letters drawn from formulas: drop it, or path"
    assert refused_for(TEXT + f'path = "{path}"\noptions = {{ num_drawings = 5 }}\n') == said
    assert "calibrates one answer a row, and rows here are sequences: drop it" in refused_for(
        TEXT + "calibration_fraction = 0.2\n"
    )
    said = "dataset.name: strokes: num_test_drawings must be a whole number, 1 or more; got 0"
    assert refused_for(TEXT + "options = { num_test_drawings = 0 }\n") == said
    assert "dataset.options.strech: strokes takes no 'strech': did you mean 'stretch'?" in refused_for(
        TEXT + "options = { strech = 0.1 }\n"
    )


def test_sizes_stand_in_configs_of_the_problems_that_have_them():
    assert set(fields.PROBLEMS) == set(PROBLEMS)
    for text, sized in ((TEXT, False), ('[dataset]\nname = "sinusoid"\n', True), ('[dataset]\nname = "a:b"\n', False)):
        assert ("num_points" in parse(text, "a.toml")[0].to_dict()["dataset"]) == sized

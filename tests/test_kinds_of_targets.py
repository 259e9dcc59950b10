"""Targets of any kind whole: scores by scikit-learn, runs, figures, reports and predictions of every head."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, confusion_matrix, log_loss

import mdn_jax as mdn
from mdn_jax import cli, plotting, runs
from mdn_jax.config import parse
from mdn_jax.data import load
from mdn_jax.judging import kinds
from mdn_jax.judging.baselines import baseline_report, baseline_scores
from mdn_jax.judging.classifiers import frequencies, softmax_regression
from mdn_jax.judging.targets import classes_of, components_of, kinds_of, numbers_of, of_targets

KINDS = ("ant", "bee", "cat")
TABLE = """
[dataset]
path = "table.csv"
inputs = ["a", "b"]
targets = [{targets}]
categorical = [{categorical}]
test_fraction = 0.3
calibration_fraction = 0.3

[model]
hidden_sizes = [4]
{model}
[training]
num_steps = 20
evaluate_every = 10
{training}
"""
OWN = '''
from dataclasses import dataclass
import jax, jax.numpy as jnp
from mdn_jax import Standardizer

@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Logistic:
    """A logistic distribution of one target that can do little."""
    loc: jax.Array
    log_scale: jax.Array
    target_dim = property(lambda self: 1)
    batch_shape = property(lambda self: self.loc.shape)

    def log_prob(self, y):
        z = (y[0] - self.loc) / jnp.exp(self.log_scale)
        return -z - 2 * jax.nn.softplus(-z) - self.log_scale

    def sample(self, key, shape=(), temperature=1.0):
        return self.loc + temperature * jnp.exp(self.log_scale) * jax.random.logistic(key, (*shape, 1))

    def mean(self):
        return self.loc[None]

    def cdf(self, y):
        return jax.nn.sigmoid((y - self.loc) / jnp.exp(self.log_scale))

    def affine(self, shift, scale):
        return Logistic(shift[0] + scale[0] * self.loc, self.log_scale + jnp.log(scale[0]))

@dataclass(frozen=True)
class Spec:
    target_dim: int = 1
    num_outputs = 2

    def unpack(self, raw):
        return Logistic(raw[0], raw[1])

    def initial_bias(self, y):
        return jnp.array([0.0, -0.6])

    def units(self, y, weight=None):
        return Standardizer.fit(y)
'''
CASES = {  # targets, those that name kinds, [model], [training], flags of predict
    "independent": ("size, weight", "", 'num_components = 2\nhead = "independent"', "", "--num-modes 2"),
    "categorical": ("kind", "kind", 'head = "categorical"', "", "--samples 3"),
    "mixed": ("size, kind", "kind", "num_components = 2", "", "--samples 3"),
    "ensemble": ("size, kind", "kind", "num_components = 1", "ensemble_size = 2", "--interval central"),
    "own": ("size", "", 'head = "own.py:Spec"', "", "--samples 3"),
}


def columns(count=200, seed=0):
    """Rows whose kinds, sizes and weights follow from a and b."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, count))
    logits = np.stack([2 * a, b, -a], axis=1)
    codes = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    size, weight = a + 0.3 * rng.normal(size=count), 100 + 10 * b + rng.normal(size=count)
    return {"a": a, "b": b, "size": size, "weight": weight, "kind": np.array(KINDS)[codes]}


def config_of(case):
    targets, categorical, model, training, _ = CASES[case]
    listed = [", ".join(f'"{name}"' for name in names.split(", ") if name) for names in (targets, categorical)]
    return TABLE.format(targets=listed[0], categorical=listed[1], model=model, training=training)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Each case's run by the command line, done once."""
    place = tmp_path_factory.mktemp("kinds")
    pl.DataFrame(columns()).write_csv(place / "table.csv")
    (place / "own.py").write_text(OWN)
    done = {}

    def run(case):
        if case not in done:
            (place / f"{case}.toml").write_text(config_of(case))
            assert cli.main(["run", str(place / f"{case}.toml"), "--out", str(place / case)]) == 0
            done[case] = place / case
        return done[case]

    return run


def metrics_of(folder):
    return json.loads((folder / "metrics.json").read_text())


# Runs


@pytest.mark.parametrize("case", CASES)
def test_a_run_goes_whole_through_report_plot_and_predict(case, finished, capsys):
    folder = finished(case)
    metrics, names = metrics_of(folder), CASES[case][0].split(", ")
    numbers = [name for name in names if name != "kind"]
    assert metrics["status"] == "ok" and np.isfinite(metrics["test_nll"])
    for score in ("test_rmse", "coverage_90", "width_90", "pit_deviation"):
        assert list(metrics[score]) == numbers and np.isfinite(list(metrics[score].values())).all()
    for score in ("test_log_loss", "test_accuracy", "calibration_error"):
        assert list(metrics.get(score, ())) == [name for name in names if name == "kind"]
    assert {record["target"] for record in metrics["coverage"]["regions"]} - {None} == set(numbers)
    page = (folder / "report.html").read_text()
    assert page.count("<img") == len(list((folder / "figures").glob("*.png")))
    assert "nan" not in page.lower().replace("information", "").split("<pre>")[0].split("base64,")[0]

    stems = {path.stem for path in (folder / "figures").glob("*.png")}
    assert ({"reliability", "confusion"} <= stems) == ("kind" in names)
    assert ({"calibration", "health", "predictions"} <= stems) == bool(numbers)
    before = {path.name: path.read_bytes() for path in (folder / "figures").glob("*.png")}
    assert cli.main(["plot", str(folder)]) == 0
    assert {path.name: path.read_bytes() for path in (folder / "figures").glob("*.png")} == before

    out, flags = folder.parent / f"{case}.csv", CASES[case][4].split()
    assert cli.main(["predict", str(folder), str(folder.parent / "table.csv"), "--out", str(out), *flags]) == 0
    frame = pl.read_csv(out)
    assert frame.height == 200 and frame["log_prob"].is_finite().all()
    for name in numbers:
        assert frame[f"{name}_mean"].is_finite().all() and frame[f"{name}_q50"].is_finite().all()
    if "kind" in names:
        probs = frame.select(f"kind_is_{kind}" for kind in KINDS).to_numpy()
        assert_allclose(probs.sum(axis=1), 1.0, atol=1e-5)
        assert_array_equal(frame["kind"], np.array(KINDS)[probs.argmax(axis=1)])
        assert_allclose(frame["kind_probability"], probs.max(axis=1))
    if "--samples" in flags:
        drawn = pl.read_csv(out.with_name(f"{case}_samples.csv"))
        assert drawn.columns == ["row", "sample", *names] and drawn.height == 600
        assert "kind" not in names or set(drawn["kind"]) <= set(KINDS)
    capsys.readouterr()


def test_the_scores_of_a_run_are_scikit_learns(finished):
    folder = finished("categorical")
    data = load(runs.read_config(folder / "config.toml")[0].dataset)
    metrics, model = metrics_of(folder), mdn.load(folder)
    probs = np.asarray(jax.vmap(model)(jnp.asarray(data.test.x)).probs, np.float64)
    observed = data.test.y[:, 0].astype(int)
    expected = log_loss(observed, probs / probs.sum(axis=1, keepdims=True), labels=range(3))
    assert metrics["test_log_loss"]["kind"] == pytest.approx(expected, rel=1e-5)
    assert metrics["test_nll"] == pytest.approx(expected, rel=1e-5)
    assert metrics["test_accuracy"]["kind"] == accuracy_score(observed, probs.argmax(axis=1))
    scores = mdn.evaluate(model, data.test.x, data.test.y)
    names, counts = kinds.confusion(data.test.y[:, 0], scores.kind[:, 0], KINDS)
    assert names == list(KINDS)
    assert_array_equal(counts, confusion_matrix(observed, probs.argmax(axis=1)))
    figure = plotting.confusion_figure(data.test.y, scores, ("kind",), (KINDS,))
    assert [text.get_text() for text in figure.axes[0].texts] == [str(count) for count in counts.ravel()]


def test_marginals_of_a_mixed_table_add_up(finished):
    """Blocks are independent given x: the joint NLL is the numbers' and the kinds' side by side."""
    folder = finished("ensemble")
    model, table = mdn.load(folder), columns(50, seed=1)
    x = np.stack([table["a"], table["b"]], axis=1)
    y = np.stack([table["size"], np.searchsorted(KINDS, table["kind"]).astype(float)], axis=1)
    scores = mdn.evaluate(model, x, y)
    assert scores.classes == (None, 3) and scores.responsibilities.shape == (50, 2)  # 2 networks of 1 component
    for row in range(5):
        each = [network(x[row]) for network in model.networks]
        joint = np.mean([np.exp(mdn.log_prob(one, y[row])) for one in each])
        assert scores.nll[row] == pytest.approx(-np.log(joint), rel=1e-4)
        probs = np.mean([one.parts[1].probs for one in each], axis=0)
        assert scores.log_loss[row, 1] == pytest.approx(-np.log(probs[int(y[row, 1])]), rel=1e-4)
        assert scores.confidence[row, 1] == pytest.approx(probs.max(), rel=1e-5)
    assert np.isnan(scores.log_loss[:, 0]).all() and np.isnan(scores.pit[:, 1]).all()
    frame = mdn.predict(model, {"a": x[:1, 0], "b": x[:1, 1]}, interval="central")
    means = [float(mdn.mean(mdn.marginal(network(x[0]), 0))[0]) for network in model.networks]
    assert frame["size_disagreement"][0] == pytest.approx(np.std(means), rel=1e-3)
    number = mdn.marginal(model(x[0]), 0)
    assert scores.pit[0, 0] == pytest.approx(float(mdn.cdf(number, y[0, :1])[0]), abs=1e-5)


def test_missing_targets_of_kinds_have_no_score(finished):
    model, table = mdn.load(finished("ensemble")), columns(40, seed=2)
    x, size = np.stack([table["a"], table["b"]], axis=1), table["size"]
    observed = np.stack([np.ones(40, bool), np.arange(40) % 2 == 0], axis=1)
    scores = mdn.evaluate(model, x, np.stack([size, np.zeros(40)], axis=1), observed=observed)
    assert_array_equal(np.isnan(scores.hit[:, 1]), ~observed[:, 1])
    alone = [float(mdn.nll(mdn.marginal(model(x[row]), 0), size[row : row + 1])) for row in (1, 3)]
    assert_allclose(scores.nll[[1, 3]], alone, rtol=1e-4)


# What is asked of one distribution


def mixed():
    mixture = mdn.Mixture(jnp.zeros(2), jnp.array([[0.0, 1.0], [2.0, 3.0]]), mdn.Isotropic(jnp.zeros(2)))
    return mdn.Product((mixture, mdn.Categorical(jnp.array([0.0, 1.0, -1.0]))))


def test_each_target_is_asked_by_what_it_can_do():
    product = mixed()
    assert list(kinds_of(product)) == [2]
    dims, numbers = numbers_of(product)
    assert list(dims) == [0, 1] and isinstance(numbers, mdn.Mixture)
    said = of_targets(mdn.mean, product)
    assert_allclose(said[:2], mdn.mean(product.parts[0]))
    assert np.isnan(said[2])
    assert of_targets(lambda one: mdn.interval(one, 0.9), product, shape=(2,)).shape == (2, 3)
    model = mdn.Model(lambda x: product, None, mdn.Standardizer.identity(3))
    assert classes_of(model, np.zeros(1)) == (None, None, 3) and components_of(model, np.zeros(1)) == 2


# Calibration


def test_the_calibration_error_by_hand():
    # two bins of five rows: 4 of 5 right at 0.9, 1 of 5 at 0.6
    hit = np.array([1, 1, 1, 1, 0, 1, 0, 0, 0, 0], float)
    confidence = np.array([0.9] * 5 + [0.6] * 5)
    assert kinds.calibration_error(hit, confidence, np.ones(10)) == pytest.approx(0.5 * 0.1 + 0.5 * 0.4)
    weight = np.array([1.0] * 5 + [3.0] * 5)
    assert kinds.calibration_error(hit, confidence, weight) == pytest.approx(0.25 * 0.1 + 0.75 * 0.4)
    hit[0] = np.nan  # then 3 of 4 at 0.9
    assert kinds.calibration_error(hit, confidence, np.ones(10)) == pytest.approx(4 / 9 * 0.15 + 5 / 9 * 0.4)
    rng = np.random.default_rng(0)
    sure = rng.uniform(0.4, 1.0, 1_000)
    hit = (rng.uniform(size=1_000) < sure).astype(float)
    order = np.argsort(sure)
    by_hand = np.mean([abs(hit[rows].mean() - sure[rows].mean()) for rows in np.array_split(order, 10)])
    assert kinds.calibration_error(hit, sure, np.ones(1_000)) == pytest.approx(by_hand)


def test_chance_is_what_calibrated_probabilities_make():
    rng = np.random.default_rng(1)
    sure, errors = rng.uniform(0.4, 1.0, 500), []
    for _ in range(400):
        found = kinds.reliability((rng.uniform(size=500) < sure).astype(float), sure, np.ones(500))
        errors.append(found.error)
    mean, spread = found.chance
    assert np.mean(errors) == pytest.approx(mean, abs=4 * spread / 20)
    assert np.std(errors) == pytest.approx(spread, rel=0.2)


@pytest.mark.parametrize(("gain", "told"), [(0.0, 0), (0.2, 1)])
def test_only_probabilities_that_do_not_hold_are_told(gain, told):
    rng = np.random.default_rng(2)
    sure = rng.uniform(0.4, 0.8, (500, 1))
    hit, none = (rng.uniform(size=(500, 1)) < sure).astype(float), np.full((500, 1), np.nan)
    scores = mdn.judging.Scores(
        np.zeros(500), none, none, none, none, log_loss=none, hit=hit, confidence=sure + gain, kind=hit, classes=(3,)
    )
    said = kinds.kind_sentences(scores, ("kind",))
    assert len(said) == told and all(line.startswith("the probabilities of 'kind' do not hold") for line in said)


def test_rare_kinds_are_put_together():
    observed = np.repeat(np.arange(12.0), np.arange(1, 13))
    names, counts = kinds.confusion(np.append(observed, np.nan), np.append(observed, 0), [f"k{i}" for i in range(12)])
    assert names == [*(f"k{i}" for i in range(2, 12)), "others"]
    assert_array_equal(np.diag(counts), [*range(3, 13), 3])


# Baselines


def test_the_linear_classifier_is_scikit_learns():
    table = columns(300)
    x, codes = np.stack([table["a"], table["b"]], axis=1), np.searchsorted(KINDS, table["kind"])
    weight = np.tile([0.5, 1.5], 150)
    design = np.column_stack([np.ones(300), x])
    found = softmax(design[:20] @ softmax_regression(design, codes.astype(float), weight, 3), axis=1)
    expected = LogisticRegression(C=1.0, tol=1e-8, max_iter=1_000).fit(x, codes, sample_weight=weight)
    assert_allclose(found, expected.predict_proba(x[:20]), atol=5e-3)
    counts = np.bincount(codes, weight)
    assert_allclose(np.exp(design[0] @ frequencies(design, codes, weight, 3)), (counts + 1) / (counts.sum() + 3))


def test_baselines_of_numbers_and_kinds_add_up():
    x, kind, size = np.arange(80.0)[:, None], np.arange(80.0) % 2, np.sin(np.arange(80.0))
    both = mdn.Part(x, np.stack([size, kind], axis=1))
    config = parse('[dataset]\nname = "sinusoid"\n', "x")[0]
    found = {}
    for name, part, classes in (
        ("both", both, (None, 2)),
        ("number", mdn.Part(x, size), (None,)),
        ("kind", mdn.Part(x, kind), (2,)),
    ):
        data = mdn.Dataset(part, part, num_classes=classes)
        found[name] = baseline_report(config, data, baseline_scores(config, data))
    for both, number, kind in (("no_inputs", "marginal", "frequencies"), ("linear", "least_squares", "softmax")):
        nll = found["number"][number]["test_nll"] + found["kind"][kind]["test_nll"]
        assert found["both"][both]["test_nll"] == pytest.approx(nll, rel=1e-6)
    assert found["kind"]["frequencies"]["test_nll"] == pytest.approx(np.log(2))


# Prediction


def test_given_kinds_and_numbers(finished):
    model, table = mdn.load(finished("ensemble")), {"a": [0.5, -0.5], "b": [0.0, 1.0], "seen": ["cat", "ant"]}
    by_name, by_column = (
        mdn.predict(model, table, given={"kind": "cat"}),
        mdn.predict(model, table, given={"kind": "seen"}),
    )
    assert "kind" not in by_name.columns and by_name["size_mean"][0] == by_column["size_mean"][0]
    assert by_name["size_mean"][1] != by_column["size_mean"][1]
    # what a kind says of the networks weighs them anew
    x = np.array([-0.5, 1.0])
    expected = mdn.mean(mdn.condition(model(x), 1, 0.0))[0]
    assert by_column["size_mean"][1] == pytest.approx(float(expected), rel=1e-4)
    weighed = mdn.predict(model, table, given={"size": 0.3})
    assert weighed["kind_is_bee"][1] == pytest.approx(float(mdn.condition(model(x), 0, 0.3).probs[1]), rel=1e-4)
    with pytest.raises(mdn.InputError, match=r"'kind' is 'cta', neither a kind .* nor a column: did you mean 'cat'"):
        mdn.predict(model, table, given={"kind": "cta"})
    with pytest.raises(mdn.InputError, match="column 'kind', row 1: training never saw 'cow': expected one of: ant"):
        mdn.predict(model, table | {"seen": ["cow", "ant"]}, given={"kind": "seen"})


def test_a_kind_never_seen_has_no_density(finished, capsys):
    folder = finished("mixed")
    table = {name: values[:3] for name, values in columns().items()} | {"kind": ["ant", "cow", None]}
    frame = mdn.predict(mdn.load(folder), table)
    assert frame["log_prob"].is_null().to_list() == [False, True, False]  # a missing one is integrated out
    with pytest.raises(mdn.InputError, match="column 'kind', row 2: training never saw 'cow'"):
        mdn.predict(mdn.load(folder), table, strict=True)
    pl.DataFrame(table).write_csv(folder.parent / "cows.csv")
    arguments = [str(folder), str(folder.parent / "cows.csv"), "--keep", "all", "--out", str(folder.parent / "x.csv")]
    assert cli.main(["predict", *arguments]) == 0
    printed = capsys.readouterr().out
    assert "1 value of 'kind' is of a kind that training never saw: 'cow' in row 2; log_prob is empty there" in printed
    assert pl.read_csv(folder.parent / "x.csv").columns[:5] == ["a", "b", "size", "weight", "size_mean"]


def test_modes_of_independent_targets_are_their_own(finished):
    folder = finished("independent")
    model, table = mdn.load(folder), pl.read_csv(folder.parent / "table.csv")
    frame = pl.read_csv(folder.parent / "independent.csv")  # of the test above
    for dim, name in enumerate(("size", "weight")):
        mode = mdn.mode(mdn.marginal(model(np.array([table["a"][0], table["b"][0]])), dim))[0]
        assert frame[f"{name}_mode"][0] == pytest.approx(float(mode), rel=1e-4)
        assert 0 < frame[f"{name}_mode_weight_1"][0] <= 1
    assert "mode_weight_1" not in frame.columns


def test_a_head_of_ones_own_has_central_intervals(finished):
    frame = mdn.predict(runs.load_run(finished("own")), {"a": [0.5], "b": [0.0]})
    assert {"size_low", "size_high"} <= set(frame.columns)
    assert frame["size_low"][0] == frame["size_q05"][0] and frame["size_high"][0] == frame["size_q95"][0]


# A first config


def test_new_takes_a_target_of_kinds(finished, tmp_path):
    source = finished("mixed").parent / "table.csv"
    table = runs.new_config(source, ["kind", "size"], tmp_path / "new.toml")
    assert len(table.columns) == 5
    config, _ = runs.read_config(tmp_path / "new.toml")
    assert config.dataset.targets == ("kind", "size") and config.dataset.categorical == ("kind",)
    data = load(config.dataset)
    assert data.num_classes == (3, None)
    runs.new_config(source, ["kind"], tmp_path / "kinds.toml")
    assert "calibration_fraction" not in (tmp_path / "kinds.toml").read_text()

"""Every fault speaks in the case that was planted for it, with its cure, and is silent on healthy tables."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import mdn_jax as mdn
from mdn_jax.judging import Scores
from mdn_jax.judging.faults import FAULTS, Evidence, fault_sentences, outside_mass

COUNT = 1_000


def evidence_of(y, x=None, *, error=None, crps=None, others=None, outside=(0.0, 0.0), nll=None, place=None, test=None):
    """Of one target; scores are those of N(0, 1) around 0 where nothing else is said."""
    y = np.asarray(y, float)
    x = np.random.default_rng(9).normal(size=(len(y), 2)) if x is None else x
    train = mdn.Part(x, y, place=place)
    test = train if test is None else test
    rng, count = np.random.default_rng(8), len(test)
    error = rng.normal(size=count) if error is None else error
    column = np.full((count, 1), 0.5)
    scores = Scores(
        nll=rng.normal(size=count) if nll is None else nll,
        error=np.reshape(error, (-1, 1)),
        crps=np.reshape(np.abs(error) if crps is None else crps, (-1, 1)),
        pit=column,
        width_90=column,
    )
    data = mdn.Dataset(train, test, tuple(f"x{index + 1}" for index in range(x.shape[1])), ("y",))
    return Evidence(data, scores, others or {}, np.array(outside)[:, None])


def scores_like(evidence, error):
    return evidence_of(evidence.dataset.train.y[:, 0], error=error).scores


def planted(name):
    """A case in which this fault is true, and what its sentence must hold."""
    rng = np.random.default_rng(0)
    y = rng.normal(10.0, 1.0, COUNT)
    if name == "deciding":
        y[6] = 1e6
        return evidence_of(y, place=np.arange(COUNT)[::-1] + 3), ["row 997 of the table", "1e+06", "times the spread"]
    if name == "twin":
        x = rng.normal(size=(COUNT, 2))
        x[:, 1] = 3.28 * y - 4.0
        return evidence_of(y, x), ["input 'x2' is 'y' itself", "dataset.inputs"]
    if name == "repeated":
        y[:570] = 0.0
        return evidence_of(y), ["exactly 0 in 57 %", "set dataset.atoms = { y = [0] }"]
    if name == "stepped":
        return evidence_of(np.round(2 * y) / 2), ["multiples of 0.5", "set dataset.support = { y = { step = 0.5 } }"]
    if name == "outside":
        return evidence_of(np.exp(y - 10.0), outside=(0.12, 0.001)), [
            "12.0 % below",
            "never negative",
            'dataset.support = { y = "positive" }',
        ]
    if name == "worse":
        plain = evidence_of(y)
        worse = plain.scores.error[:, 0] + rng.normal(size=COUNT)
        others = {"linear least squares": scores_like(plain, plain.scores.error)}
        return evidence_of(y, error=worse, others=others), ["linear least squares", "RMSE", "the model's"]
    nll = rng.normal(size=COUNT)
    nll[12] = 900.0
    return evidence_of(y, nll=nll), ["test row 12 alone", "compare CRPS"]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_speaks_where_it_was_planted(fault):
    evidence, wanted = planted(fault.name)
    said = fault.sentence(evidence, 0)
    assert said is not None and all(part in said for part in wanted), said
    assert said in fault_sentences(evidence) and "\n" not in said


def test_a_worse_crps_is_told_where_the_mean_is_not_worse():
    rng, y = np.random.default_rng(1), np.random.default_rng(0).normal(size=COUNT)
    plain = evidence_of(y)
    others = {"one Gaussian": plain.scores}
    evidence = evidence_of(y, error=plain.scores.error, crps=1.1 * plain.scores.crps[:, 0], others=others)
    (said,) = [fault.sentence(evidence, 0) for fault in FAULTS if fault.name == "worse"]
    assert "one Gaussian answers 'y' better: its CRPS" in said
    assert (
        fault_sentences(evidence_of(y, error=plain.scores.error[:, 0] * rng.choice([-1, 1], COUNT), others=others))
        == []
    )


def test_a_few_wild_means_are_told_though_chance_could_make_them():
    error = np.random.default_rng(2).normal(size=COUNT)
    wild = error.copy()
    wild[:3] = 100.0
    y = np.random.default_rng(3).normal(size=COUNT)
    others = {"linear least squares": scores_like(evidence_of(y), error)}
    (said,) = fault_sentences(evidence_of(y, error=wild, crps=np.abs(error), others=others))
    assert said.startswith("linear least squares predicts the mean of 'y' better")


LAWS = {
    "normal": scipy.stats.norm(3.0, 2.0),
    "uniform": scipy.stats.uniform(-1.0, 5.0),
    "laplace": scipy.stats.laplace(0.0, 3.0),
    "gamma": scipy.stats.gamma(2.0, scale=100.0),
    "two humps": None,
}


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("count", [300, 1_000, 10_000])
def test_healthy_tables_are_not_blamed(law, count):
    """Scores of the law itself, ten times: the mean over rows of what lies beyond the training range is exact too."""
    for seed in range(10):
        rng = np.random.default_rng([seed, count])
        if LAWS[law] is None:
            y, test = (rng.choice([-3.0, 3.0], size) + rng.normal(size=size) for size in (count, count // 5))
            humps = [scipy.stats.norm(-3.0, 1.0), scipy.stats.norm(3.0, 1.0)]
            outside = np.mean([[one.cdf(y.min()), one.sf(y.max())] for one in humps], axis=0)
        else:
            y, test = (LAWS[law].rvs(size, random_state=rng) for size in (count, count // 5))
            outside = LAWS[law].cdf(y.min()), LAWS[law].sf(y.max())
        part = mdn.Part(rng.normal(size=(len(test), 2)), test)
        plain = evidence_of(y, test=part, error=y.mean() - test, outside=outside)
        shifted = evidence_of(y, test=part, error=y.mean() - test + 0.02 * y.std() * rng.normal(size=len(test)))
        evidence = plain._replace(baselines={"the targets' own Gaussian": shifted.scores})
        assert fault_sentences(evidence) == []


def test_outside_mass_is_the_models_own():
    rng = np.random.default_rng(0)
    y = rng.uniform(-1.0, 1.0, 200)
    data = mdn.Dataset(mdn.Part(rng.normal(size=(200, 1)), y), mdn.Part(rng.normal(size=(30, 1)), y[:30]))
    constant = lambda params, x: params + 0.0 * x[0]  # noqa: E731
    spec = mdn.MixtureSpec(1)
    raw = jnp.zeros(spec.num_outputs)
    state = mdn.start(jax.random.key(0), data.train.x, y, params=raw, apply=constant, spec=spec)
    model = mdn.finish(state).model
    answer = model(np.zeros(1, np.float32))
    exact = scipy.stats.norm(float(mdn.mean(answer)[0]), float(mdn.std(answer)[0]))
    found = outside_mass(model, data)[:, 0]
    assert found == pytest.approx([exact.cdf(y.min()), exact.sf(y.max())], rel=1e-4)

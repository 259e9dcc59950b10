"""The noise of built-in problems as an option: from configs, on the command line, in sweeps, and what is refused."""

import json
import math

import numpy as np
import pytest
from scipy import stats
from small_runs import TEXT, config_of
from small_sweeps import sweep

from mdn_jax import DatasetConfig, InputError, cli
from mdn_jax._seams import Options
from mdn_jax.data import PROBLEMS, load
from mdn_jax.runs import read_config

NOISY = [name for name, problem in PROBLEMS.items() if problem.noise is not None]


def of(name, **options):
    return DatasetConfig(name=name, num_points=40, num_test_points=300, seed=3, options=Options(options))


@pytest.mark.parametrize("name", NOISY)
def test_the_option_loads_the_problem_at_that_noise(name):
    plain, own, data = load(of(name)), load(of(name, noise=1)), load(of(name, noise=0.5))
    assert np.array_equal(plain.test.x, own.test.x) and np.array_equal(plain.test.y, own.test.y)
    both = [np.hstack([one.train.x, one.train.y]) for one in (plain, data)]
    assert (both[0] != both[1]).any()
    exact = PROBLEMS[name].at(0.5).log_density(data.test.x, data.test.y)  # pyright: ignore[reportOptionalCall]
    found = data.log_density(data.test.x, data.test.y)  # pyright: ignore[reportOptionalCall]
    assert np.isfinite(exact).all() and np.array_equal(found, exact)


@pytest.mark.parametrize("noise", [0, -1.0, 0.049, 10.01, math.nan, math.inf, True, "0.5", (0.1, 0.2)])
def test_another_noise_is_refused_in_one_line(noise):
    with pytest.raises(InputError) as caught:
        load(of("inverse_bishop", noise=noise))
    assert str(caught.value) == (
        "dataset.name: inverse_bishop: noise (dataset.options.noise) is a factor on the problem's own, a number from "
        f"0.05 to 10; got {noise!r}: choose one in this range, or drop it for 1"
    )


@pytest.mark.parametrize("name", sorted(set(PROBLEMS) - set(NOISY)))
def test_a_problem_of_one_noise_takes_no_option(name):
    with pytest.raises(
        InputError, match=r"^dataset\.options\.noise: the function takes no 'noise': it takes no option"
    ):
        load(of(name, noise=0.5))
    with pytest.raises(InputError, match=rf"^the noise of {name} cannot be changed: choose among sinusoid, inverse_"):
        PROBLEMS[name].at(0.5)


def oracle(noise):
    """The exact NLL of the small experiment's test rows, by scipy: its noise, scaled, costs the log of the scale."""
    test = load(config_of().dataset).test
    return -stats.norm.logpdf(test.y, 7.0 * np.sin(0.75 * test.x) + 0.5 * test.x).mean() + math.log(noise)


def test_the_command_line_sets_it_and_metrics_have_its_exact_nll(tmp_path, no_figures, capsys):
    (tmp_path / "a.toml").write_text(TEXT)
    command = ["run", f"{tmp_path}/a.toml", "--out", f"{tmp_path}/run", "--dataset.options.noise"]
    assert cli.main([*command, "20"]) == 2 and "(dataset.options.noise) is a factor" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    assert cli.main([*command, "0.5"]) == 0
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["oracle_nll"] == pytest.approx(oracle(0.5), abs=1e-12)


@pytest.mark.usefixtures("no_sweep_figures")
def test_members_of_a_sweep_have_data_of_their_own_noise(tmp_path):
    rows = sweep(tmp_path / "sweep", '"dataset.options.noise" = [0.2, 0.3]\n')
    assert [row["settings"]["dataset.options.noise"] for _, row in sorted(rows.items())] == [0.2, 0.3]
    noise = read_config(tmp_path / "sweep" / "best" / "config.toml")[0].dataset.options["noise"]
    metrics = json.loads((tmp_path / "sweep" / "best" / "metrics.json").read_text())
    assert metrics["oracle_nll"] == pytest.approx(oracle(noise), abs=1e-12)
    best = min(rows.values(), key=lambda row: row["val_nll"])
    assert best["settings"]["dataset.options.noise"] == noise
    assert metrics["test_nll"] == pytest.approx(best["test_nll"], rel=1e-4)
    with pytest.raises(InputError, match=r"sinusoid: noise \(dataset\.options\.noise\) is .*; got 20: "):
        sweep(tmp_path / "refused", '"dataset.options.noise" = [0.5, 20]\n')
    assert not (tmp_path / "refused").exists()

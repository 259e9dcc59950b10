"""The README's Python runs as it stands, and its two set-up commands have the promised form."""

import re
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mdn_jax import cli

README = Path(__file__).parent.parent / "README.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


FIT, EXPORT, OWN_LOOP, SKLEARN, OWN_CODE = BLOCKS


@pytest.mark.parametrize("block", [FIT + EXPORT, OWN_LOOP], ids=["fit", "own_loop"])
def test_python_blocks_run(block, capsys):
    names = {}
    exec(compile(block, "README.md", "exec"), names)
    if "fit" in names:
        assert names["fit"].status == "ok"
        printed = capsys.readouterr().out
        assert printed.strip().endswith("(50, 1)\n(3, 10, 1)") and "nan" not in printed
        modes, ends = exact_answers()
        found = np.array([float(number) for number in re.findall(r"\d\.\d+", printed)])
        # 25 draws and keys: modes within 0.012, ends within 0.022
        assert_allclose(np.sort(found[:3]), modes, atol=0.02)
        assert_allclose(found[3:], ends, atol=0.03)
        assert all(f"{number:.3f}" in block for number in [*modes, *ends])  # what its comments say
    else:
        assert names["value"] < -0.5  # noise-free: the data lie on a curve


def test_the_regressor_runs(capsys):
    names = {}
    exec(compile(SKLEARN, "README.md", "exec"), names)
    best, x = names["best"], names["X"]
    assert capsys.readouterr().out.startswith("{'learning_rate': ")
    assert best.score(x, names["y"]) > 0.7  # the noise takes 0.09 of a variance of 0.6
    spread = np.diff(best.predict_interval(x, 0.9))[:, 0]
    wide = np.abs(x[:, 1])
    assert spread[wide > 2].mean() > 1.5 * spread[wide < 1].mean()
    assert_allclose(names["log_likelihood"](best, x, names["y"]), best.log_prob(x, names["y"]).mean())


def test_a_config_with_code_of_ones_own_runs(tmp_path):
    (config,) = re.findall(
        r"^```toml\n(dataset = .*?)^```", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    (tmp_path / "own.py").write_text(OWN_CODE)
    (tmp_path / "own.toml").write_text(config.replace("1000", "20"))
    assert cli.main(["run", str(tmp_path / "own.toml"), "--out", str(tmp_path / "run")]) == 0
    assert cli.main(["sweep", str(tmp_path / "own.toml"), "--out", str(tmp_path / "swept")]) == 0
    assert len((tmp_path / "swept" / "results.csv").read_text().splitlines()) == 5


def exact_answers():
    """Of the first example, by quadrature: t is uniform, so p(t | x = 0.5) is N(0.5; x(t), 0.02) but for a constant."""
    t = (np.arange(200_000) + 0.5) / 200_000
    density = np.exp(-0.5 * ((t + 0.3 * np.sin(2 * np.pi * t) - 0.5) / 0.02) ** 2)
    modes = t[1:-1][(density[1:-1] > density[:-2]) & (density[1:-1] >= density[2:])]
    highest = np.sort(density)[::-1]
    level = highest[np.searchsorted(np.cumsum(highest), 0.9 * density.sum())]
    return modes, t[1:][np.diff((density >= level).astype(int)) != 0]


def test_two_commands_set_everything_up():
    commands = re.findall(r"^python3 -m venv .*$", README.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(commands) == 2
    assert commands[0].endswith("mdn-jax run configs/inverse_sinusoid.toml")
    assert commands[1].endswith("pytest")
    assert all("-c constraints.txt" in command for command in commands)

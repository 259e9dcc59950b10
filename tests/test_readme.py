"""The README's Python runs as it stands, and its two set-up commands have the promised form."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=["fit", "own_loop"])
def test_python_blocks_run(block, capsys):
    names = {}
    exec(compile(block, "README.md", "exec"), names)
    if "fit" in names:
        assert names["fit"].status == "ok"
        assert capsys.readouterr().out.strip().endswith("(50, 1)")
    else:
        assert names["value"] < -0.5  # noise-free: the data lie on a curve


def test_two_commands_set_everything_up():
    commands = re.findall(r"^python3 -m venv .*$", README.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(commands) == 2
    assert commands[0].endswith("mdn-jax run configs/inverse_sinusoid.toml")
    assert commands[1].endswith("pytest")
    assert all("-c constraints.txt" in command for command in commands)

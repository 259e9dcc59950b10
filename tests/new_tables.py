"""Tables that `mdn-jax new` sees first, for the tests of what it makes of them."""

import tomllib
from pathlib import Path

import pytest

from mdn_jax import InputError, cli, runs
from mdn_jax.data import load


def new(path, *targets):
    """The fields that `new` writes of a table, and its text."""
    Path("new.toml").unlink(missing_ok=True)
    assert cli.main(["new", str(path), "--targets", *targets, "--out", "new.toml"]) == 0
    text = Path("new.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)["dataset"], text


def loaded():
    return load(runs.read_config(Path("new.toml"))[0].dataset)


def refused(call, *arguments):
    with pytest.raises(InputError) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)

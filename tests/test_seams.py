"""Names, import paths and objects: what each means, one object for one source, and every mistake with its cure."""

import hashlib
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from mdn_jax import InputError
from mdn_jax._seams import Options, absolute, check_options, check_signature, checksum, find, is_path

FIELD = "model.network"
NAMES = {"mlp": len, "lstm": max}


@pytest.fixture
def write(tmp_path):
    """Writes a Python file into a folder, and gives its import path of `build`."""

    def write(text, name="own.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
        return f"{tmp_path / name}:build"

    return write


def line_of(call):
    with pytest.raises(InputError) as caught:
        call()
    line = str(caught.value)
    assert "\n" not in line
    return line


# What is found


def test_a_name_an_object_a_file_and_a_module(write):
    assert find("lstm", NAMES, FIELD) is max and find(min, NAMES, FIELD) is min
    assert find(write("def build(): return 7\n"), NAMES, FIELD)() == 7
    assert find("os.path:join", NAMES, FIELD)("a", "b") == str(Path("a") / "b")
    assert [is_path(one) for one in ("mlp", "own.py:f", "own:f", len, None)] == [False, True, True, False, False]


def test_one_source_is_one_object_and_a_changed_one_another(write):
    path = write("def build(): return 1\n")
    first = find(path, {}, FIELD)
    assert find(path, {}, "model.head") is first
    assert find(str(Path(path).parent / "." / "own.py:build"), {}, FIELD) is first  # the same file by another spelling
    second = find(write("def build(): return 2\n"), {}, FIELD)
    assert (first(), second()) == (1, 2)  # whoever holds the first keeps it
    assert find(write("def build(): return 1\n"), {}, FIELD) is first


def test_a_file_is_imported_as_python_runs_it(write, tmp_path):
    text = (
        "from __future__ import annotations\nfrom dataclasses import dataclass\nimport beside\nfrom parts import one\n"
    )
    text += (
        "@dataclass(frozen=True)\nclass build:\n    width: int = 3\n    def total(self): return self.width + beside.A"
    )
    write("A = 10\n", "beside.py")
    write("", "parts/__init__.py")
    write("B = 1\n", "parts/one.py")
    path_before, modules_before = list(sys.path), set(sys.modules)
    assert find(write(text), {}, FIELD)(width=5).total() == 15
    assert sys.path == path_before and set(sys.modules) == modules_before
    other = tmp_path / "other"
    write("A = 20\n", "other/beside.py")
    (other / "own.py").write_text("import beside\ndef build(): return beside.A\n")
    assert find(f"{other}/own.py:build", {}, FIELD)() == 20  # its own neighbour
    assert not list(tmp_path.rglob("__pycache__/own*"))


def test_a_relative_file_starts_from_a_folder(tmp_path):
    assert absolute("own.py:f", tmp_path) == f"{tmp_path}/own.py:f"
    assert absolute("../own.py:f", tmp_path / "a") == f"{tmp_path}/own.py:f"
    assert absolute("/a/own.py:f", tmp_path) == "/a/own.py:f"
    assert [absolute(one, tmp_path) for one in ("mlp", "own:f", len, None)] == ["mlp", "own:f", len, None]


def test_a_checksum_is_of_the_sources_bytes(write, tmp_path, monkeypatch):
    path = write("def build(): ...\n")
    assert checksum(path) == hashlib.sha256(b"def build(): ...\n").hexdigest()[:16]
    monkeypatch.syspath_prepend(tmp_path)
    assert checksum("own:build") == checksum(path) != checksum(write("def build(): pass\n"))
    none = ("mlp", len, f"{tmp_path}/gone.py:build", "no_such_module:f", "no_such.module:f", "sys:exit")
    assert [checksum(one) for one in none] == [None] * 6


# Mistakes


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ("lsmt", "model.network: no network 'lsmt': did you mean 'lstm'? (or an import path, \"own.py:build\")"),
        ("own.py", "model.network: 'own.py' names no function: add it, as in own.py:build"),
        ("own.py:", "model.network: 'own.py:' is no import path: give file.py:function or module:function, as in"),
        ("C:own.py:2", "model.network: 'C:own.py:2' is no import path"),
        (3, "model.network: give a name, an import path or a callable; got int"),
        ("FOLDER/won.py:build", "model.network: FOLDER/won.py: no such file: give the path of a Python file"),
        (
            "no_such_module:build",
            "model.network: no module 'no_such_module': install it, put its folder on PYTHONPATH, ",
        ),
        ("os.pahts:join", "model.network: no module 'os.pahts': install it"),
        ("FOLDER/own.py:biuld", "model.network: FOLDER/own.py has no 'biuld': did you mean 'build'?"),
        ("math:hypott", "model.network: math has no 'hypott': did you mean 'hypot'?"),
        ("FOLDER/own.py:width", "model.network: FOLDER/own.py:width is not callable but of type int: name a function"),
    ],
)
def test_a_mistake_is_one_line_that_names_path_and_field(write, tmp_path, given, line):
    write("width = 3\ndef build(): return 5\n")
    given = given.replace("FOLDER", str(tmp_path)) if isinstance(given, str) else given
    assert line_of(lambda: find(given, NAMES, FIELD)).startswith(line.replace("FOLDER", str(tmp_path)))
    assert find(f"{tmp_path}/own.py:build", NAMES, FIELD)() == 5  # the cure


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a = 1\n\n1 / 0\n", ", line 3: ZeroDivisionError: division by zero, raised on import: correct it"),
        ("def f():\n    raise KeyError('x')\nf()\n", ", line 2: KeyError: 'x', raised on import"),
        ("a = (\n", ", line 1: SyntaxError: '(' was never closed, raised on import"),
        (
            "import no_such_module\n",
            ", line 1: ModuleNotFoundError: No module named 'no_such_module', raised on import",
        ),
        ("import json\n\njson.loads('{')\n", ", line 3: JSONDecodeError: Expecting property name"),
        ("raise SystemExit\n", ", line 1: SystemExit, raised on import"),
        ("import beside\n", ", line 1: RuntimeError: two lines, raised on import"),
    ],
)
def test_what_raises_on_import_is_told_with_its_place(write, tmp_path, text, said):
    write("raise RuntimeError('two\\nlines')\n", "beside.py")
    path, before = write(text), (list(sys.path), set(sys.modules))
    assert line_of(lambda: find(path, {}, FIELD)).startswith(f"{FIELD}: {tmp_path}/own.py{said}")
    assert (sys.path, set(sys.modules) - before[1]) == (before[0], set())
    assert find(write("def build(): return 1\n"), {}, FIELD)() == 1


def test_a_module_that_raises_on_import(write, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    write("import gone_too\n", "raises_on_import.py")
    line = line_of(lambda: find("raises_on_import:build", {}, FIELD))
    assert line.startswith(f"{FIELD}: module raises_on_import: ModuleNotFoundError: No module named 'gone_too', raised")
    write("\nx = [][0]\n", "raises_index.py")
    line = line_of(lambda: find("raises_index:build", {}, FIELD))
    assert line.startswith(f"{FIELD}: module raises_index, line 2: IndexError: list index out of range, raised")


# Options


def build(key, x, num_outputs, dropout=0.0, *, width):
    return key, x, num_outputs, dropout, width


GIVEN = ("key", "x", "num_outputs")


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (
            {"width": 3, "dropuot": 0.1},
            "model.network_options.dropuot: build takes no 'dropuot': did you mean 'dropout'?",
        ),
        ({"width": 3, "zzz": 1}, "model.network_options.zzz: build takes no 'zzz': expected one of: dropout, width"),
        ({"dropout": 0.1}, "model.network_options: build needs width: set model.network_options.width"),
        ({"width": 3, "key": 1}, "model.network_options.key: build gets key from the package itself: drop it"),
    ],
)
def test_options_are_checked_against_the_signature(options, line):
    check = partial(check_options, build, given_by_us=GIVEN, field="model.network_options")
    assert line_of(lambda: check(options)) == line
    check({"width": 3, "dropout": 0.1})
    check({"width": 3})


def test_a_function_of_no_options_and_one_of_all():
    assert line_of(lambda: check_options(lambda key: 0, {"a": 1}, ("key",), "f")).endswith("takes no options, drop it")
    check_options(lambda key, **options: 0, {"a": 1}, ("key",), "f")
    assert "drop it" in line_of(lambda: check_options(lambda **options: 0, {"key": 1}, ("key",), "f"))
    check_options(partial(build, width=3), {}, GIVEN, "f")
    check_options(dict, {"a": 1}, (), "f")  # of C, and tells no signature


def test_a_signature():
    check_signature(build, GIVEN, FIELD)
    check_signature(lambda **all_of_them: 0, GIVEN, FIELD)
    line = line_of(lambda: check_signature(lambda rng, x: 0, GIVEN, FIELD))
    assert line.endswith("must take (key, x, num_outputs) by these names; it takes (rng, x): add key, num_outputs")
    assert "add a" in line_of(lambda: check_signature(lambda a, /: 0, ("a",), FIELD))  # not by its name


def test_options_are_frozen_and_plain():
    table = {"a": 1, "sizes": [1, [2, 3]], "inner": {"b": [True]}, "c": "text"}
    options = Options(table)
    assert options == Options(table) and hash(options) == hash(Options(table)) and options != Options({"a": 2})
    assert (
        options.plain() == table and options["sizes"] == (1, (2, 3)) and {**options}["inner"] == Options({"b": [True]})
    )
    assert "option 'x' must be a number, a string" in line_of(lambda: Options({"x": object()}))


def test_threads_get_one_object(write):
    path = write("import time\ntime.sleep(0.05)\ndef build(): ...\n")
    code = "import sys, threading\nfrom mdn_jax._seams import find\nfound = []\n"
    code += f"load = lambda: found.append(find({path!r}, {{}}, 'model.network'))\n"
    code += "threads = [threading.Thread(target=load) for _ in range(4)]\n"
    code += (
        "[t.start() for t in threads]; [t.join() for t in threads]\nsys.exit(len(set(found)) != 1 or len(found) != 4)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

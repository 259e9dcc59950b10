"""The floor plan: imports go down, each library has its room, files are short, everything public says what it does."""

import ast
import inspect
import re
import statistics
from pathlib import Path

import pytest

import mdn_jax as mdn

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "mdn_jax"
# rooms of one row do not import each other; inside a room imports are free
FLOORS = [
    ["_typing", "_version"],
    ["_checks", "_compiling", "_printing", "_pytrees"],
    ["_seams"],
    ["distributions"],
    ["statistics", "heads"],
    ["networks", "encoding"],
    ["models"],
    ["config"],
    ["data"],
    ["devices"],
    ["training"],
    ["storage", "judging"],
    ["recipe"],
    ["prediction", "plotting", "report"],
    ["runs"],
    ["sweeps", "demo", "estimator"],
    ["cli"],
    ["__main__"],
]
LEVEL = {name: level for level, floor in enumerate(FLOORS) for name in floor}
ROOMS = {
    "flax": {"networks"},
    "optax": {"training"},
    "matplotlib": {"plotting"},
    "jax.sharding": {"devices"},
    "ray": {"sweeps"},
    "optuna": {"sweeps"},
    "sklearn": {"estimator"},
    "bokeh": {"demo"},
    "tyro": {"cli"},
    "rich": {"cli", "sweeps", "demo"},
    "tomli_w": {"storage", "runs", "sweeps"},
}
NEVER = ["tensorflow_probability", "distrax", "chex", "haiku", "jax._src", "jax.experimental"]
NEVER += ["pickle", "yaml", "torch", "tensorflow"]
WRITERS = {"storage", "runs", "sweeps"}
WRITES = {"write_text", "write_bytes", "mkdir", "unlink", "rmdir", "rmtree", "touch", "rename", "replace", "dump"}
WRITES |= {"save", "savez", "savetxt", "savefig", "write_csv", "write_parquet"}
FILES = sorted(PACKAGE.rglob("*.py"))
# names of our own where the field has one
GONE = "beat beaten beats climb climbed climbing climbs door doors harvest heartbeat landscape landscapes looks"
GONE += " note noted notes remark remarks seal sealed seals statement statements word words"
# a member is one config of a sweep; an ensemble has networks
MEMBERS = ["sweeps/*", "storage/__init__.py", "storage/models.py", "storage/record.py", "cli/sweeping.py"]
MEMBERS += ["plotting/replicates.py", "plotting/sweep*.py"]


def module_of(path):
    """The module or folder that a file belongs to: its room."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(path):
    """Every name imported anywhere in a file, in full, and from the front door its members."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def attributes_of(path):
    """Dotted names such as `jax.experimental` that code reaches without importing them."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute):
            yield ast.unparse(node)


def identifiers_of(path):
    """Every name that a file gives or uses, of imported things too, and its own."""
    yield from path.relative_to(PACKAGE).with_suffix("").parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        for field in ("id", "attr", "arg", "name", "asname"):
            name = getattr(node, field, None)
            if isinstance(name, str):
                yield from name.split(".")


def parts_of(name):
    """The parts of an identifier in small letters: `_theirNames_of` has `their`, `names` and `of`."""
    return {part.lower() for part in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)}


def inside(name, package):
    return name == package or name.startswith(package + ".")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_imports_go_down(path):
    room = module_of(path)
    if room == "__init__":
        return
    assert room in LEVEL, f"{room} has no floor"
    for name in imports_of(path):
        if not inside(name, "mdn_jax"):
            continue
        other = name.split(".")[1]
        assert other == room or LEVEL[other] < LEVEL[room], f"{room} imports {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_each_library_has_its_room(path):
    room = module_of(path)
    for name in [*imports_of(path), *attributes_of(path)]:
        for library, rooms in ROOMS.items():
            assert not inside(name, library) or room in rooms, f"{room} uses {name}"
        for library in NEVER:
            assert not inside(name, library), f"{room} uses {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_few_modules_write_files(path):
    if module_of(path) in WRITERS:
        return
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            name, owner = node.func.attr, ast.unparse(node.func.value)
            # Path.replace takes one path; of str two arguments, of dataclasses keywords, of polars a dict
            path_like = len(node.args) == 1 and not node.keywords and not isinstance(node.args[0], ast.Dict)
            harmless = name == "replace" and not path_like
            assert name not in WRITES or harmless, f"{path.name}: {owner}.{name}"
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "open":
            modes = [str(argument.value) for argument in node.args if isinstance(argument, ast.Constant)]
            modes += [str(word.value.value) for word in node.keywords if word.arg == "mode"]  # pyright: ignore
            assert not any(set(mode) & set("wax+") for mode in modes), f"{path.name} opens a file to write"


def test_no_file_is_over_the_wall():
    folders = [ROOT / name for name in ("mdn_jax", "tests", "experiments") if (ROOT / name).exists()]
    long = {
        path.relative_to(ROOT).as_posix(): length
        for folder in folders
        for path in folder.rglob("*.py")
        if (length := len(path.read_text(encoding="utf-8").splitlines())) > 400
    }
    assert not long


def test_the_median_file_is_short():
    lengths = [len(path.read_text(encoding="utf-8").splitlines()) for path in FILES]
    assert statistics.median(lengths) < 140


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_docstrings_stand_alone(path):
    question = re.compile(r"(What|Which|Whose|Whether|How|Where|When|Who|Why)\b")
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        # of fields too, which help at the command line shows
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            text = node.value.value.strip()
            assert not question.match(text), f"{path.name}: {text.splitlines()[0]}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_one_word_is_one_thing(path):
    of_sweeps = any(path.relative_to(PACKAGE).match(pattern) for pattern in MEMBERS)
    for name in identifiers_of(path):
        parts = parts_of(name)
        assert not parts & set(GONE.split()), f"{path.name}: {name}"
        assert of_sweeps or not parts & {"member", "members"}, f"{path.name}: {name} outside sweeps"


def test_functions_fit_a_screen():
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                length = body[-1].end_lineno - body[0].lineno + 1 if body else 0  # pyright: ignore
                assert length <= 60, f"{path.name}: {node.name} has {length} lines"


def test_experiments_are_clients():
    for path in (ROOT / "experiments").rglob("*.py"):
        for name in imports_of(path):
            private = [part for part in name.split(".")[1:] if part.startswith("_")]
            assert not inside(name, "mdn_jax") or not private, f"{path.name} imports {name}"


# What is public

PUBLIC = {name: getattr(mdn, name) for name in mdn.__all__}


def test_the_contract_is_at_the_front_door():
    contract = """
        MixtureSpec unpack initial_bias Mixture Isotropic Diagonal Triangular log_prob responsibilities sample rsample
        mean std mode modes covariance cdf quantile interval highest_density density_level merge marginal condition
        affine nll squared_error crps energy_score fit ModelConfig TrainingConfig start advance finish save load
        Standardizer ensemble
    """
    assert set(contract.split()) <= set(PUBLIC)
    assert mdn.__version__.count(".") == 2


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_everything_public_is_documented(name):
    value = PUBLIC[name]
    text = inspect.getdoc(value) or ""
    assert text and text.splitlines()[0].endswith((".", ":", "`"))
    if inspect.isfunction(value) and name not in ("advance", "finish", "start", "stop"):
        for part in ("Args:", "Returns:", "Example:"):
            assert part in text or (part == "Returns:" and name in ("save", "save_state")), f"{name} lacks {part}"
        for argument in inspect.signature(value).parameters:
            assert f"{argument}:" in text or f"{argument}," in text, f"{name} does not explain {argument}"
        assert ">>> " in text

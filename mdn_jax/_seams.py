"""Seams: a name of a table, an import path or an object becomes the callable that a config means.

An import path is `"my_module:build"`, importable as any module is, or `"folder/file.py:build"`. A file that has not
changed gives the same object each time, since what compiles is kept by the identity of its functions; one that has
changed is loaded anew. Importing these is the only place where a config runs code.
"""

import hashlib
import importlib
import importlib.util
import inspect
import re
import sys
import threading
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from mdn_jax._checks import InputError, nearest, require

__all__ = ["Options", "absolute", "check_known", "check_options", "check_signature", "checksum", "find", "is_path"]

PATH = re.compile(r"(?P<source>.+\.py|[A-Za-z_][\w.]*):(?P<name>[A-Za-z_]\w*)")
EXAMPLE = '"own.py:build"'
PLAIN = (str, bool, int, float)


class Options(Mapping[str, Any]):
    """A frozen table of plain TOML values, hashable; lists in it are tuples, and tables are `Options` themselves."""

    def __init__(self, table: Mapping[str, Any] | None = None) -> None:
        self._table = {name: _frozen(name, value) for name, value in (table or {}).items()}

    def __getitem__(self, name: str) -> Any:
        return self._table[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._table)

    def __len__(self) -> int:
        return len(self._table)

    def __hash__(self) -> int:
        return hash(frozenset(self._table.items()))

    def __repr__(self) -> str:
        return repr(self.plain())

    def plain(self) -> dict[str, Any]:
        """The same values as dicts and lists, for TOML."""
        return {name: _thawed(value) for name, value in self._table.items()}


def _frozen(name: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        return Options(value)
    if isinstance(value, list | tuple):
        return tuple(_frozen(name, one) for one in value)
    kinds = "a number, a string, true or false, a list or a table"
    require(isinstance(value, PLAIN), f"option {name!r} must be {kinds}; got {type(value).__name__}")
    return value


def _thawed(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_thawed(one) for one in value]
    return value.plain() if isinstance(value, Options) else value


def is_path(given: Any) -> bool:
    """True for an import path, false for a plain name or an object."""
    return isinstance(given, str) and ":" in given


def check_known(given: Any, names: Collection[str], what: str) -> Any:
    """Return what is given; refuse a name that is not among `names`, or no import path at all. Nothing is imported."""
    if is_path(given):
        form = "give file.py:function or module:function"
        require(PATH.fullmatch(given) is not None, f"{given!r} is no import path: {form}, as in {EXAMPLE}")
    elif isinstance(given, str):
        require(not given.endswith(".py"), f"{given!r} names no function: add it, as in {given}:build")
        require(given in names, f"no {what} {given!r}: {nearest(given, names)} (or an import path, {EXAMPLE})")
    return given


def absolute(given: Any, base: Path) -> Any:
    """An import path of a file with its folder written out, from `base` where it is relative; all else as it is."""
    source, _, name = given.rpartition(":") if is_path(given) else ("", "", "")
    return f"{(base / Path(source).expanduser()).resolve()}:{name}" if source.endswith(".py") else given


def find(given: str | Callable, names: Mapping[str, Callable], field: str) -> Callable:
    """The callable that a name of `names`, an import path or an object means: the same for the same unchanged source.

    Raises:
        InputError: one line that names the path and the field (dotted), for an unknown name, a missing file, module or
            name, a module that raises when it is imported, or what is not callable.
    """
    if not isinstance(given, str):
        require(callable(given), f"{field}: give a name, an import path or a callable; got {type(given).__name__}")
        return given
    try:
        check_known(given, names, field.rpartition(".")[2])
    except InputError as error:
        raise InputError(f"{field}: {error}") from None
    if not is_path(given):
        return names[given]
    source, _, name = given.rpartition(":")
    module = _module_of(source, field)
    public = [one for one in vars(module) if not one.startswith("_")]
    require(hasattr(module, name), f"{field}: {source} has no {name!r}: {nearest(name, public)}")
    found = getattr(module, name)
    require(callable(found), f"{field}: {given} is not callable but of type {type(found).__name__}: name a function")
    return found


def checksum(given: Any) -> str | None:
    """The first 16 digits of the SHA-256 of an import path's source; None where there is no such file."""
    source = given.rpartition(":")[0] if is_path(given) else ""
    path = Path(source).expanduser() if source.endswith(".py") else _file_of_module(source)
    return _digest(path.read_bytes()) if path is not None and path.is_file() else None


def check_signature(function: Callable, takes: Collection[str], field: str) -> None:
    """Refuse a function that cannot be called with these arguments by keyword."""
    known, takes_all = _keywords(function)
    missing = [name for name in takes if name not in known and not takes_all]
    require(
        not missing,
        f"{field}: {_name(function)} must take ({', '.join(takes)}) by these names; it takes ({', '.join(known)}): "
        f"add {', '.join(missing)}",
    )


def check_options(function: Callable, options: Mapping[str, Any], given_by_us: Collection[str], field: str) -> None:
    """Refuse options that a function does not take, or gets from the package itself, and its lack of one that it needs.

    The options are called by keyword; `field` is theirs, dotted.
    """
    known, takes_all = _keywords(function)
    legal, called = [name for name in known if name not in given_by_us], _name(function)
    for name in options:
        require(name not in given_by_us, f"{field}.{name}: {called} gets {name} from the package itself: drop it")
        cure = nearest(name, legal) if legal else "it takes no options, drop it"
        require(name in legal or takes_all, f"{field}.{name}: {called} takes no {name!r}: {cure}")
    needed = [name for name in legal if known[name].default is inspect.Parameter.empty and name not in options]
    require(not needed, f"{field}: {called} needs {', '.join(needed)}: set {field}.{''.join(needed[:1])}")


def _name(function: Callable) -> str:
    return getattr(function, "__name__", "the function")


def _keywords(function: Callable) -> tuple[dict[str, inspect.Parameter], bool]:
    """The keywords of a function, and True where it takes any; some of C do not tell."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return {}, True
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    takes_all = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters)
    return {parameter.name: parameter for parameter in parameters if parameter.kind in by_name}, takes_all


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _file_of_module(name: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(name)
    except Exception:  # no name, or a parent package that raises
        return None
    return Path(spec.origin) if spec is not None and spec.origin is not None and spec.has_location else None


_LOADED: dict[tuple[Path, bytes], ModuleType] = {}
_LOCK = threading.RLock()  # threads of a sweep that load one file get one object


def _module_of(source: str, field: str) -> ModuleType:
    if not source.endswith(".py"):
        return _imported(source, field)
    path = Path(source).expanduser().resolve()
    require(path.is_file(), f"{field}: {path}: no such file: give the path of a Python file, from the config's folder")
    content = path.read_bytes()
    with _LOCK:
        if (path, content) not in _LOADED:
            _LOADED[path, content] = _loaded(path, content, field)
        return _LOADED[path, content]


def _imported(name: str, field: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
            raise InputError(_raised(error, None, f"{field}: module {name}")) from None
        cure = "install it, put its folder on PYTHONPATH, or give its file, as in folder/file.py:function"
        raise InputError(f"{field}: no module {error.name!r}: {cure}") from None
    except (Exception, SystemExit) as error:
        raise InputError(_raised(error, _file_of_module(name), f"{field}: module {name}")) from None


def _loaded(path: Path, content: bytes, field: str) -> ModuleType:
    module = ModuleType(f"_mdn_jax_own_{_digest(str(path).encode() + content)}")
    module.__file__ = str(path)
    try:
        with _beside(path.parent, module):
            exec(compile(content, str(path), "exec", dont_inherit=True), vars(module))
    except (Exception, SystemExit) as error:
        raise InputError(_raised(error, path, f"{field}: {path}")) from None
    return module


@contextmanager
def _beside(folder: Path, module: ModuleType) -> Iterator[None]:
    """While a file is imported the modules of its folder are importable, as they are to `python file.py`.

    They belong to that file alone: two folders may each have a `helpers.py`, and a changed one is read again.
    """
    before, place = set(sys.modules), str(folder)
    sys.modules[module.__name__] = module  # dataclasses look their module up
    sys.path.insert(0, place)
    try:
        yield
    finally:
        sys.path.remove(place)
        for name in set(sys.modules) - before:
            top = name.partition(".")[0]
            file = Path(getattr(sys.modules[name], "__file__", None) or "/").resolve()
            if name == module.__name__ or file == folder / f"{top}.py" or file.is_relative_to(folder / top):
                del sys.modules[name]


def _raised(error: BaseException, path: Path | None, where: str) -> str:
    """An error of the user's code while it was imported: its own line, and where."""
    frames = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError):
        frames.append((error.filename or "", error.lineno))
    own = [(file, line) for file, line in frames if path is not None and Path(file) == path]
    line = f", line {own[-1][1]}" if own else ""
    said = error.msg if isinstance(error, SyntaxError) else " ".join(str(error).split())
    return f"{where}{line}: {type(error).__name__}{': ' if said else ''}{said}, raised on import: correct it"

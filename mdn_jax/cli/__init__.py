"""The command line: `mdn-jax run CONFIG`, `mdn-jax sweep CONFIG`, `mdn-jax predict MODEL TABLE`, ...

Exit codes: 0 done; 1 the training diverged; 2 a mistake of the user's, in one line on standard error; 130 Ctrl-C; 143
asked to stop (SIGTERM, SIGUSR1), with everything saved.
"""

import logging
import os
import platform
import sys
import warnings
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import jaxlib

from mdn_jax._checks import InputError, nearest, require
from mdn_jax._version import __version__
from mdn_jax.cli.comparing import compare
from mdn_jax.cli.demo import demo
from mdn_jax.cli.predicting import predict
from mdn_jax.cli.running import plot, run
from mdn_jax.cli.sampling import sample
from mdn_jax.cli.starting import new
from mdn_jax.cli.sweeping import sweep
from mdn_jax.devices import use_cpu_devices

__all__ = ["main"]

WRONG_RELEASES = ("0.10.2", "0.11.0", "0.11.1", "0.11.2", "0.12.0", "0.12.0.1")  # of jaxlib: tests/test_canary.py


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is returned."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    warnings.showwarning = lambda message, *_: print(f"mdn-jax: warning: {message}", file=sys.stderr)
    try:
        _warn_of_wrong_release()
        # for members to spread over
        use_cpu_devices(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
        _keep_compiled_programs()
        return _dispatch(arguments)
    except (InputError, OSError) as error:
        print(f"mdn-jax: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nmdn-jax: interrupted; the same command (without --overwrite) goes on from here", file=sys.stderr)
        return 130


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_usage())
        return 0
    if arguments[0] == "--version":
        print(__version__)
        return 0
    name, *rest = arguments
    require(name in COMMANDS, f"unknown command {name!r}: {nearest(name, COMMANDS)}")
    return COMMANDS[name](rest)


def _usage() -> str:
    # a command's docstring begins with its arguments, if it has any, and two blanks
    told = {name: (command.__doc__ or "").splitlines()[0].rpartition("  ") for name, command in COMMANDS.items()}
    calls = {name: f"mdn-jax {name} {arguments.strip()}" for name, (arguments, _, _) in told.items()}
    width = max(map(len, calls.values()))
    lines = [f"  {calls[name]:{width}}  {text}" for name, (_, _, text) in told.items()]
    head = "mdn-jax: mixture density networks in JAX"
    return "\n".join([head, "", *lines, "", "mdn-jax COMMAND --help tells more."])


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "new": new, "run": run, "sweep": sweep, "predict": predict, "sample": sample, "plot": plot,
    "compare": compare, "demo": demo,
}  # fmt: skip


def _warn_of_wrong_release() -> None:
    release = jaxlib.version.__version__
    if release in WRONG_RELEASES:
        line = f"mdn-jax: warning: jaxlib {release} computes some sums wrongly on CPU: pip install jax==0.10.1"
        print(line, file=sys.stderr)


def _keep_compiled_programs() -> None:
    """JAX's compilation cache in the user's cache folder, unless the user has chosen; it may be deleted at any time."""
    chosen = jax.config.values
    if chosen["jax_compilation_cache_dir"] or not chosen["jax_enable_compilation_cache"]:
        return
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = base / "mdn_jax" / f"programs-{_processor():08x}"  # one home may serve machines of several kinds
    place = next(path for path in (folder, *folder.parents) if path.exists())
    if not (place.is_dir() and os.access(place, os.W_OK | os.X_OK)):
        print(f"mdn-jax: warning: {place} cannot be written: compiled programs are not kept", file=sys.stderr)
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.05)
    if chosen["jax_logging_level"] == "NOTSET":
        # jaxlib 0.10.1 logs errors for programs that it reads well (github.com/openxla/xla/issues/44565)
        jax.config.update("jax_logging_level", "CRITICAL")
        logging.getLogger("jax").setLevel(logging.WARNING)  # JAX's own, from Python, are shown as before


def _processor() -> int:
    """A number for what programs of this machine may use."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    kinds = {line for line in lines if line.startswith(("model name", "flags", "Features"))}
    return zlib.crc32(" ".join([platform.machine(), *sorted(kinds)]).encode())

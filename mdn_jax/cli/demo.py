"""`mdn-jax demo`."""

import dataclasses
import webbrowser
from pathlib import Path
from typing import Annotated

import tyro

from mdn_jax._checks import InputError, require
from mdn_jax.cli.flags import parse_flags

__all__ = ["demo"]


def demo(arguments: list[str]) -> int:
    """watch a network learn, in the browser (needs the extra demo)"""

    @dataclasses.dataclass(frozen=True)
    class Demo:
        config: Annotated[Path | None, tyro.conf.arg(help="Config of your own data: one input, one target.")] = None
        port: Annotated[int, tyro.conf.arg(help="Of the page on 127.0.0.1; 0 takes a free one.")] = 5006
        browser: Annotated[bool, tyro.conf.arg(help="Open the page.")] = True
        out: Annotated[Path, tyro.conf.arg(help="Folder in which runs are saved.")] = Path("runs")

    options = parse_flags(Demo, arguments, "mdn-jax demo")
    require(0 <= options.port < 2**16, f"--port takes a number from 0 to 65535; got {options.port}")
    try:
        from mdn_jax.demo import serve  # noqa: PLC0415  (loads bokeh)
    except ModuleNotFoundError as error:
        raise InputError(f"the page needs {error.name}: pip install 'mdn-jax[demo]'") from None

    def on_ready(address: str) -> None:
        print(f"{address}  (Ctrl-C ends it)", flush=True)
        if options.browser:
            webbrowser.open(address)

    try:
        serve(options.port, None if options.config is None else _own(options.config), options.out, on_ready)
    except KeyboardInterrupt:
        print()
    return 0


def _own(path: Path):  # noqa: ANN202
    """The graph of a config of the user's."""
    from mdn_jax.data import load  # noqa: PLC0415
    from mdn_jax.demo.graphs import graph_of  # noqa: PLC0415
    from mdn_jax.runs import read_config, resolve  # noqa: PLC0415

    config, data = resolve(read_config(path)[0])
    return graph_of(config, data or load(config.dataset), str(path))

"""The server of the page, on this machine alone."""

import asyncio
import importlib.resources
import logging
import socket
import weakref
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from bokeh.application import Application
from bokeh.application.handlers.function import FunctionHandler
from bokeh.document import Document
from bokeh.server.server import BaseServer
from bokeh.server.tornado import BokehTornado
from jinja2 import Environment
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop

from mdn_jax._checks import InputError
from mdn_jax.data import load as load_dataset
from mdn_jax.demo.controls import CONTROLS
from mdn_jax.demo.graphs import GRAPHS, OWN, Graph
from mdn_jax.demo.page import Page, card_of
from mdn_jax.demo.pictures import View
from mdn_jax.demo.saving import save_session

__all__ = ["serve"]

HOST = "127.0.0.1"
WORKERS = 4  # threads: a program that compiles for one visitor does not hold up the others
FORGET = 3_000  # milliseconds after which a page that was left is forgotten


def serve(
    port: int = 5006, own: Graph | None = None, out: Path = Path("runs"), on_ready: Callable[[str], None] | None = None
) -> None:
    """Serve the page until interrupted.

    Args:
        port: on 127.0.0.1; 0 takes a free one.
        own: a graph of a config of the user's, which is shown first.
        out: where runs are saved.
        on_ready: called with the page's address once it can be opened.

    Raises:
        InputError: for a port in use.
    """
    logging.getLogger("bokeh.server.views.ws").setLevel(logging.ERROR)  # a page that was left is no fault
    graphs = GRAPHS if own is None else {own.name: own, **GRAPHS}
    listener = _listen(port)
    port = listener.getsockname()[1]
    with ThreadPoolExecutor(WORKERS, thread_name_prefix="training") as pool:
        template, cards = _template(graphs), _cards(graphs)
        pages: weakref.WeakSet[Page] = weakref.WeakSet()

        def open_page(document: Document) -> None:
            context: Any = document.session_context
            arguments = context.request.arguments
            query = {name: values[-1].decode(errors="replace") for name, values in arguments.items()}
            document.template, document.title = template, "mdn_jax: watch a mixture density network learn"
            pages.add(Page(document, query, graphs, cards, pool, lambda session: save_session(session, out)))

        application = BokehTornado(
            {"/": Application(FunctionHandler(open_page))},
            extra_websocket_origins=[f"{HOST}:{port}", f"localhost:{port}"],
            unused_session_lifetime_milliseconds=FORGET, check_unused_sessions_milliseconds=FORGET // 3,
        )  # fmt: skip
        http = _PromptServer(application)
        http.add_socket(listener)
        server = BaseServer(IOLoop.current(), application, http)
        server.start()
        if on_ready is not None:
            server.io_loop.add_callback(on_ready, f"http://{HOST}:{port}/")
        try:
            server.io_loop.start()
        finally:
            server.io_loop.run_sync(lambda: _close(pages))
            server.stop()


class _PromptServer(HTTPServer):
    """A server that sends the pieces of a message at once: else each picture waits 40 ms for the browser's word."""

    def handle_stream(self, stream: Any, address: Any) -> None:
        stream.set_nodelay(True)
        stream.set_nodelay = lambda value: None  # Tornado turns it off again after the first answer
        super().handle_stream(stream, address)


async def _close(pages: Iterable[Page]) -> None:
    """Let pages end their work."""
    pages = list(pages)
    for page in pages:
        page.close()
    await asyncio.gather(*(page.task for page in pages))
    await asyncio.sleep(0.1)  # for what is on its way to browsers


def _listen(port: int) -> socket.socket:
    """A socket on the port."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setblocking(False)
    try:
        listener.bind((HOST, port))
        listener.listen()
    except OSError:
        listener.close()
        raise InputError(f"--port {port} is in use on {HOST}: choose another, or 0 for a free one") from None
    return listener


def _cards(graphs: Mapping[str, Graph]) -> dict[str, dict[str, Any]]:
    """The small graphs, before anything is trained."""
    cards = {}
    for name, graph in graphs.items():
        if name != OWN:
            part = (graph.data or load_dataset(graph.config.dataset)).train
            cards[name] = {"points": card_of(np.concatenate([part.x, part.y], axis=1), View.of(part))}
    return cards


def _template(graphs: Mapping[str, Graph]):  # noqa: ANN202
    """The page, whole: no file of it comes from elsewhere."""
    parts = {name: _read(f"page.{name}") for name in ("html", "css", "js")}
    text = parts["html"].replace("/*CSS*/", parts["css"]).replace("/*JS*/", parts["js"])
    environment = Environment(autoescape=False)
    environment.globals.update(controls=list(CONTROLS.values()), graphs=list(graphs.values()))
    return environment.from_string(text)


def _read(name: str) -> str:
    return importlib.resources.files("mdn_jax.demo").joinpath(name).read_text(encoding="utf-8")

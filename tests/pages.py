"""A server of the page in a process of its own, and a headless Chromium that opens pages on it."""

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
MISSING = [name for name in ("bokeh", "playwright") if importlib.util.find_spec(name) is None]
MISSING += [] if CHROMIUM else ["chromium"]
SECONDS = 120  # to wait for anything; compiling on a busy machine takes most of it
SMALL = "graph=inverse&components=3&hidden=8&layers=1&points=300"
STATE = "JSON.parse(Bokeh.documents[0].get_model_by_name('wire').state)"
PLACE = """([name, x, y]) => {
  const view = Bokeh.index.find_one(Bokeh.documents[0].get_model_by_name(name)), frame = view.frame_view;
  const box = view.canvas_view.el.getBoundingClientRect();
  return [box.x + frame.x_scale.compute(x), box.y + frame.y_scale.compute(y)];
}"""
FRAMES = """(count) => new Promise((done) => {
  const wire = Bokeh.documents[0].get_model_by_name('wire'), seen = new Map();
  wire.properties.state.change.connect(() => {
    const state = JSON.parse(wire.state);
    seen.set(state.frame, state.step);
    if (seen.size === count) done([...seen.values()]);
  });
})"""
CENTRES = "mdn.shown()"


@pytest.fixture(scope="module")
def shots(tmp_path_factory):
    """The folder of screenshots."""
    folder = tmp_path_factory.mktemp("demo")
    yield folder
    print(f"\nscreenshots: {folder}")


class Server:
    """`mdn-jax demo` in a process of its own."""

    def __init__(self, folder):
        self.runs, self.log = folder / "runs", folder / "server.log"
        command = [sys.executable, "-m", "mdn_jax", "demo", "--port", "0", "--no-browser", "--out", str(self.runs)]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        self.address = self.process.stdout.readline().split()[0]

    def busy(self, seconds=1.0):
        """The share of one core that it takes."""
        before = self._cpu_seconds()
        time.sleep(seconds)
        return (self._cpu_seconds() - before) / seconds

    def _cpu_seconds(self):
        numbers = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(numbers[11]) + int(numbers[12])) / os.sysconf("SC_CLK_TCK")


@pytest.fixture(scope="module")
def server(shots):
    served = Server(shots)
    yield served
    served.process.send_signal(signal.SIGINT)
    assert served.process.wait(SECONDS) == 0
    served.process.stdout.close()
    assert served.log.read_text() == ""


@pytest.fixture(scope="module")
def browser():
    with pytest.importorskip("playwright.sync_api").sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


class Opened:
    """A page in a browser window of its own, with what it complained of and asked for."""

    def __init__(self, browser, server, query):
        self.context = browser.new_context(viewport={"width": 1280, "height": 720})
        self.page, self.complaints, self.asked = self.context.new_page(), [], []
        self.page.set_default_timeout(1_000 * SECONDS)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda said: said.type == "error" and self.complaints.append(said.text))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("websocket", lambda socket: self.asked.append(socket.url))
        self.page.goto(f"{server.address}?{query}")
        self.wait("() => window.mdn && window.mdn.frames > 0")

    def wait(self, script, argument=None):
        self.page.wait_for_function(script, arg=argument, timeout=1_000 * SECONDS)

    def wait_for(self, condition):
        """Until a condition of the page's state holds, with all that is drawn by it."""
        self.wait(f"() => {{ const s = {STATE}; return {condition} }}")
        return self.state

    @property
    def state(self):
        return self.page.evaluate(STATE)

    def at_rest(self):
        """The state when the picture that was on its way is shown; a page that trains fails here."""
        for _ in range(SECONDS):
            before = self.state
            self.page.wait_for_timeout(1_000)
            if self.state == before:
                return before
        raise AssertionError("the page goes on")

    def text(self, name):
        return self.page.inner_text(f"#{name}").strip()

    def do(self, name):
        self.page.click(f"#{name}")

    def set(self, name, value):
        control = self.page.locator(f"[data-control={name}]")
        control.focus()
        if control.evaluate("one => one.tagName") == "SELECT":
            control.select_option(value)
        else:
            control.fill(value)
            control.press("Enter")

    def shown(self, name):
        return self.page.input_value(f"[data-control={name}]")

    def place(self, figure, x, y):
        """Where data coordinates of a figure lie in the window."""
        return self.page.evaluate(PLACE, [figure, x, y])

    def share(self, figure, right, up):
        """Where shares of a figure's frame lie in the window."""
        ranges = f"Bokeh.documents[0].get_model_by_name('{figure}')"
        ends = self.page.evaluate(
            f"(() => {{ const f = {ranges}; return [f.x_range, f.y_range].map(r => [r.start, r.end]) }})()"
        )
        x, y = (low + part * (high - low) for (low, high), part in zip(ends, (right, up), strict=True))
        return self.place(figure, x, y)

    def stroke(self, points, rest=0):
        """The mouse, pressed and at rest for so many milliseconds, then along points of the canvas."""
        places = [self.place("samples", *point) for point in points]
        self.page.mouse.move(*places[0])
        self.page.mouse.down()
        self.page.wait_for_timeout(rest)
        for place in places:
            self.page.mouse.move(*place)
            self.page.wait_for_timeout(20)
        self.page.mouse.up()

    def wait_for_points(self, count):
        """Until the address holds so many."""
        self.wait("(size) => (new URLSearchParams(location.search).get('drawn') ?? '').length === size", 4 * count)

    @property
    def drawn(self):
        """The points in the address."""
        from mdn_jax.demo.points import read_points  # noqa: PLC0415

        return read_points(dict(parse_qsl(urlsplit(self.page.url).query)).get("drawn", ""))


@pytest.fixture
def visit(browser, server, shots, request):
    """Opens pages; at the end each is photographed, and none has complained or asked elsewhere."""
    opened = []

    def visit(query=SMALL):
        opened.append(Opened(browser, server, query))
        return opened[-1]

    yield visit
    name = re.sub(r"\W+", "_", request.node.name).strip("_")
    for count, one in enumerate(opened):
        if not one.page.is_closed():
            one.page.screenshot(path=shots / f"{name}{count or ''}.png")
        one.context.close()
        assert one.complaints == []
        hosts = {urlsplit(url).netloc for url in one.asked if not url.startswith("data:")}
        assert hosts == {urlsplit(server.address).netloc}

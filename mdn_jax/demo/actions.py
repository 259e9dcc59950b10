"""All that a person can do on a page, by the names under which a browser asks for it.

Each is `action(page, **what)`: it changes what the page is asked for, and the work follows in the page's next turn.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from mdn_jax.demo.controls import CONTROLS, Settings
from mdn_jax.demo.figures import LEAST
from mdn_jax.demo.graphs import OWN
from mdn_jax.demo.points import FEWEST, MOST, round_points
from mdn_jax.runs import config_text

if TYPE_CHECKING:
    from mdn_jax.demo.page import Page

__all__ = ["ACTIONS"]

NEAR = 0.06  # of a view's height, between the pointer and a component's centre
BRUSH = 0.03  # of the canvas: what an eraser reaches


def set_control(page: "Page", name: str, value: str) -> None:
    """Another value of a control."""
    control, text = CONTROLS[name], str(value)
    read = control.read(text)
    if read is None:
        page.say(f"{control.label}: {text or 'nothing'} is not {control.wanted}; it stays as it is", bad=True)
        return
    page.say()
    page.settle(page.settings.changed(name, read))


def choose_graph(page: "Page", name: str) -> None:
    """Another graph, which begins to train; the one that is shown stops or goes on."""
    if name == page.settings.graph.name:
        play(page)
        return
    graph = page.graphs[name]
    page.settle(page.settings_of.get(name) or Settings(graph, dict(graph.values)))
    page.component, page.pointer, page.picture = -1, None, None
    page.rate, page.diverged, page.at, page.above = 0.0, False, "", ""
    page.playing = name != OWN or len(page.settings.drawn) >= FEWEST
    page.figures.clear()
    page.say()


def play(page: "Page") -> None:
    """Train, or stop."""
    page.playing = not page.playing
    _refuse_few_points(page)


def step(page: "Page") -> None:
    """One step of the optimizer."""
    page.playing, page.single = False, 1
    _refuse_few_points(page)


def reset(page: "Page") -> None:
    """New weights, from the same seed."""
    page.fresh, page.component, page.rate, page.diverged = True, -1, 0.0, False
    page.say()


def point(page: "Page", place: str, x: float, y: float) -> None:
    """Show what lies at an input, and where the component under the pointer is responsible."""
    page.pointer = (x, y)
    page.component = _nearest(page, x, y) if place == "density" else -1
    page.figures.show_pointer(None)


def move(page: "Page", right: float, up: float) -> None:
    """Point elsewhere, by shares of the view."""
    session = page.session
    if session is not None:
        ends = np.array(session.view)
        start = page.pointer or ends.mean(axis=1)
        moved = np.clip(start + np.array([right, up]) * (ends[:, 1] - ends[:, 0]), ends[:, 0], ends[:, 1])
        page.pointer = (float(moved[0]), float(moved[1]))
        page.figures.show_pointer(page.pointer)


def leave(page: "Page") -> None:
    """Point at no component."""
    page.component = -1


def cycle(page: "Page") -> None:
    """Show the next component alone; after the last, all of them."""
    page.component = page.component + 1 if page.component + 1 < page.settings.values["components"] else -1


def mark(page: "Page") -> None:
    """Draw a point where the arrow keys have moved."""
    if page.pointer is not None:
        draw(page, [list(page.pointer)])


def draw(page: "Page", points: list[list[float]]) -> None:
    """More points on the canvas."""
    drawn = np.concatenate([page.settings.drawn, round_points(np.reshape(points, (-1, 2)))])
    full = len(drawn) > MOST
    page.say(f"{MOST} points are as many as an address holds: erase some" if full else "", bad=full)
    _redraw(page, drawn[:MOST])


def erase(page: "Page", x: float, y: float) -> None:
    """Fewer points: those near a place go."""
    drawn = page.settings.drawn
    _redraw(page, drawn[np.hypot(*(drawn - (x, y)).T) > BRUSH])


def clear(page: "Page") -> None:
    """An empty canvas."""
    page.say()
    _redraw(page, np.empty((0, 2)))


def theme(page: "Page", dark: bool) -> None:
    """Light or dark."""
    page.dark = dark
    page.figures.paint(dark)


def config(page: "Page") -> None:
    """The experiment as TOML."""
    steps = page.session.step if page.session else 0
    page.copied = (page.copied[0] + 1, config_text(page.settings.config(max(steps, 1))))


def save_run(page: "Page") -> None:
    """A run folder of what is trained."""
    session = page.session
    if session is None or session.step == 0:
        page.say("There is nothing to save before the first step: press Play", bad=True)
        return
    page.say("Saving the run …")
    page.begin_to_save(session)


ACTIONS: Mapping[str, Callable[..., None]] = {
    "set": set_control, "graph": choose_graph, "play": play, "step": step, "reset": reset, "point": point,
    "move": move, "leave": leave, "cycle": cycle, "mark": mark, "draw": draw, "erase": erase, "clear": clear,
    "theme": theme, "config": config, "save": save_run,
}  # fmt: skip
"""Actions by name."""


def _refuse_few_points(page: "Page") -> None:
    page.say()
    count = len(page.settings.drawn)
    if page.settings.graph.name == OWN and count < FEWEST and (page.playing or page.single):
        page.playing, page.single = False, 0
        page.say(f"Draw at least {FEWEST} points in the left graph first; there are {count}", bad=True)


def _redraw(page: "Page", drawn: np.ndarray) -> None:
    if page.settings.graph.name == OWN:
        page.settle(replace(page.settings, drawn=drawn))
        page.figures.show_points(drawn, drawn[:0])
        page.playing = page.playing and len(drawn) >= FEWEST


def _nearest(page: "Page", x: float, y: float) -> int:
    """The component whose centre is under the pointer, or -1."""
    session, picture = page.session, page.picture
    if session is None or picture is None:
        return -1
    column = int(np.argmin(np.abs(session.view.columns - x)))
    far = np.abs(picture.centres[column] - y) / (session.view.y[1] - session.view.y[0])
    far[picture.weights[column] <= LEAST] = np.inf
    return int(np.argmin(far)) if far.min() < NEAR else -1

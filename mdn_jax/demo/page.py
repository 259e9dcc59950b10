"""One visitor's page: what the browser asks, what it is shown, and the training in between.

The browser says what its person does in `Wire.action`, the page answers in `Wire.state`, both as JSON, and figures get
arrays. Work is done in threads that all visitors share; a page sends a new picture when its browser has drawn the last.
"""

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from bokeh.core.properties import Any as Anything
from bokeh.core.properties import Int, String
from bokeh.document import Document
from bokeh.events import DoubleTap, MouseLeave, MouseMove, PanStart, Press, Tap
from bokeh.model import DataModel
from bokeh.models import CustomJS

from mdn_jax._checks import InputError
from mdn_jax.demo.actions import ACTIONS
from mdn_jax.demo.controls import ENDLESS, Settings, settings_of
from mdn_jax.demo.figures import Figures
from mdn_jax.demo.graphs import OWN, Graph
from mdn_jax.demo.history import History
from mdn_jax.demo.pictures import Picture, Slice, View
from mdn_jax.demo.session import Session, begin
from mdn_jax.training import compile_chunk

__all__ = ["Page", "card_of"]

LEAST_WORK, MOST_WORK = 0.03, 0.1  # seconds of training between two pictures
PATIENCE = 5.0  # seconds without a word from the browser after which a picture counts as drawn
CARD, CARDS_EVERY = 150, 1.0  # points of a small graph; seconds between two of it
DIVERGED = "Training diverged: the loss is far above where it began. Lower the learning rate, and"
SELDOM = 4  # pictures to one of what lies at one input, and of the loss, while it trains
MOST_MODES = 5  # that are told


class Wire(DataModel):
    """All that passes between a browser and its page, beside the figures' arrays."""

    action = String(default="")
    state = String(default="")
    cards = String(default="{}")
    picture = Anything(default=None)
    seen = Int(default=0)


class _Done(NamedTuple):
    """A thread's work for one picture."""

    session: Session
    picture: Picture | None = None
    above: tuple[float, Slice, np.ndarray | None] | None = None
    rate: float = 0.0


class Page:
    """A page, from its opening to its closing."""

    def __init__(
        self,
        document: Document,
        query: Mapping[str, str],
        graphs: Mapping[str, Graph],
        cards: Mapping[str, Any],
        pool: Executor,
        write: Callable[[Session], Path],
    ) -> None:
        """Open a page.

        Args:
            document: Bokeh's.
            query: of its address.
            graphs: what can be trained.
            cards: the small graphs' points.
            pool: where the work is done.
            write: makes a run folder of a session.
        """
        self.document, self.graphs, self.cards, self.pool, self.write = document, graphs, dict(cards), pool, write
        self.figures = Figures()
        self.wire: Any = Wire(name="wire")
        # what is asked
        query = dict(query)
        self.dark = query.pop("theme", "light") == "dark"
        self.settings, strange = settings_of(query, graphs)
        self.settings_of: dict[str, Settings] = {self.settings.graph.name: self.settings}
        self.playing, self.single, self.fresh = False, 0, False
        self.pointer: tuple[float, float] | None = None
        self.sliced, self.component = self.pointer, -1
        # what is known
        self.sessions: dict[str, Session] = {}
        self.histories: dict[str, History] = {}
        self.picture: Picture | None = None
        self.diverged, self.rate = False, 0.0
        # what is told
        self.message, self.bad = "", False
        if strange:
            self.say(f"This address was not understood: {'; '.join(strange)}", bad=True)
        self.busy, self.at, self.above, self.copied = "preparing", "", "", (0, "")
        self.frame, self.shown, self.carded, self.drawn = 0, "", 0.0, asyncio.Event()
        self.saving: asyncio.Future | None = None
        self.showing: asyncio.Future = asyncio.get_running_loop().create_future()
        self.showing.set_result(None)
        self.closed, self.wake = False, asyncio.Event()
        self._connect()

    def _connect(self) -> None:
        document, figures, wire = self.document, self.figures, self.wire
        figures.loss.tags = [wire]  # what a figure refers to is in its document
        for root in figures.all:
            document.add_root(root)
        wire.on_change("action", lambda _, __, new: self._act(json.loads(new)))
        wire.on_change("seen", lambda _, __, new: new == self.frame and self.drawn.set())
        for place, one in (("samples", figures.samples), ("density", figures.density)):
            one.js_on_event(MouseMove, CustomJS(code=f"window.mdn.point({place!r}, cb_obj.x, cb_obj.y)"))
            one.js_on_event(MouseLeave, CustomJS(code="window.mdn.leave()"))
        for event in (Tap, DoubleTap, Press, PanStart):
            figures.samples.js_on_event(event, CustomJS(code="window.mdn.brush(cb_obj.x, cb_obj.y)"))
        document.on_session_destroyed(lambda _: self.close())
        figures.paint(self.dark)
        wire.cards = json.dumps(self.cards)
        self._answer()
        self.task = asyncio.ensure_future(self._run())

    @property
    def session(self) -> Session | None:
        """Of the graph that is shown."""
        return self.sessions.get(self.settings.graph.name)

    def say(self, message: str = "", bad: bool = False) -> None:
        """One line to the person; without one, what training that diverged still has to say."""
        self.message, self.bad = (message, bad) if message or not self.diverged else (DIVERGED, True)

    def settle(self, settings: Settings) -> None:
        """Show and train by these settings."""
        self.settings = self.settings_of[settings.graph.name] = settings

    def begin_to_save(self, session: Session) -> None:
        """Write a run folder beside all else, and say where it is when it is whole."""
        self.saving = asyncio.ensure_future(self._save(session))

    async def _save(self, session: Session) -> None:
        try:
            folder = await asyncio.get_running_loop().run_in_executor(self.pool, self.write, session)
            said = (f"Saved in {folder}: mdn-jax plot {folder}, or mdn.load({str(folder / 'model')!r})", False)
        except (InputError, OSError) as error:
            said = (f"Not saved: {error}", True)
        await self._locked(self.say, *said)
        await self._locked(self._answer)

    def close(self) -> None:
        """Stop the work and let go of what was trained."""
        self.closed, self.picture = True, None
        self.sessions.clear()
        self.histories.clear()
        self.wake.set()
        self.drawn.set()

    def _act(self, action: dict[str, Any]) -> None:
        """One action of the browser's; the page answers at once, and the work follows."""
        ACTIONS[action.pop("do")](self, **action)
        self._answer()
        self.wake.set()

    async def _run(self) -> None:
        """Train and draw for as long as there is something to do."""
        while not self.closed:
            self.wake.clear()
            try:
                await self._turn()
            except InputError as error:
                await self._locked(self._give_up, str(error))
            except Exception as error:  # the page goes on, and the terminal tells the rest
                logging.getLogger(__name__).exception("a page's work failed")
                await self._locked(self._give_up, f"This failed: {error!r}")
            if not (self.playing or self.closed):
                await self.wake.wait()

    async def _locked(self, change: Callable, *arguments: Any) -> None:
        """Change the document when nobody else does."""
        if self.closed:
            return
        done = asyncio.get_running_loop().create_future()

        def call() -> None:
            try:
                done.set_result(change(*arguments))
            except Exception as error:
                done.set_exception(error)

        self.document.add_next_tick_callback(call)
        await done

    def _give_up(self, reason: str) -> None:
        self.playing, self.single, self.busy = False, 0, ""
        self.say(reason, bad=True)
        self._answer()

    async def _turn(self) -> None:
        """One picture: work in a thread, then show it when the last one is drawn."""
        settings, name, single = self.settings, self.settings.graph.name, self.single
        before, loop = self.session, asyncio.get_running_loop()
        works = self.playing or bool(single)
        new = before is None or self.fresh or before.settings.anew != settings.anew or (works and before.state is None)
        self.single, self.fresh = 0, False
        # programs of a shape: of the first picture, of the first steps, and of what lies at one input
        if (works or name != OWN) and (new or before is None or (works and not before.step) or not self.at):
            self.busy = "compiling for this shape, once"
            await self._locked(self._answer)
        past = None if new else before
        if past is None:  # the first picture waits neither for steps nor for what lies at one input
            done = await loop.run_in_executor(self.pool, lambda: _work(begin(settings, points_alone=not works)))
        else:
            x, steps, enough = None, single, None
            # training begins before the program of this one is there
            if not self.playing or (past.step and (self.frame % SELDOM == 1 or self.pointer != self.sliced)):
                self.sliced = self.pointer
                x = self.pointer[0] if self.pointer else sum(past.view.x) / 2
            if self.playing:
                speed = settings.values["speed"]
                steps, enough = ENDLESS if speed == "max" else int(speed), self._enough
            work = lambda: _work(past.changed(settings), steps, enough, x, self.component)  # noqa: E731
            done = await loop.run_in_executor(self.pool, work)
        await self._until_drawn()
        if self.closed or name != self.settings.graph.name:
            return
        self.busy, self.sessions[name] = "", done.session
        await self.showing  # one picture is shown while the next is worked on
        self.showing = asyncio.ensure_future(self._locked(self._show, done, new))
        if new or not self.playing:
            await self.showing
        if new and done.session.state is not None:
            self.wake.set()  # for what lies at one input
            self.single = self.single or single
        elif done.session.step and past is not None and not past.step:
            state = cast(Any, done.session.state)
            loop.run_in_executor(self.pool, compile_chunk, state, 1)  # for who takes one step

    def _enough(self, spent: float) -> bool:
        """True where steps stop for a picture: the browser is ready for it, and has not been for long."""
        return spent > (LEAST_WORK if self.drawn.is_set() else MOST_WORK)

    async def _until_drawn(self) -> None:
        """The browser's word that it has drawn a picture; a hidden page draws none."""
        if self.frame:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.drawn.wait(), PATIENCE)

    def _show(self, done: _Done, new: bool) -> None:
        """One picture."""
        session, name = done.session, done.session.settings.graph.name
        if new or self.shown != name:
            self._show_rows(session)
        history, self.picture = self.histories[name], done.picture
        if done.picture is None:
            self.figures.clear()
            self.at = self.above = ""
        else:
            history.add(session.step, float(done.picture.train_nll), float(done.picture.test_nll))
            self.figures.show(session.view, done.picture)
            if not self.playing or self.frame % SELDOM == 0:
                self.figures.show_loss(history.rows, session.oracle)
        if done.above is not None and session.data is not None:
            x, at, _ = done.above
            peaks = self.figures.show_slice(session.view, *done.above)[:MOST_MODES]
            self.at = f"{session.data.input_names[0]} = {x:.2f}"
            modes = ", ".join(f"{one:.2f}" for one in peaks) or "none in view"
            self.above = f"mean {at.mean:.2f}, modes {modes}"
        self._warn_if_diverged(session.diverged, history.astray)
        self.rate = 0.9 * self.rate + 0.1 * done.rate if self.rate and done.rate else done.rate or self.rate
        self.frame += 1
        self.drawn.clear()
        self._show_card(session, done.picture)
        self._answer()

    def _show_rows(self, session: Session) -> None:
        """A graph whose rows are shown for the first time, or are new."""
        name = self.shown = session.settings.graph.name
        if session.step == 0 or name not in self.histories:
            self.histories[name] = History()
        data, drawn = session.data, session.settings.drawn
        names = ("x", "y") if data is None else (data.input_names[0], data.target_names[0])
        self.figures.frame(session.view, names)
        if data is None:
            self.figures.show_points(drawn, drawn[:0])
        else:
            train, test = (np.concatenate([part.x, part.y], axis=1) for part in (data.train, data.test))
            self.figures.show_points(train, test if name == OWN else test[:0])

    def _warn_if_diverged(self, lost: bool, astray: bool) -> None:
        diverged, before = lost or astray, self.diverged
        self.playing = self.playing and not lost and (before or not astray)
        self.diverged = diverged
        if diverged != before:
            self.say()
            self.wake.set()  # for what lies at one input

    def _show_card(self, session: Session, picture: Picture | None) -> None:
        """The small graph of what trains, once a second."""
        name, now = session.settings.graph.name, time.monotonic()
        if self.playing and now - self.carded < CARDS_EVERY:
            return
        card = {"points": self.cards.get(name, {}).get("points", [])}
        if name == OWN:
            card["points"] = card_of(session.settings.drawn, session.view)
        if picture is not None and session.step:
            card["samples"] = card_of(np.stack([session.view.columns, picture.samples[:, 0]], axis=1), session.view)
        self.carded, self.cards[name] = now, card
        self.wire.cards = json.dumps(self.cards)

    def _answer(self) -> None:
        """The state of the page and all that has been shown, for the browser, in one message: each costs both sides."""
        settings, session = self.settings, self.session
        history = self.histories.get(settings.graph.name)
        idle = [] if settings.graph.is_problem else ["points", "noise"]
        idle += ["components"] if settings.values["objective"] == "squared_error" else []
        losses = history.last if history and history.last and np.all(np.isfinite(history.last)) else None
        state = json.dumps({
            "frame": self.frame, "graph": settings.graph.name, "notice": settings.graph.notice, "dark": self.dark,
            "playing": self.playing, "busy": self.busy, "message": self.message, "bad": self.bad,
            "diverged": self.diverged, "values": dict(settings.values), "idle": idle, "address": settings.address,
            "copied": self.copied, "step": session.step if session else 0, "rate": round(self.rate), "loss": losses,
            "oracle": session.oracle if session else None, "component": self.component, "above": self.above,
            "at": self.at,
        })  # fmt: skip
        shown = self.figures.take()
        if shown is None:
            self.wire.state = state
        else:
            numbers, places = shown
            self.wire.picture = {"numbers": numbers, "told": json.dumps({**places, "state": state})}


def card_of(points: np.ndarray, view: View) -> list[list[int]]:
    """A few points of a graph, in thousandths of its view."""
    ends = np.array(view)
    inside = (points[:CARD] - ends[:, 0]) / (ends[:, 1] - ends[:, 0])
    return (1_000 * np.clip(np.nan_to_num(inside), -1, 2)).astype(int).tolist()


def _work(
    session: Session,
    num_steps: int = 0,
    enough: Callable[[float], bool] | None = None,
    x: float | None = None,
    component: int = -1,
) -> _Done:
    """In a thread: steps, and the numbers of a picture."""
    step, seconds = session.step, session.seconds
    session = session.advanced(num_steps, enough)
    if session.state is None:
        return _Done(session)
    spent = session.seconds - seconds
    rate = (session.step - step) / spent if spent else 0.0
    above = None if x is None else (x, *session.slice(x))
    return _Done(session, session.picture(session.step, component), above, rate)

"""The page in a real browser: one server, one headless Chromium, and each state photographed."""

# ruff: noqa: F811 (fixtures come in by their names)

import itertools
import json
import re
import time
from urllib.parse import urlsplit

import numpy as np
import pytest
from numpy.testing import assert_allclose
from pages import CENTRES, FRAMES, MISSING, SECONDS, SMALL, STATE, browser, server, shots, visit  # noqa: F401

import mdn_jax as mdn
from mdn_jax import runs
from mdn_jax.config import parse

if MISSING:
    pytest.skip(f"no browser tests: {' and '.join(MISSING)} not installed", allow_module_level=True)

pytestmark = pytest.mark.slow


# Training


# least squares finds the sinusoid to a standard deviation of 1, whose NLL is 1.42; the average of the inverse's
# branches stands at 2.98, and the mixture's branches well below it; every graph begins above 1, 3 or 3.5
LIMITS = {"squares": 1.8, "inverse-squares": 3.2, "inverse": 2.6, "sinusoid": 1.8, "bishop": 0.0}


def test_each_graph_trains_by_a_click(visit, shots):
    one = visit("")
    assert one.state["graph"] == "squares" and not one.state["playing"] and one.text("notice").startswith("Each x has")
    for name, limit in LIMITS.items():
        one.page.click(f"[data-graph={name}]")
        state = one.wait_for(f"s.graph === '{name}' && s.loss && s.loss[2] < {limit}")
        assert state["playing"] and state["step"] > 0 and state["message"] == ""
        first = one.page.evaluate("document.querySelector('#loss').textContent")
        assert re.match(r"fresh points -?\d\.\d{3} nats · training points -?\d\.\d{3} · exact density ", first)
        one.page.screenshot(path=shots / f"graph_{name}.png")
    assert one.page.evaluate("[document.body.scrollWidth, document.documentElement.scrollHeight]") == [1280, 720]
    one.page.click("[data-graph=inverse]")
    assert one.wait_for("s.graph === 'inverse' && !s.busy")["step"] > 0  # a graph that is left keeps what it learned


def test_steps_and_keys(visit):
    one = visit()
    first = one.state["loss"]
    one.do("step")
    one.wait_for("s.step === 1 && !s.busy")
    one.page.keyboard.press("s")
    one.wait_for("s.step === 2")
    one.page.keyboard.press(" ")
    assert one.wait_for("s.step > 100")["playing"] and one.text("play") == "Pause"
    one.page.keyboard.press(" ")
    one.wait_for("!s.playing")
    paused = one.at_rest()
    assert one.text("status").startswith(f"step {paused['step']}")
    for component in (0, 1, 2, -1):
        one.page.keyboard.press("c")
        assert one.wait_for(f"s.component === {component}")
        expected = f"component {component + 1}'s share" if component >= 0 else ""
        assert one.text("component") == expected
    one.page.keyboard.press("r")
    assert one.wait_for("s.step === 0 && !s.busy && s.loss")["loss"] == first
    one.do("play")
    one.wait_for("s.step > 50")
    one.do("reset")
    assert one.wait_for("s.step < 50")["playing"]


def test_speed_is_steps_to_a_picture(visit):
    one = visit(f"{SMALL}&speed=10")
    one.do("play")
    one.wait_for("s.step > 20")
    seen = one.page.evaluate(FRAMES, 20)
    assert max(np.diff(seen)) <= 10 and min(np.diff(seen)) >= 0


def test_rates_go_on_and_shapes_begin_anew(visit):
    one = visit()
    one.do("play")
    one.wait_for("s.step > 50")
    one.do("play")
    step = one.wait_for("!s.playing")["step"]
    one.page.press("[data-control=rate]", "ArrowUp")
    one.wait_for("s.values.rate > 0.005")
    assert one.shown("rate") == "0.0089" and "rate=0.0089" in one.page.url
    for name, value in (("clip", "1"), ("decay", "0.01"), ("jitter", "0.1")):
        one.set(name, value)
        one.wait(f"() => location.search.includes('{name}=')")
    assert one.state["step"] >= step
    one.set("components", "0")
    one.wait_for("s.bad")
    assert one.text("message span") == "Components: 0 is not a whole number from 1 to 30; it stays as it is"
    assert one.shown("components") == "3" and one.state["step"] >= step
    one.set("seed", "7")
    assert one.wait_for("s.step === 0 && !s.busy")["message"] == ""
    one.set("components", "4")
    one.wait("() => document.querySelector('#status').textContent.includes('compiling for this shape, once')")
    one.wait_for("!s.busy")
    one.set("objective", "squared_error")
    one.wait_for("s.values.components === 1 && !s.busy")
    assert one.page.is_disabled("[data-control=components]") and one.shown("components") == "1"


# Points of one's own


CURVE = [(x, 0.5 + 0.3 * np.sin(7 * x)) for x in np.linspace(0.1, 0.9, 40)]


def test_own_points_are_drawn_erased_and_fitted(visit, shots):
    one = visit("graph=own&components=3&hidden=8&layers=1")
    assert one.page.is_visible("#drawing") and not one.page.is_visible("#points") and one.state["step"] == 0
    for key in ("play", "step"):
        one.do(key)
        one.wait_for("s.bad")
        assert one.text("message span") == "Draw at least 10 points in the left graph first; there are 0"
        assert not one.state["playing"]
    one.stroke(CURVE)
    one.wait("() => location.search.length > 150")
    one.at_rest()
    drawn = one.drawn
    assert 20 < len(drawn) <= len(CURVE) + 1
    assert_allclose(drawn[:, 1], 0.5 + 0.3 * np.sin(7 * drawn[:, 0]), atol=0.02)
    one.page.mouse.click(*one.place("samples", 0.15, 0.1))
    one.wait_for_points(len(drawn) + 1)
    assert_allclose(one.drawn[-1], (0.15, 0.1), atol=0.01)
    one.page.check("[value=erase]")
    one.stroke([(0.15, 0.1), (0.16, 0.11)])
    one.wait_for_points(len(drawn))
    one.page.check("[value=add]")
    for _ in range(2):  # a place that was drawn, cleared and drawn again
        one.do("clear")
        one.wait_for_points(0)
        one.page.mouse.click(*one.place("samples", *CURVE[0]))
        one.wait_for_points(1)
    one.stroke(CURVE, rest=500)
    one.wait("() => location.search.length > 150")
    one.do("play")
    one.wait_for("s.step > 200 && s.loss[1] < -1")  # one Gaussian for all x has an NLL of -0.1
    one.page.screenshot(path=shots / "own_points.png")
    one.do("clear")
    one.wait_for("!s.playing && s.step === 0")
    assert "drawn" not in one.page.url and one.text("loss") == ""


def test_points_are_drawn_by_keys(visit):
    one = visit("graph=own")
    for place in itertools.accumulate([1] * 3):
        one.page.keyboard.press("ArrowRight")
        one.page.keyboard.press("ArrowUp")
        one.page.keyboard.press("Enter")
        one.wait_for_points(place)
    assert_allclose(one.drawn, [(0.52, 0.52), (0.54, 0.54), (0.56, 0.56)], atol=1e-3)


# Pointing


def test_an_input_is_pointed_at(visit):
    one = visit()
    one.do("play")
    one.wait_for("s.step > 200")
    one.do("play")
    one.wait_for("!s.playing")
    for x in (-5.0, 6.0):
        one.page.mouse.move(*one.place("density", x, 0.0))
        one.wait(f"() => Math.abs(parseFloat({STATE}.at.split('=')[1]) - {x}) < 0.2")
        assert one.text("pointer").startswith("y = ") and re.match(
            r"mean -?\d+\.\d\d, modes -?\d+\.\d\d", one.text("above")
        )
    before = float(one.text("pointer").split("=")[1])
    one.page.mouse.move(5, 715)
    one.page.keyboard.press("ArrowLeft")
    one.wait(f"() => parseFloat({STATE}.at.split('=')[1]) < {before - 0.3}")
    for _ in range(5):
        one.page.keyboard.press("ArrowRight")
    one.wait(f"() => parseFloat({STATE}.at.split('=')[1]) > {before + 0.5}")


def test_a_component_is_pointed_at(visit, shots):
    one = visit()
    one.do("play")
    one.wait_for("s.step > 200")
    one.do("play")
    one.wait_for("!s.playing")
    one.at_rest()
    centres = one.page.evaluate(f"(() => {{ const d = {CENTRES}; return [[...d.x], [...d.y], [...d.size]] }})()")
    x, y, size = np.array(centres)  # shares of the view
    place = np.argmax(np.where(np.abs(np.stack([x, y]) - 0.5).max(axis=0) < 0.45, size, 0))
    one.page.mouse.move(*one.share("density", x[place], y[place]))
    one.wait_for("s.component >= 0")
    assert re.fullmatch(r"component [123]'s share", one.text("component"))
    one.at_rest()
    one.page.screenshot(path=shots / "component.png")
    one.page.mouse.move(5, 715)
    one.wait_for("s.component === -1")


# What is handed over


def test_an_address_restores_a_page(visit):
    one = visit()
    for name, value in (("noise", "2"), ("seed", "5"), ("rate", "0.0123456"), ("speed", "10")):
        one.set(name, value)
        one.wait(f"() => location.search.includes('{name}=')")
    one.do("theme")
    one.wait_for("s.dark && !s.busy")
    one.wait("() => location.search.includes('theme=dark')")
    one.do("link")
    assert one.page.input_value("#text textarea") == one.page.url
    other = visit(urlsplit(one.page.url).query)
    other.wait_for("!s.busy && s.loss")
    assert other.page.url == one.page.url and other.state["dark"]
    for name in one.state["values"]:
        assert other.shown(name) == one.shown(name), name
    assert other.state["loss"] == one.wait_for("s.loss")["loss"]


def test_a_run_is_saved(visit, server):
    one = visit()
    one.do("save")
    one.wait_for("s.bad")
    assert one.text("message span") == "There is nothing to save before the first step: press Play"
    one.do("step")
    one.wait_for("s.step === 1")
    one.do("save")
    one.wait_for("s.message.startsWith('Saved in') || s.bad")
    folder = server.runs / "demo_inverse_1"
    assert one.text("message span") == (
        f"Saved in {folder}: mdn-jax plot {folder}, or mdn.load({str(folder / 'model')!r})"
    )
    config, _ = runs.read_config(folder / "config.toml")
    test = mdn.data.load(config.dataset).test.take(np.arange(1_024))
    saved = mdn.evaluate(mdn.load(folder / "model"), test.x, test.y)
    assert_allclose(saved.nll.mean(), one.state["loss"][2], rtol=1e-4)
    one.do("config")
    one.page.wait_for_selector("#text[open]")
    text = one.page.input_value("#text textarea")
    assert parse(text, "copied")[0] == parse((folder / "config.toml").read_text(), "saved")[0]
    one.page.keyboard.press("Escape")
    assert (folder / "metrics.json").exists() and json.loads((folder / "metrics.json").read_text())["status"] == "ok"


# Visitors


def test_two_pages_are_two_people_s(visit, server):
    one, other = visit(), visit("graph=own&components=3&hidden=8&layers=1")
    one.do("play")
    one.wait_for("s.step > 100")
    other.stroke(CURVE[:15])
    other.wait("() => location.search.includes('drawn')")
    assert other.state["graph"] == "own" and other.state["step"] == 0 and not other.state["playing"]
    assert one.state["graph"] == "inverse" and one.drawn.size == 0 and one.state["playing"]
    one.do("reset")
    one.do("play")
    one.wait_for("!s.playing")
    before = one.at_rest()
    other.do("play")
    other.wait_for("s.step > 50 && s.graph === 'own'")
    assert one.state == before


def test_closing_a_page_stops_its_work(visit, server):
    one = visit()
    one.do("play")
    one.wait_for("s.step > 100")
    assert server.busy() > 0.15
    one.page.close()
    until = time.monotonic() + SECONDS
    while (share := server.busy()) > 0.05 and time.monotonic() < until:
        pass
    assert share <= 0.05


# Mistakes


def test_a_rate_that_diverges_is_told_and_reset_mends_it(visit, shots):
    one = visit(f"{SMALL}&rate=50")
    one.do("play")
    one.wait_for("s.diverged")
    assert one.text("message span").startswith(
        "Training diverged: the loss is far above where it began. Lower the learning"
    )
    assert not one.state["playing"] and one.page.is_visible("#again")
    one.at_rest()
    one.page.screenshot(path=shots / "diverged.png")
    one.set("rate", "0.005")
    one.wait("() => !location.search.includes('rate')")
    one.do("again")
    one.wait_for("!s.diverged && s.step === 0 && !s.busy")
    assert one.text("message span") == "" and not one.page.is_visible("#again")
    one.do("play")
    one.wait_for("s.step > 50 && s.playing")


def test_nonsense_in_an_address_is_told(visit):
    one = visit(f"{SMALL.replace('components=3', 'components=abc')}&foo=1&rate=1e9")
    assert one.text("message span") == (
        "This address was not understood: components = 'abc' is not a whole number from 1 to 30; "
        "foo is no control; rate = '1e9' is not a number from 1e-06 to 100"
    )
    assert one.shown("components") == "10" and one.shown("points") == "300"
    one.do("step")
    assert one.wait_for("s.step === 1")["message"] == ""

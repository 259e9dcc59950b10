"""Pictures of the page of `mdn-jax demo`: one of the whole page, and a short film of it while a mixture learns.

A browser without a window opens the page on a server of its own, on the inverse problem and from one seed. Most is
learnt in the first hundreds of steps, so the film slows them down: its pictures lie evenly on the logarithm of steps.

COMMAND  python experiments/demo_pictures.py [--out runs/demo_pictures]
TIME     half a minute
DEVICE   any, with Playwright and a Chromium (`chromium` or `google-chrome` on the PATH)
WRITES   demo.png (1280 x 720) and demo.gif (960 x 540, 9 s)
"""

import argparse
import io
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
from PIL import Image
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).parents[1]
SIZE: Any = {"width": 1280, "height": 720}
STATE = "JSON.parse(Bokeh.documents[0].get_model_by_name('wire').state)"
STEP = f"{STATE}.step"
QUERY = {"graph": "inverse", "seed": 3, "theme": "light"}
INPUT = 0.46  # share of the density's width: an input with five answers
LEARNT = 12_000  # steps before the picture of the page
PICTURES, LONGEST = 56, 4_000  # of the film, and steps before its last one
SPEEDS = {"1": 0, "10": 30, "100": 400}  # steps to a picture of the page, from which step on
SHOWN, HELD = 110, 1_500  # milliseconds of a picture, and of the first and the last
WIDTH, COLOURS = 960, 128


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/demo_pictures"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        raise SystemExit("needs a Chromium on the PATH: chromium or google-chrome")
    command = [sys.executable, "-m", "mdn_jax", "demo", "--port", "0", "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server, sync_playwright() as playwright:
        try:
            address = server.stdout.readline().split()[0]  # pyright: ignore[reportOptionalMemberAccess]
            page = playwright.chromium.launch(executable_path=chromium).new_page(viewport=SIZE)
            page.goto(f"{address}?{urlencode(QUERY)}")
            page.wait_for_function("window.mdn?.frames > 0", timeout=120_000)
            compile_all(page)
            point(page)
            save_film(film(page), options.out / "demo.gif")
            page.select_option("[data-control=speed]", "max")
            page.wait_for_function(f"{STEP} > {LEARNT}", timeout=120_000)
            page.screenshot(path=options.out / "demo.png")
        finally:
            server.terminate()
    print(f"{options.out}/demo.png, {options.out}/demo.gif")


def compile_all(page: Page) -> None:
    """Train for a moment, and begin again."""
    page.click("#step")
    page.wait_for_function(f"{STEP} > 0", timeout=120_000)
    page.click("#play")
    page.wait_for_function(f"{STEP} > 100", timeout=120_000)
    page.click("#play")
    page.click("#reset")
    page.wait_for_function(f"{STEP} === 0", timeout=120_000)


def point(page: Page) -> None:
    """Point at an input that has several answers, and at no component."""
    box = page.locator(".figure").nth(1).locator(".bk-Figure").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + INPUT * box["width"], box["y"] + 0.5 * box["height"])
    page.mouse.move(0, 0)
    page.wait_for_function(f"{STATE}.component < 0 && {STATE}.at")


def film(page: Page) -> list[Image.Image]:
    """Pictures of the page, from none to many steps."""
    pictures = [picture(page)]
    left = dict(SPEEDS)
    for step in np.unique(np.geomspace(1, LONGEST, PICTURES).astype(int)):
        for speed in [one for one, first in left.items() if first <= step]:
            page.select_option("[data-control=speed]", speed)
            left.pop(speed)
        if len(pictures) == 1:
            page.click("#play")
        page.wait_for_function(f"{STEP} >= {step}", timeout=60_000)
        pictures.append(picture(page))
    return pictures


def picture(page: Page) -> Image.Image:
    """One picture, as small as it is shown."""
    shot = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    return shot.resize((WIDTH, round(WIDTH * shot.height / shot.width)), Image.Resampling.LANCZOS)


def save_film(pictures: list[Image.Image], path: Path) -> None:
    """A GIF in one palette, so that what stands still does not flicker."""
    strip = np.concatenate([np.asarray(pictures[place]) for place in (0, len(pictures) // 2, -1)])
    palette = Image.fromarray(strip).quantize(COLOURS, method=Image.Quantize.MAXCOVERAGE, kmeans=4)
    frames = [one.quantize(palette=palette, dither=Image.Dither.NONE) for one in pictures]
    shown = [HELD, *[SHOWN] * (len(frames) - 2), HELD]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=shown, loop=0, optimize=True)


if __name__ == "__main__":
    main()

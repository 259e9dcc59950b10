"""The four figures of a page: points and samples, the density, what lies above one x, and the loss."""

from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource, LinearColorMapper, Range1d, Span
from bokeh.plotting import figure

from mdn_jax.demo.pictures import EACH, Picture, Slice, View

__all__ = ["Figures"]

BLUE, RED, SKY = "#0072B2", "#D55E00", "#56B4E9"
COMPONENTS = ("#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#0072B2")  # Okabe and Ito's
LEAST = 0.02  # weight below which a component is not shown
TOP, FAINT = 0.99, 0.03  # share of the cells above FAINT of the highest that lie below the darkest colour
SHOWN = 1_000  # points
STEEP = 8  # times as far above the best loss as the median lies is where the loss's graph ends
DENSE = ((0, 114, 178), (5, 35, 70)), ((0, 114, 178), (210, 236, 255))  # half and whole of a density
THEMES = {
    False: {"ink": "#333333", "grid": "#E6E6E6", "band": BLUE, "ends": ((255, 255, 255), *DENSE[0])},
    True: {"ink": "#C8CCD2", "grid": "#2C333B", "band": SKY, "ends": ((20, 24, 29), *DENSE[1])},
}
"""By whether the page is dark."""


def palette_of(dark: bool) -> list[str]:
    """256 colours from none to dense."""
    ends, places = np.array(THEMES[dark]["ends"], float), np.linspace(0, 2, 256)
    channels = [np.interp(places, [0, 1, 2], ends[:, one]).round().astype(int) for one in range(3)]
    return [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in zip(*channels, strict=True)]


class Figures:
    """Figures and their sources; every method changes what they show."""

    def __init__(self) -> None:
        names = (
            "heat",
            "points",
            "held",
            "samples",
            "centres",
            "line",
            "parts",
            "half",
            "most",
            "peaks",
            "loss",
            "pointer",
        )
        self.sources = {name: ColumnDataSource() for name in names}
        self.mapper = LinearColorMapper(palette=palette_of(False), low=0, high=255)
        self.x, self.y = Range1d(0, 1), Range1d(0, 1)
        self.samples = self._figure("samples", x_range=self.x, y_range=self.y)
        self.density = self._figure("density", x_range=self.x, y_range=self.y)
        self.above = self._figure("above", y_range=self.y, x_axis_label="density")
        self.loss = self._figure("loss", x_axis_label="steps", y_axis_label="nats per point")
        self.all = (self.samples, self.density, self.above, self.loss)
        self.at, self.mean = Span(dimension="height", line_width=1.5), Span(dimension="width", line_dash="dotted")
        self.oracle = Span(dimension="width", line_dash="dashed", line_width=1.5)
        self._fill()

    def _figure(self, name: str, **options: Any) -> figure:
        made = figure(name=name, toolbar_location=None, tools="", sizing_mode="stretch_both", min_border=4, **options)
        made.outline_line_color = None
        made.border_fill_alpha = made.background_fill_alpha = 0.0
        return made

    def _fill(self) -> None:
        """Glyphs, in the order in which they lie over each other."""
        sources = self.sources
        empty = {name: [] for name in ("x", "y", "left", "right", "top", "bottom", "colour", "size", "exact", "test")}
        for source in sources.values():
            source.data = dict(empty)
        sources["heat"].data = {"image": [np.zeros((1, 1), np.uint8)], "x": [0], "y": [0], "w": [1], "h": [1]}
        sources["parts"].data = {"xs": [], "ys": [], "colour": []}
        self.samples.scatter("x", "y", size=3.5, color=RED, alpha=0.6, line_color=None, source=sources["samples"])
        self.dots = self.samples.scatter("x", "y", size=4.5, alpha=0.4, line_color=None, source=sources["points"])
        self.kept = self.samples.scatter("x", "y", size=6, fill_color=None, source=sources["held"])
        self.cross = self.samples.scatter("x", "y", size=14, marker="cross", source=sources["pointer"])
        self.density.image("image", "x", "y", "w", "h", color_mapper=self.mapper, source=sources["heat"])
        self.density.scatter("x", "y", size="size", color="colour", line_color=None, source=sources["centres"])
        self.density.add_layout(self.at)
        ends = ("left", "right", "top", "bottom")
        self.bands = [
            self.above.quad(*ends, alpha=alpha, line_color=None, source=sources[name])
            for name, alpha in (("most", 0.14), ("half", 0.22))
        ]
        self.above.multi_line("xs", "ys", line_color="colour", alpha=0.9, source=sources["parts"])
        self.curve = self.above.line("x", "y", line_width=2, color=BLUE, source=sources["line"])
        self.exact = self.above.line("exact", "y", line_width=1.5, line_dash="dashed", source=sources["line"])
        self.peaks = self.above.scatter("x", "y", size=8, marker="diamond", source=sources["peaks"])
        self.above.add_layout(self.mean)
        self.loss.line("x", "y", color="#8C8C8C", line_width=1.5, source=sources["loss"])
        self.loss.line("x", "test", color=BLUE, line_width=2, source=sources["loss"])
        self.loss.add_layout(self.oracle)
        self.above.x_range, self.loss.y_range = Range1d(0, 1), Range1d(0, 1)

    def paint(self, dark: bool) -> None:
        """In light or in dark."""
        theme = THEMES[dark]
        for one in self.all:
            for axis in one.axis:
                inked = ("axis_label_text_color", "major_label_text_color", "axis_line_color", "major_tick_line_color")
                axis.update(**dict.fromkeys(inked, theme["ink"]), minor_tick_line_color=None)
                axis.update(axis_label_text_font_style="normal", axis_label_text_font_size="12px")
            one.grid.grid_line_color = theme["grid"]
        self.density.grid.grid_line_color = None
        self.mapper.palette = palette_of(dark)
        for glyph in (self.dots.glyph, self.peaks.glyph):
            glyph.fill_color = theme["ink"]
        for glyph in (self.kept.glyph, self.exact.glyph, self.peaks.glyph, self.cross.glyph):
            glyph.line_color = theme["ink"]
        for band in self.bands:
            band.glyph.fill_color = theme["band"]
        for span in (self.at, self.mean, self.oracle):
            span.line_color = theme["ink"]

    def frame(self, view: View, names: tuple[str, str]) -> None:
        """The ends and the names of the axes."""
        self.x.update(start=view.x[0], end=view.x[1])
        self.y.update(start=view.y[0], end=view.y[1])
        for one in (self.samples, self.density):
            one.xaxis.axis_label, one.yaxis.axis_label = names
        self.above.yaxis.axis_label = names[1]

    def show_points(self, points: np.ndarray, held: np.ndarray) -> None:
        """Training points, and those kept for the test."""
        self.sources["points"].data = {"x": points[:SHOWN, 0], "y": points[:SHOWN, 1]}
        self.sources["held"].data = {"x": held[:, 0], "y": held[:, 1]}

    def show_pointer(self, at: tuple[float, float] | None) -> None:
        """A cross where the arrow keys have moved."""
        self.sources["pointer"].data = {"x": at[:1], "y": at[1:]} if at else {"x": [], "y": []}

    def show(self, view: View, picture: Picture) -> None:
        """One picture of a model."""
        width, height = view.x[1] - view.x[0], view.y[1] - view.y[0]
        place = {"x": [view.x[0]], "y": [view.y[0]], "w": [width], "h": [height]}
        self.sources["heat"].data = {"image": [_shades(picture.density)], **place}
        columns = view.columns.astype(np.float32)
        inside = picture.samples.ravel()
        self.sources["samples"].data = {"x": np.repeat(columns, EACH), "y": inside}
        places, kinds = np.nonzero(picture.weights[::2] > LEAST)
        weight = picture.weights[::2][places, kinds]
        self.sources["centres"].data = {
            "x": columns[::2][places],
            "y": picture.centres[::2][places, kinds],
            "size": (2.0 + 7.0 * np.sqrt(weight)).astype(np.float32),
            "colour": [COMPONENTS[kind % len(COMPONENTS)] for kind in kinds],
        }

    def show_slice(self, view: View, x: float, found: Slice, exact: np.ndarray | None) -> np.ndarray:
        """The distribution above one x; its modes that can be seen are returned."""
        fine = view.fine
        top = float(1.15 * max(found.density.max(), 0.0 if exact is None else exact.max()) or 1.0)
        self.at.location, self.mean.location = x, float(found.mean)
        self.above.x_range.end = top
        blank = np.full(len(fine), np.nan)
        self.sources["line"].data = {"x": found.density, "y": fine, "exact": blank if exact is None else exact}
        shown = [one for one in range(len(found.parts)) if found.parts[one].max() > LEAST * top]
        self.sources["parts"].data = {
            "xs": [found.parts[one] for one in shown],
            "ys": [fine] * len(shown),
            "colour": [COMPONENTS[one % len(COMPONENTS)] for one in shown],
        }
        for name, pieces in (("half", found.half), ("most", found.most)):
            pieces = pieces[np.isfinite(pieces[:, 0])]
            ends = {"left": np.zeros(len(pieces)), "right": np.full(len(pieces), top)}
            self.sources[name].data = {**ends, "bottom": pieces[:, 0], "top": pieces[:, 1]}
        peaks = found.modes[np.isfinite(found.modes)]
        heights = np.interp(peaks, fine, found.density)
        peaks, heights = (one[heights > LEAST * top] for one in (peaks, heights))
        self.sources["peaks"].data = {"x": heights, "y": peaks}
        return peaks

    def clear(self) -> None:
        """Nothing but points."""
        self.sources["heat"].data = {"image": [np.zeros((1, 1), np.uint8)], "x": [0], "y": [0], "w": [1], "h": [1]}
        for name in ("samples", "centres"):
            self.sources[name].data = {"x": [], "y": [], "size": [], "colour": []}
        self.sources["line"].data = {"x": [], "y": [], "exact": []}
        self.sources["parts"].data = {"xs": [], "ys": [], "colour": []}
        for name in ("half", "most"):
            self.sources[name].data = {"left": [], "right": [], "top": [], "bottom": []}
        self.sources["peaks"].data = {"x": [], "y": []}
        self.show_loss(np.empty((0, 3)), None)

    def show_loss(self, losses: np.ndarray, oracle: float | None) -> None:
        """(E, 3) steps, training and test loss, and the exact density's."""
        steps, train, test = losses.T
        self.sources["loss"].data = {"x": steps, "y": train, "test": test}
        self.oracle.location = oracle
        shown = np.append(losses[:, 1:].ravel(), [] if oracle is None else oracle)
        shown = shown[np.isfinite(shown)]
        if shown.size:
            # the fall from the first loss must not flatten what comes after it
            low, middle, high = shown.min(), np.median(shown), shown.max()
            high = min(high, low + max(STEEP * (middle - low), 0.5))
            self.loss.y_range.update(start=low - 0.05 * (high - low), end=high + 0.05 * (high - low))


def _shades(density: np.ndarray) -> np.ndarray:
    """The root of a density in 256 shades, so that low ridges stay visible and one peak does not bleach the rest."""
    dense = density[density > FAINT * density.max()]
    top = float(np.quantile(dense, TOP)) if dense.size else 1.0
    return (255 * np.sqrt(np.clip(density / max(top, 1e-30), 0, 1))).astype(np.uint8)

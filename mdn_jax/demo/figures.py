"""The four figures of a page: points and samples, the density, what lies above one x, and the loss.

What changes with every picture, the heat map, the samples and the components' centres, the page draws by itself under
or over its figure; all else is Bokeh's.
"""

from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource, Range1d, Span
from bokeh.plotting import figure

from mdn_jax.demo.pictures import Picture, Slice, View

__all__ = ["Figures"]

BLUE, SKY = "#0072B2", "#56B4E9"
COMPONENTS = ("#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#999999")  # Okabe and Ito's
LEAST = 0.02  # weight below which a component is not shown
TOP, FAINT = 0.99, 0.03  # share of the cells above FAINT of the highest that lie below the darkest colour
SHOWN = 1_000  # points
KINDS = {"columns": "plain", "colour": "plain", "colours": "plain", "xs": "many", "ys": "many"}  # else one vector
STEEP = 8  # times as far above the best loss as the median lies is where the loss's graph ends
THEMES = {
    False: {"ink": "#333333", "grid": "#E6E6E6", "band": BLUE},
    True: {"ink": "#C8CCD2", "grid": "#2C333B", "band": SKY},
}
"""By whether the page is dark."""


class Figures:
    """Figures and their sources; every method changes what they show."""

    def __init__(self) -> None:
        names = ("points", "held", "line", "parts", "half", "most", "peaks", "loss", "pointer")
        self.sources = {name: ColumnDataSource(name=f"{name} rows") for name in names}
        self._tables: dict[str, dict[str, Any]] = {}
        self._changes: dict[str, dict[str, Any]] = {}
        self.x, self.y = Range1d(start=0, end=1), Range1d(start=0, end=1)
        self.samples = self._figure("samples", x_range=self.x, y_range=self.y)
        self.density = self._figure("density", x_range=self.x, y_range=self.y)
        self.above = self._figure("above", y_range=self.y, x_axis_label="density")
        self.loss = self._figure("loss", x_axis_label="steps", y_axis_label="nats per point")
        self.all = (self.samples, self.density, self.above, self.loss)
        self.at = Span(name="at", dimension="height", line_width=1.5, level="overlay")
        self.mean = Span(name="mean", dimension="width", line_dash="dotted", level="overlay")
        self.oracle = Span(name="oracle", dimension="width", line_dash="dashed", line_width=1.5, level="overlay")
        self._fill()

    def _figure(self, name: str, **options: Any) -> figure:
        made = figure(name=name, toolbar_location=None, tools="", sizing_mode="stretch_both", min_border=4, **options)
        made.outline_line_color = None
        made.border_fill_alpha = made.background_fill_alpha = 0.0
        return made

    def _fill(self) -> None:
        """Glyphs, in the order in which they lie over each other."""
        sources = self.sources
        empty = {name: [] for name in ("x", "y", "left", "right", "top", "bottom", "exact", "test")}
        for source in sources.values():
            source.data = dict(empty)
        sources["parts"].data = {"xs": [], "ys": [], "colour": []}
        over: Any = {"level": "overlay"}  # drawn without axes and points, which stay
        self.dots = self.samples.scatter("x", "y", size=4.5, alpha=0.4, line_color=None, source=sources["points"])
        self.kept = self.samples.scatter("x", "y", size=6, fill_color=None, source=sources["held"])
        self.cross = self.samples.scatter("x", "y", size=14, marker="cross", source=sources["pointer"], **over)
        self.density.add_layout(self.at)
        ends = ("left", "right", "top", "bottom")
        self.bands = [
            self.above.quad(*ends, alpha=alpha, line_color=None, source=sources[name], **over)
            for name, alpha in (("most", 0.14), ("half", 0.22))
        ]
        self.above.multi_line("xs", "ys", line_color="colour", alpha=0.9, source=sources["parts"], **over)
        self.above.line("x", "y", line_width=2, color=BLUE, source=sources["line"], **over)
        self.exact = self.above.line("exact", "y", line_width=1.5, line_dash="dashed", source=sources["line"], **over)
        self.peaks = self.above.scatter("x", "y", size=8, marker="diamond", source=sources["peaks"], **over)
        self.above.add_layout(self.mean)
        self.loss.line("x", "y", color="#8C8C8C", line_width=1.5, source=sources["loss"], **over)
        self.loss.line("x", "test", color=BLUE, line_width=2, source=sources["loss"], **over)
        self.loss.add_layout(self.oracle)
        self.above.x_range = Range1d(start=0, end=1, name="densities")
        self.loss.x_range, self.loss.y_range = (Range1d(start=0, end=1, name=name) for name in ("steps", "losses"))

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
        low, high = view.y
        samples, centres = ((one - low) / (high - low) for one in (picture.samples, picture.centres))
        weights = picture.weights
        columns, kinds = np.nonzero((weights > LEAST) & (np.arange(len(weights)) % 2 == 0)[:, None])
        self._tables["picture"] = {
            "columns": len(weights),
            "heat": _shades(picture.density),
            "samples": samples,
            "x": (columns + 0.5) / len(weights),
            "y": centres[columns, kinds],
            "size": 2.0 + 7.0 * np.sqrt(weights[columns, kinds]),
            "kind": kinds % len(COMPONENTS),
            "colours": COMPONENTS,
        }

    def show_slice(self, view: View, x: float, found: Slice, exact: np.ndarray | None) -> np.ndarray:
        """The distribution above one x; its modes that can be seen are returned, from below."""
        fine = view.fine
        top = _round_up(1.15 * max(found.density.max(), 0.0 if exact is None else exact.max()))
        self._changes |= {"at": {"location": x}, "mean": {"location": float(found.mean)}, "densities": {"end": top}}
        blank = np.full(len(fine), np.nan)
        self._tables["line"] = {"x": found.density, "y": fine, "exact": blank if exact is None else exact}
        shown = [one for one in range(len(found.parts)) if found.parts[one].max() > LEAST * top]
        self._tables["parts"] = {
            "xs": [found.parts[one] for one in shown],
            "ys": [fine] * len(shown),
            "colour": [COMPONENTS[one % len(COMPONENTS)] for one in shown],
        }
        for name, pieces in (("half", found.half), ("most", found.most)):
            pieces = np.clip(pieces[np.isfinite(pieces[:, 0])], *view.y)
            ends = {"left": np.zeros(len(pieces)), "right": np.full(len(pieces), top)}
            self._tables[name] = {**ends, "bottom": pieces[:, 0], "top": pieces[:, 1]}
        peaks = np.sort(found.modes[(found.modes > view.y[0]) & (found.modes < view.y[1])])
        heights = np.interp(peaks, fine, found.density)
        peaks, heights = (one[heights > LEAST * top] for one in (peaks, heights))
        self._tables["peaks"] = {"x": heights, "y": peaks}
        return peaks

    def clear(self) -> None:
        """Nothing but points."""
        self._tables["picture"] = dict.fromkeys(("heat", "samples", "x", "y", "size", "kind", "colours"), ()) | {
            "columns": 1
        }
        self._tables["peaks"] = self._tables["line"] = dict.fromkeys(("x", "y", "exact"), ())
        self._tables["parts"] = {"xs": [], "ys": [], "colour": []}
        for name in ("half", "most"):
            self._tables[name] = dict.fromkeys(("left", "right", "top", "bottom"), ())
        self.show_loss(np.empty((0, 3)), None)

    def show_loss(self, losses: np.ndarray, oracle: float | None) -> None:
        """(E, 3) steps, training and test loss, and the exact density's."""
        steps, train, test = losses.T
        shown = np.append(losses[:, 1:].ravel(), [] if oracle is None else oracle)
        shown = shown[np.isfinite(shown)]
        self._changes["oracle"] = {"location": oracle}
        if shown.size:
            # the fall from the first loss must not flatten what comes after it
            low, middle, high = shown.min(), np.median(shown), shown.max()
            high = min(high, low + max(STEEP * (middle - low), 0.5))
            pad = 0.05 * (high - low) or 0.5
            # rounded, so that most pictures leave the axes as they are
            ends = np.floor(20 * (low - pad)) / 20, np.ceil(20 * (high + pad)) / 20
            self._changes["losses"] = {"start": float(ends[0]), "end": float(ends[1])}
            train, test = _inside(train, ends), _inside(test, ends)
        self._changes["steps"] = {"end": _round_up(steps[-1] if len(steps) else 0.0)}
        self._tables["loss"] = {"x": steps, "y": train, "test": test}

    def take(self) -> tuple[np.ndarray, dict[str, Any]] | None:
        """All that has been shown since the last time: one vector of numbers, and their places in it.

        A message for each column would cost the browser more than all of its drawing.
        """
        if not (self._tables or self._changes):
            return None
        vectors, layout, place = [np.zeros(0, np.float32)], [], 0

        def packed(values: Any) -> list[int]:
            nonlocal place
            vectors.append(np.asarray(values, np.float32).ravel())
            place += vectors[-1].size
            return [place - vectors[-1].size, place]

        for name, columns in self._tables.items():
            for column, values in columns.items():
                kind = KINDS.get(column, "one")
                if kind != "plain":
                    values = packed(values) if kind == "one" else [packed(one) for one in values]
                layout.append([f"{name} rows", column, kind, values])
        places = {"layout": layout, "changes": self._changes}
        self._tables, self._changes = {}, {}
        return np.concatenate(vectors), places


def _inside(values: np.ndarray, ends: tuple[float, float]) -> np.ndarray:
    """NaN for what lies outside of a view: an overlay is not cut off at its frame."""
    return np.where((values > ends[0]) & (values < ends[1]), values, np.nan)


def _round_up(top: float) -> float:
    """The end of an axis, in steps of a quarter of its power of ten, so that it seldom moves."""
    unit = 10 ** np.floor(np.log10(top)) / 4 if top > 0 else 1.0
    return float(unit * np.ceil(top / unit)) if top > 0 else 1.0


def _shades(density: np.ndarray) -> np.ndarray:
    """The root of a density in 256 shades, so that low ridges stay visible and one peak does not bleach the rest."""
    dense = density[density > FAINT * density.max()]
    top = float(np.quantile(dense, TOP)) if dense.size else 1.0
    return (255 * np.sqrt(np.clip(density / max(top, 1e-30), 0, 1))).astype(np.uint8)

"""Pieces of HTML. Every text that goes in is escaped here."""

import base64
from collections.abc import Iterable, Sequence
from html import escape

__all__ = ["details", "figure", "heading", "items", "page", "paragraph", "preformatted", "section", "table", "tiles"]

DOTS = 150  # of a figure, per inch
STYLE = """
:root { color-scheme: light dark; --ink: #1d1f21; --soft: #5c6166; --line: #dfe2e5; --paper: #fff; --card: #f5f7f9;
  --accent: #0072b2; --warn: #b34a00; --warn-paper: #fff6ee; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8ea; --soft: #a0a6ac; --line: #383d42; --paper: #17191b;
  --card: #212427; --accent: #6cb8ec; --warn: #ffb077; --warn-paper: #2c2119; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 2.2rem 1.25rem 4rem; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .4rem; letter-spacing: -.01em; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.8rem 0 .7rem; padding-bottom: .35rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.6rem 0 .4rem; }
p { margin: .5rem 0 .9rem; max-width: 46rem; overflow-wrap: anywhere; }
.kicker { color: var(--soft); margin: 0 0 .3rem; font-size: .9rem; }
.lead { font-size: 1.05rem; }
.note, figcaption { color: var(--soft); font-size: .9rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(11rem, 1fr)); gap: .8rem; margin: 1.4rem 0; }
.tile { background: var(--card); border-radius: .6rem; padding: .85rem 1rem; }
.tile span { display: block; color: var(--soft); font-size: .85rem; line-height: 1.35; overflow-wrap: anywhere; }
.tile strong { display: block; font-size: 1.6rem; font-weight: 600; line-height: 1.35;
  font-variant-numeric: tabular-nums; }
ul.warnings { list-style: none; margin: 0; padding: 0; }
ul.warnings li { background: var(--warn-paper); border-left: 4px solid var(--warn); border-radius: .3rem;
  margin: .5rem 0; padding: .55rem .9rem; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; margin: .6rem 0 1rem; }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; min-width: 50%; }
th, td { padding: .38rem .9rem .38rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 500; vertical-align: bottom; }
td.number, th.number { text-align: right; padding: .38rem 0 .38rem 1.3rem; white-space: nowrap; }
td:first-child { min-width: 8.5rem; }
td.long { min-width: 5.5rem; max-width: 26rem; overflow-wrap: break-word; }
tr.first td { font-weight: 650; color: var(--accent); }
figure { margin: 1.2rem 0 2rem; }
figure img { display: block; max-width: 100%; height: auto; background: #fff; border: 1px solid var(--line);
  border-radius: .6rem; padding: .5rem; }
figcaption { margin-top: .45rem; }
pre { background: var(--card); border-radius: .6rem; padding: 1rem; overflow-x: auto; font-size: .85rem;
  line-height: 1.45; }
summary { cursor: pointer; color: var(--accent); }
@media (max-width: 34rem) { body { padding: 1.4rem 1rem 3rem; } h1 { font-size: 1.5rem; }
  figure img { padding: .2rem; } }
@media print { body { max-width: none; } figure, .tile { break-inside: avoid; } }
"""


def page(title: str, parts: Iterable[str]) -> str:
    """A whole document."""
    head = (
        '<meta charset="utf-8">\n<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>"
    )
    body = "\n".join(part for part in parts if part)
    return f'<!DOCTYPE html>\n<html lang="en">\n<head>\n{head}\n</head>\n<body>\n{body}\n</body>\n</html>\n'


def heading(text: str) -> str:
    """The page's own."""
    return f"<h1>{escape(text)}</h1>"


def section(title: str, *parts: str) -> str:
    """A heading and what stands under it; nothing where nothing does."""
    body = "\n".join(part for part in parts if part)
    return f"<section>\n<h2>{escape(title)}</h2>\n{body}\n</section>" if body else ""


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph of a CSS class; nothing for no text."""
    return f"<p{_class(kind)}>{escape(text)}</p>" if text else ""


def tiles(values: Sequence[tuple[str, str, str]]) -> str:
    """Numbers to see first: (name, value, unit)."""
    cells = []
    for name, value, unit in (map(escape, tile) for tile in values):
        cells.append(f'<div class="tile"><span>{name}</span><strong>{value}</strong><span>{unit}</span></div>')
    return f'<div class="tiles">{"".join(cells)}</div>'


def items(texts: Sequence[str]) -> str:
    """Sentences that ask for attention."""
    return f'<ul class="warnings">{"".join(f"<li>{escape(text)}</li>" for text in texts)}</ul>' if texts else ""


def table(
    head: Sequence[str], rows: Sequence[Sequence[str]], *, texts: int = 1, title: str = "", first: str = ""
) -> str:
    """A table; nothing for no rows.

    Args:
        head: names of the columns.
        rows: cells.
        texts: how many columns, from the left, are texts; the others are numbers.
        title: above it.
        first: the cell whose row stands out.
    """
    if not rows:
        return ""
    kinds = ["long" if index else "" for index in range(texts)] + ["number"] * (len(head) - texts)
    names = "".join(f"<th{_class(kind)}>{escape(name)}</th>" for name, kind in zip(head, kinds, strict=True))
    lines = []
    for row in rows:
        cells = "".join(f"<td{_class(kind)}>{escape(cell)}</td>" for cell, kind in zip(row, kinds, strict=True))
        lines.append(f"<tr{_class('first' if first and row[0] == first else '')}>{cells}</tr>")
    heading = f"<h3>{escape(title)}</h3>\n" if title else ""
    return (
        f'{heading}<div class="scroll"><table>\n<thead><tr>{names}</tr></thead>\n<tbody>\n'
        + "\n".join(lines)
        + "\n</tbody></table></div>"
    )


def figure(png: bytes, caption: str) -> str:
    """A picture inside the page."""
    data = base64.b64encode(png).decode()
    width = int.from_bytes(png[16:20], "big") * 96 // DOTS  # the picture's own inches
    return (
        f'<figure><img alt="{escape(caption, quote=True)}" width="{width}" src="data:image/png;base64,{data}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def preformatted(text: str) -> str:
    """Text as it stands."""
    return f"<pre>{escape(text)}</pre>"


def details(summary: str, *parts: str) -> str:
    """A part of the page that opens at a click."""
    body = "\n".join(part for part in parts if part)
    return f"<details><summary>{escape(summary)}</summary>\n{body}\n</details>" if body else ""


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""

"""A run on one page: what was predicted, how well, beside what, and what looks wrong.

`report_html` and `strokes_html` return the text of one file that needs nothing else: figures and styles are inside,
nothing is fetched, and no script runs. `sections` and `columns` say what stands where, `strokes` of a run on pen
strokes, `page` is the HTML around it, `text` the numbers.
"""

from mdn_jax.report.sections import report_html
from mdn_jax.report.strokes import strokes_html

__all__ = ["report_html", "strokes_html"]

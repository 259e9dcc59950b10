"""A page in the browser on which one watches a mixture density network learn; needs the extra `demo`.

`controls` is what can be set, `graphs` what can be trained, `session` trains, `pictures` computes what is shown,
`figures` draws it, `page` is one visitor's, `server` serves pages on this machine alone. `page.html`, `page.css` and
`page.js` are what the browser gets.
"""

from mdn_jax.demo.server import serve

__all__ = ["serve"]

"""`python -m mdn_jax` is `mdn-jax`."""

import sys

from mdn_jax.cli import main

sys.exit(main())

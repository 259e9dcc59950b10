"""Many runs as a few compiled programs: expand axes, group by shape, train batches of members, gather a table.

`space` says what is searched, `search` which members that makes, `planning` cuts them into batches, `training` trains
one batch, `checkpoint` keeps it, `driver` is the loop, `results` what comes out.
"""

from mdn_jax.sweeps.library import sweep
from mdn_jax.sweeps.results import Group, SweepResult

__all__ = ["Group", "SweepResult", "sweep"]

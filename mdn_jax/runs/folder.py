"""The files of a run's folder, and the config it belongs to."""

import json
from pathlib import Path
from typing import Any

from mdn_jax._checks import require
from mdn_jax.config import Config, differences
from mdn_jax.runs.configs import CONFIG, read_config

__all__ = ["CHECKPOINT", "CONFIG", "FIGURES", "HISTORY", "METRICS", "MODEL", "REPORT", "SAMPLES", "claim"]

METRICS, HISTORY, MODEL, FIGURES, CHECKPOINT, REPORT = (
    "metrics.json", "history.csv", "model", "figures", "checkpoint", "report.html",
)  # fmt: skip
SAMPLES = "samples"  # and a suffix: drawings asked of a finished run


def claim(config: Config, folder: Path, *, overwrite: bool) -> dict[str, Any] | None:
    """Claim `folder` for this config: the metrics of a finished run, or None where there is work to do."""
    if not folder.exists():
        return None
    # a kill can leave half a file of ours, under a name that begins with a dot: no reason to refuse
    if folder.is_dir() and all(path.name.startswith(".") and _is_ours(path.name) for path in folder.iterdir()):
        return None
    require(
        folder.is_dir() and (folder / CONFIG).is_file(),
        f"{folder} is not a run folder (no {CONFIG}): choose another with --out",
    )
    if overwrite:
        strangers = [path.name for path in folder.iterdir() if not _is_ours(path.name)]
        others = ", ".join(strangers)
        require(not strangers, f"{folder} holds {others} beside a run: move it away, or choose another with --out")
        return None
    other, _ = read_config(folder / CONFIG)
    changed = differences(other, config)
    require(
        not changed,
        f"{folder} holds another run; these fields differ: {'; '.join(changed)}: choose another folder with --out, "
        f"or replace it with --overwrite",
    )
    if not (folder / METRICS).is_file():
        return None
    return json.loads((folder / METRICS).read_text(encoding="utf-8"))


def _is_ours(name: str) -> bool:
    """True where a run writes a file or folder of this name, or wrote half of it when it was killed."""
    own = (CONFIG, METRICS, HISTORY, MODEL, FIGURES, CHECKPOINT, REPORT)
    return name in own or name.startswith((f"{SAMPLES}.", *(f".{part}." for part in (*own, SAMPLES))))

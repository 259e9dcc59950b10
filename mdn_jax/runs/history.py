"""The history of a run, one row per evaluation, as a CSV file and back."""

import csv
from pathlib import Path

import numpy as np

__all__ = ["read_history", "write_history"]


def write_history(path: Path, history: dict[str, np.ndarray]) -> None:
    """One row per evaluation; networks' columns are numbered."""
    columns = {}
    for name, values in history.items():
        if values.ndim == 1:
            columns[name] = values
        elif name in ("step", "learning_rate"):
            columns[name] = np.nanmax(values, axis=1)
        else:
            columns |= {f"{name}_{network}": values[:, network] for network in range(values.shape[1])}
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([list(columns), *rows])


def read_history(path: Path) -> dict[str, np.ndarray]:
    """`write_history`'s file as the history it came from."""
    with path.open(newline="", encoding="utf-8") as file:
        names, *rows = csv.reader(file)
    table = dict(zip(names, np.array(rows, float).T, strict=True))
    if "train_loss" in table:
        return table
    networks = len([name for name in names if name.startswith("train_loss_")])
    losses = {
        name: np.stack([table[f"{name}_{network}"] for network in range(networks)], axis=1)
        for name in ("train_loss", "val_loss")
    }
    steps = {name: np.repeat(table[name][:, None], networks, axis=1) for name in ("step", "learning_rate")}
    return steps | losses

"""Writes the table that `configs/table_example.toml` trains on: at which angle was the ball thrown?

A ball thrown at `speed` lands at `distance`. Two angles reach the same place, a flat one and a steep one, so that the
angle given speed and distance has two right answers, and their average is a wrong one.

COMMAND  python experiments/write_table_example.py
WRITES   experiments/output/table_example.csv (3,000 rows, seeded)
"""

import argparse
from pathlib import Path

import numpy as np

GRAVITY = 9.81  # metres per second squared


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "output" / "table_example.csv")
    parser.add_argument("--rows", type=int, default=3_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    rng = np.random.default_rng(options.seed)
    speed = rng.uniform(8.0, 20.0, options.rows)
    angle = rng.uniform(10.0, 80.0, options.rows)
    distance = speed**2 * np.sin(2 * np.radians(angle)) / GRAVITY + rng.normal(0.0, 0.3, options.rows)

    options.out.parent.mkdir(parents=True, exist_ok=True)
    table = np.column_stack([speed, distance, angle])
    header = "speed_m_per_s,distance_m,angle_deg"
    np.savetxt(options.out, table, delimiter=",", fmt="%.4f", header=header, comments="")
    print(f"{options.out}: {options.rows} rows")


if __name__ == "__main__":
    main()

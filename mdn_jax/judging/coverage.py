"""The share of the targets that regions hold: overall, for each kind of a category, and by the regions' width.

A region of mass p holds a target exactly where the mass it needs to reach it is at most p, so that one number per row
tells the coverage of every p, before and after calibration.

References:
    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", 1927.
"""

from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np

from mdn_jax._typing import Float
from mdn_jax.encoding import Encoding
from mdn_jax.judging.metrics import Scores
from mdn_jax.judging.rows import Judged
from mdn_jax.models import Calibration

__all__ = [
    "FEWEST", "MOST_KINDS", "ROWS_BY_WIDTH", "coverage_interval", "coverage_sentences", "kinds_in",
    "measure_coverage",
]  # fmt: skip

SHARES = (0.5, 0.9, 0.95)  # nominal
SHARE = 0.9  # of the intervals that are split up
FEWEST, FEWEST_ALIKE = 20, 50  # rows of a kind, and of a group alike in width, that tell a coverage
ROWS_BY_WIDTH = 2 * FEWEST_ALIKE  # that tell a coverage by width: one group tells nothing
MOST_KINDS = 20  # of one category; the most frequent ones are told
CLEAR, WORTH, WORTH_PART = 4.0, 0.03, 0.08  # standard errors, and points of coverage, that are worth a word
CLEAR_REGION = 3.0  # standard errors beyond which the worst region of a lone target is worth a word
NAMES = {"held": "standard_error", "calibrated": "calibrated_standard_error"}  # by default, and once calibrated
REGIONS = {"central": "intervals", "highest_density": "highest-density regions", "joint": "joint regions"}


class _Spare(NamedTuple):
    """Rows kept apart to calibrate one region: the mass that each needed, and its weight."""

    needed: Float[np.ndarray, " C"]
    weight: Float[np.ndarray, " C"] | None

    @property
    def rows(self) -> float:
        """As many rows that count alike tell as much."""
        known = ~np.isnan(self.needed)
        weight = known.astype(float) if self.weight is None else self.weight * known
        return float(weight.sum() ** 2 / np.sum(weight**2))


def measure_coverage(
    scores: Scores,
    judged: Judged,
    target_names: Sequence[str],
    *,
    calibration: Calibration | None = None,
    kinds: Mapping[str, np.ndarray] | None = None,
) -> dict[str, Any]:
    """Coverage of central, highest-density and joint regions of the numbers, before and after calibration.

    Args:
        scores: of N rows.
        judged: from `judge`, of the same rows.
        target_names: D names.
        calibration: the model's own, or None.
        kinds: category -> (N,) what kind each row is, from `kinds_in`.

    Returns:
        Plain values. `regions`: for each region and target, and nominal shares of 50, 90 and 95 %. `by_kind`: central
        90 % intervals for each of the 20 most frequent kinds with at least 20 rows. `kinds_not_judged`: for each
        category and target the other kinds, with their rows. `by_width`: as `by_kind` for up to ten equally large
        groups of rows, from narrow to wide. Each record has the number of `rows`, the share `held`, the
        `standard_error` that a region which holds exactly its nominal share would have, and with a calibration
        `calibrated` and `calibrated_standard_error`, which knows that the rows to calibrate on were few, too. That
        error judges `held`; what may be around it says `coverage_interval`, which stays within 0 and 1.
    """
    weight = scores.weights
    central = np.abs(2.0 * scores.pit - 1.0)
    regions, by_kind, by_width, not_judged = [], [], [], []
    for index, name in ((dim, target_names[dim]) for dim in scores.numbers):
        masses = [None] * 2
        if calibration is not None:
            masses = [
                _Spare(one[:, index], calibration.weight) for one in (calibration.central, calibration.highest_density)
            ]
        needed = [(central[:, index], weight), (judged.highest_density[:, index], weight[judged.rows])]
        for region, (own, weights), spare in zip(("central", "highest_density"), needed, masses, strict=True):
            regions += [{"region": region, "target": name} | _held(own, weights, share, spare) for share in SHARES]
        spare = masses[0]
        for column, kind in (kinds or {}).items():
            levels, others = _levels(kind[~np.isnan(central[:, index]) & (weight > 0)])
            for level in levels:
                held = _held(central[:, index], weight * (kind == level), SHARE, spare)
                by_kind.append({"column": column, "kind": level, "target": name} | held)
            if others:
                not_judged.append({"column": column, "target": name, "rows": others})
        for number, rows in enumerate(_width_groups(scores.width_90[:, index], central[:, index], weight)):
            width = {"target": name, "group": number + 1, "width": float(np.median(scores.width_90[rows, index]))}
            by_width.append(width | _held(central[rows, index], weight[rows], SHARE, spare))
    if len(scores.numbers) > 1:
        spare = None if calibration is None else _Spare(calibration.joint, calibration.weight)
        own = judged.joint, weight[judged.rows]
        regions += [{"region": "joint", "target": None} | _held(*own, share, spare) for share in SHARES]
    return {"regions": regions, "by_kind": by_kind, "kinds_not_judged": not_judged, "by_width": by_width}


def coverage_interval(record: Mapping[str, Any], name: str = "held") -> tuple[float, float]:
    """The Wilson interval of two standard errors around a share held: all shares that are no further from it.

    It leaves the nominal share out exactly where what is held lies more than two of its standard errors off.

    Args:
        record: of `measure_coverage`, with rows.
        name: "held" or "calibrated".

    Returns:
        Both ends, within 0 and 1.

    Example:
        >>> from mdn_jax.judging import coverage_interval
        >>> record = {"share": 0.9, "rows": 60, "held": 1.0, "standard_error": (0.9 * 0.1 / 60) ** 0.5}
        >>> [round(end, 4) for end in coverage_interval(record)]
        [0.9375, 1.0]
    """
    held, share = record[name], record["share"]
    error = record[NAMES[name]]
    pull = 4.0 * error**2 / (share * (1 - share))  # z^2 / n
    centre = (held + 0.5 * pull) / (1 + pull)
    half = np.sqrt(pull * held * (1 - held) + 0.25 * pull**2) / (1 + pull)
    # what is held lies within, rounding or not
    return max(float(min(centre - half, held)), 0.0), min(float(max(centre + half, held)), 1.0)


def kinds_in(encoding: Encoding | None, x: Float[np.ndarray, "N X"]) -> dict[str, np.ndarray]:
    """The kind of each row, read back from the 0/1 columns: category -> (N,) texts, None where missing or unknown."""
    found, first = {}, 0
    for column in encoding.columns if encoding is not None else ():
        if column.kinds is not None:
            numbers = x[:, first : first + len(column.kinds)]
            names = np.array(column.kinds, object)[numbers.argmax(axis=1)]
            # a missing or unknown kind is encoded as the shares of all; with a single kind its own column tells
            known = numbers.max(axis=1) == 1.0
            if column.indicates:
                known &= x[:, first + len(column.kinds)] == 0.0
            found[column.name] = np.where(known, names, np.array(None, object))
        first += len(column.names)
    return found


def coverage_sentences(coverage: Mapping[str, Any]) -> list[str]:
    """Warnings of wrong regions, in plain English; none where nothing is wrong.

    Regions are judged as `predict` gives them by default, and apart from that as calibrated. A sentence for each
    target whose 90 % intervals are off, one for the worst of all other regions, and one for the worst kind of each
    category and the worst width of each target.
    """
    said = []
    for name in NAMES:
        told = set()
        for record in coverage["regions"]:
            if record["region"] == "central" and record["share"] == SHARE and _off(record, WORTH, name):
                said.append(_region_sentence(record, name))
                told |= {record["target"], None}  # a joint region of targets that are off is off
        others = [one for one in coverage["regions"] if one["target"] not in told]
        said += [_region_sentence(record, name) for record in _worst_region(others, name)]
        calibrated = "calibrated " if name != "held" else ""
        for record in _worst(coverage["by_kind"], "column", name):
            said.append(
                f"where {record['column']} is {record['kind']!r}, {calibrated}90 % intervals of {record['target']!r} "
                f"hold {_percent(record, name)} of {record['rows']:,} test rows"
            )
        for record in _worst(coverage["by_width"], "target", name):
            said.append(
                f"where the 90 % intervals of {record['target']!r} are about {record['width']:.3g} wide, they hold "
                f"{_percent(record, name)} of {record['rows']:,} test rows{' once calibrated' if calibrated else ''}"
            )
    return said


def _worst_region(records: Sequence[Mapping[str, Any]], name: str) -> list[Mapping[str, Any]]:
    """The region that is furthest off; none where all hold what they say."""
    targets = len({record["target"] for record in records} - {None}) or 1
    # a false alarm in several targets is to be as rare as in one; half a row allows for counts being whole
    clear = -NormalDist().inv_cdf(NormalDist().cdf(-CLEAR_REGION) / targets)
    off = [record for record in records if _off(record, WORTH, name, clear, slack=0.5)]
    return sorted(off, key=lambda record: _distance(record, name), reverse=True)[:1]


def _region_sentence(record: Mapping[str, Any], name: str) -> str:
    regions = REGIONS[record["region"]]
    of = "all targets" if record["target"] is None else repr(record["target"])
    too = ("wide", "narrow") if record["region"] == "central" else ("large", "small")
    state, cure = "", f"set dataset.calibration_fraction = 0.2 for {regions} that hold what they say"
    if name != "held":
        state, cure = "calibrated ", "the test rows are unlike those it was calibrated on"
    elif "calibrated" in record:
        cure = f"calibrated ones hold {_percent(record, 'calibrated')}: ask predict for those with --calibrated"
    return (
        f"the {state}{100 * record['share']:g} % {regions} of {of} hold {_percent(record, name)} of the test rows: too "
        f"{too[0] if record[name] > record['share'] else too[1]}; {cure}"
    )


def _held(
    needed: Float[np.ndarray, " N"], weight: Float[np.ndarray, " N"], share: float, spare: "_Spare | None"
) -> dict[str, Any]:
    """The share of rows held by regions of a nominal share, as they are and with the mass that `spare` rows needed."""
    known = ~np.isnan(needed) & (weight > 0)
    needed, weight = needed[known], weight[known]
    record: dict[str, Any] = {"share": share, "rows": len(needed)}
    if not len(needed):
        return record | {"held": None, "standard_error": None}
    one = share * (1 - share) * np.sum(weight**2) / weight.sum() ** 2  # 1 / n where all count alike
    record |= {"held": float(np.average(needed <= share, weights=weight)), "standard_error": float(np.sqrt(one))}
    if spare is not None and not np.isnan(spare.needed).all():
        mass = Calibration(spare.needed[:, None], spare.needed[:, None], *spare).joint_mass(share)
        # the coverage of a conformal region is Beta distributed around its share
        both = one + share * (1 - share) / (spare.rows + 2)
        held = float(np.average(needed <= mass, weights=weight))
        record |= {"calibrated": held, "calibrated_standard_error": float(np.sqrt(both))}
    return record


def _levels(kind: np.ndarray) -> tuple[list[str], dict[str, int]]:
    """The most frequent kinds that have enough rows, in order of their names, and the rows of each of the others."""
    names, counts = np.unique(kind[kind != None].astype(str), return_counts=True)  # noqa: E711  (elementwise)
    order = np.argsort(-counts, kind="stable")
    told = [index for index in order[:MOST_KINDS] if counts[index] >= FEWEST]
    others = {str(names[index]): int(counts[index]) for index in order if index not in told}
    return sorted(str(names[index]) for index in told), others


def _width_groups(
    width: Float[np.ndarray, " N"], needed: Float[np.ndarray, " N"], weight: Float[np.ndarray, " N"]
) -> list[np.ndarray]:
    """Up to ten equally large groups of rows, from narrow intervals to wide; none where all are equally wide."""
    rows = np.flatnonzero(~np.isnan(needed) & (weight > 0))
    rows = rows[np.argsort(width[rows], kind="stable")]
    groups = min(10, len(rows) // FEWEST_ALIKE)
    if groups < 2 or width[rows[-1]] < 1.01 * width[rows[0]]:
        return []
    return np.array_split(rows, groups)


def _distance(record: Mapping[str, Any], name: str) -> float:
    """The distance of the share held from the nominal share."""
    return abs(record[name] - record["share"])


def _off(record: Mapping[str, Any], worth: float, name: str, clear: float = CLEAR, slack: float = 0.0) -> bool:
    """True where the share held is so many points and standard errors off the nominal share, `slack` rows allowed."""
    if record.get(name) is None:
        return False
    return _distance(record, name) > max(worth, clear * record[NAMES[name]] + slack / record["rows"])


def _worst(records: Sequence[Mapping[str, Any]], group: str, name: str) -> list[Mapping[str, Any]]:
    """Of each group the record that is furthest off, where it is off at all."""
    worst: dict[tuple, Mapping[str, Any]] = {}
    for record in records:
        if _off(record, WORTH_PART, name):
            key = record[group], record["target"]
            worst[key] = max(worst.get(key, record), record, key=lambda one: _distance(one, name))
    return list(worst.values())


def _percent(record: Mapping[str, Any], name: str) -> str:
    return f"{100 * record[name]:.1f} % (± {100 * record[NAMES[name]]:.1f} by chance)"

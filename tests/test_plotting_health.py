"""The health figure shows what a diagnosis and a coverage say."""

import io
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mdn_jax.judging import Diagnosis
from mdn_jax.plotting import health_figure
from mdn_jax.plotting.style import GREY, RED

pytestmark = pytest.mark.slow


def diagnosis_of(targets, floor=0.01):
    rng = np.random.default_rng(0)
    return Diagnosis(
        target_names=tuple(f"y{index}" for index in range(targets)),
        share=np.array([0.0, 0.7, 0.3]),
        dead=np.array([True, False, False]),
        entropy=0.1,
        sigma=np.exp(rng.normal(size=(100, targets))),
        floor=np.full(targets, floor),
        on_floor=np.zeros(targets),
        scale=np.full(targets, 10.0),
    )


def record(target, share=0.9, region="central", **more):
    return {"region": region, "target": target, "share": share, "rows": 100, "held": 0.8, "standard_error": 0.03} | more


def coverage_of(targets, **more):
    names = [f"y{index}" for index in range(targets)]
    regions = [record(name, share, region, **more) for name in names for share in (0.5, 0.9)
               for region in ("central", "highest_density")]  # fmt: skip
    regions += [record(None, share, "joint", **more) for share in (0.5, 0.9)] * (targets > 1)
    widths = [record(name, **more) | {"group": group, "width": group} for name in names for group in (1, 2)]
    return {"regions": regions, "by_kind": [], "by_width": widths}


def test_components_go_from_the_most_used_and_dead_ones_are_marked():
    figure = health_figure(diagnosis_of(1), coverage_of(1))
    shares = figure.axes[0]
    assert [bar.get_height() for bar in shares.patches] == pytest.approx([70.0, 30.0, 0.0])
    assert "1.8 of 3" in shares.get_title(loc="left")
    assert any(text.get_text().endswith("1 never responsible") for text in shares.texts)


@pytest.mark.parametrize(("dead", "alarming"), [(1, False), (3, True)])
def test_dead_components_are_counted_inside_the_axes_and_in_grey_unless_a_sentence_tells(dead, alarming):
    share = np.append(np.full(10 - dead, 1 / (10 - dead)), np.zeros(dead))
    found = replace(diagnosis_of(1), share=share, dead=share == 0)
    assert any("never responsible" in said for said in found.sentences()) == alarming
    figure = health_figure(found, coverage_of(1))
    figure.savefig(io.BytesIO(), format="png", dpi=50)
    axes: Any = figure.axes[0]
    text = next(text for text in axes.texts if "never responsible" in text.get_text())
    assert text.get_color() == (RED if alarming else GREY)
    frame, box = axes.get_window_extent(), text.get_window_extent()
    assert frame.x0 <= box.x0 and box.x1 <= frame.x1 and box.y1 <= frame.y1
    assert box.y0 > axes.patches[0].get_window_extent().y1, "above the bars"


@pytest.mark.parametrize(("on_floor", "colour"), [(0.0, GREY), (0.5, RED)])
def test_the_floor_is_grey_unless_a_sentence_tells(on_floor, colour):
    found = replace(diagnosis_of(1), on_floor=np.array([on_floor]))
    assert health_figure(found, coverage_of(1)).axes[1].texts[0].get_color() == colour


@pytest.mark.parametrize(("targets", "floor", "shown"), [(1, 0.01, "0.01"), (2, 0.01, "0.001"), (1, 0.0, None)])
def test_the_floor_stands_in_the_unit_of_the_axis(targets, floor, shown):
    axes = health_figure(diagnosis_of(targets, floor), coverage_of(targets)).axes[1]
    assert axes.get_xscale() == "log"
    assert [text.get_text() for text in axes.texts] == ([] if shown is None else [f"floor {shown}"])
    heights = np.concatenate([patch.get_data().values for patch in axes.patches])
    assert heights.sum() == pytest.approx(100 * targets)


def test_coverage_is_drawn_with_two_standard_errors():
    axes = health_figure(diagnosis_of(1), coverage_of(1)).axes[2]
    drawn = sorted(round(bar.lines[0].get_ydata()[0], 6) for bar in axes.containers)
    assert drawn == [-10.0, -10.0, 30.0, 30.0]  # 80 % against 90 and 50 %
    fewer = coverage_of(1, rows=60, held=1.0, standard_error=math.sqrt(0.9 * 0.1 / 60))
    bars = health_figure(diagnosis_of(1), fewer).axes[3].containers
    low, high = bars[0].lines[2][0].get_segments()[0][:, 1]
    # Wilson's interval around n of n at z = 2: n / (n + 4) to 1
    assert (low, high) == (pytest.approx(100 * 60 / 64), pytest.approx(100.0))


def test_calibrated_regions_stand_beside_the_others():
    found = coverage_of(3, calibrated=0.9, calibrated_standard_error=0.04)
    figure = health_figure(diagnosis_of(3), found)
    assert len(figure.axes[2].containers) == 2 * 4 * 2  # three targets and the joint region, two shares
    assert len(figure.axes[3].containers) == 2 * 3 * 2
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names[0] == "y0, central" and "calibrated" in names and "joint region of all targets" in names


def test_few_rows_are_no_reason_to_fail():
    found = coverage_of(1) | {"by_width": []}
    missing = [record("y0", share, rows=60, held=None, standard_error=None) for share in (0.5, 0.9)]
    figure = health_figure(diagnosis_of(1), found | {"regions": missing})
    assert figure.axes[3].texts[0].get_text() == "60 test rows are too few: 100 would do"
    found["regions"] = [record("y0", share, rows=100) for share in (0.5, 0.9)]
    panel = health_figure(diagnosis_of(1), found).axes[3]
    assert panel.texts[0].get_text() == "all intervals are equally wide, within 1 %" and not panel.axison

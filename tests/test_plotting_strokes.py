"""Figures of pen strokes show the points they were given."""

from typing import Any

import numpy as np
import pytest

from mdn_jax import plotting

# a corner, a dot apart from it, the end, and what stands behind a finished drawing
DRAWING = np.array([[3.0, 0, 0], [0, 4, 1], [2, 0, 1], [-1, -4, 0], [2, 0, 2], [99, 99, 0]])
POINTS = np.array([[0.0, 0], [3, 0], [3, 4], [5, 4], [4, 0], [6, 0]])


def panels(figure) -> list[Any]:
    return figure.axes


def lines_of(axes) -> list[np.ndarray]:
    """The strokes of every colour, dots last."""
    lines = [line for found in axes.collections if hasattr(found, "get_segments") for line in found.get_segments()]
    dots = [np.asarray(found.get_offsets()) for found in axes.collections if not hasattr(found, "get_segments")]
    return [*lines, *(dot[None] for each in dots for dot in each)]


def moved(line):
    """From its first point, at any scale."""
    return line - line[0]


def test_a_sheet_draws_strokes_and_dots_until_the_drawing_is_finished():
    (axes,) = panels(plotting.sheet([DRAWING]))
    corner, end, dot = lines_of(axes)
    scale = np.abs(moved(corner)).max() / 4
    # y grows downward on the paper, upward in the figure
    np.testing.assert_allclose(moved(corner), scale * np.array([[0, 0], [3, 0], [3, -4]]), atol=1e-12)
    np.testing.assert_allclose(end - corner[0], scale * np.array([[4, 0], [6, 0]]), atol=1e-12)
    np.testing.assert_allclose(dot - corner[0], scale * np.array([[5, -4]]), atol=1e-12)


def test_all_drawings_of_a_sheet_have_one_scale_and_a_cell_of_their_own():
    small, large = np.array([[1.0, 0, 2]]), np.array([[2.0, 0, 2]])
    axes = panels(plotting.sheet([small, large, small, np.zeros((0, 3))], columns=2, titles=["a $b$", "", "", ""]))[0]
    lengths = [np.ptp(line[:, 0]) for line in lines_of(axes)]
    np.testing.assert_allclose(lengths, np.array([1, 2, 1]) * lengths[0], rtol=1e-12)
    centres = np.array([line.mean(axis=0) for line in lines_of(axes)])
    assert centres[0, 1] == centres[1, 1] > centres[2, 1] and centres[0, 0] == centres[2, 0] < centres[1, 0]
    assert axes.texts[0].get_text() == "a $b$" and not axes.texts[0].get_parse_math()


def test_a_drawing_that_runs_away_is_cut_and_shrinks_no_other():
    stroke, runaway = np.array([[1.0, 1, 2]]), np.array([[1.0, 1, 0], [1e6, 0, 2]])
    alone, among = (lines_of(panels(plotting.sheet(each))[0])[0] for each in ([stroke] * 19, [stroke] * 19 + [runaway]))
    assert np.ptp(among, axis=0) == pytest.approx(np.ptp(alone, axis=0), rel=0.4)
    cut = lines_of(panels(plotting.sheet([stroke] * 19 + [runaway]))[0])[-1]
    np.testing.assert_allclose(
        moved(cut), moved(among), atol=1e-9
    )  # its first stroke stays, and ends at the cell's edge


@pytest.mark.parametrize(("primed", "shown"), [*enumerate([(0, 4), (1, 3), (2, 2), (3, 1), (4, 1), (4, 0)])])
def test_primed_points_have_another_colour(primed, shown):
    (axes,) = panels(plotting.sheet([DRAWING], primed=primed))
    dots, lines, more_dots, more_lines = axes.collections
    assert tuple(lines.get_color()[0]) != tuple(more_lines.get_color()[0])
    # of three edges and a dot; a stroke that was begun by its first point alone shows it
    edges = [sum(len(line) - 1 for line in found.get_segments()) for found in (lines, more_lines)]
    assert (edges[0] + len(dots.get_offsets()), edges[1] + len(more_dots.get_offsets())) == shown


def test_the_pen_moves_over_the_density_of_its_next_point():
    densities = np.zeros((5, 8, 6))
    densities[np.arange(5), np.arange(5), 0] = 10.0 ** np.arange(5)
    animation = plotting.pen_animation(DRAWING, densities, (-1.0, 7.0, -1.0, 5.0), num_primed=2)
    (axes,) = panels(animation._fig)
    image, pen = axes.images[0], axes.lines[0]
    assert axes.get_ylim() == (5.0, -1.0) and image.get_extent() == [-1.0, 7.0, -1.0, 5.0]
    for step in range(5):
        animation._func(step)
        np.testing.assert_array_equal(image.get_array(), densities[step])
        assert image.norm.vmax == 10.0**step
        np.testing.assert_array_equal(np.squeeze(pen.get_data()), POINTS[step])
        assert pen.get_fillstyle() == ("none" if step in (2, 3) else "full")
    animation._func(5)
    assert not image.get_visible() and not pen.get_visible()
    whole = lines_of(axes)
    np.testing.assert_array_equal(whole[0], POINTS[:3])
    np.testing.assert_array_equal(whole[1], POINTS[4:])
    np.testing.assert_array_equal(whole[2], POINTS[3:4])
    animation._draw_was_started = True  # matplotlib warns of an animation that was never drawn


def test_components_of_a_paper_are_ellipses_of_two_standard_deviations():
    rotation = np.array([[np.cos(0.5), -np.sin(0.5)], [np.sin(0.5), np.cos(0.5)]])
    covariances = np.stack([rotation @ np.diag([9.0, 1.0]) @ rotation.T, np.eye(2)])
    figure = plotting.paper_density(
        DRAWING[:2], np.ones((4, 5)), (-1.0, 7.0, -1.0, 5.0),
        weights=np.array([0.995, 0.005]), locs=np.array([[1.0, -2], [0, 0]]), covariances=covariances, title="step 3",
    )  # fmt: skip
    (axes,) = panels(figure)
    (ellipse,) = axes.patches
    np.testing.assert_allclose(ellipse.center, [4.0, 2.0])
    corners = ellipse.get_corners() - np.array([4.0, 2.0])
    halves = [0.5 * (corners[a] + corners[b]) for a, b in ((0, 1), (1, 2))]  # middles of two sides
    for half in halves:  # on the ellipse: half' Sigma^-1 half = 4
        assert half @ np.linalg.solve(covariances[0], half) == pytest.approx(4.0)
    assert axes.get_title(loc="left") == "step 3"


def test_nats_by_step_leave_out_steps_that_no_drawing_reaches():
    offset, pen = np.array([1.0, 2.0, 900.0, np.nan]), np.array([0.5, 0.25, 0.0, np.nan])
    above, below = panels(plotting.nats_by_step(offset, pen, np.array([100, 60, 1, 0])))
    shown = {line.get_label(): line.get_ydata().tolist() for line in above.get_lines()[:3]}
    assert shown == {"offset": [1, 2, 900], "pen": [0.5, 0.25, 0], "together": [1.5, 2.25, 900]}
    assert above.get_ylim()[1] < 3, "a step that one drawing reaches does not set the view"
    assert below.get_lines()[0].get_ydata().tolist() == [100, 60, 1]


def test_calibration_of_the_pen_shows_the_range_of_chance_of_each_bin():
    above, below = panels(plotting.pen_calibration([0.1, 0.5, 0.9], [0.2, 0.5, np.nan], [100, 400, 0]))
    np.testing.assert_allclose(above.get_lines()[1].get_xydata(), [[0.1, 0.2], [0.5, 0.5]])
    bars = np.array(above.collections[0].get_segments())[:, :, 1]
    np.testing.assert_allclose(bars, [[0.1 - 1.96 * 0.03, 0.1 + 1.96 * 0.03], [0.5 - 0.049, 0.5 + 0.049]])
    assert np.array(below.collections[0].get_segments())[:, 1, 1].tolist() == [100, 400]

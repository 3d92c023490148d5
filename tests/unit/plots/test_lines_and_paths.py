"""Lines and paths through trials, and their pictures."""

from __future__ import annotations

import io
import math

import msgspec
import numpy as np
import pytest
from PIL import Image

from phyletic import plots
from phyletic.errors import InvalidArgument
from phyletic.plots.lines import (
    Line,
    LinePanel,
    along_lineage,
    best_lineage,
    best_so_far,
    hyperparameter_steps,
    member_scores,
    steps_to_reach,
)
from phyletic.plots.plane import lineage_points, moves, surface
from phyletic.records import Decision, Metric, Trial, TrialState

MAX, MIN = Metric("score", "max"), Metric("score", "min")


def trial(number, member, score, *, parent=None, start=0, lr=0.1, **metrics):
    return Trial(
        number=number,
        member=member,
        generation=0,
        parent=parent,
        hyperparameters={"lr": lr},
        start_step=start,
        steps=5,
        seed=0,
        state=TrialState.COMPLETED,
        decision=Decision(kind="birth" if parent is None else "exploit"),
        end_step=start + 5,
        score=score,
        metrics={"score": score, **metrics},
    )


# member 1 copies member 0's weights, reaches a non-finite place from there, and is rescued
TRIALS = [
    trial(0, 0, 1.0, x=1.0, y=1.0),
    trial(1, 1, 0.5, x=5.0, y=5.0),
    trial(2, 0, 2.0, parent=0, start=5, lr=0.2, x=2.0, y=1.0),
    trial(3, 1, math.nan, parent=0, start=5, x=math.inf, y=0.0),
    trial(4, 1, 1.5, parent=2, start=10, x=3.0, y=1.0),
]


def test_moves_record_where_trials_began_and_ended():
    made = {move.trial: move for move in moves(TRIALS, ("x", "y"), origin=(0.0, 0.0))}
    assert set(made) == {0, 1, 2, 4}
    assert (made[0].begins, made[0].ends, made[0].left) == ((0.0, 0.0), (1.0, 1.0), None)
    assert (made[2].begins, made[2].left) == ((1.0, 1.0), None)
    assert made[4].begins == (2.0, 1.0)
    assert made[4].left is None  # a non-finite place cannot be drawn
    without = moves(TRIALS, ("x", "y"))
    assert without[0].begins is None


def test_a_jump_begins_where_its_member_was():
    jumped = [*TRIALS[:3], msgspec.structs.replace(TRIALS[3], metrics={"x": 1.5, "y": 1.0})]
    assert moves(jumped, ("x", "y"))[-1].left == (5.0, 5.0)


def test_lines_follow_the_best_lineage():
    lineage = best_lineage(TRIALS, MAX)
    assert [found.number for found in lineage] == [0, 2]
    assert along_lineage(lineage, "x") == ((5.0, 10.0), (1.0, 2.0))
    assert hyperparameter_steps(lineage, "lr") == ((0, 5, 5, 10), (0.1, 0.1, 0.2, 0.2))
    assert along_lineage(lineage, "unknown") == hyperparameter_steps(lineage, "unknown") == ((), ())
    assert lineage_points(lineage, ("x", "y"), origin=(0.0, 0.0)) == ((0.0, 0.0), (1.0, 1.0), (2.0, 1.0))
    assert best_lineage([TRIALS[3]], MAX) == []


def test_scores_by_member_leave_out_non_finite_scores():
    assert member_scores(TRIALS, MAX) == {0: ((5, 10), (1.0, 2.0)), 1: ((5, 15), (0.5, 1.5))}


@pytest.mark.parametrize(
    ("metric", "best", "target", "steps"),
    [
        (MAX, (1.0, 2.0, 2.0), 2.0, 10),
        (MAX, (1.0, 2.0, 2.0), 2.5, None),
        (MIN, (0.5, 0.5, 0.5), 0.5, 5),
        (MIN, (0.5, 0.5, 0.5), 0.4, None),
    ],
)
def test_the_best_score_so_far_and_the_steps_to_reach_a_target(metric, best, target, steps):
    assert best_so_far(TRIALS, metric) == ((5.0, 10.0, 15.0), best)
    assert steps_to_reach(TRIALS, metric, target) == steps


def test_lines_are_drawn_in_their_panels():
    lines = (Line(xs=(1, 2), ys=(1, 10), label="a"), Line(xs=(1, 2), ys=(2, 2), dashed=True))
    panels = [LinePanel(title=f"panel {place}", x="step", y="loss", lines=lines, log_y=True) for place in range(3)]
    figure = plots.lines(panels, columns=2)
    shown = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title(loc="left") for axes in shown] == ["panel 0", "panel 1", "panel 2"]
    assert [text.get_text() for text in shown[0].get_legend().get_texts()] == ["a"]
    assert [list(line.get_xdata()) for line in shown[0].get_lines()] == [[1, 2], [1, 2]]


BELOW = surface(lambda places: np.square(places).sum(axis=-1), (-6, 6), (-6, 6), levels=[1, 4, 9], marks=[(0, 0)])


def test_a_surface_is_the_function_on_its_grid():
    assert BELOW.heights.shape == (161, 161)
    assert BELOW.heights[0, 80] == pytest.approx(36.0)
    assert BELOW.heights[80, 80] == pytest.approx(0.0)


def test_a_landscape_shows_the_best_lineage_and_every_member():
    figure = plots.landscape(TRIALS, MAX, BELOW, ("x", "y"), title="paths")
    axes = figure.axes[0]
    texts = [text.get_text() for text in axes.get_legend().get_texts()]
    assert texts == ["best lineage", "2 members at the end"]
    with pytest.raises(InvalidArgument, match="trials"):
        plots.landscape([], MAX, BELOW, ("x", "y"))


def test_an_animation_has_a_frame_for_every_step_and_a_small_palette(tmp_path):
    film = plots.landscape_animation(TRIALS, MAX, BELOW, ("x", "y"), width=3.0)
    film.save(tmp_path / "film.gif")
    with Image.open(io.BytesIO(film.gif)) as frames:
        assert frames.n_frames == 3
    with pytest.raises(InvalidArgument, match="coordinates"):
        plots.landscape_animation(TRIALS, MAX, BELOW, ("a", "b"))

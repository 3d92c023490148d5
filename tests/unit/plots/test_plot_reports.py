"""What was reported within trials: every report is drawn, from the start value on, at a bounded cost."""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec
import pytest
import sqlalchemy as sa

import phyletic as ph
from phyletic import plots
from phyletic.errors import InvalidArgument
from phyletic.plots.axes import Scale
from phyletic.plots.curves import score_series
from phyletic.plots.reports import Reports, reported, thinned
from phyletic.plots.spots import spots, spots_until
from phyletic.records import Evaluation, Metric, Trial, TrialState

Population = Callable[..., list[Trial]]
Q = Metric("Q", "max")


def climbing(steps: int, *, progress: int = 1, start: bool = True) -> ph.Study:
    """A study whose two members climb at different speeds, and report where they are at each step."""
    study = ph.Study(
        "climbing",
        space={"speed": ph.Float(0.0, 10.0)},
        metric="Q",
        mode="max",
        algorithm=ph.PBT(2, 4, exploit=ph.Truncation(0.5), synchronous=True),
        budget=ph.Budget(steps=steps),
        initial=[{"speed": 1.0}, {"speed": 3.0}],
        seed=0,
    )

    def report(trial: ph.LiveTrial, step: int) -> None:
        trial.report(Q=trial.state.place, other=-trial.state.place, step=step)

    for trial in study.source().attach(lambda trial: {"place": 0.0}):
        if start and trial.newborn:
            report(trial, 0)
        for step in trial.range():
            trial.state.place += trial["speed"]
            if (step + 1) % progress == 0:
                report(trial, step + 1)
    return study


# The data


def test_a_line_goes_from_the_start_value_through_every_report_to_the_end() -> None:
    study = climbing(8)
    made = {stroke.trial: stroke for stroke in score_series(study.trials(), Q, study.reports()).strokes}
    assert made[0].steps == made[1].steps == (0, 1, 2, 3, 4)
    assert made[0].values == (0.0, 1.0, 2.0, 3.0, 4.0)
    assert made[1].values == (0.0, 3.0, 6.0, 9.0, 12.0)
    # both children start at the end of member 1's trial, which member 0 took over
    for child in (made[2], made[3]):
        assert child.steps == (4, 5, 6, 7, 8)
        assert child.values[0] == 12.0
        assert child.values[1] == 12.0 + study.trial(child.trial).hyperparameters["speed"]


def test_without_a_report_at_the_start_a_newborn_begins_with_its_first() -> None:
    study = climbing(4, start=False)
    assert [stroke.steps for stroke in score_series(study.trials(), Q, study.reports()).strokes] == [(1, 2, 3, 4)] * 2


def test_without_reports_there_are_the_ends() -> None:
    study = climbing(8)
    strokes = {stroke.trial: stroke for stroke in score_series(study.trials(), Q).strokes}
    assert (strokes[0].steps, strokes[0].values) == ((4,), (4.0,))
    assert (strokes[2].steps, strokes[2].values[0]) == ((4, 8), 12.0)


def test_an_exploit_leads_from_where_the_member_was_to_its_donor() -> None:
    study = climbing(8)
    (jump,) = score_series(study.trials(), Q, study.reports()).jumps
    assert (jump.trial, jump.member) == (2, 0)
    assert (jump.left, jump.start) == ((4, 4.0), (4, 12.0))


def test_a_trial_handed_back_early_shows_how_far_it_came(population: Population, metric: Metric) -> None:
    first, second, third = population(1, 3, failing=False)
    partial = msgspec.structs.replace(second, state=TrialState.PARTIAL, score=None, metrics={})
    said = {second.number: [Evaluation(150, "accuracy", 0.5, "progress")]}
    strokes = score_series([first, partial, third], metric, said).strokes
    assert [stroke.steps for stroke in strokes] == [(100,), (100, 150), (150, 300)]


def test_what_is_not_finite_or_not_of_the_trial_is_left_out(population: Population) -> None:
    (trial,) = population(1, 1, failing=False)
    values = [(50, 2.0), (20, 1.0), (30, math.nan), (40, math.inf), (101, 9.0)]
    said = [Evaluation(step, "loss", value) for step, value in values]
    assert reported(trial, {0: [*said, Evaluation(60, "other", 3.0)]}, "loss") == [(20, 1.0), (50, 2.0)]
    assert reported(trial, {1: said}, "loss") == []


def test_thinning_keeps_peaks_and_the_picture_stays_small(population: Population, metric: Metric) -> None:
    (trial,) = population(1, 1, failing=False)
    trial = msgspec.structs.replace(trial, end_step=100_000)
    wave = [Evaluation(step, "accuracy", math.sin(step / 1000)) for step in range(100_000)]
    wave[50_001] = Evaluation(50_001, "accuracy", 9.0)
    (stroke,) = score_series([trial], metric, {0: wave}).strokes
    assert 1200 <= len(stroke.steps) <= 4900
    assert (stroke.steps[0], stroke.steps[-1]) == (0, 100_000)
    assert max(stroke.values) == 9.0
    assert thinned([(0.0, 1.0)] * 9, 0.0) == [(0.0, 1.0)] * 9


def test_a_path_in_the_plane_has_the_places_of_every_report() -> None:
    study = climbing(8)
    x, y = Scale("Q", reported=True), Scale("other", reported=True)
    made = {spot.trial: spot for spot in spots(study.trials(), Q, x, y, study.reports())}
    assert made[0].path == tuple((float(step), -float(step)) for step in range(5))
    assert made[2].path[0] == (12.0, -12.0)
    assert made[2].steps == (4, 5, 6, 7, 8)
    assert made[2].jump is not None
    assert (made[2].jump.left, made[2].jump.start) == ((4.0, -4.0), (12.0, -12.0))
    assert made[3].jump is None
    assert [spot.path[-1] for spot in spots_until(tuple(made.values()), 2)] == [(2.0, -2.0), (6.0, -6.0)]
    by_speed = spots(study.trials(), Q, Scale("speed"), y, study.reports())
    assert [place[0] for place in by_speed[0].path] == [1.0] * 5


# The cost


def test_the_reports_cost_two_statements_however_many_trials(tmp_path) -> None:  # type: ignore[no-untyped-def]
    counts = []
    for steps in (8, 80):
        study = climbing(steps)
        statements = []

        def note(connection, cursor, statement, *rest, statements=statements):  # type: ignore[no-untyped-def]
            statements.append(statement)

        sa.event.listen(sa.Engine, "before_cursor_execute", note)
        try:
            study.reports()
        finally:
            sa.event.remove(sa.Engine, "before_cursor_execute", note)
        counts.append(len([one for one in statements if not one.startswith(("PRAGMA", "BEGIN"))]))
    assert counts == [2, 2]


def test_of_many_reports_every_nth_step_is_read_and_metrics_stay_together() -> None:
    study = climbing(40)
    whole, part = study.reports(), study.reports(most=50)
    assert sum(map(len, whole.values())) == 2 * 82
    assert 30 <= sum(map(len, part.values())) <= 80
    for number, said in part.items():
        assert said[0] == whole[number][0]
        assert [one.metric for one in said] == ["Q", "other"] * (len(said) // 2)
        assert set(said) <= set(whole[number])
    assert {one.metric for said in study.reports(["other"]).values() for one in said} == {"other"}
    assert study.reports(["unknown"]) == {}


# The pictures


def vertices(figure) -> set[tuple[float, float]]:  # type: ignore[no-untyped-def]
    """Where the lines of a figure bend."""
    return {
        (round(x, 6), round(y, 6))
        for axes in figure.axes
        for lines in axes.collections
        if hasattr(lines, "get_segments")
        for line in lines.get_segments()
        for x, y in line
    }


def test_a_plot_of_a_study_reads_its_reports() -> None:
    study = climbing(8)
    drawn = vertices(plots.plot(study, "scores"))
    assert {(0, 0), (1, 1), (1, 3), (3, 9), (4, 4), (4, 12)} <= drawn
    assert {(0, 0), (1, -1), (3, -3), (9, -9)} <= vertices(plots.plot(study, "parameters", pair=("Q", "other")))
    assert (1, 1) in vertices(plots.plot(study, "summary"))
    assert (1, 1) not in vertices(plots.plot(study, "scores", reports={}))


def test_an_exploit_is_drawn_and_named() -> None:
    study = climbing(8)
    for kind, options in (("scores", {}), ("parameters", {"pair": ("Q", "other")})):
        figure = plots.plot(study, kind, **options)
        dotted = [
            [tuple(map(float, point)) for point in line]
            for lines in figure.axes[0].collections
            if hasattr(lines, "get_segments") and lines.get_linestyle()[0][1] is not None
            for line in lines.get_segments()
        ]
        assert dotted == ([[(4, 4), (4, 12)]] if kind == "scores" else [[(4, -4), (12, -12)]])
        assert "exploit (1)" in {text.get_text() for text in figure.legends[0].get_texts()}


def test_of_many_exploits_only_vertical_lines_are_drawn(population: Population, metric: Metric) -> None:
    def dotted(trials: list[Trial]) -> int:
        return sum(
            len(lines.get_segments())  # type: ignore[attr-defined]
            for lines in plots.scores(trials, metric).axes[0].collections
            if hasattr(lines, "get_segments") and lines.get_linestyle()[0][1] is not None
        )

    trials = population(40, 10, failing=False)
    jumps = score_series(trials, metric).jumps
    vertical = sum(jump.left is not None and jump.left[0] == jump.start[0] for jump in jumps)
    assert dotted(trials) == vertical > 50
    # each member but the first is late, so none is where its donor is
    late = [msgspec.structs.replace(trial, end_step=(trial.end_step or 0) + trial.member) for trial in trials]
    assert dotted(late) < vertical


@pytest.mark.parametrize(
    "reports",
    [[], {"0": []}, {True: []}, {0: [1.0]}, {0: "text"}],
)
def test_other_things_than_reports_are_refused(reports: Reports, population: Population, metric: Metric) -> None:
    with pytest.raises(InvalidArgument, match="reports is"):
        plots.scores(population(2, 2), metric, reports=reports)

"""Scores against steps, apart from how to draw them: a line for each trial, through all that it reported."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec

from phyletic.plots.axes import logarithmic, readable_range
from phyletic.plots.data import Jump, Mark, Stroke, jumps, marks_of, parents_of
from phyletic.plots.families import best_trial, founders, lineage_numbers, score_of
from phyletic.plots.reports import COLUMNS, NO_REPORTS, Point, Reports, reported, thinned
from phyletic.records import Metric, Trial


class ScoreSeries(msgspec.Struct, frozen=True):
    """Scores against steps.

    Attributes:
        strokes: A line for each trial with a finite value: from its parent's end, or from the first report of a
            newborn, through all its reports to its end. A newborn that reported nothing else has one point.
        jumps: The exploits.
        marks: Trials without a finite score.
        best: Number of the best trial; None if no score is finite.
        limits: The part of the axis worth showing; None if no score is finite.
        log: Whether the axis is logarithmic: if lower is better and the scores are positive and spread widely.
    """

    strokes: tuple[Stroke, ...]
    jumps: tuple[Jump, ...]
    marks: tuple[Mark, ...]
    best: int | None
    limits: tuple[float, float] | None
    log: bool = False


def score_series(trials: Sequence[Trial], metric: Metric, reports: Reports = NO_REPORTS) -> ScoreSeries:
    """Return the scores against steps, along the lineages.

    A trial handed back early has no score: if it reported nothing either, the line goes from its nearest ancestor past
    it. Trials still open are left out.

    Args:
        trials: Trials of one study.
        metric: What to draw, and which way it is better.
        reports: What the trials reported; empty for their final values alone.
    """
    trials = sorted(trials, key=lambda trial: trial.number)
    scores, founder, parents = score_of(trials, metric), founders(trials), parents_of(trials)
    best = best_trial(trials, metric)
    winners = frozenset(lineage_numbers(trials, best))
    curves = _curves(trials, scores, reports, metric.name)
    ended = [trial for trial in trials if trial.end_step is not None]
    column = max((trial.end_step or 0 for trial in ended), default=0) / COLUMNS
    ends: dict[int, Point] = {}
    strokes = []
    for trial in ended:
        points, number, parent = curves.get(trial.number), trial.number, parents.get(trial.number)
        while parent is not None and parent.number not in curves:
            parent = parents.get(parent.number)
        if points is None:
            if parent is not None and number not in scores:
                ends[number] = ends[parent.number]  # handed back early, so it is where its parent was
            continue
        ends[number] = points[-1]
        if parent is not None and points[0] != ends[parent.number]:
            points = [ends[parent.number], *points]
        steps, values = zip(*thinned(points, column), strict=True)
        strokes.append(Stroke(number, trial.member, founder[number], steps, values, number in winners))
    shown = [value for stroke in strokes for value in stroke.values]
    log = logarithmic(shown, metric)
    limits = readable_range([math.log10(score) for score in shown] if log else shown, metric.mode)
    if log and limits is not None:
        limits = (10 ** limits[0], 10 ** limits[1])
    made = jumps(ended, ends, winners)
    return ScoreSeries(tuple(strokes), made, marks_of(trials, scores), best, limits, log)


def _curves(
    trials: Sequence[Trial], scores: Mapping[int, float], reports: Reports, name: str
) -> dict[int, list[Point]]:
    """Return (step, value) of each trial that has ended: its finite reports, and its finite score at its end."""
    found: dict[int, list[Point]] = {}
    for trial in trials:
        if trial.end_step is None:
            continue
        points, score = reported(trial, reports, name), scores.get(trial.number, math.nan)
        end = (float(trial.end_step), score)
        if math.isfinite(score) and (not points or points[-1] != end):
            points.append(end)
        if points:
            found[trial.number] = points
    return found

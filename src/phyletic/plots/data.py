"""Scores, hyperparameters and lineages against steps, apart from how they are drawn: frozen series."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import msgspec

from phyletic.plots.axes import levels_of, logarithmic, place_of, readable_range
from phyletic.plots.families import best_trial, founders, lineage_numbers, score_of, surviving, varied_paths
from phyletic.records import Metric, Trial, Value
from phyletic.space import Int

if TYPE_CHECKING:
    from phyletic.space import Space

__all__ = [
    "Hop",
    "Mark",
    "Panel",
    "ScoreSeries",
    "Segment",
    "Stroke",
    "TreeSeries",
    "panels",
    "score_series",
    "tree_series",
]


class Stroke(msgspec.Struct, frozen=True):
    """A line from a trial's parent to the trial.

    Attributes:
        trial: The trial's number.
        founder: The newborn with which its lineage begins.
        steps: Steps at the line's points.
        values: Values there, as many as ``steps``.
        best: Whether the trial is in the lineage of the best one.
    """

    trial: int
    founder: int
    steps: tuple[float, ...]
    values: tuple[float, ...]
    best: bool


class Mark(msgspec.Struct, frozen=True):
    """A point that has no place on the score's axis, or a score of its own kind.

    Attributes:
        trial: The trial's number.
        member: Its member.
        founder: The newborn with which its lineage begins.
        step: Where it ended; where it started if it failed.
        kind: ``"not finite"`` (the score is NaN or infinite) or ``"failed"`` (the trial has no score).
    """

    trial: int
    member: int
    founder: int
    step: int
    kind: Literal["not finite", "failed"]


class ScoreSeries(msgspec.Struct, frozen=True):
    """Scores against steps.

    Attributes:
        strokes: A line for each trial that has a finite score; of one point for a newborn.
        marks: Trials without a finite score.
        best: Number of the best trial; None if no score is finite.
        limits: The part of the axis worth showing; None if no score is finite.
        log: Whether the axis is logarithmic: if lower is better and the scores are positive and spread widely.
    """

    strokes: tuple[Stroke, ...]
    marks: tuple[Mark, ...]
    best: int | None
    limits: tuple[float, float] | None
    log: bool = False


class Panel(msgspec.Struct, frozen=True):
    """One hyperparameter against steps.

    Attributes:
        path: The hyperparameter's flat path.
        strokes: A line for each trial that has it: a rise or fall at its start, then constant to its end.
        log: Whether its axis is logarithmic.
        integer: Whether its values are whole numbers.
        levels: The values that it can have, in order, which the axis counts from 0; empty for numbers.
    """

    path: str
    strokes: tuple[Stroke, ...]
    log: bool = False
    integer: bool = False
    levels: tuple[Value, ...] = ()


class Segment(msgspec.Struct, frozen=True):
    """One trial in its member's row.

    Attributes:
        trial: The trial's number.
        member: Its row.
        founder: The newborn with which its lineage begins.
        start: Step at its start.
        end: Step at its end; the step asked for while it is open.
        score: Its score, whatever it is; None without one.
        alive: Whether a member's latest trial descends from it (or is it).
        best: Whether it is in the lineage of the best trial.
        open: Whether it is still to end.
    """

    trial: int
    member: int
    founder: int
    start: int
    end: int
    score: float | None
    alive: bool
    best: bool
    open: bool


class Hop(msgspec.Struct, frozen=True):
    """A checkpoint that went from one member to another.

    Attributes:
        trial: The trial that began with it.
        step: Where.
        donor: Row it came from.
        member: Row it went to.
        founder: The newborn whose lineage it carries on.
        best: Whether it is in the lineage of the best trial.
    """

    trial: int
    step: int
    donor: int
    member: int
    founder: int
    best: bool


class TreeSeries(msgspec.Struct, frozen=True):
    """The population's history: who trained what, from whom.

    Attributes:
        segments: A segment for each trial that did not fail, older first.
        hops: A vertical edge for each exploit.
        marks: Trials without a finite score.
        members: Rows.
        best: Number of the best trial; None if no score is finite.
    """

    segments: tuple[Segment, ...]
    hops: tuple[Hop, ...]
    marks: tuple[Mark, ...]
    members: int
    best: int | None


def _marks(trials: Sequence[Trial], scores: Mapping[int, float], founder: Mapping[int, int]) -> tuple[Mark, ...]:
    marks = []
    for trial in trials:
        root = founder[trial.number]
        if trial.state == "failed":
            marks.append(Mark(trial.number, trial.member, root, trial.start_step, "failed"))
        elif trial.number in scores and not math.isfinite(scores[trial.number]):
            step = trial.end_step if trial.end_step is not None else trial.start_step
            marks.append(Mark(trial.number, trial.member, root, step, "not finite"))
    return tuple(marks)


def score_series(trials: Sequence[Trial], metric: Metric) -> ScoreSeries:
    """Return the scores against steps, along the lineages.

    A trial handed back early has no score: the line goes from its nearest scored ancestor past it. Trials still open
    are not shown.
    """
    trials = sorted(trials, key=lambda trial: trial.number)
    scores, founder, known = score_of(trials, metric), founders(trials), {trial.number: trial for trial in trials}
    best = best_trial(trials, metric)
    winners = frozenset(lineage_numbers(trials, best))
    strokes = []
    for trial in trials:
        score = scores.get(trial.number, math.nan)
        if trial.end_step is None or not math.isfinite(score):
            continue
        parent = known.get(trial.parent) if trial.parent is not None else None
        while parent is not None and not math.isfinite(scores.get(parent.number, math.nan)):
            parent = known.get(parent.parent) if parent.parent is not None else None
        steps: tuple[float, ...] = (trial.end_step,)
        values: tuple[float, ...] = (score,)
        if parent is not None and parent.end_step is not None:
            steps, values = (parent.end_step, *steps), (scores[parent.number], *values)
        strokes.append(Stroke(trial.number, founder[trial.number], steps, values, trial.number in winners))
    shown = [stroke.values[-1] for stroke in strokes]
    log = logarithmic(shown, metric)
    limits = readable_range([math.log10(score) for score in shown] if log else shown, metric.mode)
    if log and limits is not None:
        limits = (10 ** limits[0], 10 ** limits[1])
    return ScoreSeries(tuple(strokes), _marks(trials, scores, founder), best, limits, log)


def panels(
    trials: Sequence[Trial], space: Space, best: int | None = None, paths: Sequence[str] | None = None
) -> tuple[Panel, ...]:
    """Return each hyperparameter against steps, in the order of the space.

    A hyperparameter that no trial had is left out.

    Args:
        trials: Trials of one study; those that failed or were not started are left out.
        space: The study's space; it says which axes are logarithmic and which count levels.
        best: Number of the trial whose lineage is marked.
        paths: Which hyperparameters; None for those with more than one value among the trials (all, if there are none).
    """
    trials = sorted((trial for trial in trials if trial.end_step is not None), key=lambda trial: trial.number)
    founder, known = founders(trials), {trial.number: trial for trial in trials}
    winners = frozenset(lineage_numbers(trials, best))
    made = []
    for path in varied_paths(trials, space) if paths is None else paths:
        domain = space.parameters[path].domain
        levels = levels_of(domain)
        strokes = []
        for trial in trials:
            if path not in trial.hyperparameters or trial.end_step is None:
                continue
            value = place_of(trial.hyperparameters[path], levels)
            steps: tuple[float, ...] = (trial.start_step, trial.end_step)
            values: tuple[float, ...] = (value, value)
            parent = known.get(trial.parent) if trial.parent is not None else None
            if parent is not None and path in parent.hyperparameters:
                steps = (trial.start_step, *steps)
                values = (place_of(parent.hyperparameters[path], levels), *values)
            strokes.append(Stroke(trial.number, founder[trial.number], steps, values, trial.number in winners))
        if strokes:
            made.append(Panel(path, tuple(strokes), domain.log, isinstance(domain, Int), levels))
    return tuple(made)


def tree_series(trials: Sequence[Trial], metric: Metric) -> TreeSeries:
    """Return who trained what, from whom: rows of segments and the exploits between them."""
    trials = sorted(trials, key=lambda trial: trial.number)
    scores, founder, known = score_of(trials, metric), founders(trials), {trial.number: trial for trial in trials}
    best, alive = best_trial(trials, metric), surviving(trials)
    winners = frozenset(lineage_numbers(trials, best))
    segments, hops = [], []
    for trial in trials:
        number, root = trial.number, founder[trial.number]
        if trial.state == "failed":
            continue
        end = trial.end_step if trial.end_step is not None else trial.start_step + (trial.steps or 0)
        segments.append(
            Segment(
                number,
                trial.member,
                root,
                trial.start_step,
                end,
                scores.get(number),
                number in alive,
                number in winners,
                trial.state.open,
            )
        )
        parent = known.get(trial.parent) if trial.parent is not None else None
        if parent is not None and parent.member != trial.member:
            hops.append(Hop(number, trial.start_step, parent.member, trial.member, root, number in winners))
    members = 1 + max((trial.member for trial in trials), default=-1)
    return TreeSeries(tuple(segments), tuple(hops), _marks(trials, scores, founder), members, best)

"""What pictures show, apart from how to draw it: hyperparameters, lineages, exploits and marks as frozen series.

Scores are in :mod:`phyletic.plots.curves`, trials in a plane in :mod:`phyletic.plots.spots`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from phyletic.plots.axes import Scale, scale_of
from phyletic.plots.families import (
    best_trial,
    founders,
    lineage_numbers,
    ordered_trials,
    score_of,
    surviving,
    varied_paths,
)
from phyletic.plots.reports import Point
from phyletic.records import Metric, Trial
from phyletic.space import Space


class Stroke(msgspec.Struct, frozen=True):
    """A line from a trial's parent to the trial.

    Attributes:
        trial: The trial's number.
        member: Its member.
        founder: The newborn with which its lineage begins.
        steps: Steps at the line's points.
        values: Values there, as many as ``steps``.
        best: Whether the trial is in the lineage of the best one.
    """

    trial: int
    member: int
    founder: int
    steps: tuple[float, ...]
    values: tuple[float, ...]
    best: bool


class Jump(msgspec.Struct, frozen=True):
    """An exploit: a member left its own weights and went on with another's.

    Attributes:
        trial: The number of the trial that started from another member's.
        member: Its member.
        founder: The newborn with which its lineage begins.
        left: Where the member was before; None if it was nowhere finite.
        start: Where its weights came from: the end of the trial's parent.
        best: Whether the trial is in the lineage of the best one.
    """

    trial: int
    member: int
    founder: int
    left: Point | None
    start: Point
    best: bool


class Mark(msgspec.Struct, frozen=True):
    """A trial without a finite score.

    Attributes:
        trial: The trial's number.
        member: Its member.
        step: Where it ended; where it started if it failed.
        kind: ``"not finite"`` (the score is NaN or infinite) or ``"failed"`` (the trial has no score).
    """

    trial: int
    member: int
    step: int
    kind: Literal["not finite", "failed"]


class Panel(msgspec.Struct, frozen=True):
    """One hyperparameter against steps.

    Attributes:
        scale: The hyperparameter's axis.
        strokes: A line for each trial that has it: a rise or fall at its start, then constant to its end.
    """

    scale: Scale
    strokes: tuple[Stroke, ...]


class Segment(msgspec.Struct, frozen=True):
    """One trial in its member's row.

    Attributes:
        trial: The trial's number.
        member: Its row.
        founder: The newborn with which its lineage begins.
        start: Step at its start.
        end: Step at its end; the step asked for while it is open.
        score: Its score, which may be NaN or infinite; None without a score.
        alive: Whether a member's latest trial descends from it (or is it).
        best: Whether it is in the lineage of the best trial.
        open: Whether it has not ended yet.
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
        trial: The trial that started from it.
        step: The step of this start.
        donor: The row of the member that gave it.
        member: The row of the member that took it.
        founder: The newborn with which its lineage begins.
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
        members: How many rows there are.
        best: Number of the best trial; None if no score is finite.
    """

    segments: tuple[Segment, ...]
    hops: tuple[Hop, ...]
    marks: tuple[Mark, ...]
    members: int
    best: int | None


def parents_of(trials: Sequence[Trial]) -> dict[int, Trial]:
    """Return each trial's parent by the trial's number, if the parent is among the trials."""
    known = {trial.number: trial for trial in trials}
    return {trial.number: known[trial.parent] for trial in trials if trial.parent in known}


def marks_of(trials: Sequence[Trial], scores: Mapping[int, float]) -> tuple[Mark, ...]:
    """Return the trials without a finite score; ``scores`` are by trial number."""
    marks = []
    for trial in trials:
        if trial.state == "failed":
            marks.append(Mark(trial.number, trial.member, trial.start_step, "failed"))
        elif trial.number in scores and not math.isfinite(scores[trial.number]):
            step = trial.end_step if trial.end_step is not None else trial.start_step
            marks.append(Mark(trial.number, trial.member, step, "not finite"))
    return tuple(marks)


def jumps(trials: Sequence[Trial], ends: Mapping[int, Point], winners: frozenset[int]) -> tuple[Jump, ...]:
    """Return the exploits: trials that started from another member's trial.

    Args:
        trials: Trials that have ended.
        ends: Where each trial ended, by number; trials that ended nowhere are left out.
        winners: Numbers of the trials in the best lineage.
    """
    founder, parents = founders(trials), parents_of(trials)
    latest: dict[int, int] = {}
    made = []
    for trial in sorted(trials, key=lambda trial: trial.number):
        before, parent = latest.get(trial.member), parents.get(trial.number)
        latest[trial.member] = trial.number
        if parent is not None and parent.member != trial.member and parent.number in ends and trial.number in ends:
            left = None if before is None else ends.get(before)
            place = trial.number, trial.member, founder[trial.number]
            made.append(Jump(*place, left, ends[parent.number], trial.number in winners))
    return tuple(made)


def panels(
    trials: Sequence[Trial], space: Space, best: int | None = None, paths: Sequence[str] | None = None
) -> tuple[Panel, ...]:
    """Return each hyperparameter against steps, in the order of the space.

    A hyperparameter that no trial had is left out.

    Args:
        trials: Trials of one study; those that failed or have not ended are left out.
        space: The study's space, which gives the axes.
        best: Number of the trial whose lineage is marked.
        paths: Which hyperparameters; None for those with more than one value among the trials (all if none has).
    """
    trials = ordered_trials(trials)
    founder, parents = founders(trials), parents_of(trials)
    winners = frozenset(lineage_numbers(trials, best))
    made = []
    for path in varied_paths(trials, space) if paths is None else paths:
        scale, strokes = scale_of(path, trials, space), []
        for trial in trials:
            value, start = scale.place(trial), trial.start_step
            if value is None or trial.end_step is None:
                continue
            steps: tuple[float, ...] = (start, trial.end_step)
            values: tuple[float, ...] = (value, value)
            before = scale.place(parents[trial.number]) if trial.number in parents else None
            if before is not None:
                steps, values = (start, *steps), (before, *values)
            wins = trial.number in winners
            strokes.append(Stroke(trial.number, trial.member, founder[trial.number], steps, values, wins))
        if strokes:
            made.append(Panel(scale, tuple(strokes)))
    return tuple(made)


def tree_series(trials: Sequence[Trial], metric: Metric) -> TreeSeries:
    """Return who trained what, from whom: rows of segments, and the exploits between them."""
    trials = sorted(trials, key=lambda trial: trial.number)
    scores, founder, parents = score_of(trials, metric), founders(trials), parents_of(trials)
    best, alive = best_trial(trials, metric), surviving(trials)
    winners = frozenset(lineage_numbers(trials, best))
    segments, hops = [], []
    for trial in trials:
        number, root, start, wins = trial.number, founder[trial.number], trial.start_step, trial.number in winners
        if trial.state == "failed":
            continue
        end = trial.end_step if trial.end_step is not None else start + (trial.steps or 0)
        score, is_open = scores.get(number), trial.state.open
        segments.append(Segment(number, trial.member, root, start, end, score, number in alive, wins, is_open))
        parent = parents.get(number)
        if parent is not None and parent.member != trial.member:
            hops.append(Hop(number, start, parent.member, trial.member, root, wins))
    members = 1 + max((trial.member for trial in trials), default=-1)
    return TreeSeries(tuple(segments), tuple(hops), marks_of(trials, scores), members, best)

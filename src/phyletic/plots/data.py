"""What pictures show, apart from how to draw it: scores, hyperparameters, lineages and standings as frozen series."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from phyletic.plots.axes import Scale, logarithmic, readable_range, scale_of
from phyletic.plots.families import (
    best_trial,
    founders,
    lineage_numbers,
    ordered_trials,
    score_of,
    surviving,
    varied_paths,
)
from phyletic.records import Metric, Trial
from phyletic.space import Space


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


class Spot(msgspec.Struct, frozen=True):
    """A trial in a plane of two axes.

    Attributes:
        trial: The trial's number.
        member: Its member.
        founder: The newborn with which its lineage begins.
        step: Where it ended.
        place: Its coordinates.
        parent: Its parent's coordinates; None for a newborn.
        best: Whether it is in the lineage of the best trial.
        standing: The part of its generation that it is not worse than, from 0 to 1; None without a finite score.
    """

    trial: int
    member: int
    founder: int
    step: int
    place: tuple[float, float]
    parent: tuple[float, float] | None
    best: bool
    standing: float | None


def _parents(trials: Sequence[Trial]) -> dict[int, Trial]:
    """Return each trial's parent by the trial's number, if the parent is among the trials."""
    known = {trial.number: trial for trial in trials}
    return {trial.number: known[trial.parent] for trial in trials if trial.parent in known}


def _marks(trials: Sequence[Trial], scores: Mapping[int, float]) -> tuple[Mark, ...]:
    marks = []
    for trial in trials:
        if trial.state == "failed":
            marks.append(Mark(trial.number, trial.member, trial.start_step, "failed"))
        elif trial.number in scores and not math.isfinite(scores[trial.number]):
            step = trial.end_step if trial.end_step is not None else trial.start_step
            marks.append(Mark(trial.number, trial.member, step, "not finite"))
    return tuple(marks)


def score_series(trials: Sequence[Trial], metric: Metric) -> ScoreSeries:
    """Return the scores against steps, along the lineages.

    A trial handed back early has no score: the line goes from its nearest scored ancestor past it. Trials still open
    are left out.
    """
    trials = sorted(trials, key=lambda trial: trial.number)
    scores, founder, parents = score_of(trials, metric), founders(trials), _parents(trials)
    best = best_trial(trials, metric)
    winners = frozenset(lineage_numbers(trials, best))
    strokes = []
    for trial in trials:
        score = scores.get(trial.number, math.nan)
        if trial.end_step is None or not math.isfinite(score):
            continue
        parent = parents.get(trial.number)
        while parent is not None and not math.isfinite(scores.get(parent.number, math.nan)):
            parent = parents.get(parent.number)
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
    return ScoreSeries(tuple(strokes), _marks(trials, scores), best, limits, log)


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
    founder, parents = founders(trials), _parents(trials)
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
            strokes.append(Stroke(trial.number, founder[trial.number], steps, values, trial.number in winners))
        if strokes:
            made.append(Panel(scale, tuple(strokes)))
    return tuple(made)


def tree_series(trials: Sequence[Trial], metric: Metric) -> TreeSeries:
    """Return who trained what, from whom: rows of segments, and the exploits between them."""
    trials = sorted(trials, key=lambda trial: trial.number)
    scores, founder, parents = score_of(trials, metric), founders(trials), _parents(trials)
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
    return TreeSeries(tuple(segments), tuple(hops), _marks(trials, scores), members, best)


def standings(trials: Sequence[Trial], metric: Metric) -> Mapping[int, float]:
    """Return, by trial number, which part of its generation a trial is not worse than: 0 the worst, 1 the best."""
    sign = 1.0 if metric.mode == "max" else -1.0
    scores = {number: sign * score for number, score in score_of(trials, metric).items() if math.isfinite(score)}
    scored = [trial for trial in trials if trial.number in scores]
    generations: dict[int, list[float]] = {}
    for trial in scored:
        generations.setdefault(trial.generation, []).append(scores[trial.number])
    return {trial.number: _standing(scores[trial.number], generations[trial.generation]) for trial in scored}


def _standing(score: float, peers: Sequence[float]) -> float:
    if len(peers) == 1:
        return 1.0
    below = sum(peer < score for peer in peers)
    equal = sum(peer == score for peer in peers) - 1
    return (below + 0.5 * equal) / (len(peers) - 1)


def spots(trials: Sequence[Trial], metric: Metric | None, x: Scale, y: Scale | None = None) -> tuple[Spot, ...]:
    """Return the trials in the plane of two axes.

    Args:
        trials: Trials of one study; those without a value on either axis are left out.
        metric: What the best lineage is best in, and what standings compare; None for neither.
        x: The axis across.
        y: The axis upwards; None for ``x`` upwards, against the step.
    """
    trials = ordered_trials(trials)
    founder = founders(trials)
    winners = frozenset(lineage_numbers(trials, None if metric is None else best_trial(trials, metric)))
    standing = {} if metric is None else standings(trials, metric)
    places: dict[int, tuple[float, float]] = {}
    made = []
    for trial in trials:
        number, step = trial.number, trial.end_step or 0
        across = x.place(trial) if y is not None else float(step)
        upwards = (x if y is None else y).place(trial)
        if across is None or upwards is None:
            continue
        parent = None if trial.parent is None else places.get(trial.parent)
        place = places[number] = (across, upwards)
        root, wins = founder[number], number in winners
        made.append(Spot(number, trial.member, root, step, place, parent, wins, standing.get(number)))
    return tuple(made)

"""Trials in a plane of two axes, apart from how to draw them: places, paths, exploits and standings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec

from phyletic.plots.axes import Scale
from phyletic.plots.data import Jump, jumps
from phyletic.plots.families import best_trial, founders, lineage_numbers, ordered_trials, score_of
from phyletic.plots.reports import NO_REPORTS, Point, Reports, paths
from phyletic.records import Metric, Trial


class Spot(msgspec.Struct, frozen=True):
    """A trial in a plane of two axes.

    Attributes:
        trial: The trial's number.
        member: Its member.
        founder: The newborn with which its lineage begins.
        step: Where it ended.
        place: Its coordinates.
        path: Where it was from its parent's end, or a newborn's first report, through its reports to its end.
        steps: The steps of these places.
        jump: The exploit that it began with; None without one.
        best: Whether it is in the lineage of the best trial.
        standing: The part of its generation that it is not worse than, from 0 to 1; None without a finite score.
    """

    trial: int
    member: int
    founder: int
    step: int
    place: Point
    path: tuple[Point, ...]
    steps: tuple[int, ...]
    jump: Jump | None
    best: bool
    standing: float | None


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


def spots(
    trials: Sequence[Trial],
    metric: Metric | None,
    x: Scale,
    y: Scale | None = None,
    reports: Reports = NO_REPORTS,
) -> tuple[Spot, ...]:
    """Return the trials in the plane of two axes.

    Args:
        trials: Trials of one study; those without a value on either axis are left out.
        metric: What the best lineage is best in, and what standings compare; None for neither.
        x: The axis across.
        y: The axis upwards; None for ``x`` upwards, against the step.
        reports: What the trials reported, for the places on their way; empty for their ends alone.
    """
    trials = ordered_trials(trials)
    founder = founders(trials)
    winners = frozenset(lineage_numbers(trials, None if metric is None else best_trial(trials, metric)))
    standing = {} if metric is None else standings(trials, metric)
    ways = {} if y is None else paths(trials, reports, (x, y))
    ends: dict[int, Point] = {}
    for trial in trials:
        across = x.place(trial) if y is not None else float(trial.end_step or 0)
        upwards = (x if y is None else y).place(trial)
        if across is not None and upwards is not None:
            ends[trial.number] = (across, upwards)
    jumped = {jump.trial: jump for jump in jumps(trials, ends, winners)}
    made = []
    for trial in trials:
        number, step, end = trial.number, trial.end_step or 0, ends.get(trial.number)
        if end is None:
            continue
        path = ways.get(number, [])
        if trial.parent in ends:
            path = [(trial.start_step, ends[trial.parent]), *path]
        if not path or path[-1] != (step, end):
            path = [*path, (step, end)]
        steps, places = zip(*path, strict=True)
        root, wins, jump = founder[number], number in winners, jumped.get(number)
        made.append(Spot(number, trial.member, root, step, end, places, steps, jump, wins, standing.get(number)))
    return tuple(made)


def spots_until(made: Sequence[Spot], step: int) -> list[Spot]:
    """Return what had happened by a step: trials that had ended, and the beginnings of those that had begun.

    Args:
        made: The trials, as :func:`spots` returns them.
        step: The step.
    """
    shown = []
    for spot in made:
        if spot.step <= step:
            shown.append(spot)
        elif spot.steps[0] <= step:
            count = sum(at <= step for at in spot.steps)
            shown.append(
                msgspec.structs.replace(
                    spot, step=step, place=spot.path[count - 1], path=spot.path[:count], steps=spot.steps[:count]
                )
            )
    return shown

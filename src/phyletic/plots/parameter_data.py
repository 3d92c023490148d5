"""Trials as points in the plane of two hyperparameters or metrics, with the standing of each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec

from phyletic.plots.axes import Scale
from phyletic.plots.families import best_trial, founders, lineage_numbers, score_of
from phyletic.records import Metric, Trial

__all__ = ["Spot", "ordered_trials", "spots", "standings"]


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


def ordered_trials(trials: Sequence[Trial]) -> list[Trial]:
    """Return the trials that have ended, by number."""
    return sorted((trial for trial in trials if trial.end_step is not None), key=lambda trial: trial.number)


def standings(trials: Sequence[Trial], metric: Metric) -> Mapping[int, float]:
    """Return, by trial number, which part of its generation a trial is not worse than: 0 the worst, 1 the best."""
    scores = {number: score for number, score in score_of(trials, metric).items() if math.isfinite(score)}
    sign = 1.0 if metric.mode == "max" else -1.0
    generations: dict[int, list[float]] = {}
    for trial in trials:
        if trial.number in scores:
            generations.setdefault(trial.generation, []).append(sign * scores[trial.number])
    return {
        trial.number: _standing(sign * scores[trial.number], generations[trial.generation])
        for trial in trials
        if trial.number in scores
    }


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
        metric: What the best lineage is best in, and standings are of; None for neither.
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
        across = x.place(trial) if y is not None else float(trial.end_step or 0)
        upwards = (x if y is None else y).place(trial)
        if across is None or upwards is None:
            continue
        places[trial.number] = (across, upwards)
        made.append(
            Spot(
                trial=trial.number,
                member=trial.member,
                founder=founder[trial.number],
                step=trial.end_step or 0,
                place=(across, upwards),
                parent=None if trial.parent is None else places.get(trial.parent),
                best=trial.number in winners,
                standing=standing.get(trial.number),
            )
        )
    return tuple(made)

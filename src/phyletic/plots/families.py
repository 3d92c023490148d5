"""Families of trials, the best trial and its lineage, which every picture of a population shows."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from phyletic.records import Metric, Trial
from phyletic.space import Space


class Family(msgspec.Struct, frozen=True):
    """All trials whose lineage begins with the same newborn.

    Attributes:
        founder: Number of the newborn.
        size: Trials in the family, the newborn included.
        best: Whether the best trial belongs to it.
    """

    founder: int
    size: int
    best: bool


def ordered_trials(trials: Sequence[Trial]) -> list[Trial]:
    """Return the trials that have ended, by number."""
    return sorted((trial for trial in trials if trial.end_step is not None), key=lambda trial: trial.number)


def score_of(trials: Sequence[Trial], metric: Metric) -> dict[int, float]:
    """Return the value of ``metric`` by trial number, non-finite ones too.

    If no trial reported the metric, these are the scores that ranked the members.
    """
    if any(metric.name in trial.metrics for trial in trials):
        return {trial.number: trial.metrics[metric.name] for trial in trials if metric.name in trial.metrics}
    return {trial.number: trial.score for trial in trials if trial.score is not None}


def best_trial(trials: Sequence[Trial], metric: Metric) -> int | None:
    """Return the number of the trial with the best finite value of ``metric``, the earliest of equals, or None."""
    sign = 1.0 if metric.mode == "max" else -1.0
    finite = [(sign * score, -number) for number, score in score_of(trials, metric).items() if math.isfinite(score)]
    return -max(finite)[1] if finite else None


def lineage_numbers(trials: Sequence[Trial], number: int | None) -> tuple[int, ...]:
    """Return the numbers of a trial and its ancestors, root first; () for None."""
    parents = {trial.number: trial.parent for trial in trials}
    path: list[int] = []
    while number is not None:
        path.append(number)
        number = parents.get(number)
    return tuple(reversed(path))


def founders(trials: Sequence[Trial]) -> dict[int, int]:
    """Return, by trial number, the number of the newborn that began the lineage."""
    found: dict[int, int] = {}
    for trial in sorted(trials, key=lambda trial: trial.number):
        found[trial.number] = trial.number if trial.parent is None else found.get(trial.parent, trial.parent)
    return found


def varied_paths(trials: Iterable[Trial], space: Space) -> tuple[str, ...]:
    """Return the hyperparameters that have more than one value among some trials; all if none has."""
    every, trials = tuple(space.parameters), tuple(trials)
    return tuple(path for path in every if len({trial.hyperparameters.get(path) for trial in trials}) > 1) or every


def differing_paths(trials: Sequence[Trial]) -> tuple[str, ...]:
    """Return the hyperparameters that have more than one value among some trials, in the order of the trials."""
    every = dict.fromkeys(path for trial in trials for path in trial.hyperparameters)
    return tuple(path for path in every if len({repr(trial.hyperparameters.get(path)) for trial in trials}) > 1)


def families(trials: Sequence[Trial], best: int | None) -> tuple[Family, ...]:
    """Return the families, the family of the best trial first, then from large to small."""
    founder = founders(trials)
    sizes = Counter(founder.values())
    winner = founder.get(best) if best is not None else None
    order = sorted(sizes, key=lambda root: (root != winner, -sizes[root], root))
    return tuple(Family(root, sizes[root], root == winner) for root in order)


def surviving(trials: Sequence[Trial]) -> frozenset[int]:
    """Return the numbers of the members' latest trials and of all their ancestors."""
    heads: dict[int, int] = {}
    for trial in sorted(trials, key=lambda trial: trial.number):
        if trial.end_step is not None or trial.state.open:
            heads[trial.member] = trial.number
    parents = {trial.number: trial.parent for trial in trials}
    alive: set[int] = set()
    for head in heads.values():
        number: int | None = head
        while number is not None and number not in alive:
            alive.add(number)
            number = parents.get(number)
    return frozenset(alive)

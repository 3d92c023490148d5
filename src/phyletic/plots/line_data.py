"""Lines through a study's trials, and the panels of a figure of lines, as data."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import msgspec

from phyletic.plots.families import best_trial, lineage_numbers, score_of
from phyletic.records import Metric, Trial

__all__ = [
    "Line",
    "LinePanel",
    "along_lineage",
    "best_lineage",
    "best_so_far",
    "hyperparameter_steps",
    "member_scores",
    "steps_to_reach",
]

Points = tuple[tuple[float, ...], tuple[float, ...]]
"""As many abscissas as ordinates."""


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a panel.

    Attributes:
        xs: Abscissas.
        ys: Ordinates, as many.
        label: For the legend; "" keeps it out.
        colour: A matplotlib colour; None for the next of the palette.
        dashed: Whether it is something to compare with, rather than what was found.
        dots: Whether its points are marked.
        width: In points.
    """

    xs: tuple[float, ...]
    ys: tuple[float, ...]
    label: str = ""
    colour: str | None = None
    dashed: bool = False
    dots: bool = False
    width: float = 1.8


class LinePanel(msgspec.Struct, frozen=True, kw_only=True):
    """One pair of axes with lines.

    Attributes:
        title: Above it.
        x: Name of the abscissa.
        y: Name of the ordinate.
        lines: What is drawn, the first below.
        log_x: Whether the abscissa is logarithmic.
        log_y: Whether the ordinate is.
        ticks: The abscissas to name; empty to leave it to the axis.
        legend: Whether it has a legend of its own.
    """

    title: str
    x: str
    y: str
    lines: tuple[Line, ...]
    log_x: bool = False
    log_y: bool = False
    ticks: tuple[float, ...] = ()
    legend: bool = True


def best_lineage(trials: Sequence[Trial], metric: Metric) -> list[Trial]:
    """Return the best trial and its ancestors, the newborn first; empty if no score is finite."""
    known = {trial.number: trial for trial in trials}
    return [known[number] for number in lineage_numbers(trials, best_trial(trials, metric)) if number in known]


def along_lineage(lineage: Iterable[Trial], name: str) -> Points:
    """Return the steps at which the trials of a lineage ended, and a metric there; trials without it are left out."""
    points = [
        (float(trial.end_step), trial.metrics[name])
        for trial in lineage
        if trial.end_step is not None and name in trial.metrics
    ]
    return tuple(step for step, _ in points), tuple(value for _, value in points)


def hyperparameter_steps(lineage: Iterable[Trial], path: str) -> Points:
    """Return a numeric hyperparameter along a lineage as a staircase: two points for each trial.

    Example:
        >>> hyperparameter_steps([], "lr")
        ((), ())
    """
    xs: list[float] = []
    ys: list[float] = []
    for trial in lineage:
        value = trial.hyperparameters.get(path)
        if trial.end_step is None or isinstance(value, (str, bool)) or value is None:
            continue
        xs += [trial.start_step, trial.end_step]
        ys += [float(value), float(value)]
    return tuple(xs), tuple(ys)


def member_scores(trials: Sequence[Trial], metric: Metric) -> dict[int, Points]:
    """Return, by member, the steps at which its trials ended and the scores there; only finite ones."""
    scores = score_of(trials, metric)
    found: dict[int, list[tuple[float, float]]] = {}
    for trial in sorted(trials, key=lambda trial: trial.number):
        score = scores.get(trial.number, math.nan)
        if trial.end_step is not None and math.isfinite(score):
            found.setdefault(trial.member, []).append((trial.end_step, score))
    return {
        member: (tuple(step for step, _ in points), tuple(score for _, score in points))
        for member, points in sorted(found.items())
    }


def best_so_far(trials: Sequence[Trial], metric: Metric) -> Points:
    """Return, at each step at which a trial ended, the best finite score of a trial that had trained no longer."""
    better = max if metric.mode == "max" else min
    scores = score_of(trials, metric)
    best: dict[int, float] = {}
    for trial in trials:
        score = scores.get(trial.number, math.nan)
        if trial.end_step is not None and math.isfinite(score):
            best[trial.end_step] = better(score, best.get(trial.end_step, score))
    steps = sorted(best)
    reached: list[float] = []
    for step in steps:
        reached.append(better(best[step], reached[-1]) if reached else best[step])
    return tuple(float(step) for step in steps), tuple(reached)


def steps_to_reach(trials: Sequence[Trial], metric: Metric, target: float) -> int | None:
    """Return the fewest steps after which a trial's score is the target or better; None if none is."""
    steps, scores = best_so_far(trials, metric)
    for step, score in zip(steps, scores, strict=True):
        if score >= target if metric.mode == "max" else score <= target:
            return int(step)
    return None

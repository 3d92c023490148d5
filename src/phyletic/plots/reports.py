"""What trials reported while they trained, as points: from the value at the start to the value at the end."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from phyletic.errors import InvalidArgument
from phyletic.evolution.arguments import check_mapping, check_sequence
from phyletic.plots.axes import Scale
from phyletic.records import Evaluation, Trial

Reports: TypeAlias = Mapping[int, Sequence[Evaluation]]
"""What trials reported, by trial number, as :meth:`phyletic.Study.reports` returns it."""
Point: TypeAlias = tuple[float, float]

NO_REPORTS: Reports = {}
"""Nothing but the values at the trials' ends, which the trials hold."""
COLUMNS = 1200
"""A line is thinned to what can be seen in so many columns of pixels."""


def check_reports(reports: object) -> Reports:
    """Return reports; none for None."""
    allowed = "what trials reported, by number, such as study.reports(), or None"
    if reports is None:
        return NO_REPORTS
    made: dict[int, Sequence[Evaluation]] = {}
    for number, said in check_mapping("reports", reports, allowed).items():
        if isinstance(number, bool) or not isinstance(number, int):
            raise InvalidArgument("reports", number, f"{allowed}: its keys are numbers of trials")
        made[number] = check_sequence("reports", said, allowed)
        if not all(isinstance(one, Evaluation) for one in made[number]):
            raise InvalidArgument("reports", said, f"{allowed}: its values are lists of Evaluation")
    return made


def reported(trial: Trial, reports: Reports, name: str) -> list[Point]:
    """Return (step, value) of all finite values that a trial reported from its start to its end, by step.

    Args:
        trial: A trial that has ended.
        reports: What trials reported.
        name: The metric.

    Example:
        >>> from phyletic.testing.generations import completed_trial
        >>> said = [Evaluation(1, "loss", 0.5), Evaluation(1, "accuracy", 0.9)]
        >>> reported(completed_trial(0, 0.9, {}), {0: said}, "loss")
        [(1.0, 0.5)]
    """
    last = trial.start_step if trial.end_step is None else trial.end_step
    said = [
        (float(one.step), one.value)
        for one in reports.get(trial.number, ())
        if one.metric == name and math.isfinite(one.value) and trial.start_step <= one.step <= last
    ]
    return sorted(said, key=lambda point: point[0])


def thinned(points: Sequence[Point], width: float) -> list[Point]:
    """Return the points of a line that can be seen: in each column of pixels the first, lowest, highest and last.

    Args:
        points: The points, by abscissa.
        width: Width of a column of pixels, in units of the abscissa; 0 keeps all points.

    Example:
        >>> thinned([(0, 1.0), (1, 5.0), (2, 2.0), (3, 3.0), (10, 1.0)], 5.0)
        [(0, 1.0), (1, 5.0), (3, 3.0), (10, 1.0)]
    """
    if width <= 0 or len(points) <= 4:
        return list(points)
    columns: dict[int, list[int]] = {}
    for place, (x, _) in enumerate(points):
        columns.setdefault(int(x // width), []).append(place)
    kept: set[int] = set()
    for places in columns.values():
        lowest, highest = (choose(places, key=lambda place: points[place][1]) for choose in (min, max))
        kept |= {places[0], lowest, highest, places[-1]}
    return [points[place] for place in sorted(kept)]


def paths(trials: Sequence[Trial], reports: Reports, scales: tuple[Scale, Scale]) -> dict[int, list[tuple[int, Point]]]:
    """Return, by trial, the steps and places at which a trial reported what two axes show; hyperparameters stay.

    Points that no one could tell apart, less than a thousandth of the picture away from each other, are left out.

    Args:
        trials: Trials that have ended.
        reports: What trials reported.
        scales: The axis across and the one upwards.
    """
    found: dict[int, list[tuple[int, Point]]] = {}
    for trial in trials:
        said = [dict(reported(trial, reports, scale.name)) if scale.reported else None for scale in scales]
        known = [set(values) for values in said if values is not None]
        steps = sorted(set.intersection(*known)) if known else []
        fixed = [scale.place(trial) for scale in scales]
        path = []
        for step in steps:
            place = [values[step] if values is not None else own for values, own in zip(said, fixed, strict=True)]
            if place[0] is not None and place[1] is not None:
                path.append((int(step), (place[0], place[1])))
        found[trial.number] = path
    return _told_apart(found)


def _told_apart(found: Mapping[int, list[tuple[int, Point]]]) -> dict[int, list[tuple[int, Point]]]:
    """Leave out points that lie close to the one before, but for each path's first."""
    everywhere = [place for path in found.values() for _, place in path]
    extents = [(max(axis) - min(axis)) / 1000 for axis in zip(*everywhere, strict=True)]
    kept: dict[int, list[tuple[int, Point]]] = {}
    for number, path in found.items():
        own = kept[number] = path[:1]
        for step, place in path[1:]:
            if any(abs(a - b) > least for a, b, least in zip(place, own[-1][1], extents, strict=True)):
                own.append((step, place))
    return kept

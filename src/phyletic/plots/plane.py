"""The paths of members in a plane of two reported numbers: moves and jumps, as data."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from phyletic.records import Trial

Point: TypeAlias = tuple[float, float]


class Move(msgspec.Struct, frozen=True):
    """The path of one trial in the plane.

    Attributes:
        trial: The trial's number.
        member: Its member.
        step: The step at its end.
        begins: Where it began: its parent's end, or the origin of a newborn; None if unknown.
        ends: Where it ended.
        left: The place that its member left, if the trial began elsewhere: the weights jumped from here to
            ``begins``. None without a jump.
    """

    trial: int
    member: int
    step: int
    begins: Point | None
    ends: Point
    left: Point | None


class Surface(msgspec.Struct, frozen=True):
    """Heights over a rectangle of the plane.

    Attributes:
        xs: Abscissas, shape (columns,).
        ys: Ordinates, shape (rows,).
        heights: Shape (rows, columns).
        levels: Heights of the contours, rising.
        marks: Places to mark, such as the optimum.
    """

    xs: npt.NDArray[np.float64]
    ys: npt.NDArray[np.float64]
    heights: npt.NDArray[np.float64]
    levels: tuple[float, ...]
    marks: tuple[Point, ...] = ()


def surface(
    height: Callable[[npt.NDArray[np.float64]], Any],
    x: Point,
    y: Point,
    *,
    levels: Sequence[float],
    marks: Sequence[Point] = (),
    points: int = 161,
) -> Surface:
    """Evaluate a function on a grid.

    Args:
        height: From places, shape (rows, columns, 2), to heights, shape (rows, columns).
        x: Least and largest abscissa.
        y: Least and largest ordinate.
        levels: Heights of the contours, rising.
        marks: Places to mark.
        points: Along each axis.

    Example:
        >>> surface(lambda places: places[..., 0] * places[..., 1], (0, 2), (0, 1), levels=[1], points=2).heights
        array([[0., 0.],
               [0., 2.]])
    """
    xs, ys = np.linspace(*x, points), np.linspace(*y, points)
    heights = np.asarray(height(np.stack(np.meshgrid(xs, ys), axis=-1)), dtype=float)
    return Surface(xs, ys, heights, tuple(levels), tuple(marks))


def _place(trial: Trial, coordinates: tuple[str, str]) -> Point | None:
    x, y = (trial.metrics.get(name, math.nan) for name in coordinates)
    return (x, y) if math.isfinite(x) and math.isfinite(y) else None


def moves(trials: Sequence[Trial], coordinates: tuple[str, str], *, origin: Point | None = None) -> tuple[Move, ...]:
    """Return the paths of the trials by number; leave out trials that ended at no finite place.

    Args:
        trials: The trials of one study.
        coordinates: Names of the two metrics that give the place where a trial ended.
        origin: Where newborns begin; None if unknown.
    """
    ended = {trial.number: _place(trial, coordinates) for trial in trials}
    latest: dict[int, int] = {}
    made = []
    for trial in sorted(trials, key=lambda trial: trial.number):
        ends, before = ended[trial.number], latest.get(trial.member)
        if trial.end_step is None:
            continue
        latest[trial.member] = trial.number
        begins = origin if trial.parent is None else ended.get(trial.parent)
        jumped = before is not None and trial.parent != before
        left = ended[before] if jumped and before is not None else None
        if ends is not None:
            made.append(Move(trial.number, trial.member, trial.end_step, begins, ends, left))
    return tuple(made)


def lineage_points(
    lineage: Sequence[Trial], coordinates: tuple[str, str], *, origin: Point | None = None
) -> tuple[Point, ...]:
    """Return where the trials of a lineage ended, from its origin on.

    Args:
        lineage: The trials, the newborn first; those that ended at no finite place are left out.
        coordinates: Names of the two metrics that give the place where a trial ended.
        origin: Where the newborn began; None if unknown.
    """
    places = [place for trial in lineage if (place := _place(trial, coordinates)) is not None]
    return tuple(places if origin is None else [origin, *places])

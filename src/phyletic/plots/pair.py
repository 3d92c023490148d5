"""Two hyperparameters or reported metrics against each other: how to draw trials in a plane of two axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from phyletic.plots.axes import Scale
from phyletic.plots.drawing import draw_jumps, legend, set_scale, tidy
from phyletic.plots.families import differing_paths
from phyletic.plots.interval_labels import MOST, Label, Wish, placed_labels, trial_text
from phyletic.plots.spots import Spot
from phyletic.plots.tints import GREY, Tints
from phyletic.records import Trial

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LARGE, _SMALL = 90.0, 8.0
"""Areas of the first and the last points, in square points."""
_BETWEEN = 0.25
"""Area of a report's point, in that of a trial's end at the same step."""
_APART = 5.0
"""Pixels by which labelled places lie apart."""
_DOTS = 4000
"""Of more reports the lines are drawn without points."""


def pair_legend(made: Sequence[Spot], tints: Tints) -> list[Any]:
    """Return the legend's entries.

    Args:
        made: The trials to draw.
        tints: The colours of the lines.
    """
    from matplotlib.lines import Line2D

    best = Line2D([], [], color="black", linewidth=1.6, label="best lineage")
    marked = [best] if any(spot.best for spot in made) else []
    marked.append(Line2D([], [], color=GREY, marker="o", linestyle="", label="points shrink with the steps"))
    rest = legend(tints, exploits=sum(spot.jump is not None for spot in made))
    return [*marked, *(entry for entry in rest if entry.get_label() != "best lineage")]


def draw_pair(axes: Axes, made: Sequence[Spot], x: Scale, y: Scale, tints: Tints, *, last: int) -> None:
    """Draw trials in the plane of two axes.

    Args:
        axes: The axes to draw on.
        made: The trials, by number.
        x: The axis across.
        y: The axis upwards.
        tints: The colours of the lines.
        last: Step at which points are smallest.
    """
    from matplotlib.collections import LineCollection

    tidy(axes)
    set_scale(axes, x, "x")
    set_scale(axes, y, "y")
    crowd = min(1.0, 150 / max(1, len(made)))
    dotted = sum(len(spot.path) for spot in made) <= _DOTS
    for best, width, faint_line, faint_dot in (
        (False, 0.9, 0.25 + 0.5 * crowd, 0.25 + 0.6 * crowd),
        (True, 1.6, 1.0, 1.0),
    ):
        chosen = [spot for spot in made if spot.best == best]
        moved = [spot for spot in chosen if len(spot.path) > 1]
        layer = 4.0 if best else 2.0
        shades = "black" if best else [tints.colour(spot) for spot in moved]
        paths = [list(spot.path) for spot in moved]
        axes.add_collection(LineCollection(paths, colors=shades, linewidths=width, zorder=layer, alpha=faint_line))
        if dotted:
            _draw_between(axes, chosen, tints, last, alpha=faint_dot, zorder=layer + 0.5)
        axes.scatter(
            [spot.place[0] for spot in chosen],
            [spot.place[1] for spot in chosen],
            s=[_area(spot.step, last) for spot in chosen],
            c=[tints.colour(spot) for spot in chosen],
            alpha=faint_dot,
            edgecolors="black" if best else "white",
            linewidths=1.0 if best else 0.4,
            zorder=layer + 1,
        )
    draw_jumps(axes, [spot.jump for spot in made if spot.jump is not None], tints)


def _draw_between(axes: Axes, made: Sequence[Spot], tints: Tints, last: int, *, alpha: float, zorder: float) -> None:
    """Draw the reports before the trials' ends as small points.

    Args:
        axes: The axes to draw on.
        made: The trials.
        tints: The colours of the lines.
        last: Step at which points are smallest.
        alpha: How opaque they are.
        zorder: The layer.
    """
    between = [
        (place, step, tints.colour(spot))
        for spot in made
        for place, step in zip(spot.path[:-1], spot.steps[:-1], strict=True)
        if spot.founder == spot.trial or step > spot.steps[0]
    ]
    if between:
        places, steps, shades = zip(*between, strict=True)
        xs, ys = zip(*places, strict=True)
        areas = [_BETWEEN * _area(step, last) for step in steps]
        axes.scatter(xs, ys, s=areas, c=shades, alpha=alpha, linewidths=0, zorder=zorder)


def _apart(axes: Axes, made: Sequence[Spot]) -> list[Spot]:
    """Return trials without those that lie on an earlier one: one label says enough of a place."""
    if not made:
        return []
    places = axes.transData.transform([spot.place for spot in made])
    kept: list[int] = []
    for at, place in enumerate(places):
        if all(abs(place - places[other]).max() > _APART for other in kept):
            kept.append(at)
    return [made[at] for at in kept]


def _radius(step: float, last: int) -> float:
    """Return the radius of a trial's point, in points: matplotlib's area is that of the square around it."""
    return float(0.5 * _area(step, last) ** 0.5)


def _area(step: float, last: int) -> float:
    return _LARGE + (_SMALL - _LARGE) * min(1.0, step / max(1, last))


def pair_labels(axes: Axes, trials: Sequence[Trial], made: Sequence[Spot], x: Scale, y: Scale) -> list[Label]:
    """Return the labels of trials that fit: number, member, hyperparameters and step at the end, or the step alone.

    Args:
        axes: The axes, on which the trials are drawn.
        trials: The trials of one study.
        made: Those that are drawn.
        x: The axis across.
        y: The axis upwards.
    """
    known, last = {trial.number: trial for trial in trials}, max((spot.step for spot in made), default=1)
    paths = [path for path in differing_paths(trials) if path not in (x.name, y.name)]
    chain = [spot for spot in made if spot.best]
    every = max(1, len(chain) // MOST)
    # the end and the start are the most important
    order = [*chain[-1:], *chain[:-1:every]]
    if len(made) <= MOST:
        order += [spot for spot in made if not spot.best]
    wishes = [
        Wish(
            spot.trial,
            spot.step,
            spot.place,
            trial_text(known[spot.trial], paths, f"to step {spot.step}"),
            str(spot.step),
            spot.best,
            _radius(spot.step, last),
        )
        for spot in _apart(axes, order)[:MOST]
    ]
    born = chain[0] if chain else None
    if born is not None and born.founder == born.trial and born.steps[0] < born.step:
        start = str(born.steps[0])
        wishes[1:1] = [Wish(born.trial, born.steps[0], born.path[0], f"step {start}", start, True)]
    kept = made if len(made) <= MOST else chain  # labels may cover the faint lines of a crowd
    obstacles = [list(spot.path) for spot in kept]
    obstacles += [[spot.jump.left or spot.jump.start, spot.jump.start] for spot in kept if spot.jump is not None]
    return placed_labels(axes, wishes, obstacles)

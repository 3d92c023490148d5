"""Labels of intervals: each trial is named where it is drawn, as far as the labels fit beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import numpy.typing as npt

from phyletic.plots.drawing import INK
from phyletic.plots.reports import Point
from phyletic.records import Trial, Value

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Annotation

MOST = 120
"""Of more intervals none is labelled."""
_LINES = 5
"""Most hyperparameters in a label."""
_SIZE = 6.5
"""Size of the text, in points."""
_WIDE, _HIGH = 0.64, 1.25
"""Width of a character and height of a line, in sizes of the text."""
_CLOSE, _FAR = (2.5, 5.0), (10.0, 18.0, 28.0, 40.0, 54.0, 70.0)
"""Distances of labels from what they name, in points; a thin line leads to the far ones."""


class Wish(msgspec.Struct, frozen=True):
    """A label that may be drawn.

    Attributes:
        trial: The trial's number.
        step: The step at which it is shown in an animation.
        at: What it names, in units of the axes.
        full: The text to draw if all texts fit.
        short: The text to draw otherwise, if it fits.
        best: Whether it is among the first to be placed.
        radius: Radius of the point that it names, in points.
    """

    trial: int
    step: int
    at: Point
    full: str
    short: str
    best: bool
    radius: float = 0.0


class Label(msgspec.Struct, frozen=True):
    """A label that has a place.

    Attributes:
        trial: The trial's number.
        step: The step at which it is shown in an animation.
        text: What it says.
        at: What it names, in units of the axes.
        offset: From there to the middle of the text, in points.
        short: Whether it is the short text.
        far: Whether a thin line leads to it.
    """

    trial: int
    step: int
    text: str
    at: Point
    offset: Point
    short: bool
    far: bool


def trial_text(trial: Trial, paths: Sequence[str], more: str = "") -> str:
    """Return what a label says of a trial: its number, its member and the values of some hyperparameters.

    Args:
        trial: The trial.
        paths: Flat paths of hyperparameters, of which the first five are shown.
        more: What else it says; "" for nothing.

    Example:
        >>> from phyletic.testing.generations import completed_trial
        >>> print(trial_text(completed_trial(3, 0.9, {"lr": 0.012345, "act": "relu"}), ["lr", "act"]))
        trial 3, member 3
        lr 0.0123
        act relu
    """
    known = [(path, trial.hyperparameters[path]) for path in paths if path in trial.hyperparameters]
    said = [f"{_cut(path.rpartition('.')[2])} {_cut(_number(value))}" for path, value in known[:_LINES]]
    return "\n".join([f"trial {trial.number}, member {trial.member}", *([more] if more else []), *said])


def _number(value: Value) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _cut(text: str) -> str:
    return text if len(text) <= 14 else text[:13] + "…"


def arranged(
    wishes: Sequence[Wish], anchors: npt.NDArray[np.float64], obstacles: npt.NDArray[np.float64], area: Point
) -> list[Label]:
    """Return labels that overlap neither each other nor what is drawn.

    All get their full text if there is room for all of them; else as many as fit get their short text.

    Args:
        wishes: What may be drawn.
        anchors: Where, in points from the lower left corner of the axes, shape (wishes, 2).
        obstacles: Points that stay visible, shape (n, 2), likewise.
        area: Width and height of the axes, in points.

    Example:
        >>> wish = Wish(0, 4, (0.5, 0.5), "trial 0", "0", True)
        >>> [label.text for label in arranged([wish], np.array([[50.0, 50.0]]), np.zeros((0, 2)), (100.0, 100.0))]
        ['trial 0']
    """
    full = _fitted(wishes, anchors, obstacles, area, short=False)
    return full if len(full) == len(wishes) else _fitted(wishes, anchors, obstacles, area, short=True)


def _fitted(
    wishes: Sequence[Wish],
    anchors: npt.NDArray[np.float64],
    obstacles: npt.NDArray[np.float64],
    area: Point,
    *,
    short: bool,
) -> list[Label]:
    """Return the labels that fit, the best lineage's first.

    Args:
        wishes: What may be drawn.
        anchors: As for :func:`arranged`.
        obstacles: As for :func:`arranged`.
        area: As for :func:`arranged`.
        short: Whether texts are short; those stay close.
    """
    taken: list[npt.NDArray[np.float64]] = []
    seen = obstacles
    made: dict[int, Label] = {}
    for place in sorted(range(len(wishes)), key=lambda place: not wishes[place].best):
        wish, anchor = wishes[place], anchors[place]
        text = wish.short if short else wish.full
        half = _half_size(text)
        for gap, move in _offsets(half, wish.radius, _CLOSE if short else _CLOSE + _FAR):
            middle = np.clip(anchor + move, half, np.asarray(area) - half)
            box = np.stack([middle - half, middle + half])
            if (half > np.asarray(area) / 2).any() or any(_overlap(box, other) for other in taken):
                continue
            if _inside(seen, box).any():
                continue
            lead = _lead(anchor, middle, half, wish.radius) if gap in _FAR else np.zeros((0, 2))
            if len(lead) and (_near(lead, obstacles) or any(_inside(lead, other).any() for other in taken)):
                continue
            taken.append(box)
            seen = np.concatenate([seen, lead])
            offset = float(middle[0] - anchor[0]), float(middle[1] - anchor[1])
            made[place] = Label(wish.trial, wish.step, text, wish.at, offset, short, gap in _FAR)
            break
    return [made[place] for place in sorted(made)]


def _half_size(text: str) -> npt.NDArray[np.float64]:
    """Return half the width and half the height of a text, in points."""
    rows = text.split("\n")
    return np.array([0.5 * _WIDE * _SIZE * max(map(len, rows)) + 2.5, 0.5 * _HIGH * _SIZE * len(rows) + 0.5])


def _overlap(box: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> bool:
    return bool(((box[0] < other[1]) & (other[0] < box[1])).all())


def _inside(points: npt.NDArray[np.float64], box: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    return np.asarray(((points > box[0]) & (points < box[1])).all(axis=1))


def _near(lead: npt.NDArray[np.float64], obstacles: npt.NDArray[np.float64]) -> bool:
    """Return whether a line touches what is drawn."""
    return bool(len(obstacles)) and any(np.hypot(*(obstacles - point).T).min() < 2.0 for point in lead)


def _lead(
    anchor: npt.NDArray[np.float64], middle: npt.NDArray[np.float64], half: npt.NDArray[np.float64], radius: float
) -> npt.NDArray[np.float64]:
    """Return points on the line that leads from what a label names to the label's edge.

    Args:
        anchor: What it names.
        middle: The middle of the label.
        half: Half its width and half its height.
        radius: Radius of the point that it names.
    """
    way = middle - anchor
    inside = np.abs(way) / half
    length = float(np.hypot(*way)) * (1.0 - 1.0 / max(1.0, float(inside.max())))
    at = np.arange(radius + 5.0, length, 1.5)
    return anchor + np.outer(at, way / max(1e-9, float(np.hypot(*way))))


def _offsets(
    half: npt.NDArray[np.float64], radius: float, gaps: Sequence[float]
) -> list[tuple[float, npt.NDArray[np.float64]]]:
    """Return how far the middle of a label may move, and at which distance that is, the nearest first.

    Args:
        half: Half the label's width and half its height.
        radius: Radius of the point that it names.
        gaps: Distances from there to the label's edge.
    """
    found = []
    for gap in gaps:
        reach = half + radius + gap
        ways = [(0.0, 1.0), (0.0, -1.0), (1.0, 0.0), (-1.0, 0.0), (-1.0, 1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, -1.0)]
        ways += [(-0.5, 1.0), (0.5, -1.0), (0.5, 1.0), (-0.5, -1.0), (1.0, 0.5), (1.0, -0.5), (-1.0, 0.5), (-1.0, -0.5)]
        found += [(gap, reach * np.asarray(way)) for way in ways]
    return found


def placed_labels(axes: Axes, wishes: Sequence[Wish], lines: Sequence[Sequence[Point]]) -> list[Label]:
    """Return where labels fit on axes whose limits are set.

    Args:
        axes: The axes.
        wishes: What may be drawn.
        lines: What stays visible: lines, and points as lines of one point, in units of the axes.
    """
    if not wishes or len(wishes) > MOST:
        return []
    figure = axes.figure.figure
    figure.draw_without_rendering()  # so that the layout has given the axes their size
    box = axes.get_window_extent()
    points = 72 / figure.dpi

    def seen(places: Sequence[Point]) -> npt.NDArray[np.float64]:
        return np.asarray((axes.transData.transform(np.asarray(places, dtype=float)) - box.p0) * points)

    anchors = seen([wish.at for wish in wishes])
    parts = [_along(seen(line)) for line in lines if len(line)]
    turns = np.linspace(0, 2 * np.pi, 8, endpoint=False)
    ring = np.column_stack([np.cos(turns), np.sin(turns)])
    parts += [_covered(_legend_box(axes, box.p0) * points)] if axes.get_legend() is not None else []
    parts += [anchor + wish.radius * ring for anchor, wish in zip(anchors, wishes, strict=True) if wish.radius]
    obstacles = np.concatenate(parts) if parts else np.zeros((0, 2))
    area = (float(box.width * points), float(box.height * points))
    return arranged(wishes, anchors, obstacles, area)


def _legend_box(axes: Axes, corner: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the lower left and the upper right corner of a legend inside the axes, in pixels from a corner."""
    legend: Any = axes.get_legend()
    return np.asarray(legend.get_window_extent().get_points() - corner)


def _covered(box: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return points all over a rectangle, closer to each other than a label is high."""
    xs, ys = (np.arange(low, high + 4.0, 4.0) for low, high in box.T)
    return np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2)


def _along(line: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return points on a line, about three points of text apart."""
    if len(line) < 2:
        return line
    lengths = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(line, axis=0).T))])
    at = np.linspace(0.0, lengths[-1], min(2000, 2 + int(lengths[-1] / 3)))
    return np.column_stack([np.interp(at, lengths, line[:, 0]), np.interp(at, lengths, line[:, 1])])


def draw_labels(axes: Axes, labels: Sequence[Label]) -> list[Annotation]:
    """Draw labels, and return them as drawn."""
    from matplotlib.patheffects import withStroke

    halo = [withStroke(linewidth=1.8, foreground="white")]
    look: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": _SIZE, "color": INK, "linespacing": 1.05}
    look["parse_math"] = False  # a value may have dollar signs
    lead = {"arrowstyle": "-", "color": "#909090", "linewidth": 0.5, "shrinkA": 0.5, "shrinkB": 1.5}
    return [
        axes.annotate(
            label.text,
            label.at,
            xytext=label.offset,
            textcoords="offset points",
            arrowprops=lead if label.far else None,
            path_effects=halo,
            zorder=7,
            **look,
        )
        for label in labels
    ]

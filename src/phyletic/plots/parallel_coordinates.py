"""All hyperparameters of all trials side by side, and the score that they led to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from phyletic.errors import InvalidArgument
from phyletic.plots.axes import Scale, logarithmic, readable_range, scale_of
from phyletic.plots.checks import check_hyperparameters, check_metric, check_space, check_trials
from phyletic.plots.drawing import INK, axes_for
from phyletic.plots.families import ordered_trials, score_of, varied_paths
from phyletic.records import Metric, Trial

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from phyletic.space import Space

_GAP = -0.14
"""Height at which a trial passes an axis without a value, as for a branch that was not chosen."""


def parallel_coordinates(
    trials: Sequence[Trial],
    space: Space,
    metric: Metric,
    *,
    hyperparameters: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Draw a line for each trial through an axis for each hyperparameter and one for the score.

    Axes have the scale of their domain, and reach over the values that were tried. Lines have the colour of their
    score, the better in front of the worse; trials without a finite score are left out.

    Args:
        trials: The trials of one study, such as ``study.trials()``, or part of them.
        space: The study's space.
        metric: The score, and which way is better.
        hyperparameters: Flat paths of the hyperparameters to draw, in this order; None for all with more than
            one value.
        ax: Existing matplotlib axes to draw into; None for a new figure.

    Returns:
        The figure, with ``savefig``; it needs no window system.

    Raises:
        InvalidArgument: No trial has a finite score, or a path is not one of the space's.
        MissingDependency: matplotlib is not installed.

    Example:
        >>> import phyletic as ph
        >>> from phyletic.testing.generations import completed_trial
        >>> trials = [completed_trial(number, 0.5 + number, {"lr": 0.1}) for number in range(2)]
        >>> figure = parallel_coordinates(trials, ph.Space({"lr": ph.Float(0.0, 1.0)}), Metric("loss", "min"))
        >>> figure.axes[0].get_title(loc="left")
        'loss of 2 trials (lower is better)'
    """
    trials, space, metric = check_trials(trials), check_space(space), check_metric(metric)
    chosen = check_hyperparameters(hyperparameters, space)
    scores = score_of(trials, metric)
    shown = [trial for trial in ordered_trials(trials) if math.isfinite(scores.get(trial.number, math.nan))]
    if not shown:
        raise InvalidArgument("trials", len(trials), f"trials of which at least one has a finite {metric.name}")
    scales = [scale_of(path, shown, space) for path in chosen or varied_paths(shown, space)]
    figure, axes = axes_for(ax, min(16.0, 3.0 + 1.7 * (len(scales) + 1)), 4.8)
    heights = [_heights(scale, shown) for scale in scales]
    _draw(axes, scales, heights, [scores[trial.number] for trial in shown], metric)
    better = "higher" if metric.mode == "max" else "lower"
    axes.set_title(f"{metric.name} of {len(shown)} trials ({better} is better)", loc="left", fontsize=11)
    return figure


class _Ruler:
    """Maps an axis's values to heights from 0 to 1.

    Args:
        low: Value at 0.
        high: Value at 1.
        log: Whether it is logarithmic.
    """

    def __init__(self, low: float, high: float, log: bool) -> None:
        self.log = log
        self.low, self.high = (math.log10(low), math.log10(high)) if log else (low, high)

    def height(self, value: float) -> float:
        """Return a value's height."""
        value = math.log10(value) if self.log else value
        return 0.5 if self.high == self.low else (value - self.low) / (self.high - self.low)

    def ticks(self) -> list[tuple[float, str]]:
        """Return heights and their labels: the ends, and some between."""
        between = [self.low + part * (self.high - self.low) for part in (0.0, 0.25, 0.5, 0.75, 1.0)]
        if self.high == self.low:
            between = [self.low]
        return [(self.height(10**at if self.log else at), f"{10**at if self.log else at:.3g}") for at in between]


def _heights(scale: Scale, shown: Sequence[Trial]) -> tuple[list[float | None], list[tuple[float, str]]]:
    """Return each trial's height on an axis, and the axis's ticks."""
    places = [scale.place(trial) for trial in shown]
    there = [place for place in places if place is not None]
    if scale.levels:
        ruler = _Ruler(0, max(1, len(scale.levels) - 1), False)
        ticks = [(ruler.height(place), str(level)[:16]) for place, level in enumerate(scale.levels)]
    elif there:
        ruler = _Ruler(min(there), max(there), scale.log and min(there) > 0)
        ticks = ruler.ticks()
        if scale.integer and ruler.high - ruler.low <= 5 and not ruler.log:
            ticks = [(ruler.height(at), str(at)) for at in range(int(ruler.low), int(ruler.high) + 1)]
    else:
        ruler, ticks = _Ruler(0, 1, False), []
    return [None if place is None else ruler.height(place) for place in places], ticks


def _draw(
    axes: Axes,
    scales: Sequence[Scale],
    heights: Sequence[tuple[list[float | None], list[tuple[float, str]]]],
    scores: Sequence[float],
    metric: Metric,
) -> None:
    """Draw the lines of the trials and the axes.

    Args:
        axes: The axes to draw on.
        scales: The hyperparameters' axes.
        heights: For each of them, the trials' heights and the ticks.
        scores: The trials' scores.
        metric: What the scores are of.
    """
    from matplotlib import colormaps
    from matplotlib.collections import LineCollection

    low, high = min(scores), max(scores)
    if not logarithmic(scores, metric):
        low, high = readable_range(scores, metric.mode) or (low, high)
    inside = [min(high, max(low, score)) for score in scores]
    ruler = _Ruler(min(inside), max(inside), logarithmic(inside, metric))
    ends = [ruler.height(score) for score in inside]
    merit = [end if metric.mode == "max" else 1 - end for end in ends]
    crowd = min(1.0, 60 / len(scores))
    lines, shades, widths = [], [], []
    for place in sorted(range(len(scores)), key=lambda place: merit[place]):
        points = []
        for at, (scale, (column, _)) in enumerate(zip(scales, heights, strict=True)):
            level, aside = column[place], 0.06 * (merit[place] - 0.5) if scale.counted else 0.0
            points.append((at, _GAP if level is None else level + aside))
        lines.append([*points, (len(scales), ends[place])])
        front = merit[place] ** 3
        shades.append((*colormaps["viridis"](0.95 * merit[place])[:3], 0.2 + (0.3 + 0.4 * crowd) * front + 0.1 * crowd))
        widths.append(0.6 + 1.2 * front)
    axes.add_collection(LineCollection(lines, colors=shades, linewidths=widths, zorder=2))
    names, ticks = [*(scale.name for scale in scales), metric.name], [*(own for _, own in heights), ruler.ticks()]
    for at, (name, own) in enumerate(zip(names, ticks, strict=True)):
        _draw_rule(axes, at, name, own)
    gaps = any(level is None for column, _ in heights for level in column)
    if gaps:
        axes.text(-0.05, _GAP, "not chosen", ha="right", va="center", fontsize=7, color=INK)
    axes.set_xlim(-0.35 - 0.15 * gaps, len(scales) + 0.45)
    axes.set_ylim((_GAP if gaps else 0) - 0.06, 1.12)
    axes.axis("off")


def _draw_rule(axes: Axes, at: int, name: str, ticks: Sequence[tuple[float, str]]) -> None:
    """Draw one vertical axis with its ticks and its name.

    Args:
        axes: The axes to draw on.
        at: Its place across.
        name: Its name.
        ticks: Heights from 0 to 1, each with its text.
    """
    axes.plot([at, at], [0, 1], color="#606060", linewidth=1.0, zorder=3)
    box = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.6}
    style: dict[str, Any] = {"textcoords": "offset points", "fontsize": 7, "va": "center", "color": INK, "zorder": 4}
    for height, text in ticks:
        axes.annotate(text, (at, height), xytext=(4, 0), bbox=box, **style)
    axes.text(at, 1.05, name if len(name) <= 22 else "…" + name[-21:], ha="center", va="bottom", fontsize=9)

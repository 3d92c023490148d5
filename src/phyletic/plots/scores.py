"""Scores against steps, by lineage or by member."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from phyletic.evolution.arguments import check_flag
from phyletic.plots.checks import check_metric, check_trials
from phyletic.plots.curves import ScoreSeries, score_series
from phyletic.plots.data import Stroke
from phyletic.plots.drawing import (
    HALO,
    add_legend,
    axes_for,
    draw_jumps,
    draw_marks,
    legend,
    number_entry,
    set_limits,
    tidy,
)
from phyletic.plots.families import differing_paths
from phyletic.plots.interval_labels import MOST, Wish, draw_labels, placed_labels, trial_text
from phyletic.plots.reports import Point, Reports, check_reports
from phyletic.plots.tints import Colours, Labels, Tints, tints
from phyletic.records import Metric, Trial

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def scores(
    trials: Sequence[Trial],
    metric: Metric,
    *,
    reports: Reports | None = None,
    colour: Literal["founder", "member"] = "founder",
    labels: Labels | None = None,
    colours: Colours | None = None,
    intervals: bool = True,
    ax: Axes | None = None,
) -> Figure:
    """Draw the score of every trial against its step, along the lineages.

    A trial's line begins at its parent's end, or with what a newborn reported at its start, and goes through all its
    reports to its end. So an exploit is a line that forks off the donor's; a dotted line leads there from where the
    member was. The best lineage is thick. Trials whose score is not finite, and those that failed, are marked at the
    bad end of the axis.

    Args:
        trials: The trials of one study, such as ``study.trials()``; those still open are left out.
        metric: What to draw, and which way is better: one of ``study.metrics``.
        reports: What the trials reported, such as ``study.reports()``; None for the scores at their ends alone.
        colour: ``"founder"``: by the newborn that a lineage began with. ``"member"``: by member (6 at most, unless
            ``colours`` is given).
        labels: Names for the legend, of newborns (by their trial's number) or members: a list for 0, 1, 2 and so on, or
            a dictionary by number.
        colours: Their matplotlib colours, likewise.
        intervals: Whether to label each trial: with its number, its member and its hyperparameters if there is room,
            else with its number as far as that fits; of more than 120 trials none is labelled.
        ax: Existing matplotlib axes to draw into; None for a new figure.

    Returns:
        The figure, with ``savefig``; it needs no window system.

    Raises:
        InvalidArgument: ``trials`` is empty, or an argument cannot be used.
        MissingDependency: matplotlib is not installed.

    Example:
        >>> from phyletic.testing.generations import completed_trial
        >>> trials = [completed_trial(number, 0.5 + number, {"lr": 0.1}) for number in range(2)]
        >>> scores(trials, Metric("accuracy", "max"), labels=["small", "large"]).axes[0].get_xlabel()
        'step'
    """
    trials, metric, said = check_trials(trials), check_metric(metric), check_reports(reports)
    check_flag("intervals", intervals)
    series = score_series(trials, metric, said)
    made = tints(trials, series.best, colour=colour, labels=labels, colours=colours)
    figure, axes = axes_for(ax, 8.0, 4.5)
    entries = draw_scores(axes, trials, metric, series, made)
    axes.set_xlabel("step")
    add_legend(figure, axes, entries, inside=ax is not None)
    if intervals:
        lines = [list(zip(stroke.steps, stroke.values, strict=True)) for stroke in series.strokes]
        lines += [[jump.left or jump.start, jump.start] for jump in series.jumps]
        placed = placed_labels(axes, score_wishes(trials, series), lines)
        draw_labels(axes, placed)
        if any(label.short for label in placed):
            add_legend(figure, axes, [*entries, number_entry("number of the trial")], inside=ax is not None)
    return figure


def score_wishes(trials: Sequence[Trial], series: ScoreSeries) -> list[Wish]:
    """Return the labels of the trials' lines, each in the middle of its line; none if there are too many.

    Args:
        trials: The trials of one study.
        series: Their scores.
    """
    if len(series.strokes) > MOST:
        return []
    known, paths = {trial.number: trial for trial in trials}, differing_paths(trials)
    wishes = []
    for stroke in series.strokes:
        trial = known[stroke.trial]
        text = trial_text(trial, paths)
        wishes.append(Wish(trial.number, trial.end_step or 0, _middle(stroke), text, str(trial.number), stroke.best))
    return wishes


def _middle(stroke: Stroke) -> Point:
    """Return the place halfway along a line's steps."""
    middle = (stroke.steps[0] + stroke.steps[-1]) / 2
    for place in range(1, len(stroke.steps)):
        (first, last), (low, high) = stroke.steps[place - 1 : place + 1], stroke.values[place - 1 : place + 1]
        if last >= middle:
            return middle, low + (high - low) * ((middle - first) / (last - first) if last > first else 1.0)
    return stroke.steps[-1], stroke.values[-1]


def draw_scores(axes: Axes, trials: Sequence[Trial], metric: Metric, series: ScoreSeries, made: Tints) -> list[Any]:
    """Draw what :func:`scores` draws on given axes, but for labels; return the entries of its legend.

    Args:
        axes: The axes to draw on.
        trials: The trials of one study.
        metric: What to draw, and which way it is better.
        series: Their scores.
        made: The colours of the lines.
    """
    widen = axes.has_data()
    tidy(axes)
    _draw_strokes(axes, series, made)
    _draw_best(axes, series, made)
    draw_jumps(axes, series.jumps, made)
    worst_edge = 0.02 if metric.mode == "max" else 0.98
    draw_marks(axes, series.marks, worst_edge)
    if series.log:
        axes.set_yscale("log")
    beyond = []
    if series.limits is not None:
        low, high = series.limits
        set_limits(axes, "y", series.limits, widen=widen)
        beyond = [s.steps[-1] for s in series.strokes if not low <= s.values[-1] <= high]
        transform = axes.get_xaxis_transform()
        axes.plot(beyond, [worst_edge] * len(beyond), "_", color="black", markersize=9, transform=transform, zorder=6)
    last = max((trial.end_step or trial.start_step for trial in trials), default=0)
    set_limits(axes, "x", (0, max(1, last) * 1.02), widen=widen)
    score = next((stroke.values[-1] for stroke in series.strokes if stroke.trial == series.best), None)
    found = "no finite score yet" if score is None else f"best {score:.5g} in trial {series.best}"
    by = "lineage" if made.by == "founder" else "member"
    axes.set_title(f"{metric.name} by {by}: {found}", loc="left", fontsize=11)
    axes.set_ylabel(f"{metric.name} ({'higher' if metric.mode == 'max' else 'lower'} is better)")
    return legend(made, series.marks, cut=len(beyond), exploits=len(series.jumps), band=made.by == "member")


def _draw_strokes(axes: Axes, series: ScoreSeries, made: Tints) -> None:
    """Draw the lines, the important ones on top, and a dot at the end of each trial.

    Args:
        axes: The axes to draw on.
        series: The scores.
        made: The colours of the lines.
    """
    from matplotlib.collections import LineCollection

    thin = min(1.4, max(0.7, 12 / max(1, len(made.order))))
    own: dict[int, list[Stroke]] = {}
    for stroke in series.strokes:
        own.setdefault(made.key(stroke), []).append(stroke)
    for place, key in enumerate(reversed(made.order)):
        strokes, layer = own.get(key, []), 2 + place / (len(made.order) + 1)
        lines = [list(zip(stroke.steps, stroke.values, strict=True)) for stroke in strokes if len(stroke.steps) > 1]
        axes.add_collection(LineCollection(lines, colors=made.colours[key], linewidths=thin, zorder=layer))
        ends = [(stroke.steps[-1], stroke.values[-1]) for stroke in strokes]
        if ends:
            xs, ys = zip(*ends, strict=True)
            axes.scatter(xs, ys, s=5, color=made.colours[key], linewidths=0, zorder=layer)


def _draw_best(axes: Axes, series: ScoreSeries, made: Tints) -> None:
    """Draw the best lineage as a thick line, or as a band behind its line if that has the colours of members.

    Args:
        axes: The axes to draw on.
        series: The scores.
        made: The colours of the lines.
    """
    best = [stroke for stroke in series.strokes if stroke.best]
    if not best:
        return
    points = [point for stroke in best for point in zip(stroke.steps, stroke.values, strict=True)]
    xs, ys = zip(*points, strict=True)
    colour = made.colour(best[-1])
    if made.by == "founder":
        axes.plot(xs, ys, color=colour, linewidth=3.2, solid_capstyle="round", zorder=4)
    else:
        axes.plot(xs, ys, color=HALO, linewidth=6.0, solid_capstyle="round", zorder=1.5)
    axes.scatter(xs[-1:], ys[-1:], s=70, marker="*", color=colour, edgecolors="white", zorder=5)

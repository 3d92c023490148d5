"""Scores against steps, by lineage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from phyletic.plots.checks import check_metric, check_trials
from phyletic.plots.data import score_series
from phyletic.plots.drawing import colours, draw_marks, legend, new_figure, tidy
from phyletic.plots.families import families
from phyletic.records import Metric, Trial

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def scores(trials: Sequence[Trial], metric: Metric) -> Figure:
    """Draw the score of every trial against its step, along the lineages.

    A line goes from each trial's parent to the trial, so an exploit is a line that forks off the donor's. Lineages
    have the colour of the newborn they began with; the best one is thick. Trials whose score is not finite, and those
    that failed, are marked at the bad end of the axis.

    Args:
        trials: The trials of one study, such as ``study.trials()``; those still open are left out.
        metric: What to draw, and which way is better: one of ``study.metrics``.

    Returns:
        A figure with ``savefig``; it needs no window system.

    Raises:
        InvalidArgument: ``trials`` is empty.
        MissingDependency: matplotlib is not installed.
    """
    trials, metric = check_trials(trials), check_metric(metric)
    figure = new_figure(8.0, 4.5)
    axes = figure.add_subplot()
    entries = draw_scores(axes, trials, metric)
    axes.set_xlabel("step")
    figure.legend(handles=entries, fontsize=7, loc="outside right upper", frameon=False)
    return figure


def draw_scores(axes: Axes, trials: Sequence[Trial], metric: Metric) -> list[Any]:
    """Draw what :func:`scores` draws on given axes; return the entries of its legend.

    Args:
        axes: The axes to draw on.
        trials: The trials of one study.
        metric: What to draw, and which way it is better.
    """
    from matplotlib.collections import LineCollection

    series = score_series(trials, metric)
    shown = families(trials, series.best)
    colour = colours(shown)
    thin = min(1.4, max(0.7, 12 / max(1, len(shown))))
    tidy(axes)
    # The other lineages first, then the families in order of importance, so that the best is on top.
    for place, family in enumerate(reversed(shown)):
        own = [stroke for stroke in series.strokes if stroke.founder == family.founder]
        lines = [list(zip(stroke.steps, stroke.values, strict=True)) for stroke in own if len(stroke.steps) > 1]
        ends = [(stroke.steps[-1], stroke.values[-1]) for stroke in own]
        layer = 2 + place / (len(shown) + 1)
        axes.add_collection(LineCollection(lines, colors=colour[family.founder], linewidths=thin, zorder=layer))
        if ends:
            xs, ys = zip(*ends, strict=True)
            axes.scatter(xs, ys, s=5, color=colour[family.founder], linewidths=0, zorder=layer)
    best = [(stroke.steps[-1], stroke.values[-1]) for stroke in series.strokes if stroke.best]
    if best and shown:
        xs, ys = zip(*best, strict=True)
        axes.plot(xs, ys, color=colour[shown[0].founder], linewidth=3.2, solid_capstyle="round", zorder=4)
        axes.scatter(xs[-1:], ys[-1:], s=70, marker="*", color=colour[shown[0].founder], edgecolors="white", zorder=5)
    worst_edge = 0.02 if metric.mode == "max" else 0.98
    draw_marks(axes, series.marks, worst_edge)
    if series.log:
        axes.set_yscale("log")
    beyond = []
    if series.limits is not None:
        axes.set_ylim(*series.limits)
        low, high = series.limits
        beyond = [s.steps[-1] for s in series.strokes if not low <= s.values[-1] <= high]
        transform = axes.get_xaxis_transform()
        axes.plot(beyond, [worst_edge] * len(beyond), "_", color="black", markersize=9, transform=transform, zorder=6)
    _steps(axes, trials)
    score = next((stroke.values[-1] for stroke in series.strokes if stroke.trial == series.best), None)
    found = "no finite score yet" if score is None else f"best {score:.5g} in trial {series.best}"
    axes.set_title(f"{metric.name} by lineage: {found}", loc="left", fontsize=11)
    axes.set_ylabel(f"{metric.name} ({'higher' if metric.mode == 'max' else 'lower'} is better)")
    return legend(shown, colour, series.marks, len(beyond))


def _steps(axes: Axes, trials: Sequence[Trial]) -> None:
    last = max((trial.end_step or trial.start_step for trial in trials), default=0)
    axes.set_xlim(0, max(1, last) * 1.02)

"""Lines through a study's trials, as data, and figures of lines."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from phyletic.errors import InvalidArgument
from phyletic.evolution.arguments import check_instance, check_integer, check_sequence
from phyletic.plots.drawing import INK, new_figure, tidy
from phyletic.plots.families import best_trial, lineage_numbers, score_of
from phyletic.plots.reports import NO_REPORTS, Reports, reported
from phyletic.plots.tints import GREY, PALETTE
from phyletic.records import Metric, Trial

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Points = tuple[tuple[float, ...], tuple[float, ...]]
"""As many abscissas as ordinates."""


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a panel.

    Attributes:
        xs: Abscissas.
        ys: Ordinates, as many.
        label: For the legend; "" keeps it out.
        colour: A matplotlib colour; None for the next of the palette.
        dashed: Whether it is a reference to compare with.
        dots: Whether its points are marked.
        width: In points.
        exploits: Indices of the points at which an exploit is marked.
    """

    xs: tuple[float, ...]
    ys: tuple[float, ...]
    label: str = ""
    colour: str | None = None
    dashed: bool = False
    dots: bool = False
    width: float = 1.8
    exploits: tuple[int, ...] = ()


class LinePanel(msgspec.Struct, frozen=True, kw_only=True):
    """One pair of axes with lines.

    Attributes:
        title: Its title.
        x: Name of the abscissa.
        y: Name of the ordinate.
        lines: The lines to draw, the first below.
        log_x: Whether the abscissa is logarithmic.
        log_y: Whether the ordinate is logarithmic.
        ticks: The abscissas to name; empty to let matplotlib choose.
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


def along_lineage(lineage: Iterable[Trial], name: str, reports: Reports = NO_REPORTS) -> Points:
    """Return the steps at which the trials of a lineage reported a metric, and its finite values there.

    Args:
        lineage: The trials, the newborn first.
        name: The metric.
        reports: What the trials reported; empty for the values at their ends alone.

    Example:
        >>> from phyletic.records import Evaluation
        >>> from phyletic.testing.generations import completed_trial
        >>> along_lineage([completed_trial(0, 0.9, {})], "loss", {0: [Evaluation(2, "loss", 0.5)]})
        ((2.0,), (0.5,))
    """
    points: list[tuple[float, float]] = []
    for trial in lineage:
        own = reported(trial, reports, name)
        if trial.end_step is not None and math.isfinite(trial.metrics.get(name, math.nan)):
            end = (float(trial.end_step), trial.metrics[name])
            own += [end] if end not in own[-1:] else []
        # a report at its start says again what its parent said at its end
        points += own if not points or own[:1] != points[-1:] else own[1:]
    return tuple(step for step, _ in points), tuple(value for _, value in points)


def exploit_steps(lineage: Sequence[Trial]) -> tuple[int, ...]:
    """Return the steps at which a lineage went on in another member.

    Example:
        >>> exploit_steps([])
        ()
    """
    pairs = itertools.pairwise(lineage)
    return tuple(trial.start_step for parent, trial in pairs if trial.member != parent.member)


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
    return tuple(map(float, steps)), tuple(itertools.accumulate((best[step] for step in steps), better))


def steps_to_reach(trials: Sequence[Trial], metric: Metric, target: float) -> int | None:
    """Return the fewest steps after which a trial's score is the target or better; None if none is.

    Args:
        trials: The trials of one study.
        metric: The score, and which way is better.
        target: The score to reach.
    """
    steps, scores = best_so_far(trials, metric)
    for step, score in zip(steps, scores, strict=True):
        if score >= target if metric.mode == "max" else score <= target:
            return int(step)
    return None


def lines(panels: Sequence[LinePanel], *, columns: int = 2) -> Figure:
    """Draw panels of lines, row by row.

    Args:
        panels: What to draw; see :mod:`phyletic.plots.lines` for functions that make lines of trials.
        columns: Panels side by side, at least 1.

    Returns:
        A figure with ``savefig``; it needs no window system.

    Raises:
        InvalidArgument: There are no panels, or ``columns`` is below 1.
        MissingDependency: matplotlib is not installed.
    """
    panels = check_sequence("panels", panels, "a list of panels")
    for panel in panels:
        check_instance("panels", panel, LinePanel, "panels")
    if not panels:
        raise InvalidArgument("panels", panels, "at least one panel")
    check_integer("columns", columns, 1)
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    figure = new_figure(4.6 * columns, 3.5 * rows)
    flat = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes, panel in zip(flat, panels, strict=False):
        _draw_panel(axes, panel)
    for axes in flat[len(panels) :]:
        axes.set_visible(False)
    return figure


def _draw_panel(axes: Axes, panel: LinePanel) -> None:
    from matplotlib.lines import Line2D

    tidy(axes)
    found = 0
    for line in panel.lines:
        colour = line.colour or (GREY if line.dashed else PALETTE[found % len(PALETTE)])
        found += not line.dashed and line.colour is None
        style, marker = "--" if line.dashed else "-", "o" if line.dots else None
        label = line.label or None
        axes.plot(line.xs, line.ys, style, color=colour, linewidth=line.width, label=label, marker=marker, markersize=4)
        if line.exploits:
            places = [line.xs[at] for at in line.exploits], [line.ys[at] for at in line.exploits]
            axes.scatter(*places, s=14, color=colour, edgecolors="white", linewidths=0.5, zorder=3)
    if panel.log_x:
        axes.set_xscale("log")
    if panel.log_y:
        axes.set_yscale("log")
    if panel.ticks:
        axes.set_xticks(list(panel.ticks), [f"{tick:g}" for tick in panel.ticks])
        axes.xaxis.minorticks_off()
    axes.margins(y=0.1)
    axes.set_title(panel.title, loc="left", fontsize=10)
    axes.set_xlabel(panel.x, fontsize=9)
    axes.set_ylabel(panel.y, fontsize=9)
    if panel.legend and any(line.label for line in panel.lines):
        handles = axes.get_legend_handles_labels()[0]
        if any(line.exploits for line in panel.lines):
            look: dict[str, Any] = {"color": INK, "markeredgecolor": "white", "linestyle": "", "markersize": 5}
            handles = [*handles, Line2D([], [], marker="o", label="exploit", **look)]
        axes.legend(handles=handles, fontsize=7.5, framealpha=0.85, edgecolor="none")

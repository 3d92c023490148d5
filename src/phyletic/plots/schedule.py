"""Hyperparameters against steps, by lineage: the schedules that were found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from phyletic.errors import InvalidArgument
from phyletic.plots.checks import check_hyperparameters, check_metric, check_space, check_trials
from phyletic.plots.data import Panel, Stroke, panels
from phyletic.plots.drawing import colours, legend, panel_grid, set_scale, tidy
from phyletic.plots.families import Family, best_trial, families
from phyletic.records import Metric, Trial

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from phyletic.space import Space


def schedule(
    trials: Sequence[Trial], space: Space, metric: Metric | None = None, *, hyperparameters: Sequence[str] | None = None
) -> Figure:
    """Draw the hyperparameters of every lineage against the step: constant in a trial, changed between trials.

    There is a panel for each hyperparameter, on the scale of its domain. Lineages have the colour of the newborn they
    began with; the best one is thick.

    Args:
        trials: The trials of one study, such as ``study.trials()``, or one lineage: ``study.lineage()``.
        space: The study's space.
        metric: The metric that chooses the best lineage; None marks no lineage.
        hyperparameters: Flat paths of the hyperparameters to draw; None for all with more than one value.

    Returns:
        A figure with ``savefig``; it needs no window system.

    Raises:
        InvalidArgument: ``trials`` is empty, or a path is not one of the space's.
        MissingDependency: matplotlib is not installed.
    """
    trials, space = check_trials(trials), check_space(space)
    chosen = check_hyperparameters(hyperparameters, space)
    best = None if metric is None else best_trial(trials, check_metric(metric))
    shown = families(trials, best)
    made = panels(trials, space, best, chosen or None)
    if not made:
        raise InvalidArgument("trials", len(trials), "trials of which at least one has ended", "Wait for the first")
    figure, grid = panel_grid(len(made), "Schedules by lineage")
    for axes, panel in zip(grid, made, strict=True):
        draw_panel(axes, panel, shown)
    figure.align_ylabels()
    entries = legend(shown, colours(shown))
    figure.legend(handles=entries, fontsize=7, loc="outside right upper", frameon=False)
    return figure


def draw_panel(axes: Axes, panel: Panel, shown: Sequence[Family]) -> None:
    """Draw one hyperparameter on given axes.

    Args:
        axes: The axes to draw on.
        panel: The hyperparameter along all lineages.
        shown: The families, the family of the best trial first.
    """
    from matplotlib.collections import LineCollection

    colour = colours(shown)
    order = {family.founder: place for place, family in enumerate(shown)}
    thin = min(1.3, max(0.6, 12 / max(1, len(shown))))
    tidy(axes)
    set_scale(axes, panel.scale, "y")
    for stroke_set, width, layer in (
        (sorted((s for s in panel.strokes if not s.best), key=lambda s: -order[s.founder]), thin, 2.0),
        ([stroke for stroke in panel.strokes if stroke.best], 3.0, 4.0),
    ):
        lines = [_shifted(stroke, order[stroke.founder] if panel.scale.levels else 0) for stroke in stroke_set]
        axes.add_collection(
            LineCollection(
                lines,
                colors=[colour[stroke.founder] for stroke in stroke_set],
                linewidths=width,
                zorder=layer,
                capstyle="butt" if width < 2 else "projecting",
            )
        )
    axes.set_ylim(*_limits(panel))
    last = max((stroke.steps[-1] for stroke in panel.strokes), default=1)
    axes.set_xlim(0, last * 1.02)


def _limits(panel: Panel) -> tuple[float, float]:
    """Return the range of the panel: all values with a margin, even if there is only one."""
    if panel.scale.levels:
        return -0.4, len(panel.scale.levels) - 0.6
    values = [value for stroke in panel.strokes for value in stroke.values]
    low, high = min(values), max(values)
    if panel.scale.log:
        margin = max(1.1 if high / low > 3 else 2.0, (high / low) ** 0.05)
        return low / margin, high * margin
    margin = max(0.05 * (high - low), 0.02 * abs(high), 1e-12)
    if panel.scale.integer:
        margin = max(margin, 0.4)
    return low - margin, high + margin


def _shifted(stroke: Stroke, place: int) -> list[tuple[float, float]]:
    """Return the stroke's points, moved a little by family on levels, so that families do not hide each other."""
    aside = 0.05 * ((place + 1) // 2) * (-1 if place % 2 else 1)
    return [
        (step, value + max(-0.25, min(0.25, aside))) for step, value in zip(stroke.steps, stroke.values, strict=True)
    ]

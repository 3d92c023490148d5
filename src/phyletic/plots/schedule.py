"""Hyperparameters against steps, by lineage: the schedules that were found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from phyletic.errors import InvalidArgument
from phyletic.plots.checks import check_hyperparameters, check_metric, check_space, check_trials
from phyletic.plots.data import Panel, Stroke, panels
from phyletic.plots.drawing import add_legend, axes_for, legend, panel_grid, set_scale, tidy
from phyletic.plots.families import best_trial
from phyletic.plots.tints import Colours, Labels, Tints, tints
from phyletic.records import Metric, Trial

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from phyletic.space import Space


def schedule(
    trials: Sequence[Trial],
    space: Space,
    metric: Metric | None = None,
    *,
    hyperparameters: Sequence[str] | None = None,
    colour: Literal["founder", "member"] = "founder",
    labels: Labels | None = None,
    colours: Colours | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Draw the hyperparameters of every lineage against the step: constant in a trial, changed between trials.

    There is a panel for each hyperparameter, on the scale of its domain. The best lineage is thick.

    Args:
        trials: The trials of one study, such as ``study.trials()``, or one lineage: ``study.lineage()``.
        space: The study's space.
        metric: The metric that chooses the best lineage; None marks no lineage.
        hyperparameters: Flat paths of the hyperparameters to draw; None for all with more than one value.
        colour: ``"founder"``: by the newborn that a lineage began with. ``"member"``: by member (6 at most, unless
            ``colours`` is given).
        labels: Names for the legend, of newborns (by their trial's number) or members: a list for 0, 1, 2 and so on, or
            a dictionary by number.
        colours: Their matplotlib colours, likewise.
        ax: Existing matplotlib axes to draw one hyperparameter into; None for a new figure.

    Returns:
        The figure, with ``savefig``; it needs no window system.

    Raises:
        InvalidArgument: ``trials`` is empty, a path is not one of the space's, or an argument cannot be used.
        MissingDependency: matplotlib is not installed.

    Example:
        >>> import phyletic as ph
        >>> from phyletic.testing.generations import completed_trial
        >>> trials = [completed_trial(number, 0.5, {"lr": 0.1 + number / 10}) for number in range(2)]
        >>> schedule(trials, ph.Space({"lr": ph.Float(0.0, 1.0)})).axes[0].get_ylabel()
        'lr'
    """
    trials, space = check_trials(trials), check_space(space)
    chosen = check_hyperparameters(hyperparameters, space)
    best = None if metric is None else best_trial(trials, check_metric(metric))
    shown = tints(trials, best, colour=colour, labels=labels, colours=colours)
    made = panels(trials, space, best, chosen or None)
    if not made:
        raise InvalidArgument("trials", len(trials), "trials of which at least one has ended", "Wait for the first")
    if ax is None:
        figure, grid = panel_grid(len(made), "Schedules by lineage" if colour == "founder" else "Schedules by member")
    elif len(made) == 1:
        figure, axes = axes_for(ax, 8.0, 3.1)
        grid = [axes]
        axes.set_xlabel("step")
    else:
        allowed = 'None for several hyperparameters; choose one, such as hyperparameters=["lr"]'
        raise InvalidArgument("ax", ax, allowed)
    for axes, panel in zip(grid, made, strict=True):
        draw_panel(axes, panel, shown)
    if ax is None:
        figure.align_ylabels()
    add_legend(figure, grid[0], legend(shown), inside=ax is not None)
    return figure


def draw_panel(axes: Axes, panel: Panel, shown: Tints) -> None:
    """Draw one hyperparameter on given axes.

    Args:
        axes: The axes to draw on.
        panel: The hyperparameter along all lineages.
        shown: The colours of the lines.
    """
    from matplotlib.collections import LineCollection

    order = {key: place for place, key in enumerate(shown.order)}
    thin = min(1.3, max(0.6, 12 / max(1, len(order))))
    tidy(axes)
    set_scale(axes, panel.scale, "y")
    for stroke_set, width, layer in (
        (sorted((s for s in panel.strokes if not s.best), key=lambda s: -order[shown.key(s)]), thin, 2.0),
        ([stroke for stroke in panel.strokes if stroke.best], 3.0, 4.0),
    ):
        lines = [_shifted(stroke, order[shown.key(stroke)] if panel.scale.levels else 0) for stroke in stroke_set]
        axes.add_collection(
            LineCollection(
                lines,
                colors=[shown.colour(stroke) for stroke in stroke_set],
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

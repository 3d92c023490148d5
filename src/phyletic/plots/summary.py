"""One picture of a study: its scores and its schedules by lineage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from phyletic.plots.checks import check_metric, check_space, check_text, check_trials
from phyletic.plots.data import panels
from phyletic.plots.drawing import new_figure
from phyletic.plots.families import best_trial, families
from phyletic.plots.schedule import draw_panel
from phyletic.plots.scores import draw_scores
from phyletic.records import Metric, Trial

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from phyletic.space import Space


def summary(trials: Sequence[Trial], space: Space, metric: Metric, *, title: str = "") -> Figure:
    """Draw the scores and, below them on the same steps, the schedules.

    Args:
        trials: The trials of one study, such as ``study.trials()``.
        space: The study's space.
        metric: The metric to draw, and which way it is better.
        title: The title of the figure, such as the study's name.

    Returns:
        A figure with ``savefig``; it needs no window system.

    Raises:
        InvalidArgument: ``trials`` is empty.
        MissingDependency: matplotlib is not installed.
    """
    trials, space, metric = check_trials(trials), check_space(space), check_metric(metric)
    title = check_text("title", title)
    best = best_trial(trials, metric)
    shown = families(trials, best)
    made = panels(trials, space, best)
    columns = 1 if len(made) <= 4 else 2
    rows = -(-len(made) // columns)
    figure = new_figure(9.0 if columns == 1 else 12.0, 4.2 + 1.7 * rows)
    grid = figure.add_gridspec(rows + 1, columns, height_ratios=[2.2, *[1.0] * rows])
    top = figure.add_subplot(grid[0, :])
    entries = draw_scores(top, trials, metric)
    below = []
    for place, panel in enumerate(made):
        axes = figure.add_subplot(grid[1 + place // columns, place % columns], sharex=top)
        draw_panel(axes, panel, shown)
        below.append(axes)
    for place, axes in enumerate([top, *below]):
        last = place + columns > len(made)
        axes.tick_params(labelbottom=last or (place == 0 and columns > 1))
        if last or (place == 0 and columns > 1):
            axes.set_xlabel("step")
    figure.align_ylabels()
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
    figure.legend(handles=entries, fontsize=7, loc="outside right upper", frameon=False)
    return figure

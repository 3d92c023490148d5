"""One picture of a study: its scores and its schedules by lineage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from phyletic.plots.checks import check_metric, check_space, check_text, check_trials
from phyletic.plots.curves import score_series
from phyletic.plots.data import panels
from phyletic.plots.drawing import add_legend, new_figure
from phyletic.plots.reports import Reports, check_reports
from phyletic.plots.schedule import draw_panel
from phyletic.plots.scores import draw_scores
from phyletic.plots.tints import Colours, Labels, tints
from phyletic.records import Metric, Trial

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from phyletic.space import Space


def summary(
    trials: Sequence[Trial],
    space: Space,
    metric: Metric,
    *,
    title: str = "",
    reports: Reports | None = None,
    labels: Labels | None = None,
    colours: Colours | None = None,
) -> Figure:
    """Draw the scores and, below them on the same steps, the schedules.

    Args:
        trials: The trials of one study, such as ``study.trials()``.
        space: The study's space.
        metric: The metric to draw, and which way it is better.
        title: The title of the figure, such as the study's name.
        reports: What the trials reported, such as ``study.reports()``; None for the scores at their ends alone.
        labels: Names of newborns for the legend, by their trial's number: a list for 0, 1, 2 and so on, or a dictionary
            by number.
        colours: Their matplotlib colours, likewise.

    Returns:
        A figure with ``savefig``; it needs no window system.

    Raises:
        InvalidArgument: ``trials`` is empty, or an argument cannot be used.
        MissingDependency: matplotlib is not installed.

    Example:
        >>> import phyletic as ph
        >>> from phyletic.testing.generations import completed_trial
        >>> trials = [completed_trial(number, 0.5, {"lr": 0.1 + number / 10}) for number in range(2)]
        >>> len(summary(trials, ph.Space({"lr": ph.Float(0.0, 1.0)}), Metric("accuracy", "max")).axes)
        2
    """
    trials, space, metric = check_trials(trials), check_space(space), check_metric(metric)
    title, said = check_text("title", title), check_reports(reports)
    series = score_series(trials, metric, said)
    shown = tints(trials, series.best, labels=labels, colours=colours)
    made = panels(trials, space, series.best)
    columns = 1 if len(made) <= 4 else 2
    rows = -(-len(made) // columns)
    figure = new_figure(9.0 if columns == 1 else 12.0, 4.2 + 1.7 * rows)
    grid = figure.add_gridspec(rows + 1, columns, height_ratios=[2.2, *[1.0] * rows])
    top = figure.add_subplot(grid[0, :])
    entries = draw_scores(top, trials, metric, series, shown)
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
    add_legend(figure, top, entries, inside=False)
    return figure

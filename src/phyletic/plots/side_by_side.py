"""Several algorithms on one problem with two weights, side by side: where the weights went, and the scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from phyletic.plots.checks import (
    check_metric,
    check_names,
    check_origin,
    check_runs,
    check_surface,
    check_target,
    check_text,
)
from phyletic.plots.drawing import GREY, PALETTE, new_figure, tidy
from phyletic.plots.landscape import draw_moves, draw_surface
from phyletic.plots.line_data import member_scores
from phyletic.plots.plane import Point, Surface, moves
from phyletic.records import Metric, Trial

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["side_by_side"]


def side_by_side(
    runs: Mapping[str, Sequence[Trial]],
    metric: Metric,
    surface: Surface,
    coordinates: tuple[str, str],
    *,
    origin: Point | None = None,
    target: float | None = None,
    names: Sequence[str] = ("θ0", "θ1", "Q"),
    title: str = "",
) -> Figure:
    """Draw, for each run, the path of every member over a surface and its scores by step below it.

    What a member trained is a line; where its weights jumped to another's is dotted, and the dots are where it arrived.

    Args:
        runs: The trials of each study, by the name of its column.
        metric: What the lower row shows.
        surface: The surface to draw below the paths.
        coordinates: Names of the two metrics that say where a trial ended.
        origin: Where newborns begin; None if unknown.
        target: A score to draw as a line, such as the optimum.
        names: Of the two coordinates and the score, on the axes.
        title: The title of the figure.

    Returns:
        A figure with two rows and a column for each run, with ``savefig``; no window system is needed.

    Raises:
        InvalidArgument: A run has no trials.
        MissingDependency: matplotlib is not installed.
    """
    runs, metric, surface = check_runs(runs, str), check_metric(metric), check_surface(surface)
    x, y = check_names("coordinates", coordinates, 2, '("x", "y")')
    origin = check_origin(origin)
    check_target(target)
    names, title = check_names("names", names, 3, '("θ0", "θ1", "Q")'), check_text("title", title)
    scores = {name: member_scores(trials, metric) for name, trials in runs.items()}
    figure = new_figure(3.2 * len(runs), 6.4)
    grid = figure.subplots(2, len(runs), squeeze=False, sharex="row", sharey="row")
    better = max if metric.mode == "max" else min
    for column, (name, trials) in enumerate(runs.items()):
        top, bottom = grid[0][column], grid[1][column]
        draw_surface(top, surface, filled=False)
        draw_moves(top, moves(trials, (x, y), origin=origin), PALETTE)
        top.set_title(name, loc="left", fontsize=11, fontweight="bold")
        top.set_xlabel(names[0])
        tidy(bottom)
        if target is not None:
            bottom.axhline(target, color=GREY, linewidth=1.0, linestyle="--")
        for place, (member, (steps, values)) in enumerate(scores[name].items()):
            colour = PALETTE[place % len(PALETTE)]
            # Thinner over thicker, so that members with equal scores both show.
            bottom.plot(steps, values, color=colour, linewidth=max(1.2, 3.2 - 1.6 * place), label=f"member {member}")
        last = better(values[-1] for _, values in scores[name].values())
        bottom.set_title(f"best at the end: {last:.3f}", loc="left", fontsize=9)
        bottom.set_xlabel("step")
    grid[0][0].set_ylabel(names[1])
    grid[1][0].set_ylabel(names[2])
    grid[1][0].legend(fontsize=8, frameon=False, loc="lower right")
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
    return figure

"""Populations of several sizes on one problem."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from phyletic.errors import InvalidArgument
from phyletic.evolution.arguments import check_integer, check_mapping, check_sequence
from phyletic.plots.checks import check_metric, check_names, check_origin, check_runs, check_target, check_text
from phyletic.plots.line_data import Line, LinePanel, along_lineage, best_lineage
from phyletic.plots.lines import lines, ordered_colours
from phyletic.plots.plane import Point, lineage_points
from phyletic.records import Metric, Trial

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["population_panels", "populations"]


def population_panels(
    runs: Mapping[int, Sequence[Trial]],
    metric: Metric,
    *,
    loss: str,
    coordinates: tuple[str, str],
    origin: Point | None = None,
    needed: Mapping[int, Sequence[int]] | None = None,
    target: float | None = None,
    names: Sequence[str] = ("Q", "loss", "θ0", "θ1"),
    colours: Sequence[str] = (),
) -> list[LinePanel]:
    """Return what :func:`populations` draws; see there."""
    chosen: list[list[Line]] = [[], [], []]
    for place, (size, trials) in enumerate(runs.items()):
        lineage = best_lineage(trials, metric)
        points = lineage_points(lineage, coordinates, origin=origin)
        lines_of = (
            along_lineage(lineage, metric.name),
            along_lineage(lineage, loss),
            (tuple(x for x, _ in points), tuple(y for _, y in points)),
        )
        colour = colours[place] if colours else None
        label = f"{size} member{'s' * (size != 1)}"
        for panel, (xs, ys) in zip(chosen, lines_of, strict=True):
            panel.append(Line(xs=xs, ys=ys, label=label, colour=colour))
    last = max((x for line in chosen[0] for x in line.xs), default=0.0)
    reference = [] if target is None else [Line(xs=(0.0, last), ys=(target, target), dashed=True, width=1.0)]
    panels = [
        LinePanel(title=f"{names[0]} of the best member", x="step", y=names[0], lines=(*reference, *chosen[0])),
        LinePanel(title=f"its {names[1]}", x="step", y=names[1], lines=tuple(chosen[1]), log_y=True, legend=False),
        LinePanel(title="its weights", x=names[2], y=names[3], lines=tuple(chosen[2]), legend=False),
    ]
    if needed:
        panels.append(_needed(needed, target))
    return panels


def _needed(needed: Mapping[int, Sequence[int]], target: float | None) -> LinePanel:
    sizes = tuple(float(size) for size in needed)
    means = tuple(statistics.mean(steps) for steps in needed.values())
    each = [
        Line(xs=(float(size),) * 2, ys=(float(min(steps)), float(max(steps))), dashed=True, width=1.2)
        for size, steps in needed.items()
    ]
    title = "steps needed" if target is None else f"steps to {target:g}: mean and range over seeds"
    mean = Line(xs=sizes, ys=means, dots=True)
    return LinePanel(title=title, x="members", y="steps", lines=(*each, mean), log_x=True, log_y=True, ticks=sizes)


def populations(
    runs: Mapping[int, Sequence[Trial]],
    metric: Metric,
    *,
    loss: str,
    coordinates: tuple[str, str],
    origin: Point | None = None,
    needed: Mapping[int, Sequence[int]] | None = None,
    target: float | None = None,
    names: Sequence[str] = ("Q", "loss", "θ0", "θ1"),
) -> Figure:
    """Draw the score, the loss and two weights of each population's best member, along its lineage.

    Args:
        runs: The trials of each study, by the size of its population, rising.
        metric: The metric that members are ranked by.
        loss: Name of the metric that they train on.
        coordinates: Names of the two metrics that are weights.
        origin: Where newborns begin; None if unknown.
        needed: By size, the steps that a target took for each of several seeds; None leaves the panel out.
        target: A score to draw as a line.
        names: Of the score, the loss and the two weights, on the axes.

    Returns:
        A figure, with ``savefig``; no window system is needed.

    Raises:
        InvalidArgument: A run has no trials, or there are none.
        MissingDependency: matplotlib is not installed.
    """
    runs, metric = check_runs(runs, int), check_metric(metric)
    check_text("loss", loss)
    x, y = check_names("coordinates", coordinates, 2, '("x", "y")')
    origin = check_origin(origin)
    needed = _check_needed(needed)
    check_target(target)
    names = check_names("names", names, 4, '("Q", "loss", "θ0", "θ1")')
    colours = ordered_colours(len(runs))
    panels = population_panels(
        runs,
        metric,
        loss=loss,
        coordinates=(x, y),
        origin=origin,
        needed=needed,
        target=target,
        names=names,
        colours=colours,
    )
    return lines(panels, columns=2)


def _check_needed(needed: object) -> dict[int, tuple[int, ...]] | None:
    if needed is None:
        return None
    allowed = "a dictionary from sizes to the steps that were needed, or None"
    made = {}
    for size, steps in check_mapping("needed", needed, allowed).items():
        check_integer("needed", size, 1)
        made[size] = check_sequence(f"needed[{size}]", steps, "the steps of each seed")
        if not made[size]:
            raise InvalidArgument(f"needed[{size}]", steps, "the steps of one seed or more")
        for count in made[size]:
            check_integer(f"needed[{size}]", count, 0)
    return made

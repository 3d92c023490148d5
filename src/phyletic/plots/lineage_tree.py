"""The population's history: steps across, members as rows, exploits as vertical edges."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from phyletic.errors import InvalidArgument
from phyletic.evolution.arguments import check_one_of
from phyletic.plots.axes import logarithmic, readable_range
from phyletic.plots.checks import check_metric, check_trials
from phyletic.plots.data import Segment, TreeSeries, tree_series
from phyletic.plots.drawing import add_legend, axes_for, draw_marks, legend, tidy
from phyletic.plots.tints import GREY, Colours, Labels, Tints, tints
from phyletic.records import Metric, Trial

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def lineage_tree(
    trials: Sequence[Trial],
    metric: Metric,
    *,
    colour: Literal["founder", "score"] = "founder",
    labels: Labels | None = None,
    colours: Colours | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Draw the lineages as a tree: a row for each member, a vertical edge for each exploit.

    A trial is a segment from its start to its end: thick if a member's latest trial descends from it, thin if its line
    died out, dotted while it is open. The best lineage is outlined.

    Args:
        trials: The trials of one study, such as ``study.trials()``.
        metric: The metric that chooses the best lineage, and that ``colour="score"`` shows.
        colour: ``"founder"``: by the newborn that a lineage began with. ``"score"``: by the trial's score.
        labels: Names of newborns for the legend, by their trial's number: a list for 0, 1, 2 and so on, or a dictionary
            by number.
        colours: Their matplotlib colours, likewise.
        ax: Existing matplotlib axes to draw into; None for a new figure.

    Returns:
        The figure, with ``savefig``; it needs no window system.

    Raises:
        InvalidArgument: ``trials`` is empty, or an argument cannot be used.
        MissingDependency: matplotlib is not installed.

    Example:
        >>> from phyletic.testing.generations import completed_trial
        >>> trials = [completed_trial(number, 0.5 + number, {"lr": 0.1}) for number in range(2)]
        >>> lineage_tree(trials, Metric("accuracy", "max")).axes[0].get_ylabel()
        'member'
    """
    check_one_of("colour", colour, ("founder", "score"))
    trials, metric = check_trials(trials), check_metric(metric)
    for name, value in (("labels", labels), ("colours", colours)):
        if value is not None and colour == "score":
            raise InvalidArgument(name, value, 'None with colour="score"')
    series = tree_series(trials, metric)
    shown = tints(trials, series.best, labels=labels, colours=colours)
    figure, axes = axes_for(ax, 9.0, min(12.0, 1.6 + 0.22 * max(6, series.members)))
    paint = _score_colours(figure, axes, series, metric) if colour == "score" else None
    entries = draw_lineage_tree(axes, series, shown, paint)
    axes.set_xlabel("step")
    add_legend(figure, axes, entries, inside=ax is not None)
    return figure


def draw_lineage_tree(
    axes: Axes, series: TreeSeries, shown: Tints, paint: Callable[[float | None], object] | None
) -> list[Any]:
    """Draw what :func:`lineage_tree` draws on given axes; return the entries of its legend.

    Args:
        axes: The axes to draw on.
        series: The population's history.
        shown: The colours of the newborns.
        paint: The colour of a score; None for the newborns' colours.
    """
    from matplotlib.collections import LineCollection
    from matplotlib.lines import Line2D

    tidy(axes)
    axes.grid(False)
    thick = max(2.0, min(7.0, 150 / max(1, series.members)))

    def colour_of(segment: Segment) -> object:
        return shown.colours[segment.founder] if paint is None else paint(segment.score)

    def draw(segments: Sequence[Segment], colours: object, width: float, layer: float, style: str = "-") -> None:
        """Draw segments as lines in the rows of their members.

        Args:
            segments: The segments to draw.
            colours: One colour for all of them, or a list with a colour for each.
            width: Width of the lines in points.
            layer: Their layer; higher layers cover lower ones.
            style: Their style, as matplotlib writes it.
        """
        rows = [[(segment.start, segment.member), (segment.end, segment.member)] for segment in segments]
        axes.add_collection(
            LineCollection(rows, colors=colours, linewidths=width, zorder=layer, linestyles=style, capstyle="butt")
        )

    draw([segment for segment in series.segments if segment.best], "black", thick + 2.6, 2.5)
    for alive, width, layer in ((False, max(1.0, thick * 0.35), 2.0), (True, thick, 3.0)):
        chosen = [segment for segment in series.segments if segment.alive is alive and not segment.open]
        draw(chosen, [colour_of(segment) for segment in chosen], width, layer)
    draw([segment for segment in series.segments if segment.open], "#606060", 1.2, 3, ":")
    for hop in series.hops:
        tint = "black" if hop.best else "#707070" if paint is not None else shown.colours[hop.founder]
        width, layer = (1.8, 3.6) if hop.best else (0.8, 1.8)
        axes.plot([hop.step, hop.step], [hop.donor, hop.member], color=tint, linewidth=width, zorder=layer)
        axes.plot([hop.step], [hop.member], marker=".", markersize=3.5, color=tint, zorder=3.7)
    draw_marks(axes, series.marks)
    axes.set_ylim(series.members - 0.4, -0.6)
    axes.set_xlim(0, max((segment.end for segment in series.segments), default=1) * 1.02)
    every = max(1, math.ceil(series.members / 20))
    axes.set_yticks(range(0, series.members, every))
    axes.set_ylabel("member")
    exploits = f"{len(series.hops)} exploit{'s' * (len(series.hops) != 1)}"
    axes.set_title(f"Lineages of {series.members} members, {exploits}", loc="left", fontsize=11)
    entries = legend(shown if paint is None else msgspec.structs.replace(shown, order=()), series.marks)
    if series.best is not None:
        best = Line2D([], [], color="black", linewidth=2, label="best lineage (outlined)")
        entries = [best, *[entry for entry in entries if entry.get_label() != "best lineage"]]
    return entries


def _score_colours(figure: Figure, axes: Axes, series: TreeSeries, metric: Metric) -> Callable[[float | None], object]:
    """Draw the colour bar, and return a function from a score to its colour; better scores are brighter.

    Args:
        figure: The figure, for the colour bar.
        axes: The axes beside the colour bar.
        series: The history, whose scores set the range of the colours.
        metric: What the scores are of.
    """
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LogNorm, Normalize

    known = [segment.score for segment in series.segments if segment.score is not None]
    finite = [score for score in known if math.isfinite(score)]
    if logarithmic(finite, metric):
        scale: Normalize = LogNorm(min(finite), max(finite), clip=True)
    else:
        scale = Normalize(*(readable_range(known, metric.mode) or (0.0, 1.0)), clip=True)
    tints = colormaps["viridis" if metric.mode == "max" else "viridis_r"]
    figure.colorbar(ScalarMappable(scale, tints), ax=axes, label=metric.name, shrink=0.6)

    def colour_of(score: float | None) -> object:
        return GREY if score is None or not math.isfinite(score) else tints(scale(score))

    return colour_of

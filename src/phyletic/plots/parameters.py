"""The history of hyperparameters: each against the step, or two against each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from phyletic.errors import InvalidArgument
from phyletic.evolution.arguments import check_flag, check_one_of
from phyletic.plots.axes import Scale, scale_of
from phyletic.plots.checks import check_hyperparameters, check_metric, check_names, check_space, check_trials
from phyletic.plots.drawing import add_legend, axes_for, number_entry, panel_grid, set_scale, tidy
from phyletic.plots.families import best_trial, ordered_trials, varied_paths
from phyletic.plots.interval_labels import draw_labels
from phyletic.plots.pair import draw_pair, pair_labels, pair_legend
from phyletic.plots.reports import Reports, check_reports
from phyletic.plots.spots import Spot, spots
from phyletic.plots.tints import GREY, Colours, Labels, tints
from phyletic.records import Metric, Trial

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from phyletic.space import Space


def parameters(
    trials: Sequence[Trial],
    space: Space,
    metric: Metric | None = None,
    *,
    pair: tuple[str, str] | None = None,
    hyperparameters: Sequence[str] | None = None,
    reports: Reports | None = None,
    colour: Literal["founder", "member"] = "founder",
    labels: Labels | None = None,
    colours: Colours | None = None,
    intervals: bool = True,
    ax: Axes | None = None,
) -> Figure:
    """Draw the hyperparameters of all trials.

    Without ``pair`` there is a panel for each hyperparameter against the step: a point for each trial, coloured by how
    it stood among the trials of its generation; those that share a level or a whole number are spread a little, the
    better higher. With ``pair`` two of them are drawn against each other: a line leads from each trial's parent, or
    from what a newborn reported at its start, through all reports to the trial's end. Points shrink as the steps go on,
    a dotted line leads from where a member was to where an exploit took it, and the best lineage is outlined.

    Args:
        trials: The trials of one study, such as ``study.trials()``.
        space: The study's space.
        metric: The metric that compares trials; None marks no best lineage and colours no standing.
        pair: Two flat paths of hyperparameters, or names of reported metrics: across and upwards.
        hyperparameters: Flat paths of the hyperparameters to draw against the step; None for all with more than one
            value.
        reports: Of a pair: what the trials reported, such as ``study.reports()``; None for their ends alone.
        colour: Of a pair: ``"founder"``, the newborn that began the lineage, or ``"member"`` (6 at most, unless
            ``colours`` is given).
        labels: Of a pair: names for the legend, of newborns (by their trial's number) or members: a list for 0, 1, 2
            and so on, or a dictionary by number.
        colours: Of a pair: their matplotlib colours, likewise.
        intervals: Of a pair: whether to label each trial: with its number, its member, its hyperparameters and the step
            at its end if there is room, else with that step as far as it fits.
        ax: Of a pair: existing matplotlib axes to draw into; None for a new figure.

    Returns:
        The figure, with ``savefig``; it needs no window system.

    Raises:
        InvalidArgument: ``trials`` is empty, a name is not known, or an argument does not go with another.
        MissingDependency: matplotlib is not installed.

    Example:
        >>> import phyletic as ph
        >>> from phyletic.testing.generations import completed_trial
        >>> space = ph.Space({"lr": ph.Float(0.0, 1.0), "momentum": ph.Float(0.0, 1.0)})
        >>> trials = [completed_trial(number, 0.5, {"lr": 0.1 * number, "momentum": 0.9}) for number in range(2)]
        >>> parameters(trials, space, pair=("lr", "momentum")).axes[0].get_xlabel()
        'lr'
    """
    trials, space = check_trials(trials), check_space(space)
    metric = None if metric is None else check_metric(metric)
    chosen = check_hyperparameters(hyperparameters, space)
    check_one_of("colour", colour, ("founder", "member"))
    if not ordered_trials(trials):
        raise InvalidArgument("trials", len(trials), "trials of which at least one has ended", "Wait for the first")
    said = check_reports(reports)
    check_flag("intervals", intervals)
    if pair is None:
        for name, value in (("reports", reports), ("labels", labels), ("colours", colours), ("ax", ax)):
            if value is not None:
                raise InvalidArgument(name, value, "None without pair")
        if colour != "founder":
            raise InvalidArgument("colour", colour, "given with pair; against the step, colours are standings")
        return _against_steps(trials, space, metric, chosen)
    if hyperparameters is not None:
        raise InvalidArgument("hyperparameters", hyperparameters, "None if pair is given")
    names = check_names("pair", pair, 2, '("lr", "momentum")')
    x, y = (scale_of(name, trials, space) for name in names)
    made = spots(trials, metric, x, y, said)
    best = None if metric is None else best_trial(trials, metric)
    shown = tints(trials, best, colour=colour, labels=labels, colours=colours)
    figure, axes = axes_for(ax, 7.6, 5.4)
    draw_pair(axes, made, x, y, shown, last=max((spot.step for spot in made), default=1))
    axes.set_title(f"{y.name} against {x.name}", loc="left", fontsize=11)
    entries = pair_legend(made, shown)
    add_legend(figure, axes, entries, inside=ax is not None)
    if intervals:
        placed = pair_labels(axes, trials, made, x, y)
        draw_labels(axes, placed)
        if any(label.short for label in placed):
            add_legend(figure, axes, [*entries, number_entry("step")], inside=ax is not None)
    return figure


def _against_steps(trials: Sequence[Trial], space: Space, metric: Metric | None, chosen: Sequence[str]) -> Figure:
    ended = ordered_trials(trials)
    scales = [scale_of(path, ended, space) for path in chosen or varied_paths(ended, space)]
    figure, grid = panel_grid(len(scales), "Hyperparameters of every trial")
    for axes, scale in zip(grid, scales, strict=True):
        _draw_standings(axes, spots(ended, metric, scale), scale)
    figure.align_ylabels()
    if metric is not None:
        _standing_bar(figure, grid, metric)
    return figure


def _draw_standings(axes: Axes, made: Sequence[Spot], scale: Scale) -> None:
    tidy(axes)
    set_scale(axes, scale, "y")
    if scale.levels:
        axes.set_ylim(-0.5, len(scale.levels) - 0.5)
    unknown = [spot for spot in made if spot.standing is None]
    spread = 0.3 if scale.counted else 0.0
    axes.scatter(*_places(unknown, 0.0), s=14, color=GREY, linewidths=0, zorder=2)
    # the better on top of the worse
    known = sorted((spot for spot in made if spot.standing is not None), key=lambda spot: spot.standing or 0.0)
    axes.scatter(
        *_places(known, spread), s=18, c=[spot.standing for spot in known], cmap="viridis", vmin=0, vmax=1, zorder=3
    )
    best = [spot for spot in made if spot.best]
    if best:
        axes.plot(
            *_places(best, spread), color="black", linewidth=1.0, marker="o", markersize=6, fillstyle="none", zorder=4
        )


def _places(made: Sequence[Spot], spread: float) -> tuple[list[float], list[float]]:
    """Return where to draw trials; those of one level are spread by their standing."""
    ups = [0.0 if spot.standing is None else spread * (spot.standing - 0.5) for spot in made]
    return [spot.place[0] for spot in made], [spot.place[1] + up for spot, up in zip(made, ups, strict=True)]


def _standing_bar(figure: Figure, grid: Sequence[Axes], metric: Metric) -> None:
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.lines import Line2D

    shades = ScalarMappable(Normalize(0, 1), colormaps["viridis"])
    bar = figure.colorbar(shades, ax=list(figure.axes), shrink=0.7, ticks=[0, 1], pad=0.02)
    bar.ax.set_yticklabels(["worst", "best"], fontsize=8)
    bar.set_label(f"{metric.name} in its generation", fontsize=8)
    line = Line2D([], [], color="black", linewidth=1.0, marker="o", markersize=6, fillstyle="none")
    line.set_label("best lineage")
    figure.legend(handles=[line], fontsize=7, loc="upper right", frameon=False)

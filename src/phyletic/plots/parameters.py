"""The history of hyperparameters: each against the step, or two against each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from phyletic.errors import InvalidArgument
from phyletic.evolution.arguments import check_one_of
from phyletic.plots.axes import Scale, scale_of
from phyletic.plots.checks import check_hyperparameters, check_metric, check_names, check_space, check_trials
from phyletic.plots.data import Spot, spots
from phyletic.plots.drawing import GREY, INK, PALETTE, colours, legend, new_figure, panel_grid, set_scale, tidy
from phyletic.plots.families import best_trial, families, ordered_trials, varied_paths
from phyletic.records import Metric, Trial

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from phyletic.space import Space

_LABELS = 8
"""About so many places of the best lineage are labelled with their step."""
_APART = 0.05
"""Part of an axis by which labels lie apart."""
_LARGE, _SMALL = 90.0, 8.0
"""Areas of the first and the last points, in square points."""


def parameters(
    trials: Sequence[Trial],
    space: Space,
    metric: Metric | None = None,
    *,
    pair: tuple[str, str] | None = None,
    hyperparameters: Sequence[str] | None = None,
    colour: Literal["founder", "member"] = "founder",
) -> Figure:
    """Draw the hyperparameters of all trials.

    Without ``pair`` there is a panel for each hyperparameter against the step: a point for each trial, coloured by how
    it stood among the trials of its generation; those that share a level or a whole number are spread a little, the
    better higher. With ``pair`` two of them are drawn against each other: points shrink as the steps go on, a line
    leads from each trial's parent to the trial, and the best lineage, outlined, is labelled with its steps.

    Args:
        trials: The trials of one study, such as ``study.trials()``.
        space: The study's space.
        metric: The metric that compares trials; None marks no best lineage and colours no standing.
        pair: Two flat paths of hyperparameters, or names of reported metrics: across and upwards.
        hyperparameters: Flat paths of the hyperparameters to draw against the step; None for all with more than one
            value.
        colour: Of a pair: ``"founder"``, the newborn that began the lineage, or ``"member"`` (of 6 members at most).

    Returns:
        A figure with ``savefig``; it needs no window system.

    Raises:
        InvalidArgument: ``trials`` is empty, a name is not known, or an argument does not go with another.
        MissingDependency: matplotlib is not installed.
    """
    trials, space = check_trials(trials), check_space(space)
    metric = None if metric is None else check_metric(metric)
    chosen = check_hyperparameters(hyperparameters, space)
    check_one_of("colour", colour, ("founder", "member"))
    if not ordered_trials(trials):
        raise InvalidArgument("trials", len(trials), "trials of which at least one has ended", "Wait for the first")
    if pair is None:
        if colour != "founder":
            raise InvalidArgument("colour", colour, "given with pair; against the step, colours are standings")
        return _against_steps(trials, space, metric, chosen)
    if hyperparameters is not None:
        raise InvalidArgument("hyperparameters", hyperparameters, "None if pair is given")
    names = check_names("pair", pair, 2, '("lr", "momentum")')
    x, y = (scale_of(name, trials, space) for name in names)
    made = spots(trials, metric, x, y)
    tints, entries = pair_colours(trials, metric, made, colour)
    figure = new_figure(7.6, 5.4)
    axes = figure.add_subplot()
    draw_pair(axes, made, x, y, tints, last=max(spot.step for spot in made) if made else 1)
    axes.set_title(f"{y.name} against {x.name}", loc="left", fontsize=11)
    figure.legend(handles=entries, fontsize=7, loc="outside right upper", frameon=False)
    return figure


def pair_colours(
    trials: Sequence[Trial], metric: Metric | None, made: Sequence[Spot], colour: str
) -> tuple[dict[int, str], list[Any]]:
    """Return a colour by trial, and the legend's entries.

    Args:
        trials: All trials of the study.
        metric: The metric that chooses the best family; None for none.
        made: The trials to draw.
        colour: ``"founder"`` or ``"member"``.

    Raises:
        InvalidArgument: ``colour`` is not known, or there are too many members for it.
    """
    from matplotlib.lines import Line2D

    best = Line2D([], [], color="black", linewidth=1.6, label="best lineage, with its steps")
    marked = [best] if any(spot.best for spot in made) else []
    marked.append(Line2D([], [], color=GREY, marker="o", linestyle="", label="points shrink with the steps"))
    if colour == "founder":
        shown = families(trials, None if metric is None else best_trial(trials, metric))
        tints = colours(shown)
        entries = [entry for entry in legend(shown, tints) if entry.get_label() != "best lineage"]
        return {spot.trial: tints[spot.founder] for spot in made}, [*marked, *entries]
    members = sorted({trial.member for trial in trials})
    if colour != "member" or len(members) > len(PALETTE):
        raise InvalidArgument("colour", colour, f'"founder", or "member" for at most {len(PALETTE)} members')
    own = dict(zip(members, PALETTE, strict=False))
    entries = [
        Line2D([], [], color=own[member], marker="o", linewidth=1.2, label=f"member {member}") for member in members
    ]
    return {spot.trial: own[spot.member] for spot in made}, [*marked, *entries]


def draw_pair(axes: Axes, made: Sequence[Spot], x: Scale, y: Scale, tints: dict[int, str], *, last: int) -> None:
    """Draw trials in the plane of two axes.

    Args:
        axes: The axes to draw on.
        made: The trials, by number.
        x: The axis across.
        y: The axis upwards.
        tints: A colour by trial.
        last: Step at which points are smallest.
    """
    from matplotlib.collections import LineCollection

    tidy(axes)
    set_scale(axes, x, "x")
    set_scale(axes, y, "y")
    crowd = min(1.0, 150 / max(1, len(made)))
    for best, width, faint_line, faint_dot in (
        (False, 0.9, 0.25 + 0.5 * crowd, 0.25 + 0.6 * crowd),
        (True, 1.6, 1.0, 1.0),
    ):
        chosen = [spot for spot in made if spot.best == best]
        moved = [spot for spot in chosen if spot.parent is not None and spot.parent != spot.place]
        lines = [[spot.parent or spot.place, spot.place] for spot in moved]
        shades = "black" if best else [tints[spot.trial] for spot in moved]
        layer = 4.0 if best else 2.0
        axes.add_collection(LineCollection(lines, colors=shades, linewidths=width, zorder=layer, alpha=faint_line))
        axes.scatter(
            [spot.place[0] for spot in chosen],
            [spot.place[1] for spot in chosen],
            s=[_LARGE + (_SMALL - _LARGE) * min(1.0, spot.step / max(1, last)) for spot in chosen],
            c=[tints[spot.trial] for spot in chosen],
            alpha=faint_dot,
            edgecolors="black" if best else "white",
            linewidths=1.0 if best else 0.4,
            zorder=layer + 1,
        )
    for spot in _labelled([spot for spot in made if spot.best], x, y):
        axes.annotate(
            str(spot.step), spot.place, xytext=(6, 4), textcoords="offset points", fontsize=7, color=INK, zorder=6
        )


def _labelled(chain: Sequence[Spot], x: Scale, y: Scale) -> list[Spot]:
    """Return the places of a lineage that get a label: its end, and a few others that lie apart.

    Args:
        chain: The lineage's trials, by number.
        x: The axis across.
        y: The axis upwards.
    """
    where = [(_straight(spot.place[0], x), _straight(spot.place[1], y)) for spot in chain]
    widths = [max(axis) - min(axis) or 1.0 for axis in zip(*where, strict=True)]
    every = max(1, len(chain) // _LABELS)
    kept: list[int] = []
    for place in [len(chain) - 1, *range(0, len(chain), every)] if chain else []:
        if all(
            max(abs(a - b) / width for a, b, width in zip(where[place], where[other], widths, strict=True)) > _APART
            for other in kept
        ):
            kept.append(place)
    return [chain[place] for place in kept]


def _straight(value: float, scale: Scale) -> float:
    return math.log10(value) if scale.log else value


def _against_steps(trials: Sequence[Trial], space: Space, metric: Metric | None, chosen: Sequence[str]) -> Figure:
    """Draw each hyperparameter against the step, in a panel of its own.

    Args:
        trials: The trials of one study.
        space: The study's space.
        metric: The metric that compares trials; None marks no best lineage and colours no standing.
        chosen: Flat paths of the hyperparameters to draw; empty for all with more than one value.
    """
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
    """Draw the trials of one hyperparameter against the step, coloured by their standing.

    Args:
        axes: The axes to draw on.
        made: The trials to draw.
        scale: The axis upwards.
    """
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
    """Add the colour bar of the standings and the legend to a figure.

    Args:
        figure: The figure.
        grid: Its panels.
        metric: The metric that compares trials.
    """
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

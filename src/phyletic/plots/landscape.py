"""Members on a surface: their paths, an animation of them, and several studies side by side."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from phyletic.errors import InvalidArgument, MissingDependency
from phyletic.evolution.arguments import check_instance, check_mapping, check_number, check_sequence
from phyletic.plots.animation import Animation
from phyletic.plots.checks import check_metric, check_names, check_seconds, check_text, check_trials
from phyletic.plots.drawing import INK, new_figure, tidy
from phyletic.plots.lines import best_lineage, member_scores
from phyletic.plots.plane import Move, Point, Surface, lineage_points, moves
from phyletic.plots.tints import GREY, PALETTE
from phyletic.records import Metric, Trial

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = 64
"""Colours of an animation; more would make the file larger and look the same."""
_HEAD: dict[str, Any] = {"s": 22, "color": PALETTE[4], "edgecolors": "black", "linewidths": 0.6}


def landscape(
    trials: Sequence[Trial],
    metric: Metric,
    surface: Surface,
    coordinates: tuple[str, str],
    *,
    origin: Point | None = None,
    title: str = "",
) -> Figure:
    """Draw the paths of all members over a surface, and the best lineage on top.

    Args:
        trials: The trials of one study.
        metric: The metric that chooses the best lineage.
        surface: The surface to draw below the paths.
        coordinates: Names of the two metrics that give the place where a trial ended.
        origin: Where newborns begin; None if unknown.
        title: The title of the axes.

    Returns:
        A figure with ``savefig``; it needs no window system.

    Raises:
        InvalidArgument: ``trials`` is empty.
        MissingDependency: matplotlib is not installed.
    """
    trials, metric, surface = check_trials(trials), check_metric(metric), _check_surface(surface)
    coordinates, origin = _check_coordinates(coordinates), _check_origin(origin)
    title = check_text("title", title)
    made = moves(trials, coordinates, origin=origin)
    best = lineage_points(best_lineage(trials, metric), coordinates, origin=origin)
    figure = new_figure(6.4, 5.4)
    axes = figure.add_subplot()
    _draw_surface(axes, surface)
    bar: Any = figure.colorbar(axes.collections[0], ax=axes, shrink=0.85)
    bar.set_label(metric.name, fontsize=9)
    bar.ax.tick_params(labelsize=8)
    _draw_segments(axes, made, colour="white", width=0.7, alpha=0.75)
    heads = list({move.member: move.ends for move in made}.values())
    if best:
        axes.plot(*zip(*best, strict=True), color=PALETTE[1], linewidth=2.4, label="best lineage", zorder=5)
    if heads:
        axes.scatter(*zip(*heads, strict=True), **_HEAD, label=f"{len(heads)} members at the end", zorder=6)
    axes.set_xlabel(coordinates[0])
    axes.set_ylabel(coordinates[1])
    axes.set_title(title, loc="left", fontsize=10)
    axes.legend(fontsize=8, loc="upper right", framealpha=0.9)
    return figure


def landscape_animation(
    trials: Sequence[Trial],
    metric: Metric,
    surface: Surface,
    coordinates: tuple[str, str],
    *,
    seconds: float = 6.0,
    width: float = 4.6,
) -> Animation:
    """Show where each member is after each of its trials, and the best score so far.

    Args:
        trials: The trials of one study.
        metric: The metric whose best value is in the title.
        surface: The surface to draw below the paths.
        coordinates: Names of the two metrics that give the place where a trial ended.
        seconds: From the first frame to the last, from 0.01 to 600.
        width: In inches, of 80 pixels each; from 1 to 40.

    Returns:
        An animation with ``save(path)``, which a notebook plays.

    Raises:
        InvalidArgument: ``trials`` is empty, or none of them ended somewhere finite.
        MissingDependency: matplotlib or pillow is not installed.
    """
    trials, metric, surface = check_trials(trials), check_metric(metric), _check_surface(surface)
    coordinates = _check_coordinates(coordinates)
    check_seconds(seconds)
    check_number("width", width, least=1, most=40)
    made = moves(trials, coordinates)
    if not made:
        raise InvalidArgument("coordinates", coordinates, "two metrics that trials reported finite values of")
    figure = new_figure(width, 0.86 * width)
    try:
        from PIL import Image
    except ImportError:
        raise MissingDependency("pillow", "plots", "an animation") from None
    figure.set_dpi(80)
    axes = figure.add_subplot()
    _draw_surface(axes, surface)
    dots = axes.scatter([], [], **_HEAD, zorder=6)
    axes.set_xlabel(coordinates[0])
    axes.set_ylabel(coordinates[1])
    scores = {trial.number: trial.metrics.get(metric.name, trial.score) for trial in trials}
    better = max if metric.mode == "max" else min
    where: dict[int, Point] = {}
    best: float | None = None
    frames = []
    canvas: Any = figure.canvas
    for step in sorted({move.step for move in made}):
        for move in (move for move in made if move.step == step):
            where[move.member] = move.ends
            score = scores[move.trial]
            if score is not None:
                best = score if best is None else better(best, score)
        dots.set_offsets(list(where.values()))
        axes.set_title(f"step {step}: best {metric.name} {best:.4g}", loc="left", fontsize=9)
        canvas.draw()
        pixels = Image.frombytes("RGBA", canvas.get_width_height(), bytes(canvas.buffer_rgba())).convert("RGB")
        frames.append(pixels.quantize(_COLOURS, dither=Image.Dither.NONE))
    times = [int(1000 * seconds / len(frames))] * (len(frames) - 1) + [2500]
    content = io.BytesIO()
    frames[0].save(content, "GIF", save_all=True, append_images=frames[1:], duration=times, loop=0, optimize=True)
    return Animation(content.getvalue())


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
    """Draw, for each study, the path of every member over a surface, and below it the scores by step.

    A line shows where a member trained. A dotted line shows where its weights jumped to another member's, and a dot
    where they arrived.

    Args:
        runs: The trials of each study, by the name of its column.
        metric: What the lower row shows.
        surface: The surface to draw below the paths.
        coordinates: Names of the two metrics that give the place where a trial ended.
        origin: Where newborns begin; None if unknown.
        target: A score to draw as a line, such as the optimum.
        names: Of the two coordinates and the score, on the axes.
        title: The title of the figure.

    Returns:
        A figure with two rows and a column for each study, with ``savefig``; no window system is needed.

    Raises:
        InvalidArgument: A study has no trials.
        MissingDependency: matplotlib is not installed.
    """
    checked, metric, surface = _check_runs(runs), check_metric(metric), _check_surface(surface)
    coordinates, origin = _check_coordinates(coordinates), _check_origin(origin)
    if target is not None:
        check_number("target", target)
    names, title = check_names("names", names, 3, '("θ0", "θ1", "Q")'), check_text("title", title)
    figure = new_figure(3.2 * len(checked), 6.4)
    grid = figure.subplots(2, len(checked), squeeze=False, sharex="row", sharey="row")
    better = max if metric.mode == "max" else min
    for top, bottom, (name, trials) in zip(*grid, checked.items(), strict=True):
        _draw_surface(top, surface, filled=False)
        _draw_moves(top, moves(trials, coordinates, origin=origin))
        top.set_title(name, loc="left", fontsize=11, fontweight="bold")
        top.set_xlabel(names[0])
        tidy(bottom)
        if target is not None:
            bottom.axhline(target, color=GREY, linewidth=1.0, linestyle="--")
        scores = member_scores(trials, metric)
        for place, (member, (steps, values)) in enumerate(scores.items()):
            colour = PALETTE[place % len(PALETTE)]
            # draw thinner lines over thicker ones, so that members with equal scores both show
            bottom.plot(steps, values, color=colour, linewidth=max(1.2, 3.2 - 1.6 * place), label=f"member {member}")
        last = better(values[-1] for _, values in scores.values())
        bottom.set_title(f"best at the end: {last:.3f}", loc="left", fontsize=9)
        bottom.set_xlabel("step")
    grid[0][0].set_ylabel(names[1])
    grid[1][0].set_ylabel(names[2])
    grid[1][0].legend(fontsize=8, frameon=False, loc="lower right")
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
    return figure


def _check_runs(runs: object) -> dict[str, tuple[Trial, ...]]:
    made = check_mapping("runs", runs, "a dictionary of the trials of each study")
    if not made:
        raise InvalidArgument("runs", runs, "one study or more, each with trials", "Run them before plotting")
    for name in made:
        check_instance("runs", name, str, "a dictionary whose keys are of type str")
    return {name: check_trials(trials, f"runs[{name!r}]") for name, trials in made.items()}


def _check_surface(surface: object) -> Surface:
    return check_instance("surface", surface, Surface, "what phyletic.plots.plane.surface returns")


def _check_coordinates(coordinates: object) -> tuple[str, str]:
    x, y = check_names("coordinates", coordinates, 2, '("x", "y")')
    return x, y


def _check_origin(origin: object) -> Point | None:
    if origin is None:
        return None
    made = check_sequence("origin", origin, "two numbers, or None")
    if len(made) != 2:
        raise InvalidArgument("origin", origin, "two numbers, or None")
    for coordinate in made:
        check_number("origin", coordinate)
    return made


def _draw_surface(axes: Axes, surface: Surface, *, filled: bool = True) -> None:
    """Draw the contours of a surface and its marked places.

    Args:
        axes: The axes to draw on.
        surface: The surface.
        filled: Whether to fill the contours, in shades that every kind of colour vision tells apart.
    """
    tidy(axes)
    axes.grid(False)
    grid, levels = (surface.xs, surface.ys, surface.heights), surface.levels
    if filled:
        axes.contourf(*grid, levels=levels, cmap="cividis", extend="both", alpha=0.9)
    axes.contour(*grid, levels=levels, colors=INK, linewidths=0.4, alpha=0.6)
    for x, y in surface.marks:
        axes.plot([x], [y], marker="*", markersize=12, color="white", markeredgecolor="black", zorder=4.5)
    axes.set_xlim(float(surface.xs[0]), float(surface.xs[-1]))
    axes.set_ylim(float(surface.ys[0]), float(surface.ys[-1]))


def _draw_moves(axes: Axes, made: Sequence[Move]) -> None:
    """Draw each member's path in its own colour: training as lines, jumps of its weights as dots."""
    for place, member in enumerate(sorted({move.member for move in made})):
        own = [move for move in made if move.member == member]
        colour = PALETTE[place % len(PALETTE)]
        _draw_segments(axes, own, colour=colour, width=2.2)
        jumps = [(move.left, move.begins) for move in own if move.left is not None and move.begins is not None]
        for left, begins in jumps:
            axes.plot(*zip(left, begins, strict=True), color=colour, linewidth=0.9, linestyle=":", zorder=3)
        if jumps:
            xs, ys = zip(*(begins for _, begins in jumps), strict=True)
            axes.scatter(xs, ys, s=9, color=colour, zorder=4)
        axes.scatter(*own[-1].ends, s=30, color=colour, edgecolors="black", linewidths=0.6, zorder=6)


def _draw_segments(axes: Axes, made: Sequence[Move], *, colour: str, width: float, alpha: float = 1.0) -> None:
    """Draw each trial as a line from where it began to where it ended.

    Args:
        axes: The axes to draw on.
        made: The trials to draw.
        colour: The colour of the lines.
        width: Their width in points.
        alpha: Their opacity, from 0 to 1.
    """
    from matplotlib.collections import LineCollection

    trained = [[move.begins, move.ends] for move in made if move.begins is not None]
    axes.add_collection(LineCollection(trained, colors=colour, linewidths=width, alpha=alpha, zorder=3.5))

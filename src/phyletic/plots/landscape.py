"""Members on a surface: their paths, and an animation of them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from phyletic.errors import InvalidArgument, MissingDependency
from phyletic.evolution.arguments import check_number
from phyletic.plots.animation import Animation
from phyletic.plots.checks import (
    check_metric,
    check_names,
    check_origin,
    check_seconds,
    check_surface,
    check_text,
    check_trials,
)
from phyletic.plots.drawing import INK, PALETTE, new_figure, tidy
from phyletic.plots.line_data import best_lineage
from phyletic.plots.plane import Move, Point, Surface, lineage_points, moves
from phyletic.records import Metric, Trial

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_moves", "draw_surface", "landscape", "landscape_animation"]

_COLOURS = 64
"""Of an animation; more make the file larger and look the same."""


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
        metric: The metric by which the best lineage is chosen.
        surface: The surface to draw below the paths.
        coordinates: Names of the two metrics that say where a trial ended.
        origin: Where newborns begin; None if unknown.
        title: Above the axes.

    Returns:
        A figure, with ``savefig``; no window system is needed.

    Raises:
        InvalidArgument: ``trials`` is empty.
        MissingDependency: matplotlib is not installed.
    """
    trials, metric, surface = check_trials(trials), check_metric(metric), check_surface(surface)
    coordinates, origin = _coordinates(coordinates), check_origin(origin)
    title = check_text("title", title)
    made = moves(trials, coordinates, origin=origin)
    best = lineage_points(best_lineage(trials, metric), coordinates, origin=origin)
    figure = new_figure(6.4, 5.4)
    axes = figure.add_subplot()
    draw_surface(axes, surface)
    _scale(figure, axes, metric)
    _segments(axes, made, colour="white", width=0.7, alpha=0.75)
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


_HEAD: dict[str, Any] = {"s": 22, "color": PALETTE[4], "edgecolors": "black", "linewidths": 0.6}


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
        coordinates: Names of the two metrics that say where a trial ended.
        seconds: From the first frame to the last, from 0.01 to 600.
        width: In inches, of 80 pixels each; from 1 to 40.

    Returns:
        An animation with ``save(path)``, which a notebook plays.

    Raises:
        InvalidArgument: ``trials`` is empty, or none of them ended somewhere finite.
        MissingDependency: matplotlib or pillow is not installed.
    """
    trials, metric, surface = check_trials(trials), check_metric(metric), check_surface(surface)
    coordinates = _coordinates(coordinates)
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
    draw_surface(axes, surface)
    dots = axes.scatter([], [], **_HEAD, zorder=6)
    axes.set_xlabel(coordinates[0])
    axes.set_ylabel(coordinates[1])
    steps = sorted({move.step for move in made})
    scores = {trial.number: trial.metrics.get(metric.name, trial.score) for trial in trials}
    better = max if metric.mode == "max" else min
    where: dict[int, Point] = {}
    best: float | None = None
    frames = []
    canvas: Any = figure.canvas
    for step in steps:
        for move in (move for move in made if move.step == step):
            where[move.member] = move.ends
            score = scores[move.trial]
            if score is not None:
                best = score if best is None else better(best, score)
        dots.set_offsets(list(where.values()))
        axes.set_title(f"step {step}: best {metric.name} {best:.4g}", loc="left", fontsize=9)
        canvas.draw()
        frames.append(Image.fromarray(_pixels(canvas)).quantize(_COLOURS, dither=Image.Dither.NONE))
    times = [int(1000 * seconds / len(frames))] * (len(frames) - 1) + [2500]
    content = io.BytesIO()
    frames[0].save(content, "GIF", save_all=True, append_images=frames[1:], duration=times, loop=0, optimize=True)
    return Animation(content.getvalue())


def _coordinates(coordinates: object) -> tuple[str, str]:
    x, y = check_names("coordinates", coordinates, 2, '("x", "y")')
    return x, y


def _pixels(canvas: Any) -> Any:
    import numpy as np

    return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3])


def draw_surface(axes: Axes, surface: Surface, *, filled: bool = True) -> None:
    """Draw contours, filled in shades that all kinds of colour vision tell apart, and the marked places."""
    tidy(axes)
    axes.grid(False)
    if filled:
        axes.contourf(
            surface.xs, surface.ys, surface.heights, levels=surface.levels, cmap="cividis", extend="both", alpha=0.9
        )
    axes.contour(surface.xs, surface.ys, surface.heights, levels=surface.levels, colors=INK, linewidths=0.4, alpha=0.6)
    for x, y in surface.marks:
        axes.plot([x], [y], marker="*", markersize=12, color="white", markeredgecolor="black", zorder=4.5)
    axes.set_xlim(float(surface.xs[0]), float(surface.xs[-1]))
    axes.set_ylim(float(surface.ys[0]), float(surface.ys[-1]))


def draw_moves(axes: Axes, made: Sequence[Move], colours: Sequence[str]) -> None:
    """Draw each member's path in its colour: training as lines, jumps of its weights as dots.

    Args:
        axes: The axes to draw on.
        made: What each trial did.
        colours: A colour for each member, used again in turn.
    """
    members = sorted({move.member for move in made})
    for place, member in enumerate(members):
        own = [move for move in made if move.member == member]
        colour = colours[place % len(colours)]
        _segments(axes, own, colour=colour, width=2.2)
        jumps = [(move.left, move.begins) for move in own if move.left is not None and move.begins is not None]
        for left, begins in jumps:
            axes.plot(*zip(left, begins, strict=True), color=colour, linewidth=0.9, linestyle=":", zorder=3)
        if jumps:
            xs, ys = zip(*(begins for _, begins in jumps), strict=True)
            axes.scatter(xs, ys, s=9, color=colour, zorder=4)
        if own:
            axes.scatter(
                own[-1].ends[0], own[-1].ends[1], s=30, color=colour, edgecolors="black", linewidths=0.6, zorder=6
            )


def _segments(axes: Axes, made: Sequence[Move], *, colour: str, width: float, alpha: float = 1.0) -> None:
    from matplotlib.collections import LineCollection

    trained = [[move.begins, move.ends] for move in made if move.begins is not None]
    axes.add_collection(LineCollection(trained, colors=colour, linewidths=width, alpha=alpha, zorder=3.5))


def _scale(figure: Figure, axes: Axes, metric: Metric) -> None:
    shown = axes.collections[0]
    bar: Any = figure.colorbar(shown, ax=axes, shrink=0.85)
    bar.set_label(metric.name, fontsize=9)
    bar.ax.tick_params(labelsize=8)

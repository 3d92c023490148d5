"""Moving pictures: a plot as it grew, step by step, as an animated GIF."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from phyletic.disk import local_path
from phyletic.errors import InvalidArgument, MissingDependency
from phyletic.evolution.arguments import check_instance, check_integer, check_number, check_one_of
from phyletic.plots.axes import scale_of
from phyletic.plots.checks import check_metric, check_names, check_seconds, check_space, check_trials
from phyletic.plots.data import spots
from phyletic.plots.drawing import INK, new_figure
from phyletic.plots.families import best_trial, ordered_trials
from phyletic.plots.lineage_tree import lineage_tree
from phyletic.plots.parameters import draw_pair, pair_colours
from phyletic.plots.schedule import schedule
from phyletic.plots.scores import scores
from phyletic.records import Metric, Trial

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from phyletic.space import Space

_HOLD = 1.5
"""Seconds for which the last frame stays."""
_FASTEST = 50
"""Most frames in a second: a GIF counts hundredths of a second, and viewers slow down frames below two hundredths."""


class Animation:
    """An animated GIF, which a notebook plays.

    Args:
        gif: The file's content.

    Attributes:
        gif: The file's content.
    """

    def __init__(self, gif: bytes) -> None:
        self.gif = check_instance("gif", gif, bytes, "the content of a GIF file")

    def save(self, path: str | Path) -> None:
        """Write the file.

        Args:
            path: The file's name, which ends in ``.gif``.

        Raises:
            InvalidArgument: The name ends otherwise, or the file cannot be written.
        """
        allowed = "a file name that ends in .gif, in a folder that exists"
        target = local_path("path", path, allowed)
        if target.suffix.lower() != ".gif":
            raise InvalidArgument("path", str(path), allowed)
        try:
            target.write_bytes(self.gif)
        except OSError as error:
            raise InvalidArgument("path", str(path), f"{allowed} ({error.strerror})") from error

    def __repr__(self) -> str:
        return f"Animation({len(self.gif)} bytes)"

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return {"image/gif": base64.b64encode(self.gif).decode(), "text/plain": repr(self)}


def animate(
    trials: Sequence[Trial],
    space: Space,
    metric: Metric,
    *,
    kind: Literal["scores", "schedule", "lineage", "parameters"] = "scores",
    pair: tuple[str, str] | None = None,
    colour: Literal["founder", "member"] = "founder",
    frames: int = 40,
    seconds: float = 6.0,
    dpi: float = 72,
) -> Animation:
    """Show a plot as it grew, step by step.

    Colours, axes and the best lineage are those of the whole study, so the early frames already mark the lineage that
    wins in the end.

    Args:
        trials: The trials of one study, such as ``study.trials()``.
        space: The study's space.
        metric: The metric to draw, and which way it is better.
        kind: Which plot grows. ``"parameters"`` is two hyperparameters against each other, and needs ``pair``.
        pair: Two flat paths of hyperparameters, or names of reported metrics: across and upwards.
        colour: Of a pair: ``"founder"``, the newborn that began the lineage, or ``"member"`` (of 6 members at most).
        frames: Most frames, from 1 to 500.
        seconds: From the first frame to the last, from 0.01 to 600.
        dpi: Resolution, from 10 to 600; the size of the file grows with its square.

    Returns:
        An animation with ``save(path)``, which a notebook plays.

    Raises:
        InvalidArgument: No trial has ended, or an argument cannot be used.
        MissingDependency: matplotlib or pillow is not installed.
    """
    space, metric = check_space(space), check_metric(metric)
    check_one_of("kind", kind, ("scores", "schedule", "lineage", "parameters"))
    check_one_of("colour", colour, ("founder", "member"))
    check_integer("frames", frames, 1)
    check_number("frames", frames, most=500)
    check_seconds(seconds)
    check_number("dpi", dpi, least=10, most=600)
    names = None if pair is None else check_names("pair", pair, 2, '("lr", "momentum")')
    if (names is not None) != (kind == "parameters"):
        raise InvalidArgument("pair", pair, 'two names with kind="parameters", and None with others')
    ended = ordered_trials(check_trials(trials))
    if not ended:
        raise InvalidArgument("trials", len(trials), "trials of which at least one has ended", "Wait for the first")
    steps = sorted({trial.end_step or 0 for trial in ended})
    every = -(-len(steps) // frames)
    shown = steps[::-1][::every][::-1]
    if names is not None:
        figure, draw = _growing_pair(ended, space, metric, names, colour)
    else:
        figure, draw = _unveiled(ended, space, metric, kind)
    return Animation(_film(figure, draw, shown, seconds / max(1, len(shown)), dpi))


def _growing_pair(
    ended: Sequence[Trial], space: Space, metric: Metric, pair: Sequence[str], colour: str
) -> tuple[Figure, Callable[[int], None]]:
    """Return a plot of two axes, and a function that draws it as of a step.

    Args:
        ended: The trials that have ended, by number.
        space: The study's space.
        metric: The metric that chooses the best lineage.
        pair: As for :func:`animate`.
        colour: As for :func:`animate`.
    """
    x, y = (scale_of(name, ended, space) for name in pair)
    made = spots(ended, metric, x, y)
    tints, entries = pair_colours(ended, metric, made, colour)
    figure = new_figure(7.6, 5.0)
    figure.legend(handles=entries, fontsize=7, loc="outside right upper", frameon=False)
    axes = figure.add_subplot()
    last = max((spot.step for spot in made), default=1)

    def draw(step: int) -> None:
        axes.clear()
        draw_pair(axes, [spot for spot in made if spot.step <= step], x, y, tints, last=last)
        axes.set_xlim(*limits[0])
        axes.set_ylim(*limits[1])

    draw_pair(axes, made, x, y, tints, last=last)
    limits = axes.get_xlim(), axes.get_ylim()
    return figure, draw


def _unveiled(ended: Sequence[Trial], space: Space, metric: Metric, kind: str) -> tuple[Figure, Callable[[int], None]]:
    """Return a plot against the step, and a function that hides everything after a step.

    Args:
        ended: The trials that have ended, by number.
        space: The study's space.
        metric: The metric to draw, and which way it is better.
        kind: ``"scores"``, ``"schedule"`` or ``"lineage"``.
    """
    if kind == "schedule":
        # a metric that no trial reported marks no best lineage
        figure = schedule(ended, space, metric if best_trial(ended, metric) is not None else None)
    else:
        figure = scores(ended, metric) if kind == "scores" else lineage_tree(ended, metric)
    shown = [axes for axes in figure.axes if axes.get_visible()]
    right = max(axes.get_xlim()[1] for axes in shown)
    veils = [axes.axvspan(0, right, facecolor="white", edgecolor="none", zorder=20) for axes in shown]
    fronts = [axes.axvline(0, color="#808080", linewidth=0.8, zorder=21) for axes in shown]
    for axes in shown:
        axes.set_xlim(0, right)

    last = max(trial.end_step or 0 for trial in ended)

    def draw(step: int) -> None:
        for veil, front in zip(veils, fronts, strict=True):
            veil.set_x(step)
            veil.set_width(right - step)
            front.set_xdata([step, step])
            veil.set_visible(step < last)
            front.set_visible(step < last)

    return figure, draw


def _film(figure: Figure, draw: Callable[[int], None], steps: Sequence[int], each: float, dpi: float) -> bytes:
    """Return an animated GIF of a figure.

    Args:
        figure: The figure.
        draw: Draws the figure as of a step.
        steps: The step of each frame, rising.
        each: Seconds that a frame lasts.
        dpi: Resolution.
    """
    try:
        from matplotlib.animation import PillowWriter
    except ImportError:
        raise MissingDependency("pillow", "plots", "an animation") from None
    draw(steps[-1])
    said = figure.text(0.985, 0.02, f"step {steps[-1]}", ha="right", va="bottom", fontsize=11, color=INK)
    # lay out the whole once: a layout of each frame would make the picture shake
    figure.canvas.draw()
    figure.set_layout_engine("none")
    writer: Any = PillowWriter(fps=min(_FASTEST, max(1, round(1 / each))))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.gif"
        with writer.saving(figure, str(path), dpi):
            for step in steps:
                draw(step)
                said.set_text(f"step {step}")
                writer.grab_frame()
            for _ in range(round(_HOLD * writer.fps)):
                writer.grab_frame()
        return path.read_bytes()

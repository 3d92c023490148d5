"""Moving pictures: a plot as it grew, step by step, as an animated GIF."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from phyletic.disk import local_path
from phyletic.errors import InvalidArgument, MissingDependency
from phyletic.evolution.arguments import check_flag, check_instance, check_integer, check_number, check_one_of
from phyletic.plots.axes import scale_of
from phyletic.plots.checks import check_metric, check_names, check_seconds, check_space, check_trials
from phyletic.plots.drawing import INK, add_legend, axes_for, number_entry
from phyletic.plots.families import best_trial, ordered_trials
from phyletic.plots.interval_labels import draw_labels
from phyletic.plots.lineage_tree import lineage_tree
from phyletic.plots.pair import draw_pair, pair_labels, pair_legend
from phyletic.plots.reports import Reports, check_reports, reported
from phyletic.plots.schedule import schedule
from phyletic.plots.scores import scores
from phyletic.plots.spots import spots, spots_until
from phyletic.plots.tints import Colours, Labels, tints
from phyletic.records import Metric, Trial

if TYPE_CHECKING:
    from matplotlib.axes import Axes
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
    reports: Reports | None = None,
    colour: Literal["founder", "member"] = "founder",
    labels: Labels | None = None,
    colours: Colours | None = None,
    intervals: bool = True,
    ax: Axes | None = None,
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
        reports: Of scores and of a pair: what the trials reported, such as ``study.reports()``; None for their ends
            alone. Then there is a frame for each step with a report, as far as ``frames`` allows.
        colour: ``"founder"``, the newborn that began the lineage, or ``"member"`` (6 at most, unless ``colours`` is
            given), which ``"lineage"`` shows by its rows already.
        labels: Names for the legend, of newborns (by their trial's number) or members: a list for 0, 1, 2 and so on, or
            a dictionary by number.
        colours: Their matplotlib colours, likewise.
        intervals: Of scores and of a pair: whether to label each trial as far as labels fit.
        ax: Existing matplotlib axes to draw into, of whose figure frames are made; None for a new figure.
        frames: Most frames, from 1 to 500.
        seconds: From the first frame to the last, from 0.01 to 600.
        dpi: Resolution, from 10 to 600; the size of the file grows with its square.

    Returns:
        An animation with ``save(path)``, which a notebook plays.

    Raises:
        InvalidArgument: No trial has ended, or an argument cannot be used.
        MissingDependency: matplotlib or pillow is not installed.

    Example:
        >>> import phyletic as ph
        >>> from phyletic.testing.generations import completed_trial
        >>> space = ph.Space({"lr": ph.Float(0.0, 1.0)})
        >>> trials = [completed_trial(number, 0.5 + number, {"lr": 0.1}) for number in range(2)]
        >>> animate(trials, space, Metric("accuracy", "max"), dpi=20).gif[:3]
        b'GIF'
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
    said = check_reports(reports)
    check_flag("intervals", intervals)
    if reports is not None and kind not in ("scores", "parameters"):
        raise InvalidArgument("reports", reports, 'None, unless kind is "scores" or "parameters"')
    if colour != "founder" and kind == "lineage":
        raise InvalidArgument("colour", colour, '"founder" with kind="lineage"')
    looks: dict[str, Any] = {"colour": colour, "labels": labels, "colours": colours}
    if names is not None:
        figure, draw, steps = _growing_pair(ended, space, metric, names, said, {**looks, "labelled": intervals}, ax)
    else:
        options = {**looks, "ax": ax}
        if kind == "scores":
            options |= {"reports": said, "intervals": intervals}
        figure, draw = _unveiled(ended, space, metric, kind, options)
        steps = {trial.end_step or 0 for trial in ended}
        steps |= {int(step) for trial in ended for step, _ in reported(trial, said, metric.name)}
    order = sorted(steps)
    every = -(-len(order) // frames)
    shown = order[::-1][::every][::-1]
    return Animation(_film(figure, draw, shown, seconds / max(1, len(shown)), dpi))


def _growing_pair(
    ended: Sequence[Trial],
    space: Space,
    metric: Metric,
    pair: Sequence[str],
    reports: Reports,
    looks: Mapping[str, Any],
    ax: object,
) -> tuple[Figure, Callable[[int], None], set[int]]:
    """Return a figure of two axes, a function that draws it as it was at a step, and the steps with something new.

    Args:
        ended: The trials that have ended.
        space: The study's space.
        metric: What the best lineage is best in.
        pair: The names of the two axes.
        reports: What the trials reported.
        looks: Colours, names, and whether intervals are labelled.
        ax: Axes to draw into; None for a new figure.
    """
    x, y = (scale_of(name, ended, space) for name in pair)
    made = spots(ended, metric, x, y, reports)
    chosen = {name: value for name, value in looks.items() if name != "labelled"}
    shown = tints(ended, best_trial(ended, metric), **chosen)
    figure, axes = axes_for(ax, 7.6, 5.0)
    entries = pair_legend(made, shown)
    add_legend(figure, axes, entries, inside=ax is not None)
    last = max((spot.step for spot in made), default=1)
    below = set(axes.get_children())
    draw_pair(axes, made, x, y, shown, last=last)
    placed = pair_labels(axes, ended, made, x, y) if looks["labelled"] else []
    if any(label.short for label in placed):
        add_legend(figure, axes, [*entries, number_entry("step")], inside=ax is not None)
    limits = axes.get_xlim(), axes.get_ylim()
    drawn = {artist for artist in set(axes.get_children()) - below if artist is not axes.get_legend()}

    def draw(step: int) -> None:
        for artist in drawn:
            artist.remove()
        below = set(axes.get_children())
        draw_pair(axes, spots_until(made, step), x, y, shown, last=last)
        draw_labels(axes, [label for label in placed if label.step <= step])
        axes.set_xlim(*limits[0])
        axes.set_ylim(*limits[1])
        drawn.clear()
        drawn.update(set(axes.get_children()) - below)

    steps = {step for spot in made for step in spot.steps} | {trial.end_step or 0 for trial in ended}
    return figure, draw, steps if reports else {trial.end_step or 0 for trial in ended}


def _unveiled(
    ended: Sequence[Trial], space: Space, metric: Metric, kind: str, options: Mapping[str, Any]
) -> tuple[Figure, Callable[[int], None]]:
    """Return a plot against the step, and a function that hides everything after a step.

    Args:
        ended: The trials that have ended.
        space: The study's space.
        metric: What to draw.
        kind: Which plot.
        options: Its options.
    """
    from matplotlib.legend import Legend

    if kind == "schedule":
        # a metric that no trial reported marks no best lineage
        figure = schedule(ended, space, metric if best_trial(ended, metric) is not None else None, **options)
    elif kind == "scores":
        figure = scores(ended, metric, **options)
    else:
        figure = lineage_tree(ended, metric, **{**options, "colour": "founder"})
    given = options["ax"]
    shown = [axes for axes in figure.axes if axes.get_visible()] if given is None else [given]
    right = max(axes.get_xlim()[1] for axes in shown)
    veils = [axes.axvspan(0, right, facecolor="white", edgecolor="none", zorder=20) for axes in shown]
    fronts = [axes.axvline(0, color="#808080", linewidth=0.8, zorder=21) for axes in shown]
    for axes in shown:
        axes.set_xlim(0, right)
        for legend in axes.findobj(match=Legend, include_self=False):
            legend.set_zorder(22)

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
    try:
        from matplotlib.animation import PillowWriter
    except ImportError:
        raise MissingDependency("pillow", "plots", "an animation") from None
    draw(steps[-1])
    shown = figure.text(0.985, 0.02, f"step {steps[-1]}", ha="right", va="bottom", fontsize=11, color=INK)
    # lay out the whole once: a layout of each frame would make the picture shake
    figure.canvas.draw()
    figure.set_layout_engine("none")
    writer: Any = PillowWriter(fps=min(_FASTEST, max(1, round(1 / each))))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.gif"
        with writer.saving(figure, str(path), dpi):
            for step in steps:
                draw(step)
                shown.set_text(f"step {step}")
                writer.grab_frame()
            for _ in range(round(_HOLD * writer.fps)):
                writer.grab_frame()
        shown.remove()
        return path.read_bytes()

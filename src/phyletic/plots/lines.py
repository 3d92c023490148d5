"""Figures of lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from phyletic.errors import InvalidArgument
from phyletic.evolution.arguments import check_instance, check_integer, check_sequence
from phyletic.plots.checks import check_text
from phyletic.plots.drawing import GREY, PALETTE, new_figure, tidy
from phyletic.plots.line_data import Line, LinePanel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_lines", "lines", "ordered_colours"]


def lines(panels: Sequence[LinePanel], *, columns: int = 2, title: str = "") -> Figure:
    """Draw panels of lines, row by row.

    Args:
        panels: What to draw; see :mod:`phyletic.plots.line_data` for functions that make lines of trials.
        columns: Panels side by side, at least 1.
        title: The title of the figure.

    Returns:
        A figure, with ``savefig``; no window system is needed.

    Raises:
        InvalidArgument: There are no panels, or ``columns`` is below 1.
        MissingDependency: matplotlib is not installed.
    """
    panels = check_sequence("panels", panels, "a list of panels")
    for panel in panels:
        check_instance("panels", panel, LinePanel, "panels")
    if not panels:
        raise InvalidArgument("panels", panels, "at least one panel")
    check_integer("columns", columns, 1)
    title = check_text("title", title)
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    figure = new_figure(4.6 * columns, 3.5 * rows + 0.3 * bool(title))
    grid = figure.subplots(rows, columns, squeeze=False)
    flat = list(grid.flat)
    for axes, panel in zip(flat, panels, strict=False):
        draw_lines(axes, panel)
    for axes in flat[len(panels) :]:
        axes.set_visible(False)
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
    return figure


def draw_lines(axes: Axes, panel: LinePanel) -> None:
    """Draw one panel on given axes."""
    tidy(axes)
    found = 0
    for line in panel.lines:
        colour = line.colour or (GREY if line.dashed else PALETTE[found % len(PALETTE)])
        found += not line.dashed and line.colour is None
        axes.plot(line.xs, line.ys, **_style(line, colour))
    if panel.log_x:
        axes.set_xscale("log")
    if panel.log_y:
        axes.set_yscale("log")
    if panel.ticks:
        axes.set_xticks(list(panel.ticks), [f"{tick:g}" for tick in panel.ticks])
        axes.xaxis.minorticks_off()
    axes.margins(y=0.1)
    axes.set_title(panel.title, loc="left", fontsize=10)
    axes.set_xlabel(panel.x, fontsize=9)
    axes.set_ylabel(panel.y, fontsize=9)
    if panel.legend and any(line.label for line in panel.lines):
        axes.legend(fontsize=7.5, framealpha=0.85, edgecolor="none")


def _style(line: Line, colour: str) -> dict[str, Any]:
    style: dict[str, Any] = {"color": colour, "linewidth": line.width, "linestyle": "--" if line.dashed else "-"}
    if line.label:
        style["label"] = line.label
    if line.dots:
        style |= {"marker": "o", "markersize": 4}
    return style


def ordered_colours(count: int) -> list[str]:
    """Return colours for things in an order, from dark to light, told apart by all kinds of colour vision.

    Example:
        >>> ordered_colours(2)
        ['#440154', '#9bd93c']
    """
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    # The lightest part of viridis is weak on white.
    return [to_hex(colormaps["viridis"](0.85 * place / max(1, count - 1))) for place in range(count)]

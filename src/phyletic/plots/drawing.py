"""How every plot looks: figures without a window system, given axes, exploits, marks, one legend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from phyletic.errors import MissingDependency
from phyletic.evolution.arguments import check_instance
from phyletic.plots.axes import Scale
from phyletic.plots.data import Jump, Mark
from phyletic.plots.tints import GREY, Tints

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#303030"
HALO = "#D4D4D4"
"""Of the band behind the best lineage, if its own line has several colours."""
_MANY = 50
"""Of more exploits not every line is drawn."""
_MARKERS = {"not finite": "v", "failed": "X"}


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of ``width`` by ``height`` inches that needs no display.

    Raises:
        MissingDependency: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        from phyletic.plots.figure import NotebookFigure
    except ImportError:
        raise MissingDependency("matplotlib", "plots", "drawing") from None
    figure = NotebookFigure(figsize=(width, height), dpi=120, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def axes_for(ax: object, width: float, height: float) -> tuple[Figure, Axes]:
    """Return the axes to draw into, and their figure: given ones, or those of a new figure for None.

    Args:
        ax: Existing matplotlib axes, or None.
        width: Width of a new figure, in inches.
        height: Its height.

    Raises:
        InvalidArgument: ``ax`` is something else.
        MissingDependency: matplotlib is not installed.
    """
    if ax is None:
        figure = new_figure(width, height)
        return figure, figure.add_subplot()
    try:
        from matplotlib.axes import Axes
    except ImportError:
        raise MissingDependency("matplotlib", "plots", "drawing") from None
    axes = check_instance("ax", ax, Axes, "matplotlib axes, such as pyplot.subplots() makes, or None for a new figure")
    return axes.figure.figure, axes


def add_legend(figure: Figure, axes: Axes, entries: Sequence[Any], *, inside: bool) -> None:
    """Add a legend: beside the axes of a new figure; inside given axes, where it continues the one that is there.

    Args:
        figure: The figure.
        axes: The axes.
        entries: What it shows.
        inside: Whether it is inside the axes, and continues an earlier one; else it replaces an earlier one.
    """
    columns = -(-len(entries) // 26)
    for earlier in () if inside else figure.legends:
        earlier.remove()
    if inside:
        present = axes.get_legend()
        before = [] if present is None else list(present.legend_handles)
        known = {entry.get_label() for entry in before if entry is not None}
        both = [*before, *(entry for entry in entries if entry.get_label() not in known)]
        axes.legend(handles=both, fontsize=7, ncols=columns, framealpha=0.85, edgecolor="none").set_zorder(9)
    else:
        figure.legend(handles=entries, fontsize=7, ncols=columns, loc="outside right upper", frameon=False)


def panel_grid(count: int, title: str) -> tuple[Figure, list[Axes]]:
    """Return a figure of panels over the same steps, in one column, or in two if there are more than three.

    Args:
        count: How many panels.
        title: Above them.
    """
    columns = 1 if count <= 3 else 2
    rows = -(-count // columns)
    figure = new_figure(8.0 if columns == 1 else 11.0, 1.0 + 2.1 * rows)
    flat: list[Axes] = list(figure.subplots(rows, columns, sharex=True, squeeze=False).flat)
    for place, axes in enumerate(flat):
        axes.set_visible(place < count)
        if place < count <= place + columns:
            axes.set_xlabel("step")
            axes.tick_params(labelbottom=True)
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    return figure, flat[:count]


def tidy(axes: Axes) -> None:
    """Remove the frame and add a light grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#808080")
    axes.tick_params(which="both", colors=INK, labelsize=8)
    axes.grid(True, color="#E8E8E8", linewidth=0.6)
    axes.set_axisbelow(True)


def set_scale(axes: Axes, scale: Scale, which: Literal["x", "y"]) -> None:
    """Give one axis the scale, the ticks and the name of what it shows.

    Args:
        axes: The axes to change.
        scale: What the axis shows.
        which: The axis.
    """
    from matplotlib.ticker import MaxNLocator

    axis = axes.xaxis if which == "x" else axes.yaxis
    if scale.log:
        (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    if scale.integer and not scale.log:
        axis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if scale.levels:
        texts = [str(level) for level in scale.levels]
        axis.set_ticks(range(len(texts)), [text if len(text) <= 16 else text[:15] + "…" for text in texts])
    longest = 40 if which == "x" else 24
    axis.set_label_text(scale.name if len(scale.name) <= longest else "…" + scale.name[1 - longest :], fontsize=9)


def set_limits(axes: Axes, which: Literal["x", "y"], limits: tuple[float, float], *, widen: bool) -> None:
    """Set the limits of an axis.

    Args:
        axes: The axes.
        which: The axis.
        limits: The least and the largest value to show.
        widen: Whether what was shown before stays visible.
    """
    low, high = limits
    if widen:
        before = axes.get_xlim() if which == "x" else axes.get_ylim()
        low, high = min(low, *before), max(high, *before)
    (axes.set_xlim if which == "x" else axes.set_ylim)(low, high)


def draw_marks(axes: Axes, marks: Sequence[Mark], edge: float | None = None) -> None:
    """Mark the trials without a finite score.

    Args:
        axes: The axes to draw on.
        marks: The trials to mark.
        edge: Height of all marks, in parts of the axes' height; None to mark each in its member's row.
    """
    transform = axes.transData if edge is None else axes.get_xaxis_transform()
    for kind, marker in _MARKERS.items():
        chosen = [(mark.step, mark.member if edge is None else edge) for mark in marks if mark.kind == kind]
        if chosen:
            look: dict[str, Any] = {"s": 34, "color": "black", "edgecolors": "white", "linewidths": 0.6, "zorder": 6}
            axes.scatter(*zip(*chosen, strict=True), marker=marker, transform=transform, clip_on=False, **look)


def draw_jumps(axes: Axes, made: Sequence[Jump], tints: Tints) -> None:
    """Mark exploits: a dotted line from where a member was to where its new weights came from, and a dot there.

    Of many exploits, only vertical lines are drawn: others would cross the whole picture.

    Args:
        axes: The axes to draw on.
        made: The exploits.
        tints: The colours of lines.
    """
    from matplotlib.collections import LineCollection

    if not made:
        return
    crowd = min(1.0, _MANY / len(made))
    drawn = [jump for jump in made if jump.left is not None and (crowd == 1.0 or jump.left[0] == jump.start[0])]
    lines = [[jump.left or jump.start, jump.start] for jump in drawn]
    style: dict[str, Any] = {"linewidths": 0.6 + 0.6 * crowd, "linestyles": ":", "alpha": 0.25 + 0.75 * crowd}
    axes.add_collection(LineCollection(lines, colors=[tints.colour(jump) for jump in drawn], zorder=3.2, **style))
    shades = [tints.colour(jump) for jump in made]
    xs, ys = zip(*(jump.start for jump in made), strict=True)
    axes.scatter(xs, ys, s=6 + 10 * crowd, c=shades, edgecolors="white", linewidths=0.4, zorder=4.6)


def number_entry(meaning: str) -> Any:
    """Return the entry of a legend that says what the numbers in a picture are."""
    from matplotlib.lines import Line2D

    return Line2D([], [], color=INK, marker="$0$", markersize=4, markeredgewidth=0, linestyle="", label=meaning)


def legend(
    tints: Tints, marks: Sequence[Mark] = (), *, cut: int = 0, exploits: int = 0, band: bool = False
) -> list[Any]:
    """Return the legend's entries: the best lineage, the lines by importance, exploits, and the marks.

    Args:
        tints: The colours and names of the lines.
        marks: The trials without a finite score.
        cut: How many trials are beyond the axis.
        exploits: How many exploits are drawn.
        band: Whether the best lineage is a band behind the lines of its members.
    """
    from matplotlib.lines import Line2D

    def entry(label: str, colour: str = "black", **style: Any) -> Line2D:
        # matplotlib leaves out names that begin with an underscore
        return Line2D([], [], color=colour, label=f"\u200b{label}" if label.startswith("_") else label, **style)

    entries = []
    if tints.best and tints.order:
        whose = HALO if band else tints.colours[tints.order[0]] if tints.by == "founder" else INK
        entries.append(entry("best lineage", whose, linewidth=6.0 if band else 3.2))
    entries += [entry(tints.names[key], tints.colours[key], linewidth=1.4) for key in tints.own]
    rest = len(tints.order) - len(tints.own)
    if rest:
        entries.append(entry(f"{rest} other{'s' * (rest != 1)}", GREY, linewidth=1.4))
    if exploits:
        entries.append(entry(f"exploit ({exploits})", INK, linewidth=1.1, linestyle=":", marker=".", markevery=[1]))
    for kind, marker in _MARKERS.items():
        count = sum(mark.kind == kind for mark in marks)
        if count:
            label = f"score {kind} ({count})" if kind == "not finite" else f"{kind} ({count})"
            entries.append(entry(label, marker=marker, linestyle=""))
    if cut:
        entries.append(entry(f"beyond the axis ({cut})", marker="_", linestyle="", markersize=9))
    return entries

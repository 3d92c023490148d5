"""How every plot looks: figures without a window system, colours by founder, one legend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from phyletic.errors import MissingDependency
from phyletic.plots.axes import Scale
from phyletic.plots.data import Mark
from phyletic.plots.families import Family

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours for all kinds of colour vision (jfly.uni-koeln.de/color), the best family's first; yellow,
# which is weak on white, and black are left out.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
GREY = "#B8B8B8"
INK = "#303030"
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


def colours(shown: Sequence[Family]) -> dict[int, str]:
    """Return a colour by founder: the first families' own ones, grey for all others."""
    return {
        family.founder: PALETTE[place] if place < len(PALETTE) and (place == 0 or family.size > 1) else GREY
        for place, family in enumerate(shown)
    }


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


def legend(shown: Sequence[Family], colour: Mapping[int, str], marks: Sequence[Mark] = (), cut: int = 0) -> list[Any]:
    """Return the legend's entries: the best lineage, its family, other families by size, and the marks.

    Args:
        shown: The families, the one with the best trial first.
        colour: A colour by founder, as :func:`colours` gives it.
        marks: The trials without a finite score.
        cut: How many trials are beyond the axis.
    """
    from matplotlib.lines import Line2D

    def entry(label: str, colour: str = "black", **style: Any) -> Line2D:
        return Line2D([], [], color=colour, label=label, **style)

    own = [family for family in shown if colour[family.founder] != GREY]
    entries = [entry("best lineage", PALETTE[0], linewidth=3.2)] if shown and shown[0].best else []
    for family in own:
        label = f"born as trial {family.founder} ({family.size} trial{'s' * (family.size != 1)})"
        entries.append(entry(label, colour[family.founder], linewidth=1.4))
    rest = len(shown) - len(own)
    if rest:
        entries.append(entry(f"{rest} other{'s' * (rest != 1)}", GREY, linewidth=1.4))
    for kind, marker in _MARKERS.items():
        count = sum(mark.kind == kind for mark in marks)
        if count:
            label = f"score {kind} ({count})" if kind == "not finite" else f"{kind} ({count})"
            entries.append(entry(label, marker=marker, linestyle=""))
    if cut:
        entries.append(entry(f"beyond the axis ({cut})", marker="_", linestyle="", markersize=9))
    return entries

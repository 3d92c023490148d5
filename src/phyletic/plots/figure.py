"""The figure that every plot gives: one that a notebook shows by itself."""

from __future__ import annotations

import io

from matplotlib.figure import Figure

__all__ = ["NotebookFigure"]


class NotebookFigure(Figure):
    """A matplotlib figure that is shown where it is the last value of a notebook's cell.

    A figure that pyplot did not make is only its name there otherwise; pyplot keeps every figure until it is closed.
    """

    def _repr_png_(self) -> bytes:
        content = io.BytesIO()
        self.savefig(content, format="png")
        return content.getvalue()

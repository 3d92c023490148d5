"""The figure that every plot returns, which a notebook shows."""

from __future__ import annotations

import io

from matplotlib.figure import Figure


class NotebookFigure(Figure):
    """A matplotlib figure that a notebook shows if it is the last value of a cell.

    A notebook shows only the name of a plain figure, unless pyplot made it; and pyplot keeps every figure in memory
    until it is closed.
    """

    def _repr_png_(self) -> bytes:
        content = io.BytesIO()
        self.savefig(content, format="png")
        return content.getvalue()

"""Plain HTML tables, as notebooks show records."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape


def value_text(value: object) -> str:
    """Write a value in few characters, and nothing for None.

    Example:
        >>> value_text(0.0123456789), value_text(None), value_text("adam")
        ('0.0123457', '', 'adam')
    """
    if value is None:
        return ""
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 100 else text[:99] + "…"


def html_table(caption: str, titles: Sequence[str], rows: Sequence[Sequence[object]], *, most: int = 60) -> str:
    """Return a table as HTML, with every text escaped.

    Args:
        caption: What stands above it.
        titles: The headings; empty for a table whose rows begin with their own.
        rows: A value for each column.
        most: Most rows to show; of more, those in the middle are only counted.

    Example:
        >>> html_table("<a>", [], [["lr", 0.1]])
        '<table><caption>&lt;a&gt;</caption><tbody><tr><th>lr</th><td>0.1</td></tr></tbody></table>'
    """

    def line(cells: Sequence[object], heads: int) -> str:
        kinds = ["th"] * heads + ["td"] * (len(cells) - heads)
        return "".join(f"<{kind}>{escape(value_text(cell))}</{kind}>" for kind, cell in zip(kinds, cells, strict=True))

    upper, lower = (rows, []) if len(rows) <= most else (rows[: most // 2], rows[-(most // 2) :])
    body = [f"<tr>{line(row, 0 if titles else 1)}</tr>" for row in upper]
    if lower:
        left = len(rows) - len(upper) - len(lower)
        body.append(f'<tr><td colspan="{len(rows[0])}">… {left} more</td></tr>')
        body += [f"<tr>{line(row, 0 if titles else 1)}</tr>" for row in lower]
    head = f"<thead><tr>{line(titles, len(titles))}</tr></thead>" if titles else ""
    return f"<table><caption>{escape(caption)}</caption>{head}<tbody>{''.join(body)}</tbody></table>"

"""The live table: which members and which columns fit a terminal, and what is in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from phyletic.records import Value
from phyletic.study.progress import (
    MemberProgress,
    Progress,
    change_text,
    duration,
    number_text,
    short_names,
    sorted_members,
    totals_text,
    value_text,
)

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

__all__ = ["ASCII", "MOST_MEMBERS", "render"]

MOST_MEMBERS = 30
"""Members shown at most; of more, the best and the worst are."""

ASCII = str.maketrans({"×": "x", "↑": "^", "↓": "v", "←": "<", "…": "~", "●": "*", "○": "o", "✗": "x", "✓": "+"})
"""Stands in where a terminal cannot show more than ASCII."""

_STATES = {
    "running": ("●", "green"),
    "waiting": ("○", "yellow"),
    "idle": ("-", "bright_black"),
    "failed": ("✗", "red"),
    "done": ("✓", "cyan"),
}
_GAP = 2

Cell = tuple[str, str]
"""A text and its style."""


class Column(msgspec.Struct, frozen=True):
    """A column of the table.

    Attributes:
        title: Its heading, unique in the table.
        rank: What is dropped first where there is no room: the highest.
        cells: One for each member shown.
        justify: To which side.
    """

    title: str
    rank: int
    cells: tuple[Cell, ...]
    justify: Literal["left", "right"] = "right"

    @property
    def width(self) -> int:
        """Characters of its widest cell or its title."""
        return max(len(self.title), *(len(text) for text, _ in self.cells), 1)


def render(
    progress: Progress,
    left: float | None,
    *,
    width: int = 80,
    rows: int = MOST_MEMBERS,
    unicode: bool = True,
    widths: dict[str, int] | None = None,
) -> RenderableType:
    """Return the table as something rich can print.

    Args:
        progress: What to show.
        left: Estimated seconds left; None where unknown.
        width: Columns of the terminal; what does not fit is left out, the least important first.
        rows: Most members to show; of more, the best and the worst are shown.
        unicode: Whether the terminal can show more than ASCII.
        widths: Widest cell so far by column, which is updated: columns never shrink, so that the table stands still.
    """
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    widths = {} if widths is None else widths
    upper, lower = choose(progress, rows)
    chosen = fit(columns([*upper, *lower], progress), width, widths)
    table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="bold")

    def text(cell: Cell) -> Text:
        return Text(cell[0] if unicode else cell[0].translate(ASCII), style=cell[1])

    for column in chosen:
        table.add_column(text((column.title, "bold")), justify=column.justify, no_wrap=True, width=widths[column.title])
    for place in range(len(upper) + len(lower)):
        if lower and place == len(upper):
            table.add_row(text(("…", "bright_black")), *[""] * (len(chosen) - 1))
        table.add_row(*[text(column.cells[place]) for column in chosen])
    lines: list[Cell] = [(_title(progress), "bold")]
    footer: list[Cell] = []
    if lower:
        count = len(upper) + len(lower)
        footer.append((f"{count} of {len(progress.members)} members: the best and the worst", "bright_black"))
    footer.extend((line, "") for line in _footer(progress, left))
    lines = [*lines, *footer]
    drawn: list[RenderableType] = [_cut(text(line), width) for line in lines]
    return Group(drawn[0], table, *drawn[1:])


def _cut(line: Text, width: int) -> Text:
    line.no_wrap = True
    line.truncate(width, overflow="ellipsis" if line.plain.isascii() is False else "crop")
    return line


def choose(progress: Progress, rows: int) -> tuple[list[MemberProgress], list[MemberProgress]]:
    """Return the members to show: all in order, or the best and the worst where there are more than ``rows``."""
    if len(progress.members) <= rows:
        return list(progress.members), []
    ranked = sorted_members(progress)
    best = max(1, (rows - 1) * 2 // 3)
    worst = max(1, rows - 1 - best)
    return ranked[:best], ranked[-worst:]


def columns(members: list[MemberProgress], progress: Progress) -> list[Column]:
    """Return every column there could be, in the order they stand."""
    best = progress.best.member if progress.best is not None else None
    found = [
        Column("#", 0, tuple((str(m.member), "bold" if m.member == best else "") for m in members)),
        Column("", 1, tuple(_STATES[m.state] for m in members), "left"),
        Column("step", 2, tuple((_step(m), "") for m in members)),
        Column(_fitted(progress.metric.name), 3, tuple(_score(m.score, m.member == best) for m in members)),
        Column("best", 7, tuple((number_text(m.best), "") for m in members)),
        Column("from", 5, tuple(_origin(m) for m in members)),
    ]
    paths: dict[str, None] = {}
    for member in progress.members:
        paths.update(dict.fromkeys(member.hyperparameters))
    names = short_names(list(paths))
    varied = [
        path for path in paths if any(m.before.get(path) not in (None, m.hyperparameters.get(path)) for m in members)
    ]
    order = [*varied, *(path for path in paths if path not in varied)]
    # The first hyperparameter matters more than whom the weights came from, the others less and less.
    rank = {path: (4 if place == 0 else 6 if place == 1 else 8 + place) for place, path in enumerate(order)}
    found.extend(Column(names[path], rank[path], tuple(_value(m, path) for m in members), "left") for path in paths)
    found.append(Column("worker", 100, tuple((m.worker or "", "bright_black") for m in members), "left"))
    return found


def fit(found: list[Column], width: int, widths: dict[str, int]) -> list[Column]:
    """Return the columns that fit, the least important left out first; ``widths`` grows to their cells."""
    for column in found:
        widths[column.title] = max(column.width, widths.get(column.title, 0))
    room = width + _GAP
    kept: set[str] = set()
    for column in sorted(found, key=lambda column: column.rank):
        if widths[column.title] + _GAP <= room:
            room -= widths[column.title] + _GAP
            kept.add(column.title)
    return [column for column in found if column.title in kept]


def _fitted(name: str) -> str:
    return name if len(name) <= 10 else name[:9] + "…"


def _step(member: MemberProgress) -> str:
    return str(member.step) if member.limit is None else f"{member.step}/{member.limit}"


def _score(score: float | None, best: bool) -> Cell:
    if score is not None and not abs(score) < float("inf"):
        return number_text(score), "red"
    return number_text(score), "bold green" if best else ""


def _origin(member: MemberProgress) -> Cell:
    if member.donor is not None:
        return f"←{member.donor}", "magenta"
    return ("new", "bright_black") if member.trial is not None and member.parent is None else ("", "")


def _value(member: MemberProgress, path: str) -> Cell:
    if path not in member.hyperparameters:
        return "", ""
    value: Value = member.hyperparameters[path]
    change = change_text(member.before[path], value) if path in member.before else ""
    return f"{value_text(value, 8)} {change}".rstrip(), "magenta" if change else ""


def _title(progress: Progress) -> str:
    metric = progress.metric
    return f"{progress.study}: {metric.name} ({metric.mode}), {len(progress.members)} members, {progress.storage}"


def _footer(progress: Progress, left: float | None) -> list[str]:
    best = progress.best
    lines = []
    if best is not None:
        score = number_text(best.score, 6)
        lines.append(
            f"best {progress.metric.name} {score}: trial {best.number}, member {best.member}, step {best.end_step}"
        )
    lines.append(totals_text(progress))
    shares = _shares(progress)
    clock = duration(progress.seconds) + ("" if not left else f", about {duration(left)} left")
    lines.append(clock + (f"; {shares}" if shares else ""))
    return lines


def _shares(progress: Progress) -> str:
    timings = progress.timings
    kinds = ("training", "evaluating", "saving", "loading", "waiting")
    times = {kind: float(getattr(timings, kind)) for kind in kinds}
    whole = sum(times.values())
    if whole <= 0:
        return ""
    shares = {kind: round(100 * spent / whole) for kind, spent in times.items()}
    largest = sorted(shares.items(), key=lambda item: -item[1])[:3]
    return " ".join(f"{kind} {share}%" for kind, share in largest if share)

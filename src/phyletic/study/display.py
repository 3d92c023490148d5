"""Show a running study: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from phyletic.errors import InvalidArgument
from phyletic.records import Trial, TrialState
from phyletic.study.progress import (
    MemberProgress,
    Progress,
    damage_text,
    duration,
    ended_text,
    exploit_text,
    failure_text,
    number_text,
    progress_text,
    short_names,
    starting_text,
    time_left,
    totals_text,
    value_text,
)
from phyletic.workers.fleet_protocol import Starting

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

_REFRESH = 0.25
"""Seconds between two pictures of the live table."""
_PAUSE = 1.0
"""Least seconds between two plain lines about the whole study."""
_PATIENCE = 10.0
"""Seconds after which a plain line is printed although no generation was completed, or workers still start."""
_SILENCE = 60.0
"""Seconds after which a plain line is printed although nothing was committed."""
_MOST_MEMBERS = 30
"""Most members that the table shows; of a larger population it shows the best and the worst."""
_GAP = 2
_STATES = {
    "running": ("●", "green"),
    "waiting": ("○", "yellow"),
    "idle": ("-", "bright_black"),
    "failed": ("✗", "red"),
    "done": ("✓", "cyan"),
}


class LiveDisplay:
    """Shows a run while it lasts: ``with LiveDisplay() as display: display.update(progress)``.

    On a terminal it is a table, drawn again a few times a second however many updates there are. Elsewhere (a file, a
    pipe, a notebook) it is lines: one whenever as many trials were completed as there are members, one for each
    exploit, rescue and failure, and one when workers start, which is repeated at most every 10 s.

    Args:
        verbose: 0 is silent, 1 the default, 2 adds a line for every trial that ended.
        console: Where to write; by default standard error, so that standard output is the program's own.
        clock: Returns seconds.

    Raises:
        InvalidArgument: ``verbose`` is not 0, 1 or 2.
    """

    def __init__(
        self,
        *,
        verbose: int = 1,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not isinstance(verbose, int) or verbose not in (0, 1, 2):
            raise InvalidArgument("verbose", verbose, "0, 1 or 2")
        self._verbose = int(verbose)
        self._console = console
        self._clock = clock
        self._live: Live | None = None
        self._first: Progress | None = None
        self._latest: Progress | None = None
        self._shown: Progress | None = None
        self._shown_at = -math.inf
        self._announced_at = -math.inf
        self._widths: dict[str, int] = {}

    def __enter__(self) -> LiveDisplay:
        self._process = os.getpid()
        if self._verbose == 0:
            return self
        from rich.console import Console
        from rich.live import Live

        if self._console is None:
            self._console = Console(stderr=True, highlight=False)
        if self._console.is_terminal and not self._console.is_dumb_terminal:
            self._live = Live(console=self._console, auto_refresh=False, vertical_overflow="crop")
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if os.getpid() != self._process:
            return
        latest, shown = self._latest, self._shown
        # skip a last picture that differs from the shown one only in time
        if latest is not None and (shown is None or (latest.members, latest.open) != (shown.members, shown.open)):
            self._show(latest)
        if self._live is not None:
            self._live.stop()
            self._live = None

    def update(self, progress: Progress) -> None:
        """Show a new snapshot if enough time has passed; the last snapshot is always shown."""
        if self._first is None or (progress.starting is not None and not progress.starting.ready):
            # the speed is measured from the first trial on
            self._first = progress
        self._latest = progress
        if self._live is None and progress.starting is not None:
            self._announce(progress.starting)
        if self._is_due(progress, self._clock() - self._shown_at):
            self._show(progress)

    def _is_due(self, progress: Progress, passed: float) -> bool:
        """Whether to show a snapshot, some seconds after the one before."""
        if self._live is not None:
            return passed >= _REFRESH
        before = self._shown
        if before is None:
            return progress.open > 0 or progress.counters.completed > 0
        if progress.counters.completed - before.counters.completed >= max(1, len(progress.members)):
            return passed >= _PAUSE
        return passed >= (_SILENCE if progress.counters == before.counters else _PATIENCE)

    def _announce(self, starting: Starting) -> None:
        """Print a line about workers that start: once at the beginning, then only while they take long."""
        now = self._clock()
        first = self._announced_at == -math.inf
        if first or (now - self._announced_at >= _PATIENCE and starting.seconds >= _PATIENCE):
            self._announced_at = now
            self.line(starting_text(starting))

    def note(self, trial: Trial, instead: Trial | None = None) -> None:
        """Print a line about a trial that was decided or has ended, if it is worth one.

        A failure always is; an exploit or rescue if there is no table; every ended trial with ``verbose=2``.

        Args:
            trial: The trial.
            instead: The trial that it replaces, because that one's parent checkpoint was damaged; else None.
        """
        if instead is not None:
            self.line(damage_text(instead, trial))
        if trial.state is TrialState.FAILED:
            self.line(failure_text(trial))
        elif trial.state.open:
            if trial.decision.kind in ("exploit", "rescue") and (self._live is None or self._verbose == 2):
                self.line(exploit_text(trial))
        elif self._verbose == 2:
            self.line(ended_text(trial))

    def line(self, text: str) -> None:
        """Print a line, above the table if there is one."""
        if self._verbose and self._console is not None:
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _show(self, progress: Progress) -> None:
        if self._verbose == 0 or self._console is None:
            return
        self._shown, self._shown_at = progress, self._clock()
        left = time_left(self._first or progress, progress)
        if self._live is None:
            self.line(progress_text(progress, left))
            return
        rows = min(_MOST_MEMBERS, max(4, self._console.height - 6))
        picture = render(progress, left, width=self._console.width, rows=rows, widths=self._widths)
        self._live.update(picture, refresh=True)


class _Cell(NamedTuple):
    text: str
    style: str = ""


class _Column(NamedTuple):
    """A column of the table; if the table is too wide, columns of the highest rank are left out first.

    An optional one appears with its first text, and stays.
    """

    title: str
    rank: int
    cells: Sequence[_Cell]
    left: bool = False
    optional: bool = False


def render(
    progress: Progress,
    left: float | None,
    *,
    width: int = 80,
    rows: int = _MOST_MEMBERS,
    widths: dict[str, int] | None = None,
) -> RenderableType:
    """Return the table as something that rich can print.

    Args:
        progress: The study now.
        left: Estimated seconds left; None if unknown.
        width: Columns of the terminal; the least important columns of the table are left out until the rest fits.
        rows: Most members to show; of more, the best and the worst are shown.
        widths: Widest cell so far by column, which is updated: columns never shrink, so that the table stands still.
    """
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    def line(words: str, style: str = "") -> Text:
        drawn = Text(words, style, no_wrap=True)
        drawn.truncate(width, overflow="ellipsis")
        return drawn

    widths = {} if widths is None else widths
    upper, lower = choose(progress, rows)
    shown = [*upper, *lower]
    columns = _fit(_columns(shown, progress), width, widths)
    table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(
            Text(column.title), justify="left" if column.left else "right", no_wrap=True, width=widths[column.title]
        )
    for place in range(len(shown)):
        if lower and place == len(upper):
            table.add_row(Text("…", "bright_black"))
        table.add_row(*[Text(*column.cells[place]) for column in columns])
    metric, count = progress.metric, len(progress.members)
    title = line(f"{progress.study}: {metric.name} ({metric.mode}), {count} members, {progress.storage}", "bold")
    few = [line(f"{len(shown)} of {count} members: the best and the worst", "bright_black")] if lower else []
    starting = [line(starting_text(progress.starting), "yellow")] if progress.starting is not None else []
    return Group(title, table, *few, *map(line, _footer(progress, left)), *starting)


def choose(progress: Progress, rows: int) -> tuple[list[MemberProgress], list[MemberProgress]]:
    """Return the members to show: all in order, or the best and the worst of more than ``rows``.

    Members without a finite score are the worst.
    """
    if len(progress.members) <= rows:
        return list(progress.members), []
    sign = -1.0 if progress.metric.mode == "max" else 1.0

    def rank(member: MemberProgress) -> tuple[float, int]:
        known = member.score is not None and math.isfinite(member.score)
        return (sign * (member.score or 0.0) if known else math.inf, member.member)

    ranked = sorted(progress.members, key=rank)
    best = max(1, (rows - 1) * 2 // 3)
    worst = max(1, rows - 1 - best)
    return ranked[:best], ranked[-worst:]


def _columns(members: Sequence[MemberProgress], progress: Progress) -> list[_Column]:
    """Return every column that there could be, in the order in which they stand."""
    best = progress.best.member if progress.best is not None else None
    paths = list(dict.fromkeys(path for member in progress.members for path in member.hyperparameters))
    names = short_names(paths)
    # the hyperparameters that changed matter most: the first comes before the donor, the others after it
    order = sorted(paths, key=lambda path: not any(m.changes.get(path) for m in members))
    ranks = {path: (4, 6)[place] if place < 2 else 8 + place for place, path in enumerate(order)}
    name, limit = progress.metric.name, f"/{progress.limit}" if progress.limit else ""
    workers = [m.trial.worker if m.trial is not None and m.state == "running" else None for m in members]
    return [
        _Column("#", 0, [_Cell(str(m.member), "bold" if m.member == best else "") for m in members]),
        _Column("", 1, [_Cell(*_STATES[m.state]) for m in members], left=True),
        _Column("step", 2, [_Cell(f"{m.step}{limit}") for m in members]),
        _Column(name if len(name) <= 10 else name[:9] + "…", 3, [_score(m.score, m.member == best) for m in members]),
        _Column(
            "now", 4, [_Cell("" if m.reported is None else number_text(m.reported)) for m in members], optional=True
        ),
        _Column("best", 7, [_Cell(number_text(m.best)) for m in members]),
        _Column("from", 5, [_origin(m) for m in members]),
        *(_Column(names[path], ranks[path], [_value(m, path) for m in members], left=True) for path in paths),
        _Column("worker", 100, [_Cell(worker or "", "bright_black") for worker in workers], left=True),
    ]


def _fit(columns: list[_Column], width: int, widths: dict[str, int]) -> list[_Column]:
    """Return the columns that fit, without the least important ones; ``widths`` grows to their cells.

    Args:
        columns: All columns, in the order in which they stand.
        width: Columns of the terminal.
        widths: Widest cell so far by column, which is updated.
    """
    columns = [one for one in columns if not one.optional or one.title in widths or any(c.text for c in one.cells)]
    for column in columns:
        widest = max(len(column.title), *(len(cell.text) for cell in column.cells), 1)
        widths[column.title] = max(widest, widths.get(column.title, 0))
    room = width + _GAP
    kept: set[str] = set()
    for column in sorted(columns, key=lambda column: column.rank):
        if widths[column.title] + _GAP <= room:
            room -= widths[column.title] + _GAP
            kept.add(column.title)
    return [column for column in columns if column.title in kept]


def _score(score: float | None, best: bool) -> _Cell:
    if score is not None and not math.isfinite(score):
        return _Cell(number_text(score), "red")
    return _Cell(number_text(score), "bold green" if best else "")


def _origin(member: MemberProgress) -> _Cell:
    if member.donor is not None:
        return _Cell(f"←{member.donor}", "magenta")
    return _Cell("new" if member.trial is not None and member.trial.newborn else "", "bright_black")


def _value(member: MemberProgress, path: str) -> _Cell:
    if path not in member.hyperparameters:
        return _Cell("")
    change = member.changes.get(path, "")
    return _Cell(f"{value_text(member.hyperparameters[path], 8)} {change}".rstrip(), "magenta" if change else "")


def _footer(progress: Progress, left: float | None) -> list[str]:
    lines = [totals_text(progress)]
    if (best := progress.best) is not None:
        found = f"best {progress.metric.name} {number_text(best.score, 6)}"
        lines.insert(0, f"{found}: trial {best.number}, member {best.member}, step {best.end_step}")
    clock = duration(progress.seconds) + (f", about {duration(left)} left" if left else "")
    times = msgspec.structs.asdict(progress.timings)
    if (whole := sum(times.values())) > 0:
        shares = sorted(((round(100 * spent / whole), kind) for kind, spent in times.items()), key=lambda one: -one[0])
        clock += "; " + " ".join(f"{kind} {share}%" for share, kind in shares[:3] if share)
    return [*lines, clock]

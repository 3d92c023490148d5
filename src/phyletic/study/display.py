"""A running study on a terminal: a live table, or plain lines where the output is no terminal."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

import msgspec

from phyletic.errors import InvalidArgument
from phyletic.records import Trial, TrialState
from phyletic.study.progress import (
    MemberProgress,
    Progress,
    duration,
    number_text,
    summary_lines,
    time_left,
    totals_text,
    value_text,
)
from phyletic.study.progress_table import ASCII, MOST_MEMBERS, render

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live

__all__ = ["LiveDisplay", "MemberProgress", "Progress", "summary_lines"]

_REFRESH = 0.25
"""Seconds between two pictures of the live table."""
_PAUSE = 1.0
"""Least seconds between two plain lines about the whole study."""
_PATIENCE = 10.0
"""Seconds after which a plain line comes although no generation was completed."""


class LiveDisplay:
    """Shows a run while it lasts: ``with LiveDisplay() as display: display.update(progress)``.

    On a terminal it is a table that is drawn again a few times a second, whatever the number of updates. Elsewhere
    (a file, a pipe, a notebook) it is lines: one when as many trials were completed as there are members, and one for
    each exploit, rescue and failure.

    Args:
        verbose: 0 is silent, 1 the default, 2 has a line for every trial that ended.
        stream: Where to; standard error by default, so that standard output is the program's own.
        console: A rich console instead of ``stream``.
        clock: Gives seconds.

    Raises:
        InvalidArgument: ``verbose`` is not 0, 1 or 2.
    """

    def __init__(
        self,
        *,
        verbose: int = 1,
        stream: TextIO | None = None,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not isinstance(verbose, int) or verbose not in (0, 1, 2):
            raise InvalidArgument("verbose", verbose, "0, 1 or 2")
        self._verbose = int(verbose)
        self._stream = stream
        self._console = console
        self._clock = clock
        self._live: Live | None = None
        self._first: Progress | None = None
        self._latest: Progress | None = None
        self._shown: Progress | None = None
        self._shown_at = -float("inf")
        self._widths: dict[str, int] = {}

    def __enter__(self) -> LiveDisplay:
        self._process = os.getpid()
        if self._verbose == 0:
            return self
        from rich.console import Console
        from rich.live import Live

        if self._console is None:
            self._console = Console(file=self._stream or sys.stderr, highlight=False)
        if self._console.is_terminal and not self._console.is_dumb_terminal:
            self._live = Live(console=self._console, auto_refresh=False, vertical_overflow="crop")
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if os.getpid() != self._process:
            return
        latest = self._latest
        if latest is not None and (self._shown is None or _but_time(latest) != _but_time(self._shown)):
            self._show(latest)
        if self._live is not None:
            self._live.stop()
            self._live = None

    def update(self, progress: Progress) -> None:
        """Show a new snapshot, if it is time to; the last one is shown in any case."""
        self._first = self._first or progress
        self._latest = progress
        if self._verbose == 0 or self._console is None:
            return
        passed = self._clock() - self._shown_at
        if self._live is not None:
            due = passed >= _REFRESH
        else:
            completed = progress.completed - (self._shown.completed if self._shown else 0)
            due = (completed >= max(1, len(progress.members)) and passed >= _PAUSE) or passed >= _PATIENCE
        if due:
            self._show(progress)

    def note(self, trial: Trial, instead: Trial | None = None) -> None:
        """Tell of a trial that was decided or has ended.

        Where there is no table an exploit or rescue is told when it was decided; a failure is told anywhere; with
        ``verbose=2`` every trial that ended is.

        Args:
            trial: The trial.
            instead: The one whose place it takes, since the checkpoint that it started from was damaged.
        """
        if self._verbose == 0 or self._console is None:
            return
        if instead is not None:
            self._line(damage_text(instead, trial))
        if trial.state is TrialState.FAILED:
            self._line(failure_text(trial))
        elif trial.state.open:
            if trial.decision.kind in ("exploit", "rescue") and (self._live is None or self._verbose == 2):
                self._line(exploit_text(trial))
        elif self._verbose == 2:
            self._line(ended_text(trial))

    def line(self, text: str) -> None:
        """Print a line: above the table where there is one."""
        if self._verbose and self._console is not None:
            self._line(text)

    def _line(self, text: str) -> None:
        assert self._console is not None
        if not _unicode(self._console):
            text = text.translate(ASCII)
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _show(self, progress: Progress) -> None:
        if self._verbose == 0 or self._console is None:
            return
        self._shown, self._shown_at = progress, self._clock()
        left = time_left(self._first or progress, progress)
        if self._live is None:
            self._line(progress_text(progress, left))
            return
        height = max(4, self._console.height - 6)
        picture = render(
            progress,
            left,
            width=self._console.width,
            rows=min(MOST_MEMBERS, height),
            unicode=_unicode(self._console),
            widths=self._widths,
        )
        self._live.update(picture, refresh=True)


def _but_time(progress: Progress) -> Progress:
    return msgspec.structs.replace(progress, seconds=0.0, active_seconds=0.0)


def _unicode(console: Console) -> bool:
    return console.encoding.lower().startswith("utf")


def progress_text(progress: Progress, left: float | None) -> str:
    """Return the study's state on one line."""
    best = progress.best
    steps = [member.step for member in progress.members]
    least, most = min(steps, default=0), max(steps, default=0)
    reached = f"step {least}" if least == most else f"steps {least}-{most}"
    parts = [duration(progress.seconds), reached, totals_text(progress)]
    if best is not None:
        parts.append(f"best {progress.metric.name} {number_text(best.score, 5)} (trial {best.number})")
    if left:
        parts.append(f"about {duration(left)} left")
    return " | ".join(parts)


def exploit_text(trial: Trial) -> str:
    """Return what a member took from another, and what changed thereby, on one line."""
    decision = trial.decision
    if decision.donor is None and decision.donor_member is None:
        source = "starts afresh"
    else:
        donor = f"trial {decision.donor}" if decision.donor_member is None else f"member {decision.donor_member}"
        taken = "weights and hyperparameters" if decision.inherited in ("", "both") else decision.inherited
        source = f"takes {taken} of {donor} at step {trial.start_step}"
    changed = [
        f"{change.path} {value_text(change.before, 30, 5)} to {value_text(change.after, 30, 5)}"
        for change in decision.changes
        if change.before != change.after
    ]
    return f"member {trial.member} {decision.kind}: {source}" + (f"; {', '.join(changed)}" if changed else "")


def failure_text(trial: Trial) -> str:
    """Return that a trial failed, and of what, on one line."""
    lines = (trial.error or "no error was recorded").strip().splitlines()
    return f"member {trial.member} trial {trial.number} failed after {trial.attempts} attempts: {lines[-1]}"


def damage_text(given_up: Trial, trial: Trial) -> str:
    """Return that a checkpoint was damaged, and what is trained instead of the trial that loaded it, on one line."""
    origin = "the beginning" if trial.parent is None else f"trial {trial.parent}"
    return (
        f"warning: the checkpoint of trial {given_up.parent} is damaged, so trial {given_up.number} of member "
        f"{given_up.member} was given up; trial {trial.number} takes its place and starts from {origin}"
    )


def ended_text(trial: Trial) -> str:
    """Return a trial's result on one line."""
    score = "handed back early" if trial.state is TrialState.PARTIAL else f"score {number_text(trial.score, 5)}"
    values = ", ".join(f"{path} {value_text(value)}" for path, value in trial.hyperparameters.items())
    return (
        f"member {trial.member} trial {trial.number}: step {trial.start_step} to {trial.end_step}, {score}; {values}"
        f" ({trial.timings.training:.2f} s training)"
    )

"""A worker's place: its incarnations follow one another, until they die too often before they are of any use."""

from __future__ import annotations

from dataclasses import dataclass

from phyletic.workers.local_worker import LocalWorker

__all__ = ["Place"]

_LONGEST_PAUSE = 5.0
"""Seconds between two starts, at most."""


@dataclass
class Place:
    """A worker's place.

    Attributes:
        number: From 0.
        worker: The incarnation that lives.
        over: Whether there shall be no other one.
        early: How many in a row died before they asked for a trial.
        restarts: How many in a row died before they told a result.
        due: When the next one is to start, in seconds of the monotonic clock.
    """

    number: int
    worker: LocalWorker | None = None
    over: bool = False
    early: int = 0
    restarts: int = 0
    due: float = 0.0

    def vacant(self, now: float) -> bool:
        """Whether a worker is to be started here now."""
        return not self.over and self.worker is None and now >= self.due

    def again(self, now: float, *, asked: bool, early_deaths: int) -> bool:
        """Have the next worker started, at once the first time and ever later then; returns whether there is to be one.

        Args:
            now: In seconds of the monotonic clock.
            asked: Whether the one that died had asked for a trial.
            early_deaths: So many in a row that had not are the last.
        """
        self.restarts += 1
        self.early = 0 if asked else self.early + 1
        self.due = now + (0.0 if self.restarts == 1 else min(_LONGEST_PAUSE, 0.05 * 2.0**self.restarts))
        self.over = self.early >= early_deaths
        return not self.over

"""Snapshots of a running study, for its display."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Sequence

import msgspec

from phyletic.coordinator.ownership import Ownership
from phyletic.coordinator.state import Member, StudyState
from phyletic.records import StudyChange, Timings, Trial
from phyletic.records.event import DECIDED, ENDED_ATTEMPT, GIVEN_UP, RESULTS
from phyletic.study.display import LiveDisplay
from phyletic.study.progress import MemberProgress, MemberState, Progress
from phyletic.workers.fleet_protocol import Starting

_SHOW_SECONDS = 0.1
"""Least seconds between two snapshots of what was committed."""
_REFRESH_SECONDS = 0.5
"""Seconds between two snapshots while nothing is committed."""
_logger = logging.getLogger("phyletic")


class Snapshots:
    """Shows a run while it goes on: takes what was committed, and makes snapshots of the owner's state.

    Args:
        owner: The study's owner.
        storage: Where the study is stored, in words.
        display: Where to show the snapshots.

    Attributes:
        latest: The latest snapshot.
    """

    def __init__(self, owner: Ownership, storage: str, display: LiveDisplay) -> None:
        self._owner = owner
        self._storage = storage
        self._display = display
        self._began = time.monotonic()
        self._shown = 0.0
        self._cost = 0.0
        self._timings: dict[str, float] = {}
        self._damaged: dict[int, Trial] = {}
        self._remarks: set[str] = set()
        self._failed = 0
        self._starting: Starting | None = None
        # a lock that its thread may take again, since a finalizer may commit while a snapshot is drawn
        self._drawing = threading.RLock()
        self.latest: Progress = self._now()

    def take(self, changes: Sequence[StudyChange]) -> None:
        """Take what was committed: note the trials that were decided or have ended, and show the study if it is time.

        A trial that was given up because the checkpoint it started from was damaged is noted again with the trial that
        replaces it.
        """
        for change in changes:
            if change.kind == ENDED_ATTEMPT and change.payload["cause"] in ("error", "lost", "damaged"):
                self._failed += 1
            trial = change.trial
            if trial is None:
                continue
            if change.kind == DECIDED:
                self._display.note(trial, self._damaged.pop(trial.member, None))
            elif change.kind in (*RESULTS, GIVEN_UP):
                for part, spent in msgspec.structs.asdict(trial.timings).items():
                    self._timings[part] = self._timings.get(part, 0.0) + spent
                self._display.note(trial)
                for remark in trial.remarks:
                    if remark not in self._remarks:
                        self._remarks.add(remark)
                        self._display.line(f"trial {trial.number}: {remark}")
                if change.payload.get("cause") == "damaged":
                    self._damaged[trial.member] = trial
        if time.monotonic() - self._shown >= _SHOW_SECONDS:
            self.show()

    def refresh(self, starting: Starting | None = None) -> None:
        """Show the study if it is time, although nothing was committed: heartbeats have moved it, or workers start.

        Args:
            starting: The local workers that have not asked for a trial yet.
        """
        self._starting = starting
        # take at most a tenth of the time, however many members there are
        if time.monotonic() - self._shown < max(_REFRESH_SECONDS, 10 * self._cost):
            return
        try:
            self.show()
        except Exception:
            self._cost = math.inf
            _logger.exception("the display raised, and the study goes on")

    def show(self) -> None:
        """Show the study as it is now."""
        with self._drawing:
            self._shown = time.monotonic()
            self.latest = self._now()
            self._display.update(self.latest)
            self._cost = time.monotonic() - self._shown

    def _now(self) -> Progress:
        with self._owner.looking() as state:
            return Progress(
                study=state.identity.name,
                storage=self._storage,
                metric=state.identity.metric,
                budget=state.control.budget,
                limit=state.limit,
                members=tuple(_member(state, member) for member in state.population()),
                counters=state.counters,
                open=len(state.open),
                seconds=time.monotonic() - self._began,
                timings=Timings(**self._timings),
                best=state.best[0] if state.best else None,
                failed_attempts=self._failed,
                starting=self._starting,
            )


def _member(state: StudyState, member: Member) -> MemberProgress:
    opened = None if member.open is None else state.open[member.open]
    trial, step, value = member.tip, member.age, None
    now: MemberState = "idle"
    if opened is not None:
        trial, now = opened.trial, "waiting" if opened.lease is None else "running"
        reported = state.progress.get(trial.number)
        step = trial.start_step if reported is None or reported.step is None else reported.step
        if reported is not None:
            name = state.identity.metric.name
            value = next((said.value for said in reversed(reported.evaluations) if said.metric == name), None)
    elif member.view.failed:
        now = "failed"
    elif member.ended(state.limit):
        now = "done"
    head = member.view.trial
    score = None if head is None else head.score
    return MemberProgress(
        member=member.view.member,
        state=now,
        step=step,
        score=score,
        best=member.best_score,
        reported=value,
        trial=trial,
    )

"""Snapshots of a running study, for its display."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Literal

import msgspec

from phyletic.coordinator.owner import Owner
from phyletic.coordinator.state import Member, StudyState
from phyletic.records import StudyChange, Timings, Trial, Value
from phyletic.records.event import DECIDED, GIVEN_UP, RESULTS
from phyletic.study.progress import MemberProgress, Progress

__all__ = ["Snapshots"]

MemberState = Literal["running", "waiting", "idle", "failed", "done"]


class Snapshots:
    """Makes snapshots of a study from its owner's state and from what was committed since the run began.

    Args:
        owner: The study's owner.
        storage: Where it is stored, for the display.
    """

    def __init__(self, owner: Owner, storage: str) -> None:
        self._owner = owner
        self._storage = storage
        self._began = time.monotonic()
        self._timings: dict[str, float] = {}
        self._damaged: dict[int, Trial] = {}

    def take_in(self, changes: Sequence[StudyChange]) -> list[tuple[Trial, Trial | None]]:
        """Count what was committed.

        Returns:
            The trials that were decided or have ended, each with the one whose place it takes, if that one was given
            up because the checkpoint that it started from was damaged.
        """
        told: list[tuple[Trial, Trial | None]] = []
        for change in changes:
            trial = change.trial
            if trial is None:
                continue
            if change.kind == DECIDED:
                told.append((trial, self._damaged.pop(trial.member, None)))
            elif change.kind in (*RESULTS, GIVEN_UP):
                for part, spent in msgspec.structs.asdict(trial.timings).items():
                    self._timings[part] = self._timings.get(part, 0.0) + spent
                told.append((trial, None))
                if change.payload.get("cause") == "damaged":
                    self._damaged[trial.member] = trial
        return told

    def now(self) -> Progress:
        """Return a snapshot."""
        with self._owner.looking() as state:
            return self._progress(state)

    def _progress(self, state: StudyState) -> Progress:
        counters = state.counters
        return Progress(
            study=state.identity.name,
            storage=self._storage,
            metric=state.identity.metric,
            budget=state.control.budget,
            members=tuple(self._member(state, member) for member in state.population()),
            completed=counters.completed,
            open=len(state.open),
            exploits=counters.exploits,
            rescues=counters.rescues,
            failures=counters.failed,
            nonfinite=counters.nonfinite,
            member_steps=counters.member_steps,
            seconds=time.monotonic() - self._began,
            active_seconds=counters.active_seconds,
            timings=Timings(**self._timings),
            best=state.best[0] if state.best else None,
        )

    def _member(self, state: StudyState, member: Member) -> MemberProgress:
        number = member.view.member
        opened = None if member.open is None else state.open[member.open]
        trial = member.tip if opened is None else opened.trial
        head = member.view.trial
        said = None if opened is None else state.progress.get(opened.trial.number)
        step = member.age
        if said is not None and said.step is not None:
            step = said.step
        elif trial is not None and opened is not None:
            step = trial.start_step
        decision = None if trial is None else trial.decision
        donor = None if decision is None else decision.donor_member
        values: dict[str, Value] = {} if trial is None else dict(trial.hyperparameters)
        changes = () if decision is None else decision.changes
        return MemberProgress(
            member=number,
            state=self._state(state, member),
            step=step,
            limit=state.limit,
            score=None if head is None else head.score,
            best=member.best_score,
            hyperparameters=values,
            before={**values, **{change.path: change.before for change in changes if change.before is not None}},
            trial=None if trial is None else trial.number,
            parent=None if trial is None else trial.parent,
            donor=None if donor == number else donor,
            worker=None if opened is None or opened.lease is None else opened.trial.worker,
        )

    def _state(self, state: StudyState, member: Member) -> MemberState:
        if member.open is not None:
            return "running" if state.open[member.open].lease is not None else "waiting"
        if member.view.failed:
            return "failed"
        return "done" if member.ended(state.limit) else "idle"

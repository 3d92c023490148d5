"""Snapshots of a running study, for its display."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Literal

import msgspec

from phyletic.coordinator.messages import Command, Done, Fail, Grant, Reply, Tell
from phyletic.coordinator.owner import Owner
from phyletic.coordinator.state import Member, StudyState
from phyletic.records import Timings, Trial, TrialState, Value
from phyletic.study.progress import MemberProgress, Progress

__all__ = ["Snapshots"]

MemberState = Literal["running", "waiting", "idle", "failed", "done"]


class Snapshots:
    """Makes snapshots of a study from its owner's state and from what passed since the run began.

    Args:
        owner: The study's owner.
        trials: The study's trials when the run began, for what is counted over the whole study.
        storage: Where it is stored, for the display.
    """

    def __init__(self, owner: Owner, trials: Sequence[Trial], storage: str) -> None:
        self._owner = owner
        self._storage = storage
        self._began = time.monotonic()
        self._exploits = self._rescues = self._failures = self._nonfinite = 0
        self._timings: dict[str, float] = {}
        self._best: dict[int, float] = {}
        self._damaged: dict[int, Trial] = {}
        for trial in trials:
            self._count(trial)

    def take_in(self, commands: Sequence[Command], replies: Sequence[Reply]) -> list[tuple[Trial, Trial | None]]:
        """Count what a batch of commands led to.

        Returns:
            The trials that began or ended with it, each with the one whose place it takes, where that one was given up
            because the checkpoint that it started from was damaged.
        """
        told: list[tuple[Trial, Trial | None]] = []
        for command, reply in zip(commands, replies, strict=True):
            if isinstance(reply, Grant) and reply.lease.fence == 1:
                told.append((reply.trial, self._damaged.pop(reply.trial.member, None)))
            if isinstance(command, (Tell, Fail)) and isinstance(reply, Done) and reply.trial is not None:
                trial = reply.trial
                if not trial.state.open:
                    self._count(trial)
                    told.append((trial, None))
                    if isinstance(command, Fail) and command.cause == "damaged":
                        self._damaged[trial.member] = trial
        return told

    def _count(self, trial: Trial) -> None:
        if trial.state is TrialState.FAILED:
            self._failures += 1
        if trial.state.open:
            return
        self._exploits += trial.decision.kind == "exploit"
        self._rescues += trial.decision.kind == "rescue"
        for part, spent in msgspec.structs.asdict(trial.timings).items():
            self._timings[part] = self._timings.get(part, 0.0) + spent
        if trial.score is None:
            return
        if not trial.finite:
            self._nonfinite += 1
            return
        better = max if self._mode == "max" else min
        self._best[trial.member] = better(self._best.get(trial.member, trial.score), trial.score)

    @property
    def _mode(self) -> str:
        return self._owner.state.mode

    def now(self) -> Progress:
        """Return a snapshot."""
        state = self._owner.state
        return Progress(
            study=state.identity.name,
            storage=self._storage,
            metric=state.identity.metric,
            budget=state.control.budget,
            members=tuple(self._member(state, member) for member in state.population()),
            completed=state.counters.completed,
            open=len(state.open),
            exploits=self._exploits,
            rescues=self._rescues,
            failures=self._failures,
            nonfinite=self._nonfinite,
            member_steps=state.counters.member_steps,
            seconds=time.monotonic() - self._began,
            active_seconds=state.counters.active_seconds,
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
            best=self._best.get(number),
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

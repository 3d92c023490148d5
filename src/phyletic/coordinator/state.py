"""What the owner of a study keeps in memory: the population's heads, what is open, what must be kept.

A draft is a shallow copy: commands change the draft, and it becomes the state when its transaction is committed.
All that it holds is frozen, so a copy costs a few dictionaries.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import msgspec

from phyletic.evolution import Algorithm, MemberView
from phyletic.evolution.early_stop import TrialCurve
from phyletic.records import Evaluation, Lease, StudyControl, StudyIdentity, Trial
from phyletic.space import Space
from phyletic.storage.changes import Counters

__all__ = ["BEYOND", "HISTORY", "TAKEN_OUT", "Member", "OpenTrial", "Progress", "StudyState"]

TAKEN_OUT = "its member was taken out of the population"
BEYOND = "the budget was lowered, and ends before its first step"
HISTORY = 64
"""How many scores along a lineage are kept for comparison at equal age."""


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """One place in the population.

    Attributes:
        view: What the algorithm sees of it; ``view.trial`` is its head, the latest completed trial.
        tip: Its latest trial that left something to go on from: the head, or a partial trial after it.
        open: Number of its waiting or running trial; None while idle.
        last: Number of its latest trial of any state; -1 before the first.
        generation: Generation of its next trial.
        kept: Its latest two trials that left a checkpoint, newest first: the two heads that retention keeps.
    """

    view: MemberView
    tip: Trial | None = None
    open: int | None = None
    last: int = -1
    generation: int = 0
    kept: tuple[Trial, ...] = ()

    @property
    def age(self) -> int:
        """Steps trained along its lineage."""
        return 0 if self.tip is None or self.tip.end_step is None else self.tip.end_step

    def ended(self, limit: int | None) -> bool:
        """Whether it has no more steps to train."""
        return limit is not None and self.age >= limit and not self.view.failed


class OpenTrial(msgspec.Struct, frozen=True, kw_only=True):
    """A waiting or running trial.

    Attributes:
        trial: The record.
        lease: Who runs it; None while it waits.
        checkpoint: Id its running attempt may publish under; None while it waits.
        parent: The trial it starts from; None for a newborn.
        scores: Latest evaluations along its ancestors, for the algorithm's window.
        history: ``(end_step, score)`` of its ancestors, for matched comparison.
    """

    trial: Trial
    lease: Lease | None = None
    checkpoint: str | None = None
    parent: Trial | None = None
    scores: tuple[float, ...] = ()
    history: tuple[tuple[int, float], ...] = ()


class Progress(msgspec.Struct, frozen=True):
    """What a running attempt said of itself last; kept in memory only.

    Attributes:
        at: When, by the owner's clock.
        step: Step along the lineage; None where unknown.
        evaluations: Reported so far.
        hopeless: Whether the algorithm gave it up.
    """

    at: float
    step: int | None = None
    evaluations: tuple[Evaluation, ...] = ()
    hopeless: bool = False


@dataclass
class StudyState:
    """The state of a study, as of ``counters.sequence``.

    Attributes:
        id: Its key in the database.
        identity: What it is.
        control: How far it shall go.
        counters: Counted by the database in the same transactions.
        space: Its search space.
        algorithm: Its algorithm.
        members: By member, those of the present population and those taken out of it.
        open: Waiting and running trials, by number.
        parents: How many open trials start from a trial's checkpoint, by the trial's number.
        best: The best completed trials, best first.
        pinned: Numbers of trials whose checkpoints are kept for good.
        sessions: Numbers of the trials that a session runs.
        workers: Names of sessions.
        lease_seconds: How long the leases of detached sessions last, by session.
        deadlines: Until when they last now, by session.
        progress: What running attempts said last, by trial.
        curves: What the latest ended trials reported, by number.
        hopeless: Trials completed one after another whose score was not finite.
        stopped: Why the study stopped after failures; "" while it did not.
        clock: When the owner last decided something, by its clock.
        counted: When ``counters.active_seconds`` was last brought up to date, by its steady clock.
    """

    id: int
    identity: StudyIdentity
    control: StudyControl
    counters: Counters
    space: Space
    algorithm: Algorithm
    members: dict[int, Member] = field(default_factory=dict)
    open: dict[int, OpenTrial] = field(default_factory=dict)
    parents: dict[int, int] = field(default_factory=dict)
    best: tuple[Trial, ...] = ()
    pinned: frozenset[int] = frozenset()
    sessions: dict[str, tuple[int, ...]] = field(default_factory=dict)
    workers: dict[str, str] = field(default_factory=dict)
    lease_seconds: dict[str, float] = field(default_factory=dict)
    deadlines: dict[str, float] = field(default_factory=dict)
    progress: dict[int, Progress] = field(default_factory=dict)
    curves: tuple[TrialCurve, ...] = ()
    hopeless: int = 0
    stopped: str = ""
    clock: float | None = None
    counted: float | None = None

    def draft(self) -> StudyState:
        """Return a copy that can be changed without changing this state."""
        return replace(
            self,
            members=dict(self.members),
            open=dict(self.open),
            parents=dict(self.parents),
            sessions=dict(self.sessions),
            workers=dict(self.workers),
            lease_seconds=dict(self.lease_seconds),
            deadlines=dict(self.deadlines),
            progress=dict(self.progress),
        )

    @property
    def limit(self) -> int | None:
        """Age at which a member ends."""
        return self.control.budget.steps

    @property
    def mode(self) -> Literal["max", "min"]:
        """Which way the first metric is better."""
        return self.identity.metric.mode

    @property
    def running(self) -> int:
        """How many trials are granted."""
        return sum(len(numbers) for numbers in self.sessions.values())

    def population(self) -> list[Member]:
        """Return the members of the present population, in order."""
        return [self.member(number) for number in range(self.control.population)]

    def member(self, number: int) -> Member:
        """Return a member, which may be yet unborn."""
        found = self.members.get(number)
        return found if found is not None else Member(view=MemberView(member=number, trial=None))

    def better(self, score: float, than: float) -> bool:
        """Whether a score is better than another."""
        return score > than if self.mode == "max" else score < than

    def add_open(self, opened: OpenTrial) -> None:
        """Take in a trial that was decided."""
        trial = opened.trial
        self.open[trial.number] = opened
        if trial.parent is not None:
            self.parents[trial.parent] = self.parents.get(trial.parent, 0) + 1

    def drop_open(self, number: int) -> OpenTrial:
        """Take out a trial that has ended."""
        opened = self.open.pop(number)
        parent = opened.trial.parent
        if parent is not None:
            left = self.parents[parent] - 1
            if left:
                self.parents[parent] = left
            else:
                del self.parents[parent]
        self.progress.pop(number, None)
        return opened

    def held(self, lease: Lease) -> OpenTrial | None:
        """Return the running trial that a lease gives the right to; None where it was granted again or has ended."""
        opened = self.open.get(lease.trial)
        if opened is None or opened.lease is None:
            return None
        same = opened.lease.fence == lease.fence and opened.lease.token == lease.token
        return opened if same else None

    def hold(self, session: str, number: int) -> None:
        """Note that a session runs a trial."""
        self.sessions[session] = (*self.sessions.get(session, ()), number)

    def let_go(self, session: str, number: int) -> None:
        """Note that a session no longer runs a trial."""
        left = tuple(held for held in self.sessions.get(session, ()) if held != number)
        if left:
            self.sessions[session] = left
        else:
            self.sessions.pop(session, None)

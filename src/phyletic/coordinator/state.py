"""The state of a study in its owner's memory: members, open trials, sessions, and the indexes that keep asking cheap.

The state is changed in place by :mod:`phyletic.coordinator.transitions` while a batch of commands is decided, and then
written in one transaction. If anything fails on the way, the owner drops the state and reads it again, so nothing needs
to be copied before. With n members or open trials every operation here costs at most O(log n).
"""

from __future__ import annotations

import heapq
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from phyletic.evolution import Algorithm, MemberView, Population
from phyletic.evolution.early_stop import TrialCurve
from phyletic.evolution.ranking import Standings
from phyletic.records import Evaluation, Lease, Measured, StudyControl, StudyIdentity, Trial
from phyletic.records.evaluation import NOTHING_MEASURED
from phyletic.space import Space
from phyletic.storage.changes import Counters

HISTORY = 64
"""How many scores along a lineage are kept for comparison at equal age."""


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """One place in the population.

    Attributes:
        view: What the algorithm sees of it; ``view.trial`` is its head, the latest completed trial.
        tip: Its latest trial that left something to go on from: the head, or a partial trial after it.
        open: Number of its waiting or running trial; None while idle.
        latest: Number of its latest trial of any state; -1 before the first.
        generation: Generation of its next trial.
        kept: The trials whose checkpoints retention keeps for it, newest first.
        best_score: The best finite score its trials ever had; None before the first.
    """

    view: MemberView
    tip: Trial | None = None
    open: int | None = None
    latest: int = -1
    generation: int = 0
    kept: tuple[Trial, ...] = ()
    best_score: float | None = None

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
        measured: What the algorithm reads of its parent's lineage.
    """

    trial: Trial
    lease: Lease | None = None
    checkpoint: str | None = None
    parent: Trial | None = None
    measured: Measured = NOTHING_MEASURED


class Progress(msgspec.Struct, frozen=True):
    """What a running attempt said of itself last; kept in memory only.

    Attributes:
        at: When, by the owner's clock.
        step: Step along the lineage; None if unknown.
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
        counters: What is counted over the whole study.
        space: Its search space.
        algorithm: Its algorithm.
        members: By number, those of the present population and those taken out of it; change them by :meth:`put`.
        open: Waiting and running trials, by number; change them by :meth:`open_trial` and :meth:`close_trial`.
        parents: How many open trials start from a trial's checkpoint, by the trial's number.
        best: The best completed trials whose checkpoints are kept, best first.
        pinned: Numbers of trials whose checkpoints are kept for good.
        sessions: Numbers of the trials that a session runs.
        workers: Names of sessions.
        lease_seconds: How long the leases of detached sessions last, by session.
        deadlines: Until when they last now, by session.
        silent: Detached sessions that hold trials past their deadlines.
        progress: What running attempts said last, by trial; in memory only.
        unreachable: How many attempts in a row ended because the store of the checkpoints did not answer; in memory
            only, since a person who starts another owner has looked at the store.
        curves: What the latest ended trials reported, by number, if the algorithm stops trials early.
        running: How many trials are granted.
        busy: How many members of the population have an open trial.
        touched: Members that changed since the last commit, as they were before it.
        counted: When ``counters.active_seconds`` was last brought up to date, by the owner's steady clock.
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
    pinned: set[int] = field(default_factory=set)
    sessions: dict[str, tuple[int, ...]] = field(default_factory=dict)
    workers: dict[str, str] = field(default_factory=dict)
    lease_seconds: dict[str, float] = field(default_factory=dict)
    deadlines: dict[str, float] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    progress: dict[int, Progress] = field(default_factory=dict)
    unreachable: int = 0
    curves: tuple[TrialCurve, ...] = ()
    running: int = 0
    busy: int = 0
    touched: dict[int, Member | None] = field(default_factory=dict)
    counted: float | None = None

    def __post_init__(self) -> None:
        self._waiting: list[int] = []
        self._expiry: list[tuple[float, str]] = []
        self._idle: list[tuple[int, int, int]] = []
        self._failed: list[tuple[int, int, int]] = []
        self._holders: dict[int, int] = {}
        self._views: list[MemberView] = []
        self._standings = Standings(self.mode)
        self._population: Population | None = None
        self.set_population()

    @property
    def limit(self) -> int | None:
        """Age at which a member ends."""
        return self.control.budget.steps

    @property
    def mode(self) -> Literal["max", "min"]:
        """Which way the first metric is better."""
        return self.identity.metric.mode

    def better(self, score: float, than: float) -> bool:
        """Whether a score is better than another."""
        return score > than if self.mode == "max" else score < than

    # Members

    def population(self) -> list[Member]:
        """Return the members of the present population, in order."""
        return [self.member(number) for number in range(self.control.population)]

    def member(self, number: int) -> Member:
        """Return a member; an empty one if it has no trial yet."""
        found = self.members.get(number)
        return found if found is not None else Member(view=MemberView(member=number, trial=None))

    def put(self, member: Member) -> None:
        """Change a member, with everything that is derived from members."""
        number = member.view.member
        before = self.members.get(number)
        self.touched.setdefault(number, before)
        self.members[number] = member
        if before is not None:
            for trial in _referred_to(before):
                self._holders.pop(trial, None)
        self._holders.update(dict.fromkeys(_referred_to(member), number))
        if number < self.control.population:
            self.busy += (member.open is not None) - (before is not None and before.open is not None)
            self._index(member)

    def set_population(self) -> None:
        """Derive everything from the members anew, after a change of the population's size or after loading."""
        self._holders = {trial: number for number, member in self.members.items() for trial in _referred_to(member)}
        self._idle, self._failed, self.busy = [], [], 0
        self._views, self._standings, self._population = [], Standings(self.mode), None
        for number in range(self.control.population):
            member = self.member(number)
            self._views.append(MemberView(member=number))
            self.busy += member.open is not None
            self._index(member)

    def _index(self, member: Member) -> None:
        if self._views[member.view.member] is not member.view:
            self._views[member.view.member] = member.view
            self._standings.put(member.view)
            self._population = None
        if member.open is None:
            heapq.heappush(self._failed if member.view.failed else self._idle, _idle_key(member))

    def holder(self, trial: int) -> Member | None:
        """Return the member whose head, tip or kept trial has that number."""
        number = self._holders.get(trial)
        return None if number is None else self.members[number]

    def population_view(self) -> Population:
        """Return what an algorithm sees of the present population."""
        if self._population is None:
            self._population = Population(
                space=self.space,
                mode=self.mode,
                members=tuple(self._views),
                as_of=self.counters.sequence,
                limit=self.limit,
                ranked=self._standings.ranking(),
            )
        elif self._population.as_of != self.counters.sequence or self._population.limit != self.limit:
            self._population = msgspec.structs.replace(self._population, as_of=self.counters.sequence, limit=self.limit)
        return self._population

    def furthest_behind(self, in_memory: Collection[int], *, failed: bool) -> Member | None:
        """Return the idle member with the fewest steps; None if none has steps left to train.

        Ties go to a member whose weights are in memory, then to the one that has been idle longest.

        Args:
            in_memory: Numbers of the trials whose end states the asking session holds.
            failed: Whether to look among the members whose latest trial was given up; else among the others.
        """
        heap = self._failed if failed else self._idle
        while heap and not self._is_current(heap[0], failed):
            heapq.heappop(heap)
        if not heap or (not failed and self.limit is not None and heap[0][0] >= self.limit):
            return None
        age = heap[0][0]
        held = [member for trial in in_memory if (member := self.holder(trial)) is not None and _is_tip(member, trial)]
        keys = [_idle_key(member) for member in held if member.age == age]
        return self.member(min([key for key in keys if self._is_current(key, failed)], default=heap[0])[2])

    def _is_current(self, key: tuple[int, int, int], failed: bool) -> bool:
        number = key[2]
        if number >= self.control.population:
            return False
        member = self.member(number)
        return member.open is None and member.view.failed is failed and _idle_key(member) == key

    # Open trials

    def open_trial(self, opened: OpenTrial) -> None:
        """Take in a trial that was decided or loaded."""
        trial = opened.trial
        self.open[trial.number] = opened
        if trial.parent is not None:
            self.parents[trial.parent] = self.parents.get(trial.parent, 0) + 1
        if opened.lease is None:
            heapq.heappush(self._waiting, trial.number)
        else:
            self._hold(opened.lease)

    def close_trial(self, number: int) -> OpenTrial:
        """Take out a trial that has ended."""
        self.release(number)
        opened = self.open.pop(number)
        parent = opened.trial.parent
        if parent is not None:
            self.parents[parent] -= 1
            if not self.parents[parent]:
                del self.parents[parent]
        return opened

    def grant(self, opened: OpenTrial) -> None:
        """Note that a session runs a trial that waited."""
        assert opened.lease is not None
        self.open[opened.trial.number] = opened
        self._hold(opened.lease)

    def release(self, number: int) -> None:
        """Note that no session runs a trial any more; it waits."""
        opened = self.open[number]
        if opened.lease is None:
            return
        session = opened.lease.session
        left = tuple(held for held in self.sessions[session] if held != number)
        if left:
            self.sessions[session] = left
        else:
            del self.sessions[session]
            if session in self.silent:
                self.silent.discard(session)
                heapq.heappush(self._expiry, (self.deadlines[session], session))
        self.running -= 1
        self.progress.pop(number, None)
        self.open[number] = msgspec.structs.replace(opened, lease=None, checkpoint=None)
        heapq.heappush(self._waiting, number)

    def _hold(self, lease: Lease) -> None:
        self.sessions[lease.session] = (*self.sessions.get(lease.session, ()), lease.trial)
        self.running += 1

    def first_waiting(self) -> OpenTrial | None:
        """Return the waiting trial with the lowest number."""
        while self._waiting:
            opened = self.open.get(self._waiting[0])
            if opened is not None and opened.lease is None:
                return opened
            heapq.heappop(self._waiting)
        return None

    def held(self, lease: Lease) -> OpenTrial | None:
        """Return the running trial that a lease gives the right to; None if it was granted again or has ended."""
        opened = self.open.get(lease.trial)
        if opened is None or opened.lease is None:
            return None
        same = opened.lease.fence == lease.fence and opened.lease.token == lease.token
        return opened if same else None

    # Deadlines

    def set_deadline(self, session: str, deadline: float) -> None:
        """Set the time at which a detached session's leases end unless it renews them."""
        if session not in self.deadlines or deadline < self.deadlines[session] or session in self.silent:
            heapq.heappush(self._expiry, (deadline, session))
        self.deadlines[session] = deadline
        self.silent.discard(session)

    def move_deadlines(self, seconds: float, sessions: Collection[str]) -> None:
        """Move the deadlines of some sessions by a time during which nobody could reach the owner."""
        self.deadlines.update({session: self.deadlines[session] + seconds for session in sessions})
        self._expiry = [(deadline, session) for session, deadline in self.deadlines.items()]
        heapq.heapify(self._expiry)
        self.silent.clear()

    def forget_session(self, session: str) -> None:
        """Forget a session that holds nothing."""
        self.workers.pop(session, None)
        self.lease_seconds.pop(session, None)
        self.deadlines.pop(session, None)
        self.silent.discard(session)

    def pass_deadlines(self, now: float) -> list[str]:
        """Note whose deadline has passed; returns the sessions that hold nothing and can be forgotten."""
        idle: list[str] = []
        while self._expiry and self._expiry[0][0] < now:
            _, session = heapq.heappop(self._expiry)
            deadline = self.deadlines.get(session)
            if deadline is None or session in self.silent:
                continue
            if deadline >= now:
                heapq.heappush(self._expiry, (deadline, session))
            elif session in self.sessions:
                self.silent.add(session)
            else:
                idle.append(session)
        return idle


def _referred_to(member: Member) -> set[int]:
    named = (member.view.trial, member.tip, *member.kept)
    return {trial.number for trial in named if trial is not None}


def _is_tip(member: Member, trial: int) -> bool:
    return member.tip is not None and member.tip.number == trial


def _idle_key(member: Member) -> tuple[int, int, int]:
    return (member.age, member.latest, member.view.member)

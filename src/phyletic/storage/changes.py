"""What a decision changes in a study: plain records that :mod:`phyletic.storage.writing` writes in one transaction."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields

import msgspec

from phyletic.errors import StorageError
from phyletic.records import (
    CheckpointReference,
    CheckpointState,
    Evaluation,
    Event,
    Lease,
    Measured,
    StudyControl,
    StudyIdentity,
    Trial,
)


class StaleState(StorageError):
    """The decision saw a state that is no longer the stored one: drop what is cached and load it again."""


class Counters(msgspec.Struct, frozen=True, kw_only=True):
    """What is counted over a whole study.

    Attributes:
        next_trial: Number of the next trial.
        sequence: Rises by one with each write; names a state of the study.
        epoch: Rises with each owner; what an earlier owner decided can no longer be written.
        completed: Trials told with a score.
        partial: Trials handed back early.
        failed: Trials given up.
        exploits: Ended trials that took another member's checkpoint or hyperparameters because their member lost.
        rescues: Ended trials that replaced a failed one, or one whose score was not finite.
        nonfinite: Scores that were NaN or infinite.
        failures_in_a_row: Failed attempts since the last completion.
        nonfinite_in_a_row: Completed trials without a finite score since the last with one.
        since_best: Completed trials since the last one with a new best score.
        active_seconds: Time during which trials were running.
        member_steps: Steps trained, summed over all trials.
        clock: The owner's clock at the latest write, in seconds since 1970; None before the first.
    """

    next_trial: int = 0
    sequence: int = 0
    epoch: int = 0
    completed: int = 0
    partial: int = 0
    failed: int = 0
    exploits: int = 0
    rescues: int = 0
    nonfinite: int = 0
    failures_in_a_row: int = 0
    nonfinite_in_a_row: int = 0
    since_best: int = 0
    active_seconds: float = 0.0
    member_steps: int = 0
    clock: float | None = None


class StoredStudy(msgspec.Struct, frozen=True):
    """A study as it is stored.

    Attributes:
        id: Its key in this database.
        identity: What never changes.
        control: What may.
        counters: What is counted.
        best: Numbers of the best completed trials whose checkpoints are kept, best first.
        created: When, in seconds since 1970.
    """

    id: int
    identity: StudyIdentity
    control: StudyControl
    counters: Counters
    best: tuple[int, ...] = ()
    created: float = 0.0


class TrialUpdate(msgspec.Struct, frozen=True):
    """A new or open trial, as it shall be afterwards.

    Of an open trial, what it is stays (its number, member, parent, hyperparameters and so on); how far it is becomes
    what ``trial`` says.

    Attributes:
        trial: The new facts.
        held: Who must hold the trial for the update to be written; None where that does not matter.
        lease: Who holds it afterwards; None where nobody does (the fence and the token of the last grant stay).
        digest: Of the result that was told, so that the same tell is known when it comes again.
        checkpoint: Id under which its running attempt may publish; None if none runs.
    """

    trial: Trial
    held: Lease | None = None
    lease: Lease | None = None
    digest: str | None = None
    checkpoint: str | None = None


class MemberRow(msgspec.Struct, frozen=True, kw_only=True):
    """A place in the population, as it is stored; trials are named by their numbers.

    Attributes:
        member: Its number, from 0.
        generation: Generation of its next trial.
        latest: Number of its latest trial, of any state.
        head: Its latest completed trial that it may go on from; None without one.
        tip: Its latest trial that left something to go on from; None without one.
        kept: Trials whose checkpoints it keeps, at most three, newest first.
        failed: Whether its next decision is a rescue.
        early_stopped: Whether its latest trial ended because the algorithm gave it up.
        best_score: The best finite score its trials ever had; None before the first.
        measured: What the algorithm reads of its head's lineage.
        open_measured: The same of the trial that its open trial starts from.
    """

    member: int
    generation: int
    latest: int
    head: int | None
    tip: int | None
    kept: tuple[int, ...]
    failed: bool
    early_stopped: bool
    best_score: float | None
    measured: Measured
    open_measured: Measured


class SessionRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One incarnation of a worker.

    Attributes:
        session: Its identity: 32 hexadecimal digits.
        worker: The name a person gave it.
        pid: Its process, where a later owner must end it; else None.
        created: When that process was created, as the system tells it, so that a reused pid is not mistaken for it.
        lease_seconds: How long a detached session's leases last without a word from it; None if the session lives as
            long as its owner.
        deadline: When a detached session's leases end unless it renews them, by the owner's clock.
        epoch: The owner's epoch in which it joined.
        joined: When it joined, in seconds since 1970.
    """

    session: str
    worker: str
    pid: int | None = None
    created: float | None = None
    lease_seconds: float | None = None
    deadline: float | None = None
    epoch: int = 0
    joined: float = 0.0


class StoredCheckpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A checkpoint's place in its life.

    Attributes:
        id: 32 hexadecimal digits.
        trial: Number of the trial whose attempt may publish, or has published it.
        fence: Of that attempt.
        state: Where it is in its life.
        reference: Names its bytes; None if it was condemned untold.
        pinned: Whether it is kept for good.
    """

    id: str
    trial: int
    fence: int
    state: CheckpointState
    reference: CheckpointReference | None = None
    pinned: bool = False


@dataclass
class Changes:
    """All that one decision changes; written whole, or not at all.

    Attributes:
        expected: The study's sequence number that the decision saw.
        counters: The counters afterwards, with the epoch of this owner.
        control: The control afterwards; None where it stays.
        inserted: New trials.
        updated: Open trials that change.
        evaluations: By trial number, in the order of their report; a trial's come all at once.
        durable: Checkpoints that were published and told, as (reference, trial, fence).
        void: Checkpoint ids of attempts that ended untold, as (id, trial, fence): their bytes may be there.
        condemned: Ids of durable checkpoints that nothing needs.
        collected: Ids of condemned checkpoints whose bytes are gone.
        pinned: Trials whose checkpoint is kept for good, or (False) no longer.
        joined: Sessions that began.
        renewed: Deadlines of sessions that changed.
        left: Sessions that ended, as (session, time).
        members: Places in the population that change.
        born: Numbers of those that are new.
        best: Numbers of the best trials afterwards; None if they stay.
        events: What happened, in order.
    """

    expected: int
    counters: Counters
    control: StudyControl | None = None
    inserted: list[TrialUpdate] = field(default_factory=list)
    updated: list[TrialUpdate] = field(default_factory=list)
    evaluations: list[tuple[int, Evaluation]] = field(default_factory=list)
    durable: list[tuple[CheckpointReference, int, int]] = field(default_factory=list)
    void: list[tuple[str, int, int]] = field(default_factory=list)
    condemned: list[str] = field(default_factory=list)
    collected: list[str] = field(default_factory=list)
    pinned: list[tuple[int, bool]] = field(default_factory=list)
    joined: list[SessionRecord] = field(default_factory=list)
    renewed: dict[str, float] = field(default_factory=dict)
    left: list[tuple[str, float]] = field(default_factory=list)
    members: list[MemberRow] = field(default_factory=list)
    born: set[int] = field(default_factory=set)
    best: tuple[int, ...] | None = None
    events: list[Event] = field(default_factory=list)

    @property
    def deletable(self) -> tuple[str, ...]:
        """Ids of checkpoints whose bytes may be deleted once this is committed."""
        return (*self.condemned, *[id for id, _, _ in self.void])

    @property
    def empty(self) -> bool:
        """Whether nothing is to be written."""
        return self.control is None and self.best is None and not any(getattr(self, name) for name in _LISTS)


_LISTS = tuple(one.name for one in fields(Changes) if one.default_factory is not MISSING)

"""What a decision changes in a study: plain records that :mod:`phyletic.storage.writing` writes in one transaction."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec

from phyletic.errors import StorageError
from phyletic.records import (
    CheckpointReference,
    CheckpointState,
    Evaluation,
    Lease,
    StudyControl,
    StudyIdentity,
    Trial,
)

__all__ = [
    "Changes",
    "Counters",
    "Event",
    "SessionRecord",
    "StaleState",
    "StoredCheckpoint",
    "StoredStudy",
    "TrialUpdate",
]


class StaleState(StorageError):
    """A decision was made on a state that is no longer the stored one: drop what is cached, load it again."""


class Counters(msgspec.Struct, frozen=True, kw_only=True):
    """What is counted over a whole study.

    Attributes:
        next_trial: Number of the next trial.
        sequence: Rises by one with each write; names a state of the study.
        epoch: Rises with each owner; what an earlier owner decided can no longer be written.
        completed: Completed trials.
        failures_in_a_row: Failed attempts since the last completion.
        active_seconds: Time during which trials were running.
        member_steps: Steps trained, summed over all trials.
    """

    next_trial: int = 0
    sequence: int = 0
    epoch: int = 0
    completed: int = 0
    failures_in_a_row: int = 0
    active_seconds: float = 0.0
    member_steps: int = 0


class StoredStudy(msgspec.Struct, frozen=True):
    """A study as it is stored.

    Attributes:
        id: Its key in this database.
        identity: What never changes.
        control: What may.
        counters: What is counted.
        created: When, in seconds since 1970.
    """

    id: int
    identity: StudyIdentity
    control: StudyControl
    counters: Counters
    created: float = 0.0


class TrialUpdate(msgspec.Struct, frozen=True):
    """A trial that is open, as it shall be afterwards.

    Its number, member, generation, seed and time of creation stay; everything else becomes what ``trial`` says.

    Attributes:
        trial: The new facts.
        held: Who must hold the trial for the update to be written; None where that does not matter.
        lease: Who holds it afterwards; None where nobody does (the fence and the token of the last grant stay).
        digest: Of the result that was told, so that the same tell is known when it comes again.
    """

    trial: Trial
    held: Lease | None = None
    lease: Lease | None = None
    digest: str | None = None


class Event(msgspec.Struct, frozen=True):
    """Something that happened to a study.

    Attributes:
        kind: What, in one word.
        at: When, in seconds since 1970.
        payload: The particulars; anything that JSON can hold, and records.
    """

    kind: str
    at: float
    payload: dict[str, Any] = {}


class SessionRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One incarnation of a worker.

    Attributes:
        session: Its identity: 32 hexadecimal digits.
        worker: The name a person gave it.
        pid: Its process, where a later owner must end it; else None.
        created: When that process was created, as the system tells it, so that a reused pid is not mistaken for it.
        lease_seconds: How long a detached session's leases last without a word from it; None where the session lives
            as long as its owner.
        epoch: The owner's epoch in which it joined.
        joined: When it joined, in seconds since 1970.
    """

    session: str
    worker: str
    pid: int | None = None
    created: float | None = None
    lease_seconds: float | None = None
    epoch: int = 0
    joined: float = 0.0


class StoredCheckpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A checkpoint's place in its life.

    Attributes:
        id: 32 hexadecimal digits.
        trial: Number of the trial whose attempt may publish, or has published it.
        fence: Of that attempt.
        state: Where it is in its life.
        reference: Names its bytes; None while it is pending, or where it was condemned unpublished.
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
        inserted: New trials, each with its holder.
        updated: Open trials that change.
        evaluations: By trial number, in the order of their report; a trial's come all at once.
        pending: Checkpoint ids given to attempts, as (id, trial, fence).
        durable: Checkpoints that were published and told.
        condemned: Ids of checkpoints that nothing needs.
        collected: Ids of condemned checkpoints whose bytes are gone.
        pinned: Trials whose checkpoint is kept for good, or (False) no longer.
        joined: Sessions that began.
        left: Sessions that ended, as (session, time).
        events: What happened, in order.
    """

    expected: int
    counters: Counters
    control: StudyControl | None = None
    inserted: list[tuple[Trial, Lease | None]] = field(default_factory=list)
    updated: list[TrialUpdate] = field(default_factory=list)
    evaluations: list[tuple[int, Evaluation]] = field(default_factory=list)
    pending: list[tuple[str, int, int]] = field(default_factory=list)
    durable: list[CheckpointReference] = field(default_factory=list)
    condemned: list[str] = field(default_factory=list)
    collected: list[str] = field(default_factory=list)
    pinned: list[tuple[int, bool]] = field(default_factory=list)
    joined: list[SessionRecord] = field(default_factory=list)
    left: list[tuple[str, float]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

"""The population as it was at an earlier moment, rebuilt from what is stored."""

from __future__ import annotations

from typing import Any

from phyletic.coordinator.retention import heads
from phyletic.records import StudyIdentity, Trial
from phyletic.storage import queries

__all__ = ["population_at"]

_LOOK_BACK = 12


def population_at(connection: Any, study_id: int, identity: StudyIdentity, sequence: int) -> list[Trial]:
    """Return each member's head as an algorithm saw it, by member.

    Args:
        connection: Where to read.
        study_id: The study.
        identity: The study's identity, for the size that its population began with.
        sequence: A sequence number of the study, such as a decision's ``as_of``.
    """
    size: int = identity.algorithm["population"]
    returned: dict[int, int] = {}
    damaged: list[tuple[int, int]] = []
    for at, event in queries.events(connection, study_id, until=sequence):
        if event.kind == "control" and "population" in event.payload:
            # who comes back begins anew: what it had was left behind with it
            returned.update(dict.fromkeys(range(size, event.payload["population"]), at))
            size = event.payload["population"]
        elif event.kind == "trial given up" and "parent" in event.payload:
            damaged.append((at, event.payload["parent"]))
    found = []
    for head in queries.heads_at(connection, study_id, sequence):
        if head.member >= size:
            continue
        after = returned.get(head.member, -1)
        if after >= 0 or any(number == head.number for _, number in damaged):
            seen = _head(connection, study_id, head.member, after, sequence, damaged)
            if seen is not None:
                found.append(seen)
        else:
            found.append(head)
    return found


def _head(
    connection: Any, study_id: int, member: int, after: int, sequence: int, damaged: list[tuple[int, int]]
) -> Trial | None:
    """Return a member's latest scored trial since it came back; of damaged ones, what it had kept beside them."""
    ended = queries.ended_trials(connection, study_id, member, after=after, until=sequence, limit=_LOOK_BACK)
    found = [number for number in damaged if number[0] > after]
    head: Trial | None = None
    kept: tuple[Trial, ...] = ()
    for _, _, trial, lost in sorted(
        [(at, 0, trial, -1) for at, trial in ended] + [(at, 1, None, number) for at, number in found],
        key=lambda moment: moment[:2],
    ):
        if trial is not None:
            kept = kept if trial.checkpoint is None else heads((trial, *kept))
            head = head if trial.score is None else trial
        elif any(other.number == lost for other in kept):
            kept = tuple(other for other in kept if other.number != lost)
            if head is not None and head.number == lost:
                head = next((other for other in kept if other.score is not None), None)
    return head

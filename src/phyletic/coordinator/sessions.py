"""Sessions: who runs trials, and for how long without a word.

An attached session (this process, a local worker's pipe) lives as long as its process and the owner's epoch: it has no
deadline. A detached one, on a machine that the owner cannot look at, has a deadline that each word from it moves. A
passed deadline takes nothing away by itself: the trial may then be granted to another session, and only that makes the
old lease invalid, so a worker that was merely silent loses nothing.
"""

from __future__ import annotations

from phyletic.coordinator.messages import Ask, Beat, Command, Done, Fail, Join, Tell
from phyletic.coordinator.state import OpenTrial, StudyState
from phyletic.errors import InvalidArgument
from phyletic.storage.changes import Changes, SessionRecord

__all__ = ["extend_over_gap", "hear", "join", "overdue"]

LONGEST_LEASE = 30 * 24 * 3600.0
_GAP = 0.25
"""Part of a lease for which the owner may be silent before its silence is taken for a sleep of its own."""


def join(state: StudyState, changes: Changes, command: Join, now: float) -> Done:
    """Begin a session.

    Raises:
        InvalidArgument: The length of its leases is out of range.
    """
    seconds = command.lease_seconds
    if seconds is not None:
        if not 0 < seconds <= LONGEST_LEASE:
            raise InvalidArgument("lease_seconds", seconds, f"above 0 and at most {LONGEST_LEASE:g}, or None")
        state.lease_seconds[command.session] = seconds
        state.deadlines[command.session] = now + seconds
    state.workers[command.session] = command.worker
    if command.pid is not None or seconds is not None:
        changes.joined.append(
            SessionRecord(
                session=command.session,
                worker=command.worker,
                pid=command.pid,
                created=command.created,
                lease_seconds=seconds,
                epoch=state.counters.epoch,
                joined=now,
            )
        )
    return Done()


def hear(state: StudyState, command: Command, now: float) -> None:
    """Move the deadline of a session that said something."""
    match command:
        case Ask(session=session):
            pass
        case Tell(lease=lease) | Fail(lease=lease) | Beat(lease=lease):
            session = lease.session
        case _:
            return
    seconds = state.lease_seconds.get(session)
    if seconds is not None:
        state.deadlines[session] = now + seconds


def extend_over_gap(state: StudyState, now: float) -> None:
    """Move all deadlines by a gap in the owner's own time (sleep, suspension), during which it could hear nobody.

    Where the state was just read, nothing is known of when anybody was heard: each session has its whole time anew.
    """
    if state.clock is None:
        state.deadlines = {session: now + seconds for session, seconds in state.lease_seconds.items()}
        return
    gap = now - state.clock
    state.deadlines = {
        session: deadline + gap if gap > _GAP * state.lease_seconds[session] else deadline
        for session, deadline in state.deadlines.items()
    }


def overdue(state: StudyState, opened: OpenTrial, now: float) -> bool:
    """Whether a running trial may be granted to another session."""
    if opened.lease is None:
        return False
    deadline = state.deadlines.get(opened.lease.session)
    return deadline is not None and now > deadline

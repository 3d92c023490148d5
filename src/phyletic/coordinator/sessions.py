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

__all__ = [
    "BEATS_PER_LEASE",
    "check_lease_seconds",
    "end_session",
    "extend_over_gap",
    "forget_silent",
    "hear",
    "join",
    "overdue",
]

LONGEST_LEASE = 30 * 24 * 3600.0
BEATS_PER_LEASE = 8
"""How often a detached session says something in the time of its lease: oftener than ``_GAP`` of it."""
_GAP = 0.25
"""Part of a lease for which the owner may hear nobody before that is taken for a sleep of its own."""


def check_lease_seconds(seconds: object) -> None:
    """Raise InvalidArgument unless a lease may last so long."""
    number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
    if not number or not 0 < seconds <= LONGEST_LEASE:  # type: ignore[operator]
        raise InvalidArgument("lease_seconds", seconds, f"a number above 0 and at most {LONGEST_LEASE:g}")


def join(state: StudyState, changes: Changes, command: Join, now: float) -> Done:
    """Begin a session; said again, it changes nothing.

    A detached session says so with each ask: whatever is granted to it has a deadline then, also where its messages
    overtake each other, and where it was forgotten while it was silent.

    Raises:
        InvalidArgument: The length of its leases is out of range.
    """
    seconds = command.lease_seconds
    if seconds is not None:
        check_lease_seconds(seconds)
        state.deadlines[command.session] = now + seconds
        if state.lease_seconds.get(command.session) == seconds:
            return Done()
        state.lease_seconds[command.session] = seconds
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
    """Move all deadlines by a gap in the owner's own time, during which it could hear nobody, or a step of its clock.

    A gap is a sleep of the machine or a suspension of the process. Where the state was just read, nothing is known of
    when anybody was heard: each session has its whole time anew.
    """
    if state.clock is None:
        state.deadlines = {session: now + seconds for session, seconds in state.lease_seconds.items()}
        return
    gap = now - state.clock
    state.deadlines = {
        session: deadline + gap if gap < 0 or gap > _GAP * state.lease_seconds[session] else deadline
        for session, deadline in state.deadlines.items()
    }


def overdue(state: StudyState, opened: OpenTrial, now: float) -> bool:
    """Whether a running trial may be granted to another session."""
    if opened.lease is None:
        return False
    deadline = state.deadlines.get(opened.lease.session)
    return deadline is not None and now > deadline


def end_session(state: StudyState, changes: Changes, session: str, now: float) -> None:
    """Forget a session that holds nothing."""
    if state.workers.pop(session, None) is not None:
        changes.left.append((session, now))
    state.lease_seconds.pop(session, None)
    state.deadlines.pop(session, None)


def forget_silent(state: StudyState, changes: Changes, now: float) -> None:
    """End the sessions that hold nothing and were silent past their deadlines."""
    silent = [session for session, deadline in state.deadlines.items() if now > deadline]
    for session in silent:
        if session not in state.sessions:
            end_session(state, changes, session, now)

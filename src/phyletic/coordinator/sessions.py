"""Sessions: who runs trials, and for how long without a word.

An attached session (this process, a local worker's pipe) lives as long as its process and the owner's epoch: it has no
deadline. A detached one, on a machine that the owner cannot look at, has a deadline that each word from it moves. A
passed deadline takes nothing away by itself: the trial may then be granted to another session, and only that makes the
old lease invalid, so a worker that was merely silent loses nothing.
"""

from __future__ import annotations

from phyletic.coordinator.messages import Ask, Command, Done, Fail, Heartbeat, Join, Tell
from phyletic.coordinator.state import StudyState
from phyletic.errors import InvalidArgument
from phyletic.records.encodings import is_unicode
from phyletic.storage.changes import Changes, SessionRecord

LONGEST_LEASE = 30 * 24 * 3600.0
HEARTBEATS_PER_LEASE = 8
"""How often a detached session renews a lease in its time: oftener than ``_GAP`` of it."""
_GAP = 0.25
"""Part of a lease after which silence of everybody counts as a sleep of the owner itself."""


def check_lease_seconds(seconds: object) -> None:
    """Raise InvalidArgument unless a lease may last so long."""
    number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
    if not number or not 0 < seconds <= LONGEST_LEASE:  # type: ignore[operator]
        raise InvalidArgument("lease_seconds", seconds, f"a number above 0 and at most {LONGEST_LEASE:g}")


def check_worker(worker: object) -> str:
    """Return a worker's name, or raise InvalidArgument."""
    if not isinstance(worker, str) or not 1 <= len(worker) <= 200 or not is_unicode(worker):
        raise InvalidArgument("worker", worker, "a name of 1 to 200 characters")
    return worker


def join(state: StudyState, changes: Changes, command: Join, now: float) -> Done:
    """Begin a session (idempotent).

    A detached session joins with each ask: so whatever is granted to it has a deadline, also if its messages overtake
    each other, and if the owner forgot it while it was silent.

    Args:
        state: The study's state.
        changes: Where the rows go.
        command: Who joins.
        now: Seconds since 1970.

    Raises:
        InvalidArgument: The worker's name or the length of its leases is out of range.
    """
    check_worker(command.worker)
    seconds = command.lease_seconds
    deadline = None
    if seconds is not None:
        check_lease_seconds(seconds)
        seconds = float(seconds)
        deadline = now + seconds
        known = state.lease_seconds.get(command.session) == seconds
        state.lease_seconds[command.session] = seconds
        state.set_deadline(command.session, deadline)
        if known:
            changes.renewed[command.session] = deadline
            return Done()
    state.workers[command.session] = command.worker
    if command.pid is not None or seconds is not None:
        changes.joined.append(
            SessionRecord(
                session=command.session,
                worker=command.worker,
                pid=command.pid,
                created=command.created,
                lease_seconds=seconds,
                deadline=deadline,
                epoch=state.counters.epoch,
                joined=now,
            )
        )
    return Done()


def renew(state: StudyState, changes: Changes, command: Command, now: float) -> None:
    """Renew the leases of the session that sent a command, if they have a deadline.

    Args:
        state: The study's state.
        changes: Where the rows go.
        command: The command.
        now: Seconds since 1970.
    """
    match command:
        case Ask(session=session):
            pass
        case Tell(lease=lease) | Fail(lease=lease) | Heartbeat(lease=lease):
            session = lease.session
        case _:
            return
    seconds = state.lease_seconds.get(session)
    if seconds is not None:
        deadline = changes.renewed[session] = now + seconds
        state.set_deadline(session, deadline)


def renew_all(state: StudyState, changes: Changes, now: float) -> None:
    """Give every detached session its whole time anew: while there was no owner, none could renew its leases.

    Args:
        state: The study's state.
        changes: Where the rows go.
        now: Seconds since 1970.
    """
    for session, seconds in state.lease_seconds.items():
        deadline = changes.renewed[session] = now + seconds
        state.set_deadline(session, deadline)


def extend_over_gap(state: StudyState, changes: Changes, now: float) -> None:
    """Move deadlines by a gap in the owner's own time, during which it could hear nobody, or by a step of its clock.

    A gap is a sleep of the machine or a suspension of the process.

    Args:
        state: The study's state.
        changes: Where the rows go.
        now: Seconds since 1970.
    """
    before = state.counters.clock
    if before is None or not state.deadlines:
        return
    gap = now - before
    moved = (
        [session for session in state.deadlines if gap < 0 or gap > _GAP * state.lease_seconds[session]]
        if gap < 0 or gap > _GAP * min(state.lease_seconds.values())
        else []
    )
    if moved:
        state.move_deadlines(gap, moved)
        changes.renewed.update({session: state.deadlines[session] for session in moved})


def end_session(state: StudyState, changes: Changes, session: str, now: float) -> None:
    """Forget a session that holds nothing.

    Args:
        state: The study's state.
        changes: Where the rows go.
        session: Identity of the session.
        now: Seconds since 1970.
    """
    if session in state.workers:
        changes.left.append((session, now))
    state.forget_session(session)

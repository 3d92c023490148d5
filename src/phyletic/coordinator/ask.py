"""Ask: which trials a session gets.

In this order: the trials it holds already, trials by number that wait or whose holder is silent past its deadline, a
new decision for the member furthest behind.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

from phyletic.coordinator.budget import done, failure_cap, may_grant, stop_reason
from phyletic.coordinator.decisions import close_barrier, decide_next
from phyletic.coordinator.messages import Ask, Finished, Grant, Granted, Refused, Wait
from phyletic.coordinator.saves import save_every
from phyletic.coordinator.sessions import end_session
from phyletic.coordinator.state import Member, OpenTrial, StudyState
from phyletic.coordinator.transitions import end_attempt, grant
from phyletic.errors import InvalidArgument, PhyleticError
from phyletic.storage.changes import Changes

MOST_SLOTS = 10_000


def random_identity() -> str:
    """Return 32 random hexadecimal digits."""
    return secrets.token_hex(16)


def answer(
    state: StudyState, changes: Changes, command: Ask, now: float, identity: Callable[[], str] = random_identity
) -> Granted | Wait | Finished:
    """Give a session as many trials as it has slots, or say why there are fewer.

    Args:
        state: The study's state.
        changes: Where the rows go.
        command: Who asks, and for how many.
        now: Seconds since 1970.
        identity: Gives random identities of 32 hexadecimal digits.

    Raises:
        InvalidArgument: The number of slots is out of range.
        TrainingError: The algorithm raised, and there is no other trial to give.
    """
    if not 1 <= command.slots <= MOST_SLOTS:
        raise InvalidArgument("slots", command.slots, f"a whole number from 1 to {MOST_SLOTS}")
    for session in state.pass_deadlines(now):
        end_session(state, changes, session, now)
    held = state.sessions.get(command.session, ())[: command.slots]
    granted = [state.open[number] for number in held]
    rest: Wait | Finished | Refused | None = None
    while rest is None and len(granted) < command.slots:
        try:
            found = _next(state, changes, command, now)
        except PhyleticError as error:
            if not granted:
                raise
            rest = Refused.of(error)
            break
        if isinstance(found, OpenTrial):
            granted.append(grant(state, changes, found, command.session, now, identity))
        else:
            rest = found
    if not granted and isinstance(rest, Wait | Finished):
        return rest
    return Granted(grants=tuple(_message(state, opened) for opened in granted), rest=rest)


def _message(state: StudyState, opened: OpenTrial) -> Grant:
    assert opened.lease is not None
    assert opened.checkpoint is not None
    parent = state.identity.warm_start if opened.parent is None else opened.parent.checkpoint
    return Grant(
        trial=opened.trial,
        lease=opened.lease,
        checkpoint=opened.checkpoint,
        parent=parent,
        save_every=save_every(state),
    )


def _next(state: StudyState, changes: Changes, command: Ask, now: float) -> OpenTrial | Wait | Finished:
    """Return a waiting trial to grant, or why there is none.

    Args:
        state: The study's state.
        changes: Where the rows go.
        command: Who asks, and which trials it has in memory.
        now: Seconds since 1970.
    """
    reason = done(state)
    if reason:
        return Finished(reason)
    alive = state.running - sum(len(state.sessions[session]) for session in state.silent)
    failed = state.counters.failures_in_a_row
    if failed >= failure_cap(state) and alive:
        return Wait(f"{failed} attempts failed one after another; waiting for those that run")
    if reason := stop_reason(state):
        return Finished(reason, failed=True)
    if state.control.paused:
        return Wait("the study is paused")
    close_barrier(state, changes, now)
    opened = _first_open(state, changes, now)
    if opened is not None:
        return opened
    if not may_grant(state):
        return Wait("the trials that are left in the budget are running")
    if not state.algorithm.synchronous:
        member = _furthest_behind(state, command, alive)
        if member is not None:
            return decide_next(state, changes, member.view.member, now)
    if state.open:
        return Wait("every trial that can run is running")
    return Finished(f"every member has trained {state.limit} steps")


def _first_open(state: StudyState, changes: Changes, now: float) -> OpenTrial | None:
    """Return the first trial, by number, that waits, or whose holder is silent past its deadline.

    Args:
        state: The study's state.
        changes: Where the rows go.
        now: Seconds since 1970.
    """
    while True:
        waiting = state.first_waiting() if may_grant(state) else None
        overdue = min((number for session in state.silent for number in state.sessions[session]), default=None)
        if overdue is None or (waiting is not None and waiting.trial.number < overdue):
            return waiting
        opened = state.open[overdue]
        assert opened.lease is not None
        end_attempt(state, changes, opened, "lost", f"session {opened.lease.session} was silent past its deadline", now)
        if overdue in state.open:
            return state.open[overdue]
        # it was given up: that may have closed a barrier, and others wait now
        close_barrier(state, changes, now)


def _furthest_behind(state: StudyState, command: Ask, alive: int) -> Member | None:
    """Return the idle member with the fewest steps; ties go to weights already in memory, then to the longest idle.

    Args:
        state: The study's state.
        command: Who asks, and which trials it has in memory.
        alive: How many trials run in sessions that are not silent.
    """
    fit = state.furthest_behind(command.in_memory, failed=False)
    failed = state.furthest_behind(command.in_memory, failed=True)
    if state.counters.failures_in_a_row:
        # a member that failed for good goes last until another shows that the code can complete a trial, and not at
        # all while others run: so it neither starves the others nor fails in a hot loop beside them
        return fit if fit is not None or alive else failed
    if fit is None or failed is None:
        return fit or failed

    def key(member: Member) -> tuple[int, bool, int, int]:
        held = member.tip is not None and member.tip.number in command.in_memory
        return (member.age, not held, member.latest, member.view.member)

    return min(fit, failed, key=key)

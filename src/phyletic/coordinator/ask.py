"""Which trial a session gets."""

from __future__ import annotations

import secrets
from collections.abc import Callable

import msgspec

from phyletic.coordinator.budget import done, failure_cap, hopeless_cap, may_grant
from phyletic.coordinator.budget_cut import cut, give_up_beyond
from phyletic.coordinator.decisions import close_barrier, decide
from phyletic.coordinator.messages import Answer, Ask, Finished, Grant, Wait
from phyletic.coordinator.sessions import forget_silent, overdue
from phyletic.coordinator.state import OpenTrial, StudyState
from phyletic.coordinator.tell import end_attempt
from phyletic.records import Lease, TrialState
from phyletic.storage.changes import Changes, TrialUpdate

__all__ = ["answer", "random_identity"]


def random_identity() -> str:
    """Return 32 random hexadecimal digits."""
    return secrets.token_hex(16)


def answer(
    state: StudyState, changes: Changes, command: Ask, now: float, identity: Callable[[], str] = random_identity
) -> Answer:
    """Give a session a trial, or say why there is none.

    In this order: the trial it holds already, trials by number that wait or whose holder was silent past its deadline,
    a new decision for the member furthest behind.
    """
    forget_silent(state, changes, now)
    if not command.fresh:
        for number in state.sessions.get(command.session, ()):
            return _granted(state.open[number])
    reason = done(state)
    if reason:
        return Finished(reason)
    alive = sum(opened.lease is not None and not overdue(state, opened, now) for opened in state.open.values())
    if state.counters.failures_in_a_row >= failure_cap(state):
        return _failing(state, alive)
    if state.hopeless >= hopeless_cap(state):
        state.stopped = f"{state.hopeless} trials one after another ended without a finite score"
        return Finished(state.stopped, failed=True)
    if state.control.paused:
        return Wait("the study is paused")
    give_up_beyond(state, changes, now)
    close_barrier(state, changes, now)
    opened = _next_open(state, changes, now)
    if opened is None and not may_grant(state):
        return Wait("the trials that are left in the budget are running")
    if opened is None and not state.algorithm.synchronous:
        member = _furthest_behind(state, command.in_memory, alive)
        if member is not None:
            opened = decide(state, changes, member, now)
    if opened is not None:
        return _grant(state, changes, cut(state, changes, opened, now), command.session, now, identity)
    if state.open:
        return Wait("every trial that can run is running")
    return Finished(f"every member has trained {state.limit} steps")


def _failing(state: StudyState, alive: int) -> Answer:
    failed = state.counters.failures_in_a_row
    if alive:
        return Wait(f"{failed} attempts failed one after another; waiting for those that run")
    state.stopped = f"{failed} attempts failed one after another, with no completion between them"
    return Finished(state.stopped, failed=True)


def _next_open(state: StudyState, changes: Changes, now: float) -> OpenTrial | None:
    """Return the first trial, by number, that waits, or whose holder was silent past its deadline."""
    for number, opened in sorted(state.open.items()):
        if opened.lease is None:
            if may_grant(state):
                return opened
        elif overdue(state, opened, now):
            silent = f"session {opened.lease.session} was silent past its deadline"
            end_attempt(state, changes, opened, silent, "lost", now)
            give_up_beyond(state, changes, now)
            if number in state.open:
                return state.open[number]
            # given up: that may have closed a barrier, and others wait now
            close_barrier(state, changes, now)
            return _next_open(state, changes, now)
    return None


def _furthest_behind(state: StudyState, in_memory: int | None, alive: int) -> int | None:
    """Return the idle member with the fewest steps; ties go to weights already in memory, then to the longest idle."""
    limit = state.limit
    troubled = state.counters.failures_in_a_row > 0
    found: tuple[bool, int, bool, int, int] | None = None
    for number in range(state.control.population):
        member = state.members.get(number)
        if member is None:
            key = (False, 0, True, -1, number)
        else:
            if member.open is not None or member.ended(limit):
                continue
            # a member that failed for good goes last until another shows that the code can complete a trial, and not
            # at all while others run: so it neither starves the others nor fails in a hot loop beside them
            failed = member.view.failed and troubled
            if failed and alive:
                continue
            tip = member.tip
            key = (failed, member.age, tip is None or tip.number != in_memory, member.last, number)
        if found is None or key < found:
            found = key
    return None if found is None else found[-1]


def _grant(
    state: StudyState, changes: Changes, opened: OpenTrial, session: str, now: float, identity: Callable[[], str]
) -> Grant:
    attempt = opened.trial.attempts + 1
    trial = msgspec.structs.replace(
        opened.trial,
        state=TrialState.RUNNING,
        attempts=attempt,
        started=now,
        worker=state.workers.get(session, session),
    )
    lease = Lease(trial=trial.number, fence=attempt, token=identity(), session=session)
    granted = msgspec.structs.replace(opened, trial=trial, lease=lease, checkpoint=identity())
    state.open[trial.number] = granted
    state.hold(session, trial.number)
    fresh = changes.inserted and changes.inserted[-1][0].number == trial.number
    if fresh:
        changes.inserted[-1] = (trial, lease)
    else:
        changes.updated.append(TrialUpdate(trial=trial, held=None, lease=lease, digest=None))
    assert granted.checkpoint is not None
    changes.pending.append((granted.checkpoint, trial.number, lease.fence))
    return _granted(granted)


def _granted(opened: OpenTrial) -> Grant:
    assert opened.lease is not None
    assert opened.checkpoint is not None
    return Grant(
        trial=opened.trial,
        lease=opened.lease,
        checkpoint=opened.checkpoint,
        parent=None if opened.parent is None else opened.parent.checkpoint,
    )

"""Tell, fail and leave: a session's word that an attempt has ended, checked before anything changes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import msgspec

from phyletic.coordinator.messages import Done, Fail, Leave, Tell
from phyletic.coordinator.sessions import end_session
from phyletic.coordinator.state import OpenTrial, StudyState
from phyletic.coordinator.transitions import complete, end_attempt
from phyletic.errors import InvalidArgument, LeaseLost, MetricMissing, TellConflict
from phyletic.records import Lease, Trial, TrialState
from phyletic.storage.changes import Changes

StoredEnd = Callable[[int], tuple[int, str, str, Trial] | None]
"""Returns (fence, token, digest, trial) of a trial whose latest attempt was told or failed, as it is stored."""
FAILED = "failed"
"""Stands in the place of a result's digest for an attempt that was said to have failed."""

_encoder = msgspec.msgpack.Encoder()


def tell(state: StudyState, changes: Changes, command: Tell, now: float, stored: StoredEnd) -> Done:
    """Record a result (idempotent).

    Args:
        state: The study's state.
        changes: Where the rows go.
        command: The result.
        now: Seconds since 1970.
        stored: Looks up a result that was told before.

    Raises:
        LeaseLost: The attempt's lease was granted again or has ended.
        TellConflict: The attempt was told already, with another result.
        MetricMissing: It has no value of the metric that the study ranks by.
        InvalidArgument: The result is not one that this attempt can have.
    """
    digest = _digest(command)
    opened = state.held(command.lease)
    if opened is None:
        return _told_before(changes, command, digest, stored)
    _check(state, opened, command)
    return Done(trial=complete(state, changes, opened, command, digest, now))


def _digest(command: Tell) -> str:
    # the payload only: a retried tell may have waited longer, and NaN equals itself in its bytes
    payload = (
        command.evaluations,
        command.steps_done,
        command.checkpoint,
        command.partial,
        command.applied,
    )
    return hashlib.blake2b(_encoder.encode(payload), digest_size=16).hexdigest()


def _told_before(changes: Changes, command: Tell, digest: str, stored: StoredEnd) -> Done:
    """Answer a repeated Tell, or raise if the attempt did not end with this result.

    Args:
        changes: The rows of this transaction so far.
        command: The result.
        digest: The digest of the result.
        stored: Looks up a result that was told before.
    """
    found = _ended_before(changes, command.lease, stored)
    if found is None or found[1].state not in (TrialState.COMPLETED, TrialState.PARTIAL):
        raise _lost(command.lease)
    if found[0] != digest:
        raise TellConflict(f"trial {command.lease.trial} was told already, with another result; the first one stands")
    return Done(trial=found[1])


def _ended_before(changes: Changes, lease: Lease, stored: StoredEnd) -> tuple[str, Trial] | None:
    """Return how the attempt of a lease ended and its trial, if it is the trial's latest attempt and has ended.

    Args:
        changes: The rows of this transaction so far.
        lease: The attempt.
        stored: Looks up an attempt that was ended before.
    """
    found = stored(lease.trial)
    for update in changes.updated:
        if update.held is not None and update.digest is not None and update.trial.number == lease.trial:
            found = (update.held.fence, update.held.token, update.digest, update.trial)
    if found is None or found[:2] != (lease.fence, lease.token):
        return None
    return found[2], found[3]


def _lost(lease: Lease) -> LeaseLost:
    return LeaseLost(f"trial {lease.trial} is no longer held by this session: it was granted again or has ended")


def _check(state: StudyState, opened: OpenTrial, command: Tell) -> None:
    """Raise unless a running trial can have this result.

    Args:
        state: The study's state.
        opened: The trial.
        command: The result.
    """
    if command.steps_done < 1:
        raise InvalidArgument("steps_done", command.steps_done, "at least 1")
    if command.steps_done >= 2**53:
        raise InvalidArgument("steps_done", command.steps_done, "below 2**53")
    reference = command.checkpoint
    if reference is not None and reference.id != opened.checkpoint:
        raise InvalidArgument("checkpoint", reference.id, f"published under the id of the grant, {opened.checkpoint}")
    if command.partial and state.limit is not None and opened.trial.start_step + command.steps_done >= state.limit:
        raise InvalidArgument("partial", True, f"False for a trial that has trained to the end, step {state.limit}")
    if command.partial and reference is None:
        raise InvalidArgument("checkpoint", None, "published, for a trial that is handed back early")
    name = state.identity.metric.name
    if command.partial or any(evaluation.metric == name for evaluation in command.evaluations):
        return
    reported = sorted({evaluation.metric for evaluation in command.evaluations})
    shown = ", ".join(reported) if reported else "nothing"
    raise MetricMissing(
        f"trial {command.lease.trial} ended without a report of {name!r}, the metric this study ranks by; "
        f"reported was: {shown}. Report it at the trial's end: trial.report({_as_keyword(name)})"
    )


def _as_keyword(name: str) -> str:
    return f"{name}=..." if name.isidentifier() else "{" + repr(name) + ": ...}"


def fail(state: StudyState, changes: Changes, command: Fail, now: float, stored: StoredEnd) -> Done:
    """End an attempt without a result (idempotent): the trial waits to be granted again, or is given up.

    Args:
        state: The study's state.
        changes: Where the rows go.
        command: What ended it.
        now: Seconds since 1970.
        stored: Looks up an attempt that was ended before.

    Raises:
        LeaseLost: The attempt's lease was granted again, or the attempt has ended with a result.
    """
    opened = state.held(command.lease)
    if opened is not None:
        trial = end_attempt(state, changes, opened, command.cause, command.error, now, digest=FAILED)
        return Done(trial=trial)
    found = _ended_before(changes, command.lease, stored)
    if found is None or found[0] != FAILED:
        raise _lost(command.lease)
    return Done(trial=found[1])


def leave(state: StudyState, changes: Changes, command: Leave, now: float) -> Done:
    """End a session: its trials are lost with it, or released.

    Args:
        state: The study's state.
        changes: Where the rows go.
        command: The session, and whether its trials count as lost.
        now: Seconds since 1970.
    """
    for number in state.sessions.get(command.session, ()):
        error = command.error or "its worker left"
        end_attempt(state, changes, state.open[number], "lost" if command.lost else "released", error, now)
    end_session(state, changes, command.session, now)
    return Done()

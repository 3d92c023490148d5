"""What a result, a failure or a departure changes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress

import msgspec

from phyletic.coordinator.decisions import close_barrier, insert_resumed
from phyletic.coordinator.heartbeats import STOPPED_EARLY, given_up_on, remember_curve
from phyletic.coordinator.messages import Done, Fail, Leave, Tell
from phyletic.coordinator.retention import condemn_unneeded, forget_damaged, heads, insert_best
from phyletic.coordinator.sessions import end_session
from phyletic.coordinator.state import HISTORY, Member, OpenTrial, StudyState
from phyletic.errors import InvalidArgument, LeaseLost, MetricMissing, PhyleticError, TellConflict
from phyletic.evolution import MemberView
from phyletic.records import Trial, TrialState
from phyletic.storage.changes import Changes, Event, TrialUpdate

__all__ = ["StoredTell", "end_attempt", "fail", "leave", "tell"]

StoredTell = Callable[[int], tuple[int, str, str, Trial] | None]
"""Returns (fence, token, digest, trial) of a trial that has ended, as it is stored."""

_encoder = msgspec.msgpack.Encoder()


def tell(state: StudyState, changes: Changes, command: Tell, now: float, stored: StoredTell) -> Done:
    """Take in a result, once.

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
    before = opened.trial
    score = None if command.partial else _score(state, command)
    trial = msgspec.structs.replace(
        before,
        state=TrialState.PARTIAL if command.partial else TrialState.COMPLETED,
        end_step=before.start_step + command.steps_done,
        score=score,
        metrics={evaluation.metric: evaluation.value for evaluation in command.evaluations},
        checkpoint=command.checkpoint,
        timings=command.timings,
        applied=dict(command.applied),
        finished=now,
    )
    held = opened.lease
    assert held is not None
    changes.updated.append(TrialUpdate(trial=trial, held=held, lease=held, digest=digest))
    changes.evaluations.extend((trial.number, evaluation) for evaluation in command.evaluations)
    if command.checkpoint is not None:
        changes.durable.append(command.checkpoint)
    elif opened.checkpoint is not None:
        changes.condemned.append(opened.checkpoint)
    hopeless = score is not None and (command.hopeless or given_up_on(state, trial.number))
    if hopeless:
        payload = {"trial": trial.number, "member": trial.member, "step": trial.end_step}
        changes.events.append(Event(kind=STOPPED_EARLY, at=now, payload=payload))
    remember_curve(state, trial, command.evaluations)
    state.drop_open(trial.number)
    state.let_go(held.session, trial.number)
    if score is not None:
        state.hopeless = 0 if trial.finite else state.hopeless + 1
    counters = state.counters
    state.counters = msgspec.structs.replace(
        counters,
        completed=counters.completed + (not command.partial),
        failures_in_a_row=0,
        member_steps=counters.member_steps + command.steps_done,
    )
    candidates = [*_settle(state, opened, trial, command, hopeless), trial]
    if opened.parent is not None:
        candidates.append(opened.parent)
    if command.partial and trial.member < state.control.population:
        insert_resumed(state, changes, trial, opened, now)
    condemn_unneeded(state, changes, candidates)
    _close(state, changes, now)
    return Done(trial=trial)


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


def _told_before(changes: Changes, command: Tell, digest: str, stored: StoredTell) -> Done:
    found = stored(command.lease.trial)
    for update in changes.updated:
        if update.held is not None and update.digest is not None and update.trial.number == command.lease.trial:
            found = (update.held.fence, update.held.token, update.digest, update.trial)
    if found is None or found[0] != command.lease.fence or found[1] != command.lease.token:
        raise LeaseLost(
            f"trial {command.lease.trial} is no longer held by this session: it was granted again or has ended"
        )
    if found[2] != digest:
        raise TellConflict(f"trial {command.lease.trial} was told already, with another result; the first one stands")
    return Done(trial=found[3])


def _check(state: StudyState, opened: OpenTrial, command: Tell) -> None:
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


def _score(state: StudyState, command: Tell) -> float:
    name = state.identity.metric.name
    for evaluation in reversed(command.evaluations):
        if evaluation.metric == name:
            return evaluation.value
    reported = sorted({evaluation.metric for evaluation in command.evaluations})
    shown = ", ".join(reported) if reported else "nothing"
    raise MetricMissing(
        f"trial {command.lease.trial} ended without a report of {name!r}, the metric this study ranks by; "
        f"reported was: {shown}. Report it at the trial's end: trial.report({_as_keyword(name)})"
    )


def _as_keyword(name: str) -> str:
    return f"{name}=..." if name.isidentifier() else "{" + repr(name) + ": ...}"


def _settle(state: StudyState, opened: OpenTrial, trial: Trial, command: Tell, hopeless: bool) -> list[Trial]:
    """Make the trial its member's tip (and head, where it has a score); returns what may be needed no longer."""
    member = state.member(trial.member)
    name = state.identity.metric.name
    scores = opened.scores
    window = state.algorithm.reads.scores
    if window:
        new = tuple(evaluation.value for evaluation in command.evaluations if evaluation.metric == name)
        scores = (*scores, *new)[-window:]
    history = opened.history
    view = member.view
    if trial.score is not None:
        if state.algorithm.reads.history:
            assert trial.end_step is not None
            history = (*history, (trial.end_step, trial.score))[-HISTORY:]
        view = MemberView(member=trial.member, trial=trial, scores=scores, history=history, early_stopped=hopeless)
    kept = member.kept if trial.checkpoint is None else (trial, *member.kept)
    there = trial.member < state.control.population
    state.members[trial.member] = Member(
        view=view,
        tip=trial,
        open=None,
        last=max(member.last, trial.number),
        generation=member.generation,
        kept=heads(kept) if there else (),
    )
    fallen = insert_best(state, trial) if trial.score is not None else []
    return [*kept, *fallen]


def _close(state: StudyState, changes: Changes, now: float) -> None:
    """Decide the next generation where this ended the last trial of the present one."""
    # a user's explore may raise: the result stands all the same, and whoever asks next gets the error
    with suppress(PhyleticError):
        close_barrier(state, changes, now)


def fail(state: StudyState, changes: Changes, command: Fail, now: float) -> Done:
    """End an attempt without a result: the trial waits to be granted again, or is given up.

    Raises:
        LeaseLost: The attempt's lease was granted again or has ended.
    """
    opened = state.held(command.lease)
    if opened is None:
        raise LeaseLost(f"trial {command.lease.trial} is no longer held by this session")
    return Done(trial=end_attempt(state, changes, opened, command.error, command.cause, now))


def leave(state: StudyState, changes: Changes, command: Leave, now: float) -> Done:
    """End a session: its trials are lost with it, or released."""
    cause = "lost" if command.lost else "released"
    for number in state.sessions.get(command.session, ()):
        end_attempt(state, changes, state.open[number], command.error or "its worker left", cause, now)
    end_session(state, changes, command.session, now)
    return Done()


def end_attempt(state: StudyState, changes: Changes, opened: OpenTrial, error: str, cause: str, now: float) -> Trial:
    """End an attempt: the trial waits for another, or is given up after too many. Causes are those of :class:`Fail`."""
    assert opened.lease is not None
    before, held = opened.trial, opened.lease
    failures = before.failures + (cause == "error")
    losses = before.losses + (cause == "lost")
    # nobody is to wait for a trial whose member was taken out of the population meanwhile
    given_up = cause == "damaged" or before.member >= state.control.population
    given_up = given_up or failures >= state.control.max_failures or losses >= state.control.max_losses
    trial = msgspec.structs.replace(
        before,
        state=TrialState.FAILED if given_up else TrialState.WAITING,
        failures=failures,
        losses=losses,
        error=error if cause != "released" else before.error,
        finished=now if given_up else None,
    )
    changes.updated.append(TrialUpdate(trial=trial, held=held, lease=None, digest=None))
    if opened.checkpoint is not None:
        changes.condemned.append(opened.checkpoint)
    state.let_go(held.session, trial.number)
    state.progress.pop(trial.number, None)
    # a worker's death is no verdict on the training code; only a trial that it takes away for good counts as failures
    failed = 1 if cause == "error" else state.control.max_failures if cause == "lost" and given_up else 0
    counters = state.counters
    state.counters = msgspec.structs.replace(counters, failures_in_a_row=counters.failures_in_a_row + failed)
    if given_up:
        _give_up(state, changes, opened, trial, cause, now)
    else:
        state.open[trial.number] = msgspec.structs.replace(opened, trial=trial, lease=None, checkpoint=None)
    return trial


def _give_up(state: StudyState, changes: Changes, opened: OpenTrial, trial: Trial, cause: str, now: float) -> None:
    """Close a trial for good; its member is rescued, or goes on from its other head when the parent was damaged."""
    state.drop_open(trial.number)
    member = msgspec.structs.replace(state.member(trial.member), open=None)
    state.members[trial.member] = member
    payload: dict[str, object] = {"trial": trial.number, "member": trial.member, "cause": cause, "error": trial.error}
    if cause == "damaged" and opened.parent is not None and opened.parent.checkpoint is not None:
        payload["parent"] = opened.parent.number
        payload["checkpoint"] = opened.parent.checkpoint.id
        forget_damaged(state, changes, opened.parent)
        member = state.member(trial.member)
    if cause != "damaged" or member.tip is None:
        view = msgspec.structs.replace(member.view, failed=True)
        state.members[trial.member] = msgspec.structs.replace(member, view=view)
    changes.events.append(Event(kind="trial given up", at=now, payload=payload))
    if opened.parent is not None:
        condemn_unneeded(state, changes, [opened.parent])
    _close(state, changes, now)

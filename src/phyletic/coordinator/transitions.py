"""Transitions: the only code in which a trial or a member changes its state.

    (decided) -> waiting -> running -> completed     told with a score
                    ^          |-----> partial       handed back early, with a checkpoint and without a score
                    |          |
                    '----------'       the attempt failed, was lost, released, or void with its owner
                               '-----> failed        given up: too many attempts, a damaged parent, its member was
                                                     taken out, or the budget ends before its first step

Each end has its effects in one order: the trial's row, its attempt's checkpoint, its lease, the counters, its member,
the events, and what retention lets go. All code that ends a trial calls this module: for a worker's result or failure,
its death, its silence, a change of the population or the budget, and a new owner.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

import msgspec

from phyletic.coordinator.budget import steps_left
from phyletic.coordinator.heartbeats import given_up_on, remember_curve
from phyletic.coordinator.messages import FailCause, Tell
from phyletic.coordinator.retention import condemn_unneeded, forget_damaged, heads, insert_best
from phyletic.coordinator.saves import let_go, void_untold
from phyletic.coordinator.state import HISTORY, Member, OpenTrial, StudyState
from phyletic.evolution import MemberView
from phyletic.randomness import trial_seed
from phyletic.records import Decision, Event, Lease, Measured, Suggestion, Trial, TrialState
from phyletic.records.encodings import as_unicode
from phyletic.records.event import ENDED_ATTEMPT, GIVEN_UP
from phyletic.storage.changes import Changes, TrialUpdate

Cause: TypeAlias = FailCause | Literal["void"]
"""Why an attempt ended without a result: those of a Fail, and ``"void"`` for what a dead owner had granted."""

TAKEN_OUT = "its member was taken out of the population"
BEYOND = "the budget was lowered, and ends before its first step"
STOPPED_EARLY = "trial stopped early"
"""Kind of the event that says so of a trial that the algorithm gave up."""
_LONGEST_ERROR = 100_000
"""Characters of an error's text that are stored: its end, where the exception is."""


def decide(
    state: StudyState,
    changes: Changes,
    number: int,
    suggestion: Suggestion,
    now: float,
    *,
    parent: Trial | None,
    measured: Measured,
) -> OpenTrial:
    """Insert a member's next trial as waiting.

    Args:
        state: The study's state.
        changes: Where the rows go.
        number: The member.
        suggestion: What it is to do.
        now: Seconds since 1970.
        parent: The trial that ``suggestion.parent`` names; None for a newborn.
        measured: What the algorithm reads of the parent's lineage.
    """
    member = state.member(number)
    resumed = suggestion.decision.kind == "resume"
    generation = member.generation - 1 if resumed else member.generation
    start = 0 if parent is None or parent.end_step is None else parent.end_step
    trial = Trial(
        number=state.counters.next_trial,
        member=number,
        generation=generation,
        parent=suggestion.parent,
        hyperparameters=suggestion.hyperparameters,
        start_step=start,
        steps=steps_left(state, start, suggestion.steps),
        seconds=suggestion.seconds,
        seed=trial_seed(state.identity.seed, state.counters.next_trial) if suggestion.seed is None else suggestion.seed,
        state=TrialState.WAITING,
        decision=suggestion.decision,
        created=now,
    )
    opened = OpenTrial(trial=trial, parent=parent, measured=measured)
    changes.inserted.append(TrialUpdate(trial=trial))
    state.counters = msgspec.structs.replace(state.counters, next_trial=trial.number + 1)
    state.open_trial(opened)
    view = member.view
    if view.failed or view.early_stopped:
        # once its next trial is decided, a failed member has been rescued
        view = msgspec.structs.replace(view, failed=False, early_stopped=False)
    state.put(
        msgspec.structs.replace(member, view=view, open=trial.number, latest=trial.number, generation=generation + 1)
    )
    return opened


def grant(
    state: StudyState, changes: Changes, opened: OpenTrial, session: str, now: float, identity: Callable[[], str]
) -> OpenTrial:
    """Give a session the right to run a waiting trial, cut to the budget.

    Args:
        state: The study's state.
        changes: Where the rows go.
        opened: The trial.
        session: Who runs it.
        now: Seconds since 1970.
        identity: Gives random identities of 32 hexadecimal digits.
    """
    before = opened.trial
    steps = steps_left(state, before.start_step, before.steps)
    if steps != before.steps:
        payload = {"trial": before.number, "member": before.member, "steps": [before.steps, steps]}
        changes.events.append(Event(kind="trial cut", at=now, trial=before.number, payload=payload))
    attempt = before.attempts + 1
    trial = msgspec.structs.replace(
        before,
        state=TrialState.RUNNING,
        steps=steps,
        attempts=attempt,
        started=now,
        worker=state.workers.get(session, session),
    )
    lease = Lease(trial=trial.number, fence=attempt, token=identity(), session=session)
    checkpoint = identity()
    granted = msgspec.structs.replace(opened, trial=trial, lease=lease, checkpoint=checkpoint)
    update = TrialUpdate(trial=trial, lease=lease, checkpoint=checkpoint)
    if changes.inserted and changes.inserted[-1].trial.number == trial.number:
        changes.inserted[-1] = update
    else:
        changes.updated.append(update)
    state.grant(granted)
    return granted


def complete(state: StudyState, changes: Changes, opened: OpenTrial, result: Tell, digest: str, now: float) -> Trial:
    """End a running trial with its result: completed, or partial if it was handed back early.

    Args:
        state: The study's state.
        changes: Where the rows go.
        opened: The trial.
        result: What its worker told, already checked.
        digest: Of the result, by which the same one is known when it comes again.
        now: Seconds since 1970.
    """
    before, held = opened.trial, opened.lease
    assert held is not None
    name = state.identity.metric.name
    score = None
    if not result.partial:
        score = next(one.value for one in reversed(result.evaluations) if one.metric == name)
    trial = msgspec.structs.replace(
        before,
        state=TrialState.PARTIAL if result.partial else TrialState.COMPLETED,
        end_step=before.start_step + result.steps_done,
        score=score,
        metrics={evaluation.metric: evaluation.value for evaluation in result.evaluations},
        checkpoint=result.checkpoint,
        timings=result.timings,
        saved=None,
        applied=dict(result.applied),
        remarks=result.remarks,
        finished=now,
    )
    changes.updated.append(TrialUpdate(trial=trial, held=held, lease=held, digest=digest))
    changes.evaluations.extend((trial.number, evaluation) for evaluation in result.evaluations)
    if result.checkpoint is not None:
        changes.durable.append((result.checkpoint, trial.number, held.fence))
    hopeless = score is not None and (result.hopeless or given_up_on(state, trial.number))
    remember_curve(state, trial, result.evaluations)
    state.close_trial(trial.number)
    let_go(changes, opened, before.saved)
    _count_end(state, trial)
    if hopeless:
        payload = {"trial": trial.number, "member": trial.member, "step": trial.end_step}
        changes.events.append(Event(kind=STOPPED_EARLY, at=now, trial=trial.number, payload=payload))
    measured = _measured(state, opened, trial, result)
    unneeded = _settle(state, trial, measured, hopeless)
    if result.partial and trial.member < state.control.population:
        _resume(state, changes, trial, opened, now)
    condemn_unneeded(state, changes, [*unneeded, trial, *([] if opened.parent is None else [opened.parent])])
    return trial


def _measured(state: StudyState, opened: OpenTrial, trial: Trial, result: Tell) -> Measured:
    """Return what the algorithm reads of the lineage that ends with a trial.

    Args:
        state: The study's state.
        opened: The trial while it was open.
        trial: The trial as it ended.
        result: What its worker told, already checked.
    """
    reads, scores, history = state.algorithm.reads, opened.measured.scores, opened.measured.history
    if reads.scores:
        name = state.identity.metric.name
        scores = (*scores, *[one.value for one in result.evaluations if one.metric == name])[-reads.scores :]
    if trial.score is not None and trial.end_step is not None and reads.history:
        history = (*history, (trial.end_step, trial.score))[-HISTORY:]
    return Measured(scores, history)


def _settle(state: StudyState, trial: Trial, measured: Measured, hopeless: bool) -> Sequence[Trial]:
    """Make a trial its member's tip, and its head if it has a score; returns the trials it may need no longer.

    Args:
        state: The study's state.
        trial: The trial as it ended.
        measured: What the algorithm reads of its lineage.
        hopeless: Whether the algorithm ended it early.
    """
    member = state.member(trial.member)
    if trial.member >= state.control.population:
        # it was taken out while the trial ran
        state.put(_emptied(member))
        return [trial, *_insert_best(state, trial)]
    view, best_score = member.view, member.best_score
    if trial.score is not None:
        view = MemberView(
            member=trial.member,
            trial=trial,
            scores=measured.scores,
            history=measured.history,
            early_stopped=hopeless,
        )
        if trial.finite and (best_score is None or state.better(trial.score, best_score)):
            best_score = trial.score
    kept = member.kept if trial.checkpoint is None else (trial, *member.kept)
    state.put(
        msgspec.structs.replace(
            member,
            view=view,
            tip=trial,
            open=None,
            latest=max(member.latest, trial.number),
            kept=heads(kept),
            best_score=best_score,
        )
    )
    return [*kept, *_insert_best(state, trial)]


def _insert_best(state: StudyState, trial: Trial) -> list[Trial]:
    return [] if trial.score is None else insert_best(state, trial)


def _emptied(member: Member) -> Member:
    """Return a member that was taken out: it keeps nothing, so it needs a rescue if it is ever brought back."""
    view = MemberView(member=member.view.member, failed=True)
    return msgspec.structs.replace(member, view=view, tip=None, open=None, kept=())


def _resume(state: StudyState, changes: Changes, partial: Trial, opened: OpenTrial, now: float) -> None:
    """Insert the rest of a trial that was handed back early: the same hyperparameters, and no decision.

    Args:
        state: The study's state.
        changes: Where the rows go.
        partial: The trial as it ended.
        opened: The trial while it was open.
        now: Seconds since 1970.
    """
    done = partial.steps_done
    assert done is not None
    suggestion = Suggestion(
        parent=partial.number,
        hyperparameters=dict(partial.hyperparameters),
        decision=Decision(kind="resume", as_of=state.counters.sequence),
        steps=None if partial.steps is None else max(1, partial.steps - done),
        seconds=partial.seconds,
    )
    # its lineage may be a donor's: what was measured along it is that of the trial it goes on with
    decide(state, changes, partial.member, suggestion, now, parent=partial, measured=opened.measured)


def end_attempt(
    state: StudyState,
    changes: Changes,
    opened: OpenTrial,
    cause: Cause,
    error: str,
    now: float,
    *,
    digest: str | None = None,
) -> Trial:
    """End a running attempt without a result: the trial waits for another one, or is given up.

    Args:
        state: The study's state.
        changes: Where the rows go.
        opened: The trial.
        cause: Why.
        error: For the person who reads it.
        now: Seconds since 1970.
        digest: Stored if a session said so itself, so that its word is known when it comes again.
    """
    before, held = opened.trial, opened.lease
    assert held is not None
    control, counters = state.control, state.counters
    failures, losses = before.failures + (cause == "error"), before.losses + (cause == "lost")
    used_up = failures >= control.max_failures or losses >= control.max_losses
    text = _stored(error) if cause not in ("released", "unreachable", "void") else before.error
    state.unreachable = state.unreachable + 1 if cause == "unreachable" else state.unreachable
    payload = {
        "member": before.member,
        "attempt": before.attempts,
        "worker": before.worker,
        "started": before.started,
        "cause": cause,
        "error": _stored(error),
    }
    changes.events.append(Event(kind=ENDED_ATTEMPT, at=now, trial=before.number, payload=payload))
    trial = msgspec.structs.replace(before, state=TrialState.WAITING, failures=failures, losses=losses, error=text)
    # a worker's death is no verdict on the training code; only a trial that it takes away for good counts as failures
    failed = 1 if cause == "error" else control.max_failures if cause == "lost" and used_up else 0
    if failed:
        in_a_row = counters.failures_in_a_row + failed
        state.counters = msgspec.structs.replace(counters, failures_in_a_row=in_a_row)
    if opened.checkpoint is not None:
        changes.void.append((opened.checkpoint, trial.number, held.fence))
    void_untold(changes, opened)
    state.release(trial.number)
    waiting = msgspec.structs.replace(state.open[trial.number], trial=trial)
    if cause == "damaged" or used_up:
        return give_up(state, changes, waiting, cause, trial.error or "", now, held=held, digest=digest)
    if trial.member >= control.population:
        return give_up(state, changes, waiting, "taken out", TAKEN_OUT, now, held=held, digest=digest)
    if state.limit is not None and trial.start_step >= state.limit:
        return give_up(state, changes, waiting, "budget", BEYOND, now, held=held, digest=digest)
    changes.updated.append(TrialUpdate(trial=trial, held=held, lease=None, digest=digest))
    state.open[trial.number] = waiting
    return trial


def give_up(
    state: StudyState,
    changes: Changes,
    opened: OpenTrial,
    cause: Cause | Literal["taken out", "budget"],
    error: str,
    now: float,
    *,
    held: Lease | None = None,
    digest: str | None = None,
) -> Trial:
    """Close a waiting trial for good; its member is rescued, or goes on from what it has.

    Args:
        state: The study's state.
        changes: Where the rows go.
        opened: The trial.
        cause: Why.
        error: For the person who reads it.
        now: Seconds since 1970.
        held: Who held its latest attempt, if that ends with it.
        digest: As for :func:`end_attempt`.
    """
    trial = msgspec.structs.replace(
        opened.trial, state=TrialState.FAILED, finished=now, error=error or opened.trial.error, saved=None
    )
    let_go(changes, opened, opened.trial.saved)
    changes.updated.append(TrialUpdate(trial=trial, held=held, lease=None, digest=digest))
    state.close_trial(trial.number)
    _count_end(state, trial)
    payload: dict[str, object] = {"trial": trial.number, "member": trial.member, "cause": cause, "error": trial.error}
    parent = opened.parent
    if cause == "budget":
        payload["error"] = f"{BEYOND}: step {trial.start_step} of {state.limit}"
    if cause == "damaged" and parent is not None and parent.checkpoint is not None:
        payload |= {"parent": parent.number, "checkpoint": parent.checkpoint.id}
    changes.events.append(Event(kind=GIVEN_UP, at=now, trial=trial.number, payload=payload))
    state.put(msgspec.structs.replace(state.member(trial.member), open=None))
    if "checkpoint" in payload and parent is not None:
        forget_damaged(state, changes, parent)
    member = state.member(trial.member)
    if trial.member >= state.control.population:
        state.put(_emptied(member))
    elif _needs_rescue(member, trial, cause):
        state.put(msgspec.structs.replace(member, view=msgspec.structs.replace(member.view, failed=True)))
    if parent is not None:
        condemn_unneeded(state, changes, [parent])
    return trial


def _needs_rescue(member: Member, trial: Trial, cause: str) -> bool:
    """Whether a member's next decision is a rescue after its trial was given up.

    Args:
        member: The member.
        trial: The trial that was given up.
        cause: Why.
    """
    if cause == "budget":
        # it goes on from what it has, unless the trial was itself a rescue
        return member.view.trial is None or trial.decision.kind == "rescue"
    # with a damaged parent it goes on from its other head
    return cause != "damaged" or member.tip is None


def _count_end(state: StudyState, trial: Trial) -> None:
    """Count a trial that has ended, in whatever way."""
    counters = state.counters
    counted = {
        "exploits": counters.exploits + (trial.decision.kind == "exploit"),
        "rescues": counters.rescues + (trial.decision.kind == "rescue"),
        str(trial.state): getattr(counters, str(trial.state)) + 1,
    }
    if trial.state is not TrialState.FAILED:
        state.unreachable = 0
        counted |= {"failures_in_a_row": 0, "member_steps": counters.member_steps + (trial.steps_done or 0)}
    if trial.score is not None:
        counted["nonfinite"] = counters.nonfinite + (not trial.finite)
        before = state.best[0].score if state.best else None
        new_best = trial.finite and (before is None or state.better(trial.score, before))
        counted["since_best"] = 0 if new_best else counters.since_best + 1
        counted["nonfinite_in_a_row"] = 0 if trial.finite else counters.nonfinite_in_a_row + 1
    state.counters = msgspec.structs.replace(counters, **counted)


def _stored(error: str) -> str:
    return as_unicode(error[-_LONGEST_ERROR:])

"""Building the owner's state from what is stored, at a cost that grows with the population and not with the history."""

from __future__ import annotations

from typing import Any

import msgspec

from phyletic.coordinator.budget import failure_cap
from phyletic.coordinator.heartbeats import STOPPED_EARLY, curve_of
from phyletic.coordinator.retention import heads, needed
from phyletic.coordinator.state import BEYOND, HISTORY, TAKEN_OUT, Member, OpenTrial, StudyState
from phyletic.evolution import Algorithm, MemberView
from phyletic.evolution.early_stop import MOST_CURVES, TrialCurve
from phyletic.records import CheckpointState, Evaluation, Trial, TrialState
from phyletic.space import Space
from phyletic.storage import queries
from phyletic.storage.changes import Changes, StoredStudy, TrialUpdate

__all__ = ["load", "void_leases"]

_LOOK_BACK = 12


def load(connection: Any, stored: StoredStudy, space: Space, algorithm: Algorithm) -> StudyState:
    """Return the state of a study as it is stored.

    Args:
        connection: An open connection to the database.
        stored: The study's row.
        space: Its search space.
        algorithm: Its algorithm, with the user's own functions where it has any.
    """
    state = StudyState(
        id=stored.id,
        identity=stored.identity,
        control=stored.control,
        counters=stored.counters,
        space=space,
        algorithm=algorithm,
    )
    state.best = tuple(
        queries.best_trials(
            connection, stored.id, state.identity.metric.mode, max(1, state.control.keep_best), kept=True
        )
    )
    state.pinned = frozenset(queries.pinned(connection, stored.id))
    for record in queries.open_sessions(connection, stored.id):
        if record.lease_seconds is not None or record.epoch == stored.counters.epoch:
            state.workers[record.session] = record.worker
        if record.lease_seconds is not None:
            state.lease_seconds[record.session] = record.lease_seconds
    state.curves = _curves(connection, state)
    opened = queries.open_trials(connection, stored.id)
    rows = queries.checkpoints(connection, stored.id, [CheckpointState.PENDING, CheckpointState.DURABLE])
    durable = {row.id for row in rows if row.state is CheckpointState.DURABLE}
    pending = {row.trial: row.id for row in rows if row.state is CheckpointState.PENDING}
    # those that were taken out, too: one that is brought back is no newborn
    for number in range(max(state.control.population, queries.members_ever(connection, stored.id))):
        member = _member(connection, state, number, durable)
        if member is not None:
            state.members[number] = member
    for trial, lease in opened:
        parent = None if trial.parent is None else queries.trial(connection, stored.id, trial.parent)
        scores, history = _measured(connection, state, parent)
        checkpoint = pending.get(trial.number) if lease is not None else None
        state.add_open(
            OpenTrial(trial=trial, lease=lease, checkpoint=checkpoint, parent=parent, scores=scores, history=history)
        )
        if lease is not None:
            state.hold(lease.session, trial.number)
    return state


def _member(connection: Any, state: StudyState, number: int, durable: set[str]) -> Member | None:
    last = queries.last_trials(connection, state.id, number, _LOOK_BACK)
    if not last:
        return None
    newest = last[0]
    ended = [
        trial
        for trial in last
        if trial.state in (TrialState.COMPLETED, TrialState.PARTIAL)
        # what was found damaged, or left with its member, is nothing to go on from
        and (trial.checkpoint is None or trial.checkpoint.id in durable)
    ]
    tip = ended[0] if ended else None
    head = next((trial for trial in ended if trial.state is TrialState.COMPLETED), None)
    scores, history = _measured(connection, state, head)
    # what one that was taken out left is kept for other reasons, if at all, and may go with them
    there = number < state.control.population
    kept = heads([trial for trial in ended if trial.checkpoint is not None]) if there else ()
    # a trial that was given up before its attempts were used up had a damaged parent: its member has another head
    control = state.control
    used_up = newest.failures >= control.max_failures or newest.losses >= control.max_losses
    again = newest.error == BEYOND and newest.decision.kind == "rescue"
    failed = not newest.state.open and (head is None or (newest.state is TrialState.FAILED and (used_up or again)))
    return Member(
        view=MemberView(
            member=number,
            trial=head,
            scores=scores,
            history=history,
            failed=failed,
            early_stopped=_stopped_early(connection, state, newest),
        ),
        tip=tip,
        open=newest.number if newest.state.open else None,
        last=newest.number,
        generation=newest.generation + 1,
        kept=kept,
    )


def _stopped_early(connection: Any, state: StudyState, newest: Trial) -> bool:
    """Whether a member's latest trial ended because the algorithm gave it up: its next one is then a rescue."""
    if newest.state is not TrialState.COMPLETED:
        return False
    last = queries.ended_trials(connection, state.id, newest.member, after=-1, until=state.counters.sequence, limit=1)
    return any(
        event.kind == STOPPED_EARLY and event.payload["trial"] == newest.number
        for ended, _ in last
        for _, event in queries.events(connection, state.id, after=ended - 1, until=ended)
    )


def _curves(connection: Any, state: StudyState) -> tuple[TrialCurve, ...]:
    """Return what the latest ended trials reported, by number, if the algorithm reads it."""
    if not state.algorithm.reads.curves:
        return ()
    ended: list[Trial] = []
    first = state.counters.next_trial
    while first > 0 and len(ended) < MOST_CURVES:
        end, first = first, max(0, first - 2 * MOST_CURVES)
        part = queries.trials(connection, state.id, first=first, limit=end - first)
        ended = [trial for trial in part if trial.state in (TrialState.COMPLETED, TrialState.PARTIAL)] + ended
    ended = ended[-MOST_CURVES:]
    reported: dict[int, list[Evaluation]] = {trial.number: [] for trial in ended}
    for number, evaluation in queries.evaluations(connection, state.id, list(reported)):
        reported[number].append(evaluation)
    return tuple(curve_of(state, trial, reported[trial.number], running=False) for trial in ended)


def _measured(
    connection: Any, state: StudyState, trial: Trial | None
) -> tuple[tuple[float, ...], tuple[tuple[int, float], ...]]:
    """Return the latest scores along a lineage, and its (end_step, score) pairs, where the algorithm uses them."""
    window, uses_history = state.algorithm.reads.scores, state.algorithm.reads.history
    if trial is None or not (window or uses_history):
        return (), ()
    lineage = _scored(connection, state, trial.number, max(window, HISTORY if uses_history else 0))
    scores: tuple[float, ...] = ()
    if window:
        name = state.identity.metric.name
        numbers = [ancestor.number for ancestor in lineage[-window:]]
        rows = queries.evaluations(connection, state.id, numbers)
        values = {number: [e.value for n, e in rows if n == number and e.metric == name] for number in numbers}
        scores = tuple(value for number in numbers for value in values[number])[-window:]
    history = tuple(
        (ancestor.end_step, ancestor.score)
        for ancestor in lineage[-HISTORY:]
        if ancestor.end_step is not None and ancestor.score is not None
    )
    return scores, history if uses_history else ()


def _scored(connection: Any, state: StudyState, number: int | None, most: int) -> list[Trial]:
    """Return the latest trials with a score along a lineage, however long it is; partial ones are passed over."""
    found: list[Trial] = []
    while number is not None and len(found) < most:
        part = queries.lineage(connection, state.id, number, most=most)
        found = [ancestor for ancestor in part if ancestor.score is not None] + found
        number = part[0].parent
    return found[-most:]


def void_leases(connection: Any, state: StudyState, changes: Changes, now: float) -> list[str]:
    """Release what a dead owner's sessions held, at once: their leases lived as long as the owner.

    Returns ids of checkpoints that were condemned earlier and whose deletion was not confirmed.
    """
    held: set[int] = set()
    for session in list(state.sessions):
        if session in state.lease_seconds:
            # a detached worker outlives its owner, and goes on with what it has
            held.update(state.sessions[session])
            continue
        for number in state.sessions.pop(session):
            opened = state.open[number]
            trial = msgspec.structs.replace(opened.trial, state=TrialState.WAITING)
            if trial.member < state.control.population:
                state.open[number] = msgspec.structs.replace(opened, trial=trial, lease=None, checkpoint=None)
            else:
                trial = msgspec.structs.replace(trial, state=TrialState.FAILED, error=TAKEN_OUT)
                state.drop_open(number)
                state.members[trial.member] = msgspec.structs.replace(state.members[trial.member], open=None)
            changes.updated.append(TrialUpdate(trial=trial, held=opened.lease, lease=None, digest=None))
    # their processes were ended before: noted, so that nobody looks for them at every opening to come
    ended_sessions = [one.session for one in queries.open_sessions(connection, state.id) if one.lease_seconds is None]
    changes.left.extend((session, now) for session in ended_sessions)
    condemned = []
    for row in queries.checkpoints(connection, state.id, [CheckpointState.PENDING, CheckpointState.CONDEMNED]):
        if row.state is CheckpointState.PENDING:
            if row.trial not in held:
                changes.condemned.append(row.id)
        else:
            condemned.append(row.id)
    for row in queries.checkpoints(connection, state.id, [CheckpointState.DURABLE]):
        ended = queries.trial(connection, state.id, row.trial)
        if ended is not None and not needed(state, ended):
            changes.condemned.append(row.id)
    if state.counters.failures_in_a_row >= failure_cap(state):
        # it had stopped for them, and whoever runs it again has seen why; where owners only die, it goes on to stop
        state.counters = msgspec.structs.replace(state.counters, failures_in_a_row=0)
    return condemned

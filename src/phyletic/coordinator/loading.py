"""Loading: the owner's state as it is stored, by a fixed number of statements, and back to rows.

Nothing is derived from the history: members, deadlines, counters and the best trials are stored in the transaction that
changes them, so the state that is loaded is the state that was committed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from phyletic.coordinator.budget import failure_cap, nonfinite_cap
from phyletic.coordinator.heartbeats import curve_of
from phyletic.coordinator.state import Member, OpenTrial, StudyState
from phyletic.coordinator.transitions import end_attempt
from phyletic.evolution import Algorithm, MemberView
from phyletic.evolution.early_stop import MOST_CURVES
from phyletic.records import CheckpointState, Event, Measured, Trial, TrialState
from phyletic.records.evaluation import NOTHING_MEASURED
from phyletic.records.event import HEAD
from phyletic.space import Space
from phyletic.storage import queries
from phyletic.storage.changes import Changes, MemberRow, SessionRecord, StoredCheckpoint, StoredStudy


@dataclass(frozen=True)
class Loaded:
    """What is read of a study before an owner decides.

    Attributes:
        state: The state.
        sessions: The sessions that did not leave.
        checkpoints: The checkpoints whose bytes may be there.
    """

    state: StudyState
    sessions: list[SessionRecord]
    checkpoints: list[StoredCheckpoint]


def load(connection: Any, stored: StoredStudy, space: Space, algorithm: Algorithm) -> Loaded:
    """Return a study as it is stored.

    Args:
        connection: An open connection to the database.
        stored: The study's row.
        space: Its search space.
        algorithm: Its algorithm, with the user's own functions if it has any.
    """
    state = StudyState(
        id=stored.id,
        identity=stored.identity,
        control=stored.control,
        counters=stored.counters,
        space=space,
        algorithm=algorithm,
    )
    sessions = queries.open_sessions(connection, stored.id)
    for record in sessions:
        if record.lease_seconds is not None or record.epoch == stored.counters.epoch:
            state.workers[record.session] = record.worker
        if record.lease_seconds is not None:
            state.lease_seconds[record.session] = record.lease_seconds
            state.set_deadline(record.session, record.deadline or 0.0)
    checkpoints = []
    if stored.counters.next_trial > 0:  # a new study has nothing else
        checkpoints = queries.checkpoints(connection, stored.id, _KEPT)
        state.pinned = {row.trial for row in checkpoints if row.pinned and row.state is CheckpointState.DURABLE}
        _load_members(connection, stored, state)
    state.set_population()
    if state.algorithm.reads.curves:
        state.curves = tuple(
            curve_of(state, trial, reported, running=False)
            for trial, reported in queries.latest_reports(connection, stored.id, MOST_CURVES)
        )
    return Loaded(state, sessions, checkpoints)


_KEPT = [CheckpointState.DURABLE, CheckpointState.CONDEMNED]


def _load_members(connection: Any, stored: StoredStudy, state: StudyState) -> None:
    """Load the members, their open trials, and the best trials into the state.

    Args:
        connection: An open connection to the database.
        stored: The study's row.
        state: The state to complete.
    """
    known = {trial.number: trial for trial in queries.trials_of_members(connection, stored.id)}
    best = queries.trials_by_number(connection, stored.id, stored.best)
    state.best = tuple(best[number] for number in stored.best)
    members = {row.member: row for row in queries.members(connection, stored.id)}
    open_of: dict[int, Trial] = {}
    for trial, lease, checkpoint in queries.open_trials(connection, stored.id):
        open_of[trial.member] = trial
        state.open_trial(
            OpenTrial(
                trial=trial,
                lease=lease,
                checkpoint=checkpoint,
                parent=None if trial.parent is None else known[trial.parent],
                measured=members[trial.member].open_measured,
            )
        )
    state.members = {number: _member(row, known, open_of.get(number)) for number, row in members.items()}


def _member(row: MemberRow, known: dict[int, Trial], opened: Trial | None) -> Member:
    """Return a member as its row and its open trial describe it.

    Args:
        row: Its row.
        known: The trials that members refer to, by number.
        opened: Its open trial; None if it has none.
    """
    # an open trial settles what its member's row says of the trial before it
    return Member(
        view=MemberView(
            member=row.member,
            trial=None if row.head is None else known[row.head],
            scores=row.measured.scores,
            history=row.measured.history,
            failed=row.failed and opened is None,
            early_stopped=row.early_stopped and opened is None,
        ),
        tip=None if row.tip is None else known[row.tip],
        open=None if opened is None else opened.number,
        latest=row.latest if opened is None else opened.number,
        generation=row.generation if opened is None else opened.generation + 1,
        kept=tuple(known[number] for number in row.kept),
        best_score=row.best_score,
    )


def put_members(state: StudyState, changes: Changes, now: float) -> None:
    """Add the rows of all members that changed since the last commit, and an event for each head that was replaced.

    A completed trial becomes its member's head, which needs no event; whatever else changes a head is told by one.

    Args:
        state: The study's state.
        changes: Where the rows go.
        now: Seconds since 1970.
    """
    completed = {
        update.trial.member: update.trial.number
        for update in changes.updated
        if update.trial.state is TrialState.COMPLETED
    }
    for number, before in state.touched.items():
        member = state.members[number]
        if before is None:
            changes.born.add(number)
        elif _only_decided(state, member, before):
            # the trial that was decided says it all
            continue
        row = _row(state, member)
        changes.members.append(row)
        old = None if before is None or before.view.trial is None else before.view.trial.number
        if row.head != completed.get(number, old):
            changes.events.append(Event(kind=HEAD, at=now, payload={"member": number, "head": row.head}))
    state.touched = {}


def _only_decided(state: StudyState, member: Member, before: Member) -> bool:
    """Whether a member that was idle differs from what it was by an open trial alone.

    If it had another open trial, its row still holds what was measured along that one's lineage.

    Args:
        state: The study's state.
        member: The member now.
        before: The member as it was at the last commit.
    """
    view, old = member.view, before.view
    return (
        before.open is None
        and member.open is not None
        and member.tip is before.tip
        and member.kept is before.kept
        and view.trial is old.trial
        and view.scores is old.scores
        and view.history is old.history
        and state.open[member.open].measured is NOTHING_MEASURED
    )


def _row(state: StudyState, member: Member) -> MemberRow:
    view, tip = member.view, member.tip
    return MemberRow(
        member=view.member,
        generation=member.generation,
        latest=member.latest,
        head=None if view.trial is None else view.trial.number,
        tip=None if tip is None else tip.number,
        kept=tuple([trial.number for trial in member.kept]),
        failed=view.failed,
        early_stopped=view.early_stopped,
        best_score=member.best_score,
        measured=Measured(view.scores, view.history),
        open_measured=NOTHING_MEASURED if member.open is None else state.open[member.open].measured,
    )


def void_leases(loaded: Loaded, changes: Changes, now: float) -> list[str]:
    """Release what a dead owner's sessions held, at once: their leases lived as long as the owner.

    Args:
        loaded: The study as it was loaded.
        changes: Where the rows go.
        now: Seconds since 1970.

    Returns:
        Ids of checkpoints that were condemned earlier and whose deletion was not confirmed.
    """
    state, counters = loaded.state, loaded.state.counters
    for session in list(state.sessions):
        # a detached worker outlives its owner, and goes on with what it has
        if session not in state.lease_seconds:
            for number in state.sessions[session]:
                end_attempt(state, changes, state.open[number], "void", "its owner ended", now)
    for record in loaded.sessions:
        if record.lease_seconds is None:
            # its process was ended before: mark it as left, so that later owners skip it
            state.forget_session(record.session)
            changes.left.append((record.session, now))
    # reset only if the study had stopped (a person restarted it); a crashed owner must not reset the counts
    if counters.failures_in_a_row >= failure_cap(state):
        state.counters = replace(state.counters, failures_in_a_row=0)
    if counters.nonfinite_in_a_row >= nonfinite_cap(state):
        state.counters = replace(state.counters, nonfinite_in_a_row=0)
    return [row.id for row in loaded.checkpoints if row.state is CheckpointState.CONDEMNED]

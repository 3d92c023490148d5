"""Rows of the tables, as the records that the rest of phyletic speaks in."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from phyletic.records import CheckpointReference, CheckpointState, Lease, Trial, TrialState
from phyletic.storage import tables
from phyletic.storage.changes import Counters, MemberRow, SessionRecord, StoredCheckpoint, StoredStudy

_STATES = {str(state): state for state in TrialState}

_t = tables.trial.c
TRIALS = sa.select(
    _t.number,
    _t.member,
    _t.generation,
    _t.parent,
    _t.hyperparameters,
    _t.start_step,
    _t.steps,
    _t.seconds,
    _t.seed,
    _t.state,
    _t.decision,
    _t.end_step,
    _t.score,
    _t.metrics,
    _t.checkpoint,
    tables.checkpoint.c.digest,
    tables.checkpoint.c.size,
    _t.worker,
    _t.attempts,
    _t.failures,
    _t.losses,
    _t.timings,
    _t.applied,
    _t.remarks,
    _t.error,
    _t.created,
    _t.started,
    _t.finished,
    _t.saved,
    _t.session,
    _t.fence,
    _t.token,
).join_from(
    tables.trial,
    tables.checkpoint,
    sa.and_(tables.checkpoint.c.study == _t.study, tables.checkpoint.c.id == _t.checkpoint),
    isouter=True,
)
"""All that :func:`trial_of` and :func:`lease_of` need of a trial."""


def study_of(row: Any) -> StoredStudy:
    """Return a study."""
    fields = row._mapping
    counters = Counters(**{name: fields[name] for name in Counters.__struct_fields__})
    return StoredStudy(row.id, row.identity, row.control, counters, row.best, row.created)


def member_of(row: Any) -> MemberRow:
    """Return a place in the population."""
    return MemberRow(
        member=row.member,
        generation=row.generation,
        latest=row.latest,
        head=row.head,
        tip=row.tip,
        kept=tuple(one for one in (row.kept_first, row.kept_second, row.kept_third) if one is not None),
        failed=row.failed,
        early_stopped=row.early_stopped,
        best_score=row.best_score,
        measured=row.measured,
        open_measured=row.open_measured,
    )


def trial_of(row: Any) -> Trial:
    """Return a trial, from a row of :data:`TRIALS`."""
    # By position: a name costs a look-up, and a study's history has many rows.
    return Trial(
        number=row[0],
        member=row[1],
        generation=row[2],
        parent=row[3],
        hyperparameters=row[4],
        start_step=row[5],
        steps=row[6],
        seconds=row[7],
        seed=row[8],
        state=_STATES[row[9]],
        decision=row[10],
        end_step=row[11],
        score=row[12],
        metrics=row[13],
        checkpoint=None if row[15] is None else CheckpointReference(row[14], row[15], row[16]),
        worker=row[17],
        attempts=row[18],
        failures=row[19],
        losses=row[20],
        timings=row[21],
        applied=row[22],
        remarks=row[23],
        error=row[24],
        created=row[25],
        started=row[26],
        finished=row[27],
        saved=row[28],
    )


def lease_of(row: Any) -> Lease | None:
    """Return a trial's holder, from a row of :data:`TRIALS`; None where nobody holds it."""
    return None if row.session is None else Lease(row.number, row.fence, row.token, row.session)


def checkpoint_of(row: Any) -> StoredCheckpoint:
    """Return a checkpoint."""
    return StoredCheckpoint(
        id=row.id,
        trial=row.trial,
        fence=row.fence,
        state=CheckpointState(row.state),
        reference=None if row.digest is None else CheckpointReference(row.id, row.digest, row.size),
        pinned=row.pinned,
    )


def session_of(row: Any) -> SessionRecord:
    """Return a session."""
    return SessionRecord(
        session=row.session,
        worker=row.worker,
        pid=row.pid,
        created=row.pid_created,
        lease_seconds=row.lease_seconds,
        deadline=row.deadline,
        epoch=row.epoch,
        joined=row.joined,
    )

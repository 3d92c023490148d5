"""Writing a study: everything that a decision changes, in one transaction.

The owner decides on the state that it holds in memory. So a transaction reads nothing: its first statement advances the
study from the sequence number that the decision saw, and where the stored number is another one, nothing is written.
"""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy import Connection, bindparam

from phyletic.errors import InvalidArgument
from phyletic.records import CheckpointReference, CheckpointState, StudyControl, StudyIdentity
from phyletic.storage import tables
from phyletic.storage.changes import Changes, Counters, StaleState, StoredStudy, TrialUpdate
from phyletic.storage.columns import Json
from phyletic.storage.prepared import Cursor, Prepared

_COUNTERS = tuple(name for name in Counters.__struct_fields__ if name != "epoch")

_advance = Prepared(
    sa.update(tables.study)
    .where(
        tables.study.c.id == bindparam("the_study"),
        tables.study.c.sequence == bindparam("expected"),
        tables.study.c.epoch == bindparam("the_epoch"),
    )
    .values(
        control=sa.func.coalesce(bindparam("new_control", type_=Json(StudyControl)), tables.study.c.control),
        best=sa.func.coalesce(bindparam("new_best", type_=Json(tuple[int, ...])), tables.study.c.best),
    ),
    _COUNTERS,
)

# These columns say what a trial is, and never change.
_FIXED = frozenset(
    {
        "decided",
        "study",
        "number",
        "member",
        "generation",
        "parent",
        "start_step",
        "seconds",
        "seed",
        "hyperparameters",
        "decision",
        "created",
    }
)
_LEASE = frozenset({"fence", "token"})

_insert_trial = Prepared(sa.insert(tables.trial), tables.trial.c.keys())
_update_trial = Prepared(
    sa.update(tables.trial)
    .where(
        tables.trial.c.study == bindparam("the_study"),
        tables.trial.c.number == bindparam("the_number"),
        tables.IS_OPEN,
        sa.or_(
            # PostgreSQL must be told the type of a parameter that it compares with NULL
            sa.cast(bindparam("held_fence"), sa.BigInteger).is_(None),
            sa.and_(
                tables.trial.c.fence == bindparam("held_fence"),
                tables.trial.c.token == bindparam("held_token"),
                tables.trial.c.session == bindparam("held_session"),
            ),
        ),
    )
    .values(
        fence=sa.func.coalesce(bindparam("new_fence", type_=sa.BigInteger), tables.trial.c.fence),
        token=sa.func.coalesce(bindparam("new_token", type_=sa.Text), tables.trial.c.token),
    ),
    [name for name in tables.trial.c.keys() if name not in _FIXED | _LEASE],  # noqa: SIM118
)
_insert_member = Prepared(sa.insert(tables.member), tables.member.c.keys())
_update_member = Prepared(
    sa.update(tables.member).where(
        tables.member.c.study == bindparam("the_study"), tables.member.c.member == bindparam("the_member")
    ),
    [name for name in tables.member.c.keys() if name not in ("study", "member")],  # noqa: SIM118
)
_insert_evaluation = Prepared(sa.insert(tables.evaluation), tables.evaluation.c.keys())
_insert_checkpoint = Prepared(sa.insert(tables.checkpoint), tables.checkpoint.c.keys())
_this_checkpoint = sa.update(tables.checkpoint).where(
    tables.checkpoint.c.study == bindparam("the_study"), tables.checkpoint.c.id == bindparam("the_id")
)
_condemn = Prepared(_this_checkpoint.where(tables.IS_KEPT), ("state",))
_collect = Prepared(_this_checkpoint, ("state",))
_pin_checkpoint = Prepared(
    sa.update(tables.checkpoint).where(
        tables.checkpoint.c.study == bindparam("the_study"),
        tables.checkpoint.c.id
        == sa.select(tables.trial.c.checkpoint)
        .where(tables.trial.c.study == bindparam("the_study"), tables.trial.c.number == bindparam("the_number"))
        .scalar_subquery(),
    ),
    ("pinned",),
)
_insert_session = Prepared(sa.insert(tables.session), tables.session.c.keys())
_rejoin_session = Prepared(
    sa.update(tables.session).where(
        tables.session.c.study == bindparam("the_study"), tables.session.c.session == bindparam("the_session")
    ),
    [name for name in tables.session.c.keys() if name not in ("study", "session")],  # noqa: SIM118
)
_renew_session = Prepared(
    sa.update(tables.session).where(
        tables.session.c.study == bindparam("the_study"), tables.session.c.session == bindparam("the_session")
    ),
    ("deadline",),
)
_end_session = Prepared(
    sa.update(tables.session).where(
        tables.session.c.study == bindparam("the_study"), tables.session.c.session == bindparam("the_session")
    ),
    ("left",),
)
_insert_event = Prepared(sa.insert(tables.event), tables.event.c.keys())


def create_study(connection: Connection, identity: StudyIdentity, control: StudyControl, now: float) -> StoredStudy:
    """Insert a study without trials.

    Args:
        connection: A transaction of :meth:`phyletic.storage.database.Database.transaction`.
        identity: What never changes; its name must be new in this database.
        control: What may change.
        now: Seconds since 1970.

    Raises:
        InvalidArgument: A study of that name is stored already.
    """
    counters = Counters()
    row = dict(
        msgspec.structs.asdict(counters),
        name=identity.name,
        uuid=identity.uuid,
        identity=identity,
        control=control,
        best=(),
        created=now,
    )
    try:
        key = connection.execute(sa.insert(tables.study).returning(tables.study.c.id), row).scalar_one()
    except sa.exc.IntegrityError:
        raise InvalidArgument("study", identity.name, "a name that no study has yet in this storage") from None
    return StoredStudy(key, identity, control, counters, created=now)


def take_epoch(connection: Connection, study_id: int, before: int) -> int:
    """Begin an owner's epoch of a study, and return it: nothing that an earlier owner decided can be written now.

    Args:
        connection: A transaction of :meth:`phyletic.storage.database.Database.transaction`.
        study_id: The study.
        before: The epoch that the new owner saw.

    Raises:
        StaleState: Another owner began at the same moment.
    """
    statement = (
        sa.update(tables.study)
        .where(tables.study.c.id == study_id, tables.study.c.epoch == before)
        .values(epoch=tables.study.c.epoch + 1)
        .returning(tables.study.c.epoch)
    )
    epoch = connection.execute(statement).scalar()
    if epoch is None:
        raise StaleState(f"another owner has begun since epoch {before}")
    return int(epoch)


def delete_study(connection: Connection, study_id: int) -> None:
    """Delete every row of a study."""
    for table in (tables.trial, tables.member, tables.evaluation, tables.checkpoint, tables.session, tables.event):
        connection.execute(sa.delete(table).where(table.c.study == study_id))
    connection.execute(sa.delete(tables.study).where(tables.study.c.id == study_id))


def write(connection: Connection, study_id: int, changes: Changes) -> None:
    """Write what a decision changes.

    Args:
        connection: A transaction of :meth:`phyletic.storage.database.Database.transaction`; it must be rolled back when
            this raises, as leaving its block by the exception does.
        study_id: The study.
        changes: All of it.

    Raises:
        StaleState: The stored study is not in the state that the decision saw, or has another owner; or a trial has
            ended or is not held by whom the decision thought; or a checkpoint id was told or condemned before.
    """
    counters = changes.counters
    cursor = Cursor(connection)
    advanced = _advance.run(
        cursor,
        [
            dict(
                msgspec.structs.asdict(counters),
                the_study=study_id,
                expected=changes.expected,
                the_epoch=counters.epoch,
                new_control=changes.control,
                new_best=changes.best,
            )
        ],
    )
    if advanced != 1:
        raise StaleState(f"the study is not in state {changes.expected} of epoch {counters.epoch} any more")
    try:
        _write_trials(cursor, study_id, changes)
        _write_members(cursor, study_id, changes)
        _write_checkpoints(cursor, study_id, changes)
        _write_sessions(cursor, study_id, changes)
    except connection.dialect.loaded_dbapi.IntegrityError as error:
        raise StaleState(f"a row that a decision adds is there already: {error}") from error


def _write_trials(cursor: Cursor, study_id: int, changes: Changes) -> None:
    """Write the trials and their evaluations.

    Args:
        cursor: The driver's cursor of this write.
        study_id: The study.
        changes: All that the decision changes.
    """
    sequence = changes.counters.sequence
    if changes.inserted:
        _insert_trial.run(cursor, [_inserted_row(study_id, update, sequence) for update in changes.inserted])
    if changes.updated:
        rows = [_update_row(study_id, update, sequence) for update in changes.updated]
        _expect(_update_trial, cursor, rows, "a trial")
    if changes.evaluations:
        rows, positions = [], dict[int, int]()
        for number, evaluation in changes.evaluations:
            position = positions[number] = positions.get(number, -1) + 1
            row = msgspec.structs.asdict(evaluation)
            row["study"], row["trial"], row["position"] = study_id, number, position
            rows.append(row)
        _insert_evaluation.run(cursor, rows)


def _write_members(cursor: Cursor, study_id: int, changes: Changes) -> None:
    """Write the members.

    Args:
        cursor: The driver's cursor of this write.
        study_id: The study.
        changes: All that the decision changes.
    """
    born: list[dict[str, Any]] = []
    others: list[dict[str, Any]] = []
    for member in changes.members:
        row = msgspec.structs.asdict(member)
        kept = (*row.pop("kept"), None, None, None)
        row["kept_first"], row["kept_second"], row["kept_third"] = kept[:3]
        if member.member in changes.born:
            born.append({**row, "study": study_id})
        else:
            others.append({**row, "the_study": study_id, "the_member": member.member})
    if born:
        _insert_member.run(cursor, born)
    if others:
        _expect(_update_member, cursor, others, "a member")


def _trial_row(update: TrialUpdate) -> dict[str, Any]:
    trial, lease = update.trial, update.lease
    row = msgspec.structs.asdict(trial)
    row["checkpoint"] = None if trial.checkpoint is None else trial.checkpoint.id
    row["session"] = None if lease is None else lease.session
    row["digest"] = update.digest
    row["publishes"] = update.checkpoint
    return row


def _inserted_row(study_id: int, update: TrialUpdate, sequence: int) -> dict[str, Any]:
    """Return the row of a new trial.

    Args:
        study_id: The study.
        update: The trial as it is now, and its holder.
        sequence: The sequence number of this write.
    """
    row, lease = _trial_row(update), update.lease
    row["study"] = study_id
    row["fence"], row["token"] = (0, None) if lease is None else (lease.fence, lease.token)
    row["decided"], row["ended"] = sequence, None
    return row


def _update_row(study_id: int, update: TrialUpdate, sequence: int) -> dict[str, Any]:
    """Return the parameters that update a trial's row.

    Args:
        study_id: The study.
        update: The trial as it is now, and its holder.
        sequence: The sequence number of this write.
    """
    row, held, lease = _trial_row(update), update.held, update.lease
    row["the_study"], row["the_number"] = study_id, update.trial.number
    row["ended"] = None if update.trial.state.open else sequence
    row["held_fence"], row["held_token"], row["held_session"] = (
        (None, None, None) if held is None else (held.fence, held.token, held.session)
    )
    row["new_fence"], row["new_token"] = (None, None) if lease is None else (lease.fence, lease.token)
    return row


def _write_checkpoints(cursor: Cursor, study_id: int, changes: Changes) -> None:
    """Write new checkpoints, and the new states and pins of others.

    Args:
        cursor: The driver's cursor of this write.
        study_id: The study.
        changes: All that the decision changes.
    """
    if changes.durable or changes.void:
        named: list[tuple[str, int, int, CheckpointReference | None]] = [
            (reference.id, trial, fence, reference) for reference, trial, fence in changes.durable
        ]
        named += [(id, trial, fence, None) for id, trial, fence in changes.void]
        _insert_checkpoint.run(
            cursor,
            [
                {
                    "study": study_id,
                    "id": id,
                    "trial": trial,
                    "fence": fence,
                    "state": CheckpointState.CONDEMNED if reference is None else CheckpointState.DURABLE,
                    "digest": None if reference is None else reference.digest,
                    "size": None if reference is None else reference.size,
                    "pinned": False,
                }
                for id, trial, fence, reference in named
            ],
        )
    for ids, statement, state in (
        (changes.condemned, _condemn, CheckpointState.CONDEMNED),
        (changes.collected, _collect, CheckpointState.COLLECTED),
    ):
        if ids:
            statement.run(cursor, [{"the_study": study_id, "the_id": each, "state": state} for each in ids])
    if changes.pinned:
        rows = [{"the_study": study_id, "the_number": number, "pinned": keep} for number, keep in changes.pinned]
        _pin_checkpoint.run(cursor, rows)


def _write_sessions(cursor: Cursor, study_id: int, changes: Changes) -> None:
    """Write the sessions and the events.

    Args:
        cursor: The driver's cursor of this write.
        study_id: The study.
        changes: All that the decision changes.
    """
    for joined in changes.joined:
        row: dict[str, Any] = {
            "worker": joined.worker,
            "pid": joined.pid,
            "pid_created": joined.created,
            "lease_seconds": joined.lease_seconds,
            "deadline": joined.deadline,
            "epoch": joined.epoch,
            "joined": joined.joined,
            "left": None,
        }
        # one that was forgotten while it was silent comes back under the same identity
        again = {**row, "the_study": study_id, "the_session": joined.session}
        if not _rejoin_session.run(cursor, [again]):
            _insert_session.run(cursor, [{**row, "study": study_id, "session": joined.session}])
    if changes.renewed:
        rows: list[dict[str, Any]] = [
            {"the_study": study_id, "the_session": session, "deadline": deadline}
            for session, deadline in changes.renewed.items()
        ]
        _renew_session.run(cursor, rows)
    if changes.left:
        rows = [{"the_study": study_id, "the_session": session, "left": at} for session, at in changes.left]
        _end_session.run(cursor, rows)
    if changes.events:
        sequence = changes.counters.sequence
        rows = [
            {
                "study": study_id,
                "sequence": sequence,
                "position": i,
                "kind": event.kind,
                "at": event.at,
                "trial": event.trial,
                "payload": event.payload,
            }
            for i, event in enumerate(changes.events)
        ]
        _insert_event.run(cursor, rows)


def _expect(statement: Prepared, cursor: Cursor, rows: list[dict[str, Any]], what: str) -> None:
    """Run an update, and raise StaleState unless it met every row.

    Args:
        statement: The update.
        cursor: The driver's cursor of this write.
        rows: The parameters of each row.
        what: What a row is, for the error.
    """
    met = statement.run(cursor, rows)
    if met != len(rows):
        raise StaleState(f"{what} that a decision changes is not as the decision saw it ({met} of {len(rows)} are)")

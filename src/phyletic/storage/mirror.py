"""A study's rows in pages, and a copy of a study in another database that follows it by these pages.

A page holds the rows that were written after a sequence number, and always the study's row, its members and sessions.
The last page of a pass begins and ends in one state of the database, so a copy that took it is that state.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy import Connection

from phyletic.records import Evaluation, Event, Trial
from phyletic.storage import queries, tables
from phyletic.storage.changes import MemberRow, SessionRecord, StoredStudy
from phyletic.storage.rows import TRIALS, trial_of

MOST_TRIALS = 500
"""Trials, and events, of a page."""
_MOST_EVALUATIONS = 20_000
_t, _e, _c = tables.trial.c, tables.event.c, tables.checkpoint.c


class MirroredTrial(msgspec.Struct, frozen=True, kw_only=True):
    """A trial with what its row and its checkpoint's row say beside its record.

    Attributes:
        trial: The trial.
        decided: Sequence number of the write that decided it.
        ended: Of the write that ended it; None while it is open.
        evaluations: What it reported, in order.
        session: Who holds it; None if nothing does.
        fence: Of its latest grant.
        checkpoint_state: Where its checkpoint is in its life; None if it left none.
        pinned: Whether its checkpoint is kept for good.
    """

    trial: Trial
    decided: int
    ended: int | None = None
    evaluations: tuple[Evaluation, ...] = ()
    session: str | None = None
    fence: int = 0
    checkpoint_state: str | None = None
    pinned: bool = False


class MirroredEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event with its place among the events.

    Attributes:
        sequence: Sequence number of its write.
        position: Its place within the write.
        event: The event.
    """

    sequence: int
    position: int
    event: Event


class StudyRows(msgspec.Struct, frozen=True, kw_only=True):
    """A page of a study's rows.

    Attributes:
        study: The study's row.
        members: All of its members.
        sessions: The sessions that did not leave.
        trials: Trials that were decided or ended after the sequence number, and open ones, by number.
        events: What happened after it.
        more: Whether other pages follow.
    """

    study: StoredStudy
    members: tuple[MemberRow, ...] = ()
    sessions: tuple[SessionRecord, ...] = ()
    trials: tuple[MirroredTrial, ...] = ()
    events: tuple[MirroredEvent, ...] = ()
    more: bool = False


def rows_since(
    connection: Connection,
    stored: StoredStudy,
    since: int,
    *,
    after_trial: int | None = None,
    after_event: int | None = None,
    limit: int = MOST_TRIALS,
) -> StudyRows:
    """Return a page of what was written after a sequence number.

    Args:
        connection: Where to read.
        stored: The study.
        since: The sequence number; -1 for all.
        after_trial: Number of the last trial of the page before; None for the first page.
        after_event: Sequence number of its last event; None for the first page.
        limit: Most trials, and about as many events.
    """
    changed = sa.or_(_t.decided > since, _t.ended > since, tables.IS_OPEN)
    statement = TRIALS.add_columns(_t.decided, _t.ended, _c.state, _c.pinned).where(_t.study == stored.id, changed)
    if after_trial is not None:
        statement = statement.where(_t.number > after_trial)
    found = list(connection.execute(statement.order_by(_t.number).limit(limit + 1)))
    reported = _evaluations(connection, stored.id, [row.number for row in found[:limit]])
    trials: list[MirroredTrial] = []
    room = _MOST_EVALUATIONS
    for row in found[:limit]:
        evaluations = tuple(reported.get(row.number, ()))
        room -= len(evaluations)
        if room < 0 and trials:
            break
        trials.append(_mirrored(row, evaluations))
    events, more_events = _events(connection, stored.id, since if after_event is None else after_event, limit)
    return StudyRows(
        study=stored,
        members=tuple(queries.members(connection, stored.id)),
        sessions=tuple(queries.open_sessions(connection, stored.id)),
        trials=tuple(trials),
        events=tuple(events),
        more=len(found) > len(trials) or more_events,
    )


def _evaluations(connection: Connection, study_id: int, numbers: Sequence[int]) -> dict[int, list[Evaluation]]:
    reported: dict[int, list[Evaluation]] = {}
    for number, evaluation in queries.evaluations(connection, study_id, numbers):
        reported.setdefault(number, []).append(evaluation)
    return reported


def _mirrored(row: Any, evaluations: tuple[Evaluation, ...]) -> MirroredTrial:
    # the row ends with decided, ended, and the state and pin of its checkpoint
    decided, ended, checkpoint_state, pinned = row[-4:]
    return MirroredTrial(
        trial=trial_of(row),
        decided=decided,
        ended=ended,
        evaluations=evaluations,
        session=row.session,
        fence=row.fence,
        checkpoint_state=checkpoint_state,
        pinned=bool(pinned),
    )


def _events(connection: Connection, study_id: int, since: int, limit: int) -> tuple[list[MirroredEvent], bool]:
    """Return the events after a sequence number, with all of the last write among them, and whether there are more.

    Args:
        connection: Where to read.
        study_id: The study.
        since: The sequence number.
        limit: About how many events.
    """
    chosen = sa.and_(_e.study == study_id, _e.sequence > since)
    statement = sa.select(_e.sequence, _e.position, _e.kind, _e.at, _e.trial, _e.payload).where(chosen)
    last = connection.execute(
        statement.with_only_columns(_e.sequence).order_by(_e.sequence, _e.position).limit(1).offset(limit - 1)
    ).scalar()
    if last is not None:
        statement = statement.where(_e.sequence <= last)
    events = [
        MirroredEvent(sequence=sequence, position=position, event=Event(kind=kind, at=at, trial=trial, payload=payload))
        for sequence, position, kind, at, trial, payload in connection.execute(
            statement.order_by(_e.sequence, _e.position)
        )
    ]
    if last is None:
        return events, False
    later = sa.select(_e.sequence).where(_e.study == study_id, _e.sequence > last).limit(1)
    return events, connection.execute(later).first() is not None


def put_rows(connection: Connection, rows: StudyRows) -> None:
    """Write a page into a copy of the study.

    Args:
        connection: A transaction of the copy's database.
        rows: The page.
    """
    stored, key = rows.study, rows.study.id
    row = {
        **msgspec.structs.asdict(stored.counters),
        "id": key,
        "name": stored.identity.name,
        "uuid": stored.identity.uuid,
        "identity": stored.identity,
        "control": stored.control,
        "best": stored.best,
        "created": stored.created,
    }
    connection.execute(sa.delete(tables.study).where(tables.study.c.id == key))
    connection.execute(sa.insert(tables.study), row)
    for table, made in (
        (tables.member, [_member_row(key, member) for member in rows.members]),
        (tables.session, [_session_row(key, session) for session in rows.sessions]),
    ):
        connection.execute(sa.delete(table).where(table.c.study == key))
        if made:
            connection.execute(sa.insert(table), made)
    _put_trials(connection, key, rows.trials)
    if rows.events:
        # a page that is read again after a failure brings the same events
        first = rows.events[0].sequence
        connection.execute(sa.delete(tables.event).where(_e.study == key, _e.sequence >= first))
        connection.execute(
            sa.insert(tables.event),
            [
                {**msgspec.structs.asdict(one.event), "study": key, "sequence": one.sequence, "position": one.position}
                for one in rows.events
            ],
        )


def _put_trials(connection: Connection, key: int, trials: Sequence[MirroredTrial]) -> None:
    """Write trials, their evaluations and their checkpoints.

    Args:
        connection: A transaction of the copy's database.
        key: The study.
        trials: The trials.
    """
    if not trials:
        return
    numbers = [one.trial.number for one in trials]
    for table, column in (
        (tables.trial, _t.number),
        (tables.evaluation, tables.evaluation.c.trial),
        (tables.checkpoint, _c.trial),
    ):
        connection.execute(sa.delete(table).where(table.c.study == key, column.in_(numbers)))
    connection.execute(sa.insert(tables.trial), [_trial_row(key, one) for one in trials])
    evaluations = [
        {**msgspec.structs.asdict(evaluation), "study": key, "trial": one.trial.number, "position": place}
        for one in trials
        for place, evaluation in enumerate(one.evaluations)
    ]
    if evaluations:
        connection.execute(sa.insert(tables.evaluation), evaluations)
    checkpoints = [
        {
            **msgspec.structs.asdict(one.trial.checkpoint),
            "study": key,
            "trial": one.trial.number,
            "fence": one.fence,
            "state": one.checkpoint_state,
            "pinned": one.pinned,
        }
        for one in trials
        if one.trial.checkpoint is not None
    ]
    if checkpoints:
        connection.execute(sa.insert(tables.checkpoint), checkpoints)


def _trial_row(key: int, one: MirroredTrial) -> dict[str, Any]:
    row = msgspec.structs.asdict(one.trial)
    checkpoint = one.trial.checkpoint
    row |= {
        "study": key,
        "checkpoint": None if checkpoint is None else checkpoint.id,
        "session": one.session,
        "fence": one.fence,
        "decided": one.decided,
        "ended": one.ended,
        # the right to write stays with its holder
        "token": None if one.session is None else "",
        "publishes": None,
        "digest": None,
    }
    return row


def _member_row(key: int, member: MemberRow) -> dict[str, Any]:
    row = msgspec.structs.asdict(member)
    row["kept_first"], row["kept_second"], row["kept_third"] = (*row.pop("kept"), None, None, None)[:3]
    return {**row, "study": key}


def _session_row(key: int, session: SessionRecord) -> dict[str, Any]:
    row = msgspec.structs.asdict(session)
    row["pid_created"] = row.pop("created")
    return {**row, "study": key, "left": None}

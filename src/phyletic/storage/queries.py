"""Queries: everything that is read of a study, and in which order it comes.

Each function takes a connection of :meth:`phyletic.storage.database.Database.read` (or of a transaction) and the key of
the study.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy import Connection

from phyletic.records import CheckpointState, Evaluation, Event, Lease, StudyChange, Trial, TrialState
from phyletic.records.event import DECIDED, HEAD, RESULTS
from phyletic.storage import tables
from phyletic.storage.changes import MemberRow, SessionRecord, StoredCheckpoint, StoredStudy
from phyletic.storage.rows import TRIALS, checkpoint_of, lease_of, member_of, session_of, study_of, trial_of

_LARGEST = 1.7976931348623157e308
_AT_ONCE = 5000

_t = tables.trial.c


def load_study(connection: Connection, name: str) -> StoredStudy | None:
    """Return the study of that name; None where there is none."""
    row = connection.execute(sa.select(tables.study).where(tables.study.c.name == name)).first()
    return None if row is None else study_of(row)


def studies(connection: Connection) -> list[StoredStudy]:
    """Return all studies, in the order in which they were created."""
    return [study_of(row) for row in connection.execute(sa.select(tables.study).order_by(tables.study.c.id))]


def open_trials(connection: Connection, study_id: int) -> list[tuple[Trial, Lease | None, str | None]]:
    """Return the trials that are still to end, by number, each with its holder and its attempt's checkpoint id."""
    statement = TRIALS.add_columns(_t.publishes).where(_t.study == study_id, tables.IS_OPEN).order_by(_t.number)
    return [(trial_of(row), lease_of(row), row.publishes) for row in connection.execute(statement)]


def trial(connection: Connection, study_id: int, number: int) -> Trial | None:
    """Return one trial; None if the study has no trial of that number.

    Args:
        connection: Where to read.
        study_id: The study.
        number: The trial's number.
    """
    row = connection.execute(TRIALS.where(_t.study == study_id, _t.number == number)).first()
    return None if row is None else trial_of(row)


def trials(connection: Connection, study_id: int, states: Iterable[TrialState] | None = None) -> list[Trial]:
    """Return trials by number.

    Args:
        connection: Where to read.
        study_id: The study.
        states: Only those in these states; None for all.
    """
    statement = TRIALS.where(_t.study == study_id).order_by(_t.number)
    if states is not None:
        statement = statement.where(_t.state.in_([str(state) for state in states]))
    return [trial_of(row) for row in connection.execute(statement)]


def told_digest(connection: Connection, study_id: int, number: int) -> tuple[int, str, str] | None:
    """Return (fence, token, digest) of a trial's result; None if it has no result.

    Args:
        connection: Where to read.
        study_id: The study.
        number: The trial's number.
    """
    statement = sa.select(_t.fence, _t.token, _t.digest).where(_t.study == study_id, _t.number == number)
    row = connection.execute(statement).first()
    return None if row is None or row.digest is None else (row.fence, row.token, row.digest)


def lineage(connection: Connection, study_id: int, number: int) -> list[Trial]:
    """Return a trial and its ancestors, the oldest first; empty if the study has no trial of that number.

    Args:
        connection: Where to read.
        study_id: The study.
        number: The trial's number.
    """
    chosen = {"the_study": study_id, "the_number": number}
    return [trial_of(row) for row in connection.execute(_LINEAGE, chosen)]


def lineage_numbers(connection: Connection, study_id: int, number: int) -> list[int]:
    """Return the numbers of a trial and all its ancestors, the newborn's first.

    Args:
        connection: Where to read.
        study_id: The study.
        number: The trial's number.
    """
    return sorted(connection.execute(_ANCESTORS, {"the_study": study_id, "the_number": number}).scalars())


def _ancestors() -> sa.Select[Any]:
    """Return a statement for the numbers of a trial and its ancestors."""
    study: sa.BindParameter[int] = sa.bindparam("the_study")
    of_trial = sa.select(_t.number, _t.parent).where(_t.study == study, _t.number == sa.bindparam("the_number"))
    ancestors = of_trial.cte("ancestors", recursive=True)
    older = tables.trial.alias("older")
    parents = sa.select(older.c.number, older.c.parent).join_from(
        ancestors, older, sa.and_(older.c.study == study, older.c.number == ancestors.c.parent)
    )
    return sa.select(ancestors.union_all(parents).c.number)


# made once: to put it together takes longer than to run it
_ANCESTORS = _ancestors()
_LINEAGE = TRIALS.where(_t.study == sa.bindparam("the_study"), _t.number.in_(_ANCESTORS)).order_by(_t.number)


def members(connection: Connection, study_id: int) -> list[MemberRow]:
    """Return every place of the population that ever had a trial, by number."""
    statement = sa.select(tables.member).where(tables.member.c.study == study_id).order_by(tables.member.c.member)
    return [member_of(row) for row in connection.execute(statement)]


def best_head(connection: Connection, stored: StoredStudy, mode: Literal["min", "max"]) -> Trial | None:
    """Return the head with the best finite score among the present members; of equal ones the later.

    Args:
        connection: Where to read.
        stored: The study.
        mode: Which way is better.
    """
    rows = members(connection, stored.id)
    heads = [row.head for row in rows if row.head is not None and row.member < stored.control.population]
    finite = [(trial.score, trial) for trial in trials_by_number(connection, stored.id, heads).values() if trial.finite]
    sign = 1.0 if mode == "max" else -1.0
    best = max(finite, key=lambda scored: (sign * (scored[0] or 0.0), scored[1].number), default=None)
    return None if best is None else best[1]


def trials_of_members(connection: Connection, study_id: int) -> list[Trial]:
    """Return the trials that members or open trials refer to: heads, tips, kept ones, parents and the latest."""
    columns = tables.member.c
    named = [columns.head, columns.tip, columns.kept_first, columns.kept_second, columns.kept_third, columns.latest]
    parts = [sa.select(column).where(columns.study == study_id) for column in named]
    parts.append(sa.select(_t.parent).where(_t.study == study_id, tables.IS_OPEN))
    numbers = sa.union(*parts).subquery()
    statement = TRIALS.where(_t.study == study_id, _t.number.in_(sa.select(numbers.c[0]))).order_by(_t.number)
    return [trial_of(row) for row in connection.execute(statement)]


def latest_reports(connection: Connection, study_id: int, most: int) -> list[tuple[Trial, list[Evaluation]]]:
    """Return the ended trials with the highest numbers and what each reported, by number.

    Args:
        connection: Where to read.
        study_id: The study.
        most: At most so many trials.
    """
    states = [str(TrialState.COMPLETED), str(TrialState.PARTIAL)]
    latest = TRIALS.where(_t.study == study_id, _t.state.in_(states)).order_by(_t.number.desc()).limit(most)
    ended = [trial_of(row) for row in connection.execute(latest)][::-1]
    reported: dict[int, list[Evaluation]] = {trial.number: [] for trial in ended}
    for number, evaluation in evaluations(connection, study_id, list(reported)):
        reported[number].append(evaluation)
    return [(trial, reported[trial.number]) for trial in ended]


def heads_at(connection: Connection, study_id: int, sequence: int) -> list[Trial]:
    """Return the head that each member had at a sequence number, by member.

    A member's head is the trial it completed last, unless a ``"head"`` event of the same or a later write says another.

    Args:
        connection: Where to read.
        study_id: The study.
        sequence: A sequence number of the study, such as a decision's ``as_of``.
    """
    completed = sa.select(_t.member, sa.func.max(_t.number), _t.ended).where(
        _t.study == study_id, _t.state == str(TrialState.COMPLETED), _t.ended <= sequence
    )
    heads = {member: (ended, number) for member, number, ended in connection.execute(completed.group_by(_t.member))}
    for at, event in events(connection, study_id, until=sequence, kinds=[HEAD]):
        member = event.payload["member"]
        if member not in heads or at >= heads[member][0]:
            heads[member] = (at, event.payload["head"])
    found = trials_by_number(connection, study_id, [number for _, number in heads.values() if number is not None])
    return sorted(found.values(), key=lambda trial: trial.member)


def trials_by_number(connection: Connection, study_id: int, numbers: Iterable[int]) -> dict[int, Trial]:
    """Return some trials, by their numbers.

    Args:
        connection: Where to read.
        study_id: The study.
        numbers: The trials' numbers, in any order.
    """
    wanted, found = sorted(set(numbers)), dict[int, Trial]()
    for start in range(0, len(wanted), _AT_ONCE):
        part = TRIALS.where(_t.study == study_id, _t.number.in_(wanted[start : start + _AT_ONCE]))
        found |= {row.number: trial_of(row) for row in connection.execute(part)}
    return found


def study_changes(connection: Connection, study_id: int, *, since: int, limit: int) -> list[StudyChange]:
    """Return what was committed after a sequence number: of each write its results, its events, and its decisions.

    Args:
        connection: Where to read.
        study_id: The study.
        since: A sequence number; -1 for all.
        limit: About how many changes; the last write among them is whole.
    """
    event, first = tables.event.c, _first_decided_after(connection, study_id, since)
    told = TRIALS.add_columns(_t.ended).where(_t.study == study_id, _t.ended > since, _t.state.in_(RESULTS))
    decided = TRIALS.add_columns(_t.decided).where(_t.study == study_id, _t.number >= first)
    happened = sa.select(event.sequence, event.kind, event.at, event.trial, event.payload).where(
        event.study == study_id, event.sequence > since
    )
    parts = [
        (told, _t.ended, _t.number),
        (decided, _t.decided, _t.number),
        (happened, event.sequence, event.position),
    ]
    last = [
        connection.execute(
            part.with_only_columns(sequence).order_by(sequence, place).limit(1).offset(limit - 1)
        ).scalar()
        for part, sequence, place in parts
    ]
    until = min((one for one in last if one is not None), default=2**62)
    results, decisions, events = (
        list(connection.execute(part.where(sequence <= until).order_by(sequence, place)))
        for part, sequence, place in parts
    )
    trials = trials_by_number(connection, study_id, [row.trial for row in events if row.trial is not None])
    found = [
        *[(row.ended, trial.state, trial.finished, trial, {}) for row in results for trial in [trial_of(row)]],
        *[(row.sequence, row.kind, row.at, trials.get(row.trial), row.payload) for row in events],
        *[(row.decided, DECIDED, trial.created, trial, {}) for row in decisions for trial in [trial_of(row)]],
    ]
    return [
        StudyChange(sequence=sequence, kind=str(kind), at=at or 0.0, trial=trial, payload=payload)
        for sequence, kind, at, trial, payload in sorted(found, key=itemgetter(0))
    ]


def _first_decided_after(connection: Connection, study_id: int, sequence: int) -> int:
    """Return the lowest number of a trial decided after a sequence number, which rises with the number.

    Args:
        connection: Where to read.
        study_id: The study.
        sequence: A sequence number; -1 for all.
    """
    decided = sa.select(_t.decided).where(_t.study == study_id)
    highest = connection.execute(sa.select(sa.func.max(_t.number)).where(_t.study == study_id)).scalar()
    numbers = range(0 if highest is None else int(highest) + 1)
    return bisect_right(
        numbers, sequence, key=lambda number: connection.execute(decided.where(_t.number == number)).scalar_one()
    )


def best_trials(
    connection: Connection, study_id: int, mode: Literal["min", "max"], count: int, *, kept: bool = False
) -> list[Trial]:
    """Return the completed trials with the best finite scores, the best first; of equal ones the later.

    Args:
        connection: Where to read.
        study_id: The study.
        mode: Which way is better.
        count: At most so many.
        kept: Without those whose checkpoint is gone.
    """
    order = _t.score.desc() if mode == "max" else _t.score.asc()
    # NaN compares above every number in both databases, so the range leaves it out.
    statement = (
        TRIALS.where(_t.study == study_id, _t.state == str(TrialState.COMPLETED), _t.score.between(-_LARGEST, _LARGEST))
        .order_by(order, _t.number.desc())
        .limit(count)
    )
    if kept:
        durable = tables.checkpoint.c.state == str(CheckpointState.DURABLE)
        statement = statement.where(sa.or_(_t.checkpoint.is_(None), durable))
    return [trial_of(row) for row in connection.execute(statement)]


def evaluations(
    connection: Connection, study_id: int, numbers: Sequence[int] | None = None
) -> list[tuple[int, Evaluation]]:
    """Return what was reported, with the trial's number, by trial and in the order of the reports.

    Args:
        connection: Where to read.
        study_id: The study.
        numbers: Only of these trials; None for all.
    """
    columns = tables.evaluation.c
    statement = (
        sa.select(columns.trial, columns.step, columns.metric, columns.value, columns.kind)
        .where(columns.study == study_id)
        .order_by(columns.trial, columns.position)
    )
    if numbers is None:
        parts = [statement]
    else:
        wanted = sorted(set(numbers))
        parts = [statement.where(columns.trial.in_(wanted[i : i + _AT_ONCE])) for i in range(0, len(wanted), _AT_ONCE)]
    return [
        (number, Evaluation(step, metric, value, kind))
        for part in parts
        for number, step, metric, value, kind in connection.execute(part)
    ]


def reports(
    connection: Connection, study_id: int, metrics: Sequence[str] | None = None, *, most: int = 200_000
) -> dict[int, list[Evaluation]]:
    """Return what trials reported, by trial number, each trial's in the order of its steps; by two statements.

    Args:
        connection: Where to read.
        study_id: The study.
        metrics: Only of these metrics; None for all.
        most: About how many reports to return. Of more, each trial's first and every nth step are returned.
    """
    columns = tables.evaluation.c
    chosen = columns.study == study_id
    if metrics is not None:
        chosen = sa.and_(chosen, columns.metric.in_(list(metrics)))
    there = connection.execute(sa.select(sa.func.count()).select_from(tables.evaluation).where(chosen)).scalar_one()
    every = max(1, -(-there // max(1, most)))
    kept = [columns.trial, columns.position, columns.step, columns.metric, columns.value, columns.kind]
    statement = sa.select(*kept).where(chosen)
    if every > 1:
        # by steps and not by rows, so that metrics that were reported together stay together
        place = sa.func.dense_rank().over(partition_by=columns.trial, order_by=columns.step).label("place")
        ranked = statement.add_columns(place).subquery()
        names = [column.name for column in kept]
        statement = sa.select(*(ranked.c[name] for name in names)).where((ranked.c.place - 1) % every == 0)
    order = statement.selected_columns
    found: dict[int, list[Evaluation]] = {}
    for row in connection.execute(statement.order_by(order.trial, order.step, order.position)):
        found.setdefault(row.trial, []).append(Evaluation(row.step, row.metric, row.value, row.kind))
    return found


def checkpoints(
    connection: Connection, study_id: int, states: Iterable[CheckpointState] | None = None
) -> list[StoredCheckpoint]:
    """Return checkpoints by trial and fence.

    Args:
        connection: Where to read.
        study_id: The study.
        states: Only those in these states; None for all.
    """
    columns = tables.checkpoint.c
    statement = sa.select(tables.checkpoint).where(columns.study == study_id)
    if states is not None:
        wanted = set(states)
        statement = statement.where(columns.state.in_([str(state) for state in sorted(wanted)]))
        if CheckpointState.COLLECTED not in wanted:
            statement = statement.where(tables.IS_KEPT)
    rows = connection.execute(statement.order_by(columns.trial, columns.fence))
    return [checkpoint_of(row) for row in rows]


def checkpoint_state(connection: Connection, study_id: int, identity: str) -> CheckpointState | None:
    """Return where a checkpoint is in its life; None if the study has no checkpoint of that id.

    Args:
        connection: Where to read.
        study_id: The study.
        identity: The checkpoint's id.
    """
    columns = tables.checkpoint.c
    statement = sa.select(columns.state).where(columns.study == study_id, columns.id == identity)
    state = connection.execute(statement).scalar()
    return None if state is None else CheckpointState(state)


def given_up(connection: Connection, study_id: int, ids: Sequence[str]) -> list[str]:
    """Return those of some checkpoints that this study condemned.

    Args:
        connection: Where to read.
        study_id: The study.
        ids: The checkpoints' ids.
    """
    columns = tables.checkpoint.c
    states = [str(CheckpointState.CONDEMNED), str(CheckpointState.COLLECTED)]
    found: list[str] = []
    for start in range(0, len(ids), 500):
        part = ids[start : start + 500]
        statement = sa.select(columns.id).where(
            columns.study == study_id, columns.id.in_(part), columns.state.in_(states)
        )
        found += connection.execute(statement.order_by(columns.id)).scalars()
    return found


def events(
    connection: Connection,
    study_id: int,
    *,
    until: int | None = None,
    kinds: Sequence[str] | None = None,
) -> list[tuple[int, Event]]:
    """Return what happened, each with the sequence number of its write, in order.

    Args:
        connection: Where to read.
        study_id: The study.
        until: Only events with no higher sequence number; None for all.
        kinds: Only events of these kinds; None for all but changes of heads.
    """
    columns = tables.event.c
    statement = (
        sa.select(columns.sequence, columns.kind, columns.at, columns.trial, columns.payload)
        .where(columns.study == study_id)
        .order_by(columns.sequence, columns.position)
    )
    statement = statement.where(columns.kind != HEAD if kinds is None else columns.kind.in_(list(kinds)))
    if until is not None:
        statement = statement.where(columns.sequence <= until)
    return [
        (sequence, Event(kind=kind, at=at, trial=trial, payload=payload))
        for sequence, kind, at, trial, payload in connection.execute(statement)
    ]


def latest_events(connection: Connection, study_id: int, most: int) -> list[Event]:
    """Return the latest events but changes of heads, in order.

    Args:
        connection: Where to read.
        study_id: The study.
        most: At most so many events.
    """
    columns = tables.event.c
    latest = (
        sa.select(columns.kind, columns.at, columns.trial, columns.payload)
        .where(columns.study == study_id, columns.kind != HEAD)
        .order_by(columns.sequence.desc(), columns.position.desc())
        .limit(most)
    )
    rows = [*connection.execute(latest)][::-1]
    return [Event(kind=kind, at=at, trial=trial, payload=payload) for kind, at, trial, payload in rows]


def open_sessions(connection: Connection, study_id: int) -> list[SessionRecord]:
    """Return the sessions that did not leave, in the order in which they joined."""
    columns = tables.session.c
    statement = sa.select(tables.session).where(columns.study == study_id, columns.left.is_(None))
    return [session_of(row) for row in connection.execute(statement.order_by(columns.joined, columns.session))]


def is_being_published(connection: Connection, study_id: int, identity: str) -> bool:
    """Whether the running attempt of a trial publishes its checkpoint under an id.

    Args:
        connection: Where to read.
        study_id: The study.
        identity: The checkpoint's id.
    """
    statement = sa.select(_t.number).where(_t.study == study_id, tables.IS_OPEN, _t.publishes == identity)
    return connection.execute(statement.limit(1)).first() is not None

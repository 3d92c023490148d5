"""The status of a study, for people and scripts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

import msgspec

from phyletic.errors import NotFound
from phyletic.records import Budget, Event, Metric, Trial
from phyletic.records.event import OWNER
from phyletic.records.notebook import html_table
from phyletic.storage import queries
from phyletic.storage.changes import StoredStudy
from phyletic.workers.worker_log import output_place

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from phyletic.study.study import Study


class StudyStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A study in a few figures.

    Attributes:
        name: Its name.
        storage: Where it is stored.
        state: ``"new"`` before the first trial, ``"open"``, ``"paused"``, or ``"finished"``.
        metric: The metric that members are ranked by.
        algorithm: Name of the algorithm.
        population: Number of members.
        budget: How far it goes.
        trials: How many trials there are in each state.
        member_steps: Steps trained, summed over all trials.
        active_seconds: Time during which trials were running.
        best: Number of the best trial; None before the first finite score.
        best_score: Its score.
        best_member: The member whose head has the best finite score now; None if none has one.
        best_head: The number of that head.
        best_head_score: Its score.
        created: When it was created, in seconds since 1970.
        checkpoints: Folder of its checkpoints.
        logs: Where the output of each worker is: a file, and the node of its cluster if it has one.
    """

    name: str
    storage: str
    state: Literal["new", "open", "paused", "finished"]
    metric: Metric
    algorithm: str
    population: int
    budget: Budget
    trials: dict[str, int]
    member_steps: int
    active_seconds: float
    best: int | None
    best_score: float | None
    best_member: int | None
    best_head: int | None
    best_head_score: float | None
    created: float
    checkpoints: str
    logs: tuple[str, ...]


class StudyDetails(msgspec.Struct, frozen=True, kw_only=True):
    """A study as ``phyletic show`` prints it.

    Attributes:
        status: The study in a few figures.
        members: Each member's latest trial, by member.
        events: The latest events.
        versions: When the study went on under other versions than before, and which, in words.
    """

    status: StudyStatus
    members: list[Trial]
    events: list[Event]
    versions: list[str]


def details_of(study: Study, most_events: int) -> StudyDetails:
    """Return what ``phyletic show`` prints of a study.

    It reads only the trials and events that it returns, however many the study has.

    Args:
        study: The study.
        most_events: How many events are returned at most.
    """
    with study.database.read() as connection:
        stored = load_study(connection, study)
        numbers = [row.latest for row in queries.members(connection, stored.id)]
        latest = queries.trials_by_number(connection, stored.id, numbers)
        events = queries.latest_events(connection, stored.id, most_events)
        owners = [event for _, event in queries.events(connection, stored.id, kinds=[OWNER])]
        status = _status(connection, study, stored)
    members = sorted(latest.values(), key=lambda trial: trial.member)
    return StudyDetails(status=status, members=members, events=events, versions=version_changes(owners))


def version_changes(owners: Sequence[Event]) -> list[str]:
    """Return a line for each owner that ran with other versions than the one before, oldest first.

    A framework that only one of the two had imported is not compared.

    Example:
        >>> payloads = [{"host": "a", "python": "3.11.7", "frameworks": {"torch": torch}} for torch in ("2.12", "2.13")]
        >>> version_changes([Event(kind="owner", at=86400.0 * day, payload=one) for day, one in enumerate(payloads)])
        ['since 1970-01-02 on a: torch 2.13 instead of 2.12']
    """
    lines: list[str] = []
    known: dict[str, str] = {}
    for owner in owners:
        payload = owner.payload
        now: dict[str, str] = {name: str(payload[name]) for name in ("python", "phyletic") if name in payload}
        now |= payload.get("frameworks", {})
        changed = [
            f"{name} {now[name]} instead of {known[name]}" for name in now if known.get(name, now[name]) != now[name]
        ]
        if changed:
            day = datetime.fromtimestamp(owner.at, UTC).strftime("%Y-%m-%d")
            lines.append(f"since {day} on {payload.get('host', 'an unknown host')}: {', '.join(changed)}")
        known |= now
    return lines


def status_of(study: Study) -> StudyStatus:
    """Return the status of a study, as it is stored."""
    with study.database.read() as connection:
        return _status(connection, study, load_study(connection, study))


def html_of(study: Study) -> str:
    """Return a table for notebooks: the status of a study, and its best trial."""
    status = status_of(study)
    limits = [f"{name} {limit}" for name, limit in asdict(status.budget).items() if limit is not None]
    rows: list[tuple[str, object]] = [
        ("state", status.state),
        ("metric", f"{status.metric.name} ({status.metric.mode})"),
        ("algorithm", f"{status.algorithm}, {status.population} members"),
        ("budget", ", ".join(limits) or "no limit"),
        ("trials", ", ".join(f"{count} {state}" for state, count in status.trials.items()) or "none"),
    ]
    if status.best is not None:
        best = study.trial(status.best)
        rows.append(("best", f"{best.score:.6g}: trial {best.number} of member {best.member}, step {best.end_step}"))
        rows += [(f"best {path}", value) for path, value in best.hyperparameters.items()]
    return html_table(f"study {status.name}", [], [*rows, ("storage", status.storage)])


def _status(connection: Connection, study: Study, stored: StoredStudy) -> StudyStatus:
    """Return the status of a study.

    Args:
        connection: An open connection to the database.
        study: The study.
        stored: The study's row.
    """
    opened = Counter(str(trial.state) for trial, _, _ in queries.open_trials(connection, stored.id))
    rows = queries.members(connection, stored.id)
    tips = queries.trials_by_number(connection, stored.id, [row.tip for row in rows if row.tip is not None])
    found = queries.best_trials(connection, stored.id, study.identity.metric.mode, 1)
    head = queries.best_head(connection, stored, study.identity.metric.mode)
    control, counters, best = stored.control, stored.counters, found[0] if found else None
    ended = {"completed": counters.completed, "partial": counters.partial, "failed": counters.failed}
    trials = {state: count for state, count in {**ended, **opened}.items() if count}
    ages = [0 if row.tip is None else tips[row.tip].end_step or 0 for row in rows if row.member < control.population]
    state: Literal["new", "open", "paused", "finished"] = "open"
    if counters.next_trial == 0:
        state = "new"
    elif _is_done(stored, ages, best, study.identity.metric.mode) and not opened["running"]:
        state = "finished"
    elif control.paused:
        state = "paused"
    logs = sorted(study.logs.glob("*.log")) if study.logs.is_dir() else []
    return StudyStatus(
        name=study.name,
        storage=study.storage,
        state=state,
        metric=study.identity.metric,
        algorithm=str(study.identity.algorithm.get("type", "")),
        population=control.population,
        budget=control.budget,
        trials=dict(sorted(trials.items())),
        member_steps=counters.member_steps,
        active_seconds=counters.active_seconds,
        best=None if best is None else best.number,
        best_score=None if best is None else best.score,
        best_member=None if head is None else head.member,
        best_head=None if head is None else head.number,
        best_head_score=None if head is None else head.score,
        created=stored.created,
        checkpoints=study.checkpoints.location,
        logs=tuple(output_place(path) for path in logs),
    )


def load_study(connection: Connection, study: Study) -> StoredStudy:
    """Return a study as it is stored now, or raise NotFound."""
    stored = queries.load_study(connection, study.name)
    if stored is None:
        raise NotFound(f"there is no study {study.name!r} in {study.storage} any more")
    return stored


def _is_done(stored: StoredStudy, ages: list[int], best: Trial | None, mode: str) -> bool:
    """Whether some limit of the budget is reached.

    Args:
        stored: The study's row.
        ages: Steps that each member has trained, without the unborn.
        best: The best trial; None if no trial has a finite score.
        mode: Which way the metric is better.
    """
    budget, counters = stored.control.budget, stored.counters
    if budget.trials is not None and counters.completed >= budget.trials:
        return True
    if budget.patience is not None and counters.since_best >= budget.patience:
        return True
    if budget.seconds is not None and counters.active_seconds >= budget.seconds:
        return True
    if budget.steps is not None and len(ages) == stored.control.population and min(ages) >= budget.steps:
        return True
    if budget.target is None or best is None or best.score is None:
        return False
    return best.score >= budget.target if mode == "max" else best.score <= budget.target

"""How far a study is, for people and scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from phyletic.errors import NotFound
from phyletic.records import Budget, Metric, Trial, TrialState
from phyletic.storage import queries
from phyletic.storage.changes import Event, StoredStudy
from phyletic.storage.store import Store, open_store

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from phyletic.study.study import Study

__all__ = ["StudyStatus", "details_of", "status_of"]


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
        created: When it was created, in seconds since 1970.
        checkpoints: Folder of its checkpoints.
        logs: Log files of its local workers.
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
    created: float
    checkpoints: str
    logs: tuple[str, ...]


def status_of(study: Study, store: Store) -> StudyStatus:
    """Return the status of a study, as it is stored now.

    Raises:
        NotFound: The study is no longer stored.
    """
    with store.read() as connection:
        return _status(study, _stored(study, store, connection), connection)


def details_of(study: Study, most_events: int) -> tuple[StudyStatus, list[Trial], list[Event]]:
    """Return a study's status, the latest trial of each member that ever was, by member, and the latest events.

    Only the trials and events that are returned are read, however many the study has had.

    Args:
        study: The study.
        most_events: Most events to return.

    Raises:
        NotFound: The study is no longer stored.
    """
    store = open_store(study.storage)
    with store.read() as connection:
        stored = _stored(study, store, connection)
        members = range(queries.members_ever(connection, stored.id))
        latest = [trial for member in members for trial in queries.last_trials(connection, stored.id, member, 1)]
        return _status(study, stored, connection), latest, _latest_events(stored, most_events, connection)


def _stored(study: Study, store: Store, connection: Connection) -> StoredStudy:
    stored = queries.load_study(connection, study.identity.name)
    if stored is None:
        raise NotFound(f"there is no study {study.identity.name!r} in {store.name} any more")
    return stored


def _latest_events(stored: StoredStudy, most: int, connection: Connection) -> list[Event]:
    """Return the latest events in order, looking further and further back until there are enough."""
    last, span = stored.counters.sequence, 1024
    while most:
        found = [event for _, event in queries.events(connection, stored.id, after=last - span)]
        if len(found) >= most or span > last:
            return found[-most:]
        span *= 8
    return []


def _status(study: Study, stored: StoredStudy, connection: Connection) -> StudyStatus:
    control, counters, metric = stored.control, stored.counters, study.identity.metric
    counts = queries.state_counts(connection, stored.id)
    best = next(iter(queries.best_trials(connection, stored.id, metric.mode, 1)), None)
    score = None if best is None else best.score
    state: Literal["new", "open", "paused", "finished"] = "open"
    if counters.next_trial == 0:
        state = "new"
    elif _is_done(stored, _ages(stored, connection), score, metric) and not counts.get(TrialState.RUNNING, 0):
        state = "finished"
    elif control.paused:
        state = "paused"
    logs = sorted(study.logs.glob("*.log")) if study.logs.is_dir() else []
    return StudyStatus(
        name=study.name,
        storage=study.storage,
        state=state,
        metric=metric,
        algorithm=str(study.identity.algorithm.get("type", "")),
        population=control.population,
        budget=control.budget,
        trials={str(kind): count for kind, count in counts.items()},
        member_steps=counters.member_steps,
        active_seconds=counters.active_seconds,
        best=None if best is None else best.number,
        best_score=score,
        created=stored.created,
        checkpoints=str(study.checkpoints.root),
        logs=tuple(str(path) for path in logs),
    )


def _ages(stored: StoredStudy, connection: Connection) -> list[int]:
    """Return the age in steps of each member of the population that has ended a trial."""
    ages = []
    for member in range(stored.control.population):
        latest = queries.last_trials(connection, stored.id, member, 4)
        ages += [trial.end_step for trial in latest if trial.end_step][:1]
    return ages


def _is_done(stored: StoredStudy, ages: list[int], best: float | None, metric: Metric) -> bool:
    """Whether a limit of the budget is reached.

    Args:
        stored: The study.
        ages: The age of each member that has ended a trial.
        best: The best score; None before the first finite one.
        metric: The metric that members are ranked by.
    """
    budget, counters = stored.control.budget, stored.counters
    return (
        (budget.trials is not None and counters.completed >= budget.trials)
        or (budget.seconds is not None and counters.active_seconds >= budget.seconds)
        or (budget.steps is not None and len(ages) == stored.control.population and min(ages) >= budget.steps)
        or (
            budget.target is not None
            and best is not None
            and (best >= budget.target if metric.mode == "max" else best <= budget.target)
        )
    )

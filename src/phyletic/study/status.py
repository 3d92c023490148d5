"""How far a study is, for people and scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from phyletic.errors import NotFound
from phyletic.records import Budget, Metric, StudyIdentity, Trial, TrialState
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


def details_of(study: Study, most_events: int) -> tuple[StudyStatus, list[Trial], list[Event]]:
    """Return a study's status, each member's latest trial by member, and the latest events.

    How many trials and events the study has had in all does not matter: only those that are returned are read.

    Args:
        study: The study.
        most_events: How many events are returned at most.
    """
    store = open_store(study.storage)
    with store.read() as connection:
        stored = _load_study(connection, store, study.identity)
        members = range(queries.members_ever(connection, stored.id))
        latest = [trial for member in members for trial in queries.last_trials(connection, stored.id, member, 1)]
        events: list[Event] = []
        last, span = stored.counters.sequence, 1024
        while most_events and len(events) < most_events:
            found = queries.events(connection, stored.id, after=last - span)
            events = [event for _, event in found][-most_events:]
            if span > last:
                break
            span *= 8
    return status_of(study, store), latest, events


def status_of(study: Study, store: Store) -> StudyStatus:
    """Return the status of a study, as it is stored."""
    stored, counts, ages, best = _figures(store, study.identity)
    control, counters = stored.control, stored.counters
    budget = control.budget
    reached = False
    if best is not None and best.score is not None and budget.target is not None:
        reached = best.score >= budget.target if study.identity.metric.mode == "max" else best.score <= budget.target
    done = (
        (budget.trials is not None and counters.completed >= budget.trials)
        or (budget.seconds is not None and counters.active_seconds >= budget.seconds)
        or (budget.steps is not None and len(ages) == control.population and min(ages.values()) >= budget.steps)
        or reached
    )
    state: Literal["new", "open", "paused", "finished"] = "open"
    if counters.next_trial == 0:
        state = "new"
    elif done and not counts.get(TrialState.RUNNING, 0):
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
        budget=budget,
        trials={str(kind): count for kind, count in counts.items()},
        member_steps=counters.member_steps,
        active_seconds=counters.active_seconds,
        best=None if best is None else best.number,
        best_score=None if best is None else best.score,
        created=stored.created,
        checkpoints=str(study.checkpoints.root),
        logs=tuple(str(path) for path in logs),
    )


def _load_study(connection: Connection, store: Store, identity: StudyIdentity) -> StoredStudy:
    """Return a study as it is stored now, or raise NotFound."""
    stored = queries.load_study(connection, identity.name)
    if stored is None:
        raise NotFound(f"there is no study {identity.name!r} in {store.name} any more")
    return stored


def _figures(
    store: Store, identity: StudyIdentity
) -> tuple[StoredStudy, dict[TrialState, int], dict[int, int], Trial | None]:
    """Return the stored study, trials by state, members' ages, and the best trial, as of one moment."""
    with store.read() as connection:
        stored = _load_study(connection, store, identity)
        counts = queries.state_counts(connection, stored.id)
        ages = {}
        for member in range(stored.control.population):
            ended = [trial for trial in queries.last_trials(connection, stored.id, member, 4) if trial.end_step]
            if ended:
                ages[member] = ended[0].end_step or 0
        best = queries.best_trials(connection, stored.id, identity.metric.mode, 1)
    return stored, counts, ages, best[0] if best else None

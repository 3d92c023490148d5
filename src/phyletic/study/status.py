"""How far a study is, for people and scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from phyletic.errors import NotFound
from phyletic.records import Budget, Metric, StudyIdentity, Trial, TrialState
from phyletic.storage import queries
from phyletic.storage.changes import StoredStudy
from phyletic.storage.store import Store

if TYPE_CHECKING:
    from phyletic.study.study import Study

__all__ = ["StudyStatus", "status_of"]


class StudyStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A study in a few figures.

    Attributes:
        name: Its name.
        storage: Where it is stored.
        state: ``"new"`` before the first trial, ``"open"``, ``"paused"``, or ``"finished"``.
        metric: What members are ranked by.
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
    """Return the status of a study, as it is stored."""
    stored, counts, ages, best = _figures(store, study.identity)
    control, counters = stored.control, stored.counters
    budget = control.budget
    still = counts.get(TrialState.RUNNING, 0)
    reached = best is not None and best.score is not None and budget.target is not None
    if reached and best is not None and best.score is not None and budget.target is not None:
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
    elif done and not still:
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
        checkpoints=study.checkpoints.location,
        logs=tuple(str(path) for path in logs),
    )


def _figures(
    store: Store, identity: StudyIdentity
) -> tuple[StoredStudy, dict[TrialState, int], dict[int, int], Trial | None]:
    """Return the stored study, trials by state, members' ages, and the best trial, as of one moment."""
    with store.read() as connection:
        stored = queries.load_study(connection, identity.name)
        if stored is None:
            raise NotFound(f"there is no study {identity.name!r} in {store.name} any more")
        counts = queries.state_counts(connection, stored.id)
        ages = {}
        for member in range(stored.control.population):
            ended = [trial for trial in queries.last_trials(connection, stored.id, member, 4) if trial.end_step]
            if ended:
                ages[member] = ended[0].end_step or 0
        best = queries.best_trials(connection, stored.id, identity.metric.mode, 1)
    return stored, counts, ages, best[0] if best else None

"""The results of a study, read from what is stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from phyletic.checkpoints.checkpoints import Checkpoints
from phyletic.errors import InvalidArgument, NotFound
from phyletic.evolution.arguments import check_integer
from phyletic.records import CheckpointReference, Evaluation, Event, StudyChange, StudyIdentity, Trial, TrialState
from phyletic.records.values import whole_number
from phyletic.storage import queries
from phyletic.storage.changes import StoredStudy
from phyletic.storage.database import Database
from phyletic.study.opening import stored_study
from phyletic.workers.trial import LiveTrial

__all__ = ["Results", "trial_number"]


def trial_number(trial: object) -> int:
    """Return the number of a trial, or a number as it is, or raise InvalidArgument."""
    # numbers from a data frame are numpy's
    number = whole_number(trial.number if isinstance(trial, (Trial, LiveTrial)) else trial)
    if number is None or not 0 <= number < 2**63:
        raise InvalidArgument("trial", trial, "a trial, or its number")
    return number


class Results:
    """Reads one study's results; :class:`~phyletic.study.study.Study` says what each of them is.

    Args:
        database: Where the study is stored.
        stored: The study, as it was when it was opened.
        checkpoints: Where its checkpoints are.
    """

    def __init__(self, database: Database, stored: StoredStudy, checkpoints: Checkpoints) -> None:
        self._database = database
        self._id = stored.id
        self._identity: StudyIdentity = stored.identity
        self._checkpoints = checkpoints

    def stored(self) -> StoredStudy:
        """Return the study, as it is stored now."""
        stored = stored_study(self._database, self._identity.name)
        if stored is None:
            raise NotFound(f"there is no study {self._identity.name!r} in {self._database.location} any more")
        return stored

    def best(self) -> Trial:
        """Return the completed trial with the best finite score."""
        metric = self._identity.metric
        with self._database.read() as connection:
            found = queries.best_trials(connection, self._id, metric.mode, 1)
        if not found:
            raise NotFound(f"no trial of study {self._identity.name!r} has completed with a finite {metric.name}")
        return found[0]

    def trials(self, states: Sequence[TrialState] | None) -> list[Trial]:
        """Return the trials, or those in some states, by number."""
        if states is not None:
            known = isinstance(states, (list, tuple, set, frozenset)) and all(
                isinstance(state, str) and state in list(TrialState) for state in states
            )
            if not known:
                raise InvalidArgument("states", states, f"a list of states: {', '.join(TrialState)}")
        with self._database.read() as connection:
            return queries.trials(connection, self._id, states=states)

    def trial(self, trial: Trial | int) -> Trial:
        """Return a trial, as it is stored now."""
        number = trial_number(trial)
        with self._database.read() as connection:
            found = queries.trial(connection, self._id, number)
        if found is None:
            raise self._no_trial(number)
        return found

    def lineage(self, trial: Trial | int | None) -> list[Trial]:
        """Return a trial, or the best one, and all its ancestors."""
        number = self.best().number if trial is None else trial_number(trial)
        with self._database.read() as connection:
            found = queries.lineage(connection, self._id, number)
        if not found:
            raise self._no_trial(number)
        return found

    def evaluations(self, trial: Trial | int) -> list[Evaluation]:
        """Return all that a trial reported, in order."""
        with self._database.read() as connection:
            return [found for _, found in queries.evaluations(connection, self._id, [trial_number(trial)])]

    def population_at(self, trial: Trial | int) -> list[Trial]:
        """Return the population that a trial's decision saw."""
        record = self.trial(trial)
        with self._database.read() as connection:
            return queries.heads_at(connection, self._id, record.decision.as_of)

    def events(self) -> list[Event]:
        """Return what happened to the study beside its trials."""
        with self._database.read() as connection:
            return [event for _, event in queries.events(connection, self._id)]

    def changes(self, since: int, limit: int) -> list[StudyChange]:
        """Return what was committed after a write, in order."""
        check_integer("since", since, -1)
        check_integer("limit", limit, 1)
        with self._database.read() as connection:
            return queries.study_changes(connection, self._id, since=since, limit=limit)

    def checkpoint_path(self, trial: Trial | int | None) -> Path:
        """Return where the checkpoint of a trial, or of the best one, is."""
        return self._checkpoints.path(self._checkpoint(trial).id)

    def restore(self, trial: Trial | int | None, state: Mapping[str, Any]) -> dict[str, Any]:
        """Load the checkpoint of a trial, or of the best one, into objects by name; with no names, every entry."""
        with self._checkpoints.open(self._checkpoint(trial)) as opened:
            opened.verify()
            unknown = [name for name in state if name not in opened.entries]
            if unknown:
                raise NotFound(f"the checkpoint has no {unknown[0]!r}; it has: {', '.join(opened.entries)}")
            if not state:
                return {name: opened.value(name) for name in opened.entries}
            loaded = dict(state)
            opened.restore(loaded)
            return loaded

    def _checkpoint(self, trial: Trial | int | None) -> CheckpointReference:
        record = self.best() if trial is None else self.trial(trial)
        if record.checkpoint is None or not self._checkpoints.exists(record.checkpoint.id):
            raise NotFound(
                f"trial {record.number} has no checkpoint: it left none, or it was collected (see Study.pin)"
            )
        return record.checkpoint

    def _no_trial(self, number: int) -> NotFound:
        return NotFound(f"study {self._identity.name!r} has no trial {number}")

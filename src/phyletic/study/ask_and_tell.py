"""Ask and tell: the level below the loop, for programs that schedule trials themselves."""

from __future__ import annotations

import secrets
import threading
import traceback
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from msgspec.structs import replace

from phyletic.coordinator.client import Client
from phyletic.coordinator.control import check_count
from phyletic.coordinator.messages import Grant, Granted, Refused, Tell
from phyletic.coordinator.owner_channel import OwnerChannel
from phyletic.coordinator.sessions import check_worker
from phyletic.disk import local_folder
from phyletic.errors import InvalidArgument
from phyletic.evolution.arguments import check_flag, check_mapping
from phyletic.records import CheckpointReference, Evaluation, Metric, Trial
from phyletic.study.holding import Holding
from phyletic.workers.attempt import Attempt
from phyletic.workers.live_trial import LiveTrial, attempt_of, check_metric_name, check_metric_value, check_steps

_MOST_AT_ONCE = 10_000


class AskAndTell:
    """Asks and tells for one study object.

    Args:
        held: What the study object holds.
        metric: The metric that members are ranked by.
    """

    def __init__(self, held: Holding, metric: Metric) -> None:
        self._owner = held.owner
        self._sessions = held.sessions
        self._client = Client(OwnerChannel(held.owner))
        self._checkpoints = held.owner.checkpoints
        self._metric = metric
        self._named: dict[str, str] = {}
        self._threads: dict[int, int] = {}
        self._open: dict[str, set[int]] = {}

    def ask(self, worker: str | None, count: int | None) -> Any:
        """Ask for one trial, or for ``count`` in a list."""
        if worker is not None:
            check_worker(worker)
        if count is not None:
            check_count("count", count, _MOST_AT_ONCE)
            if worker is not None:
                raise InvalidArgument("count", count, "None for a named worker, which runs one trial at a time")
        session, joining = self._session(worker)
        reply = self._client.ask(session, slots=count or 1, worker=joining)
        if not isinstance(reply, Granted):
            self._sessions.discard(session)
            return reply if count is None else [reply] * count
        if isinstance(reply.rest, Refused):
            # the caller gets the error instead of the trials, so it could never tell those that were granted
            error = f"another trial that was asked for with it could not be decided: {reply.rest.message}"
            self._client.leave([session], error)
            raise reply.rest.exception()
        if worker is None:
            self._open[session] = {grant.trial.number for grant in reply.grants}
        trials = [self._live_trial(grant) for grant in reply.grants]
        return trials[0] if count is None else [*trials, *[reply.rest] * (count - len(trials))]

    def _session(self, worker: str | None) -> tuple[str, str | None]:
        """Return the session that asks, and the name under which it joins, if it begins now."""
        if worker is not None and self._named.get(worker) in self._sessions:
            return self._named[worker], None
        # each anonymous ask has its own session: if repeated, it gets the same trials; the next call gets new ones
        session = secrets.token_hex(16)
        self._sessions.add(session)
        if worker is not None:
            self._named[worker] = session
        return session, worker

    def _live_trial(self, grant: Grant) -> LiveTrial:
        self._threads[grant.trial.number] = threading.get_ident()
        attempt = Attempt(grant, load_from=self._checkpoints.path, save_to=self._checkpoints.staging)
        attempt.ancestors = self._client.ancestors
        return LiveTrial(attempt)

    def held(self) -> tuple[list[int], list[int]]:
        """Return the numbers of the trials that were asked for and are not told: in this thread, and in others."""
        sessions = self._owner.state.sessions
        numbers = sorted(number for session in list(self._sessions) for number in sessions.get(session, ()))
        here = [number for number in numbers if self._threads.get(number) == threading.get_ident()]
        return here, [number for number in numbers if number in self._threads and number not in here]

    def tell(
        self,
        trial: Any,
        metrics: Any,
        checkpoint: Any,
        steps_done: int | None,
        partial: bool,
        values: Mapping[str, float],
    ) -> Any:
        """Tell one result, or many in one transaction.

        Args:
            trial: What :meth:`ask` gave; or a list of these, told in one transaction.
            metrics: Values by name; a list of these for a list of trials; None for no values beside ``values``.
            checkpoint: A folder to publish, or a dictionary of objects to save; None for the trial's ``save_to``, if
                used. A list for a list of trials.
            steps_done: Steps trained; None for all that were asked for.
            partial: Whether the caller hands the trial back early.
            values: Values by name; empty for a list of trials.
        """
        if not isinstance(trial, Sequence) or isinstance(trial, str):
            return self._tell([trial], [_checked(metrics, values)], [checkpoint], steps_done, partial)[0]
        results = metrics if metrics is not None else [None] * len(trial)
        checkpoints = checkpoint if checkpoint is not None else [None] * len(trial)
        for name, given in (("metrics", results), ("checkpoint", checkpoints)):
            if not isinstance(given, Sequence) or len(given) != len(trial):
                raise InvalidArgument(name, given, f"a list of {len(trial)}, one for each trial")
        if values:
            raise InvalidArgument("values", dict(values), "given in a list of dictionaries, for a list of trials")
        return self._tell(trial, [_checked(result, {}) for result in results], checkpoints, steps_done, partial)

    def _tell(
        self,
        trials: Sequence[Any],
        results: Sequence[Mapping[str, float]],
        checkpoints: Sequence[Any],
        steps_done: int | None,
        partial: bool,
    ) -> list[Trial]:
        """Publish what the trials leave, then tell their results; the first three lists have an entry for each trial.

        Args:
            trials: What :meth:`ask` gave.
            results: Values by name.
            checkpoints: Folders to publish, or dictionaries of objects to save; None for a trial's ``save_to``, if
                used.
            steps_done: Steps trained in each trial; None for all that were asked for.
            partial: Whether the caller hands the trials back early.
        """
        attempts = [_attempt(trial) for trial in trials]
        tells = [self._result(*one, steps_done, partial) for one in zip(attempts, results, strict=True)]
        # publish nothing for a tell that the coordinator will refuse; it names the missing metric
        left = [
            (attempt, checkpoint)
            for attempt, tell, checkpoint in zip(attempts, tells, checkpoints, strict=True)
            if partial or any(evaluation.metric == self._metric.name for evaluation in tell.evaluations)
        ]
        self._publish(left)
        references = {attempt.record.number: attempt.published for attempt, _ in left}
        told = self._client.tell([replace(tell, checkpoint=references.get(tell.lease.trial)) for tell in tells])
        for attempt in attempts:
            self._forget(attempt)
        return told

    def _forget(self, attempt: Attempt) -> None:
        self._threads.pop(attempt.record.number, None)
        session = attempt.grant.lease.session
        if session in self._open:
            self._open[session].discard(attempt.record.number)
            if not self._open[session]:
                del self._open[session]
                self._sessions.discard(session)

    def _result(self, attempt: Attempt, values: Mapping[str, float], steps_done: int | None, partial: bool) -> Tell:
        """Return the Tell for an attempt, without its checkpoint.

        Args:
            attempt: The attempt at the trial.
            values: Values by name.
            steps_done: Steps trained; None for all that were asked for.
            partial: Whether the caller hands the trial back early.
        """
        check_flag("partial", partial)
        done = attempt.steps_trained if steps_done is None else check_steps("steps_done", steps_done, 1)
        if done is None:
            raise InvalidArgument("steps_done", None, "given, since the interval is in seconds")
        end = attempt.record.start_step + done
        final = (Evaluation(step=end, metric=name, value=value) for name, value in values.items())
        return Tell(
            lease=attempt.grant.lease,
            evaluations=(*attempt.evaluations, *final),
            steps_done=done,
            partial=partial,
            hopeless=attempt.hopeless,
            # as it was when it was applied: one optimizer may have served other trials since
            applied=attempt.values_applied,
            remarks=attempt.remarks,
        )

    def _publish(self, left: Sequence[tuple[Attempt, Any]]) -> None:
        """Publish the checkpoints that trials leave, states together.

        What is published first stays the trial's checkpoint, also if it is told again or by several threads.
        """
        with ExitStack() as locks:
            for attempt in sorted({attempt for attempt, _ in left}, key=lambda attempt: attempt.record.number):
                locks.enter_context(attempt.publishing)
            states: dict[Attempt, Mapping[str, Any]] = {}
            for attempt, checkpoint in left:
                if attempt.published is not None or attempt in states:
                    continue
                if isinstance(checkpoint, Mapping):
                    _require_unused(attempt, checkpoint)
                    states[attempt] = checkpoint
                else:
                    attempt.published = self._publish_folder(attempt, checkpoint)
            if states:
                published = self._checkpoints.publish_many({one.grant.checkpoint: states[one] for one in states})
                for attempt, reference in zip(states, published, strict=True):
                    attempt.published = reference

    def _publish_folder(self, attempt: Attempt, checkpoint: Any) -> CheckpointReference | None:
        folder = attempt.saved_to
        if checkpoint is not None:
            given = local_folder("checkpoint", checkpoint, "a folder, or a dictionary of what is to be saved")
            if folder is None or given.resolve() != folder.resolve():
                _require_unused(attempt, checkpoint)
            folder = given
        return None if folder is None else self._checkpoints.publish_folder(attempt.grant.checkpoint, folder)

    def fail(self, trial: Any, error: str | BaseException) -> Trial:
        """End an attempt without a result."""
        live = _attempt(trial)
        if isinstance(error, BaseException):
            error = "".join(traceback.format_exception(error)).rstrip()
        if not isinstance(error, str):
            raise InvalidArgument("error", error, "text, or an exception")
        failed = self._client.fail(live.grant.lease, error)
        self._forget(live)
        return failed

    def heartbeat(self, trial: Any, step: int | None) -> bool:
        """Say that a trial is alive; returns whether it should go on."""
        live = _attempt(trial)
        at = None if step is None else check_steps("step", step, 0)
        live.take_answer(self._client.heartbeat(live.heartbeat(at)))
        return not live.stop


def _attempt(trial: Any) -> Attempt:
    if not isinstance(trial, LiveTrial):
        raise InvalidArgument("trial", trial, "a trial that Study.ask gave")
    return attempt_of(trial)


def _require_unused(live: Attempt, checkpoint: object) -> None:
    """Raise InvalidArgument where files are in the trial's folder that another checkpoint would leave out."""
    if live.saved_to is not None and live.saved_to.is_dir() and any(live.saved_to.iterdir()):
        raise InvalidArgument(
            "checkpoint",
            checkpoint,
            f"left out, since trial {live.record.number} has files in its save_to ({live.saved_to})",
            "A trial has one checkpoint: those files, or what is given here",
        )


def _checked(metrics: Any, values: Mapping[str, Any]) -> dict[str, float]:
    """Return the values of metrics, which are given in a dictionary or by keywords."""
    given = {} if metrics is None else check_mapping("metrics", metrics, 'a dictionary such as {"accuracy": 0.97}')
    return {check_metric_name(name): check_metric_value(name, value) for name, value in {**given, **values}.items()}

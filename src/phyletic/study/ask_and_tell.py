"""Ask and tell: the level below the loop, for programs that schedule trials themselves."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from phyletic.checkpoints.checkpoints import Checkpoints
from phyletic.coordinator.client import Client
from phyletic.coordinator.messages import Grant, Granted, Refused, Tell
from phyletic.coordinator.owner import Owner
from phyletic.coordinator.owner_channel import OwnerChannel
from phyletic.coordinator.sessions import check_worker
from phyletic.disk import local_folder
from phyletic.errors import InvalidArgument
from phyletic.records import CheckpointReference, Evaluation, StudyIdentity, Trial
from phyletic.workers.attempt import Attempt
from phyletic.workers.trial import LiveTrial, attempt_of, check_metric_name, check_metric_value, check_steps

__all__ = ["AskAndTell"]

_MOST_AT_ONCE = 10_000


class AskAndTell:
    """Asks and tells for one study object.

    Args:
        owner: The study's owner.
        checkpoints: Where checkpoints are.
        identity: The study's identity.

    Attributes:
        sessions: Every session that the study object began, to be ended with it.
    """

    def __init__(self, owner: Owner, checkpoints: Checkpoints, identity: StudyIdentity) -> None:
        self._owner = owner
        self._client = Client(OwnerChannel(owner))
        self._checkpoints = checkpoints
        self._identity = identity
        self._named: dict[str, str] = {}
        self._threads: dict[int, int] = {}
        self.sessions: set[str] = set()

    def ask(self, worker: str | None, count: int | None) -> Any:
        """Ask for one trial, or for ``count`` in a list."""
        if worker is not None:
            check_worker(worker)
        if count is not None:
            if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= _MOST_AT_ONCE:
                raise InvalidArgument("count", count, f"a whole number from 1 to {_MOST_AT_ONCE}, or None")
            if worker is not None:
                raise InvalidArgument("count", count, "None for a named worker, which runs one trial at a time")
        session, joining = self._session(worker)
        reply = self._client.ask(session, slots=count or 1, worker=joining)
        if not isinstance(reply, Granted):
            self.sessions.discard(session)
            return reply if count is None else [reply] * count
        if isinstance(reply.rest, Refused):
            # whoever asked gets the error, and could not tell the trials that were granted beside it
            error = f"another trial that was asked for with it could not be decided: {reply.rest.message}"
            self._client.leave([session], error)
            raise reply.rest.exception()
        trials = [self._live(grant) for grant in reply.grants]
        return trials[0] if count is None else [*trials, *[reply.rest] * (count - len(trials))]

    def _session(self, worker: str | None) -> tuple[str, str | None]:
        """Return the session that asks, and the name under which it joins, if it begins now."""
        if worker is not None and self._named.get(worker) in self.sessions:
            return self._named[worker], None
        # an anonymous ask is a session of its own: said again it gives the same trials, and the next call new ones
        session = secrets.token_hex(16)
        self.sessions.add(session)
        if worker is not None:
            self._named[worker] = session
        return session, worker

    def _live(self, grant: Grant) -> LiveTrial:
        self._threads[grant.trial.number] = threading.get_ident()
        attempt = Attempt(grant, load_from=self._checkpoints.path, save_to=self._checkpoints.staging)
        attempt.ancestors = self._client.ancestors
        return LiveTrial(attempt)

    def held(self) -> tuple[list[int], list[int]]:
        """Return the trials that were asked for and are not told: in this thread, and in others."""
        sessions = self._owner.state.sessions
        numbers = sorted(number for session in list(self.sessions) for number in sessions.get(session, ()))
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
        """Tell one result, or many in one transaction."""
        many = isinstance(trial, Sequence) and not isinstance(trial, str)
        if not many:
            command = self._command(trial, {**_mapping(metrics), **values}, checkpoint, steps_done, partial)
            return self._told([trial], [command])[0]
        results = metrics if metrics is not None else [None] * len(trial)
        folders = checkpoint if checkpoint is not None else [None] * len(trial)
        for name, given in (("metrics", results), ("checkpoint", folders)):
            if not isinstance(given, Sequence) or len(given) != len(trial):
                raise InvalidArgument(name, given, f"a list of {len(trial)}, one for each trial")
        if values:
            raise InvalidArgument("values", dict(values), "given in a list of dictionaries, for a list of trials")
        checked = [_checked(_mapping(result)) for result in results]
        commands = [
            self._command(one, result, folder, steps_done, partial)
            for one, result, folder in zip(trial, checked, folders, strict=True)
        ]
        return self._told(trial, commands)

    def _told(self, trials: Sequence[Any], results: Sequence[Tell]) -> list[Trial]:
        told = self._client.tell(results)
        for trial in trials:
            self._forget(_live(trial))
        return told

    def _forget(self, live: Attempt) -> None:
        self._threads.pop(live.record.number, None)
        session = live.grant.lease.session
        if session not in self._named.values() and session not in self._owner.state.sessions:
            self.sessions.discard(session)

    def _command(
        self, trial: Any, values: Mapping[str, Any], checkpoint: Any, steps_done: int | None, partial: bool
    ) -> Tell:
        live = _live(trial)
        checked = _checked(values)
        if not isinstance(partial, bool):
            raise InvalidArgument("partial", partial, "True or False")
        if steps_done is not None:
            done = check_steps("steps_done", steps_done, 1)
        else:
            said = live.steps_done if live.steps_done is not None else live.steps_asked
            if said is None:
                raise InvalidArgument("steps_done", None, "given, where the interval is in seconds")
            done = said
        end = live.record.start_step + done
        final = tuple(Evaluation(step=end, metric=name, value=value) for name, value in checked.items())
        evaluations = (*live.evaluations, *final)
        names = {evaluation.metric for evaluation in evaluations}
        reference = None
        # what is refused is refused before anything is published; the coordinator says so in its own words
        if partial or self._identity.metric.name in names:
            reference = self._publish(live, checkpoint)
        return Tell(
            lease=live.grant.lease,
            evaluations=evaluations,
            steps_done=done,
            checkpoint=reference,
            partial=partial,
            hopeless=live.hopeless,
            # as it was when it was applied: one optimizer may have served other trials since
            applied={path: value for applied in live.applied for path, value in applied.values.items()},
        )

    def _publish(self, live: Attempt, checkpoint: Any) -> CheckpointReference | None:
        # told by several threads, or once more: what was published first is its checkpoint
        with live.publishing:
            if live.published is None:
                live.published = self._publish_now(live, checkpoint)
            return live.published

    def _publish_now(self, live: Attempt, checkpoint: Any) -> CheckpointReference | None:
        identity = live.grant.checkpoint
        if isinstance(checkpoint, Mapping):
            _require_unused(live, checkpoint)
            return self._checkpoints.publish(identity, checkpoint)
        if checkpoint is not None:
            folder = local_folder("checkpoint", checkpoint, "a folder, or a dictionary of what is to be saved")
            own = live.saved_to is not None and folder.resolve() == live.saved_to.resolve()
            if not own:
                _require_unused(live, checkpoint)
            return self._checkpoints.publish_folder(identity, folder)
        if live.saved_to is not None:
            return self._checkpoints.publish_folder(identity, live.saved_to)
        return None

    def fail(self, trial: Any, error: str | BaseException) -> Trial:
        """End an attempt without a result."""
        live = _live(trial)
        if isinstance(error, BaseException):
            import traceback

            error = "".join(traceback.format_exception(error)).rstrip()
        if not isinstance(error, str):
            raise InvalidArgument("error", error, "text, or an exception")
        failed = self._client.fail(live.grant.lease, error)
        self._forget(live)
        return failed

    def heartbeat(self, trial: Any, step: int | None) -> bool:
        """Say that a trial is alive; returns whether it should go on."""
        live = _live(trial)
        at = None if step is None else check_steps("step", step, 0)
        live.take_answer(self._client.heartbeat(live.heartbeat(at)))
        return not live.stop


def _live(trial: Any) -> Attempt:
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


def _mapping(metrics: Any) -> Mapping[str, Any]:
    if metrics is None:
        return {}
    if not isinstance(metrics, Mapping):
        raise InvalidArgument("metrics", metrics, 'a dictionary such as {"accuracy": 0.97}')
    return metrics


def _checked(values: Mapping[str, Any]) -> dict[str, float]:
    return {check_metric_name(name): check_metric_value(name, value) for name, value in values.items()}

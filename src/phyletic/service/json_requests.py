"""Requests and replies of HTTP as JSON: the records' own form, with numbers that are not finite as texts."""

from __future__ import annotations

import hashlib
import secrets
from typing import Any, Literal, TypeAlias, TypeVar

import msgspec

from phyletic.coordinator.messages import (
    Ancestors,
    Ask,
    Command,
    Control,
    Fail,
    FailCause,
    Heartbeat,
    Join,
    Leave,
    Save,
    Tell,
)
from phyletic.errors import InvalidArgument
from phyletic.records import (
    Budget,
    CheckpointReference,
    Evaluation,
    Lease,
    Metric,
    StudyControl,
    StudyIdentity,
    Timings,
    Trial,
    Value,
)
from phyletic.remote.remote_owner import LEASE_SECONDS

T = TypeVar("T")

_DEEPEST = 30


class NewStudy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A study to create.

    Attributes:
        name: Its name.
        space: From names to domains, such as ``{"lr": {"type": "float", "low": 1e-4, "high": 0.1, "log": true}}``; or
            the form that a study's identity has.
        metrics: What is reported; the first ranks the members.
        algorithm: Such as ``{"type": "PBT", "population": 8, "interval": 100}``; what is left out has its default.
        budget: How far it goes.
        seed: From which its randomness is derived; drawn if it is left out.
        initial: Values of the first members, by flat path.
        sampling: How the other first values are drawn.
        max_failures: As for ``Study``.
        max_losses: As for ``Study``.
        keep_best: As for ``Study``.
    """

    name: str
    space: dict[str, Any]
    metrics: tuple[Metric, ...]
    algorithm: dict[str, Any]
    budget: Budget | None = None
    seed: int | None = None
    initial: tuple[dict[str, Value], ...] = ()
    sampling: Literal["random", "sobol", "latin"] = "random"
    max_failures: int | None = None
    max_losses: int | None = None
    keep_best: int | None = None

    def identity(self) -> StudyIdentity:
        """Return the identity that it describes.

        Raises:
            InvalidArgument: Its space or its algorithm is nested too deeply.
        """
        _check_nesting("space", self.space)
        _check_nesting("algorithm", self.algorithm)
        space = self.space
        if "entries" not in space:
            entries = [{"name": name, **_entry(name, domain)} for name, domain in space.items()]
            space = {"format": 1, "entries": entries}
        return StudyIdentity(
            uuid="",
            name=self.name,
            space=space,
            metrics=self.metrics,
            algorithm=self.algorithm,
            seed=secrets.randbits(32) if self.seed is None else self.seed,
            initial=self.initial,
            sampling=self.sampling,
        )

    def control(self) -> Control:
        """Return the settings that it begins with."""
        return Control(
            budget=self.budget,
            max_failures=self.max_failures,
            max_losses=self.max_losses,
            keep_best=self.keep_best,
        )


class AskRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A worker wants trials; said again, it gets those that it holds.

    Attributes:
        worker: Its name. The same name has the same session, so it gets the trial that it holds already.
        session: Its session, 32 hexadecimal digits, if it has one of its own.
        slots: How many trials it may hold.
        in_memory: Numbers of the trials whose end states it has in memory.
        lease_seconds: How long its leases last without a word from it.
        wait_seconds: How long the answer may be held while there is no trial; at most 25.
    """

    worker: str
    session: str | None = None
    slots: int = 1
    in_memory: tuple[int, ...] = ()
    lease_seconds: float = LEASE_SECONDS
    wait_seconds: float = 0.0

    def commands(self, study: str) -> tuple[Command, ...]:
        """Return the commands that it stands for.

        Args:
            study: The study's uuid.
        """
        session = self.session
        if session is None:
            named = f"{study}/{self.worker}".encode(errors="backslashreplace")
            session = hashlib.blake2b(named, digest_size=16).hexdigest()
        join = Join(session=session, worker=self.worker, lease_seconds=self.lease_seconds)
        return (join, Ask(session=session, slots=self.slots, in_memory=frozenset(self.in_memory)))


SessionCommand: TypeAlias = Join | Leave | Ask | Tell | Fail | Save | Heartbeat | Ancestors
"""A command of a session, as an object whose ``type`` is its name."""


class ExchangeRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Commands of sessions, decided in one transaction: such as a Tell with the next Join and Ask.

    Programs write it, and no person: so fields that a later version sends are left aside, as over gRPC.

    Attributes:
        commands: The commands, in order; a Join of the same session comes before an Ask.
        wait_seconds: How long the answer may be held while the last command, an Ask, must wait; at most 25.
        changes_since: Sequence number after which the answer says what was committed; None for no such answer.
    """

    commands: tuple[SessionCommand, ...]
    wait_seconds: float = 0.0
    changes_since: int | None = None


class TellRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The result of an attempt; it has one effect, however often it is said.

    Attributes:
        lease: The lease of its grant.
        metrics: Final values by name.
        evaluations: What was reported on the way, in order.
        steps_done: Steps trained; all that were asked for if it is left out.
        checkpoint: What was published under the id of the grant.
        partial: Whether the trial is handed back early.
        timings: Where the time went.
        applied: What took effect, by path.
        remarks: What a person should know.
    """

    lease: Lease
    metrics: dict[str, float] = {}
    evaluations: tuple[Evaluation, ...] = ()
    steps_done: int | None = None
    checkpoint: CheckpointReference | None = None
    partial: bool = False
    timings: Timings = Timings()
    applied: dict[str, Value] = {}
    remarks: tuple[str, ...] = ()

    def command(self, trial: Trial) -> Tell:
        """Return the command that it stands for.

        Args:
            trial: The trial that it is for.
        """
        done = trial.steps if self.steps_done is None else self.steps_done
        if done is None:
            raise InvalidArgument("steps_done", None, "given, since the interval is in seconds")
        end = trial.start_step + done
        final = [Evaluation(step=end, metric=name, value=value) for name, value in self.metrics.items()]
        return Tell(
            lease=self.lease,
            evaluations=(*self.evaluations, *final),
            steps_done=done,
            checkpoint=self.checkpoint,
            partial=self.partial,
            timings=self.timings,
            applied=self.applied,
            remarks=self.remarks,
        )


class FailRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An attempt ended without a result.

    Attributes:
        lease: The lease of its grant.
        error: What happened.
        cause: ``"released"`` counts against nothing; as in :class:`phyletic.coordinator.messages.Fail`.
    """

    lease: Lease
    error: str
    cause: FailCause = "error"

    def command(self) -> Fail:
        """Return the command that it stands for."""
        return Fail(lease=self.lease, error=self.error, cause=self.cause)


class HeartbeatRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A running attempt is alive.

    Attributes:
        lease: The lease of its grant.
        step: Step along the lineage that was reached.
        first: How many of the attempt's reports come before these.
        evaluations: What was reported after them.
    """

    lease: Lease
    step: int | None = None
    first: int = 0
    evaluations: tuple[Evaluation, ...] = ()

    def command(self) -> Heartbeat:
        """Return the command that it stands for."""
        return Heartbeat(lease=self.lease, step=self.step, first=self.first, evaluations=self.evaluations)


class ControlRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A change of a study's control; what is left out stays.

    Attributes:
        budget: How far the study goes.
        population: The number of members.
        paused: Whether it grants no new trials.
        max_failures: As for ``Study``.
        max_losses: As for ``Study``.
        keep_best: As for ``Study``.
        pin: Number of a trial whose checkpoint is kept for good.
        unpin: Number of a trial whose checkpoint is kept no longer for that.
        enqueue: Values of the next member that is decided, by flat path.
        stop: Ends the workers' runs: ``"drain"`` once their trials have finished, ``"now"`` at once.
    """

    budget: Budget | None = None
    population: int | None = None
    paused: bool | None = None
    max_failures: int | None = None
    max_losses: int | None = None
    keep_best: int | None = None
    pin: int | None = None
    unpin: int | None = None
    enqueue: dict[str, Value] | None = None
    stop: Literal["drain", "now"] | None = None


class StudyDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A study.

    Attributes:
        identity: What never changes.
        control: What may.
        sequence: Sequence number of its latest write.
        checkpoints: Address of its checkpoints, as the server sees it.
        status: The study in a few figures.
    """

    identity: StudyIdentity
    control: StudyControl
    sequence: int
    checkpoints: str
    status: dict[str, Any]


class TrialPage(msgspec.Struct, frozen=True, kw_only=True):
    """Trials by number.

    Attributes:
        trials: The trials.
        sequence: Sequence number of the study's latest write.
        next: What ``after`` of the next page is; None on the last page.
    """

    trials: tuple[Trial, ...]
    sequence: int
    next: int | None


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Why a request had no effect.

    Attributes:
        error: The name of the error.
        message: Its text.
        name: The argument that is wrong, if one is.
        value: Its value.
    """

    error: str
    message: str
    name: str = ""
    value: str = ""


def decode(raw: bytes, kind: type[T]) -> T:
    """Return the request that JSON holds, or raise InvalidArgument."""
    try:
        return msgspec.json.decode(raw, type=kind, strict=False)
    except InvalidArgument:
        raise
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        shown = raw[:200].decode(errors="replace")
        raise InvalidArgument("the request", shown, f"JSON of a {kind.__name__}", str(error)[:500]) from None


def _check_nesting(name: str, document: object) -> None:
    """Raise InvalidArgument if a document is nested so deeply that it could not be sent over gRPC.

    Args:
        name: Its name.
        document: The document.
    """
    level = [document]
    for _ in range(_DEEPEST):
        level = [
            item
            for one in level
            if isinstance(one, (dict, list))
            for item in (one.values() if isinstance(one, dict) else one)
        ]
    if level:
        raise InvalidArgument(name, "a document", f"nested at most {_DEEPEST} levels deep")


def _entry(name: str, domain: Any) -> dict[str, Any]:
    if not isinstance(domain, dict):
        return {"type": "constant", "value": domain}
    if "type" not in domain:
        raise InvalidArgument(f"space[{name!r}]", domain, 'an object with its type, such as {"type": "float", ...}')
    return domain

"""What sessions say to the coordinator and what it answers: frozen, so that they cross a pipe unchanged."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from phyletic import errors
from phyletic.records import Budget, CheckpointReference, Evaluation, Lease, Timings, Trial, Value


class Join(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """A session begins.

    Attributes:
        session: Random identity of this incarnation: 32 hexadecimal digits.
        worker: The name a person gave it.
        pid: Its process, where it is a local worker that a later owner must end; else None.
        created: The process's creation time as the system tells it, so that a reused pid is not mistaken for it.
        lease_seconds: How long its leases last without a word from it, for a session that its owner cannot look at;
            None for one that lives as long as its process and its owner.
    """

    session: str
    worker: str
    pid: int | None = None
    created: float | None = None
    lease_seconds: float | None = None


class Leave(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """A session has ended: its process is gone, or it was killed.

    Attributes:
        session: Its identity.
        lost: Whether its open trials count as lost with their worker (else they are released, uncounted).
        error: What is known of its end, for the trials it held.
    """

    session: str
    lost: bool = True
    error: str | None = None


class Ask(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """A session wants trials (idempotent): those it holds, and as many others as it has slots left.

    Attributes:
        session: Who asks. An ask that is to give a trial of its own comes from a session of its own.
        slots: How many trials it may hold, from 1 to 10,000.
        in_memory: Numbers of the trials whose end states the session holds in memory; ties go towards them.
    """

    session: str
    slots: int = 1
    in_memory: frozenset[int] = frozenset()


class Tell(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """The result of an attempt; it has one effect, however often it is said.

    Attributes:
        lease: The attempt it is for.
        evaluations: All that was reported, in order.
        steps_done: Steps trained.
        checkpoint: What was published under the id of the grant; None where nothing was.
        partial: Whether the trial was handed back early, to be continued without a decision.
        hopeless: Whether the attempt was told to stop because it was not worth finishing; an owner that came since
            knows it from here alone.
        timings: Where the time went.
        applied: What took effect, by path.
        remarks: What a person should know about how it trained.
    """

    lease: Lease
    evaluations: tuple[Evaluation, ...]
    steps_done: int
    checkpoint: CheckpointReference | None = None
    partial: bool = False
    hopeless: bool = False
    timings: Timings = Timings()
    applied: dict[str, Value] = {}
    remarks: tuple[str, ...] = ()


FailCause: TypeAlias = Literal["error", "lost", "released", "damaged", "unreachable"]
"""Why an attempt ended without a result, in the words of its session."""


class Fail(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """An attempt ended without a result.

    Attributes:
        lease: The attempt it is for.
        error: Text for the person who reads it, with the traceback.
        cause: ``"error"`` counts against ``max_failures``, ``"lost"`` against ``max_losses``, ``"released"`` against
            nothing; ``"damaged"`` says that the parent's checkpoint is not what was published. ``"unreachable"``, that
            the store of the checkpoints did not answer, counts against nothing, and stops the study if it comes three
            times in a row.
    """

    lease: Lease
    error: str
    cause: FailCause = "error"


MOST_EVALUATIONS = 10_000
"""Evaluations that one heartbeat may carry; a worker says the rest with the next ones."""


class Save(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """A running attempt has saved its state within its trial.

    Attributes:
        lease: The attempt it is for.
        checkpoint: What was published.
        step: The step along the lineage that it was made at.
        evaluations: The latest report of each metric before it, with which the next attempt begins.
    """

    lease: Lease
    checkpoint: CheckpointReference
    step: int
    evaluations: tuple[Evaluation, ...] = ()


class Heartbeat(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """A running attempt is alive; what it reported so far is for the display and for early stopping.

    Attributes:
        lease: The attempt it is for.
        step: Step along the lineage that was reached; None if unknown.
        first: How many of the attempt's reports come before these: as many as its owner has said it received.
        evaluations: What was reported after them; at most 10,000 values, and the rest with the next heartbeats.
    """

    lease: Lease
    step: int | None = None
    first: int = 0
    evaluations: tuple[Evaluation, ...] = ()


class Ancestors(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """A session wants to know a trial's lineage; nothing is changed.

    Attributes:
        trial: Number of the trial, which was granted before.
    """

    trial: int


class Control(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """A change of the study's control; None leaves a setting as it is.

    The folder of its checkpoints can be another only where no process runs the study.
    """

    budget: Budget | None = None
    population: int | None = None
    paused: bool | None = None
    max_failures: int | None = None
    max_losses: int | None = None
    keep_best: int | None = None
    checkpoints: str | None = None


HOPELESS = "not worth finishing"
"""Why an attempt should stop that the algorithm gave up."""


class Stop(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """End the run that goes on, as Ctrl-C does: once lets running trials finish, ``now`` does not.

    Attributes:
        now: Whether running trials are released at once.
    """

    now: bool = False


class Pin(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """Keep a trial's checkpoint for good, or (``keep=False``) no longer."""

    trial: int
    keep: bool = True


class Enqueue(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """Give the next member that is decided these values."""

    values: dict[str, Value]


Command: TypeAlias = Join | Leave | Ask | Tell | Fail | Save | Heartbeat | Ancestors | Control | Pin | Enqueue | Stop


class Grant(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """A trial to run.

    Attributes:
        trial: The trial.
        lease: The attempt; every write for it carries this.
        checkpoint: Id under which the attempt's checkpoint is to be published.
        parent: The checkpoint to start from; None for a newborn.
        save_every: After how many steps to save within the trial; None for never.
    """

    trial: Trial
    lease: Lease
    checkpoint: str
    parent: CheckpointReference | None = None
    save_every: int | None = None


class Wait(msgspec.Struct, frozen=True, tag=True):
    """Nothing to run now; there may be later (others hold what is open, or the study is paused).

    Attributes:
        reason: For the person who reads it.
    """

    reason: str = ""


class Finished(msgspec.Struct, frozen=True, tag=True):
    """Nothing to run any more.

    Attributes:
        reason: Which limit was reached, for the person who reads it.
        failed: Whether the study stopped because attempts failed one after another.
    """

    reason: str = ""
    failed: bool = False


class Granted(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """Trials to run.

    Attributes:
        grants: At least one, those that the session held already first.
        rest: Why its other slots stay empty; None if they are full.
    """

    grants: tuple[Grant, ...]
    rest: Wait | Finished | Refused | None = None

    @property
    def first(self) -> Grant:
        """The first of them: the only one, for a session with one slot."""
        return self.grants[0]


class Done(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """A command took effect (or had taken effect before, when it is said again).

    Attributes:
        trial: The trial as it is now, for Tell and Fail.
        stop: For Heartbeat: why the attempt should stop, "" while it should not. ``"preempted"`` hands the trial back.
        received: For Heartbeat: how many of the attempt's reports the owner has.
        lineage: For Ancestors: the numbers of the trial and its ancestors, the newborn's first.
    """

    trial: Trial | None = None
    stop: str = ""
    received: int = 0
    lineage: tuple[int, ...] = ()


class Refused(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """A command had no effect.

    Attributes:
        error: The error's code: the name of its class in :mod:`phyletic.errors`.
        message: Its text.
        name: For an InvalidArgument: the argument's name.
        value: For an InvalidArgument: the argument's value, as text.
    """

    error: str
    message: str
    name: str = ""
    value: str = ""

    @classmethod
    def of(cls, error: errors.PhyleticError) -> Refused:
        """Return the refusal that carries an error."""
        name, value = getattr(error, "name", ""), getattr(error, "value", "")
        return cls(error=type(error).__name__, message=str(error), name=str(name), value=str(value)[:1000])

    def exception(self) -> errors.PhyleticError:
        """Return the error as an exception to raise."""
        kind = getattr(errors, self.error)
        made: errors.PhyleticError = kind.__new__(kind)
        Exception.__init__(made, self.message)
        if isinstance(made, errors.InvalidArgument):
            made.name, made.value = self.name, self.value
        return made


Reply: TypeAlias = Granted | Wait | Finished | Done | Refused

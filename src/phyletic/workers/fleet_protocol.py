"""What a fleet needs of its workers' processes: how they are told what to do, and what is heard of them.

Local processes are one kind; another kind (actors, machines elsewhere) implements :class:`Processes` and runs under the
same decisions, :class:`phyletic.workers.fleet.Fleet`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol, TypeAlias

import msgspec

from phyletic.coordinator.messages import Command, Finished, Join, Refused, Reply

__all__ = [
    "Announce",
    "Answer",
    "Broke",
    "Died",
    "End",
    "Event",
    "GiveUp",
    "Instruction",
    "Kill",
    "Outcome",
    "Patience",
    "Processes",
    "Said",
    "Start",
]


class Patience(msgspec.Struct, frozen=True, kw_only=True):
    """How long workers have for what; times are in seconds.

    Attributes:
        trial: From a trial's grant until its worker is killed and it counts as lost; None sets no limit. Imports and
            data before the first trial are no part of it.
        hand_back: For running trials to hand back what they have once they were asked to.
        exit: For a worker to end once there is nothing to run any more.
        suspended: A worker that was suspended (SIGSTOP) and silent for so long is killed.
        start: A worker that has not asked for a trial for so long is announced, and again at each doubling.
        beat: Between a worker's heartbeats.
        ask_again: Until a worker's question is asked again although nothing was said.
        early_deaths: A worker that dies so often in a row before it asks for a trial is not started again.
    """

    trial: float | None = None
    hand_back: float = 10.0
    exit: float = 30.0
    suspended: float = 10.0
    start: float = 60.0
    beat: float = 1.0
    ask_again: float = 0.5
    early_deaths: int = 3


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a run with workers ended.

    Attributes:
        finished: Why there was nothing to run any more; None if the run was interrupted before that.
        interrupted: ``""``, ``"drained"`` (the first Ctrl-C: running trials were finished), ``"stopped"`` (the second)
            or ``"terminated"`` (a signal asked this process to end: running trials were handed back).
        lost: How many workers died while they were needed.
    """

    finished: Finished | None = None
    interrupted: Literal["", "drained", "stopped", "terminated"] = ""
    lost: int = 0


class End(msgspec.Struct, frozen=True, kw_only=True):
    """How a worker's process ended.

    Attributes:
        epitaph: Says it to a person.
        kind: ``"well"``; ``"asked"`` if it ended because of SIGTERM; ``"distrusted"`` if it does not trust
            itself any more; or ``"badly"``.
    """

    epitaph: str
    kind: Literal["well", "asked", "distrusted", "badly"] = "badly"


class Start(msgspec.Struct, frozen=True):
    """Start a worker in a place."""

    place: int


class Kill(msgspec.Struct, frozen=True):
    """Kill a place's worker with all that it started.

    Attributes:
        place: The place.
        reason: Why, for the trial that it runs.
    """

    place: int
    reason: str


class Answer(msgspec.Struct, frozen=True):
    """Send a place's worker the replies to its request."""

    place: int
    replies: tuple[Reply, ...]


class Announce(msgspec.Struct, frozen=True):
    """Show a line to the person at the terminal."""

    text: str


class GiveUp(msgspec.Struct, frozen=True):
    """End the run with an error: no worker could begin.

    Attributes:
        place: Whose workers died last.
        text: What happened.
    """

    place: int
    text: str


Instruction: TypeAlias = Start | Kill | Answer | Announce | GiveUp


class Said(msgspec.Struct, frozen=True):
    """A worker made a request."""

    place: int
    commands: tuple[Command, ...]


class Broke(msgspec.Struct, frozen=True):
    """A worker said that trying again is of no use."""

    place: int
    error: Refused


class Died(msgspec.Struct, frozen=True):
    """A worker's process has ended."""

    place: int


Event: TypeAlias = Said | Broke | Died


class Processes(Protocol):
    """The workers' processes, of one kind: what a fleet needs of them. A place has one process at a time."""

    def start(self, place: int) -> Join:
        """Start a process, which waits for :meth:`begin`.

        Raises:
            StudyFailed: It could not be started.
        """

    def begin(self, place: int) -> None:
        """Tell a process what to do, once its session is recorded."""

    def poll(self, seconds: float) -> Sequence[Event]:
        """Return what happened, as soon as something did or after some seconds."""

    def send(self, place: int, replies: tuple[Reply, ...]) -> None:
        """Send the replies to a request; never block on the process."""

    def kill(self, place: int) -> tuple[Sequence[Event], End]:
        """End a process with all that it started; return what it had said, and how it ended."""

    def is_suspended(self, place: int) -> bool:
        """Whether a process is suspended, so that its silence does not mean work."""

    def output(self, place: int) -> str:
        """Say where a place's output is."""

    def output_tail(self, place: int) -> str:
        """Return the end of a place's output, for an error's message."""

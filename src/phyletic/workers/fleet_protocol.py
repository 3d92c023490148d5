"""What a fleet and its workers' processes tell each other: instructions and events.

Local processes are one kind. Another kind (actors, machines elsewhere) implements :class:`Processes`, and
:class:`phyletic.workers.fleet.Fleet` decides for it as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol, TypeAlias

import msgspec

from phyletic.coordinator.messages import Command, Finished, Join, Refused, Reply


class Patience(msgspec.Struct, frozen=True, kw_only=True):
    """The times that a fleet grants its workers, in seconds.

    Attributes:
        trial: From a trial's grant until its worker is killed and the trial counts as lost; None sets no limit. Imports
            and data before the first trial do not count.
        hand_back: For running trials to hand back their state once the run asks for it.
        exit: For a worker to end once no trials are left.
        suspended: The fleet kills a worker that is suspended (SIGSTOP) and silent for so long.
        start: The fleet announces a worker that has not asked for a trial for so long, then at doubling intervals.
        beat: Between a worker's heartbeats.
        ask_again: Until the fleet repeats a worker's ask although no worker said anything.
        early_deaths: Deaths in a row before an ask, after which a place gets no other worker.
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
        finished: Why no trials were left; None if the run was interrupted before.
        interrupted: ``""``, ``"drained"`` (the first Ctrl-C: running trials were finished), ``"stopped"`` (the second)
            or ``"terminated"`` (a signal asked this process to end: workers handed back their trials).
        lost: How many workers died while the run needed them.
    """

    finished: Finished | None = None
    interrupted: Literal["", "drained", "stopped", "terminated"] = ""
    lost: int = 0


class Starting(msgspec.Struct, frozen=True, kw_only=True):
    """Living workers of which some have not asked for a trial yet: they import libraries, or load data.

    Attributes:
        workers: How many workers live.
        ready: How many of them have asked.
        seconds: Since the first of the others was started.
    """

    workers: int
    ready: int
    seconds: float


class End(msgspec.Struct, frozen=True, kw_only=True):
    """How a worker's process ended.

    Attributes:
        epitaph: A sentence about it for a person.
        kind: ``"well"``; ``"asked"`` if SIGTERM ended it; ``"distrusted"`` if it no longer trusted itself; or
            ``"badly"``.
    """

    epitaph: str
    kind: Literal["well", "asked", "distrusted", "badly"] = "badly"


class Start(msgspec.Struct, frozen=True):
    """Start a worker in a place."""

    place: int


class Kill(msgspec.Struct, frozen=True):
    """Kill a place's worker with all that it started; the reason becomes the error of the trial that it runs."""

    place: int
    reason: str


class Answer(msgspec.Struct, frozen=True):
    """Send a place's worker the replies to its request."""

    place: int
    replies: tuple[Reply, ...]


class Announce(msgspec.Struct, frozen=True):
    """Show a line to the person at the terminal; with a place, it ends with what its worker may be doing."""

    text: str
    place: int | None = None


class GiveUp(msgspec.Struct, frozen=True):
    """End the run with an error, because no worker could begin; the last one died in this place."""

    place: int
    text: str


Instruction: TypeAlias = Start | Kill | Answer | Announce | GiveUp


class Said(msgspec.Struct, frozen=True):
    """A worker made a request."""

    place: int
    commands: tuple[Command, ...]


class Broke(msgspec.Struct, frozen=True):
    """A worker met an error that a second try would meet again."""

    place: int
    error: Refused


class Died(msgspec.Struct, frozen=True):
    """A worker's process has ended."""

    place: int


class Leaving(msgspec.Struct, frozen=True):
    """The machine under a worker is about to go, so the worker should hand back its trial."""

    place: int


Event: TypeAlias = Said | Broke | Died | Leaving


class Processes(Protocol):
    """Processes of one kind, at most one at a time in each place."""

    def start(self, place: int) -> Join:
        """Start a process, which waits for :meth:`begin`.

        Raises:
            StudyFailed: It could not be started.
        """

    def begin(self, place: int) -> None:
        """Tell a process to begin, after its session was recorded."""

    def poll(self, seconds: float) -> Sequence[Event]:
        """Wait for events, but no longer than some seconds, and return them."""

    def send(self, place: int, replies: tuple[Reply, ...]) -> None:
        """Send the replies to a request; never block on the process."""

    def kill(self, place: int) -> tuple[Sequence[Event], End]:
        """End a process with all that it started; return its last events, and how it ended."""

    def is_suspended(self, place: int) -> bool:
        """Whether a process is suspended, so that its silence does not mean that it works."""

    def beginning(self, place: int) -> str:
        """Say what a worker that has not asked for a trial yet may be doing, and where its output is."""

    def output_tail(self, place: int) -> str:
        """Return the end of a place's output, for an error's message; empty if it has none."""

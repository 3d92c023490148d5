"""What a study object asks of its study's owner, wherever the owner is: in this process, or on a server."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from phyletic.checkpoints.checkpoints import Checkpoints
from phyletic.coordinator.channel import Channel
from phyletic.coordinator.feed import Feed
from phyletic.coordinator.inbox import Inbox
from phyletic.coordinator.messages import Command, Reply
from phyletic.coordinator.state import StudyState
from phyletic.evolution import Algorithm
from phyletic.storage.database import Database


class Ownership(Protocol):
    """Decides for a study; safe to use from threads. :class:`phyletic.coordinator.owner.Owner` documents it."""

    @property
    def database(self) -> Database:
        """Where the study is read."""

    @property
    def checkpoints(self) -> Checkpoints:
        """Where its checkpoints are."""

    @property
    def feed(self) -> Feed:
        """Hands on what is committed."""

    @property
    def inbox(self) -> Inbox | None:
        """Where this process leaves requests if another one on this machine owns the study; None if it never does."""

    @property
    def forked(self) -> bool:
        """Whether this is a process that was forked since."""

    @property
    def begun(self) -> bool:
        """Whether a command was sent since the last :meth:`release`."""

    @property
    def state(self) -> StudyState:
        """The committed state; read it, never change it."""

    def looking(self) -> AbstractContextManager[StudyState]:
        """Give the committed state for the length of the block."""

    def begin(self) -> None:
        """Take ownership, or raise StorageOwned."""

    def adopt(self, algorithm: Algorithm) -> None:
        """Decide by an algorithm that is the same, and has the user's own functions."""

    def execute(self, commands: Sequence[Command]) -> tuple[Reply, ...]:
        """Have commands decided in one transaction."""

    def loop_channel(self) -> Channel:
        """Return the channel for a loop of this process, whose asks may be answered late."""

    def wait(self, seconds: float) -> None:
        """Wait until something was decided, or the time has passed."""

    def use(self, user: int) -> None:
        """Note that a user relies on the ownership."""

    def release(self, user: int) -> None:
        """End this when no other user relies on it."""

    def defer(self, function: Callable[[], object]) -> None:
        """Call a function as soon as no thread decides."""

"""How a worker's loop reaches the coordinator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from phyletic.coordinator.messages import Command, Reply

if TYPE_CHECKING:
    # a worker in another process needs no coordinator, and starts faster without
    from phyletic.coordinator.owner import Owner

__all__ = ["Channel", "OwnerChannel"]


class Channel(Protocol):
    """Carries commands to the coordinator and brings its replies; safe to use from threads."""

    def exchange(self, commands: Sequence[Command]) -> tuple[Reply, ...]:
        """Send commands, to be decided in one transaction; returns a reply for each."""

    def wait(self, seconds: float) -> None:
        """Return when something may have changed since a Wait, or after a time."""


class OwnerChannel:
    """Reaches the coordinator in this process.

    Args:
        owner: The study's owner.
    """

    def __init__(self, owner: Owner) -> None:
        self._owner = owner

    def exchange(self, commands: Sequence[Command]) -> tuple[Reply, ...]:
        """Execute the commands in this thread."""
        return self._owner.execute(commands)

    def wait(self, seconds: float) -> None:
        """Wait until another thread has changed something."""
        self._owner.wait(seconds)

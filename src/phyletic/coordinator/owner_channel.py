"""The channel to a study's owner as its study object has it: a call."""

from __future__ import annotations

from collections.abc import Sequence

from phyletic.coordinator.messages import Command, Reply
from phyletic.coordinator.ownership import Ownership


class OwnerChannel:
    """Reaches the owner of a study object; implements :class:`phyletic.coordinator.channel.Channel`.

    Args:
        owner: The study's owner.
    """

    def __init__(self, owner: Ownership) -> None:
        self._owner = owner

    def exchange(self, commands: Sequence[Command], timeout: float | None = None) -> tuple[Reply, ...]:
        """Decide the commands in this thread; the timeout does not apply."""
        return self._owner.execute(commands)

    def wait(self, seconds: float) -> None:
        """Wait until another thread has changed something."""
        self._owner.wait(seconds)

    def close(self) -> None:
        """Do nothing: the owner belongs to the study."""

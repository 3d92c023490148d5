"""The way to a study's coordinator: all code that asks for trials, tells results or starts workers holds one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from phyletic.coordinator.messages import Command, Reply


class Channel(Protocol):
    """Carries commands to the coordinator and brings back its replies; safe to use from several threads."""

    def exchange(self, commands: Sequence[Command], timeout: float | None = None) -> tuple[Reply, ...]:
        """Send commands, which the coordinator decides in one transaction, and return a reply for each.

        Args:
            commands: What to decide, in order.
            timeout: Seconds to wait for the replies; None sets no limit. A channel may ignore it if it cannot lose its
                coordinator without also ending this process.

        Raises:
            Unreachable: The coordinator did not answer; it may have decided the commands or not.
        """

    def wait(self, seconds: float) -> None:
        """Return after some seconds, or earlier if the answer to an Ask may have changed since a Wait."""

    def close(self) -> None:
        """Release what the channel holds; it carries nothing afterwards."""

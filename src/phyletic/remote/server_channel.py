"""The channel to a study's coordinator on a server, over any connection."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from phyletic.coordinator.messages import Ask, Command, Control, Enqueue, Pin, Reply, Stop
from phyletic.remote.connection import Connection, Following

_CONTROLS = (Control, Pin, Enqueue, Stop)


class ServerChannel:
    """Reaches a study's coordinator on a server; implements :class:`phyletic.coordinator.channel.Channel`.

    Args:
        connection: The server.
        study: The study's name.
        hold: Seconds for which the server may hold an ask that must wait.
        interrupted: Whether an ask that is held should return.
        following: Takes what is committed meanwhile.
    """

    def __init__(
        self,
        connection: Connection,
        study: str,
        *,
        hold: float = 0.0,
        interrupted: Callable[[], bool] = lambda: False,
        following: Following | None = None,
    ) -> None:
        self._connection = connection
        self._study = study
        self._hold = hold
        self._interrupted = interrupted
        self._following = following
        self._closed = threading.Event()

    def exchange(self, commands: Sequence[Command], timeout: float | None = None) -> tuple[Reply, ...]:
        """Send commands; those that change the study's control go by a call of their own.

        Args:
            commands: What to decide, in order.
            timeout: Seconds to wait for the replies; None for the usual ones.
        """
        own = [command for command in commands if not isinstance(command, _CONTROLS)]
        asks = bool(own) and isinstance(own[-1], Ask)
        hold = self._hold if asks and not self._interrupted() else 0.0
        replies = iter(
            self._connection.exchange(
                self._study,
                own,
                hold=hold,
                timeout=timeout,
                interrupted=self._interrupted,
                following=self._following,
            )
            if own or not commands
            else ()
        )
        return tuple(
            [
                self._connection.control(self._study, command) if isinstance(command, _CONTROLS) else next(replies)
                for command in commands
            ]
        )

    def wait(self, seconds: float) -> None:
        """Wait, unless the server held the ask already."""
        if self._hold == 0:
            self._closed.wait(seconds)

    def close(self) -> None:
        """Do nothing more: the connection belongs to others too."""
        self._closed.set()

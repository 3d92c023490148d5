"""The commands of one call to a server, on their way to a decision."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError

from phyletic.coordinator.messages import Ask, Command, Join, Reply, Wait

_logger = logging.getLogger("phyletic.service")


class Batch:
    """The commands of one call.

    Args:
        commands: What to decide.
        until: When an ask that must wait is answered, by the steady clock.
    """

    def __init__(self, commands: Sequence[Command], until: float) -> None:
        self.commands = tuple(commands)
        self.until = until
        self.replies: list[Reply] = []
        self.future: Future[tuple[Reply, ...]] = Future()

    @property
    def asking(self) -> tuple[Command, ...]:
        """Its last command, an ask, and what its session joins with."""
        ask = self.commands[-1]
        assert isinstance(ask, Ask)
        joins = [one for one in self.commands if isinstance(one, Join) and one.session == ask.session]
        return (*joins[-1:], ask)

    @property
    def ended(self) -> bool:
        """Whether its caller has the answer, or has gone."""
        return self.future.done()

    @property
    def must_wait(self) -> bool:
        """Whether its last command is an ask that must wait."""
        return bool(self.replies) and isinstance(self.commands[-1], Ask) and isinstance(self.replies[-1], Wait)

    def answer(self) -> None:
        """Give the replies to the caller."""
        self._end(lambda: self.future.set_result(tuple(self.replies)))

    def fail(self, error: BaseException) -> None:
        """Give an error to the caller."""
        self._end(lambda: self.future.set_exception(error))

    def _end(self, give: Callable[[], None]) -> None:
        try:
            give()
        except InvalidStateError:
            # the caller has gone
            _logger.debug("the caller has gone before its answer")

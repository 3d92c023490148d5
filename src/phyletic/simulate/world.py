"""Events by virtual time: each happens when those before it are over."""

from __future__ import annotations

import heapq
from collections.abc import Callable

from phyletic.randomness import RandomStream

__all__ = ["Action", "EventQueue"]

Action = Callable[[], None]


class EventQueue:
    """What is still to happen.

    Args:
        chance: Decides which of several events at the same time comes first.

    Attributes:
        now: The virtual time in seconds.
        count: How many events there were.
    """

    def __init__(self, chance: RandomStream) -> None:
        self.now = 0.0
        self.count = 0
        self._chance = chance
        self._events: list[tuple[float, float, int, Action]] = []
        self._planned = 0

    def __bool__(self) -> bool:
        return bool(self._events)

    def after(self, delay: float, action: Action) -> None:
        """Plan an event, some seconds from now."""
        self.at(self.now + delay, action)

    def at(self, time: float, action: Action) -> None:
        """Plan an event for a time."""
        self._planned += 1
        heapq.heappush(self._events, (time, self._chance.random(), self._planned, action))

    def next(self) -> None:
        """Let the next event happen."""
        self.now, _, _, action = heapq.heappop(self._events)
        self.count += 1
        action()

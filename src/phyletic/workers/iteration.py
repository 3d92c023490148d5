"""One ``for`` loop over trials, and how it is noticed that it was left.

It is a class with ``__next__`` and not a generator: reaching ``__next__`` again means that the body ended well; leaving
the loop in any other way drops the iterator, since only the ``for`` statement holds it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from phyletic.workers.state import Memory
from phyletic.workers.trial import LiveTrial

if TYPE_CHECKING:
    from phyletic.workers.loop import Trials

__all__ = ["Iteration"]


class Iteration:
    """One ``for`` loop over trials."""

    def __init__(self, trials: Trials, memory: Memory | None) -> None:
        self._trials = trials
        self._memory = memory

    def __iter__(self) -> Iterator[LiveTrial]:
        # the loop's own object: only the for statement holds it, so that leaving the loop drops it at once
        return _Running(self._trials, self._memory)


class _Running:
    def __init__(self, trials: Trials, memory: Memory | None) -> None:
        self._trials = trials
        self._memory = memory

    def __iter__(self) -> Iterator[LiveTrial]:
        return self

    def __next__(self) -> LiveTrial:
        return self._trials.next_trial(self._memory, self)

    def __del__(self) -> None:
        self._trials.left()

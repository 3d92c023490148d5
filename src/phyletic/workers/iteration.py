"""One ``for`` loop over trials, and how it is noticed that it was left.

It is a class with ``__next__`` and not a generator: reaching ``__next__`` again means that the body ended well; leaving
the loop in any other way drops the iterator, since only the ``for`` statement holds it.
"""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING

from phyletic.errors import StorageError
from phyletic.workers.state import Memory
from phyletic.workers.trial import LiveTrial

if TYPE_CHECKING:
    from phyletic.workers.loop import Trials

__all__ = ["Iteration", "give_back_elsewhere"]


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
        self._left = False
        self._thread = 0

    @property
    def held_here(self) -> Trials | None:
        """Where its open trial came from, if this thread is the one that is to end it."""
        return self._trials if self._thread == threading.get_ident() and not self._left else None

    def __iter__(self) -> Iterator[LiveTrial]:
        return self

    def __next__(self) -> LiveTrial:
        self._left = False
        self._thread = threading.get_ident()
        _begun.add(self)
        try:
            return self._trials.next_trial(self._memory, self)
        except BaseException:
            # not left to __del__: a traceback that is kept, as notebooks keep the last one, holds this frame
            with contextlib.suppress(StorageError):
                self._leave()
            raise

    def __del__(self) -> None:
        self._leave()

    def _leave(self) -> None:
        if not self._left:
            self._left = True
            self._trials.left(self)


_begun: weakref.WeakSet[_Running] = weakref.WeakSet()


def give_back_elsewhere(trials: Trials) -> bool:
    """Release what another loop over a study holds in this thread, which waits for itself; returns whether one did.

    Not every loop that was left is noticed: a kept traceback holds the frame of a comprehension, and with it the loop.

    Args:
        trials: Whose loop waits for a trial.
    """
    sources = {source for loop in list(_begun) if (source := loop.held_here) not in (None, trials)}
    return any(source.release(trials) for source in sources if source is not None)

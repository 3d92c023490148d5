"""One ``for`` loop over trials, which notices when the training code leaves it.

It is a class with ``__next__`` and not a generator: a further call of ``__next__`` means that the body ended well, so
the source tells the trial. Leaving the loop in any other way drops the iterator, whose finalizer only notes that; the
source gives back the open trial at its next call.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Protocol

from phyletic.errors import StorageError, Unreachable
from phyletic.workers.live_trial import LiveTrial
from phyletic.workers.memory import Memory
from phyletic.workers.not_a_trial import NotOneTrial


class Source(Protocol):
    """The source of a loop's trials; a token identifies the loop."""

    def next_trial(self, memory: Memory | None, loop: object) -> LiveTrial:
        """Tell the open trial and return the next one, or raise StopIteration."""

    def end_loop(self, loop: object) -> None:
        """Release what the session holds, because the loop has no more trials or raised."""

    def note_left(self, loop: object) -> None:
        """Note that the training code left the loop; safe in a finalizer."""


class Iteration(NotOneTrial):
    """The result of ``attach``: each ``for`` statement over it is a loop of its own.

    Args:
        trials: The source.
        memory: The state in memory; None if trials load themselves.
    """

    def __init__(self, trials: Source, memory: Memory | None) -> None:
        self._trials = trials
        self._memory = memory

    def __iter__(self) -> Iterator[LiveTrial]:
        # only the for statement holds this object, so that leaving the loop drops it at once
        return _Loop(self._trials, self._memory)


class _Loop:
    """One ``for`` loop. The source knows it by a token: a reference to the loop itself would keep it alive."""

    def __init__(self, trials: Source, memory: Memory | None) -> None:
        self._trials = trials
        self._memory = memory
        self._token: object = None

    def __iter__(self) -> Iterator[LiveTrial]:
        return self

    def __next__(self) -> LiveTrial:
        self._token = self._token or object()
        try:
            return self._trials.next_trial(self._memory, self._token)
        except BaseException:
            token, self._token = self._token, None
            with contextlib.suppress(StorageError, Unreachable):
                self._trials.end_loop(token)
            raise

    def __del__(self) -> None:
        if self._token is not None:
            self._trials.note_left(self._token)

"""The feed hands the changes of each commit to the followers of a study.

A follower has a queue. It takes changes from it in its own time, so that nothing it does and nothing it raises reaches
the code that decides. A follower that is too slow is told that it missed some, and reads on from the store.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence

from phyletic.records import StudyChange, Trial
from phyletic.records.event import DECIDED, RESULTS
from phyletic.storage.changes import Changes

_MOST_WAITING = 10_000
_logger = logging.getLogger("phyletic")


def committed(changes: Changes) -> tuple[StudyChange, ...]:
    """Return what a commit changed, as followers get it: results, what else happened, and the decisions that follow.

    Each trial is as the commit left it.
    """
    sequence = changes.counters.sequence
    trials: dict[int, Trial] = {update.trial.number: update.trial for update in (*changes.inserted, *changes.updated)}
    told = [trial for trial in trials.values() if str(trial.state) in RESULTS]
    results = [
        StudyChange(sequence=sequence, kind=str(trial.state), at=trial.finished or 0.0, trial=trial)
        for trial in sorted(told, key=lambda trial: trial.number)
    ]
    decisions = [
        StudyChange(sequence=sequence, kind=DECIDED, at=update.trial.created, trial=trials[update.trial.number])
        for update in changes.inserted
    ]
    events = [
        StudyChange(
            sequence=sequence,
            kind=event.kind,
            at=event.at,
            trial=None if event.trial is None else trials.get(event.trial),
            payload=event.payload,
        )
        for event in changes.events
    ]
    return (*results, *events, *decisions)


class Follower:
    """The queue of one follower.

    Args:
        most: How many changes may wait in it.
    """

    def __init__(self, most: int = _MOST_WAITING) -> None:
        self._waiting: deque[StudyChange] = deque()
        self._most = most
        self._missed = False
        self._arrived = threading.Condition()

    @property
    def waiting(self) -> bool:
        """Whether there is something to take."""
        return bool(self._waiting) or self._missed

    def put(self, changes: Sequence[StudyChange]) -> None:
        """Add committed changes; if there are too many, drop all and note that the follower missed some."""
        with self._arrived:
            self._waiting.extend(changes)
            if len(self._waiting) > self._most:
                self._waiting.clear()
                self._missed = True
            self._arrived.notify_all()

    def take(self, timeout: float = 0.0) -> tuple[list[StudyChange], bool]:
        """Take all changes that wait.

        Args:
            timeout: Seconds to wait for something if there is nothing.

        Returns:
            The changes, in order, and whether some before them were missed; these can be read from the store, by
            :meth:`Study.changes`.
        """
        with self._arrived:
            if not self._waiting and not self._missed and timeout > 0:
                self._arrived.wait(timeout)
            taken, missed = list(self._waiting), self._missed
            self._waiting.clear()
            self._missed = False
            return taken, missed


class Feed:
    """Hands committed changes to followers, and calls functions with them.

    A thread that committed calls the functions after it released its locks: so they may use the study. One thread at a
    time calls them, also for what others commit meanwhile, so each function gets the changes in order. What a function
    raises is logged.
    """

    def __init__(self) -> None:
        self._followers: list[Follower] = []
        self._functions: list[tuple[Follower, Callable[[list[StudyChange]], object]]] = []
        self._calling = threading.Lock()

    @property
    def followed(self) -> bool:
        """Whether there is any follower."""
        return bool(self._followers)

    def follow(self, follower: Follower) -> Callable[[], None]:
        """Add a follower; returns what removes it."""
        self._followers.append(follower)
        return lambda: self._followers.remove(follower)

    def call(self, function: Callable[[list[StudyChange]], object]) -> Callable[[], None]:
        """Call a function with the changes of each commit, after it; returns a function that ends this."""
        follower = Follower()
        entry = (follower, function)
        remove = self.follow(follower)
        self._functions.append(entry)

        def end() -> None:
            self.deliver()
            remove()
            self._functions.remove(entry)

        return end

    def publish(self, changes: Sequence[StudyChange]) -> None:
        """Add committed changes to every follower's queue."""
        for follower in list(self._followers):
            follower.put(changes)

    def deliver(self) -> None:
        """Call the functions with the changes that wait for them, unless a thread is doing so: it calls them again."""
        while any(follower.waiting for follower, _ in self._functions) and self._calling.acquire(blocking=False):
            try:
                for follower, function in list(self._functions):
                    changes, missed = follower.take()
                    if missed:
                        _logger.warning("%r missed changes of the study: it is too slow", function)
                    if changes:
                        _call(function, changes)
            finally:
                self._calling.release()


def _call(function: Callable[[list[StudyChange]], object], changes: list[StudyChange]) -> None:
    try:
        function(changes)
    except Exception:
        _logger.exception("%r raised, and the study goes on", function)

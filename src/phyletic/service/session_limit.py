"""How many sessions of workers a server takes at once, over all of its studies."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection

MOST_SESSIONS = 20_000
"""Sessions of workers that a server takes at once."""


class SessionLimit:
    """Gives sessions room, or refuses them; the threads of all studies use it.

    Args:
        most: How many sessions there may be.
    """

    def __init__(self, most: int = MOST_SESSIONS) -> None:
        self._most = most
        self._counts: dict[str, int] = {}
        self._alive: dict[str, Callable[[], int]] = {}
        self._lock = threading.Lock()

    def add_study(self, study: str, alive: Callable[[], int]) -> None:
        """Count the sessions of a study too.

        Args:
            study: The study's name.
            alive: Counts those of its sessions whose leases have not passed; any thread may call it.
        """
        with self._lock:
            self._counts[study], self._alive[study] = 0, alive

    def refused(self, study: str, there: Collection[str], joining: Collection[str]) -> set[str]:
        """Return which of the sessions that join a study find no room; the others have theirs from now on.

        Args:
            study: The study's name.
            there: The sessions that it has.
            joining: Those that join, of which some may be there.
        """
        new = sorted(session for session in joining if session not in there)
        if not new:
            return set()
        with self._lock:
            self._counts[study] = len(there)
            if sum(self._counts.values()) + len(new) > self._most:
                # sessions have left since, and a study in which nobody asks notices no worker that died
                self._counts = {name: alive() for name, alive in self._alive.items()}
            room = max(0, self._most - sum(self._counts.values()))
            self._counts[study] += min(room, len(new))
        return set(new[room:])

"""What a study object holds: the ownership of the study in this process, and the sessions in which it asks.

Every thread has one session for its loops. So a loop that begins finds the trial that an earlier loop of its thread was
left with, though nothing noticed that it was left (a kept traceback holds the frame of a comprehension, and with it the
loop), and releases it: nothing else could tell it, and the thread would wait for itself.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Collection

from phyletic.coordinator.messages import Leave
from phyletic.coordinator.ownership import Ownership

_PROCESS = secrets.token_hex(8)


class Holding:
    """What one study object holds; in a process that was forked since, the methods leave it to the parent.

    Args:
        owner: The study's owner.

    Attributes:
        owner: The study's owner.
        sessions: The sessions that the study object began and has not ended.
    """

    def __init__(self, owner: Ownership) -> None:
        self.owner = owner
        self.sessions: set[str] = set()

    def use(self) -> None:
        """Rely on the ownership of the study until :meth:`release`."""
        self.owner.use(id(self))

    def begin_loop(self) -> str:
        """Return the session for a loop in this thread, after releasing what an earlier loop of the thread held."""
        session = f"{_PROCESS}{threading.get_ident() % 2**64:016x}"
        self.use()
        self.sessions.add(session)
        self._leave([session], "another loop began in its thread")
        return session

    def end_loop(self, session: str) -> None:
        """Release what a loop held, and the storage too unless the study object holds other trials."""
        if self.owner.forked:
            return
        if self.owner.begun and any(other in self.owner.state.sessions for other in self.sessions - {session}):
            self._leave([session], "its loop ended")
            self.sessions.discard(session)
        else:
            self.release()

    def release(self) -> None:
        """Release the trials of all sessions, and the ownership."""
        if self.owner.forked:
            return
        try:
            self._leave(list(self.sessions), "its study was closed")
        finally:
            # the next owner voids what could not be written
            self.sessions.clear()
            self.owner.release(id(self))

    def _leave(self, sessions: Collection[str], reason: str) -> None:
        held = [session for session in sessions if self.owner.begun and session in self.owner.state.sessions]
        if held:
            self.owner.execute([Leave(session=session, lost=False, error=reason) for session in held])

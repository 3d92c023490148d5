"""The sessions in which a study's loops ask in this process, and how a study object releases what it holds.

Every thread has one session for its loops. So a loop that begins finds the trial that an earlier loop of its thread was
left with, though nothing noticed that it was left (a kept traceback holds the frame of a comprehension, and with it the
loop), and releases it: nothing else could tell it, and the thread would wait for itself.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Collection

from phyletic.coordinator.messages import Leave
from phyletic.coordinator.owner import Owner

__all__ = ["begin_loop", "end_loop", "let_go"]

_PROCESS = secrets.token_hex(8)


def begin_loop(owner: Owner, user: int, sessions: set[str]) -> str:
    """Return the session for a loop in this thread, after releasing what an earlier loop of the thread held.

    Args:
        owner: The study's owner.
        user: The study object, as :meth:`Owner.use` knows it.
        sessions: The sessions that the study object began; that of the thread is added.
    """
    session = f"{_PROCESS}{threading.get_ident() % 2**64:016x}"
    owner.use(user)
    sessions.add(session)
    _leave(owner, [session], "another loop began in its thread")
    return session


def end_loop(owner: Owner, user: int, sessions: set[str], session: str) -> None:
    """Release what a loop held, and the storage too unless the study object holds other trials.

    Args:
        owner: The study's owner.
        user: The study object, as :meth:`Owner.use` knows it.
        sessions: The sessions that the study object began; the loop's is taken out.
        session: The loop's session.
    """
    if owner.forked:
        return
    others = sessions - {session}
    if owner.begun and any(other in owner.state.sessions for other in others):
        _leave(owner, [session], "its loop ended")
        sessions.discard(session)
    else:
        let_go(owner, user, sessions)


def let_go(owner: Owner, user: int, sessions: set[str]) -> None:
    """Release what a study object holds; in a process that was forked since, do nothing, since its parent holds it.

    Args:
        owner: The study's owner.
        user: The study object, as :meth:`Owner.use` knows it.
        sessions: The sessions that the study object began; emptied.
    """
    if owner.forked:
        return
    try:
        _leave(owner, sessions, "its study was closed")
    finally:
        # what could not be written is void when the study is owned next
        sessions.clear()
        owner.release(user)


def _leave(owner: Owner, sessions: Collection[str], reason: str) -> None:
    held = [session for session in list(sessions) if owner.begun and session in owner.state.sessions]
    if held:
        owner.execute([Leave(session=session, lost=False, error=reason) for session in held])

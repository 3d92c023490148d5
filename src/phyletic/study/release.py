"""Closing a study object: what it held is released, and so is the storage when nobody uses it any more.

In a process that was forked meanwhile nothing is done: what was held is its parent's.
"""

from __future__ import annotations

from collections.abc import Collection

from phyletic.coordinator.messages import Leave
from phyletic.coordinator.owner import Owner

__all__ = ["end_loop", "let_go"]


def let_go(owner: Owner, user: int, sessions: set[str]) -> None:
    """Release what a study object holds.

    Args:
        owner: The study's owner.
        user: The study object, as :meth:`Owner.use` knows it.
        sessions: The sessions that it began; emptied.
    """
    if owner.forked:
        return
    try:
        _leave(owner, sessions)
    finally:
        # whatever could not be written is void when the study is owned next
        sessions.clear()
        owner.release(user)


def end_loop(owner: Owner, user: int, sessions: set[str], session: str) -> None:
    """Release what a loop in this process held, and the storage too unless the study object holds other trials.

    Args:
        owner: The study's owner.
        user: The study object, as :meth:`Owner.use` knows it.
        sessions: The sessions that it began; that of the loop is taken out.
        session: The session of the loop.
    """
    if owner.forked:
        return
    others = sessions - {session}
    if owner.begun and any(other in owner.state.sessions for other in others):
        sessions.discard(session)
        _leave(owner, [session])
    else:
        sessions.add(session)
        let_go(owner, user, sessions)


def _leave(owner: Owner, sessions: Collection[str]) -> None:
    held = [session for session in list(sessions) if owner.begun and session in owner.state.sessions]
    if held:
        owner.execute([Leave(session=session, lost=False, error="its study was closed") for session in held])

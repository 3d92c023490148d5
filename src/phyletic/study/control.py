"""Changing a study's control: as its owner, or through the inbox of the process that is its owner."""

from __future__ import annotations

from phyletic.coordinator.inbox import Request
from phyletic.coordinator.messages import Control, Done, Refused, Reply, Stop
from phyletic.coordinator.owner import NO_RUN, Owner
from phyletic.errors import StorageOwned
from phyletic.workers.interrupts import Interrupts

__all__ = ["change"]

_INBOX_SECONDS = 10.0


def change(owner: Owner, study: str, user: int, request: Request) -> None:
    """Change a study's control, pin a checkpoint, or stop the run that goes on.

    Args:
        owner: The study's owner in this process; it is one for the length of this, unless it was already.
        study: The study's uuid.
        user: Who asks, as :meth:`Owner.use` knows them.
        request: What is wanted.

    Raises:
        StorageBusy: Another process owns the study, and did not answer.
    """
    begun = owner.begun
    try:
        owner.begin()
    except StorageOwned:
        if owner.inbox is None or (isinstance(request, Control) and request.checkpoints is not None):
            raise
        _accepted(owner.inbox.ask(request, _INBOX_SECONDS))
        return
    try:
        if isinstance(request, Stop):
            found = Interrupts.request(study, request.now)
            _accepted(Done() if found else Refused(error="NotFound", message=NO_RUN))
        else:
            _accepted(*owner.execute([request]))
    finally:
        if not begun:
            owner.release(user)


def _accepted(reply: Reply) -> None:
    if isinstance(reply, Refused):
        raise reply.exception()

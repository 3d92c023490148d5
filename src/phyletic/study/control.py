"""Changing a study's control: as its owner, or through the inbox of the process that is its owner."""

from __future__ import annotations

from phyletic.coordinator.client import Client
from phyletic.coordinator.inbox import InboxChannel, Request
from phyletic.coordinator.messages import Control
from phyletic.coordinator.owner import Owner
from phyletic.coordinator.owner_channel import OwnerChannel
from phyletic.errors import StorageOwned

__all__ = ["change"]


def change(owner: Owner, user: int, request: Request) -> None:
    """Change a study's control, pin a checkpoint, or stop the run that goes on.

    Args:
        owner: The study's owner in this process; it is one for the length of this, unless it was already.
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
        Client(InboxChannel(owner.inbox)).change(request)
        return
    try:
        Client(OwnerChannel(owner)).change(request)
    finally:
        if not begun:
            owner.release(user)

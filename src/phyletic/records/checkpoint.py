"""A reference to a published checkpoint."""

from __future__ import annotations

import enum

import msgspec

__all__ = ["CheckpointReference", "CheckpointState"]


class CheckpointState(enum.StrEnum):
    """Where a checkpoint is in its life."""

    PENDING = "pending"
    """Its id is given to an attempt, which may publish it."""
    DURABLE = "durable"
    """Published, and told: it may be loaded."""
    CONDEMNED = "condemned"
    """Nothing needs it: its bytes may be deleted."""
    COLLECTED = "collected"
    """Its bytes are gone."""


class CheckpointReference(msgspec.Struct, frozen=True):
    """Names a published checkpoint and what its bytes must be.

    Attributes:
        id: 32 hexadecimal digits, given by the coordinator, one per trial and fence.
        digest: Of the packed file, or of the folder's manifest, with its algorithm: ``"sha256:..."``.
        size: Bytes on disk.
    """

    id: str
    digest: str
    size: int

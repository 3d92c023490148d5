"""A reference to a published checkpoint."""

from __future__ import annotations

import enum

import msgspec


class CheckpointState(enum.StrEnum):
    """The state of a checkpoint."""

    DURABLE = "durable"
    """Published and told; trials may load it."""
    CONDEMNED = "condemned"
    """Nothing needs it; its bytes may be deleted."""
    COLLECTED = "collected"
    """Its bytes are deleted."""


class CheckpointReference(msgspec.Struct, frozen=True):
    """Names a published checkpoint, and says how to verify its bytes.

    Attributes:
        id: 32 hexadecimal digits from the coordinator, different for each trial and fence.
        digest: Digest of the packed file, or of the folder's manifest, with its algorithm: ``"sha256:..."``.
        size: Size on disk, in bytes.
    """

    id: str
    digest: str
    size: int

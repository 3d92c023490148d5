"""A reference to a published checkpoint."""

from __future__ import annotations

import enum

import msgspec

from phyletic.records.evaluation import Evaluation


class CheckpointState(enum.StrEnum):
    """The state of a checkpoint."""

    DURABLE = "durable"
    """Published and told; trials may load it."""
    CONDEMNED = "condemned"
    """Nothing needs it; its bytes may be deleted."""
    COLLECTED = "collected"
    """Its bytes are deleted."""


class SavedState(msgspec.Struct, frozen=True, kw_only=True):
    """A save within a trial, from which a retry goes on.

    Attributes:
        checkpoint: Where it is.
        step: The step along the lineage that it was made at.
        attempt: The attempt that made it, from 1.
        count: Which save of that attempt it is, from 1.
        fence: The fence of that attempt's lease.
        evaluations: The latest report of each metric before it.
    """

    checkpoint: CheckpointReference
    step: int
    attempt: int
    count: int
    fence: int
    evaluations: tuple[Evaluation, ...] = ()


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

"""Checkpoints: publishing states durably, and restoring them bit for bit."""

from phyletic.checkpoints.comparison import difference
from phyletic.checkpoints.local import LocalCheckpoints
from phyletic.checkpoints.open_checkpoint import OpenCheckpoint
from phyletic.checkpoints.store import CheckpointStore

__all__ = ["CheckpointStore", "LocalCheckpoints", "OpenCheckpoint", "difference"]

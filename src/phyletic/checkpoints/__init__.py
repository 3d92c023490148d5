"""Checkpoints: publishing states durably, and restoring them bit for bit."""

from phyletic.checkpoints.addresses import blobs_at
from phyletic.checkpoints.blobs import Blobs, FolderBlobs, MemoryBlobs
from phyletic.checkpoints.checkpoints import Checkpoints
from phyletic.checkpoints.collector import Collector
from phyletic.checkpoints.open_checkpoint import OpenCheckpoint

__all__ = [
    "Blobs",
    "Checkpoints",
    "Collector",
    "FolderBlobs",
    "MemoryBlobs",
    "OpenCheckpoint",
    "blobs_at",
]

"""Delete condemned checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from phyletic.errors import CheckpointError, StoreUnreachable


class Collector:
    """Deletes condemned checkpoints, each once, and returns the ids that are gone for good.

    It deletes a checkpoint at once, since it may be large. Only the wait for the disk is put off, and shared by a
    batch. An id whose deletion fails is never returned: it stays condemned, and the study's
    next owner adds it again.

    Args:
        delete: Deletes the checkpoint with an id; raises CheckpointError if it cannot.
        sync: Makes earlier deletions survive a loss of power; raises CheckpointError if it cannot.
        batch: How many deletions share one wait for the disk.

    Example:
        >>> deleted = []
        >>> collector = Collector(deleted.append, lambda: None)
        >>> collector.add(["a", "b"])
        []
        >>> deleted
        ['a', 'b']
        >>> collector.flush()
        ['a', 'b']
    """

    def __init__(self, delete: Callable[[str], object], sync: Callable[[], object], *, batch: int = 32) -> None:
        self._delete = delete
        self._sync = sync
        self._batch = batch
        self._deleted: list[str] = []

    def add(self, ids: Iterable[str]) -> list[str]:
        """Delete checkpoints; return the ids that are gone for good since the last call, often none."""
        for id in ids:
            try:
                self._delete(id)
            except StoreUnreachable:
                break  # the others would wait for the store as long; they stay condemned
            except CheckpointError:
                continue
            self._deleted.append(id)
        return self.flush() if len(self._deleted) >= self._batch else []

    def flush(self) -> list[str]:
        """Wait for the disk; return the ids that are gone for good since the last call."""
        deleted, self._deleted = self._deleted, []
        try:
            if deleted:
                self._sync()
        except CheckpointError:
            return []
        return deleted

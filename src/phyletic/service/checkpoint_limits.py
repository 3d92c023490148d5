"""Limits of bytes: of one checkpoint, and of all checkpoints of a server."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from phyletic.checkpoints import Blobs
from phyletic.checkpoints.checkpoint_names import id_of
from phyletic.errors import LimitExceeded

_MEASURE_AGAIN = 10.0


@dataclass(frozen=True)
class CheckpointLimits:
    """How many bytes clients may store.

    Attributes:
        checkpoint: Of one checkpoint.
        total: Of all checkpoints of the server, unfinished uploads included.
    """

    checkpoint: int = 16 << 30
    total: int = 1 << 40


class StoredBytes:
    """Knows how many bytes the checkpoints take, without looking at all of them for each upload.

    Each store is measured once; then uploads are added. What the owner deletes is noticed when the limit seems reached:
    then the store is measured again, at most every ten seconds.

    Args:
        limits: The limits.
        unfinished: Returns the bytes of unfinished uploads.
        clock: Seconds that only grow.
    """

    def __init__(
        self, limits: CheckpointLimits, unfinished: Callable[[], int], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limits, self._unfinished, self._clock = limits, unfinished, clock
        self._sizes: dict[str, dict[str, int]] = {}
        self._sums: dict[str, int] = {}
        self._measured: dict[str, float] = {}
        self._lock = threading.Lock()

    def require_room(self, blobs: Blobs, key: str, size: int) -> None:
        """Raise unless a blob may be stored.

        Args:
            blobs: The study's blobs.
            key: The key of the blob.
            size: Its bytes, which the unfinished uploads count already.

        Raises:
            LimitExceeded: The checkpoint or the server would hold too much; the message names the limit.
        """
        with self._lock:
            if blobs.location not in self._sizes:
                self._measure(blobs)
            sizes, id = self._sizes[blobs.location], id_of(key)
            if sizes.get(id, 0) + size > self._limits.checkpoint:
                # an earlier attempt's files may have been replaced or deleted
                self._set(blobs.location, id, _size(blobs, key.partition("/")[0]))
            whole = sizes.get(id, 0) + size
            if whole > self._limits.checkpoint:
                raise LimitExceeded(
                    f"checkpoint {id} would have {whole} bytes, but this service takes at most "
                    f"{self._limits.checkpoint} bytes a checkpoint"
                )
            if self._all() > self._limits.total and self._may_measure(blobs.location):
                self._measure(blobs)
            if self._all() > self._limits.total:
                raise LimitExceeded(
                    f"the checkpoints of this service would have {self._all()} bytes, but may have "
                    f"{self._limits.total}: delete studies, or start the server with a higher limit"
                )

    def add(self, blobs: Blobs, key: str, size: int) -> None:
        """Note that a blob was stored.

        Args:
            blobs: The study's blobs.
            key: The key of the blob.
            size: Its bytes.
        """
        with self._lock:
            if blobs.location in self._sizes:
                id = id_of(key)
                self._set(blobs.location, id, self._sizes[blobs.location].get(id, 0) + size)

    def _all(self) -> int:
        return self._unfinished() + sum(self._sums.values())

    def _may_measure(self, location: str) -> bool:
        return self._clock() - self._measured[location] >= _MEASURE_AGAIN

    def _set(self, location: str, id: str, size: int) -> None:
        sizes = self._sizes[location]
        self._sums[location] += size - sizes.get(id, 0)
        sizes[id] = size

    def _measure(self, blobs: Blobs) -> None:
        sizes: dict[str, int] = {}
        for name in blobs.names():
            sizes[id_of(name)] = sizes.get(id_of(name), 0) + _size(blobs, name)
        self._sizes[blobs.location] = sizes
        self._sums[blobs.location] = sum(sizes.values())
        self._measured[blobs.location] = self._clock()


def _size(blobs: Blobs, name: str) -> int:
    """Return the bytes of all blobs below a first name."""
    try:
        path = blobs.get(name)
        return _size_on_disk(path)
    except (FileNotFoundError, NotADirectoryError):
        return 0


def _size_on_disk(path: Path) -> int:
    if not path.is_dir():
        return path.stat().st_size
    with os.scandir(path) as entries:
        return sum(_size_on_disk(Path(entry.path)) for entry in entries)

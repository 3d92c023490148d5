"""The disk of a simulated study: a loss of power takes from it what nobody waited for, and a deletion may fail."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import cast

from sqlalchemy import Connection

from phyletic.checkpoints.blobs import MemoryBlobs
from phyletic.storage.sqlite_database import SqliteDatabase

_SUFFIX = ".safetensors"
"""By a blob with this name a checkpoint is published."""


class SimulatedDatabase(SqliteDatabase):
    """A database in memory that remembers what a disk would hold of it: everything up to the last durable transaction.

    Args:
        remember: Whether it does; if not, transactions are quicker and :meth:`lose_power` cannot be called.
    """

    def __init__(self, remember: bool) -> None:
        super().__init__(None)
        self._remember = remember
        self._on_disk = b""

    @contextmanager
    def transaction(self, durable: bool = True) -> Iterator[Connection]:
        """Give a transaction, as a database on a disk does."""
        with super().transaction(durable) as connection:
            yield connection
        if durable and self._remember:
            self._on_disk = _raw(connection).serialize()

    def lose_power(self) -> None:
        """Return to what is on the disk."""
        with self.read() as connection:
            raw = _raw(connection)
        raw.deserialize(self._on_disk)


def _raw(connection: Connection) -> sqlite3.Connection:
    return cast(sqlite3.Connection, connection.connection.driver_connection)


class SimulatedBlobs(MemoryBlobs):
    """Blobs in memory that come back after a loss of power, if they were deleted since the last sync.

    The checkpoint of a simulated member is its loss.

    Args:
        fails: Says whether the next deletion fails.

    Example:
        >>> blobs = SimulatedBlobs(fails=lambda: False)
        >>> blobs.save("a", 1.0)
        >>> blobs.save("b", 2.0)
        >>> blobs.delete(["a.safetensors"])
        >>> blobs.sync()
        >>> blobs.delete(["b.safetensors"])
        >>> blobs.lose_power()
        >>> blobs.loss("a"), blobs.loss("b")
        (None, 2.0)
    """

    def __init__(self, fails: Callable[[], bool]) -> None:
        super().__init__()
        self._fails = fails
        self._deleted: dict[str, bytes] = {}

    def save(self, id: str, loss: float) -> None:
        """Publish a checkpoint."""
        self.put([(id + _SUFFIX, [repr(loss).encode()])])

    def loss(self, id: str) -> float | None:
        """Return the loss in a checkpoint; None if it does not exist."""
        content = self._blobs.get(id + _SUFFIX)
        return None if content is None else float(content)

    def delete(self, keys: Iterable[str]) -> None:
        """Delete blobs, or raise OSError if this deletion fails."""
        if self._fails():
            raise OSError("this deletion was made to fail")
        before = dict(self._blobs)
        super().delete(keys)
        self._deleted |= {key: content for key, content in before.items() if key not in self._blobs}

    def sync(self) -> None:
        """Make earlier deletions survive a loss of power."""
        self._deleted = {}

    def lose_power(self) -> None:
        """Bring back the blobs that were deleted since the last sync."""
        self._blobs |= self._deleted
        self._deleted = {}

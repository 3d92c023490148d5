"""The disk of a simulated study: what a loss of power leaves of a database."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from sqlalchemy import Connection

from phyletic.storage.sqlite_database import SqliteDatabase

__all__ = ["SimulatedDisk"]


class SimulatedDisk(SqliteDatabase):
    """A database in memory that remembers what of it would be on a disk: all up to the latest durable transaction.

    Args:
        remember: Whether it does; else :meth:`lose_power` cannot be called, and transactions are quicker.
    """

    def __init__(self, remember: bool) -> None:
        super().__init__(None)
        self._remember = remember
        self._bytes = b""

    @contextmanager
    def transaction(self, durable: bool = True) -> Iterator[Connection]:
        """Give a transaction, as a database on a disk does."""
        with super().transaction(durable) as connection:
            yield connection
        if durable and self._remember:
            self._bytes = _raw(connection).serialize()

    def lose_power(self) -> None:
        """Go back to what is on the disk."""
        with self.read() as connection:
            raw = _raw(connection)
        raw.deserialize(self._bytes)


def _raw(connection: Connection) -> sqlite3.Connection:
    return cast(sqlite3.Connection, connection.connection.driver_connection)

"""Connections to SQLite: the one that writes, and those that only read."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy import Connection, Engine
from sqlalchemy.pool import NullPool

from phyletic.errors import StorageBusy, StorageError

_BUSY_SECONDS = 10.0
_LOG_BYTES = 16 * 2**20
# What may pass: another program's lock, a full or failing disk.
_PASSING = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_FULL", "SQLITE_IOERR")


def connect_writer(path: Path) -> Connection:
    """Open a database file for writing, creating it where it is missing.

    A transaction of this connection begins with BEGIN IMMEDIATE, so it never has to upgrade a lock half-way.
    """
    return _engine(lambda: f"{_uri(path)}?mode=rwc", "BEGIN IMMEDIATE").connect()


def connect_memory() -> Connection:
    """Open a database in memory, which lives as long as this connection."""
    return _engine(lambda: "file::memory:", "BEGIN IMMEDIATE").connect()


def reader_engine(path: Path) -> Engine:
    """Return what opens a database file for reading only; a transaction sees one state of it.

    A reader, too, writes a file beside the database, where it marks what it reads. Where that folder is read-only, the
    database is read as one that nobody writes.
    """

    def uri() -> str:
        settled = not os.access(path.parent, os.W_OK) and not os.path.exists(f"{path}-wal")  # noqa: PTH110 - never raises
        return f"{_uri(path)}?mode=ro" + ("&immutable=1" if settled else "")

    return _engine(uri, "BEGIN")


def use_write_ahead_log(connection: Connection) -> None:
    """Let readers read while the writer writes, and let a commit cost one sync; call it outside of a transaction."""
    raw = _raw(connection)
    raw.execute("PRAGMA journal_mode=WAL")
    raw.execute(f"PRAGMA journal_size_limit={_LOG_BYTES}")
    if sys.platform == "darwin":
        raw.execute("PRAGMA fullfsync=ON")
    set_durable(connection, True)


def set_durable(connection: Connection, durable: bool) -> None:
    """Choose whether the next commits reach the disk before they return; call it outside of a transaction.

    In WAL mode a commit that is not synced may be lost with the machine's power, never by the death of the process,
    and never leaves a damaged database; the next synced commit makes it durable too.
    """
    _raw(connection).execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")


def begin(connection: Connection) -> None:
    """Begin a transaction in the database itself: SQLAlchemy's own begin costs as much as a small transaction."""
    _raw(connection).execute("BEGIN IMMEDIATE")


def commit(connection: Connection) -> None:
    """Commit what :func:`begin` began, and what SQLAlchemy did within it."""
    if connection.in_transaction():
        connection.commit()
    else:
        _raw(connection).commit()


def roll_back(connection: Connection) -> None:
    """Roll back what :func:`begin` began, also if a commit that failed has left it open."""
    begun = connection.get_transaction()
    if begun is not None:
        begun.rollback()
    _raw(connection).rollback()


DATABASE_ERRORS = (sa.exc.DBAPIError, sqlite3.Error)
"""What the database raises."""


def translated(error: Exception, name: str) -> StorageError:
    """Return what the database raised as an error of phyletic."""
    cause = error.orig if isinstance(error, sa.exc.DBAPIError) else error
    code = getattr(cause, "sqlite_errorname", "")
    kind = StorageBusy if code.startswith(_PASSING) else StorageError
    return kind(f"{name} could not be used: {cause}")


@contextmanager
def translated_errors(name: str) -> Iterator[None]:
    """Raise what the database raises as errors of phyletic."""
    try:
        yield
    except DATABASE_ERRORS as error:
        raise translated(error, name) from error


def _uri(path: Path) -> str:
    return f"file:{quote(os.fsencode(path))}"


def _engine(uri: Callable[[], str], statement: str) -> Engine:
    def create() -> sqlite3.Connection:
        # Without an isolation level the driver begins no transactions by itself.
        return sqlite3.connect(
            uri(), uri=True, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=256
        )

    engine = sa.create_engine("sqlite://", creator=create, poolclass=NullPool)

    def begin_unless_begun(connection: Connection) -> None:
        raw = _raw(connection)
        if not raw.in_transaction:
            raw.execute(statement)

    sa.event.listen(engine, "begin", begin_unless_begun)
    return engine


def _raw(connection: Connection) -> Any:
    return connection.connection.driver_connection

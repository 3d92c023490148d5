"""The database of studies, whatever engine stands behind it."""

from __future__ import annotations

import os
import re
import stat
import threading
import weakref
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection

from phyletic.disk import local_path
from phyletic.errors import InvalidArgument, StorageUnsupported
from phyletic.storage.sqlite_database import SUFFIXES, SqliteDatabase
from phyletic.storage.sqlite_filesystems import refuse_network_file_system


class Database(Protocol):
    """Where studies are stored. All methods may be called from any thread."""

    @property
    def location(self) -> str:
        """Where it is, for messages: a path, a URL without its password, or "the database in memory"."""

    @property
    def private(self) -> bool:
        """Whether it ends with this process, so that nothing in it need be durable."""

    @property
    def owned(self) -> bool:
        """Whether this process may write it now."""

    def own(self) -> None:
        """Begin to own it, creating or migrating it if need be; :meth:`release` ends it.

        A process may own it several times over; it is released when each has been ended.

        Raises:
            StorageOwned: Another process owns it; the message names that process.
            StorageBusy: It stayed locked, or the disk is full or failing.
            StorageError: It cannot be used.
        """

    def release(self) -> None:
        """End one :meth:`own`."""

    def close(self) -> None:
        """End all ownership; nothing is left of a private database."""

    def transaction(self, durable: bool = True) -> AbstractContextManager[Connection]:
        """Give the connection that writes, in a transaction that is committed at the end of the block.

        An exception in the block rolls it back. If the database is not owned, it is owned for the block.

        Args:
            durable: Whether the commit must be on the disk before the block is left.

        Raises:
            StorageBusy: It stayed locked, or the disk is full or failing; nothing is stored.
            StorageOwned: Another process owns it.
        """

    def read(self) -> AbstractContextManager[Connection]:
        """Give a connection that sees one state of the database for the length of the block; keep the block short.

        Raises:
            NotFound: There is no such database, or there is no study in it.
            StorageError: It cannot be read.
        """

    def folder(self, purpose: str) -> Path:
        """Return the folder for what belongs to its studies: ``"checkpoints"``, ``"logs"`` or ``"inbox"``."""


_ALLOWED = '"sqlite:///relative.db", "sqlite:////absolute.db", a path that ends in .db or .sqlite, or None for memory'

_open: weakref.WeakValueDictionary[Path, SqliteDatabase] = weakref.WeakValueDictionary()
_opening = threading.Lock()


def open_database(url: str | Path | None) -> SqliteDatabase:
    """Return the database at a place; nothing is read or written yet.

    Two calls for the same file in one process return the same object, whatever path leads to it.

    Args:
        url: ``"sqlite:///relative.db"``, ``"sqlite:////absolute.db"``, or a plain path that ends in ``.db``,
            ``.sqlite`` or ``.sqlite3``; None or ``"sqlite://"`` for a new database in memory, private to this process.

    Raises:
        InvalidArgument: It is neither.
        StorageUnsupported: It is a URL of another kind, or a place that cannot hold a study safely.
    """
    path = _path(url)
    if path is None:
        return SqliteDatabase(None)
    with _opening:
        database = _open.get(path)
        if database is None:
            refuse_network_file_system(path)
            database = _open[path] = SqliteDatabase(path)
        return database


def _forget_in_child() -> None:
    """Forget, in a forked child, what its parent opened: SQLite's connections must not be carried across a fork."""
    global _opening
    _open.clear()
    _opening = threading.Lock()


os.register_at_fork(after_in_child=_forget_in_child)


def _path(url: str | Path | None) -> Path | None:
    if url is None:
        return None
    if not isinstance(url, (str, Path)):
        raise InvalidArgument("storage", url, _ALLOWED)
    if url in ("sqlite://", "sqlite:///:memory:"):
        return None
    if isinstance(url, str) and (scheme := re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", url)):
        if scheme[1] != "sqlite":
            # the rest of such a URL may hold a password
            raise StorageUnsupported(f"storage is a {scheme[1]}:// URL, which is not supported: use {_ALLOWED}")
        name = url.removeprefix("sqlite:///")
        if name == url or not name or "?" in name:
            raise InvalidArgument("storage", url, _ALLOWED)
        path = Path(name)
    else:
        path = Path(url)
        if path.suffix not in SUFFIXES:
            raise InvalidArgument("storage", str(url), _ALLOWED)
    path = Path(os.path.realpath(local_path("storage", path, _ALLOWED)))
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return path
    except OSError as error:
        raise InvalidArgument("storage", str(url), f"a file that can be looked at ({error.strerror})") from None
    if stat.S_ISDIR(mode):
        raise InvalidArgument("storage", str(url), "a file, not a folder")
    return path

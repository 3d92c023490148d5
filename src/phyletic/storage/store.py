"""One database: who writes it, and transactions on it."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import stat
import tempfile
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine

from phyletic.disk import local_path
from phyletic.errors import InvalidArgument, NotFound, StorageError, StorageUnsupported
from phyletic.failpoints import failpoint
from phyletic.storage.filesystem import refuse_network_file_system
from phyletic.storage.owner import Ownership, refused
from phyletic.storage.schema import check_schema, prepare_schema, refuse_foreign
from phyletic.storage.sqlite import (
    connect_memory,
    connect_writer,
    reader_engine,
    roll_back,
    set_durable,
    translated_errors,
    use_write_ahead_log,
)

__all__ = ["Store", "open_store"]

_SUFFIXES = (".db", ".sqlite", ".sqlite3")
_ALLOWED = '"sqlite:///relative.db", "sqlite:////absolute.db", a path that ends in .db or .sqlite, or None for memory'

_stores: weakref.WeakValueDictionary[Path, Store] = weakref.WeakValueDictionary()
_stores_lock = threading.Lock()


def open_store(url: str | Path | None) -> Store:
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
        return Store(None)
    with _stores_lock:
        store = _stores.get(path)
        if store is None:
            refuse_network_file_system(path)
            store = _stores[path] = Store(path)
        return store


@contextmanager
def _transaction(writer: Connection) -> Iterator[Connection]:
    failpoint("storage.begin.before")
    transaction = writer.begin()
    try:
        failpoint("storage.begin.after")
        yield writer
        failpoint("storage.commit.before")
        transaction.commit()
        failpoint("storage.commit.after")
    except BaseException:
        if writer.get_transaction() is not None:
            transaction.rollback()
        roll_back(writer)
        raise


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
        if path.suffix not in _SUFFIXES:
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


class Store:
    """One database. Use :func:`open_store`.

    A file has one owner at a time, the process that may write it; a database in memory is always its process's own.
    All methods may be called from any thread.

    Attributes:
        path: The database's real path; None in memory.
        name: The path for messages, or "the database in memory".
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.name = "the database in memory" if path is None else str(path)
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._owned = 0
        self._ownership: Ownership | None = None
        self._writer: Connection | None = None
        self._durable = True
        self._folder: Path | None = None
        self._reader_engine: Engine | None = None
        self._readers: set[Connection] = set()
        _stores_in_use.add(self)
        if path is None:
            self._writer = connect_memory()
            with self._writer.begin():
                prepare_schema(self._writer)

    # --- who writes ---------------------------------------------------------------------------------------------

    @property
    def owned(self) -> bool:
        """Whether this process may write it now."""
        return self._owned > 0

    def own(self) -> None:
        """Begin to own the database, creating or migrating it where that is needed; :meth:`release` ends it.

        It may be owned several times over; it is released when each has been ended.

        Raises:
            StorageOwned: Another process owns it; the message names that process.
            StorageBusy: The database stayed locked, or the disk is full or failing.
            StorageError: The file cannot be used: it is read-only, say, or cannot be opened.
        """
        self._refuse_forked()
        with self._lock:
            if self._owned == 0 and self.path is not None:
                self._begin_owning(self.path)
            self._owned += 1

    def release(self) -> None:
        """End one :meth:`own`."""
        self._refuse_forked()
        with self._lock:
            if self._owned == 0:
                raise StorageError(f"{self.name} is released more often than it was owned")
            self._owned -= 1
            if self._owned == 0:
                self._end_owning()

    def close(self) -> None:
        """End all ownership; of a database in memory nothing is left."""
        self._refuse_forked()
        with self._lock:
            self._owned = 0
            self._end_owning()
            if self.path is None:
                if self._writer is not None:
                    self._writer.close()
                    self._writer = None
                if self._folder is not None:
                    self._remove_folder()
                    self._folder = None

    def _begin_owning(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise refused(f"{path.parent} cannot be created", error) from error
        _refuse_inherited(path)
        ownership = Ownership(path)
        try:
            with translated_errors(self.name):
                writer = connect_writer(path)
                try:
                    # What another program has written is not touched: only then is the file's mode changed.
                    with writer.begin():
                        known = refuse_foreign(writer, self.name)
                    use_write_ahead_log(writer)
                    if not known:
                        with _transaction(writer):
                            prepare_schema(writer)
                except BaseException:
                    writer.close()
                    raise
        except BaseException:
            ownership.end()
            raise
        self._ownership, self._writer, self._durable = ownership, writer, True

    def _end_owning(self) -> None:
        if self._ownership is None:
            return
        writer, ownership = self._writer, self._ownership
        self._writer = self._ownership = None
        try:
            if writer is not None:
                with translated_errors(self.name):
                    writer.close()
        finally:
            ownership.end()

    # --- transactions -------------------------------------------------------------------------------------------

    @contextmanager
    def transaction(self, durable: bool = True) -> Iterator[Connection]:
        """Give the one connection that writes, in a transaction that is committed at the end of the block.

        An exception in the block rolls it back. Where the database is not owned, it is owned for the block.

        Args:
            durable: Whether the commit is on the disk before the block is left.

        Raises:
            StorageBusy: The database stayed locked, or the disk is full or failing; nothing is stored.
            StorageOwned: Another process owns it.
        """
        self._refuse_forked()
        with self._lock:
            self.own()
            try:
                with translated_errors(self.name):
                    if self._ownership is not None:
                        self._ownership.confirm()
                    with _transaction(self._writing_connection(durable)) as writer:
                        yield writer
            finally:
                self.release()

    def _writing_connection(self, durable: bool) -> Connection:
        if self._writer is None:
            raise StorageError(f"{self.name} was closed")
        if durable != self._durable and self.path is not None:
            set_durable(self._writer, durable)
            self._durable = durable
        return self._writer

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Give a connection that sees one state of the database for the length of the block; keep the block short.

        Raises:
            NotFound: There is no such file, or there is no study in it.
            StorageError: It cannot be read.
        """
        self._refuse_forked()
        if self.path is None:
            with self._lock, translated_errors(self.name):
                writer = self._writing_connection(True)
                if writer.in_transaction():
                    yield writer
                else:
                    with writer.begin():
                        yield writer
            return
        try:
            self.path.stat()
        except (FileNotFoundError, NotADirectoryError):
            raise NotFound(f"{self.path} does not exist: no study was stored there") from None
        except OSError as error:
            raise refused(f"{self.path} cannot be looked at", error) from error
        _refuse_inherited(self.path)
        with translated_errors(self.name):
            if self._reader_engine is None:
                self._reader_engine = reader_engine(self.path)
            reader = self._reader_engine.connect()
            self._readers.add(reader)
            try:
                with reader.begin():
                    check_schema(reader, self.name)
                    yield reader
            finally:
                self._readers.discard(reader)
                reader.close()

    # --- folders beside it --------------------------------------------------------------------------------------

    @property
    def checkpoints_folder(self) -> Path:
        """Where the checkpoints of its studies lie: ``digits.checkpoints`` beside ``digits.db``."""
        return self._beside("checkpoints")

    @property
    def logs_folder(self) -> Path:
        """Where the logs of its studies lie: ``digits.logs`` beside ``digits.db``."""
        return self._beside("logs")

    @property
    def inbox_folder(self) -> Path:
        """Where other processes leave requests for its owner: ``digits.inbox`` beside ``digits.db``."""
        return self._beside("inbox")

    def _beside(self, what: str) -> Path:
        if self.path is not None:
            stem = self.path.stem if self.path.suffix in _SUFFIXES else self.path.name
            return self.path.with_name(f"{stem}.{what}")
        self._refuse_forked()
        with self._lock:
            if self._folder is None:
                try:
                    self._folder = Path(tempfile.mkdtemp(prefix="phyletic-"))
                except OSError as error:
                    what = f"a study in memory needs a temporary folder; {error.filename or 'one'} cannot be made"
                    raise refused(what, error) from error
                self._remove_folder = weakref.finalize(self, _remove, self._folder, self._pid)
            return self._folder / what

    # --- forks --------------------------------------------------------------------------------------------------

    def _refuse_forked(self) -> None:
        if os.getpid() != self._pid:
            raise StorageError(
                f"{self.name} was opened before this process was forked: open the study in the process that uses it"
            )


def _remove(folder: Path, pid: int) -> None:
    if os.getpid() == pid:
        shutil.rmtree(folder, ignore_errors=True)


_stores_in_use: weakref.WeakSet[Store] = weakref.WeakSet()
_inherited: set[Path] = set()


def _refuse_inherited(path: Path) -> None:
    if path in _inherited:
        raise StorageError(
            f"{path} was in use when this process was forked, and SQLite cannot open a file again across a fork: start "
            'the process afresh (multiprocessing.get_context("spawn")), or fork before the study is opened'
        )


def _leave_connections_to_the_parent() -> None:
    """In a forked child: forget the stores, and see to it that no connection of the parent's is ever used or closed.

    SQLite's connections must not be carried across a fork, not even to be closed: the child would share the parent's
    book-keeping of locks without holding the locks.
    """
    global _stores_lock
    for store in _stores_in_use:
        connections = [*store._readers, *([] if store._writer is None else [store._writer])]
        for connection in connections:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))
        if connections and store.path is not None:
            _inherited.add(store.path)
    _stores.clear()
    _stores_in_use.clear()
    _stores_lock = threading.Lock()


os.register_at_fork(after_in_child=_leave_connections_to_the_parent)

"""A database of SQLite: who writes it, transactions on it, and what lies beside its file.

A file has one owner at a time. The lock that says so, the folders beside the file, and the guard against forks are all
here: nothing else in phyletic knows that the database is a file.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import tempfile
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sqlalchemy import Connection, Engine

from phyletic.errors import NotFound, StorageBusy, StorageError, StorageOwned
from phyletic.failpoints import failpoint
from phyletic.storage.schema import check_schema, prepare_schema, refuse_foreign
from phyletic.storage.sqlite_connections import (
    DATABASE_ERRORS,
    begin,
    commit,
    connect_memory,
    connect_writer,
    reader_engine,
    roll_back,
    set_durable,
    translated,
    translated_errors,
    use_write_ahead_log,
)
from phyletic.storage.sqlite_ownership import Ownership, refused

SUFFIXES = (".db", ".sqlite", ".sqlite3")


class SqliteDatabase:
    """One database. Use :func:`open_database`.

    A file has one owner at a time, the process that may write it; a database in memory is always its process's own.
    All methods may be called from any thread.

    Args:
        path: The file's real path; None for a database in memory.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.location = "the database in memory" if path is None else str(path)
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._owned = 0
        self._ownership: Ownership | None = None
        self._writer: Connection | None = None
        self._durable = True
        self._folder: Path | None = None
        self._reader_engine: Engine | None = None
        self._known: tuple[int, int] | None = None
        self._readers: set[Connection] = set()
        _in_use.add(self)
        if path is None:
            self._writer = connect_memory()
            with self._writer.begin():
                prepare_schema(self._writer)

    @property
    def private(self) -> bool:
        """Whether it ends with this process."""
        return self.path is None

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
                raise StorageError(f"{self.location} is released more often than it was owned")
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
            with translated_errors(self.location):
                writer = connect_writer(path)
                try:
                    # What another program has written is not touched: only then is the file's mode changed.
                    with writer.begin():
                        known = refuse_foreign(writer, self.location)
                    use_write_ahead_log(writer)
                    if not known:
                        # only a writer meets the failpoints of writing
                        failpoint("storage.begin.before")
                        with writer.begin():
                            failpoint("storage.begin.after")
                            prepare_schema(writer)
                            failpoint("storage.commit.before")
                        failpoint("storage.commit.after")
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
                with translated_errors(self.location):
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
        with self._lock:
            self.own()
            try:
                if self._ownership is not None:
                    self._ownership.confirm()
                writer = self._writing_connection(durable)
                failpoint("storage.begin.before")
                begin(writer)
                try:
                    failpoint("storage.begin.after")
                    yield writer
                    failpoint("storage.commit.before")
                    commit(writer)
                    failpoint("storage.commit.after")
                except BaseException:
                    roll_back(writer)
                    raise
            except DATABASE_ERRORS as error:
                raise translated(error, self.location) from error
            finally:
                self.release()

    def _writing_connection(self, durable: bool) -> Connection:
        if self._writer is None:
            raise StorageError(f"{self.location} was closed")
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
            with self._lock, translated_errors(self.location):
                writer = self._writing_connection(True)
                if writer.in_transaction():
                    yield writer
                else:
                    with writer.begin():
                        yield writer
            return
        try:
            found = self.path.stat()
        except (FileNotFoundError, NotADirectoryError):
            raise NotFound(f"{self.path} does not exist: no study was stored there") from None
        except OSError as error:
            raise refused(f"{self.path} cannot be looked at", error) from error
        _refuse_inherited(self.path)
        self._recover(self.path)
        known = (found.st_dev, found.st_ino)
        with translated_errors(self.location):
            if self._reader_engine is None:
                self._reader_engine = reader_engine(self.path)
            reader = self._reader_engine.connect()
            self._readers.add(reader)
            try:
                with reader.begin():
                    if self._known != known:
                        check_schema(reader, self.location)
                        self._known = known
                    yield reader
            finally:
                self._readers.discard(reader)
                reader.close()

    def _recover(self, path: Path) -> None:
        """Roll back what a process left half-written that was killed while it made the file.

        Until the file is in WAL mode, such a process leaves a journal that only a writer can play back. Nobody can in a
        folder that cannot be written: reading then says so.
        """
        if self._owned or not os.path.exists(f"{path}-journal"):  # noqa: PTH110 - never raises
            return
        # another process that owns the file is about to play it back, or uses the journal itself
        with suppress(StorageOwned, StorageBusy):
            self.own()
            self.release()

    # --- folders beside it --------------------------------------------------------------------------------------

    def folder(self, purpose: str) -> Path:
        """Return the folder for what belongs to its studies: ``digits.checkpoints`` beside ``digits.db``."""
        if self.path is not None:
            stem = self.path.stem if self.path.suffix in SUFFIXES else self.path.name
            return self.path.with_name(f"{stem}.{purpose}")
        self._refuse_forked()
        with self._lock:
            if self._folder is None:
                try:
                    self._folder = Path(tempfile.mkdtemp(prefix="phyletic-"))
                except OSError as error:
                    what = f"a study in memory needs a temporary folder; {error.filename or 'one'} cannot be made"
                    raise refused(what, error) from error
                self._remove_folder = weakref.finalize(self, _remove, self._folder, self._pid)
            return self._folder / purpose

    # --- forks --------------------------------------------------------------------------------------------------

    def _refuse_forked(self) -> None:
        if os.getpid() != self._pid:
            raise StorageError(
                f"{self.location} was opened before this process was forked: open the study in the process that uses it"
            )


def _remove(folder: Path, pid: int) -> None:
    if os.getpid() == pid:
        shutil.rmtree(folder, ignore_errors=True)


_in_use: weakref.WeakSet[SqliteDatabase] = weakref.WeakSet()
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
    for database in _in_use:
        connections = [*database._readers, *([] if database._writer is None else [database._writer])]
        for connection in connections:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))
        if connections and database.path is not None:
            _inherited.add(database.path)
    _in_use.clear()


os.register_at_fork(after_in_child=_leave_connections_to_the_parent)

"""Who may write a database: one process at a time, known by a lock that ends with the process.

SQLite before 3.51.3 can corrupt a database in WAL mode that two connections write or checkpoint at once, so the single
writer is not left to SQLite's own locks. The lock is a POSIX record lock on a file beside the database that is never
deleted (a deleted one could be locked twice, by two processes that opened it before and after). Unlike ``flock`` it is
not shared with forked children, which may outlive their parent.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
from datetime import datetime
from pathlib import Path

import msgspec

from phyletic.errors import StorageBusy, StorageError, StorageOwned, StorageUnsupported

# A full or failing disk, as for the database itself.
_PASSING = (errno.ENOSPC, errno.EDQUOT, errno.EIO)


def refused(what: str, error: OSError) -> StorageError:
    """Return the error to raise where the system refuses what a database needs.

    Args:
        what: What could not be done, with the file's name.
        error: What the system said.
    """
    return (StorageBusy if error.errno in _PASSING else StorageError)(f"{what}: {error.strerror or error}")


class _Owner(msgspec.Struct):
    pid: int
    host: str
    since: str


class Ownership:
    """The right of this process to write one database.

    Args:
        database: The database's real path; the lock is on ``<database>.owner``.

    Raises:
        StorageOwned: Another process has it; the message names that process.
        StorageUnsupported: The file system has no locks.
        StorageBusy: The disk is full or failing.
        StorageError: The file cannot be created or opened.
    """

    def __init__(self, database: Path) -> None:
        self._database = database
        self._pid = os.getpid()
        path = f"{database}.owner"
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise refused(f"{path} cannot be opened for writing", error) from error
        try:
            self.confirm()
        except BaseException:
            os.close(self._file)
            self._file = -1
            raise
        owner = _Owner(self._pid, socket.gethostname(), datetime.now().astimezone().isoformat(timespec="seconds"))
        self._note(msgspec.json.encode(owner) + b"\n")

    def confirm(self) -> None:
        """Take the lock, or take it again.

        The system drops a record lock when its process closes any descriptor of the file, as a copy of the folder made
        by this process does. So the lock is taken again before each write; where it is held, that changes nothing.
        """
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                raise StorageOwned(
                    f"{self._database} is written by {self._holder()}. A study has one writer at a time: close it "
                    "there, or wait until it ends; reading is possible meanwhile"
                ) from None
            raise StorageUnsupported(
                f"{self._database} is on a file system without locks ({error.strerror}): use a disk of this machine"
            ) from error

    def end(self) -> None:
        """Give the right up."""
        if self._file >= 0 and self._pid == os.getpid():
            self._note(b"")
            with contextlib.suppress(OSError):
                os.close(self._file)
        self._file = -1

    def __del__(self) -> None:
        # A forked child leaves the descriptor open: closing it would be harmless, but there is nothing to end.
        if getattr(self, "_file", -1) >= 0:
            self.end()

    def _note(self, content: bytes) -> None:
        # Information for people only; what counts is the lock, also where the disk is full.
        with contextlib.suppress(OSError):
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, content, 0)

    def _holder(self) -> str:
        try:
            owner = msgspec.json.decode(os.pread(self._file, 1000, 0), type=_Owner)
        except (OSError, msgspec.MsgspecError):
            return "another process"
        where = "" if owner.host == socket.gethostname() else f" on {owner.host}"
        return f"process {owner.pid}{where} (since {owner.since})"

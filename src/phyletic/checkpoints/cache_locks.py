"""Locks of a cache that processes share: on what one of them uses, and on the giving and taking of names."""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

from phyletic import disk

_READ_LATELY = 4


class CacheLocks:
    """The locks of one process; they end with it. Several threads may use them.

    Args:
        folder: The cache.

    Attributes:
        threads: Keeps the threads of this process apart; the cache uses it too, so that there is one order.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: OrderedDict[str, int] = OrderedDict()
        self._written: dict[str, int] = {}
        self.threads = threading.RLock()
        self._depth = 0

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """Let nothing else give a name in the cache to something, or take it away, during the block."""
        with self.threads:
            descriptor = None
            if not self._depth:
                disk.make_folder(str(self._folder), durable=False, mode=0o700)
                descriptor = os.open(self._folder, os.O_RDONLY)
            self._depth += 1
            try:
                if descriptor is not None:
                    fcntl.flock(descriptor, fcntl.LOCK_EX)
                yield
            finally:
                self._depth -= 1
                if descriptor is not None:
                    os.close(descriptor)

    def hold(self, name: str, at: Path | None = None, *, writing: bool = False) -> bool:
        """Hold something, so that no process removes it; return False if it is not there, or being removed.

        Args:
            name: Its name in the cache.
            at: Where it is now, if it has that name only later.
            writing: Whether to hold it until :meth:`release`. What is only read may be let go once four others were.
        """
        with self.threads:
            descriptor = open_locked(at or self._folder / name, fcntl.LOCK_SH)
            if descriptor is None:
                return False
            kept: dict[str, int] = self._written if writing else self._read
            earlier = kept.pop(name, None)
            kept[name] = descriptor
            if earlier is not None:
                os.close(earlier)
            while len(self._read) > _READ_LATELY:
                os.close(self._read.popitem(last=False)[1])
            return True

    def release(self, name: str) -> None:
        """Let go of something."""
        with self.threads:
            for kept in (self._read, self._written):
                descriptor = kept.pop(name, None)
                if descriptor is not None:
                    os.close(descriptor)


def open_locked(path: Path, kind: int) -> int | None:
    """Open and lock a file or folder; return None if it is missing, or the lock is not to be had.

    Args:
        path: The file or folder.
        kind: ``fcntl.LOCK_SH`` or ``fcntl.LOCK_EX``.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        same = os.path.samestat(os.fstat(descriptor), path.stat(follow_symlinks=False))
    except (BlockingIOError, FileNotFoundError):
        same = False
    if not same:
        os.close(descriptor)
        return None
    return descriptor

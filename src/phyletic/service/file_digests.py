"""Digests of files that never change, computed once for each."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path

from phyletic.checkpoints.digest import digest_of_file

_REMEMBERED = 4096


class FileDigests:
    """Remembers the digests of files by what the file system says of them; safe to use from several threads."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, int, int, int], str] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, path: Path) -> str:
        """Return the digest of a file, which is read only if it is new here or has changed.

        Raises:
            OSError: It cannot be read.
        """
        status = path.stat()
        mark = (str(path), status.st_ino, status.st_mtime_ns, status.st_size)
        with self._lock:
            if mark in self._known:
                self._known.move_to_end(mark)
                return self._known[mark]
        digest = digest_of_file(path)
        with self._lock:
            self._known[mark] = digest
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return digest

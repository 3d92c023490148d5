"""Local files of blobs that are kept elsewhere: in a temporary folder, which is made when it is first needed."""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path

from phyletic import disk


class LocalCopies:
    """The files of one object, which go with it; several threads may use them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def path(self, key: str) -> Path:
        """Return the place of a key; it may not exist."""
        with self._lock:
            if self._folder is None:
                self._folder = tempfile.TemporaryDirectory(prefix="phyletic-")
        return Path(self._folder.name, key)

    def stage(self, key: str) -> Path:
        """Make the place of a key an empty folder, and return it."""
        folder = self.path(key)
        disk.remove_tree(folder)
        disk.make_folder(str(folder), durable=False)
        return folder

    def remove(self, key: str) -> None:
        """Remove what is at the place of a key."""
        if self._folder is not None:
            disk.remove_tree(self.path(key))

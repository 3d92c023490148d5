"""Compute digests in a thread, which costs no wall time if a second processor is free."""

from __future__ import annotations

import hashlib
import mmap
import os
import queue
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

from phyletic import disk

_IN_PARALLEL = 1 << 19
_WINDOW = 4
_STRIDE = 16 << 20


class Digest:
    """A SHA-256 digest of bytes that come one after another; a thread hashes them if they are many.

    Args:
        expected_size: How many bytes will come, roughly.

    Attributes:
        size: How many bytes came.
    """

    def __init__(self, expected_size: int = 0) -> None:
        self.size = 0
        self._hash = hashlib.sha256()
        self._queue: queue.Queue[disk.Part | None] | None = None
        if expected_size >= _IN_PARALLEL:
            # bounded, so that copies of an accelerator's arrays do not pile up
            self._queue = queue.Queue(_WINDOW)
            self._thread = threading.Thread(target=self._work, args=(self._queue,), name="digest", daemon=True)
            self._thread.start()

    def _work(self, parts: queue.Queue[disk.Part | None]) -> None:
        while (part := parts.get()) is not None:
            self._hash.update(part)

    def update(self, part: disk.Part) -> None:
        """Hash the next bytes; they must not change before :meth:`text`."""
        self.size += len(part)
        if self._queue is None:
            self._hash.update(part)
        else:
            self._queue.put(part)

    def close(self) -> None:
        """End the thread, if it runs."""
        if self._queue is not None:
            self._queue.put(None)
            self._thread.join()
            self._queue = None

    def text(self) -> str:
        """Return the digest of all bytes, as ``"sha256:..."``."""
        self.close()
        return "sha256:" + self._hash.hexdigest()


def hashed(parts: Iterable[disk.Part], digest: Digest) -> Iterator[disk.Part]:
    """Yield the parts, hashing them on the way."""
    for piece in disk.gathered(parts):
        digest.update(piece)
        yield piece


def digest_of_file(path: Path, cancelled: threading.Event | None = None) -> str:
    """Return the digest of a file's bytes.

    Args:
        path: The file.
        cancelled: Another thread sets it to end this early; the digest is then wrong.

    Raises:
        OSError: The file cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        size = os.fstat(descriptor).st_size
        if not size:
            return digest_of_bytes(b"")
        with mmap.mmap(descriptor, size, access=mmap.ACCESS_READ) as mapped:
            return digest_of_bytes(mapped, cancelled)
    finally:
        os.close(descriptor)


def digest_of_bytes(content: mmap.mmap | bytes, cancelled: threading.Event | None = None) -> str:
    """Return the digest of bytes in memory or of a mapped file, letting other threads run."""
    found = hashlib.sha256()
    with memoryview(content) as view:
        for start in range(0, len(view), _STRIDE):
            if cancelled is not None and cancelled.is_set():
                break
            with view[start : start + _STRIDE] as piece:
                found.update(piece)
    return "sha256:" + found.hexdigest()

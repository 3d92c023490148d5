"""Uploads of checkpoints on the server: received in parts, resumed, and visible only once their digest is right.

What has arrived of an upload lies in a file of its own, outside the checkpoints, named by a hash of all that the client
said of it: study, key, size and digest. So a server that restarts goes on with it, and bytes of another content never
mix with it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from phyletic import disk
from phyletic.checkpoints import Blobs
from phyletic.checkpoints.checkpoint_names import id_of
from phyletic.errors import CheckpointDamaged, StorageBusy

_PIECE = 4 << 20


@dataclass(frozen=True)
class Upload:
    """What a client says of the bytes that it sends.

    Attributes:
        study: The study.
        key: The key of the blob.
        size: Bytes of the whole blob.
        digest: The digest of the whole blob, ``"sha256:..."``.
    """

    study: str
    key: str
    size: int
    digest: str

    @property
    def place(self) -> tuple[str, str]:
        """The study and the checkpoint's id: one upload at a time writes there."""
        return self.study, id_of(self.key)


class Uploads:
    """The unfinished uploads of a server. Its methods are called from several threads.

    Args:
        folder: Holds what has arrived; made when it is first needed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._claimed: dict[tuple[str, str], int] = {}
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def claim(self, place: tuple[str, str], size: int) -> Iterator[None]:
        """Let nothing else write a checkpoint during the block.

        Args:
            place: The study and the checkpoint's id.
            size: How many bytes are to arrive, for :meth:`bytes_held`.

        Raises:
            StorageBusy: Another request writes it now; the client tries again later.
        """
        with self._lock:
            if place in self._claimed:
                raise StorageBusy(f"checkpoint {place[1]} is being written by another request: try again")
            self._claimed[place] = size
        try:
            yield
        finally:
            with self._lock:
                del self._claimed[place]

    def received(self, upload: Upload) -> int:
        """Return how many bytes of an upload have arrived."""
        try:
            return self._path(upload).stat().st_size
        except FileNotFoundError:
            return 0

    def append(self, upload: Upload, offset: int, part: disk.Part) -> None:
        """Add bytes.

        Args:
            upload: The upload, which the caller claimed.
            offset: How many bytes came before; what lies beyond is dropped.
            part: The bytes.
        """
        path = self._path(upload)
        try:
            disk.append(path, offset, part)
        except FileNotFoundError:
            disk.make_folder(str(self._folder.absolute()), mode=0o700)
            disk.append(path, offset, part)

    def complete(self, upload: Upload, blobs: Blobs) -> None:
        """Put the bytes where they belong; they are durable and visible once this returns.

        Args:
            upload: The upload, all of whose bytes have arrived.
            blobs: The study's blobs.

        Raises:
            CheckpointDamaged: They do not have the digest; they are dropped, and nothing of them is visible.
            OSError: They could not be written; they are kept for another try.
        """
        path = self._path(upload)
        try:
            blobs.put([(upload.key, self._checked_pieces(upload, path))])
        except CheckpointDamaged:
            disk.unlink(path)
            raise
        disk.unlink(path)

    def _checked_pieces(self, upload: Upload, path: Path) -> Iterator[bytes]:
        found = hashlib.sha256()
        if upload.size:
            with path.open("rb") as file:
                while piece := file.read(_PIECE):
                    found.update(piece)
                    yield piece
        if f"sha256:{found.hexdigest()}" != upload.digest:
            raise CheckpointDamaged(
                f"the bytes sent for {upload.key} have the digest sha256:{found.hexdigest()}, but {upload.digest} was "
                "announced: nothing was published, send them again"
            )

    def discard(self, place: tuple[str, str]) -> None:
        """Drop all that has arrived for a checkpoint."""
        for path in self._files():
            if path.name.startswith(self._prefix(place)):
                disk.unlink(path)

    def sweep(self, before: float) -> int:
        """Drop uploads that nothing was added to since a time in seconds since 1970; return how many.

        A server calls this when it starts: their workers have been gone for long.
        """
        dropped = 0
        for path in self._files():
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime < before:
                    disk.unlink(path)
                    dropped += 1
        return dropped

    def bytes_held(self) -> int:
        """Return how many bytes unfinished uploads take, those that are still to arrive included."""
        with self._lock:
            claimed = dict(self._claimed)
        active = tuple(self._prefix(place) for place in claimed)
        total = sum(claimed.values())
        for path in self._files():
            if not path.name.startswith(active or ("/",)):
                with contextlib.suppress(FileNotFoundError):
                    total += path.stat().st_size
        return total

    def _files(self) -> list[Path]:
        try:
            return [Path(entry.path) for entry in os.scandir(self._folder) if entry.name.endswith(".part")]
        except FileNotFoundError:
            return []

    def _path(self, upload: Upload) -> Path:
        whole = hashlib.sha256(f"{upload.key}\0{upload.size}\0{upload.digest}".encode()).hexdigest()[:32]
        return self._folder / f"{self._prefix(upload.place)}{whole}.part"

    @staticmethod
    def _prefix(place: tuple[str, str]) -> str:
        return hashlib.sha256("\0".join(place).encode()).hexdigest()[:32] + "-"

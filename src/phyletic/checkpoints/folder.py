"""The folder layout: a user's own files, under a manifest that names each with its size and digest.

::

    <id>/files/...         the user's files, unchanged
    <id>/manifest.json     written last: from then on the checkpoint is published
"""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec

from phyletic.checkpoints.blobs import Content
from phyletic.checkpoints.digest import Digest, digest_of_bytes, digest_of_file, hashed
from phyletic.checkpoints.read_errors import unreadable
from phyletic.errors import CheckpointDamaged, CheckpointError, InvalidArgument

FILES = "files"
MANIFEST = "manifest.json"

_CHUNK = 8 << 20
_VERSION = 1
_ALLOWED = "a folder of regular files and folders only"


class StoredFile(msgspec.Struct, frozen=True):
    """A file of a checkpoint: its size in bytes and its digest."""

    size: int
    digest: str


class FolderManifest(msgspec.Struct, frozen=True):
    """The contents of a checkpoint of a user's own files.

    Attributes:
        files: By path below the folder, with ``/`` between names.
        folders: The paths of all folders below it, since some may be empty.
        version: The version of this format.
    """

    files: dict[str, StoredFile]
    folders: tuple[str, ...]
    version: int = _VERSION


class OwnFiles:
    """A folder of a user's own files, on its way to becoming a checkpoint.

    Args:
        folder: Holds regular files and folders only.

    Raises:
        InvalidArgument: It holds something else, or a name that is not Unicode.
        OSError: It cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files, self._folders = _contents(folder)
        self._stored: dict[str, StoredFile] = {}

    def read(self) -> None:
        """Compute the digests of all files without copying them."""
        for path in self._files:
            for _ in self._pieces(path):
                pass

    def blobs(self, under: str, *, copied: bool) -> Iterator[tuple[str, Content]]:
        """Yield the blobs to put below a key: folders, files, and the manifest last.

        Args:
            under: The key.
            copied: Whether to yield the files' bytes, with their digests computed on the way; otherwise yields their
                paths, after :meth:`read`.
        """
        for path in ("", *self._folders):
            yield f"{under}/{FILES}/{path}/" if path else f"{under}/{FILES}/", ()
        for path in sorted(self._files, key=lambda path: -path.count("/")):  # inner folders are complete first
            yield f"{under}/{FILES}/{path}", self._pieces(path) if copied else self._folder / path
        yield f"{under}/{MANIFEST}", [self.manifest]

    def _pieces(self, path: str) -> Iterator[bytes | bytearray | memoryview]:
        """Yield a file's bytes, and note its size and digest."""
        # follows no link that took the file's place meanwhile, and does not wait for a pipe's other end
        descriptor = os.open(self._folder / path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                found = f"{_ALLOWED}, but {path!r} is {_kind(status.st_mode)}"
                raise InvalidArgument("folder", str(self._folder), found)
            with contextlib.closing(Digest(status.st_size)) as digest:
                yield from hashed(iter(lambda: os.read(descriptor, _CHUNK), b""), digest)
                self._stored[path] = StoredFile(digest.size, digest.text())
        finally:
            os.close(descriptor)

    @property
    def manifest(self) -> bytes:
        """The manifest, once all files were read."""
        manifest = FolderManifest(self._stored, tuple(self._folders))
        return msgspec.json.format(msgspec.json.encode(manifest, order="sorted"), indent=1)

    @property
    def digest(self) -> str:
        """The manifest's digest."""
        return digest_of_bytes(self.manifest)

    @property
    def size(self) -> int:
        """Bytes of all files and of the manifest."""
        return sum(file.size for file in self._stored.values()) + len(self.manifest)


def _contents(folder: Path) -> tuple[list[str], list[str]]:
    """Return the sorted paths of the files and of the folders below a folder."""
    files: list[str] = []
    folders: list[str] = []
    waiting = [""]
    while waiting:
        below = waiting.pop()
        with os.scandir(folder / below) as entries:
            for entry in entries:
                path = f"{below}/{entry.name}" if below else entry.name
                mode = entry.stat(follow_symlinks=False).st_mode
                if stat.S_ISDIR(mode):
                    folders.append(path)
                    waiting.append(path)
                elif stat.S_ISREG(mode):
                    files.append(path)
                else:
                    raise InvalidArgument("folder", str(folder), f"{_ALLOWED}, but {path!r} is {_kind(mode)}")
                if any("\ud800" <= letter <= "\udfff" for letter in entry.name):
                    raise InvalidArgument("folder", str(folder), f"a folder of names in UTF-8, but {path!r} is not")
    return sorted(files), sorted(folders)


def _kind(mode: int) -> str:
    if stat.S_ISLNK(mode):
        return "a symbolic link"
    return "a device" if stat.S_ISCHR(mode) or stat.S_ISBLK(mode) else "a pipe or socket"


def read_manifest(folder: Path, digest: str) -> FolderManifest:
    """Return the manifest of a published folder.

    Args:
        folder: The checkpoint's folder.
        digest: The digest that the manifest must have.

    Raises:
        CheckpointDamaged: It is missing, or not what was published.
        CheckpointError: A later version of phyletic wrote it.
    """
    path = folder / MANIFEST
    try:
        encoded = path.read_bytes()
        found = digest_of_bytes(encoded)
        if found != digest:
            raise CheckpointDamaged(f"{path} is damaged: its digest is {found}, expected {digest}")
        manifest = msgspec.json.decode(encoded, type=FolderManifest)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise unreadable(path, error) from error
    if manifest.version > _VERSION:
        raise CheckpointError(f"{path} has version {manifest.version}, but this phyletic reads up to {_VERSION}")
    return manifest


def check_folder(folder: Path, digest: str, cancelled: threading.Event | None = None) -> None:
    """Compare a published folder with its manifest, and the manifest with its digest.

    Args:
        folder: The checkpoint's folder.
        digest: The digest that the manifest must have.
        cancelled: Another thread sets it to end this early.

    Raises:
        CheckpointDamaged: Something is missing, added or changed; names the file, what was expected and found.
    """
    manifest = read_manifest(folder, digest)
    below = folder / FILES
    try:
        files, folders = _contents(below)
    except InvalidArgument as error:
        raise CheckpointDamaged(f"{below} is damaged: {error}") from error
    except OSError as error:
        raise unreadable(below, error) from error
    for expected, found in ((set(manifest.files), set(files)), (set(manifest.folders), set(folders))):
        if expected != found:
            missing, added = sorted(expected - found), sorted(found - expected)
            raise CheckpointDamaged(f"{below} is damaged: missing {missing}, and not expected {added}")
    for path, stored in manifest.files.items():
        try:
            size = (below / path).stat().st_size
            found_digest = digest_of_file(below / path, cancelled) if size == stored.size else f"of {size} bytes"
        except OSError as error:
            raise unreadable(below / path, error) from error
        if cancelled is not None and cancelled.is_set():
            return
        if found_digest != stored.digest:
            raise CheckpointDamaged(
                f"{below / path} is damaged: expected {stored.size} bytes with {stored.digest}, found {found_digest}"
            )

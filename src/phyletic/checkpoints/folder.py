"""The folder layout: a user's own files, under a manifest that names each with its size and digest.

::

    <id>/manifest.json     written last
    <id>/files/...         the user's files, as they were
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec

from phyletic import disk
from phyletic.checkpoints.digest import Digest, digest_of_file, hashed
from phyletic.checkpoints.read_errors import unreadable
from phyletic.errors import CheckpointDamaged, CheckpointError, InvalidArgument

__all__ = ["FILES", "MANIFEST", "FolderManifest", "check_folder", "contents", "copy_in", "describe", "write_manifest"]

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
    """What a folder of a user's own files holds.

    Attributes:
        files: By path below the folder, with ``/`` between names.
        folders: All folders below it, for the empty ones.
        version: Of this format.
    """

    files: dict[str, StoredFile]
    folders: tuple[str, ...]
    version: int = _VERSION

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files.values())


def contents(folder: Path) -> tuple[list[str], list[str]]:
    """Return the paths of the files and of the folders below a folder, sorted.

    Raises:
        InvalidArgument: There is something else than regular files and folders, or a name that is not Unicode.
    """
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
                    raise InvalidArgument("folder", str(folder), f"of names in UTF-8, but {path!r} is none")
    return sorted(files), sorted(folders)


def _kind(mode: int) -> str:
    if stat.S_ISLNK(mode):
        return "a symbolic link"
    return "a device" if stat.S_ISCHR(mode) or stat.S_ISBLK(mode) else "a pipe or socket"


def copy_in(source: Path, target: Path) -> FolderManifest:
    """Copy a user's folder, durably but for the name of ``target`` itself, and return its manifest.

    Raises:
        InvalidArgument: The source holds something else than regular files and folders.
        OSError: A file could not be read or written.
    """
    files, folders = contents(source)
    disk.create_folder(target)
    for path in folders:
        disk.create_folder(target / path)
    stored = {}
    for path in files:
        stored[path] = _copy_file(source, path, target / path)
    for path in [*reversed(folders), ""]:
        disk.fsync_folder(target / path)
    return FolderManifest(stored, tuple(folders))


def _copy_file(source: Path, path: str, target: Path) -> StoredFile:
    # Not following a link that took the file's place meanwhile, nor waiting for a pipe's other end.
    descriptor = os.open(source / path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise InvalidArgument("folder", str(source), f"{_ALLOWED}, but {path!r} is {_kind(status.st_mode)}")
        digest = Digest(status.st_size)
        size = 0

        def pieces() -> Iterator[bytes]:
            nonlocal size
            while piece := os.read(descriptor, _CHUNK):
                size += len(piece)
                yield piece

        try:
            disk.write_file(target, hashed(pieces(), digest))
        finally:
            digest.close()
    finally:
        os.close(descriptor)
    return StoredFile(size, digest.text())


def describe(folder: Path) -> FolderManifest:
    """Make the files in a folder durable where they are, and return their manifest.

    Raises:
        InvalidArgument: The folder holds something else than regular files and folders.
        OSError: A file could not be read or forced onto the disk.
    """
    files, folders = contents(folder)
    stored = {}
    for path in files:
        disk.fsync_file(folder / path)
        stored[path] = StoredFile((folder / path).stat().st_size, digest_of_file(folder / path))
    for path in [*reversed(folders), ""]:
        disk.fsync_folder(folder / path)
    return FolderManifest(stored, tuple(folders))


def write_manifest(folder: Path, manifest: FolderManifest) -> bytes:
    """Write the manifest beside the files, durably but for the folder's own name, and return its bytes."""
    encoded = msgspec.json.format(msgspec.json.encode(manifest, order="sorted"), indent=1)
    disk.write_file(folder / MANIFEST, [encoded])
    disk.fsync_folder(folder)
    return encoded


def read_manifest(folder: Path, digest: str | None) -> FolderManifest:
    """Return the manifest of a published folder.

    Args:
        folder: The checkpoint's folder.
        digest: What the manifest's digest must be; None where only the contents matter.

    Raises:
        CheckpointDamaged: It is missing, or not what was published.
        CheckpointError: A later version of phyletic wrote it.
    """
    path = folder / MANIFEST
    try:
        encoded = path.read_bytes()
        taken = Digest(0)
        taken.update(encoded)
        if digest is not None and taken.text() != digest:
            raise CheckpointDamaged(f"{path} is damaged: its digest is {taken.text()}, expected {digest}")
        manifest = msgspec.json.decode(encoded, type=FolderManifest)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise unreadable(path, error) from error
    if manifest.version > _VERSION:
        raise CheckpointError(f"{path} has version {manifest.version}, but this phyletic reads up to {_VERSION}")
    return manifest


def check_folder(folder: Path, digest: str, cancelled: threading.Event | None = None) -> None:
    """Compare a published folder with its manifest, and the manifest with its digest.

    Raises:
        CheckpointDamaged: Something is missing, added or changed; names the file, what was expected and found.
    """
    manifest = read_manifest(folder, digest)
    below = folder / FILES
    try:
        files, folders = contents(below)
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

"""Keep bytes under keys: in a folder, or in the memory of this process.

:mod:`phyletic.checkpoints.checkpoints` decides what the bytes mean. To keep them elsewhere, write a class with the
methods of :class:`Blobs`, as :mod:`phyletic.checkpoints.object_blobs` does, add its addresses to
:func:`phyletic.checkpoints.addresses.blobs_at`, and test it with :class:`phyletic.testing.blobs.BlobsConformance`.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol, TypeAlias

from phyletic import disk
from phyletic.checkpoints.local_copies import LocalCopies
from phyletic.checkpoints.read_errors import is_there
from phyletic.errors import CheckpointError

Content: TypeAlias = Iterable[disk.Part] | Path
"""The bytes of a blob in order; or a local file that :meth:`Blobs.staging` or :meth:`Blobs.get` gave for its key."""

VOLATILE = "volatile:"
"""Begins the address of a folder whose blobs need not survive a loss of power."""


class Blobs(Protocol):
    """Keeps bytes under keys.

    A key is one or more names with ``/`` between them; a key that ends in ``/`` is a folder without bytes. The keys are
    those of :mod:`phyletic.checkpoints.checkpoints`; a store may refuse others, and may refuse other bytes under a key
    that is published. Any number of processes, and of threads in each, may use the same blobs, but only one at a time
    writes below the same first name. Every method raises OSError or CheckpointError if the store fails. A store may
    keep what is put below a first name from others until it is published, and lose it with this process until then.
    """

    @property
    def location(self) -> str:
        """Where the blobs are, in a person's words: a path or a URL."""

    @property
    def address(self) -> str:
        """A text from which :func:`phyletic.checkpoints.blobs_at` makes the same blobs in another process."""

    @property
    def immutable(self) -> bool:
        """Whether :meth:`put` refuses other bytes below an id that is published, so that its caller need not ask."""

    def put(self, files: Iterable[tuple[str, Content]]) -> None:
        """Write blobs in the given order.

        Each key appears once its bytes are complete. Once this returns, all of them survive a loss of power.
        """

    def get(self, key: str) -> Path:
        """Return a local file with a blob's bytes, or a local folder with all blobs below the key: copies if need be.

        Raises:
            FileNotFoundError: The key has no blobs.
        """

    def exists(self, key: str) -> bool:
        """Whether a key has any blobs; for the empty key, whether the store itself can be reached."""

    def names(self) -> list[str]:
        """Return the first names of all keys, also of those that were never completed.

        A store that keeps all of a checkpoint in one folder may leave out the ending of a state's name.
        """

    def delete(self, keys: Iterable[str]) -> None:
        """Delete, in the given order, the blobs under and below the keys, and their unfinished files."""

    def sync(self) -> None:
        """Make earlier deletions survive a loss of power."""

    def staging(self, key: str) -> Path:
        """Return the path of the local folder to write files into that are to be put below a key; it may not exist."""

    def stage(self, key: str) -> Path:
        """Make the staging folder of a key, empty, and return its path."""


class FolderBlobs:
    """Blobs that are the files of a local folder.

    A file is written under a temporary name that ends in ``.part``, forced onto the disk, and renamed.

    Args:
        folder: The folder; made when it is first written to.
        durable: Whether blobs survive a loss of power. The study that uses them may be in memory and not survive it
            either, so they need not wait for the disk.
    """

    def __init__(self, folder: str | Path, durable: bool = True) -> None:
        self._folder = str(Path(folder).absolute())
        self._durable = durable

    @property
    def location(self) -> str:
        """The folder's path."""
        return self._folder

    @property
    def address(self) -> str:
        """The folder's path, after ``volatile:`` unless its blobs are durable."""
        return self._folder if self._durable else VOLATILE + self._folder

    @property
    def immutable(self) -> bool:
        """False: another file takes the place of one."""
        return False

    def put(self, files: Iterable[tuple[str, Content]]) -> None:
        """Write files, and force the folders with their names onto the disk: inner ones before a file beside them."""
        changed: set[str] = set()
        for key, content in files:
            folder = os.path.dirname(f"{self._folder}/{key}")
            self._sync(changed, f"{folder}/")
            if key.endswith("/"):
                self._make(folder)
            elif not isinstance(content, Path):
                self._write(key, folder, content)
            elif self._durable:
                disk.fsync_file(content)
            while folder != self._folder:
                changed.add(folder)
                folder = os.path.dirname(folder)
            changed.add(folder)
        self._sync(changed, "/")

    def _sync(self, changed: set[str], below: str) -> None:
        """Force the changed folders below another onto the disk, inner ones first."""
        inner = sorted((folder for folder in changed if folder.startswith(below)), key=len, reverse=True)
        changed.difference_update(inner)
        for folder in inner if self._durable else ():
            disk.fsync_folder(folder)

    def _make(self, folder: str) -> None:
        disk.make_folder(self._folder, durable=self._durable)
        disk.make_folder(folder, durable=False)

    def _write(self, key: str, folder: str, content: Iterable[disk.Part]) -> None:
        """Write a file under a temporary name, then rename it.

        Args:
            key: The key of the blob.
            folder: The folder of the file; made if it is missing.
            content: Its bytes.
        """
        unfinished = self._unfinished(key)
        if folder != self._folder:
            self._make(folder)
        try:
            try:
                descriptor = disk.create_file(unfinished)
            except FileNotFoundError:
                self._make(self._folder)
                descriptor = disk.create_file(unfinished)
            except FileExistsError:  # left by a process that was killed
                disk.unlink(unfinished)
                descriptor = disk.create_file(unfinished)
            disk.write_parts(descriptor, content, durable=self._durable)
            disk.rename(unfinished, f"{self._folder}/{key}")
        except BaseException:
            with contextlib.suppress(OSError):
                disk.unlink(unfinished)
            raise

    def _unfinished(self, key: str) -> str:
        first, below, _ = key.partition("/")
        return f"{self._folder}/{first}/.part" if below else f"{self._folder}/{first}.part"

    def get(self, key: str) -> Path:
        """Return the path of the file or folder itself."""
        path = f"{self._folder}/{key}"
        if not is_there(path):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return Path(path)

    def exists(self, key: str) -> bool:
        """Whether there is a file or folder of this name."""
        return is_there(f"{self._folder}/{key}")

    def names(self) -> list[str]:
        """Return the names of all files in the folder, without the ending of unfinished ones."""
        try:
            return [name.removesuffix(".part") for name in os.listdir(self._folder)]
        except FileNotFoundError:
            return []

    def delete(self, keys: Iterable[str]) -> None:
        """Remove files and folders."""
        for key in keys:
            disk.remove_tree(f"{self._folder}/{key}")
            if "/" not in key:
                disk.remove_tree(self._unfinished(key))

    def sync(self) -> None:
        """Force the folder's list of names onto the disk."""
        if is_there(self._folder):
            self._sync({self._folder}, "/")

    def staging(self, key: str) -> Path:
        """Return the place in which the files will stay."""
        return Path(f"{self._folder}/{key}")

    def stage(self, key: str) -> Path:
        """Make this place an empty folder."""
        disk.remove_tree(f"{self._folder}/{key}")
        self._make(f"{self._folder}/{key}")
        return self.staging(key)


class MemoryBlobs:
    """Blobs in the memory of this process, for tests and short studies; readers get copies in a temporary folder."""

    def __init__(self) -> None:
        self._blobs: dict[str, bytes] = {}
        self._copies = LocalCopies()

    @property
    def location(self) -> str:
        """The word "memory"."""
        return "memory"

    @property
    def address(self) -> str:
        """Raise an error, since no other process can reach them.

        Raises:
            CheckpointError: Always.
        """
        raise CheckpointError("checkpoints in the memory of this process cannot be reached from another: use a folder")

    @property
    def immutable(self) -> bool:
        """False: other bytes take the place of those that are there."""
        return False

    def put(self, files: Iterable[tuple[str, Content]]) -> None:
        """Keep the bytes."""
        for key, content in files:
            self._blobs[key] = content.read_bytes() if isinstance(content, Path) else b"".join(content)

    def get(self, key: str) -> Path:
        """Return copies of the blobs under the key."""
        found = self._below(key)
        if not found:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), key)
        for each in found:
            path = self.staging(each)
            path.parent.mkdir(parents=True, exist_ok=True)
            if each.endswith("/"):
                path.mkdir(exist_ok=True)
            else:
                path.unlink(missing_ok=True)  # a reader may have mapped an earlier copy
                path.write_bytes(self._blobs[each])
        return self.staging(key)

    def exists(self, key: str) -> bool:
        """Whether the key has any blobs."""
        return not key or bool(self._below(key))

    def names(self) -> list[str]:
        """Return the first names of all keys."""
        return list({key.partition("/")[0] for key in self._blobs})

    def delete(self, keys: Iterable[str]) -> None:
        """Forget blobs."""
        for key in keys:
            for each in self._below(key):
                del self._blobs[each]
            self._copies.remove(key)

    def sync(self) -> None:
        """Nothing in memory survives a loss of power."""

    def staging(self, key: str) -> Path:
        """Return a place in the temporary folder."""
        return self._copies.path(key)

    def stage(self, key: str) -> Path:
        """Make this place an empty folder."""
        return self._copies.stage(key)

    def _below(self, key: str) -> list[str]:
        return [each for each in list(self._blobs) if each == key or each.startswith(key + "/")]

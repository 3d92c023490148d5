"""A cache on this machine of blobs that lie elsewhere; all processes of the machine may share it.

::

    <folder>/<first name>            a checkpoint's file, or its folder
    <folder>/<first name>.entry      its sizes and digests, written last; when it changed is when it was last used
    <folder>/<random>.filling/       what a process is fetching or putting

A process holds a shared lock (flock) on the four names that it returned last and on what it writes, and only unlocked
entries are removed: those that were used least recently, once there are more bytes than allowed. A lock on the whole
cache is held only while a name is given or taken away. Bytes are compared with the digest that they had when they came,
each time they are returned; what a disk has spoilt is fetched again. So a cache that is damaged or deleted costs a
transfer, and never makes a checkpoint look damaged.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

import msgspec

from phyletic import disk
from phyletic.checkpoints.blobs import Blobs, Content
from phyletic.checkpoints.cache_entry import CacheEntry, described, unspoilt
from phyletic.checkpoints.cache_locks import CacheLocks, open_locked
from phyletic.checkpoints.digest import Digest, digest_of_file, hashed
from phyletic.checkpoints.folder import MANIFEST
from phyletic.checkpoints.read_errors import elsewhere

_ENTRY, _FILLING = ".entry", ".filling"
_CHANGED_MEANWHILE = 5
_PIECE = 8 << 20
_FULL, _OVERHEAD = 0.9, 4096


class RemoteBlobs(Blobs, Protocol):
    """Blobs elsewhere; what is put there may be any local file."""

    def fetch(self, key: str, path: Path) -> dict[str, str]:
        """Copy a blob, or all blobs below a key, to a local path, in place of what is there.

        Args:
            key: The key.
            path: The file or folder to make.

        Returns:
            The digests that were found on the way, by path below the key; the empty path for the key itself.

        Raises:
            FileNotFoundError: The key has no blobs.
        """


class CachedBlobs:
    """Blobs that lie elsewhere, with whole checkpoints cached here.

    Args:
        remote: The blobs elsewhere. Whether a blob exists is always asked there.
        folder: The cache.
        limit: Bytes that the cache may have. What is in use may exceed it.
        address: From which another process makes the same blobs with the same cache; by default that of ``remote``.
    """

    def __init__(
        self, remote: RemoteBlobs, folder: str | Path, limit: int = 10_000_000_000, address: str | None = None
    ) -> None:
        self._remote, self._folder, self._limit = remote, Path(folder).absolute(), limit
        self._address = address
        self._locks = CacheLocks(self._folder)
        self._lock = self._locks.threads
        self._until_look = -1

    @property
    def location(self) -> str:
        """Where the blobs are, elsewhere."""
        return self._remote.location

    @property
    def address(self) -> str:
        """The address of the blobs elsewhere, with the settings of this cache."""
        return self._remote.address if self._address is None else self._address

    @property
    def immutable(self) -> bool:
        """Whether the blobs elsewhere are."""
        return self._remote.immutable

    # Reading

    def get(self, key: str) -> Path:
        """Return the cached file or folder, fetched if need be."""
        first, _, below = key.removesuffix("/").partition("/")
        id, dot, _ = first.partition(".")
        if dot and self._usable(id, MANIFEST):
            # a checkpoint is a file or a folder, and this one is a folder
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), key)
        path = self._folder / key.removesuffix("/")
        with elsewhere(key):
            for _ in range(_CHANGED_MEANWHILE):
                try:
                    if not self._usable(first, below):
                        self._fetch(first)
                    path.stat()
                    return path
                except FileNotFoundError:
                    if not self._remote.exists(key):
                        raise
        raise OSError(errno.EAGAIN, f"the cache changes while {key} is read", str(self._folder))

    def _usable(self, first: str, below: str) -> bool:
        """Whether the cache has all that a key names, unspoilt; it is held and counts as used from then on.

        Args:
            first: The first name of the key.
            below: The rest of it.
        """
        with self._lock:
            if not self._locks.hold(first):
                return False
            entry = self._entry(first)
            if entry is None or not (entry.whole or below in entry.files):
                return False
            if not unspoilt(self._folder / first, below, entry.files):
                disk.unlink(self._folder / f"{first}{_ENTRY}")
                return False
            with contextlib.suppress(OSError):
                os.utime(self._folder / f"{first}{_ENTRY}")
            return True

    def _fetch(self, first: str) -> None:
        """Fetch all below a first name."""
        with self._filling() as filling:
            fetched, path = filling / first, self._folder / first
            entry = described(fetched, self._remote.fetch(first, fetched))
            with self._locks.changing():
                there = self._entry(first)
                if there is not None and there.whole and self._locks.hold(first):
                    return  # another process was quicker
                # locked before it has its name, so that it is never taken for what a killed process left
                self._locks.hold(first, fetched)
                if path.is_dir():
                    disk.rename(path, filling / "spoilt")
                disk.rename(fetched, path)
                self._note(first, entry, filling)
            self._make_room()

    def exists(self, key: str) -> bool:
        """Whether the key has any blobs elsewhere."""
        return self._remote.exists(key)

    def names(self) -> list[str]:
        """Return the first names of all keys elsewhere."""
        return self._remote.names()

    # Writing

    def put(self, files: Iterable[tuple[str, Content]]) -> None:
        """Put blobs elsewhere, and keep them here: who goes on from them on this machine fetches nothing."""
        digests: dict[str, dict[str, str]] = {}
        with self._filling() as filling:
            try:
                for key, content in files:
                    first, _, below = key.partition("/")
                    if first not in digests:
                        digests[first] = self._kept_digests(first)
                    digests[first][below] = self._put(key, content, filling / "blob")
            finally:
                # also what was put before an exception is there, and known
                for first, kept in digests.items():
                    self._note_put(first, kept, filling)

    def _put(self, key: str, content: Content, filling: Path) -> str:
        """Put one blob, and return its digest; that of a folder is empty.

        Args:
            key: Its key.
            content: Its bytes, or a file in the staging folder.
            filling: Where to write its bytes first.
        """
        first, below, _ = key.partition("/")
        path = self._folder / key
        if key.endswith("/"):
            self._remote.put([(key, ())])
            self._make_held(first, path)
            return ""
        if isinstance(content, Path):
            if path.exists() and path.samefile(content):
                digest = digest_of_file(content)
                self._remote.put([(key, content)])
                return digest
            content = _pieces(content)
        try:
            with contextlib.closing(Digest()) as computed:
                disk.write_parts(disk.create_file(filling, 0o600), hashed(content, computed), durable=False)
                digest = computed.text()
            self._remote.put([(key, filling)])
            with self._locks.changing():
                if below:
                    self._make_held(first, path.parent)
                    disk.rename(filling, path)
                else:
                    self._locks.hold(first, filling, writing=True)
                    disk.rename(filling, path)
        finally:
            disk.unlink(filling)
        return digest

    def _kept_digests(self, first: str) -> dict[str, str]:
        """Return the digests of what an earlier put left; its entry is void until this put has ended."""
        with self._locks.changing():
            entry = self._entry(first) if self._locks.hold(first, writing=True) else None
            disk.unlink(self._folder / f"{first}{_ENTRY}")
            return dict(entry.files) if entry is not None else {}

    def _note_put(self, first: str, digests: dict[str, str], filling: Path) -> None:
        """Write the entry of what was put below a first name, which is whole once it is published.

        Args:
            first: The first name.
            digests: As in an entry.
            filling: A folder to write in.
        """
        with self._locks.changing():
            if digests:
                paths = [self._folder / first / path if path else self._folder / first for path in digests]
                size = sum(path.stat().st_size for path in paths if path.is_file())
                self._note(first, CacheEntry(digests, size, "" in digests or MANIFEST in digests), filling)
            self._locks.release(first)
        self._make_room()

    def delete(self, keys: Iterable[str]) -> None:
        """Delete blobs elsewhere, and here."""
        named = list(keys)
        self._remote.delete(named)
        for first in dict.fromkeys(key.partition("/")[0] for key in named):
            self._drop(first)

    def sync(self) -> None:
        """Make earlier deletions elsewhere survive a loss of power."""
        self._remote.sync()

    def staging(self, key: str) -> Path:
        """Return the place in the cache in which the files will stay."""
        return self._folder / key

    def stage(self, key: str) -> Path:
        """Make this place an empty folder, which stays until it is put or the process ends."""
        first = key.partition("/")[0]
        self._drop(first)
        self._make_held(first, self._folder / key)
        return self.staging(key)

    # Entries

    def _entry(self, first: str) -> CacheEntry | None:
        try:
            return msgspec.json.decode((self._folder / f"{first}{_ENTRY}").read_bytes(), type=CacheEntry)
        except (OSError, msgspec.MsgspecError):
            return None

    def _note(self, first: str, entry: CacheEntry, filling: Path) -> None:
        """Write an entry.

        Args:
            first: The first name.
            entry: What is known of it.
            filling: A folder to write in.
        """
        unfinished = filling / "entry"
        disk.write_parts(disk.create_file(unfinished, 0o600), [msgspec.json.encode(entry)], durable=False)
        disk.rename(unfinished, self._folder / f"{first}{_ENTRY}")
        self._until_look -= entry.size + _OVERHEAD

    def _drop(self, first: str) -> None:
        """Forget what is below a first name, and remove it unless another process uses it."""
        with self._lock:
            self._locks.release(first)
            disk.unlink(self._folder / f"{first}{_ENTRY}")
            self._remove_unused(first)

    def _make_room(self) -> None:
        """Remove what was used least recently, and what processes that were killed left, if it may be needed."""
        with self._lock, contextlib.suppress(OSError):
            if self._until_look >= 0:
                return
            with os.scandir(self._folder) as found:
                names = {entry.name for entry in found}
            known = {name.removesuffix(_ENTRY) for name in names if name.endswith(_ENTRY)}
            for name in names:
                if not name.endswith(_ENTRY) and name not in known:
                    self._remove_unused(name)
            entries = sorted(self._used(first) for first in known)
            total = sum(size for _, size, _ in entries)
            for _, size, first in entries:
                if total <= self._limit * _FULL:
                    break
                if self._remove_unused(first):
                    total -= size
            # eight processes that fill what is left, each looking once it has an eighth, do not pass the limit
            self._until_look = max(0, self._limit - total) // 8

    def _used(self, first: str) -> tuple[float, int, str]:
        """Return when a first name was last used, the bytes that it takes, and the name."""
        entry = self._entry(first)
        try:
            used = (self._folder / f"{first}{_ENTRY}").stat().st_mtime
        except OSError:
            used = 0.0
        return used, (entry.size if entry is not None else 0) + _OVERHEAD, first

    def _remove_unused(self, first: str) -> bool:
        """Remove what is below a first name, or is unfinished, if no process holds it; return whether it is gone."""
        gone = self._folder / f"{os.urandom(8).hex()}{_FILLING}"
        with self._locks.changing():
            path = self._folder / first
            descriptor = open_locked(path, fcntl.LOCK_EX)
            if descriptor is None:
                if not os.path.lexists(path):
                    disk.unlink(self._folder / f"{first}{_ENTRY}")
                    return True
                return False
            disk.unlink(self._folder / f"{first}{_ENTRY}")
            disk.rename(path, gone)
        try:
            disk.remove_tree(gone)
        finally:
            os.close(descriptor)
        return True

    # Folders

    def _make_held(self, first: str, folder: Path) -> None:
        """Make a folder at or below a first name, and hold the first name.

        Args:
            first: The first name.
            folder: The folder.
        """
        with self._locks.changing():
            disk.make_folder(str(folder), durable=False)
            if not self._locks.hold(first, writing=True):
                raise OSError(errno.EAGAIN, f"another process removes {first}", str(self._folder))

    @contextlib.contextmanager
    def _filling(self) -> Iterator[Path]:
        """Make a folder for the block to write in; another process removes it if this one is killed."""
        path = self._folder / f"{os.urandom(8).hex()}{_FILLING}"
        with self._locks.changing():
            disk.make_folder(str(path), durable=False, mode=0o700)
            self._locks.hold(path.name, writing=True)
        try:
            yield path
        finally:
            with contextlib.suppress(OSError):
                disk.remove_tree(path)
            self._locks.release(path.name)


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            yield piece

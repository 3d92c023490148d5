"""Checkpoints in an object store.

All blobs of one id are one folder of objects, whose layout :mod:`phyletic.checkpoints.object_manifest` says: a packed
state is its only blob, and a user's own files and their manifest are blobs beside one another. What is put below an id
becomes visible to others, and durable, with the blob that publishes it: then the objects' manifest is written, last and
by conditional create. Until then this object alone knows it, as a draft; a process that is killed leaves parts without
a manifest, which are deleted with their id. No part belongs to two checkpoints.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path

from phyletic import disk
from phyletic.checkpoints.blobs import Content
from phyletic.checkpoints.checkpoint_names import PACKED
from phyletic.checkpoints.digest import Digest
from phyletic.checkpoints.folder import MANIFEST
from phyletic.checkpoints.local_copies import LocalCopies
from phyletic.checkpoints.object_manifest import ObjectManifest, StoredBlob, StoredPart, decoded
from phyletic.checkpoints.object_store import ObjectStore, digest_of_part, in_order
from phyletic.errors import CheckpointDamaged
from phyletic.failpoints import failpoint

_PART = 16 << 20
_WRONG_BYTES = 3
_DELETING_SECONDS = 5.0
"""How long a deletion is tried: the owner waits for it, and the next owner repeats those that failed."""
_PUBLISHING = (PACKED, f"/{MANIFEST}")


class ObjectBlobs:
    """Blobs in an object store; readers get copies in a temporary folder.

    A store that fails never makes a checkpoint look damaged: only FileNotFoundError says that a blob is missing, and
    only CheckpointDamaged that its bytes are others than were put.

    Args:
        store: The store.
        part: Bytes of a part.
    """

    def __init__(self, store: ObjectStore, part: int = _PART) -> None:
        self._store, self._part = store, part
        self._drafts: dict[str, _Draft] = {}
        self._copies = LocalCopies()
        self._lock = threading.Lock()

    @property
    def location(self) -> str:
        """The address, which holds no secret."""
        return self._store.location

    @property
    def address(self) -> str:
        """The address: another process finds its credentials itself."""
        return self._store.location

    @property
    def immutable(self) -> bool:
        """True: a published id is asked for before anything is written below it."""
        return True

    # Writing

    def put(self, files: Iterable[tuple[str, Content]]) -> None:
        """Put blobs; those of an id are visible and durable once the one that publishes it is."""
        for key, content in files:
            id, rest = _split(key)
            draft = self._drafts.get(id)
            if draft is None:
                published = self._published(id)
                if published is not None:
                    self._require_same(id, rest, published, content)
                    continue
                draft = self._drafts[id] = _Draft()
            self._add(id, rest, draft, content)

    def _add(self, id: str, rest: str, draft: _Draft, content: Content) -> None:
        """Put one blob into a draft, and publish the draft if it is the blob that does.

        Args:
            id: The checkpoint.
            rest: What follows the id in the key.
            draft: What was put before.
            content: The blob's bytes.
        """
        if rest.endswith("/"):
            draft.folders[rest] = None
            return
        if rest not in _PUBLISHING:
            self._upload(id, rest, draft, content)
            return
        try:
            self._upload(id, rest, draft, content)
            self._flush(id, draft)
            failpoint("objects.manifest.before")
            if not self._store.create(f"{id}/{MANIFEST}", draft.manifest().encoded()):
                raise _published_already(f"{self.location}/{id}")
            failpoint("objects.manifest.after")
        finally:
            # after an error it may be published all the same, so the next put asks the store
            self._drafts.pop(id, None)

    def _upload(self, id: str, rest: str, draft: _Draft, content: Content) -> None:
        """Write the bytes of a blob behind those of a draft: all whole parts, and the rest once it is flushed.

        Args:
            id: The checkpoint.
            rest: What follows the id in the blob's key.
            draft: What was put before.
            content: The bytes.
        """
        tail, offset, ends = draft.tail, draft.size, len(draft.parts)

        def parts() -> Iterator[tuple[int, bytes | memoryview]]:
            number = ends
            for piece in _pieces(content, self._part):
                digest.update(piece)
                if not tail and len(piece) == self._part:
                    yield number, piece
                    number += 1
                    continue
                tail.extend(piece)
                while len(tail) >= self._part:
                    part = bytes(tail[: self._part])
                    del tail[: self._part]
                    yield number, part
                    number += 1

        with contextlib.closing(Digest(self._part)) as digest:
            draft.parts.extend(in_order(lambda part: self._put_part(id, *part), parts()))
            draft.blobs[rest] = StoredBlob(offset, draft.size - offset, digest.text())

    def _flush(self, id: str, draft: _Draft) -> None:
        """Write the bytes of a draft that fill no part."""
        if draft.tail:
            draft.parts.append(self._put_part(id, len(draft.parts), bytes(draft.tail)))
            draft.tail.clear()

    def _put_part(self, id: str, number: int, content: bytes | memoryview) -> StoredPart:
        failpoint("objects.part.before")
        self._store.put(f"{id}/{number}", content)
        failpoint("objects.part.after")
        return StoredPart(len(content), digest_of_part(content))

    def _require_same(self, id: str, rest: str, published: ObjectManifest, content: Content) -> None:
        """Raise OSError unless a published checkpoint has a blob with these bytes.

        Args:
            id: The checkpoint.
            rest: What follows the id in the key.
            published: Its manifest.
            content: The bytes.
        """
        if rest.endswith("/"):
            same = rest in published.folders
        else:
            blob = published.blobs.get(rest)
            same = blob is not None and blob.digest == _digest(content, self._part)
        if not same:
            raise _published_already(f"{self.location}/{id}{rest}")

    # Reading

    def get(self, key: str) -> Path:
        """Return copies of the blobs under the key, in a temporary folder."""
        path = self.staging(key)
        self.fetch(key, path)
        return path

    def fetch(self, key: str, path: Path) -> dict[str, str]:
        """Copy a blob, or all blobs below a key, to a local path, in place of what is there.

        Args:
            key: The key.
            path: The file or folder to make.

        Returns:
            The digests of the files, by path below the key; the empty path for the key itself.

        Raises:
            FileNotFoundError: The key has no blobs.
            CheckpointDamaged: The store has other bytes than were put.
            StoreUnreachable: The store does not answer.
        """
        id, rest = _split(key)
        manifest = self._known(id)
        found = None if manifest is None else manifest.below(rest)
        if manifest is None or not found:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), f"{self.location}/{key}")
        disk.remove_tree(path)  # a reader may have mapped an earlier copy
        whole = rest in found.blobs
        disk.make_folder(str(path.parent if whole else path), durable=False)
        inside = rest.removesuffix("/")
        for name in found.folders:
            disk.make_folder(f"{path}{name.removeprefix(inside)}".removesuffix("/"), durable=False)
        digests: dict[str, str] = {}
        ordered = sorted(found.blobs.items(), key=lambda item: item[1].offset)
        with contextlib.closing(self._bytes(id, manifest, [blob for _, blob in ordered])) as content:
            for name, blob in ordered:
                below = "" if whole else name.removeprefix(inside).lstrip("/")
                place = path / below if below else path
                disk.make_folder(str(place.parent), durable=False)
                disk.write_parts(disk.create_file(place, 0o600), _first(content, blob.size), durable=False)
                digests[below] = blob.digest  # the parts were compared with theirs
        return digests

    def _bytes(self, id: str, manifest: ObjectManifest, blobs: list[StoredBlob]) -> Generator[memoryview]:
        """Yield the bytes of blobs, reading a few parts ahead.

        Args:
            id: The checkpoint.
            manifest: Its manifest.
            blobs: The blobs, in the order of their bytes; each piece is of one of them.
        """
        pieces = [piece for blob in blobs for piece in manifest.pieces(blob)]
        numbers = list(dict.fromkeys(number for number, _ in pieces))
        parts = in_order(lambda number: self._get_part(id, number, manifest.parts[number]), numbers)
        with contextlib.closing(parts):
            current, content = -1, memoryview(b"")
            for number, where in pieces:
                if number != current:
                    current, content = number, next(parts)
                yield content[where]

    def _get_part(self, id: str, number: int, expected: StoredPart) -> memoryview:
        """Return the bytes of a part, read again if they are not those that were put: the network may have spoilt them.

        Args:
            id: The checkpoint.
            number: The part.
            expected: What was put.
        """
        where = f"{self.location}/{id}/{number}"
        for _ in range(_WRONG_BYTES):
            try:
                content = self._store.get(f"{id}/{number}")
            except FileNotFoundError:
                raise CheckpointDamaged(f"{where} is missing: expected {expected.size} bytes") from None
            found = digest_of_part(content)
            if found == expected.digest:
                return content
        raise CheckpointDamaged(
            f"{where} is damaged: expected {expected.size} bytes with {expected.digest}, "
            f"found {len(content)} with {found}"
        )

    def exists(self, key: str) -> bool:
        """Whether the key has any blobs; for the empty key, whether the store can be reached."""
        if not key:
            self._store.first_names()
            return True
        id, rest = _split(key)
        manifest = self._known(id)
        return manifest is not None and bool(manifest.below(rest))

    def names(self) -> list[str]:
        """Return the ids of all checkpoints, published or not."""
        return sorted({*self._store.first_names(), *self._drafts})

    def _known(self, id: str) -> ObjectManifest | None:
        """Return the manifest of a published checkpoint, or of this object's draft; None if there is neither."""
        draft = self._drafts.get(id)
        if draft is None:
            return self._published(id)
        self._flush(id, draft)
        return draft.manifest()

    def _published(self, id: str) -> ObjectManifest | None:
        for left in reversed(range(_WRONG_BYTES)):
            try:
                content = self._store.get(f"{id}/{MANIFEST}")
                return decoded(content, f"{self.location}/{id}/{MANIFEST}")
            except FileNotFoundError:
                return None
            except CheckpointDamaged:
                if not left:
                    raise
        raise AssertionError("the last try returns or raises")

    # Deleting

    def delete(self, keys: Iterable[str]) -> None:
        """Delete blobs: a state or a whole id with all its objects, the manifest first."""
        rests: dict[str, set[str]] = {}
        for key in keys:
            id, rest = _split(key)
            rests.setdefault(id, set()).add(rest)
            self._copies.remove(key)
        for id, named in rests.items():
            self._delete(id, named)

    def _delete(self, id: str, named: set[str]) -> None:
        """Delete some blobs of an id.

        Args:
            id: The id.
            named: What follows the id in the keys.
        """
        draft = self._drafts.get(id)
        whole = "" in named or (PACKED in named and self._is_state(id))
        if whole:
            self._drafts.pop(id, None)
            self._store.delete([f"{id}/{MANIFEST}"], _DELETING_SECONDS)
            self._store.delete(self._store.keys(id, _DELETING_SECONDS), _DELETING_SECONDS)
        elif draft is not None:
            for rest in named:
                draft.forget(rest)
        elif f"/{MANIFEST}" in named and not self._is_state(id):
            self._store.delete([f"{id}/{MANIFEST}"])
        elif named != {PACKED} and self._published(id) is not None:
            raise OSError(errno.EPERM, "the files of a published checkpoint never change", f"{self.location}/{id}")

    def _is_state(self, id: str) -> bool:
        manifest = self._published(id)
        return manifest is not None and PACKED in manifest.blobs

    def sync(self) -> None:
        """Nothing to do: a deletion is durable once the store has answered."""

    # Local files

    def staging(self, key: str) -> Path:
        """Return a place in the temporary folder."""
        return self._copies.path(key)

    def stage(self, key: str) -> Path:
        """Make this place an empty folder."""
        return self._copies.stage(key)


class _Draft:
    """What this process has put below an id that is not published yet.

    Attributes:
        parts: The parts that are in the store.
        tail: The bytes behind them.
        blobs: As in a manifest.
        folders: As in a manifest, in a dictionary's keys.
    """

    def __init__(self) -> None:
        self.parts: list[StoredPart] = []
        self.tail = bytearray()
        self.blobs: dict[str, StoredBlob] = {}
        self.folders: dict[str, None] = {}

    @property
    def size(self) -> int:
        return sum(part.size for part in self.parts) + len(self.tail)

    def manifest(self) -> ObjectManifest:
        return ObjectManifest(tuple(self.parts), self.blobs, tuple(sorted(self.folders)))

    def forget(self, rest: str) -> None:
        named = self.manifest().below(rest)
        self.blobs = {name: blob for name, blob in self.blobs.items() if name not in named.blobs}
        self.folders = {name: None for name in self.folders if name not in named.folders}


def _split(key: str) -> tuple[str, str]:
    """Return the id of a key, and what follows it.

    Example:
        >>> _split("0f.safetensors"), _split("0f/files/x")
        (('0f', '.safetensors'), ('0f', '/files/x'))
    """
    first, slash, below = key.partition("/")
    id, dot, kind = first.partition(".")
    return id, dot + kind + slash + below


def _pieces(content: Content, size: int) -> Iterator[memoryview]:
    """Yield the bytes of a blob; a file's in pieces of one size.

    Args:
        content: The bytes.
        size: Bytes of a piece.
    """
    if not isinstance(content, Path):
        yield from (memoryview(part).cast("B") for part in content if len(part))
        return
    with content.open("rb") as file:
        while piece := file.read(size):
            yield memoryview(piece)


def _first(content: Iterator[memoryview], size: int) -> Iterator[memoryview]:
    """Yield the next bytes of an iterator whose pieces end where these do.

    Args:
        content: The iterator.
        size: How many bytes.
    """
    while size:
        piece = next(content)
        size -= len(piece)
        yield piece


def _digest(content: Content, size: int) -> str:
    """Return the digest of a blob's bytes.

    Args:
        content: The bytes.
        size: Bytes of a piece, if they are a file.
    """
    with contextlib.closing(Digest(size)) as digest:
        for piece in _pieces(content, size):
            digest.update(piece)
        return digest.text()


def _published_already(where: str) -> OSError:
    return OSError(errno.EEXIST, "published already with other content; an id is never used for another", where)

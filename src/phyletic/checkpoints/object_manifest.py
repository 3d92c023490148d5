"""The manifest of a checkpoint in an object store: which parts there are, and which bytes of them are which blob.

The bytes of all blobs of a checkpoint follow one another, and are cut into parts::

    <prefix>/<id>/0, 1, 2, ...       the parts
    <prefix>/<id>/manifest.json      written last: from then on the checkpoint is published
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from phyletic.errors import CheckpointDamaged, CheckpointError

_VERSION = 1


class StoredPart(msgspec.Struct, frozen=True):
    """An object with a part of a checkpoint's bytes: its size and its digest."""

    size: int
    digest: str


class StoredBlob(msgspec.Struct, frozen=True):
    """A blob: where its bytes begin among those of all parts, how many there are, and their digest."""

    offset: int
    size: int
    digest: str


class ObjectManifest(msgspec.Struct, frozen=True):
    """What a checkpoint in an object store consists of.

    Attributes:
        parts: The parts, in order.
        blobs: By what follows the checkpoint's id in a blob's key: ``".safetensors"`` for a state; ``"/files/..."`` and
            ``"/manifest.json"`` for a user's own files.
        folders: The keys of folders, after the id, each with ``/`` at its end.
        version: The version of this format.
    """

    parts: tuple[StoredPart, ...]
    blobs: dict[str, StoredBlob]
    folders: tuple[str, ...] = ()
    version: int = _VERSION

    def encoded(self) -> bytes:
        """Return its JSON form; the same manifest always has the same bytes."""
        return msgspec.json.format(msgspec.json.encode(self, order="sorted"), indent=1)

    def below(self, rest: str) -> Manifested:
        """Return the blobs and folders that a key names: its own, or all below it.

        Args:
            rest: What follows the id in the key.

        Example:
            >>> manifest = ObjectManifest((), {"/files/x": StoredBlob(0, 0, "...")}, ("/files/", "/files/empty/"))
            >>> manifest.below("/files").folders
            ('/files/', '/files/empty/')
        """
        inside = rest.removesuffix("/") + "/"
        return Manifested(
            {name: blob for name, blob in self.blobs.items() if name == rest or name.startswith(inside)},
            tuple(name for name in self.folders if name.startswith(inside)),
        )

    def pieces(self, blob: StoredBlob) -> Iterator[tuple[int, slice]]:
        """Yield where the bytes of a blob are: the number of a part, and the place in it."""
        begins, end = 0, blob.offset + blob.size
        for number, part in enumerate(self.parts):
            if blob.size and begins < end and blob.offset < begins + part.size:
                yield number, slice(max(0, blob.offset - begins), min(part.size, end - begins))
            begins += part.size


class Manifested(msgspec.Struct, frozen=True):
    """Some blobs and folders of a checkpoint, by what follows its id in their keys."""

    blobs: dict[str, StoredBlob]
    folders: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.blobs or self.folders)


def decoded(content: bytes | memoryview, where: str) -> ObjectManifest:
    """Return a manifest from its JSON form.

    Args:
        content: The JSON form.
        where: The object that has it, for the error.

    Raises:
        CheckpointDamaged: It is none.
        CheckpointError: A later version of phyletic wrote it.
    """
    try:
        manifest = msgspec.json.decode(content, type=ObjectManifest)
    except msgspec.MsgspecError as error:
        raise CheckpointDamaged(f"{where} is damaged: {error}") from None
    if manifest.version > _VERSION:
        raise CheckpointError(f"{where} has version {manifest.version}, but this phyletic reads up to {_VERSION}")
    return manifest

"""Publish, open, verify and delete checkpoints in any blobs.

A state is the blob ``<id>.safetensors``. A user's own files are the blobs ``<id>/files/...``, published once
``<id>/manifest.json`` exists, which is written last. An id comes from the coordinator, one for each attempt, so no
checkpoint ever changes and no path from a client reaches a file system.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path

from phyletic.checkpoints.blobs import Blobs, Content
from phyletic.checkpoints.digest import Digest, digest_of_file, hashed
from phyletic.checkpoints.folder import FILES, MANIFEST, OwnFiles
from phyletic.checkpoints.open_checkpoint import OpenCheckpoint, check_packed, open_folder, open_packed
from phyletic.checkpoints.packed import Packed
from phyletic.checkpoints.read_errors import once_more_if_stale, reading
from phyletic.errors import CheckpointDamaged, CheckpointError, InvalidArgument, NotFound, StoreUnreachable
from phyletic.records import CheckpointReference

_SUFFIX = ".safetensors"
_COPIED_AT_ONCE = 8 << 20
_ID = re.compile(r"[0-9a-f]{32}")


class Checkpoints:
    """A store of checkpoints. Any number of processes may use the same one.

    Args:
        blobs: The store of the bytes.

    Example:
        >>> from phyletic.checkpoints import MemoryBlobs
        >>> checkpoints = Checkpoints(MemoryBlobs())
        >>> reference = checkpoints.publish("0" * 32, {"weights": [0.25, 0.5]})
        >>> state = {}
        >>> with checkpoints.open(reference) as checkpoint:
        ...     checkpoint.restore(state)
        ...     checkpoint.verify()
        >>> state
        {'weights': [0.25, 0.5]}
    """

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    @property
    def location(self) -> str:
        """Where the checkpoints are, in a person's words: a path or a URL."""
        return self._blobs.location

    @property
    def address(self) -> str:
        """A text from which :func:`phyletic.checkpoints.blobs_at` makes the same blobs in another process."""
        return self._blobs.address

    def snapshot(self, state: Mapping[str, object]) -> Packed:
        """Return a copy of a state in memory, to publish it while training changes the state itself.

        Raises:
            StateUnsupported: An entry is of a type that cannot be saved.
        """
        from phyletic.checkpoints.adapters import encode_state

        return encode_state(state).copied()

    def publish(self, id: str, state: Mapping[str, object] | Packed) -> CheckpointReference:
        """Publish a state. It is complete, visible and durable once this returns.

        Args:
            id: From the coordinator. You may publish the same state under it again.
            state: Entries by name; the adapter for its type saves each. Or what :meth:`snapshot` returned.

        Returns:
            The reference to tell the coordinator, which also opens the checkpoint.

        Raises:
            StateUnsupported: An entry is of a type that cannot be saved; nothing was written.
            CheckpointError: It could not be written (a full disk, another state under the same id); nothing of it is
                visible.
        """
        return self.publish_many({id: state})[0]

    @once_more_if_stale
    def publish_many(self, states: Mapping[str, Mapping[str, object] | Packed]) -> list[CheckpointReference]:
        """Publish several states, as :meth:`publish` does, with one wait for the names of all.

        Args:
            states: States by id.

        Returns:
            A reference for each, in the given order.

        Raises:
            StateUnsupported: An entry is of a type that cannot be saved; nothing was written.
            CheckpointError: One could not be written; earlier ones may be published.
        """
        # imports numpy, which takes long; a study that only opens can do without
        from phyletic.checkpoints.adapters import encode_state

        encoded = {
            _checked(id): state if isinstance(state, Packed) else encode_state(state) for id, state in states.items()
        }
        references: list[CheckpointReference] = []

        def files() -> Generator[tuple[str, Content]]:
            for id, packed in encoded.items():
                with contextlib.closing(Digest(packed.size)) as digest:
                    yield _packed(id), hashed(packed.parts(), digest)
                references.append(CheckpointReference(id, digest.text(), digest.size))

        with self._writing(", ".join(encoded)), contextlib.closing(files()) as written:
            for id, packed in encoded.items():
                if not self._blobs.immutable and self._published(id):
                    again = Digest()
                    for part in packed.parts():
                        again.update(part)
                    self._require_same(id, _packed(id), again.text())
            self._blobs.put(written)
        return references

    @once_more_if_stale
    def adopt(self, id: str, path: Path) -> CheckpointReference:
        """Copy a checkpoint of another study, and publish it under an id.

        Args:
            id: The new id.
            path: The packed file, or the folder with the user's own files, as :meth:`path` returns it.

        Raises:
            CheckpointDamaged: The file is not a packed checkpoint.
            CheckpointError: It could not be copied.
        """
        if path.is_dir():
            return self.publish_folder(id, path)
        check_packed(path)
        with contextlib.closing(Digest(path.stat().st_size)) as digest:
            with self._writing(id), path.open("rb") as file:
                pieces = iter(lambda: file.read(_COPIED_AT_ONCE), b"")
                self._blobs.put([(_packed(_checked(id)), hashed(pieces, digest))])
            return CheckpointReference(id, digest.text(), digest.size)

    @once_more_if_stale
    def publish_folder(self, id: str, folder: Path) -> CheckpointReference:
        """Publish a user's own files. They are complete, visible and durable once this returns.

        Args:
            id: From the coordinator.
            folder: Holds regular files and folders only. The folder that :meth:`staging` returned for the id becomes
                the checkpoint, so do not change it afterwards; any other folder is copied.

        Raises:
            InvalidArgument: The folder does not exist, or holds links, devices or the like.
            CheckpointError: It could not be written; nothing of it is visible.
        """
        staged = self._blobs.staging(f"{_checked(id)}/{FILES}")
        with _explained(f"checkpoint {id} could not be made from {folder}"):
            files, in_place = self._own_files(Path(folder), staged)
        with self._writing(id):
            if self._published(id):
                files.read()
                self._require_same(id, f"{id}/{MANIFEST}", files.digest)
                # the files may not be durable yet, so put them again
                files, in_place = OwnFiles(self._blobs.get(f"{id}/{FILES}")), True
            if in_place:
                files.read()
            else:
                self._blobs.delete([id])
            try:
                self._blobs.put(files.blobs(id, copied=not in_place))
            except BaseException as error:
                with contextlib.suppress(OSError):
                    if not isinstance(error, StoreUnreachable) and not (in_place or self._published(id)):
                        self._blobs.delete([id])
                raise
        return CheckpointReference(id, files.digest, files.size)

    def _own_files(self, folder: Path, staged: Path) -> tuple[OwnFiles, bool]:
        """Return a user's files, and whether they may stay in their place."""
        if folder == staged:
            return OwnFiles(folder), True
        folder, staged = folder.resolve(), staged.resolve()
        if folder != staged and (staged.is_relative_to(folder) or folder.is_relative_to(staged.parent)):
            allowed = f"a folder that neither holds the checkpoints in {self.location} nor lies in this one"
            raise InvalidArgument("folder", str(folder), allowed)
        try:
            return OwnFiles(folder), folder == staged
        except (FileNotFoundError, NotADirectoryError):
            raise InvalidArgument("folder", str(folder), "a folder that exists") from None

    @once_more_if_stale
    def staging(self, id: str) -> Path:
        """Return an empty local folder to write files into, for :meth:`publish_folder`.

        Raises:
            CheckpointError: It cannot be made, or the checkpoint is published already.
        """
        with self._writing(_checked(id)):
            if self._published(id):
                raise CheckpointError(f"checkpoint {id} is published already: its files cannot be written again")
            return self._blobs.stage(f"{id}/{FILES}")

    @once_more_if_stale
    def open(self, reference: CheckpointReference) -> OpenCheckpoint:
        """Open a published checkpoint.

        Raises:
            CheckpointDamaged: It is missing, or obviously not what was published; :meth:`OpenCheckpoint.verify` raises
                this for what only the digest shows.
            CheckpointError: It cannot be read now, for lack of rights, memory or file descriptors.
        """
        return self._open(reference)

    def _open(self, reference: CheckpointReference) -> OpenCheckpoint:
        id = _checked(reference.id)
        if not reference.digest.startswith("sha256:"):
            raise CheckpointError(f"the digest of checkpoint {id} is {reference.digest!r}, but only sha256 is known")
        with reading(f"checkpoint {id} in {self.location}"):
            with contextlib.suppress(FileNotFoundError):
                return open_packed(self._blobs.get(_packed(id)), reference)
            with contextlib.suppress(FileNotFoundError):
                # got, and not asked for: a cache that has it need not ask
                self._blobs.get(f"{id}/{MANIFEST}")
                return open_folder(self._blobs.get(id), reference)
            if not self._blobs.exists(""):
                raise CheckpointError(f"the checkpoints' folder {self.location} is missing: is its disk mounted?")
        raise CheckpointDamaged(
            f"{self.location}/{_packed(id)} is missing: expected {reference.size} bytes with {reference.digest}"
        )

    @once_more_if_stale
    def verify(self, reference: CheckpointReference) -> None:
        """Read a whole checkpoint and compare it with its digest.

        Raises:
            CheckpointDamaged: Its bytes are not those that were published; names the file, what was expected and what
                was found.
            CheckpointError: It cannot be read now, for lack of rights, memory or file descriptors.
        """
        with self._open(reference) as opened:
            opened.verify()

    @once_more_if_stale
    def path(self, id: str) -> Path:
        """Return a local path to read a checkpoint at: its file, or the folder with the user's own files.

        Raises:
            NotFound: It is not published.
            CheckpointError: The store cannot be read now, for lack of rights, say.
        """
        with reading(f"checkpoint {_checked(id)} in {self.location}"):
            key = self._published(id)
            if key is not None:
                return self._blobs.get(key if key == _packed(id) else f"{id}/{FILES}")
        raise NotFound(f"there is no checkpoint {id} in {self.location}")

    @once_more_if_stale
    def exists(self, id: str) -> bool:
        """Whether a checkpoint is published.

        Raises:
            CheckpointError: The store cannot be read now, for lack of rights, say.
        """
        with reading(f"checkpoint {_checked(id)} in {self.location}"):
            return self._published(id) is not None

    @once_more_if_stale
    def ids(self) -> list[str]:
        """Return the ids of all checkpoints here in order, published or not, of any study.

        Raises:
            CheckpointError: The store cannot be read.
        """
        with _explained(f"the checkpoints in {self.location} could not be listed"):
            names = self._blobs.names()
        return sorted({name for name in (name.removesuffix(_SUFFIX) for name in names) if _ID.fullmatch(name)})

    @once_more_if_stale
    def delete(self, *ids: str) -> None:
        """Delete checkpoints, published or not, if they exist; a loss of power may undo it before :meth:`sync`.

        Args:
            *ids: Their ids; no process may be writing one of them.

        Raises:
            CheckpointError: One could not be deleted.
        """
        for id in ids:
            _checked(id)
        with _explained("a checkpoint could not be deleted"):
            self._blobs.delete(key for id in ids for key in (f"{id}/{MANIFEST}", _packed(id), id))

    @once_more_if_stale
    def sync(self) -> None:
        """Make earlier deletions survive a loss of power.

        Raises:
            CheckpointError: The disk failed.
        """
        with _explained(f"deletions in {self.location} could not be made durable"):
            self._blobs.sync()

    def _published(self, id: str) -> str | None:
        """Return the key of the blob by which a checkpoint is published, if it is."""
        return next((key for key in (_packed(id), f"{id}/{MANIFEST}") if self._blobs.exists(key)), None)

    def _require_same(self, id: str, key: str, digest: str) -> None:
        """Raise CheckpointError unless a published checkpoint is published by this blob, with this digest.

        Args:
            id: The checkpoint's id.
            key: The key of the blob.
            digest: The digest of the blob.
        """
        if self._published(id) != key or digest_of_file(self._blobs.get(key)) != digest:
            raise CheckpointError(
                f"checkpoint {id} is published already with other content in {self.location}; "
                "an id is never used for another checkpoint"
            )

    def _writing(self, id: str) -> contextlib.AbstractContextManager[None]:
        return _explained(f"checkpoint {id} could not be written to {self.location}")


def digest_at(path: Path) -> str:
    """Return the digest that a checkpoint at a path has: a packed file, or a folder of a user's own files."""
    if not path.is_dir():
        return digest_of_file(path)
    files = OwnFiles(path)
    files.read()
    return files.digest


def _checked(id: object) -> str:
    """Return a checkpoint's id; only what passes here ever becomes part of a key.

    Raises:
        InvalidArgument: It is not 32 hexadecimal digits.
    """
    if not isinstance(id, str) or not _ID.fullmatch(id):
        raise InvalidArgument("id", id, "32 digits of 0-9 and a-f, as the coordinator gave it")
    return id


def _packed(id: str) -> str:
    return id + _SUFFIX


@contextlib.contextmanager
def _explained(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CheckpointError(f"{what}: {error}") from error

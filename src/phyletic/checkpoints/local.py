"""Checkpoints in a folder of a local file system."""

from __future__ import annotations

import contextlib
import mmap
import os
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

from phyletic import disk
from phyletic.checkpoints import folder as own_files
from phyletic.checkpoints.adapters import adapter_for
from phyletic.checkpoints.digest import Digest, digest_of_bytes, digest_of_file, hashed
from phyletic.checkpoints.open_checkpoint import OpenCheckpoint
from phyletic.checkpoints.packed import Array, Entry, Manifest, header_of, layout, read_header
from phyletic.checkpoints.read_errors import is_folder, is_there, reading, unreadable
from phyletic.checkpoints.staging import Staging
from phyletic.checkpoints.store import checked_id, is_id
from phyletic.checkpoints.tree import Lowering, is_unicode
from phyletic.errors import CheckpointDamaged, CheckpointError, InvalidArgument, NotFound, StateUnsupported
from phyletic.records import CheckpointReference

__all__ = ["LocalCheckpoints"]

_SUFFIX = ".safetensors"


class LocalCheckpoints:
    """A store of checkpoints in one folder.

    A state lies in ``<id>.safetensors``, a user's own files in ``<id>/``. Both are made under ``staging/``, forced
    onto the disk, and get their name in one step, so whoever sees a checkpoint sees all of it. Any number of
    processes may use the same folder.

    Args:
        root: The folder; made when first written to.
        durable: Whether what is published survives a loss of power; a study in memory does not either, and need not
            wait for the disk.

    Example:
        >>> import tempfile
        >>> store = LocalCheckpoints(Path(tempfile.mkdtemp()))
        >>> reference = store.publish("0" * 32, {"weights": [0.25, 0.5]})
        >>> state = {}
        >>> with store.open(reference) as checkpoint:
        ...     checkpoint.restore(state)
        ...     checkpoint.verify()
        >>> state
        {'weights': [0.25, 0.5]}
    """

    def __init__(self, root: Path, durable: bool = True) -> None:
        self.root = Path(root).absolute()
        self.durable = durable
        self._staging = Staging(self.root / "staging")

    def __reduce__(self) -> tuple[type[LocalCheckpoints], tuple[Path, bool]]:
        return LocalCheckpoints, (self.root, self.durable)

    def publish(self, id: str, state: Mapping[str, object]) -> CheckpointReference:
        """Publish a state: once this returns, it is on the disk.

        Args:
            id: Given by the coordinator; publishing the same state under it again is fine.
            state: Entries by name; each is saved by the adapter for its type.

        Returns:
            What to tell, and to open it by.

        Raises:
            StateUnsupported: An entry is of a type that cannot be saved; nothing was written.
            CheckpointError: It could not be written (a full disk, another state under the same id); nothing of it is
                visible.
        """
        checked_id(id)
        lowering = Lowering()
        entries = {}
        for name, value in state.items():
            if not (isinstance(name, str) and is_unicode(name)):
                raise StateUnsupported(f"the state has an entry {name!r}, but names of entries are Unicode texts")
            adapter = adapter_for(value)
            entries[name] = Entry(adapter.name, adapter.lower(lowering, name, value))
        arrays = layout(lowering.arrays)
        header = header_of(Manifest(entries), arrays)
        digest = Digest(len(header) + sum(array.size for array in arrays))
        with self._publishing(id) as temporary:
            try:
                disk.write_file(temporary, hashed(_parts(header, arrays), digest), durable=self.durable)
            finally:
                digest.close()
            size = temporary.stat().st_size
            self._reveal(temporary, self._packed(id), digest.text(), digest_of_file)
        return CheckpointReference(id, digest.text(), size)

    def publish_folder(self, id: str, folder: Path, *, move: bool = False) -> CheckpointReference:
        """Publish a user's own files: once this returns, they are on the disk.

        Args:
            id: Given by the coordinator.
            folder: Holds regular files and folders only. It is copied.
            move: Take the folder itself; it must be one that :meth:`staging` returned for the same id.

        Raises:
            InvalidArgument: The folder is none, or holds links, devices or the like.
            CheckpointError: It could not be written; nothing of it is visible.
        """
        checked_id(id)
        folder = Path(folder)
        with _explained(f"checkpoint {id} could not be made from {folder}"):
            if not is_folder(folder):
                raise InvalidArgument("folder", str(folder), "a folder that exists")
            folder = folder.absolute() if move else folder.resolve()
            if not move and self.root.resolve().is_relative_to(folder):
                raise InvalidArgument("folder", str(folder), f"one that does not hold the store itself ({self.root})")
        with self._publishing(id, folder if move else None) as temporary:
            if move:
                manifest = own_files.describe(temporary / own_files.FILES)
            else:
                disk.create_folder(temporary)
                manifest = own_files.copy_in(folder, temporary / own_files.FILES)
            encoded = own_files.write_manifest(temporary, manifest)
            digest = Digest(0)
            digest.update(encoded)
            self._reveal(temporary, self._folder(id), digest.text(), _digest_of_manifest)
        return CheckpointReference(id, digest.text(), manifest.size + len(encoded))

    def staging(self, id: str) -> Path:
        """Return an empty folder inside the store to write files into, for ``publish_folder(..., move=True)``.

        Raises:
            CheckpointError: It cannot be made.
        """
        with self._publishing(checked_id(id)) as temporary:
            folder = temporary / own_files.FILES
            disk.create_folder(temporary)
            disk.create_folder(folder)
        return folder

    def open(self, reference: CheckpointReference) -> OpenCheckpoint:
        """Open a published checkpoint.

        Raises:
            CheckpointDamaged: It is missing, or plainly not what was published; what only the digest tells is raised
                by :meth:`OpenCheckpoint.verify`.
            CheckpointError: It cannot be read now, for want of rights, memory or file descriptors.
        """
        path = self._located(reference)
        if path.suffix != _SUFFIX:
            own_files.read_manifest(path, reference.digest)
            return OpenCheckpoint(
                reference,
                path / own_files.FILES,
                lambda cancelled: own_files.check_folder(path, reference.digest, cancelled),
                None,
            )
        content = _map(path, reference, mmap.ACCESS_READ)
        # Arrays may be views of a second mapping; writing to those changes this process's memory only, and not what
        # the digest is computed of.
        writable = _map(path, reference, mmap.ACCESS_COPY)
        return OpenCheckpoint(
            reference,
            path,
            lambda cancelled: _compare(path, reference, digest_of_bytes(content, cancelled), cancelled),
            (writable, *read_header(memoryview(content), str(path))),
        )

    def verify(self, reference: CheckpointReference) -> None:
        """Read a whole checkpoint and compare it with its digest.

        Raises:
            CheckpointDamaged: Its bytes are not those that were published; names the file, what was expected and what
                was found.
            CheckpointError: It cannot be read now, for want of rights, memory or file descriptors.
        """
        path = self._located(reference)
        if path.suffix == _SUFFIX:
            _check_packed(path, reference)
        else:
            own_files.check_folder(path, reference.digest)

    def path(self, id: str) -> Path:
        """Return where a published checkpoint can be read: its file, or the folder with the user's own files.

        Raises:
            NotFound: There is none.
            CheckpointError: That cannot be known now, for want of rights, say.
        """
        with reading(self._packed(id)):
            for path in (self._packed(id), self._folder(id) / own_files.FILES):
                if is_there(path):
                    return path
        raise NotFound(f"there is no checkpoint {id} in {self.root}")

    def exists(self, id: str) -> bool:
        """Whether a checkpoint is published.

        Raises:
            CheckpointError: That cannot be known now, for want of rights, say.
        """
        with reading(self._packed(id)):
            return is_there(self._packed(id)) or is_there(self._folder(id) / own_files.MANIFEST)

    def ids(self) -> list[str]:
        """Return the ids of all that is published here, by whatever study, in order.

        Raises:
            CheckpointError: The folder cannot be read.
        """
        with _explained(f"{self.root} could not be looked through"):
            try:
                names = [path.name for path in self.root.iterdir()]
            except FileNotFoundError:
                return []
        return sorted({name for name in (name.removesuffix(_SUFFIX) for name in names) if is_id(name)})

    def delete(self, *ids: str, durable: bool = True) -> None:
        """Remove checkpoints, and what is unfinished of them; fine if they are gone.

        Args:
            *ids: Which ones; nobody may be making one of them.
            durable: Whether they are gone for good when this returns; else a loss of power may bring them back.

        Raises:
            CheckpointError: One could not be removed.
        """
        for id in ids:
            checked_id(id)
        with _explained("a checkpoint could not be removed"):
            if not is_folder(self.root):
                return
            for id in ids:
                disk.unlink(self._packed(id))
                if is_there(self._folder(id)):
                    disk.rename(self._folder(id), self._staging.entry(id))
            if durable and self.durable:
                disk.fsync_folder(self.root)
            self._staging.remove(ids)

    def sweep(self, keep: Collection[str] = ()) -> None:
        """Remove what processes that are gone left unfinished; what is published is never touched.

        Args:
            keep: Ids to leave alone.

        Raises:
            CheckpointError: Something could not be removed.
        """
        with _explained(f"{self._staging.folder} could not be swept"):
            self._staging.sweep(keep)

    def _packed(self, id: str) -> Path:
        return self.root / (checked_id(id) + _SUFFIX)

    def _folder(self, id: str) -> Path:
        return self.root / checked_id(id)

    def _located(self, reference: CheckpointReference) -> Path:
        if not reference.digest.startswith("sha256:"):
            raise CheckpointError(
                f"the digest {reference.digest!r} of {reference.id} is of no kind known here (sha256)"
            )
        with reading(self._packed(reference.id)):
            for path in (self._packed(reference.id), self._folder(reference.id)):
                if is_there(path):
                    return path
            if not is_folder(self.root):
                raise CheckpointError(f"the folder of the checkpoints, {self.root}, is not there: is its disk mounted?")
        raise CheckpointDamaged(
            f"{self._packed(reference.id)} is missing: expected {reference.size} bytes with {reference.digest}"
        )

    @contextlib.contextmanager
    def _publishing(self, id: str, staged: Path | None = None) -> Iterator[Path]:
        """Give a temporary name, and see that nothing is left under it if the block fails."""
        with _explained(f"checkpoint {id} could not be written to {self.root}"):
            temporary = self._staging.entry(id) if staged is None else self._staged(id, staged)
            try:
                yield temporary
            except BaseException:
                with contextlib.suppress(OSError):
                    disk.remove_tree(temporary)
                raise

    def _staged(self, id: str, folder: Path) -> Path:
        entry = folder.parent
        if folder.name != own_files.FILES or not self._staging.owns(entry) or entry.name.split(".")[1] != id:
            raise InvalidArgument("folder", str(folder), f"what staging({id!r}) returned, where move=True")
        return entry

    def _reveal(self, temporary: Path, final: Path, digest: str, digest_of: Callable[[Path], str]) -> None:
        """Give what is complete its final name: the moment from which it is visible."""
        other = self._folder(final.stem) if final.suffix == _SUFFIX else self._packed(final.name)
        if is_there(other) or (is_there(final) and digest_of(final) != digest):
            raise CheckpointError(
                f"{final} is published already with other content; a checkpoint's id is never used for another"
            )
        if is_folder(final):
            disk.remove_tree(temporary)
        else:
            disk.rename(temporary, final)
        if self.durable:
            disk.fsync_folder(self.root)


def _parts(header: bytes, arrays: list[Array]) -> Iterator[disk.Part]:
    yield header
    for array in arrays:
        yield array.bytes()


def _digest_of_manifest(folder: Path) -> str:
    return digest_of_file(folder / own_files.MANIFEST)


def _map(path: Path, reference: CheckpointReference, access: int) -> mmap.mmap:
    """Map a packed file; it can be read from then on, even if the checkpoint is deleted."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            size = os.fstat(descriptor).st_size
            _check_size(path, reference, size)
            return mmap.mmap(descriptor, size, access=access)
        finally:
            os.close(descriptor)
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error


def _check_packed(path: Path, reference: CheckpointReference) -> None:
    try:
        _check_size(path, reference, path.stat().st_size)
        found = digest_of_file(path)
    except OSError as error:
        raise unreadable(path, error) from error
    _compare(path, reference, found)


def _compare(path: Path, reference: CheckpointReference, found: str, cancelled: threading.Event | None = None) -> None:
    if found != reference.digest and not (cancelled is not None and cancelled.is_set()):
        raise CheckpointDamaged(f"{path} is damaged: expected {reference.digest}, found {found}")


def _check_size(path: Path, reference: CheckpointReference, found: int) -> None:
    if found != reference.size:
        raise CheckpointDamaged(f"{path} is damaged: expected {reference.size} bytes, found {found}")


@contextlib.contextmanager
def _explained(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CheckpointError(f"{what}: {error}") from error

"""An open checkpoint: restoring a state from it while its digest is computed."""

from __future__ import annotations

import mmap
import os
import threading
from collections.abc import Callable, Mapping, MutableMapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from phyletic.checkpoints.digest import digest_of_bytes
from phyletic.checkpoints.folder import FILES, check_folder, read_manifest
from phyletic.checkpoints.packed import Manifest, Stored, read_header
from phyletic.checkpoints.read_errors import unreadable
from phyletic.errors import CheckpointDamaged, CheckpointError, NotFound
from phyletic.records import CheckpointReference

if TYPE_CHECKING:
    from phyletic.checkpoints.tree import Lifting, Node

_WORTH_A_THREAD = 1 << 20


def open_packed(path: Path, reference: CheckpointReference) -> OpenCheckpoint:
    """Open a packed file. It can be read from then on, even if the checkpoint is deleted meanwhile.

    Args:
        path: The file.
        reference: The reference that its publication returned.

    Raises:
        CheckpointDamaged: Its size or its header is wrong.
        CheckpointError: It cannot be read now, for lack of rights, memory or file descriptors.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            size = os.fstat(descriptor).st_size
            if size != reference.size:
                raise CheckpointDamaged(f"{path} is damaged: expected {reference.size} bytes, found {size}")
            content = mmap.mmap(descriptor, size, access=mmap.ACCESS_READ)
            # Arrays may be views of a second mapping; writing to those changes this process's memory only, and not
            # what the digest is computed of.
            writable = mmap.mmap(descriptor, size, access=mmap.ACCESS_COPY)
        finally:
            os.close(descriptor)
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error
    packed = (writable, *read_header(memoryview(content), str(path)))
    return OpenCheckpoint(reference, path, partial(_check_packed, path, content, reference.digest), packed)


def check_packed(path: Path) -> None:
    """Raise CheckpointDamaged unless a file begins as a packed checkpoint does, and has the size that it says."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            header = memoryview(content)
            try:
                read_header(header, str(path))
            finally:
                header.release()
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error


def open_folder(path: Path, reference: CheckpointReference) -> OpenCheckpoint:
    """Open a folder of a user's own files.

    Args:
        path: The checkpoint's folder.
        reference: The reference that its publication returned.

    Raises:
        CheckpointDamaged: Its manifest is not what was published.
        CheckpointError: It cannot be read now, for lack of rights, memory or file descriptors.
    """
    read_manifest(path, reference.digest)
    return OpenCheckpoint(reference, path / FILES, partial(check_folder, path, reference.digest), None)


def _check_packed(path: Path, content: mmap.mmap, digest: str, cancelled: threading.Event) -> None:
    """Raise CheckpointDamaged unless a packed file has its digest.

    Args:
        path: The packed file.
        content: The mapped file.
        digest: The digest that the file must have.
        cancelled: Another thread sets it to end this early, without an error.
    """
    found = digest_of_bytes(content, cancelled)
    if found != digest and not cancelled.is_set():
        raise CheckpointDamaged(f"{path} is damaged: expected {digest}, found {found}")


class OpenCheckpoint:
    """A checkpoint open for reading; :meth:`phyletic.checkpoints.Checkpoints.open` makes it.

    A thread computes the digest of a large checkpoint: it begins when a user's own files are opened, but for a state
    only after :meth:`restore`, since both at once would slow each other down. Do not rely on what was restored before
    :meth:`verify` has returned.

    Args:
        reference: The reference that its publication returned.
        path: The packed file, or the folder with the user's own files.
        check: Compares the bytes with the digest; ends early if the event is set.
        packed: The mapped file with its manifest and where its arrays lie; None for a user's own files.

    Attributes:
        reference: The reference that its publication returned.
        path: The packed file, or the folder with the user's own files.
        entries: The name of the adapter of each entry; empty for a user's own files.
    """

    def __init__(
        self,
        reference: CheckpointReference,
        path: Path,
        check: Callable[[threading.Event], None],
        packed: tuple[mmap.mmap, Manifest, Mapping[str, Stored]] | None,
    ) -> None:
        self.reference = reference
        self.path = path
        self._check = check
        self._cancelled = threading.Event()
        self._failure: CheckpointError | None = None
        self._checked = False
        self._thread: threading.Thread | None = None
        self._manifest = Manifest({})
        self._lifting: Lifting | None = None
        if packed is not None:
            from phyletic.checkpoints.tree import Lifting  # imports numpy, as does the adapters' module

            mapped, self._manifest, stored = packed
            self._lifting = Lifting(mapped, stored)
        self.entries: Mapping[str, str] = MappingProxyType(
            {name: entry.adapter for name, entry in self._manifest.entries.items()}
        )
        if packed is None:
            self._begin()

    @property
    def packed(self) -> bool:
        """Whether it holds a state; otherwise it holds a user's own files, at ``path``."""
        return self._lifting is not None

    def restore(self, namespace: MutableMapping[str, object]) -> None:
        """Make a namespace hold exactly what the checkpoint holds.

        Objects that can take their state in place do (state dicts, tensors, random states, estimators). Trees of
        arrays and plain data are replaced. An entry that the checkpoint lacks belongs to another member and is removed.

        Args:
            namespace: The objects that ``build`` returned or an earlier trial left.

        Raises:
            CheckpointDamaged: The bytes are not those that were published.
            CheckpointError: They do not fit what the namespace holds; names the entry.
        """
        if self._lifting is None:
            raise CheckpointError(f"{self.path} holds a user's own files: load them from there with load=")
        for name in [name for name in namespace if name not in self.entries]:
            del namespace[name]
        for name in self.entries:
            namespace[name] = self.load(name, namespace.get(name))
        self._begin()

    def load(self, name: str, live: object) -> Any:
        """Load one entry into an object; return what the state holds from then on, the object itself if it can be.

        Args:
            name: The entry.
            live: What holds it now; None if nothing does.

        Raises:
            CheckpointDamaged: The bytes are not those that were published.
            CheckpointError: They do not fit the object.
        """
        return self._apply(name, lambda adapter, node: adapter.restore(self._lifting, node, live))

    def node(self, name: str) -> Node:
        """Return one entry as the JSON that the checkpoint holds; nothing of it is run."""
        return self._manifest.entries[name].tree

    def array(self, name: str) -> tuple[Stored, memoryview]:
        """Return where an array of a state lies, and its bytes, by the name in a node.

        Raises:
            NotFound: The checkpoint has no such array.
        """
        if self._lifting is None or name not in self._lifting.stored:
            raise NotFound(f"checkpoint {self.reference.id} has no array {name!r}")
        return self._lifting.stored[name], self._lifting.content(name)

    def value(self, name: str) -> Any:
        """Return one entry as a plain object: a tree, a state dict, a random generator, or an estimator.

        Raises:
            NotFound: The checkpoint has no such entry.
            CheckpointDamaged: The bytes are not those that were published.
        """
        if self._lifting is None or name not in self.entries:
            raise NotFound(f"checkpoint {self.reference.id} has no entry {name!r}: it has {sorted(self.entries)}")
        return self._apply(name, lambda adapter, node: adapter.value(self._lifting, node))

    def _apply(self, name: str, action: Callable[..., Any]) -> Any:
        from phyletic.checkpoints.adapters import adapter_named

        try:
            adapter = adapter_named(self._manifest.entries[name].adapter)
            if adapter.executes:
                self.verify()
            return action(adapter, self._manifest.entries[name].tree)
        except CheckpointDamaged:
            raise
        except Exception as error:
            self.verify()  # raises if the cause is damage
            raise CheckpointError(
                f"entry {name!r} of checkpoint {self.reference.id} cannot be restored: {error}"
            ) from error

    def verify(self) -> None:
        """Wait for the digest, and compare it with the reference.

        Raises:
            CheckpointDamaged: The bytes are not those that were published; names the file, what was expected and what
                was found.
        """
        if self._thread is not None:
            self._thread.join()
        elif not self._checked:
            self._compute()
        if self._failure is not None:
            raise self._failure

    def _begin(self) -> None:
        if self._thread is None and not self._checked and self.reference.size >= _WORTH_A_THREAD:
            self._thread = threading.Thread(target=self._compute, name="checkpoint digest", daemon=True)
            self._thread.start()

    def _compute(self) -> None:
        try:
            self._check(self._cancelled)
        except CheckpointError as error:
            self._failure = error
        self._checked = True

    def close(self) -> None:
        """Stop computing the digest; do not use the checkpoint afterwards."""
        self._cancelled.set()
        if self._thread is not None:
            self._thread.join()

    def __enter__(self) -> OpenCheckpoint:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

"""An open checkpoint: restoring a state from it, while its digest is computed beside."""

from __future__ import annotations

import mmap
import threading
from collections.abc import Callable, Mapping, MutableMapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from phyletic.checkpoints.adapters import adapter_named
from phyletic.checkpoints.packed import Manifest, Stored
from phyletic.checkpoints.tree import Lifting
from phyletic.errors import CheckpointDamaged, CheckpointError, NotFound
from phyletic.records import CheckpointReference

__all__ = ["OpenCheckpoint"]

_WORTH_A_THREAD = 1 << 20


class OpenCheckpoint:
    """A checkpoint that is open for reading; :meth:`LocalCheckpoints.open` makes it.

    Its digest is computed in the background: of a user's own files from the moment it is open, of a state from the
    moment it is restored, since both at once would get in each other's way. What was restored counts only once
    :meth:`verify` has returned.

    Attributes:
        reference: What it was opened by.
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
            mapped, self._manifest, stored = packed
            self._lifting = Lifting(mapped, stored)
        self.entries: Mapping[str, str] = MappingProxyType(
            {name: entry.adapter for name, entry in self._manifest.entries.items()}
        )
        if packed is None:
            self._begin()

    @property
    def packed(self) -> bool:
        """Whether it holds a state; else it holds a user's own files, at ``path``."""
        return self._lifting is not None

    def restore(self, namespace: MutableMapping[str, object]) -> None:
        """Make a namespace hold exactly what the checkpoint holds.

        Objects that can take their state in place do (state dicts, tensors, random states, estimators); trees of
        arrays and plain data are replaced; an entry that the checkpoint does not have is removed, for it belongs to
        another member.

        Args:
            namespace: What ``build`` returned, or an earlier trial left.

        Raises:
            CheckpointDamaged: The bytes are not those that were published.
            CheckpointError: They do not fit what the namespace holds; names the entry.
        """
        if self._lifting is None:
            raise CheckpointError(f"{self.path} holds a user's own files: load them from there with load=")
        for name in [name for name in namespace if name not in self.entries]:
            del namespace[name]
        for name in self.entries:
            namespace[name] = self._apply(
                name, lambda adapter, node, live=namespace.get(name): adapter.restore(self._lifting, node, live)
            )
        self._begin()

    def value(self, name: str) -> Any:
        """Return one entry as a plain object: a tree, a state dict, a random generator, or an estimator.

        Raises:
            NotFound: There is no such entry.
            CheckpointDamaged: The bytes are not those that were published.
        """
        if self._lifting is None or name not in self.entries:
            raise NotFound(f"checkpoint {self.reference.id} has no entry {name!r}: it has {sorted(self.entries)}")
        return self._apply(name, lambda adapter, node: adapter.value(self._lifting, node))

    def _apply(self, name: str, action: Callable[..., Any]) -> Any:
        try:
            adapter = adapter_named(self._manifest.entries[name].adapter)
            if adapter.executes:
                self.verify()
            return action(adapter, self._manifest.entries[name].tree)
        except CheckpointDamaged:
            raise
        except Exception as error:
            self.verify()  # damage is the better explanation of whatever went wrong
            raise CheckpointError(
                f"entry {name!r} of checkpoint {self.reference.id} cannot be restored: {error}"
            ) from error

    def verify(self) -> None:
        """Wait for the digest and compare it.

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
        """End the background work early; the checkpoint is not to be used after."""
        self._cancelled.set()
        if self._thread is not None:
            self._thread.join()

    def __enter__(self) -> OpenCheckpoint:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

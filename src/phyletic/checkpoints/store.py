"""What a store of checkpoints can do, wherever it keeps them."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Protocol

from phyletic.checkpoints.open_checkpoint import OpenCheckpoint
from phyletic.errors import InvalidArgument
from phyletic.records import CheckpointReference

__all__ = ["CheckpointStore", "checked_id", "is_id"]

_ID = re.compile(r"[0-9a-f]{32}")


def is_id(text: str) -> bool:
    """Whether a text has the form of a checkpoint's id."""
    return _ID.fullmatch(text) is not None


def checked_id(id: object) -> str:
    """Return a checkpoint's id; only what passes here ever becomes part of a path.

    Raises:
        InvalidArgument: It is not 32 hexadecimal digits.
    """
    if not isinstance(id, str) or not is_id(id):
        raise InvalidArgument("id", id, "32 digits of 0-9 and a-f, as the coordinator gave it")
    return id


class CheckpointStore(Protocol):
    """Keeps published checkpoints; :class:`phyletic.checkpoints.LocalCheckpoints` says what each function does.

    ``phyletic.testing.checkpoint_stores.CheckpointStoreConformance`` is what every store has to pass.
    """

    def publish(self, id: str, state: Mapping[str, object]) -> CheckpointReference:
        """Publish a state."""
        ...

    def publish_folder(self, id: str, folder: Path, *, move: bool = False) -> CheckpointReference:
        """Publish a user's own files."""
        ...

    def staging(self, id: str) -> Path:
        """Return an empty folder to write files into, for ``publish_folder(..., move=True)``."""
        ...

    def open(self, reference: CheckpointReference) -> OpenCheckpoint:
        """Open a published checkpoint."""
        ...

    def verify(self, reference: CheckpointReference) -> None:
        """Compare a checkpoint's bytes with its digest."""
        ...

    def path(self, id: str) -> Path:
        """Return where a checkpoint can be read."""
        ...

    def exists(self, id: str) -> bool:
        """Whether a checkpoint is published."""
        ...

    def ids(self) -> list[str]:
        """Return the ids of all that is published."""
        ...

    def delete(self, *ids: str, durable: bool = True) -> None:
        """Remove checkpoints."""
        ...

    def sweep(self, keep: Collection[str] = ()) -> None:
        """Remove what processes that are gone left unfinished."""
        ...

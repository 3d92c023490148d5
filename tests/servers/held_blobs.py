"""A slow store of checkpoints: what is put there waits for as long as a test wants, in any process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from phyletic.testing.training import Journal


class HeldBlobs:
    """Blobs that are put only once a file is gone.

    Args:
        blobs: Where they are put then.
        folder: Of the file ``hold``, and of ``puts``, a journal of what is being put and what is.
        seconds: How long each put takes besides.
        before: Called before each put, with the first key.
    """

    def __init__(
        self, blobs: Any, folder: Path, seconds: float = 0.0, before: Callable[[str], object] = lambda key: None
    ) -> None:
        self._blobs = blobs
        self._folder = folder
        self._seconds = seconds
        self._before = before
        self._journal = Journal(folder / "puts")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._blobs, name)

    def put(self, files: Iterable[tuple[str, Any]]) -> None:
        """Wait, then put."""
        self._journal.note(putting=True)
        waited = 0.0
        while (self._folder / "hold").exists():
            if waited > 20:
                raise TimeoutError("nothing let this upload through")
            time.sleep(0.005)
            waited += 0.005
        time.sleep(self._seconds)
        entries = iter(files)
        first = next(entries)
        self._before(first[0])
        self._blobs.put(file for part in ([first], entries) for file in part)
        self._journal.note(put=first[0])


def hold_uploads(source: Any, folder: Path, seconds: float = 0.0, **options: Any) -> None:
    """Make a source of trials put checkpoints through :class:`HeldBlobs`, in whatever process it is.

    Args:
        source: What training code gets.
        folder: As for :class:`HeldBlobs`.
        seconds: As for :class:`HeldBlobs`.
        **options: As for :class:`HeldBlobs`.
    """
    store = source._store
    if not isinstance(store._blobs, HeldBlobs):
        store._blobs = HeldBlobs(store._blobs, folder, seconds, **options)

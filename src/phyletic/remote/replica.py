"""A study of a server, as rows of a database in this process: so every query is the one implementation that exists.

Before each read the copy asks the server for what was written since; it costs one call that brings the changes alone.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from phyletic.errors import NotFound, StorageUnsupported, Unreachable
from phyletic.storage.database import open_database
from phyletic.storage.mirror import StudyRows, put_rows

if TYPE_CHECKING:
    from sqlalchemy import Connection as Reader

    from phyletic.remote.connection import Connection

_PATIENCE_SECONDS = 5.0


class Replica:
    """A copy of one study; implements :class:`phyletic.storage.database.Database` for reading.

    Args:
        connection: The server.
        study: The study's name.
        folder: Folder of what belongs to the study on this machine: the logs of its workers.

    Attributes:
        patience: Seconds for which a server that does not answer is asked again before reading raises Unreachable.
    """

    def __init__(self, connection: Connection, study: str, folder: Path) -> None:
        self._connection = connection
        self._study = study
        self._folder = folder
        self._copy = open_database(None)
        self._lock = threading.RLock()
        self._reading = 0
        self._since = -1
        self._uuid: str | None = None
        self.patience = _PATIENCE_SECONDS
        self.location = connection.url
        self.private = False
        self.owned = False

    def own(self) -> None:
        """Raise StorageUnsupported: the server owns the study."""
        raise StorageUnsupported(f"{self.location} owns its studies: change them by the methods of Study")

    def release(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Forget the copy."""
        self._copy.close()

    def transaction(self, durable: bool = True) -> AbstractContextManager[Reader]:
        """Raise StorageUnsupported: the server writes."""
        raise StorageUnsupported(f"{self.location} writes its studies: change them by the methods of Study")

    @contextmanager
    def read(self) -> Iterator[Reader]:
        """Give a connection to the copy, which is brought up to date first.

        Raises:
            Unreachable: The server does not answer.
            NotFound: It has no such study any more.
        """
        with self._lock:
            if not self._reading:
                # a finalizer may read too, and must not do so in the middle of this
                with self._connection.deferred.calling():
                    self._follow()
            self._reading += 1
            try:
                with self._copy.read() as reader:
                    yield reader
            finally:
                self._reading -= 1

    def folder(self, purpose: str) -> Path:
        """Return the folder for what belongs to the study on this machine."""
        return self._folder / purpose

    def _follow(self) -> None:
        """Take what was written since the last read: passes of pages, until one page holds all that is left."""
        while True:
            rows = self._rows()
            reached, single = rows.study.counters.sequence, not rows.more
            self._take(rows)
            after_trial, after_event = None, None
            while rows.more:
                after_trial = rows.trials[-1].trial.number if rows.trials else after_trial
                after_event = rows.events[-1].sequence if rows.events else after_event
                rows = self._rows(after_trial, after_event)
                self._take(rows)
            self._since = reached
            if single:
                return

    def _rows(self, after_trial: int | None = None, after_event: int | None = None) -> StudyRows:
        """Return a page.

        Args:
            after_trial: Number of the last trial of the page before.
            after_event: Sequence number of its last event.
        """
        end, pause = time.monotonic() + self.patience, 0.1
        while True:
            try:
                return self._connection.rows(self._study, self._since, after_trial=after_trial, after_event=after_event)
            except Unreachable:
                if time.monotonic() > end:
                    raise
                time.sleep(pause)
                pause = min(2 * pause, 5.0)

    def _take(self, rows: StudyRows) -> None:
        uuid = rows.study.identity.uuid
        if self._uuid is not None and uuid != self._uuid:
            raise NotFound(f"study {self._study!r} of {self.location} was deleted, and another one has its name")
        self._uuid = uuid
        with self._copy.transaction() as connection:
            put_rows(connection, rows)

"""Which checkpoints of a database's studies a client may read, write and drop: decided from what is stored."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sqlalchemy import Connection

from phyletic.checkpoints import Blobs, FolderBlobs, blobs_at
from phyletic.checkpoints.object_address import is_url
from phyletic.coordinator.saves import save_id
from phyletic.errors import NotFound
from phyletic.records import CheckpointState
from phyletic.service.checkpoint_limits import CheckpointLimits
from phyletic.service.checkpoint_routes import CheckpointRoutes
from phyletic.service.tokens import Tokens
from phyletic.service.uploads import Uploads
from phyletic.storage import Database, queries
from phyletic.storage.changes import StoredStudy

if TYPE_CHECKING:
    from starlette.routing import Route

_ABANDONED = 86400.0


def checkpoint_routes(
    database: Database, tokens: Tokens, *, now: float, limits: CheckpointLimits | None = None
) -> list[Route]:
    """Return the routes that serve the checkpoints of a database's studies, and drop uploads abandoned for a day.

    Args:
        database: The database; uploads are received into a folder beside it.
        tokens: Who may call.
        now: The time in seconds since 1970.
        limits: The limits of bytes.
    """
    uploads = Uploads(database.folder("uploads"))
    uploads.sweep(now - _ABANDONED)
    return CheckpointRoutes(StoredCheckpoints(database), tokens, uploads, limits or CheckpointLimits()).routes()


class StoredCheckpoints:
    """The checkpoints of the studies in a database, for :class:`phyletic.service.checkpoint_routes.CheckpointRoutes`.

    A running attempt's id is stored before its worker learns it, and the ids of its saves follow from it.

    Args:
        database: Only read.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def blobs(self, study: str) -> Blobs:
        """Return the blobs of a study.

        Raises:
            NotFound: There is no such study.
        """
        with self._database.read() as connection:
            remembered = self._stored(connection, study).control.checkpoints
        if remembered is not None and is_url(remembered):
            return blobs_at(remembered)
        folder = self._database.folder("checkpoints") if remembered is None else Path(remembered)
        return FolderBlobs(folder, durable=not self._database.private)

    def may(self, study: str, id: str, action: Literal["read", "write", "discard"]) -> bool:
        """Whether a checkpoint may be read, written or discarded.

        One that was told is never written or discarded. One whose attempt ended untold may be written: its worker
        learns only from the answer to its result that it is late, and the coordinator has the bytes deleted then.

        Args:
            study: The study.
            id: The checkpoint's id.
            action: What is to be done with it.

        Raises:
            NotFound: There is no such study.
        """
        with self._database.read() as connection:
            stored = self._stored(connection, study)
            state = queries.checkpoint_state(connection, stored.id, id)
            if action == "read":
                warm = stored.identity.warm_start
                return (
                    state is not None
                    or (warm is not None and warm.id == id)
                    or queries.is_being_published(connection, stored.id, id)
                    or self._is_save(connection, stored.id, id, told=True)
                )
            running = queries.is_being_published(connection, stored.id, id)
            if running or (state is None and self._is_save(connection, stored.id, id, told=False)):
                return True
            return action == "write" and state in (CheckpointState.CONDEMNED, CheckpointState.COLLECTED)

    @staticmethod
    def _is_save(connection: Connection, study_id: int, id: str, *, told: bool) -> bool:
        """Whether an id is that of a running attempt's next save or, if ``told``, also of a trial's latest one.

        Args:
            connection: Where to read.
            study_id: The study.
            id: The id.
            told: Whether saves that were told count.
        """
        for trial, _, publishes in queries.open_trials(connection, study_id):
            saved = trial.saved
            if told and saved is not None and saved.checkpoint.id == id:
                return True
            count = 0 if saved is None or saved.attempt != trial.attempts else saved.count
            if publishes is not None and save_id(publishes, count + 1) == id:
                return True
        return False

    @staticmethod
    def _stored(connection: Connection, study: str) -> StoredStudy:
        stored = queries.load_study(connection, study)
        if stored is None:
            raise NotFound(f"there is no study {study!r}")
        return stored

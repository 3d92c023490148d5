"""Studies of a server."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from phyletic.checkpoints import Checkpoints, FolderBlobs
from phyletic.checkpoints.blobs import Blobs, blobs_at
from phyletic.checkpoints.checkpoint_names import study_path
from phyletic.coordinator.control import check_control
from phyletic.coordinator.messages import Control
from phyletic.errors import InvalidArgument, StudyMismatch
from phyletic.evolution import Algorithm
from phyletic.records import StudyIdentity
from phyletic.remote.connection import Found
from phyletic.remote.connections import connection_to, is_here
from phyletic.remote.remote_owner import RemoteOwner
from phyletic.remote.replica import Replica
from phyletic.space import Space
from phyletic.storage.changes import StoredStudy
from phyletic.study.identity import Arguments, create_identity


class RemoteHome:
    """A server; implements :class:`phyletic.study.home.Home`.

    Args:
        url: ``"grpc://host:port"``.
    """

    def __init__(self, url: str) -> None:
        self._connection = connection_to(url)
        self.location = url
        self._checkpoints: dict[str, str] = {}

    def stored(self, name: str) -> StoredStudy | None:
        """Return a study as it is stored now; None if the server has none of that name."""
        found = self._connection.study(name)
        if found is None:
            return None
        self._checkpoints[name] = found.checkpoints
        return found.stored

    def create(self, space: Space, given: Arguments) -> StoredStudy:
        """Create a study, or return it if another process has just created it; see :meth:`Home.create`."""
        found: Found | None
        if given.warm_start is not None:
            allowed = "None for a study of a server: create it on the server's machine"
            raise InvalidArgument("warm_start", str(given.warm_start), allowed)
        try:
            found = self._connection.create(create_identity(given, space), given.control)
        except StudyMismatch:
            # another client was quicker; a seed that was drawn here is no difference
            found = self._connection.study(given.name)
            if found is None:
                raise
        self._checkpoints[given.name] = found.checkpoints
        return found.stored

    def owner(
        self, stored: StoredStudy, space: Space, algorithm: Algorithm, given: Arguments
    ) -> tuple[RemoteOwner, Control]:
        """Return the study's owner; see :meth:`Home.owner`.

        Args:
            stored: The study's row.
            space: Its space.
            algorithm: Its algorithm.
            given: The user's arguments; ``checkpoints`` says where this machine sees the folder of checkpoints.
        """
        name = stored.identity.name
        checkpoints = Checkpoints(self._blobs(name, given.checkpoints))
        state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
        folder = Path(state) / "phyletic" / stored.identity.uuid
        owner = RemoteOwner(
            self._connection,
            stored.identity,
            space=space,
            algorithm=algorithm,
            checkpoints=checkpoints,
            replica=Replica(self._connection, name, folder),
        )
        check_control(given.control)
        return owner, msgspec.structs.replace(given.control, checkpoints=None)

    def _blobs(self, name: str, folder: Path | None) -> Blobs:
        """Return the blobs of a study: in a folder, if this machine sees it, or else through the server.

        Args:
            name: The study.
            folder: Where the user sees its folder; None if the user does not say.
        """
        if folder is not None:
            return FolderBlobs(folder)
        if is_here(self.location):
            return blobs_at(self._checkpoints[name])
        url = self._connection.http_url()
        if url is None:
            allowed = "the folder of the study's checkpoints as this machine sees it, since the server has no HTTP"
            raise InvalidArgument("checkpoints", None, allowed)
        return blobs_at(f"{url}{study_path(name)}/checkpoints")

    def studies(self) -> list[StudyIdentity]:
        """Return the identities of the studies, in the order in which they were created."""
        return self._connection.studies()

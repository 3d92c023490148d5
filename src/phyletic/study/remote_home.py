"""Studies of a server."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from phyletic.checkpoints import Blobs, Checkpoints, FolderBlobs, blobs_at
from phyletic.checkpoints.addresses import StoreSettings, object_blobs
from phyletic.checkpoints.checkpoint_names import study_path
from phyletic.checkpoints.object_address import is_object_store, is_url
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
        if given.checkpoints is not None and is_url(given.checkpoints):
            allowed = "None for a new study of a server: create it on the server's machine, whose credentials it needs"
            raise InvalidArgument("checkpoints", given.checkpoints, allowed)
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
        checkpoints = Checkpoints(self._blobs(name, given.checkpoints, given.store))
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

    def _blobs(self, name: str, place: str | None, settings: StoreSettings) -> Blobs:
        """Return the blobs of a study: in an object store or a folder, if this machine sees it, or through the server.

        Args:
            name: The study.
            place: Where the user sees its checkpoints; None if the user does not say.
            settings: How to use a store that lies elsewhere.
        """
        stored = self._checkpoints[name].partition("#")[0]
        if place is None and is_object_store(stored):
            place = stored
        if place is not None and is_object_store(place):
            return object_blobs(place, settings)
        if place is not None and is_url(place):
            raise InvalidArgument("checkpoints", place, "an object store or a folder, which other machines can reach")
        if place is not None:
            settings.require_none(place)
            return FolderBlobs(place)
        if is_here(self.location):
            settings.require_none(stored)
            return blobs_at(self._checkpoints[name])
        url = self._connection.http_url()
        if url is None:
            allowed = "the folder of the study's checkpoints as this machine sees it, since the server has no HTTP"
            raise InvalidArgument("checkpoints", None, allowed)
        return blobs_at(settings.added_to(f"{url}{study_path(name)}/checkpoints"))

    def studies(self) -> list[StudyIdentity]:
        """Return the identities of the studies, in the order in which they were created."""
        return self._connection.studies()

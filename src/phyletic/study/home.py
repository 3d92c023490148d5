"""Where studies are kept: a database that this process opens, or a server that it asks."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from phyletic.coordinator.messages import Control
from phyletic.coordinator.ownership import Ownership
from phyletic.evolution import Algorithm
from phyletic.records import StudyIdentity
from phyletic.space import Space
from phyletic.storage.changes import StoredStudy
from phyletic.study.identity import Arguments

SERVERS = ("grpc://", "grpcs://", "http://", "https://")
"""How the URLs of servers begin."""


class Home(Protocol):
    """A place that keeps studies."""

    @property
    def location(self) -> str:
        """Where it is, for messages."""

    def stored(self, name: str) -> StoredStudy | None:
        """Return a study as it is stored now; None if it does not exist."""

    def create(self, space: Space, given: Arguments) -> StoredStudy:
        """Create a study, or return it if another process has just created it.

        Args:
            space: The study's space.
            given: The user's arguments.

        Raises:
            InvalidArgument: An argument is missing or cannot be used; nothing is written then.
        """

    def owner(
        self, stored: StoredStudy, space: Space, algorithm: Algorithm, given: Arguments
    ) -> tuple[Ownership, Control]:
        """Return the study's owner, and the settings that the arguments give it.

        Args:
            stored: The study's row.
            space: Its space.
            algorithm: Its algorithm.
            given: The user's arguments.
        """

    def studies(self) -> list[StudyIdentity]:
        """Return the identities of the studies, in the order in which they were created."""


def home_at(storage: str | Path | None) -> Home:
    """Return the home at a place; nothing is read or written yet.

    Args:
        storage: As for ``Study``.

    Raises:
        InvalidArgument: It is no place for studies.
        MissingDependency: It is a server's URL, and the libraries for it are missing.
    """
    if isinstance(storage, str) and storage.startswith(SERVERS):
        from phyletic.study.remote_home import RemoteHome

        return RemoteHome(storage)
    from phyletic.study.local_home import LocalHome

    return LocalHome(storage)

"""The studies of a server, listed and administered."""

from __future__ import annotations

from collections.abc import Iterator

from phyletic.errors import InvalidArgument
from phyletic.evolution.arguments import check_integer
from phyletic.records import StudyChange, StudyIdentity
from phyletic.study.home import SERVERS, home_at
from phyletic.study.identity import check_name
from phyletic.study.study import Study


class ConnectedServer:
    """A server of studies. Use :func:`phyletic.connect`.

    Args:
        url: As for :func:`phyletic.connect`.

    Attributes:
        url: Where it is.
    """

    def __init__(self, url: str) -> None:
        from phyletic.remote.connections import connection_to

        self.url = url
        self._home = home_at(url)
        self._connection = connection_to(url)

    @property
    def version(self) -> str:
        """The version of phyletic that it runs."""
        return self._connection.version()

    def studies(self) -> list[StudyIdentity]:
        """Return the identities of its studies, in the order in which they were created."""
        return self._home.studies()

    def study(self, name: str) -> Study:
        """Return a study: its methods read it, and pause, resize, stop, pin and so on.

        Raises:
            NotFound: The server has none of that name.
        """
        return Study(name, storage=self.url)

    def watch(self, name: str, since: int = -1) -> Iterator[StudyChange]:
        """Yield what is committed to a study, as it happens, until you leave the loop.

        Args:
            name: The study.
            since: Sequence number of the last change that you know; -1 for all.

        Raises:
            Unreachable: The connection was lost: watch again from the last change.
        """
        check_integer("since", since, -1)
        return self._connection.watch(check_name(name), since)

    def __iter__(self) -> Iterator[Study]:
        """Yield its studies, in the order in which they were created."""
        return iter([self.study(identity.name) for identity in self.studies()])

    def __repr__(self) -> str:
        return f"phyletic.connect({self.url!r})"


def connect(url: str) -> ConnectedServer:
    """Connect to a server of studies, which ``phyletic serve`` starts.

    Args:
        url: ``"grpc://host:port"`` or ``"http://host:port"``; ``"grpcs://..."`` or ``"https://..."`` with TLS.

    Raises:
        InvalidArgument: It is no such URL.
        NotAuthenticated: There is no token for it, or the server does not know it.
        Unreachable: No server answers there.

    Example:
        ``for study in ph.connect("grpc://localhost:7070"): print(study.name, study.status().state)``
    """
    if not isinstance(url, str) or not url.startswith(SERVERS):
        raise InvalidArgument("url", url, 'a server, such as "grpc://localhost:7070" or "http://localhost:7071"')
    server = ConnectedServer(url)
    server.version  # noqa: B018 - a server that does not answer is met here
    return server

"""The studies of a server: found, created, listed and read; a host is begun for each at its first command."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace

from phyletic.checkpoints.addresses import StoreSettings
from phyletic.coordinator.messages import Control
from phyletic.errors import InvalidArgument, NotFound
from phyletic.records import StudyIdentity
from phyletic.service.door import check_population
from phyletic.service.hosts import StudyHost
from phyletic.service.own_code import OwnCode
from phyletic.service.session_limit import MOST_SESSIONS, SessionLimit
from phyletic.space import Space
from phyletic.storage import queries
from phyletic.storage.changes import StoredStudy
from phyletic.storage.database import Database, open_database
from phyletic.storage.mirror import MOST_TRIALS, StudyRows, rows_since
from phyletic.study.identity import Arguments, check_name, require_same
from phyletic.study.opening import open_or_create
from phyletic.study.study import Study


class HostedStudies:
    """The studies in one database, which this process owns until :meth:`close`; safe to use from threads.

    Args:
        storage: The database, as for ``Study``.
        code: Functions and classes of the operator's own that studies may use.
        most_sessions: How many sessions of workers the server takes at once.

    Raises:
        StorageOwned: Another process owns it.
        InvalidArgument: It is in memory.
    """

    def __init__(self, storage: str, *, code: OwnCode | None = None, most_sessions: int = MOST_SESSIONS) -> None:
        self.storage = storage
        self.code = code or OwnCode()
        self._limit = SessionLimit(most_sessions)
        self._database = open_database(storage)
        if self._database.private:
            raise InvalidArgument("storage", storage, "a file: what a server decides must survive it")
        self._database.own()
        self._hosts: dict[str, StudyHost] = {}
        self._studies: dict[str, Study] = {}
        self._lock = threading.Lock()
        self._draining = False

    @property
    def database(self) -> Database:
        """Where the studies are stored."""
        return self._database

    @property
    def hosts(self) -> Mapping[str, StudyHost]:
        """The studies that this server decides for, by name."""
        return self._hosts

    @property
    def location(self) -> str:
        """Where the studies are stored."""
        return self._database.location

    def study(self, name: str) -> Study:
        """Return a study, opened to be read.

        Raises:
            NotFound: There is none of that name.
            InvalidArgument: It needs a class that the server's operator did not name.
        """
        with self._lock:
            return self._study(name)

    def _study(self, name: str) -> Study:
        found = self._studies.get(name)
        if found is None:
            stored = load_stored(self._database, name)
            if stored is None:
                raise NotFound(f"there is no study {name[:200]!r} on this server; create it with space=, ...")
            self.code.require_types(stored.identity.algorithm)
            found = self._studies[name] = Study(name, storage=self.storage)
        return found

    def host(self, name: str) -> StudyHost:
        """Return the host of a study.

        Raises:
            NotFound: There is no such study.
            InvalidArgument: It needs a function or a class that the server's operator did not name.
        """
        host = self._hosts.get(name)
        if host is not None:
            return host
        with self._lock:
            if name not in self._hosts:
                study = self._study(name)
                stored = load_stored(self._database, name)
                algorithm = None if stored is None else self.code.stored_algorithm(stored.identity.algorithm)
                if algorithm is not None:
                    study.owner.adopt(algorithm)
                self._hosts[name] = StudyHost(study, limit=self._limit)
                if self._draining:
                    self._hosts[name].drain()
            return self._hosts[name]

    def stored(self, name: str) -> StoredStudy:
        """Return a study as it is stored now, or raise NotFound."""
        self.study(name)
        stored = load_stored(self._database, name)
        if stored is None:
            raise NotFound(f"there is no study {name!r} on this server any more")
        return stored

    def identities(self, only: str | None = None) -> list[StudyIdentity]:
        """Return the identities of the studies, in the order in which they were created.

        Args:
            only: Name of the only one to return; None for all.
        """
        with self._database.read() as connection:
            found = [stored.identity for stored in queries.studies(connection)]
        return [identity for identity in found if only in (None, identity.name)]

    def rows(
        self, name: str, since: int, *, after_trial: int | None, after_event: int | None, limit: int = 0
    ) -> StudyRows:
        """Return a page of what was written to a study; see :func:`phyletic.storage.mirror.rows_since`.

        Args:
            name: The study.
            since: What was written later than this sequence number; -1 for all.
            after_trial: Number of the last trial of the page before.
            after_event: Sequence number of its last event.
            limit: Most trials; 0 for as many as a page may have.
        """
        self.study(name)
        with self._database.read() as connection:
            stored = queries.load_study(connection, name)
            if stored is None:
                raise NotFound(f"there is no study {name!r} on this server any more")
            return rows_since(
                connection,
                stored,
                since,
                after_trial=after_trial,
                after_event=after_event,
                limit=min(limit or MOST_TRIALS, MOST_TRIALS),
            )

    def create(self, identity: StudyIdentity, control: Control, any_seed: bool = False) -> Study:
        """Create a study, or return it if it exists and is the same.

        Args:
            identity: What it is to be; the server draws its uuid.
            control: The settings that it begins with.
            any_seed: Whether a study that exists may have another seed.

        Raises:
            InvalidArgument: A part of it cannot be used; nothing is written then.
            StudyMismatch: It exists with another identity.
        """
        given = arguments_of(identity, control, self.code)
        with self._lock:
            stored = load_stored(self._database, identity.name)
            if stored is None:
                open_or_create(self.storage, given)
            else:
                require_same(stored.identity, replace(given, seed=None) if any_seed else given)
            return self._study(identity.name)

    @property
    def unready(self) -> str:
        """Why no trial can be granted now, in words that strangers may read; "" if trials can be."""
        if self._draining:
            return "the server is stopping"
        refused = next((host.refused for host in list(self._hosts.values()) if host.refused), "")
        return refused.replace(self.location, "the database")

    def drain(self) -> None:
        """Grant no more trials."""
        self._draining = True
        for host in list(self._hosts.values()):
            host.drain()

    def close(self) -> None:
        """Answer what has arrived, and give the database up."""
        self.drain()
        for host in self._hosts.values():
            host.close()
        self._hosts.clear()
        self._studies.clear()
        self._database.release()


def load_stored(database: Database, name: str) -> StoredStudy | None:
    """Return a study as it is stored now; None if it does not exist."""
    with database.read() as connection:
        return queries.load_study(connection, name)


def arguments_of(identity: StudyIdentity, control: Control, code: OwnCode) -> Arguments:
    """Return the arguments that create a study of which a client has sent the identity.

    Args:
        identity: The identity.
        control: The settings that it begins with.
        code: What it may use beside phyletic's own rules.

    Raises:
        InvalidArgument: A part of it cannot be used.
    """
    if not identity.metrics:
        raise InvalidArgument("metrics", identity.metrics, "at least one, the first of which ranks the members")
    if identity.warm_start is not None:
        raise InvalidArgument("warm_start", identity.warm_start, "None for a study of a server")
    space, algorithm = Space.from_json(identity.space), code.algorithm(identity.algorithm)
    check_population(algorithm, space)
    return Arguments(
        name=check_name(identity.name),
        space=space,
        metrics=identity.metrics,
        algorithm=algorithm,
        seed=identity.seed,
        initial=identity.initial,
        sampling=identity.sampling,
        checkpoints=None,
        warm_start=None,
        control=control,
        store=StoreSettings(),
    )

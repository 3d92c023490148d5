"""Studies in a database that this process opens."""

from __future__ import annotations

import platform
import secrets
import socket
import sys
import time
import weakref
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from phyletic.checkpoints import Blobs, Checkpoints, FolderBlobs, blobs_at
from phyletic.checkpoints.addresses import StoreSettings, object_blobs
from phyletic.checkpoints.object_address import MEMORY, is_object_store
from phyletic.coordinator.control import check_control
from phyletic.coordinator.inbox import Inbox
from phyletic.coordinator.messages import Control
from phyletic.coordinator.owner import Owner
from phyletic.coordinator.saves import save_id, saves_of
from phyletic.errors import InvalidArgument, NotFound, StorageOwned
from phyletic.evolution import Algorithm
from phyletic.records import Budget, CheckpointState, StudyControl, StudyIdentity
from phyletic.space import Space
from phyletic.storage import queries
from phyletic.storage.changes import StoredStudy
from phyletic.storage.database import Database, open_database
from phyletic.storage.writing import create_study, delete_study
from phyletic.study.home import SERVERS
from phyletic.study.identity import Arguments, create_identity
from phyletic.version import __version__
from phyletic.workers.interrupts import Interrupts
from phyletic.workers.process_tree import kill_survivors

_FRAMEWORKS = (
    *("flax", "gymnasium", "jax", "keras", "lightgbm", "lightning", "numpy", "optax", "sklearn"),
    *("stable_baselines3", "tensorflow", "torch", "transformers", "xgboost"),
)

_ANSWER_SECONDS = 4.0
"""How long a store may take to answer at first; a try that hangs makes it twice as long."""

_owners: weakref.WeakValueDictionary[tuple[int, str], Owner] = weakref.WeakValueDictionary()


class LocalHome:
    """A database; implements :class:`phyletic.study.home.Home`.

    Args:
        storage: As for ``Study``.
    """

    def __init__(self, storage: str | Path | None) -> None:
        self._database = open_database(storage)
        self.location = self._database.location

    def stored(self, name: str) -> StoredStudy | None:
        """Return a study as it is stored now; None if the study or its file does not exist."""
        return stored_study(self._database, name)

    def create(self, space: Space, given: Arguments) -> StoredStudy:
        """Create a study, or return it if another process has just created it; see :meth:`Home.create`."""
        return _create(self._database, space, given)

    def owner(self, stored: StoredStudy, space: Space, algorithm: Algorithm, given: Arguments) -> tuple[Owner, Control]:
        """Return the study's owner, which all Study objects of this process share; see :meth:`Home.owner`."""
        checkpoints, control = _checkpoints(self._database, stored, given)
        return _shared_owner(self._database, stored.identity, space, algorithm, checkpoints), control

    def studies(self) -> list[StudyIdentity]:
        """Return the identities of the studies, in the order in which they were created."""
        with self._database.read() as connection:
            return [stored.identity for stored in queries.studies(connection)]


def _checkpoints(database: Database, stored: StoredStudy, given: Arguments) -> tuple[Checkpoints, Control]:
    """Return the study's checkpoints, and the settings to change: also the folder, if the user names another one.

    Args:
        database: The database.
        stored: The study's row.
        given: The user's arguments.
    """
    before = stored.control.checkpoints or str(database.folder("checkpoints"))
    place = before if given.checkpoints is None else given.checkpoints
    checkpoints = Checkpoints(_blobs(database, place, given.store))
    if place == before:
        return checkpoints, given.control
    _require_reachable(place)
    with database.read() as connection:
        known = queries.checkpoints(connection, stored.id, [CheckpointState.DURABLE])
    if known and not any(checkpoints.exists(checkpoint.id) for checkpoint in known):
        allowed = f"where the checkpoints of study {stored.identity.name!r} are: they were in {before}"
        raise InvalidArgument("checkpoints", place, allowed)
    return checkpoints, msgspec.structs.replace(given.control, checkpoints=place)


def _blobs(database: Database, place: str, settings: StoreSettings) -> Blobs:
    """Return the blobs of a study's checkpoints.

    Args:
        database: The study's database.
        place: The path of a folder, or an address.
        settings: How to use a store that lies elsewhere.
    """
    if is_object_store(place):
        return object_blobs(place, settings)
    settings.require_none(place)
    return blobs_at(place) if place == MEMORY else FolderBlobs(place, durable=not database.private)


def _require_reachable(place: str) -> None:
    """Raise StoreUnreachable, within some seconds, if checkpoints are to be in a store that does not answer.

    Args:
        place: The path of a folder, or an address.
    """
    if is_object_store(place):
        from phyletic.checkpoints.object_store import ObjectStore

        ObjectStore(place, _ANSWER_SECONDS).first_names()


def stored_study(database: Database, name: str) -> StoredStudy | None:
    """Return a study as it is stored now; None if the study or its file does not exist."""
    try:
        with database.read() as connection:
            return queries.load_study(connection, name)
    except NotFound:
        return None


def _create(database: Database, space: Space, given: Arguments) -> StoredStudy:
    """Create a study, or return it if another process has just created it.

    Args:
        database: The database.
        space: The study's space.
        given: The user's arguments.
    """
    identity = create_identity(given, space)
    first = {"budget": Budget(), "population": identity.algorithm["population"], **check_control(given.control)}
    place = given.checkpoints or str(database.folder("checkpoints"))
    if place != str(database.folder("checkpoints")):
        first["checkpoints"] = place
    store = Checkpoints(_blobs(database, place, given.store))
    _require_reachable(place)
    try:
        database.own()
    except StorageOwned:
        # the process that owns it may have just created this study
        stored = stored_study(database, given.name)
        if stored is None:
            raise
        return stored
    control = StudyControl(**first)
    try:
        return stored_study(database, given.name) or _insert(database, identity, control, given.warm_start, store)
    finally:
        database.release()


def _insert(
    database: Database, identity: StudyIdentity, control: StudyControl, warm_start: Path | None, store: Checkpoints
) -> StoredStudy:
    """Insert a study, with a copy of the checkpoint that its newborns begin with.

    Args:
        database: The database.
        identity: The study's identity, without that checkpoint.
        control: Its control.
        warm_start: That checkpoint; None if they begin with none.
        store: The study's checkpoints.
    """
    copied = None if warm_start is None else store.adopt(secrets.token_hex(16), warm_start)
    used = False
    try:
        with database.transaction() as connection:
            stored = queries.load_study(connection, identity.name)
            if stored is None:
                complete = msgspec.structs.replace(identity, warm_start=copied)
                stored = create_study(connection, complete, control, time.time())
                used = True
        return stored
    finally:
        if copied is not None and not used:
            store.delete(copied.id)


def delete(name: str, storage: str | Path) -> None:
    """Delete a study and its checkpoints; see :func:`phyletic.delete_study`.

    The bytes go first, so that a deletion that is interrupted can be said again.

    Args:
        name: The study.
        storage: Where it is stored.
    """
    if isinstance(storage, str) and storage.startswith(SERVERS):
        allowed = "a database: delete a server's study on its machine, while the server does not run"
        raise InvalidArgument("storage", storage, allowed)
    database = open_database(storage)
    with database.read() as connection:
        stored = queries.load_study(connection, name)
        if stored is None:
            raise NotFound(f"there is no study {name!r} in {database.location}")
        known = [
            one.id for one in queries.checkpoints(connection, stored.id) if one.state is not CheckpointState.COLLECTED
        ]
        opened = queries.open_trials(connection, stored.id)
        running = [id for _, _, id in opened if id is not None]
        running += [save_id(id, saves_of(trial) + 1) for trial, _, id in opened if id is not None]
        running += [trial.saved.checkpoint.id for trial, _, _ in opened if trial.saved is not None]
    for owner in list(_owners.values()):
        if owner.begun and owner.database.location == database.location:
            raise StorageOwned(f"this process owns {database.location}: close its studies (study.close()) first")
    database.own()
    try:
        place = stored.control.checkpoints or str(database.folder("checkpoints"))
        warm = stored.identity.warm_start
        ids = [*known, *running, *([] if warm is None else [warm.id])]
        Checkpoints(_blobs(database, place, StoreSettings())).delete(*ids)
        with database.transaction() as connection:
            delete_study(connection, stored.id)
    finally:
        database.release()


def _shared_owner(
    database: Database, identity: StudyIdentity, space: Space, algorithm: Algorithm, checkpoints: Checkpoints
) -> Owner:
    """Return the owner that all Study objects of this process share.

    Args:
        database: The database, with the study in it.
        identity: What never changes.
        space: The study's space.
        algorithm: The study's algorithm, with the user's own functions if it has any.
        checkpoints: The study's checkpoints.
    """
    # two Study objects of one process (a notebook's cell run again) share an owner, which keeps its database alive
    key = (id(database), identity.uuid)
    owner = _owners.get(key)
    if owner is not None and owner.checkpoints.location != checkpoints.location:
        used = owner.checkpoints.location
        allowed = f"{used}, which another Study object of this process uses; delete that one first"
        raise InvalidArgument("checkpoints", checkpoints.location, allowed)
    if owner is None:
        owner = _owners[key] = Owner(
            database,
            identity.name,
            space=space,
            algorithm=algorithm,
            checkpoints=checkpoints,
            evict=kill_survivors,
            about=about_this_process,
            inbox=None if database.private else Inbox(database.folder("inbox"), identity.uuid),
            interrupt=partial(Interrupts.request, identity.uuid),
        )
    return owner


def about_this_process() -> dict[str, Any]:
    """Return what a study records of each owner: the host, and the versions of Python, phyletic and frameworks.

    It lists only frameworks that are imported.

    Example:
        >>> sorted(about_this_process())
        ['frameworks', 'host', 'phyletic', 'python']
    """
    found = {name: getattr(sys.modules.get(name), "__version__", None) for name in _FRAMEWORKS}
    return {
        "host": socket.gethostname(),
        "python": platform.python_version(),
        "phyletic": __version__,
        "frameworks": {name: str(version) for name, version in found.items() if version is not None},
    }

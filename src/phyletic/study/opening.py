"""Opening a study, or creating it: everything is checked before anything is written."""

from __future__ import annotations

import time
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from phyletic.checkpoints import Checkpoints, FolderBlobs
from phyletic.coordinator.control import check_count
from phyletic.coordinator.inbox import Inbox
from phyletic.coordinator.messages import Control
from phyletic.coordinator.owner import Owner
from phyletic.disk import local_path
from phyletic.errors import InvalidArgument, NotFound, StorageOwned
from phyletic.evolution import Algorithm
from phyletic.evolution.algorithm import check_algorithm
from phyletic.evolution.arguments import check_seed
from phyletic.evolution.codec import algorithm_from_json
from phyletic.records import Budget, CheckpointState, Metric, StudyControl, StudyIdentity
from phyletic.records.values import is_unicode
from phyletic.space import Space
from phyletic.storage import queries
from phyletic.storage.changes import StoredStudy
from phyletic.storage.database import Database, open_database
from phyletic.storage.writing import create_study
from phyletic.study.identity import (
    Sampling,
    check_name,
    check_sampling,
    create_identity,
    describe_algorithm,
    make_initial,
    make_metrics,
    make_space,
    require_same,
)
from phyletic.study.owner_record import about_this_process
from phyletic.workers.interrupts import Interrupts
from phyletic.workers.process_tree import kill_survivors

__all__ = ["Arguments", "Opened", "check_arguments", "check_budget", "open_or_create", "stored_study"]

_owners: weakref.WeakValueDictionary[tuple[int, str], Owner] = weakref.WeakValueDictionary()


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """What a user gave for a study, each checked by itself; None is what was left out.

    Attributes:
        name: The study's name.
        space: What may vary.
        metrics: What is reported.
        algorithm: How members evolve.
        seed: From which all randomness is derived.
        initial: The first members' values; checked once the space is known.
        sampling: How other first values are drawn.
        checkpoints: The folder of its checkpoints.
        control: What was given of its control.
    """

    name: str
    space: Space | None
    metrics: tuple[Metric, ...] | None
    algorithm: Algorithm | None
    seed: int | None
    initial: Sequence[Mapping[str, Any]] | None
    sampling: Sampling | None
    checkpoints: Path | None
    control: Control


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A study that was opened, and what works on it.

    Attributes:
        database: Where it is stored.
        stored: It, as it was stored when it was opened.
        space: What may vary.
        algorithm: How members evolve.
        checkpoints: Where its checkpoints are.
        owner: The coordinator of this process.
        change: What was given of its control; None where nothing of it differs from what is stored.
    """

    database: Database
    stored: StoredStudy
    space: Space
    algorithm: Algorithm
    checkpoints: Checkpoints
    owner: Owner
    change: Control | None


def check_budget(budget: object) -> Budget:
    """Return a budget, or raise InvalidArgument."""
    if not isinstance(budget, Budget):
        raise InvalidArgument("budget", budget, "a Budget, such as ph.Budget(steps=3000)")
    return budget


def check_arguments(
    name: str,
    *,
    space: Mapping[str, Any] | Space | None,
    metric: object,
    mode: object,
    algorithm: object,
    seed: object,
    initial: Sequence[Mapping[str, Any]] | None,
    sampling: object,
    checkpoints: str | Path | None,
    budget: object,
    **counts: object,
) -> Arguments:
    """Return the arguments of a study, each checked by itself; see :class:`~phyletic.study.study.Study`.

    Raises:
        InvalidArgument: One cannot be used.
    """
    check_name(name)
    checked_budget = None if budget is None else check_budget(budget)
    control: dict[str, Any] = {count: check_count(count, value) for count, value in counts.items() if value is not None}
    return Arguments(
        name=name,
        space=None if space is None else make_space(space),
        metrics=None if metric is None and mode is None else make_metrics(metric, mode),
        algorithm=None if algorithm is None else check_algorithm(algorithm),
        checkpoints=None if checkpoints is None else _check_folder(checkpoints),
        seed=None if seed is None else check_seed(seed),
        initial=initial,
        sampling=None if sampling is None else check_sampling(sampling),
        control=Control(budget=checked_budget, **control),
    )


def _check_folder(checkpoints: str | Path) -> Path:
    allowed = "a folder whose path is Unicode text, or None for one beside the storage"
    folder = local_path("checkpoints", checkpoints, allowed)
    if not is_unicode(str(folder)):
        # it is remembered with the study
        raise InvalidArgument("checkpoints", str(folder), allowed)
    return folder


def open_or_create(storage: str | Path | None, given: Arguments) -> Opened:
    """Open a study; with a space, create it where there is none of that name.

    Raises:
        InvalidArgument: An argument cannot be used; nothing is written then.
        NotFound: There is no such study, and no space to create it with.
        StudyMismatch: It exists with another identity.
        StorageOwned: It would have to be created, and another process writes the storage.
    """
    database = open_database(storage)
    stored = stored_study(database, given.name)
    if stored is None:
        if given.space is None:
            raise NotFound(f"there is no study {given.name!r} in {database.location}; to create it, give space=, ...")
        stored = _create(database, given.space, given)
    identity = stored.identity
    space = Space.from_json(identity.space)
    _require_same(identity, space, given)
    algorithm = given.algorithm if given.algorithm is not None else algorithm_from_json(identity.algorithm)
    checkpoints, control = _checkpoints(database, stored, given)
    owner = _shared_owner(database, identity, space, algorithm, checkpoints)
    if given.algorithm is not None:
        owner.adopt(given.algorithm)
    return Opened(
        database=database,
        stored=stored,
        space=space,
        algorithm=algorithm,
        checkpoints=checkpoints,
        owner=owner,
        change=control if _differs(control, stored.control) else None,
    )


def _checkpoints(database: Database, stored: StoredStudy, given: Arguments) -> tuple[Checkpoints, Control]:
    """Return where the study's checkpoints are, and what is said of its control: also that, where they were moved."""
    said = stored.control.checkpoints
    before = database.folder("checkpoints") if said is None else Path(said)
    folder = before if given.checkpoints is None else given.checkpoints
    checkpoints = Checkpoints(FolderBlobs(folder, durable=not database.private))
    if folder == before:
        return checkpoints, given.control
    with database.read() as connection:
        known = queries.checkpoints(connection, stored.id, [CheckpointState.DURABLE])
    if known and not any(checkpoints.exists(checkpoint.id) for checkpoint in known):
        allowed = f"a folder that has the checkpoints of study {stored.identity.name!r}: they were in {before}"
        raise InvalidArgument("checkpoints", str(folder), allowed)
    return checkpoints, msgspec.structs.replace(given.control, checkpoints=str(folder))


def stored_study(database: Database, name: str) -> StoredStudy | None:
    """Return what is stored of a study; None where there is none, or no file yet."""
    try:
        with database.read() as connection:
            return queries.load_study(connection, name)
    except NotFound:
        return None


def _create(database: Database, space: Space, given: Arguments) -> StoredStudy:
    metrics = make_metrics(None, None) if given.metrics is None else given.metrics
    algorithm = check_algorithm(given.algorithm)
    identity = create_identity(
        given.name,
        space=space,
        metrics=metrics,
        algorithm=algorithm,
        seed=given.seed,
        initial=() if given.initial is None else given.initial,
        sampling=given.sampling or "random",
    )
    first = {"budget": Budget(), "population": identity.algorithm["population"], **_said(given.control)}
    if given.checkpoints not in (None, database.folder("checkpoints")):
        first["checkpoints"] = str(given.checkpoints)
    control = StudyControl(**first)
    try:
        database.own()
    except StorageOwned:
        # whoever has it may have created this very study since
        stored = stored_study(database, given.name)
        if stored is None:
            raise
        return stored
    try:
        with database.transaction() as connection:
            stored = queries.load_study(connection, given.name)
            return stored or create_study(connection, identity, control, time.time())
    finally:
        database.release()


def _require_same(identity: StudyIdentity, space: Space, given: Arguments) -> None:
    described = None if given.algorithm is None else describe_algorithm(given.algorithm, given.space or space)
    population: int = identity.algorithm["population"]
    require_same(
        identity,
        space=given.space,
        metrics=given.metrics,
        algorithm=described,
        seed=given.seed,
        initial=None if given.initial is None else make_initial(given.initial, space, population),
        sampling=given.sampling,
    )


def _said(control: Control) -> dict[str, Any]:
    return {name: value for name, value in msgspec.structs.asdict(control).items() if value is not None}


def _differs(control: Control, stored: StudyControl) -> bool:
    return any(value != getattr(stored, name) for name, value in _said(control).items())


def _shared_owner(
    database: Database, identity: StudyIdentity, space: Space, algorithm: Algorithm, checkpoints: Checkpoints
) -> Owner:
    # two objects for one study in one process (a notebook's cell run again) decide through the same owner
    key = (id(database), identity.uuid)
    owner = _owners.get(key)
    if owner is not None and owner.database is database and owner.checkpoints.location != checkpoints.location:
        used = owner.checkpoints.location
        allowed = f"{used}, which another Study object of this process uses; delete that one first"
        raise InvalidArgument("checkpoints", checkpoints.location, allowed)
    if owner is None or owner.database is not database:
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

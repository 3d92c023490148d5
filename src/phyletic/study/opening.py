"""Open a study, or create it: everything is checked before anything is written."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from phyletic.checkpoints.object_address import check_object_address, is_url
from phyletic.checkpoints.open_checkpoint import check_packed
from phyletic.coordinator.control import check_control
from phyletic.coordinator.messages import Control
from phyletic.coordinator.ownership import Ownership
from phyletic.disk import local_path
from phyletic.errors import CheckpointError, InvalidArgument, NotFound
from phyletic.evolution import Algorithm
from phyletic.evolution.codec import algorithm_from_json
from phyletic.records.encodings import is_unicode
from phyletic.space import Space
from phyletic.storage.changes import StoredStudy
from phyletic.study.home import home_at
from phyletic.study.identity import Arguments, require_same


class Opened(NamedTuple):
    """An opened study.

    Attributes:
        stored: The study, as it was stored when it was opened.
        space: What may vary.
        algorithm: How members evolve.
        owner: Its owner, with its database and checkpoints.
        change: The settings that differ from the stored ones; None if there are no such settings.
    """

    stored: StoredStudy
    space: Space
    algorithm: Algorithm
    owner: Ownership
    change: Control | None


def check_checkpoints(checkpoints: str | Path) -> str:
    """Return where a study's checkpoints are, the absolute path of a folder or an address, or raise InvalidArgument."""
    if isinstance(checkpoints, str) and is_url(checkpoints):
        return check_object_address("checkpoints", checkpoints)
    allowed = "a folder whose path is Unicode text, the address of an object store, or None for one beside the storage"
    if isinstance(checkpoints, Path) and checkpoints.parts[:1] and is_url(checkpoints.parts[0]):
        raise InvalidArgument("checkpoints", checkpoints, f"{allowed}; write an address as text, not as a path")
    folder = str(local_path("checkpoints", checkpoints, allowed))
    if not is_unicode(folder):
        # the database stores it
        raise InvalidArgument("checkpoints", folder, allowed)
    return folder


def check_warm_start(path: str | Path) -> Path:
    """Return the path of a checkpoint, or raise InvalidArgument."""
    allowed = "the path of a checkpoint: other_study.checkpoint_path()"
    found = local_path("warm_start", path, allowed)
    if not found.is_dir() and not found.is_file():
        raise InvalidArgument("warm_start", str(path), f"{allowed}; nothing is there")
    if found.is_file():
        try:
            check_packed(found)
        except CheckpointError as error:
            raise InvalidArgument("warm_start", str(path), allowed, str(error)) from error
    return found


def open_or_create(storage: str | Path | None, given: Arguments) -> Opened:
    """Open a study; given a space, create it if no study has that name.

    Raises:
        InvalidArgument: An argument cannot be used; nothing is written then.
        NotFound: The study does not exist, and no space was given to create it with.
        StudyMismatch: It exists with another identity.
        StorageOwned: The study has to be created, but another process writes the storage.
    """
    home = home_at(storage)
    stored = home.stored(given.name)
    if stored is None:
        if given.space is None:
            raise NotFound(f"there is no study {given.name!r} in {home.location}; to create it, give space=, ...")
        stored = home.create(given.space, given)
    require_same(stored.identity, given)
    space = Space.from_json(stored.identity.space)
    algorithm = algorithm_from_json(stored.identity.algorithm) if given.algorithm is None else given.algorithm
    owner, control = home.owner(stored, space, algorithm, given)
    if given.algorithm is not None:
        owner.adopt(given.algorithm)
    differs = any(value != getattr(stored.control, name) for name, value in check_control(control).items())
    return Opened(stored, space, algorithm, owner, control if differs else None)

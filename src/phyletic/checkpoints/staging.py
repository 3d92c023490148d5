"""Where checkpoints are made before they are visible, and who is making them.

Everything unfinished lies in one folder, under a name that begins with its owner's token. An owner is a process; it
holds a lock on ``<token>.owner`` for as long as it uses the folder or has something unfinished there, and the system
lets go of the lock when the process ends, however it ends. So what belongs to nobody alive can be told and removed,
over forks, reused process ids and containers with process ids of their own.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import secrets
import threading
import weakref
from collections.abc import Collection, Iterator
from pathlib import Path

from phyletic import disk
from phyletic.checkpoints.read_errors import is_there

__all__ = ["Staging"]

_OWNER = ".owner"


class _Owner:
    """This process as the owner of what it makes in one folder."""

    def __init__(self) -> None:
        self.users = 0
        self.token: str | None = None
        self._descriptor = -1  # open, and so locked

    def become(self, token: str, descriptor: int) -> None:
        """Begin to own under a token, with a descriptor that holds its lock."""
        self.end()
        self.token, self._descriptor = token, descriptor

    def end(self) -> None:
        """Let go of the lock; what is unfinished is then anybody's to sweep."""
        descriptor, self.token, self._descriptor = self._descriptor, None, -1
        if descriptor >= 0:
            with contextlib.suppress(OSError):
                os.close(descriptor)


_owners: dict[Path, _Owner] = {}
_count = itertools.count()
_lock = threading.RLock()  # a store may be collected while this thread has it


def _after_fork() -> None:
    global _lock
    _lock = threading.RLock()  # another thread of the parent may have held it
    for owner in list(_owners.values()):
        owner.end()  # the lock is the parent's, and ends with it


os.register_at_fork(after_in_child=_after_fork)


class Staging:
    """The folder of unfinished checkpoints of one store.

    Args:
        folder: Made when first needed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with _lock:
            self._owner = _owners.setdefault(folder, _Owner())
            self._owner.users += 1
        weakref.finalize(self, _leave, folder, self._owner).atexit = False

    def entry(self, id: str) -> Path:
        """Return a new name for something unfinished of checkpoint ``id``; it is this process's until it ends.

        Raises:
            OSError: The folder cannot be written.
        """
        with _lock:
            token = self._token() or self._own()
            return self.folder / f"{token}.{id}.{next(_count)}"

    def owns(self, path: Path) -> bool:
        """Whether a path is a name that :meth:`entry` gave in this process."""
        token = self._token()
        return token is not None and path.parent == self.folder and path.name.startswith(token + ".")

    def remove(self, ids: Collection[str]) -> None:
        """Remove what is unfinished of checkpoints that nobody makes any more, whoever made it.

        Args:
            ids: Of the checkpoints.

        Raises:
            OSError: Something could not be removed.
        """
        try:
            names = self._names()
        except FileNotFoundError:
            return
        for name in names:
            _, *rest = name.split(".")
            if len(rest) == 2 and rest[0] in ids:
                with contextlib.suppress(FileNotFoundError):  # swept meanwhile
                    disk.remove_tree(self.folder / name)

    def sweep(self, keep: Collection[str] = ()) -> None:
        """Remove what owners that are gone left behind.

        Args:
            keep: Ids of checkpoints to leave alone.

        Raises:
            OSError: Something could not be removed.
        """
        try:
            names = self._names()
        except FileNotFoundError:
            return
        for token in sorted({name.split(".")[0] for name in names}):
            with _held_if_free(self._file(token)) as free:
                if free:
                    self._remove_entries(token, keep)

    def _remove_entries(self, token: str, keep: Collection[str]) -> None:
        kept = False
        for name in self._names():  # listed again: under the lock nothing comes any more
            owner, *rest = name.split(".")
            if owner != token or rest == ["owner"]:
                continue
            if len(rest) == 2 and rest[0] not in keep:
                disk.remove_tree(self.folder / name)
            else:
                kept = True
        if not kept:
            disk.unlink(self._file(token))

    def _names(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())

    def _file(self, token: str) -> Path:
        return self.folder / (token + _OWNER)

    def _token(self) -> str | None:
        """Return this process's token; none if it has none yet, is a fork, or the folder was removed."""
        token = self._owner.token
        return token if token is not None and is_there(self._file(token)) else None

    def _own(self) -> str:
        disk.make_folder(self.folder)
        while True:
            token = secrets.token_hex(8)
            path = self._file(token)
            descriptor = disk.create_file(path)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                owned = _is_open_at(descriptor, path)
            except BaseException:
                os.close(descriptor)
                raise
            if owned:
                self._owner.become(token, descriptor)
                return token
            os.close(descriptor)  # swept between its creation and its lock


def _leave(folder: Path, owner: _Owner) -> None:
    """End one use of a folder; with the last one the lock is let go of, unless something there is unfinished."""
    with _lock:
        owner.users -= 1
        if owner.users == 0 and not _unfinished(folder, owner.token):
            owner.end()
            if _owners.get(folder) is owner:
                del _owners[folder]


def _unfinished(folder: Path, token: str | None) -> bool:
    if token is None:
        return False
    try:
        names = [path.name for path in folder.iterdir()]
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return any(name.startswith(token + ".") and name != token + _OWNER for name in names)


def _is_open_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def _held_if_free(path: Path) -> Iterator[bool]:
    """Lock an owner's file for the block if no living process holds it; a file that is gone counts as free."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:
        yield True
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        yield False
        return
    try:
        yield True
    finally:
        os.close(descriptor)

"""Tell damaged checkpoints from checkpoints that cannot be read now."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ParamSpec, TypeVar

from phyletic.errors import CheckpointDamaged, CheckpointError

P = ParamSpec("P")
Result = TypeVar("Result")

_PASSING = (
    *(errno.EACCES, errno.EPERM),
    *(errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.EINTR),
    *(errno.ENOTCONN, errno.ESTALE, errno.ETIMEDOUT),
)
_NOTHING = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


def unreadable(path: str | Path, error: Exception) -> CheckpointError:
    """Return the error to raise after a failed read.

    A damaged checkpoint is given up and deleted, so the error says "damaged" only if it is about the bytes: the file is
    missing, or the disk cannot read it. Missing rights, memory or file descriptors, or a file system that does not
    answer, may pass.

    Args:
        path: The file.
        error: What reading it raised.

    Example:
        >>> unreadable("a", OSError(errno.EMFILE, "Too many open files"))
        CheckpointError('a cannot be read: [Errno 24] Too many open files')
    """
    passing = isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in _PASSING)
    return (CheckpointError if passing else CheckpointDamaged)(f"{path} cannot be read: {error}")


@contextlib.contextmanager
def reading(path: str | Path) -> Iterator[None]:
    """Turn an OSError of the block, which reads or looks for ``path``, into what :func:`unreadable` returns."""
    try:
        yield
    except OSError as error:
        raise unreadable(path, error) from error


@contextlib.contextmanager
def elsewhere(path: str | Path) -> Iterator[None]:
    """Keep an error of the block, which reads a copy of what lies elsewhere, from looking like damage there.

    A full disk or a failing one on this machine says nothing of the original. FileNotFoundError passes: raise it only
    if the original is missing.

    Args:
        path: The original.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno in _PASSING:
            raise
        raise OSError(errno.EAGAIN, f"cannot be read now: {error}", str(path)) from error


def once_more_if_stale(method: Callable[P, Result]) -> Callable[P, Result]:
    """Let a method that can be repeated be called once more after ESTALE.

    A network file system (NFS, Lustre) says so of a file that another machine replaced or removed, or that the server
    moved; a second look finds what is there now.
    """

    @functools.wraps(method)
    def called(*args: P.args, **kwargs: P.kwargs) -> Result:
        try:
            return method(*args, **kwargs)
        except CheckpointError as error:
            if not isinstance(error.__cause__, OSError) or error.__cause__.errno != errno.ESTALE:
                raise
        return method(*args, **kwargs)

    return called


def is_there(path: str) -> bool:
    """Whether a file or folder has this name.

    :meth:`pathlib.Path.exists` answers no, in some versions of Python, if the folder may not be looked into.

    Raises:
        OSError: The file system does not tell.
    """
    try:
        os.stat(path)
    except OSError as error:
        if error.errno in _NOTHING:
            return False
        raise
    except ValueError:  # no file can have this name
        return False
    return True

"""Tell damaged checkpoints from checkpoints that cannot be read now."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from phyletic.errors import CheckpointDamaged, CheckpointError

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

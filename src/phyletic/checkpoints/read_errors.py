"""What it means that a published file cannot be read, or not even looked for."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from phyletic.errors import CheckpointDamaged, CheckpointError

__all__ = ["is_folder", "is_there", "reading", "unreadable"]

_PASSING = (
    *(errno.EACCES, errno.EPERM),
    *(errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.EINTR),
    *(errno.ENOTCONN, errno.ESTALE, errno.ETIMEDOUT),
)
_NOTHING = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


def unreadable(path: Path, error: Exception) -> CheckpointError:
    """Return the error to raise: what is damaged is given up and deleted, what cannot be read now is not.

    Missing rights, memory or file descriptors, or a file system that does not answer, say nothing of the bytes; that
    the file is missing, or that the disk cannot read it, does.

    Args:
        path: The file.
        error: What reading it raised.

    Example:
        >>> unreadable(Path("a"), OSError(errno.EMFILE, "Too many open files"))
        CheckpointError('a cannot be read: [Errno 24] Too many open files')
    """
    passing = isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in _PASSING)
    return (CheckpointError if passing else CheckpointDamaged)(f"{path} cannot be read: {error}")


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Raise what the system raises in the block, where ``path`` is read or looked for, as :func:`unreadable` has it."""
    try:
        yield
    except OSError as error:
        raise unreadable(path, error) from error


def is_there(path: Path) -> bool:
    """Whether something has this name.

    Unlike :meth:`pathlib.Path.exists`, whose answer depends on the version of Python where a folder may not be looked
    into, this never takes what cannot be known for a no.

    Raises:
        OSError: It cannot be known.
    """
    return _mode(path) is not None


def is_folder(path: Path) -> bool:
    """Whether a folder has this name.

    Raises:
        OSError: It cannot be known.
    """
    return stat.S_ISDIR(_mode(path) or 0)


def _mode(path: Path) -> int | None:
    try:
        return os.stat(path).st_mode  # noqa: PTH116 - quicker than building another Path
    except OSError as error:
        if error.errno in _NOTHING:
            return None
        raise
    except ValueError:  # no file can have this name
        return None

"""What it means that a published file cannot be read."""

from __future__ import annotations

import errno
from pathlib import Path

from phyletic.errors import CheckpointDamaged, CheckpointError

__all__ = ["unreadable"]

_PASSING = (errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.EINTR)


def unreadable(path: Path, error: Exception) -> CheckpointError:
    """Return the error to raise: what is damaged is given up and deleted, what cannot be read now is not.

    Missing rights, memory or file descriptors say nothing of the bytes; that the file is missing, or that the disk
    cannot read it, does.

    Args:
        path: The file.
        error: What reading it raised.

    Example:
        >>> unreadable(Path("a"), OSError(errno.EMFILE, "Too many open files"))
        CheckpointError('a cannot be read: [Errno 24] Too many open files')
    """
    passing = isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in _PASSING)
    return (CheckpointError if passing else CheckpointDamaged)(f"{path} cannot be read: {error}")

"""Files that only their user may read: tokens, and the keys of certificates."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from phyletic import disk
from phyletic.errors import InvalidArgument

_OTHERS = 0o077
_ALLOWED = "a file that only its user can read"


def require_private(name: str, path: Path) -> None:
    """Raise unless a file exists, can be read, and belongs to this user (or root) alone.

    Args:
        name: The argument or variable that names the file, for the message.
        path: The file.

    Raises:
        InvalidArgument: The file cannot be used; the message says what to do.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise InvalidArgument(name, str(path), "a file that exists and can be read", f"{error.strerror}") from None
    if not stat.S_ISREG(status.st_mode):
        raise InvalidArgument(name, str(path), "a regular file")
    if status.st_mode & _OTHERS:
        hint = f"Its mode is {stat.S_IMODE(status.st_mode):04o}, so others can use it: chmod 600 {path}"
        raise InvalidArgument(name, str(path), _ALLOWED, hint)
    if status.st_uid not in (os.geteuid(), 0):
        raise InvalidArgument(name, str(path), _ALLOWED, f"It belongs to user {status.st_uid}")
    if not os.access(path, os.R_OK):
        raise InvalidArgument(name, str(path), "a file that this user may read")


def read_private(name: str, path: Path) -> str:
    """Return the text of a file that only its user may read, without blanks around it.

    Args:
        name: The argument or variable that names the file, for the message.
        path: The file.

    Raises:
        InvalidArgument: The file cannot be used, or others can read it; the message does not repeat its content.
    """
    require_private(name, path)
    try:
        return path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        raise InvalidArgument(name, str(path), "a file of plain text that can be read") from None


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its user may read, durably and in one step, in place of a file of that name.

    Raises:
        OSError: It could not be written; the earlier file is as it was.
    """
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.part")
    disk.unlink(unfinished)
    try:
        disk.write_parts(disk.create_file(unfinished, 0o600), [content])
        disk.rename(unfinished, path)
    except BaseException:
        disk.unlink(unfinished)
        raise
    disk.fsync_folder(path.parent)

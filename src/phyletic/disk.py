"""The one module through which files are written.

Each creation of a file or folder, each write, fsync, rename and unlink passes a failpoint before and after it, so that
a test can stop a process at any of them. What a function here has returned from is on the disk, not only in the
system's cache, wherever its documentation says so.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

from phyletic.errors import InvalidArgument
from phyletic.failpoints import failpoint

__all__ = [
    "Part",
    "create_file",
    "create_folder",
    "fsync",
    "fsync_file",
    "fsync_folder",
    "gathered",
    "local_folder",
    "local_path",
    "make_folder",
    "remove_tree",
    "rename",
    "unlink",
    "write_file",
]

Part: TypeAlias = bytes | bytearray | memoryview
"""A run of bytes; a memoryview is of single bytes (format ``"B"``), contiguous."""

_FULL_FSYNC = getattr(fcntl, "F_FULLFSYNC", None)
_GATHER = 1 << 20
_LONGEST_NAME = 255
"""Bytes of a file's name: on Linux and on macOS, and on whatever their file systems are."""


def local_path(name: str, value: object, allowed: str) -> Path:
    """Return a user's path, absolute and with ``~`` resolved, or raise InvalidArgument.

    Args:
        name: The argument, for the message.
        value: What was given.
        allowed: What would be good, for the message.
    """
    if not isinstance(value, (str, Path)) or not str(value) or "\0" in str(value):
        raise InvalidArgument(name, value, allowed)
    try:
        path = Path(value).expanduser().absolute()
        longest = max(len(os.fsencode(part)) for part in path.parts)
    except (UnicodeEncodeError, RuntimeError):
        raise InvalidArgument(name, str(value), allowed) from None
    except FileNotFoundError:
        raise InvalidArgument(name, str(value), "an absolute path where the current folder is gone") from None
    if longest > _LONGEST_NAME:
        raise InvalidArgument(name, str(value), f"{allowed}; names of files have at most {_LONGEST_NAME} bytes")
    return path


def local_folder(name: str, value: object, allowed: str) -> Path:
    """Return a user's path as :func:`local_path` does, if it is a folder; raise InvalidArgument else."""
    path = local_path(name, value, allowed)
    try:
        exists = path.is_dir()
    except OSError:  # its name is too long
        exists = False
    if not exists:
        raise InvalidArgument(name, str(value), allowed)
    return path


def fsync(descriptor: int) -> None:
    """Force what was written to an open file onto the disk.

    On macOS ``fsync`` leaves the bytes in the drive's own cache; ``F_FULLFSYNC`` does not. File systems without it
    get the plain ``fsync``.
    """
    if _FULL_FSYNC is not None:
        with contextlib.suppress(OSError):
            fcntl.fcntl(descriptor, _FULL_FSYNC)
            return
    os.fsync(descriptor)


def fsync_file(path: Path) -> None:
    """Force the contents of a file that someone else wrote onto the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        failpoint("disk.fsync.before")
        fsync(descriptor)
        failpoint("disk.fsync.after")
    finally:
        os.close(descriptor)


def fsync_folder(path: Path) -> None:
    """Force a folder's list of names onto the disk: only then does a rename in it survive a loss of power."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        failpoint("disk.fsync_folder.before")
        os.fsync(descriptor)  # names are metadata: F_FULLFSYNC is for contents, and not every folder takes it
        failpoint("disk.fsync_folder.after")
    finally:
        os.close(descriptor)


def gathered(parts: Iterable[Part], size: int = _GATHER) -> Iterator[Part]:
    """Join runs of small parts into pieces of up to ``size`` bytes; pass larger parts on as they are, uncopied.

    Example:
        >>> [bytes(piece) for piece in gathered([b"ab", b"c", b"long enough", b"d"], size=4)]
        [b'abc', b'long enough', b'd']
    """
    pending: list[Part] = []
    length = 0
    for part in parts:
        if length + len(part) > size and pending:
            yield b"".join(pending) if len(pending) > 1 else pending[0]
            pending, length = [], 0
        if len(part) > size:
            yield part
        elif len(part):
            pending.append(part)
            length += len(part)
    if pending:
        yield b"".join(pending) if len(pending) > 1 else pending[0]


def create_file(path: Path) -> int:
    """Create a file, and return its descriptor, for reading and writing; its name is not yet durable.

    Args:
        path: A name that must not exist.
    """
    failpoint("disk.create.before")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)
    try:
        failpoint("disk.create.after")
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def create_folder(path: Path, *, fine_if_there: bool = False) -> None:
    """Make a folder in one that is there; its name is not yet durable.

    Args:
        path: The folder.
        fine_if_there: Whether it may exist.
    """
    failpoint("disk.mkdir.before")
    path.mkdir(exist_ok=fine_if_there)
    failpoint("disk.mkdir.after")


def write_file(path: Path, parts: Iterable[Part], *, durable: bool = True) -> None:
    """Create a file, write the parts in order, and force them onto the disk; the name is not yet durable.

    Args:
        path: A name that must not exist.
        parts: What to write; small ones are joined, large ones are written without a copy.
        durable: Whether to force it onto the disk.

    Raises:
        OSError: The file exists or could not be written; what was written of it is left, for the caller to remove.
    """
    descriptor = create_file(path)
    try:
        for piece in gathered(parts):
            failpoint("disk.write.before")
            left = memoryview(piece)
            while left:
                left = left[os.write(descriptor, left) :]
            failpoint("disk.write.after")
        if durable:
            failpoint("disk.fsync.before")
            fsync(descriptor)
            failpoint("disk.fsync.after")
    finally:
        os.close(descriptor)


def rename(source: Path, target: Path) -> None:
    """Give a file or folder another name in one step, replacing a file of that name; not yet durable."""
    failpoint("disk.rename.before")
    os.replace(source, target)  # noqa: PTH105 - Path.replace builds another Path
    failpoint("disk.rename.after")


def unlink(path: Path) -> None:
    """Remove a file's name if it is there; not yet durable."""
    failpoint("disk.unlink.before")
    path.unlink(missing_ok=True)
    failpoint("disk.unlink.after")


def make_folder(path: Path) -> None:
    """Make a folder and those above it, durably; fine if it is there."""
    missing = []
    folder = path
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for folder in reversed(missing):
        create_folder(folder, fine_if_there=True)
        fsync_folder(folder.parent)


def remove_tree(path: Path) -> None:
    """Remove a file, or a folder with all in it, if it is there; links are removed, never followed."""
    if not path.is_dir() or path.is_symlink():
        unlink(path)
        return
    with os.scandir(path) as entries:
        inside = [Path(entry.path) for entry in entries]
    for entry in inside:
        remove_tree(entry)
    failpoint("disk.unlink.before")
    with contextlib.suppress(FileNotFoundError):
        path.rmdir()
    failpoint("disk.unlink.after")

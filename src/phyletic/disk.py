"""The one module through which files are written.

Each creation of a file or folder, each write, fsync, rename and unlink passes a failpoint before and after it, so that
a test can stop a process at any of them. If the effect of a function survives a loss of power once it
has returned, its docstring says so; otherwise the effect may still be only in the system's cache.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

from phyletic.errors import InvalidArgument
from phyletic.failpoints import failpoint

Part: TypeAlias = bytes | bytearray | memoryview
"""A run of bytes; a memoryview has single bytes as items (format ``"B"``) and is contiguous."""

_FULL_FSYNC = getattr(fcntl, "F_FULLFSYNC", None)
_GATHER = 1 << 20
_LONGEST_NAME = 255
"""Bytes of a file's name, on Linux and on macOS."""


def local_path(name: str, value: object, allowed: str) -> Path:
    """Return a user's path, absolute and with ``~`` resolved.

    Args:
        name: The argument's name, for the message.
        value: The user's value.
        allowed: The allowed values, for the message.

    Raises:
        InvalidArgument: The value cannot be a path.
    """
    if not isinstance(value, (str, Path)) or not str(value) or "\0" in str(value):
        raise InvalidArgument(name, value, allowed)
    try:
        path = Path(value).expanduser().absolute()
        longest = max(len(os.fsencode(part)) for part in path.parts)
    except (UnicodeEncodeError, RuntimeError):
        raise InvalidArgument(name, str(value), allowed) from None
    except FileNotFoundError:
        raise InvalidArgument(name, str(value), "an absolute path, since the current folder was deleted") from None
    if longest > _LONGEST_NAME:
        raise InvalidArgument(name, str(value), f"{allowed}; names of files have at most {_LONGEST_NAME} bytes")
    return path


def local_folder(name: str, value: object, allowed: str) -> Path:
    """Return the path of a user's folder as :func:`local_path` does.

    Args:
        name: The argument's name, for the message.
        value: The user's value.
        allowed: The allowed values, for the message.

    Raises:
        InvalidArgument: No folder has this path.
    """
    path = local_path(name, value, allowed)
    if not os.path.isdir(path):
        raise InvalidArgument(name, str(value), allowed)
    return path


@contextlib.contextmanager
def _passing(step: str) -> Iterator[None]:
    """Pass the failpoints before and after a step; the second one only if the step raised nothing."""
    failpoint(f"disk.{step}.before")
    yield
    failpoint(f"disk.{step}.after")


def fsync(descriptor: int) -> None:
    """Force the contents of an open file onto the disk.

    On macOS ``fsync`` leaves the bytes in the drive's own cache; ``F_FULLFSYNC`` does not. File systems without it
    get the plain ``fsync``.
    """
    if _FULL_FSYNC is not None:
        with contextlib.suppress(OSError):
            fcntl.fcntl(descriptor, _FULL_FSYNC)
            return
    os.fsync(descriptor)


def fsync_file(path: str | Path) -> None:
    """Force the contents of a file that other code wrote onto the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        with _passing("fsync"):
            fsync(descriptor)
    finally:
        os.close(descriptor)


def fsync_folder(path: str | Path) -> None:
    """Force a folder's list of names onto the disk: only then does a rename in it survive a loss of power."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with _passing("fsync_folder"):
            os.fsync(descriptor)  # names are metadata: F_FULLFSYNC is for contents, and some folders refuse it
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


def create_file(path: str | Path, mode: int = 0o666) -> int:
    """Create a file, and return its descriptor, for reading and writing; its name is not yet durable.

    Args:
        path: The file.
        mode: Its rights, less those that the process's umask takes away.

    Raises:
        OSError: The name exists, or its folder does not.
    """
    with _passing("create"):
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)


def append(path: str | Path, offset: int, part: Part) -> None:
    """Write bytes at the end of a file that is created if it is missing; they are not yet durable.

    Args:
        path: The file.
        offset: The file's present length. Bytes beyond it, which an earlier process wrote, are cut off.
        part: The bytes.
    """
    with _passing("create"):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        os.ftruncate(descriptor, offset)
        os.lseek(descriptor, offset, os.SEEK_SET)
        with _passing("write"):
            left = memoryview(part)
            while left:
                left = left[os.write(descriptor, left) :]
    finally:
        os.close(descriptor)


def write_file(path: str | Path, parts: Iterable[Part]) -> None:
    """Create a file, write the parts in order and force them onto the disk; the file's name is not yet durable.

    Raises:
        OSError: The file exists or could not be written; the caller removes what was written.
    """
    write_parts(create_file(path), parts)


def write_parts(descriptor: int, parts: Iterable[Part], *, durable: bool = True) -> None:
    """Write the parts to an open file in order, and close it.

    Args:
        descriptor: Of the file.
        parts: The bytes; small parts are joined, large ones are written without a copy.
        durable: Whether to force the contents onto the disk.
    """
    try:
        for piece in gathered(parts):
            with _passing("write"):
                left = memoryview(piece)
                while left:
                    left = left[os.write(descriptor, left) :]
        if durable:
            with _passing("fsync"):
                fsync(descriptor)
    finally:
        os.close(descriptor)


def rename(source: str | Path, target: str | Path) -> None:
    """Give a file another name in one step, replacing a file of that name; the new name is not yet durable."""
    with _passing("rename"):
        os.replace(source, target)


def unlink(path: str | Path) -> None:
    """Remove a file's name if it exists; the removal is not yet durable."""
    with _passing("unlink"), contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def make_folder(path: str, *, durable: bool = True, mode: int = 0o777) -> None:
    """Make a folder and those above it, unless they exist.

    Args:
        path: The folder.
        durable: Whether to force the names of new folders onto the disk.
        mode: The rights of new folders, less those that the process's umask takes away.
    """
    missing = []
    while not os.path.isdir(path):
        missing.append(path)
        path = os.path.dirname(path)
    for folder in reversed(missing):
        with _passing("mkdir"), contextlib.suppress(FileExistsError):
            os.mkdir(folder, mode)
        if durable:
            fsync_folder(os.path.dirname(folder))


def remove_tree(path: str | Path) -> None:
    """Remove a file, or a folder with all in it, if it exists; links are removed, never followed."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(mode):
        unlink(path)
        return
    with os.scandir(path) as entries:
        inside = [entry.path for entry in entries]
    for entry in inside:
        remove_tree(entry)
    with _passing("unlink"), contextlib.suppress(FileNotFoundError):
        os.rmdir(path)

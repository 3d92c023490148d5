"""What a cache knows of the checkpoint's file or folder that it holds, and whether that is still as it came."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import msgspec

from phyletic.checkpoints.digest import digest_of_file
from phyletic.checkpoints.folder import MANIFEST


class CacheEntry(msgspec.Struct, frozen=True):
    """What the cache knows of a first name.

    Attributes:
        files: Digests by path below the first name; the empty path for a file of that name itself. A path that ends in
            ``/`` is a folder, without a digest.
        size: Bytes of all files.
        whole: Whether all that lies below the first name is here.
    """

    files: dict[str, str]
    size: int
    whole: bool


def described(path: Path, known: Mapping[str, str]) -> CacheEntry:
    """Describe the file or folder that the cache fetched to a path; a folder is whole if it is published.

    Args:
        path: The file or folder.
        known: Digests that are known, by path below it.
    """
    if not path.is_dir():
        return CacheEntry({"": known.get("") or digest_of_file(path)}, path.stat().st_size, True)
    files = {
        below: "" if below.endswith("/") else known.get(below) or digest_of_file(path / below)
        for below in _paths_below(path)
    }
    size = sum((path / below).stat().st_size for below, digest in files.items() if digest)
    return CacheEntry(files, size, MANIFEST in files)


def unspoilt(path: Path, below: str, files: Mapping[str, str]) -> bool:
    """Whether what a key names is here as it came: nothing changed, missing or added.

    Args:
        path: The place of the key's first name.
        below: The rest of the key.
        files: As in an entry.
    """
    if "" in files:
        named = found = {""}
    elif below in files:
        named = found = {below}
    else:
        inside = f"{below}/" if below else ""
        named = {each for each in _with_folders(files) if each.startswith(inside)}
        found = {each for each in _paths_below(path) if each.startswith(inside)}
    try:
        return named == found and all(
            digest_of_file(path / each if each else path) == files[each] for each in named if not each.endswith("/")
        )
    except OSError:
        return False


def _with_folders(files: Iterable[str]) -> set[str]:
    """Return paths, and those of all folders above them."""
    return {*files} | {f"{above}/" for each in files for above in _above(each.removesuffix("/"))}


def _above(path: str) -> Iterator[str]:
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def _paths_below(path: Path) -> list[str]:
    """Return the paths of all files and folders below a folder; those of folders end in ``/``."""
    return [each.relative_to(path).as_posix() + "/" * each.is_dir() for each in path.rglob("*")]

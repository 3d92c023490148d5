"""Compare zip archives (``.npz``, ``.keras``, ``.pt``) by what they hold, not by the times they note."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import IO, Any

_PIECE = 1 << 20
_END = 22
"""Bytes of the record that ends an archive, before its comment."""
_NESTED = 2
_LARGEST_INNER = 1 << 28
_TIME_KEYS = {"metadata.json": "date_saved"}
"""Keys of JSON members that hold a time: Keras notes when it saved a model."""


def differing_members(a: Path, b: Path) -> list[str] | None:
    """Return the names of the members that differ between two zip archives; None if one is no readable archive.

    Times, the order of members and how they are compressed make no difference.

    Args:
        a: The first file.
        b: The second.
    """
    try:
        with a.open("rb") as first, b.open("rb") as second:
            return _differing(first, second, _NESTED)
    except Exception:  # damaged, encrypted, compressed by an unknown method: the bytes decide
        return None


def _differing(a: IO[bytes], b: IO[bytes], nested: int) -> list[str]:
    """Return the names of the members that differ; raises if one is no archive.

    Args:
        a: The first archive.
        b: The second.
        nested: How many levels of archives inside archives to open.
    """
    with zipfile.ZipFile(a) as first, zipfile.ZipFile(b) as second:
        for archive, file in ((first, a), (second, b)):
            _require_plain(archive, file)
        ours, theirs = first.namelist(), second.namelist()
        if first.comment != second.comment or len(set(ours)) < len(ours) or len(set(theirs)) < len(theirs):
            raise ValueError("the comments differ, or two members have the same name")
        found: list[str] = []
        for name in dict.fromkeys([*ours, *theirs]):
            if name not in ours or name not in theirs:
                found.append(name)
            elif not _same(first, second, name):
                inner = _inner(first, second, name, nested)
                found += [name] if inner is None else [f"{name}/{each}" for each in inner]
        return found


def _require_plain(archive: zipfile.ZipFile, file: IO[bytes]) -> None:
    """Raise ValueError if the file holds something before or after its archive, which no member shows.

    Args:
        archive: The archive.
        file: The file that holds it.
    """
    starts = [info.header_offset for info in archive.infolist()]
    file.seek(-(_END + len(archive.comment)), io.SEEK_END)
    if min(starts, default=1) or not file.read(4) == b"PK\5\6":
        raise ValueError("the file is more than its archive")


def _same(first: zipfile.ZipFile, second: zipfile.ZipFile, name: str) -> bool:
    """Whether a member holds the same in both archives.

    Args:
        first: The first archive.
        second: The second.
        name: The member.
    """
    if name in _TIME_KEYS:
        documents: list[Any] = [json.loads(archive.read(name)) for archive in (first, second)]
        if all(isinstance(document, dict) for document in documents):
            for document in documents:
                document.pop(_TIME_KEYS[name], None)
        return bool(documents[0] == documents[1])
    if first.getinfo(name).file_size != second.getinfo(name).file_size:
        return False
    with first.open(name) as ours, second.open(name) as theirs:
        while piece := ours.read(_PIECE):
            if piece != theirs.read(len(piece)):
                return False
    return True


def _inner(first: zipfile.ZipFile, second: zipfile.ZipFile, name: str, nested: int) -> list[str] | None:
    """Return what differs inside a member that is an archive itself; None if it is not, or too large.

    Args:
        first: The first archive.
        second: The second.
        name: The member.
        nested: How many further levels to open.
    """
    if not nested or max(archive.getinfo(name).file_size for archive in (first, second)) > _LARGEST_INNER:
        return None
    contents = [archive.read(name) for archive in (first, second)]
    if not all(content.startswith(b"PK") for content in contents):
        return None
    return _differing(io.BytesIO(contents[0]), io.BytesIO(contents[1]), nested - 1)

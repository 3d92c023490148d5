"""Blobs by their address: a local folder, or a service."""

from __future__ import annotations

import os
from pathlib import Path

from phyletic.checkpoints import Blobs
from phyletic.checkpoints import blobs_at as local_blobs_at
from phyletic.disk import local_path
from phyletic.errors import InvalidArgument

_CACHE_BYTES = 10_000_000_000


def blobs_at(address: str) -> Blobs:
    """Return the blobs that have an address.

    Those of a service come with a cache on this machine: in the folder that ``PHYLETIC_CACHE`` names
    (``~/.cache/phyletic/checkpoints`` otherwise), of at most ``PHYLETIC_CACHE_BYTES`` (10 GB otherwise).

    Args:
        address: An absolute path, with ``"volatile:"`` before it or not; or
            ``http://HOST:PORT/v1/studies/STUDY/checkpoints``, or the same with ``https``.

    Raises:
        InvalidArgument: No kind of blobs has such an address.
        NotAuthenticated: There is no token for the service.

    Example:
        >>> blobs_at("volatile:/data/checkpoints").location
        '/data/checkpoints'
    """
    if not address.startswith(("http:", "https:")):
        return local_blobs_at(address)
    from phyletic.checkpoints.cached_blobs import CachedBlobs
    from phyletic.remote.credentials import credentials_for, server_url
    from phyletic.remote.http_blobs import HttpBlobs

    url = server_url(address, "address")
    folder, limit = _cache()
    return CachedBlobs(HttpBlobs(str(url), credentials_for(url)), folder, limit)


def _cache() -> tuple[Path, int]:
    named = os.environ.get("PHYLETIC_CACHE")
    above = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = local_path("PHYLETIC_CACHE", named or f"{above}/phyletic/checkpoints", "the path of a folder")
    text = os.environ.get("PHYLETIC_CACHE_BYTES") or str(_CACHE_BYTES)
    if not text.isascii() or not text.isdigit():
        raise InvalidArgument("PHYLETIC_CACHE_BYTES", text, "a whole number of bytes")
    return folder, int(text)
